"""A small newsroom with one list, and what an import left in its store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.pipeline.ledger_world import open_store
from tidings.config.settings import Newsroom
from tidings.runtime.newsroom import load_newsroom
from tidings.runtime.people_files.importer import ImportOptions, ImportSummary, ImportWatcher, import_people
from tidings.runtime.people_files.records import RefusedLine
from tidings.store import schema as t
from tidings.store.engine import Store

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
YAML = """
site:
  title: Steppe
  url: https://news.example.org/
  languages: [en, ru, kk]
  timezone: Asia/Almaty
  address: 10 Example Street, Almaty
mail: {host: localhost, port: 1025, security: none}
topics: {water: {en: Water, ru: Вода}, youth: Youth}
lists:
  digest: {name: Digest, from: "News <news@example.org>", default_frequency: weekly}
  press: {name: Press, from: "News <news@example.org>", default_frequency: weekly}
"""
SCHEDULE = """
cadence: {weekly: fri 09:00}
deliver: [{list: digest, frequency: weekly}, {list: press, frequency: weekly}]
"""
DAILY = """
cadence: {daily: "09:00"}
deliver: [{list: digest, frequency: daily}]
"""


def make_newsroom(root: Path) -> Newsroom:
    """Lists `digest` and `press`; weekly is served on both, daily on `digest`."""
    (root / "schedules").mkdir(parents=True, exist_ok=True)
    (root / "content").mkdir(exist_ok=True)
    (root / "tidings.yaml").write_text(YAML, encoding="utf-8")
    (root / "schedules/weekly.yaml").write_text(SCHEDULE, encoding="utf-8")
    (root / "schedules/daily.yaml").write_text(DAILY, encoding="utf-8")
    loaded = load_newsroom(root, {})
    assert loaded.newsroom is not None, [str(problem) for problem in loaded.problems]
    return loaded.newsroom


class Roll:
    """A store and what was told of the last import."""

    def __init__(self, url: str, root: Path) -> None:
        self.root = root
        self.newsroom = make_newsroom(root)
        self.store: Store = open_store(url, root)
        self.told: dict[int, str] = {}

    def write(self, text: str | bytes, name: str = "people.csv") -> Path:
        """A file to import."""
        path = self.root / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def take(self, text: str | bytes | Path, name: str = "people.csv", **asked: Any) -> ImportSummary:
        """Import it to `digest`, confirmed unless said otherwise."""
        path = text if isinstance(text, Path) else self.write(text, name)
        self.told = {}

        def refused(one: RefusedLine) -> None:
            assert one.line not in self.told
            self.told[one.line] = one.reason

        wanted = ImportOptions(**{"list_name": "digest", "confirmed": True, "source": "fair", **asked})
        return import_people(self.store, self.newsroom, path, wanted, now=NOW, told=ImportWatcher(refused=refused))

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the store holds of people, without numbers."""
        return dump(self.store)


def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of each table about people, sorted, without numbers; `imports` as it is."""
    p, s, c, u = t.subscribers.c, t.subscriptions.c, t.consents.c, t.suppressions.c
    queries = {
        "subscribers": select(p.address, p.address_hash, p.name, p.language, p.created),
        "subscriptions": select(
            p.address, s.list, s.state, s.frequency, s.source, s.created, s.confirmed_at, s.left_at, s.topics
        ).join_from(t.subscriptions, t.subscribers, s.subscriber == p.id),
        "consents": select(c.address_hash, c.list, c.what, c.source, c.wording, c.ip, c.at),
        "suppressions": select(u.hash, u.list, u.reason, u.at),
        "imports": select(t.imports),
    }
    with store.read() as connection:
        return {name: sorted(map(tuple, connection.execute(query)), key=str) for name, query in queries.items()}
