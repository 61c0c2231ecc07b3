"""A send to a million readers that is killed twenty times: `python -m tests.faults --case million`.

The promises are those of `invariants`. They are checked in one pass over the ledger and one over the sink's journal,
because neither fits well into memory. The first kills happen during composing and addressing, the others during the
send.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from tests.faults.newsrooms import CONNECTIONS, LANGUAGES, NewsroomTemplate
from tests.faults.plan import Plan
from tests.faults.rounds import Round
from tests.faults.warm import Warm
from tests.servers.postgresql import Server
from tidings.runtime.newsroom import Runtime
from tidings.store import schema as t
from tidings.store.delivery import ledger
from tidings.store.people import consent

EARLY = 3
"""Kills while the edition is composed and addressed."""
_PAGE = 50_000


@dataclass
class Found:
    """The result of a send."""

    readers: int
    kills: int = 0
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    """Copies that the ledger did not know to be in doubt before they began."""
    waiting: int = 0
    set_aside: int = 0
    seconds: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether a promise is broken."""
        return bool(self.lost or self.unknown or self.doubled > self.kills * CONNECTIONS)


class Crowd(NewsroomTemplate):
    """A template with a million readers on one list, inserted as rows."""

    def _add_readers(self, runtime: Runtime) -> None:
        now = runtime.now()
        for first in range(0, self.readers, _PAGE):
            numbers = range(first + 1, min(first + _PAGE, self.readers) + 1)
            people = [
                {"id": n, "address": _address(n), "address_hash": consent.address_hash(_address(n)), "name": "",
                 "language": LANGUAGES[n % 3], "created": now}
                for n in numbers
            ]  # fmt: skip
            places = [
                {"subscriber": n, "list": "digest", "state": "confirmed", "topics": [], "frequency": "daily",
                 "mark": 0, "source": "test", "created": now, "confirmed_at": now}
                for n in numbers
            ]  # fmt: skip
            with runtime.store.write() as connection:
                connection.execute(insert(t.subscribers), people)
                connection.execute(insert(t.subscriptions), places)


def _address(number: int) -> str:
    return f"reader{number}@example.org"


def run(*, database: str, seed: int, readers: int, kills: int, say: Callable[[str], None]) -> Found:
    """Send, kill and count. The folder stays if a promise is broken."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-million-"))
    server = Server() if database == "postgresql" else None
    if server:
        server.start()
    counts = Found(readers)
    try:
        with Warm() as warm:
            template = Crowd(folder, warm, server, readers).build()
            say(f"{readers:,} readers stand in the store")
            plan = Plan(seed=seed, terse=True)
            one = Round(template, "million", seed, plan)
            begun = time.monotonic()
            try:
                _kill_and_send(one, readers, kills, say)
                counts.seconds = time.monotonic() - begun
                counts.kills = one.deaths
                _count(one, counts)
            finally:
                one.close()
    finally:
        if server:
            server.stop()
    if counts.broken:
        say(f"what is left of it: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return counts


def _kill_and_send(one: Round, readers: int, kills: int, say: Callable[[str], None]) -> None:
    dice = random.Random(one.seed)
    taken = _Counter(one.newsroom.smtp_journal)
    for number in range(kills):
        process = one.start()
        if number < EARLY:
            over = process.within(dice.uniform(0.3, 1.0 + readers / 50_000))
        else:
            # The kills are spread over the whole send: each process gets its share of the rest, and a random bit more.
            before = taken()
            goal = before + int((readers - before) / (kills - number + 1) * dice.uniform(0.2, 1.5))
            over = False
            while not over and taken() <= goal:
                over = process.within(0.05)
        if over:
            process.wait()
            break
        process.kill()
        one.hit("a random moment")
        say(f"killed {number + 1} times, {taken():,} taken")
    for _ in range(4):
        if one.start().wait() == 0 and one.is_over():
            return


class _Counter:
    """Counts the messages that the sink has accepted. Each call reads the new lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._count = 0

    def __call__(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._count += new.count(b"\n")
        return self._count


def _dots(path: Path) -> Iterator[dict[str, object]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n") and b'"e":"dot"' in line:
                yield json.loads(line)


def _count(one: Round, found: Found) -> None:
    """Check with one pass over the journal and one over the ledger."""
    receipts: dict[str, list[str]] = {}
    for event in _dots(one.newsroom.smtp_journal):
        to = str(event["to"])
        if not to.startswith("reader"):
            continue
        found.messages += 1
        if to in receipts:
            found.doubled += 1
            found.unknown += not event.get("doubts")
        receipts.setdefault(to, []).append(str(event["id"]))
    rows = 0
    waiting = one.waiting()
    with one.store.read() as connection:
        for row in ledger.entries(connection):
            if row.channel or not row.edition:
                continue
            rows += 1
            ids = receipts.get(row.address, [])
            if row.state == "accepted":
                found.lost += row.receipt.rpartition(" ")[2] not in ids
            elif row.state == "in_doubt" and row.id not in waiting:
                found.waiting += 1
            elif row.state == "quarantined" and one.deaths >= 3 and not ids:
                found.set_aside += 1
            else:
                found.lost += 1
    found.lost += abs(found.readers - rows)
