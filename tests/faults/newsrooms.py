"""A newsroom for the faults: readers on two lists in three languages, a webhook, a Slack room, and its sinks.

It is made once as a template, with its readers and its collected stories, and copied for each round.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.faults.plan import Plan
from tests.faults.warm import Warm
from tests.fixtures.newsroom_folder import SECRET, item
from tests.servers.postgresql import Server
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import tick
from tidings.store.people import subscribers

SLOT = datetime(2026, 3, 2, 4, tzinfo=UTC)
"""09:00 in Almaty, when the edition is due."""
CONNECTIONS = 3
SCHEDULE = "daily"
LANGUAGES = ("en", "ru", "kk")

_MAIN = """\
site:
  title: {{en: Newsroom, ru: Новости, kk: Жаңалықтар}}
  url: https://news.example.org/
  languages: [en, ru, kk]
  timezone: Asia/Almaty
  address: 10 Example Street, Almaty
store: {url}
web: {{port: {web}}}
topics: {{water: Water, youth: Youth}}
mail: {{host: 127.0.0.1, port: {port}, security: none, connections: {connections}, return_path: bounces@example.org}}
lists:
  digest: {{name: Digest, from: News <news@example.org>, fallback: [en]}}
  press: {{name: Press, from: Press <press@example.org>, fallback: [en]}}
channels:
  desk:
    type: webhook
    url: {{env: DESK_URL}}
    secret: {{env: DESK_SECRET}}
    languages: [en, ru, kk]
    allow_private: true
  team: {{type: slack, url: {{env: SLACK_URL}}, allow_private: true}}
notify: {{to: [comms@example.org]}}
"""
_SCHEDULE = """\
cadence: {daily: "09:00"}
deliver:
  - {list: digest, frequency: all}
  - {list: press, frequency: all}
  - {channel: desk, per: item}
  - {channel: team}
"""


@dataclass
class FaultNewsroom:
    """One newsroom for one round."""

    root: Path
    url: str
    owed: frozenset[str]
    """Addresses that must get the edition."""
    barred: frozenset[str]
    """Addresses that must get nothing, whatever happens."""
    smtp_journal: Path
    http_journal: Path
    env: dict[str, str]
    stop: Callable[[], None]
    """End the sinks; the files stay."""


@dataclass
class NewsroomTemplate:
    """The prepared newsroom that every round copies. `folder` is its own; `close` removes its database."""

    folder: Path
    warm: Warm
    server: Server | None = None
    readers: int = 100
    stories: int = 3
    url: str = ""
    owed: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)

    def build(self) -> NewsroomTemplate:
        """Play until the hour before the slot: everything is collected, nothing is composed."""
        root = self.folder / "template"
        (root / "content").mkdir(parents=True)
        (root / "schedules").mkdir()
        (root / "schedules" / f"{SCHEDULE}.yaml").write_text(_SCHEDULE)
        self.url = self.server.fresh_database() if self.server else "sqlite:///tidings.db"
        _write_main(root, self.url, 1)
        with _runtime(root) as runtime:
            runtime.set_clock(SLOT - timedelta(days=1))
            tick(runtime, runtime.now(), deliver=False)
            self._add_readers(runtime)
            for number in range(self.stories):
                for language in LANGUAGES[: 3 - number % 2]:
                    text = item(f"Story {number} ({language})", body=f"What happened, part {number}.\n\n" * 6)
                    (root / "content" / f"story-{number}.{language}.md").write_text(text, encoding="utf-8")
            runtime.set_clock(SLOT - timedelta(hours=1))
            tick(runtime, runtime.now(), deliver=False)
        return self

    def _add_readers(self, runtime: Runtime) -> None:
        """Two thirds of the readers are on each list, so a third is on both. A few never confirmed, and a few left."""
        now = runtime.now()
        for number in range(self.readers):
            address = f"reader{number}@r{number % 7}.example.org"
            lists = (("digest",), ("press",), ("digest", "press"))[number % 3]
            is_in = number % 13 != 12
            for name in lists:
                with runtime.store.write() as connection:
                    subscribers.add(
                        connection, address, name, language=LANGUAGES[number % 3], frequency="daily", now=now,
                        name=f"Reader {number}", confirmed=is_in or number % 2 == 0,
                    )  # fmt: skip
                if not is_in and number % 2 == 0:
                    with runtime.store.write() as connection:
                        who = subscribers.find_id(connection, address)
                        assert who is not None
                        subscribers.unsubscribe(connection, who, name, source="test", now=now)
            (self.owed if is_in else self.barred).add(address)

    def copy(self, name: str, plan: Plan) -> FaultNewsroom:
        """Copy it for a round, with sinks that follow `plan`."""
        root = self.folder / name
        shutil.copytree(
            self.folder / "template", root, ignore=shutil.ignore_patterns("*.d", "*-shm"), dirs_exist_ok=True
        )
        # Not inside the newsroom: a full disk of ours does not affect the sinks.
        smtp_journal, http_journal = self.folder / f"{name}.smtp.journal", self.folder / f"{name}.http.journal"
        url = self.server.copy(self.url) if self.server else self.url
        smtp = self.warm.sink("smtp", smtp_journal, plan, root, url)
        http = self.warm.sink("http", http_journal, plan, root, url)
        _write_main(root, url, smtp.port)
        base = f"http://127.0.0.1:{http.port}"
        env = {"DESK_URL": f"{base}/hook", "DESK_SECRET": SECRET, "SLACK_URL": f"{base}/slack"}

        def stop() -> None:
            smtp.kill()
            http.kill()
            if self.server:
                self.server.drop(url)

        return FaultNewsroom(
            root, url, frozenset(self.owed), frozenset(self.barred), smtp_journal, http_journal, env, stop
        )

    def close(self) -> None:
        """Drop the template's database."""
        if self.server and self.url:
            self.server.drop(self.url)


def _write_main(root: Path, url: str, port: int) -> None:
    text = _MAIN.format(url=url, port=port, web=8080, connections=CONNECTIONS)
    (root / "tidings.yaml").write_text(text, encoding="utf-8")


def _runtime(root: Path) -> Runtime:
    env = {"DESK_URL": "http://127.0.0.1:1/hook", "DESK_SECRET": SECRET, "SLACK_URL": "http://127.0.0.1:1/slack"}
    loaded = load_newsroom(root, env)
    assert loaded.newsroom is not None, [str(problem) for problem in loaded.problems]
    return Runtime(loaded.newsroom)
