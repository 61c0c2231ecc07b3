"""A newsroom at work for tests of editions: items, schedules and readers in a few words, and what each reader read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.world import Caught, World, item, make_world
from tidings.model.edition import Edition
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import Ticked, tick
from tidings.store.content import editions, schedules
from tidings.store.delivery import ledger
from tidings.store.delivery.ledger import Entry
from tidings.store.people import subscribers

MONDAY = datetime(2026, 3, 2, 4, tzinfo=UTC)
"""09:00 in Almaty, when the daily schedule of these tests is due."""
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

DAILY = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
WEEKLY = "cadence: {weekly: mon 09:30}\ndeliver: [{list: digest, frequency: weekly}]\n"
REQUEST = "cadence: {on: request}\ndeliver: [{list: digest}]\n"


@dataclass
class Desk:
    """One runtime on a world; `now` is where its clock stands."""

    world: World
    runtime: Runtime
    now: datetime = MONDAY - DAY
    _seen: dict[str, int] = field(default_factory=dict)

    def item(self, name: str, language: str = "en", title: str = "", **fields: str) -> None:
        """Write one content file; its title is its name unless given."""
        self.world.write(f"content/{name}.{language}.md", item(title or f"{name} ({language})", **fields))

    def schedule(self, name: str, text: str) -> None:
        """Write a schedule and take it up."""
        self.world.write(f"schedules/{name}.yaml", text)
        self.reload()

    def configure(self, old: str, new: str) -> None:
        """Replace text of tidings.yaml and take it up."""
        path = self.world.root / "tidings.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        self.reload()

    def reload(self) -> None:
        """Take up the configuration as it stands."""
        loaded = load_newsroom(self.world.root, self.world.env)
        assert loaded.newsroom is not None, [str(problem) for problem in loaded.problems]
        self.runtime.use(loaded.newsroom)

    def reader(self, name: str, list_name: str = "digest", frequency: str = "daily", **choices: Any) -> str:
        """A confirmed reader `name@example.org`; returns the address."""
        address = f"{name}@example.org"
        chosen: dict[str, Any] = {"language": "en", "confirmed": True} | choices
        with self.runtime.store.write() as connection:
            outcome = subscribers.add(connection, address, list_name, frequency=frequency, now=self.now, **chosen)
        assert outcome == "added"
        return address

    def change(self, address: str, **choices: Any) -> None:
        """What `subscribers set` does."""
        with self.runtime.store.write() as connection:
            number = subscribers.find(connection, address)
            assert number is not None
            subscribers.change(connection, number, **choices)

    def tick(self, now: datetime | None = None, *, deliver: bool = True) -> Ticked:
        """One beat."""
        self.now = now or self.now
        self.runtime.at(self.now)
        return tick(self.runtime, self.now, deliver=deliver)

    def mails(self, address: str) -> list[Caught]:
        """All that came for an address."""
        return [mail for mail in self.world.mails.caught if mail.recipient == address]

    def read(self, address: str) -> list[list[str]]:
        """Of each mail to an address the stories that its text links, in order, once each."""
        return [stories_in(mail.text) for mail in self.mails(address)]

    def fresh(self, address: str) -> list[list[str]]:
        """As `read`, of what came since the last call."""
        mails = self.read(address)
        before = self._seen.get(address, 0)
        self._seen[address] = len(mails)
        return mails[before:]

    def edition(self, name: str) -> Edition:
        """By SCHEDULE/NUMBER."""
        with self.runtime.store.read() as connection:
            found = editions.find_edition(connection, name)
        assert found is not None, name
        return found

    def editions(self) -> list[str]:
        """Names and states of all editions, in order."""
        with self.runtime.store.read() as connection:
            return [f"{one.name} {one.state}" for one in editions.editions(connection)]

    def entries(self, **only: Any) -> list[Entry]:
        """Lines of the ledger that belong to schedules."""
        with self.runtime.store.read() as connection:
            return [one for one in ledger.entries(connection, **only) if one.schedule]

    def entries_of(self, channel: str) -> list[Entry]:
        """Lines of the ledger about one channel."""
        with self.runtime.store.read() as connection:
            return [one for one in ledger.entries(connection) if one.channel == channel]

    def slots(self, schedule: str) -> list[tuple[str, str]]:
        """(state, reason) of the slots of a schedule, oldest first."""
        with self.runtime.store.read() as connection:
            return [(row.state, row.reason) for row in reversed(schedules.slots_of(connection, schedule))]

    def notices(self) -> list[str]:
        """What comms@example.org was told."""
        return [mail.text for mail in self.mails("comms@example.org")]


def stories_in(text: str) -> list[str]:
    """Names in the page addresses of a text."""
    return list(dict.fromkeys(re.findall(r"https://news\.example\.org/\w\w/([\w-]+)/", text)))


@contextmanager
def open_desk(root: Path, store: str, schedules: dict[str, str] | None = None) -> Iterator[Desk]:
    """A desk whose schedules have their baseline a day before `MONDAY`."""
    with make_world(root, store) as world:
        for name, text in (schedules or {}).items():
            world.write(f"schedules/{name}.yaml", text)
        with world.runtime() as runtime:
            desk = Desk(world, runtime)
            desk.tick()
            yield desk


def flat(mails: Sequence[Sequence[str]]) -> list[str]:
    """All stories of some mails, sorted."""
    return sorted(story for mail in mails for story in mail)
