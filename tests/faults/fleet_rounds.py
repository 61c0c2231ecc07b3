"""Rounds of faults for fleets, several of them at the same time: most of a round is waiting.

Each lane has a fleet of its own for all its rounds. In each round a story is published, and a schedule sends it at once
to every reader and to a channel. During the send, some readers leave, and then a fault happens. After each round, the
received mails and posts must match the ledger.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import func, select

from tests.faults.fleet import FAULTS, Fault, Fleet, address
from tests.faults.invariants import ENDED, LEFT
from tests.fixtures.newsroom_folder import item, make_newsroom_folder
from tests.servers.cable import Cable
from tests.servers.postgresql import Server
from tests.servers.rabbitmq import RabbitMq
from tidings.runtime.newsroom import Runtime
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.store.service.heartbeat import load_heartbeats

CONNECTIONS = 4
"""Of the whole fleet: one for each worker."""
DELAY = 0.08
"""Seconds for each mail. An edition takes a few seconds, so that the fault happens meanwhile."""
PATIENCE = 240.0
"""Seconds after which a round that does not converge has failed."""
LEAVERS = 4
"""Readers who leave in each round."""
SCHEDULE = "cadence: {on: new, settle: 0m}\ndeliver:\n  - {list: digest, frequency: all}\n  - {channel: desk}\n"
_STARTING = threading.Lock()
"""One fleet after the other: Alembic is not thread-safe, and the start of a broker takes all cores."""


@dataclass
class Score:
    """The totals of one fault."""

    rounds: int = 0
    mails: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    """Doubled mails that were not in doubt before."""
    too_many: int = 0
    """Doubled mails beyond one for each connection and death."""
    posts_doubled: int = 0
    fired_twice: int = 0
    """Stories in two editions, and slots with two editions."""
    left: int = 0
    """Readers who left before their mail began."""
    late: int = 0
    """Mails that began after the reader had left."""
    unfinished: int = 0
    """Rounds that did not end."""

    @property
    def is_broken(self) -> bool:
        """Whether a promise is broken."""
        wrong = (self.lost, self.unknown, self.too_many, self.posts_doubled, self.fired_twice, self.late)
        return any(wrong) or bool(self.unfinished)

    def add(self, other: Score) -> None:
        """Add the counts of a round."""
        for count in fields(Score):
            setattr(self, count.name, getattr(self, count.name) + getattr(other, count.name))


@dataclass
class Lane:
    """One fleet and its rounds."""

    fleet: Fleet
    runtime: Runtime
    readers: list[str] = field(default_factory=list)
    """Everybody who is subscribed."""
    last: int = 0
    """The last delivery of the rounds before."""
    added: int = 0

    def add_readers(self, count: int) -> None:
        """Subscribe new readers."""
        added = [f"reader{self.added + number}@example.org" for number in range(1, count + 1)]
        self.added += count
        with self.runtime.store.write() as connection:
            for reader in added:
                subscribers.add(
                    connection, reader, "digest", language="en", frequency="weekly", now=datetime.now(UTC),
                    confirmed=True,
                )  # fmt: skip
        self.readers += added

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Wait, and restart what has ended. Returns whether the condition became true in time."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.fleet.keep()
            with contextlib.suppress(Exception):  # the database is down
                if condition():
                    return True
            time.sleep(0.1)
        return False

    def is_ready(self) -> bool:
        """Whether all processes work."""
        with self.runtime.store.read() as connection:
            alive = [beat for beat in load_heartbeats(connection) if self.runtime.liveness.is_alive(beat.owner)]
        return (
            len(alive) >= len(self.fleet.commands)
            and (self.fleet.folder.root / "public" / "en" / "index.html").exists()
        )

    def rows(self) -> list[ledger.LedgerEntry]:
        """Return the deliveries of this round."""
        with self.runtime.store.read() as connection:
            return list(ledger.entries(connection, schedule="alert", after=self.last))

    def play(self, number: int, seed: int, fault: Fault) -> Score:
        """Play one round."""
        dice = random.Random(f"{seed}:{number}")
        fleet, folder = self.fleet, self.fleet.folder
        if fault.schedulers:
            fleet.add_schedulers()
            self.wait(self.is_ready)
        mails, posts = len(folder.mails.received), len(folder.hook.received)
        folder.write(f"content/round-{number}.en.md", item(f"Round {number}"))
        begun = mails + dice.randrange(1, 60)
        readers = list(self.readers)
        self.wait(lambda: len(folder.mails.received) >= begun and len(self.rows()) > len(readers))
        left = self._leave(dice, {mail.recipient for mail in folder.mails.received[mails:]})
        fault.play(fleet, dice, self._mailing())
        score = Score(rounds=1, unfinished=int(not self.wait(partial(self._is_done, left))))
        rows = self.rows()
        self.last = max((row.id for row in rows), default=self.last)
        self._judge(score, fault, rows, readers, left, mails, posts)
        self.wait(self._has_readers_again)
        return score

    def _leave(self, dice: random.Random, mailed: set[str]) -> dict[str, int]:
        """Let some readers leave who have no mail yet. Returns when each of them had left."""
        left = {}
        waiting = [reader for reader in self.readers if reader not in mailed]
        for reader in dice.sample(waiting, min(LEAVERS, len(waiting))):
            with self.runtime.store.write() as connection:
                who = subscribers.find_id(connection, reader)
                assert who is not None
                subscribers.unsubscribe(connection, who, "digest", source="test", now=datetime.now(UTC))
            left[reader] = time.monotonic_ns()
            self.readers.remove(reader)
        return left

    def _has_readers_again(self) -> bool:
        self.add_readers(LEAVERS)
        return True

    def _is_done(self, left: dict[str, int]) -> bool:
        rows = self.rows()
        return bool(rows) and all(
            row.state in ENDED or (row.state == "in_doubt" and row.address in left) for row in rows
        )

    def _mailing(self) -> int:
        with contextlib.suppress(Exception), self.runtime.store.read() as connection:
            return int(connection.execute(select(func.max(t.deliveries.c.mailing))).scalar_one())
        return 1

    def _judge(
        self, score: Score, fault: Fault, rows: list[ledger.LedgerEntry], readers: list[str], left: dict[str, int],
        mails: int, posts: int,
    ) -> None:  # fmt: skip
        """Compare the ledger with what arrived after the first `mails` and `posts`."""
        folder = self.fleet.folder
        copies = Counter(mail.recipient for mail in folder.mails.received[mails:])
        copies = Counter({reader: count for reader, count in copies.items() if reader.startswith("reader")})
        of = {row.address: row for row in rows if row.address}
        for reader in readers:
            row = of.get(reader)
            # Who left while their mail was in doubt gets no second one: it waits for a person.
            skipped = (
                row is not None
                and reader in left
                and ((row.state == "skipped" and row.reason in LEFT) or row.state == "in_doubt")
            )
            score.left += skipped and not copies[reader]
            score.lost += not copies[reader] and not skipped
        score.mails = copies.total()
        for reader, count in copies.items():
            score.doubled += count - 1
            score.unknown += max(0, count - 1 - (of[reader].doubts if reader in of else 0))
        score.too_many = max(0, score.doubled - CONNECTIONS * fault.deaths)
        numbers = {of[reader].id: at for reader, at in left.items() if reader in of}
        for line in self.fleet.intents.read_text().splitlines():
            begun, deliveries = json.loads(line)
            score.late += sum(begun > numbers[number] for number in deliveries if number in numbers)
        desk = {request.headers.get("webhook-id") for request in folder.hook.received[posts:]}
        score.posts_doubled = max(0, len(desk - {None}) - 1)

    def count_fired_twice(self) -> int:
        """Return how many stories are in two editions, and how many slots have two."""
        with self.runtime.store.read() as connection:
            made = list(editions.list_editions(connection))
        stories = Counter(story for edition in made for story in edition.stories)
        slots = Counter((edition.schedule, edition.slot) for edition in made if edition.slot is not None)
        return sum(count > 1 for counter in (stories, slots) for count in counter.values())


@contextlib.contextmanager
def _open_lane(readers: int) -> Iterator[Lane]:
    server, broker = Server(), RabbitMq()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-fleet-"))
        starting = stack.enter_context(contextlib.ExitStack())
        starting.enter_context(_STARTING)
        stack.callback(server.stop)
        server.start()
        stack.callback(broker.stop)
        broker.start()
        url = server.fresh_database()
        standby = server.start_standby()
        stack.callback(standby.stop)
        ports = [server.port, standby.port]
        folder = stack.enter_context(make_newsroom_folder(Path(place) / "newsroom", address(url, ports)))
        folder.mails.delay = DELAY
        cables = [stack.enter_context(contextlib.closing(Cable(port))) for port in (*ports, broker.port)]
        folder.env["TIDINGS_BROKER"] = broker.url.replace(f":{broker.port}/", f":{cables[-1].port}/")
        path = folder.root / "tidings.yaml"
        settings = path.read_text().replace("mail: {", f"mail: {{connections: {CONNECTIONS}, ")
        path.write_text(settings + "engine: {type: celery, broker: {env: TIDINGS_BROKER}}\n")
        folder.write("schedules/alert.yaml", SCHEDULE)
        runtime = stack.enter_context(folder.runtime())
        fleet = Fleet(folder, broker, server, standby, url, Path(place), cables[:-1], cables[-1])
        lane = Lane(fleet, runtime)
        lane.add_readers(readers)
        stack.callback(fleet.end)
        assert lane.wait(lane.is_ready), "the fleet does not start"
        starting.close()
        yield lane


@dataclass
class Rounds:
    """All rounds, and their totals by fault."""

    seed: int
    rounds: int
    readers: int
    seconds: float
    """Begin no round after that."""
    say: Callable[[str], None] = print
    scores: dict[str, Score] = field(default_factory=lambda: {fault.name: Score() for fault in FAULTS})
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = iter(range(self.rounds))
        self._mutex = threading.Lock()

    @property
    def is_broken(self) -> bool:
        """Whether a promise is broken, or a lane failed."""
        return bool(self.errors) or any(score.is_broken for score in self.scores.values())

    def run(self, lanes: int) -> None:
        """Play until the rounds or the time are over."""
        over = time.monotonic() + self.seconds
        threads = [threading.Thread(target=self._run_lane, args=(over,)) for _ in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run_lane(self, over: float) -> None:
        try:
            with _open_lane(self.readers) as lane:
                while time.monotonic() < over and (number := self._next()) is not None:
                    fault, begun = FAULTS[number % len(FAULTS)], time.monotonic()
                    score = lane.play(number, self.seed, fault)
                    self._add(fault, score)
                    wrong = " BROKEN" if score.is_broken else ""
                    self.say(
                        f"{number + 1} (seed {self.seed}:{number}) {fault.name}: {score.mails} mails, "
                        f"lost {score.lost}, doubled {score.doubled} ({score.unknown} unknown), "
                        f"left {score.left} ({score.late} late), {time.monotonic() - begun:.0f} s{wrong}"
                    )
                self._add(FAULTS[0], Score(fired_twice=lane.count_fired_twice()))
        except Exception:
            self.errors.append(traceback.format_exc())
            self.say(self.errors[-1])

    def _next(self) -> int | None:
        with self._mutex:
            return next(self._numbers, None)

    def _add(self, fault: Fault, score: Score) -> None:
        with self._mutex:
            self.scores[fault.name].add(score)

    def table(self) -> str:
        """Return the table for the page."""
        total = Score()
        for score in self.scores.values():
            total.add(score)
        heads = (
            "fault", "rounds", "mails", "lost", "doubled", "not known as in doubt",
            "more than one for each connection and death", "posts doubled", "fired twice", "left in time",
            "mailed after leaving",
        )  # fmt: skip
        lines = [
            f"{total.rounds} rounds of {self.readers} readers with seed {self.seed}.",
            "",
            f"| {' | '.join(heads)} |",
            "|---|" + "---:|" * (len(heads) - 1),
        ]
        for name, score in [*self.scores.items(), ("all", total)]:
            cells = (
                score.rounds, score.mails, score.lost, score.doubled, score.unknown, score.too_many,
                score.posts_doubled, score.fired_twice, score.left, score.late,
            )  # fmt: skip
            lines.append(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
        if total.unfinished or self.errors:
            lines += ["", f"{total.unfinished} rounds did not end, and {len(self.errors)} lanes failed."]
        return "\n".join(lines)
