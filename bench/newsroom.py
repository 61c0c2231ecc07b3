"""A newsroom for the benchmarks of sending: readers by plain SQL, and an edition that is composed but not sent.

The product's own code is measured: stories from Markdown, the tick that composes, the frozen edition, `deliver()`.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.cases import reader_of
from tidings.model.errors import InputError
from tidings.runtime.newsroom import Runtime, open_runtime
from tidings.runtime.tick import tick

START = datetime(2026, 3, 1, 4, tzinfo=UTC)
SLOT = datetime(2026, 3, 2, 4, tzinfo=UTC)
"""The slot of the edition: 09:00 in Almaty."""
LIST = "digest"

_SETTINGS = """\
site:
  title: Степная редакция
  url: https://news.example.org/
  languages: [{languages}]
  timezone: Asia/Almaty
  address: Алматы, ул. Образцовая, 10
topics: {{{topics}}}
mail:
  host: 127.0.0.1
  port: {port}
  security: none
  connections: {connections}
  return_path: bounces@example.org
{dkim}lists:
  digest:
    name: Дайджест новостей
    from: Степная редакция <news@example.org>
    reply_to: comms@example.org
    unsubscribe_mailto: leave@example.org
"""
_DKIM = "  dkim: {domain: example.org, selector: bench, key: {file: dkim.pem}}\n"
_SCHEDULE = """\
cadence: {daily: "09:00"}
select: {max_items: 100}
deliver: [{list: digest, frequency: all}]
"""
_SUMMARY = "Около 2300 человек больше не стоят в очереди у колодца: вода идёт из горного родника по трубам. "
_COLUMNS = {
    "subscribers": "id, address, address_hash, name, language, created",
    "subscriptions": "subscriber, list, state, topics, frequency, mark, source, created, confirmed_at",
    "consents": "address_hash, list, what, source, wording, ip, at",
    "consent_locks": "hash, version",
}


def write_settings(
    root: Path,
    *,
    port: int,
    connections: int = 4,
    dkim: bool = False,
    languages: Sequence[str] = ("ru",),
    topics: Sequence[str] = (),
) -> None:
    """Write tidings.yaml for a mail server at `port`."""
    text = _SETTINGS.format(
        port=port,
        connections=connections,
        dkim=_DKIM if dkim else "",
        languages=", ".join(languages),
        topics=", ".join(f"{topic}: {topic}" for topic in topics),
    )
    (root / "tidings.yaml").write_text(text, encoding="utf-8")


def write_stories(root: Path, count: int, *, languages: Sequence[str] = ("ru",), topics: Sequence[str] = ()) -> None:
    """Write a schedule and stories in Cyrillic; the newest come first in the edition."""
    (root / "content").mkdir(parents=True)
    (root / "schedules").mkdir()
    (root / "schedules" / "daily.yaml").write_text(_SCHEDULE)
    for number in range(count):
        published = (START + timedelta(minutes=number + 1)).isoformat()
        topic_line = f"topics: [{topics[number % len(topics)]}]\n" if topics else ""
        for language in languages:
            (root / "content" / f"story-{number}.{language}.md").write_text(
                f"---\ntitle: Три села получили чистую воду из горного трубопровода, часть {number}\n"
                f"summary: {_SUMMARY * 3}\npublished: {published}\n{topic_line}---\n{_SUMMARY * 10}\n",
                encoding="utf-8",
            )


def add_readers(
    database: Path, count: int, *, languages: Sequence[str] = ("ru",), interests: Sequence[str] = ("[]",)
) -> None:
    """Add confirmed subscribers by plain SQL, in the shape that `tidings subscribers import --confirmed` leaves.

    `interests` are JSON arrays of topics. Languages and interests take turns, so that the segments are mixed.
    """
    at = int(START.timestamp()) * 1_000_000

    def rows() -> Iterable[tuple[int, str, str, str, str, str]]:
        for number in range(1, count + 1):
            address, name = reader_of(number)
            digest = hashlib.sha256(address.encode()).hexdigest()
            language = languages[number % len(languages)]
            yield number, address, digest, name, language, interests[number // len(languages) % len(interests)]

    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TEMP TABLE new (id INTEGER PRIMARY KEY, address, hash, name, language, topics)")
        connection.executemany("INSERT INTO new VALUES (?, ?, ?, ?, ?, ?)", rows())
        connection.execute(
            f"INSERT INTO subscribers ({_COLUMNS['subscribers']}) SELECT id, address, hash, name, language, {at} FROM new"
        )
        connection.execute(
            f"INSERT INTO subscriptions ({_COLUMNS['subscriptions']}) "
            f"SELECT id, '{LIST}', 'confirmed', topics, 'weekly', 0, 'bench', {at}, {at} FROM new"
        )
        connection.execute(
            f"INSERT INTO consents ({_COLUMNS['consents']}) "
            f"SELECT hash, '{LIST}', 'confirmed', 'bench', '', '', {at} + id FROM new"
        )
        connection.execute(f"INSERT INTO consent_locks ({_COLUMNS['consent_locks']}) SELECT hash, 0 FROM new")
    connection.close()


def make_newsroom(root: Path, readers: int, stories: int, *, dkim: bool = False) -> None:
    """Make a newsroom with an edition composed for that many readers, not sent."""
    write_stories(root, stories)
    if dkim:
        write_key(root)
    write_settings(root, port=25, dkim=dkim)
    start_newsroom(root, readers)
    with open_runtime(root, {}) as runtime:
        compose_edition(runtime)


def start_newsroom(
    root: Path, readers: int, *, languages: Sequence[str] = ("ru",), interests: Sequence[str] = ("[]",)
) -> None:
    """Run the first tick of a newsroom and add its readers. Stories that come out later are new to its schedule."""
    with open_runtime(root, {}) as runtime:
        tick(runtime, START, deliver=False)
        database = runtime.store.path
    assert database is not None
    add_readers(database, readers, languages=languages, interests=interests)


def compose_edition(runtime: Runtime) -> int:
    """Run the tick that composes the edition; returns the number of its deliveries."""
    runtime.set_clock(SLOT)
    composed = tick(runtime, SLOT, deliver=False).composed
    if not composed:
        raise InputError("the benchmark's newsroom composed no edition")
    with runtime.store.read() as connection:
        counted = connection.exec_driver_sql("SELECT count(*) FROM deliveries WHERE state = 'pending'")
        return int(counted.scalar_one())


def write_key(root: Path) -> None:
    """Write a new RSA-2048 key for DKIM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = root / "dkim.pem"
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def copy_newsroom(template: Path, root: Path, *, port: int, connections: int, dkim: bool) -> None:
    """Copy a newsroom for one round; the copy sends to `port`."""
    shutil.copytree(template, root)
    write_settings(root, port=port, connections=connections, dkim=dkim)
