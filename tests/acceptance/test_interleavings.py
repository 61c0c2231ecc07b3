"""Fault 13: pause, resume, cancel, edit, restart and wait in any order. No reader misses a story or gets it twice.

Each newsroom plays one sequence after the other. `TIDINGS_SEEDS=1-41 pytest tests/acceptance/test_interleavings.py
-m slow` plays 1,000 sequences in 40 newsrooms. A failure shows its seed and its steps.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, flat, stories_in
from tests.fixtures.newsroom_folder import make_newsroom_folder
from tidings.model.edition import EditionState
from tidings.runtime.tick import tick
from tidings.store.content import editions
from tidings.store.service import pauses
from tidings.store.service.pauses import Scope

SCHEDULE = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}, {channel: desk, per: edition}]\n'
SCOPES = ((Scope.ALL, ""), (Scope.SCHEDULE, "daily"), (Scope.LIST, "digest"), (Scope.CHANNEL, "desk"))
READERS = 6
STEPS = 10
ROUNDS = 25


@dataclass
class Sequence:
    """One seed with its own store."""

    newsroom: RunningNewsroom
    chance: random.Random
    process: ExitStack
    stories: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """The actions of a run, to replay it."""
    left: int = -1
    """Number of outcomes after which a pause begins in the middle of a tick."""

    def start(self) -> None:
        self.newsroom.runtime = self.process.enter_context(self.newsroom.folder.runtime())
        self.newsroom.runtime._reached = self.reached
        self.newsroom.reload()
        self.newsroom.runtime.set_clock(self.newsroom.now)

    def reached(self, point: str) -> None:
        self.left -= point == "after-outcome"
        if self.left == 0:
            self.left = -1
            self.pause()

    def step(self) -> None:
        """Perform one random action of a person, or let time pass."""
        what = self.chance.choice(("pause", "resume", "item", "item", "edit", "cancel", "restart", *["tick"] * 7))
        self.done.append(what)
        getattr(self, what)()

    def pause(self) -> None:
        which, name = self.chance.choice(SCOPES)
        until = self.newsroom.now + self.chance.choice([HOUR, DAY, 2 * DAY]) if self.chance.random() < 0.3 else None
        self.done[-1] += f" {which} {until or ''}"
        with self.newsroom.runtime.store.write() as connection:
            pauses.pause(connection, which, name, self.newsroom.now, until=until, reason="", who="ada")

    def resume(self, likely: float = 0.7) -> None:
        for scope, name in SCOPES:
            if self.chance.random() < likely:
                with self.newsroom.runtime.store.write() as connection:
                    pauses.resume(connection, scope, name, self.newsroom.now)

    def item(self) -> None:
        self.stories.append(f"s{len(self.stories)}")
        self.newsroom.item(self.stories[-1])

    def edit(self) -> None:
        if self.stories:
            self.newsroom.item(self.chance.choice(self.stories), title="Another title")

    def cancel(self) -> None:
        with self.newsroom.runtime.store.read() as connection:
            live = editions.list_editions(connection, states=[EditionState.SENDING, EditionState.HELD])
        if live:
            self.done[-1] += f" {live[-1].name}"
            self.newsroom.runtime.editions.cancel(self.chance.choice(live), self.newsroom.now, "ada")

    def restart(self) -> None:
        self.process.close()
        self.start()

    def tick(self, now: datetime | None = None) -> None:
        """Tick. A pause may begin in the middle."""
        self.left = self.chance.randrange(1, READERS * 2) if now is None and self.chance.random() < 0.4 else -1
        self.newsroom.now = now or self.newsroom.now + self.chance.choice([HOUR, 5 * HOUR, DAY])
        self.newsroom.runtime.set_clock(self.newsroom.now)
        self.done[-1] += f" {self.newsroom.now:%d. %H:%M}"
        deliver = now is not None or self.chance.random() < 0.7
        tick(self.newsroom.runtime, self.newsroom.now, deliver=deliver, public=False)

    def end(self) -> None:
        """Resume everything and tick at the slots, because a person must decide on editions later than `max_late`."""
        self.done.append("end")
        self.resume(likely=1)
        days = (self.newsroom.now - MONDAY) // DAY
        for day in range(1, 4):
            self.tick(MONDAY + (days + day) * DAY)


def play(root: Path, seed: int, rounds: int) -> None:
    """Run random sequences of actions, and check the result after each sequence."""
    with make_newsroom_folder(root, "sqlite:///tidings.db") as folder, ExitStack() as process:
        folder.write("schedules/daily.yaml", SCHEDULE)
        one = Sequence(RunningNewsroom(folder, process.enter_context(folder.runtime())), random.Random(seed), process)
        one.restart()
        tick(one.newsroom.runtime, one.newsroom.now, public=False)
        readers = [one.newsroom.reader(f"r{number}") for number in range(READERS)]
        for _ in range(rounds):
            for _ in range(STEPS):
                one.step()
            one.end()
            history = f"seed {seed}: {one.done}"
            for reader in readers:
                assert Counter(flat(one.newsroom.read(reader))) == Counter(one.stories), (reader, history)
            posts = [stories_in(received.body.decode()) for received in folder.hook.received]
            assert Counter(flat(posts)) == Counter(one.stories), ("desk", history)
            assert {entry.state for entry in one.newsroom.entries()} <= {"accepted", "cancelled", "skipped"}, history
            assert {name.split()[1] for name in one.newsroom.editions()} <= {"done", "cancelled", "superseded"}, history


def test_any_order_of_operations_loses_nobody(tmp_path: Path) -> None:
    play(tmp_path / "n", 0, 8)


@pytest.mark.slow
def test_many_more_orders_lose_nobody(tmp_path: Path) -> None:
    first, _, end = os.environ.get("TIDINGS_SEEDS", "1-5").partition("-")
    for seed in range(int(first), int(end)):
        play(tmp_path / str(seed), seed, ROUNDS)
