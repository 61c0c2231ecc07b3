"""One round: a newsroom of its own, processes that are tormented, beats until it is over, and what both sides wrote."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.faults import journal
from tests.faults.child import Said, Spec
from tests.faults.invariants import BEATS, Evidence, Verdict, judge
from tests.faults.newsrooms import CONNECTIONS, SCHEDULE, SLOT, NewsroomTemplate
from tests.faults.plan import Plan
from tests.faults.warm import Process, Warm
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.engine import Store

STEPS = (0, 0, 2, 6, 16, 61, 61, 181, 361, 721, 721, 721)
"""Minutes by which the newsroom's clock goes on between the beats at the end: as retries wait."""


class Round:
    """Everything in it follows from `seed`, but for the moment at which a signal falls."""

    def __init__(self, template: NewsroomTemplate, name: str, seed: int, plan: Plan) -> None:
        self.template = template
        self.warm: Warm = template.warm
        self.dice = random.Random(seed)
        self.seed = seed
        self.newsroom = template.copy(f"{name}-{seed}", plan)
        self.store = Store(self.newsroom.url, self.newsroom.root)
        self.now: datetime = SLOT
        self.deaths = 0
        self.points = 0
        """Faults that came about."""
        self.left: list[tuple[str, int]] = []
        self.erased: set[str] = set()
        self.broken: list[str] = []
        """What a case found by itself."""
        self.stood_still = False
        self.errors: list[str] = []
        """What processes ended with that were not killed."""
        self._snapshots: list[dict[int, tuple[str, str]]] = []
        self._logs: list[Path] = []
        self._beats = 0
        self.at: Counter[str] = Counter()
        """Points at which a process was hit."""

    def start(self, **torment: Any) -> Process:
        """A beat in a process of its own."""
        log = self.template.folder / f"{self.newsroom.root.name}.{len(self._logs)}.log"
        self._logs.append(log)
        self.newsroom.env.setdefault("TIDINGS_STORE", self.newsroom.url)
        return self.warm.beat(
            Spec(root=str(self.newsroom.root), now=self.now.isoformat(), log=str(log), env=self.newsroom.env, **torment)
        )

    def ended(self, process: Process) -> int:
        """Wait for it, and look at the ledger as it left it."""
        code = process.wait()
        if code > 0:
            said = self.said()
            self.errors.append(said.error or f"exit {code}")
        self.look()
        return code

    def run(self, **torment: Any) -> int:
        """Start and wait; a SIGKILL counts as a point."""
        code = self.ended(self.start(**torment))
        if code < 0:
            self.hit(torment.get("point") or "a random moment")
        return code

    def hit(self, where: str) -> None:
        """A sender died there, or stood still."""
        self.deaths += 1
        self.points += 1
        self.at[where] += 1

    def said(self, back: int = 1) -> Said:
        """What the last process said, or one before it."""
        return Said.read(self._logs[-back])

    def look(self) -> None:
        """Keep the states of all rows; not while a sender that stands still has the database for itself."""
        try:
            with self.store.read() as connection:
                composing = {one.name for one in editions.list_editions(connection) if one.state.value == "composing"}
                rows = {one.id: (one.edition, one.state) for one in ledger.entries(connection)}
        except OperationalError:
            return
        self._snapshots.append({key: value for key, value in rows.items() if value[0] not in composing})

    def finish(self) -> None:
        """Run beats without faults until nothing is active any more.

        The real clock jumps together with the newsroom's, as it would, so that a rate learned from refusals recovers.
        """
        passed = timedelta()
        for minutes in STEPS:
            self._beats += 1
            passed += timedelta(minutes=minutes)
            self.now += timedelta(minutes=minutes)
            code = self.run(clock_error=passed.total_seconds())
            if code == 0 and self.is_over():
                return
        self._beats = BEATS + 1

    def waiting(self) -> frozenset[int]:
        """Ids of rows that would go on by themselves."""
        with self.store.read() as connection:
            return frozenset(connection.execute(select(t.deliveries.c.id).where(ledger.is_active())).scalars())

    def is_over(self) -> bool:
        """Whether every edition has ended, and nothing goes on by itself."""
        with self.store.read() as connection:
            states = {one.state.value for one in editions.list_editions(connection)}
        return not self.waiting() and states <= {"done", "cancelled", "superseded"} and bool(states)

    def is_all_mailed(self) -> bool:
        """Whether there is an edition of which no mail goes on by itself; posts may still wait for their hour."""
        waiting = self.waiting()
        with self.store.read() as connection:
            rows = list(ledger.entries(connection))
        return bool(rows) and not any(row.id in waiting and not row.channel for row in rows)

    def not_yet_mailed(self) -> list[str]:
        """Addresses of mails that wait, in the order in which they are served; without those who have left."""
        gone = {address for address, _ in self.left}
        with self.store.read() as connection:
            rows = [row for row in ledger.entries(connection) if row.state in ledger.UNFINISHED]
        return [row.address for row in rows if row.address and row.address not in gone]

    def verdict(self) -> Verdict:
        """Judge what is left."""
        waiting = self.waiting()
        with self.store.read() as connection:
            rows = [one.as_json() | {"address": one.address} for one in ledger.entries(connection)]
            counts = ledger.count_by_state(connection)
            s = t.slots.c
            rows_of_slots = connection.execute(
                select(s.slot, s.state).where(s.schedule == SCHEDULE).order_by(s.slot.desc())
            )
            slots = [(SCHEDULE, str(row.slot), row.state) for row in rows_of_slots]
            made = [(one.name, str(one.slot), one.state.value) for one in editions.list_editions(connection)]
        intents = [moment for log in self._logs for moment in Said.read(log).intents]
        verdict = judge(
            Evidence(
                rows=rows,
                waiting=waiting,
                counts=counts,
                smtp=journal.read(self.newsroom.smtp_journal),
                http=journal.read(self.newsroom.http_journal),
                owed=self.newsroom.owed,
                barred=self.newsroom.barred,
                snapshots=self._snapshots,
                slots=slots,
                editions=made,
                deaths=self.deaths,
                connections=CONNECTIONS,
                left=self.left,
                erased=frozenset(self.erased),
                intents=sorted(intents, key=lambda one: one[0]),
                stood_still=self.stood_still,
                beats=self._beats,
            )
        )
        verdict.broken += self.broken
        return verdict

    def remove(self) -> None:
        """Its files: nothing was found."""
        shutil.rmtree(self.newsroom.root, ignore_errors=True)
        for path in (self.newsroom.smtp_journal, self.newsroom.http_journal, *self._logs):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the sinks, and let the store go."""
        self.store.close()
        self.newsroom.stop()


@contextmanager
def one_round(template: NewsroomTemplate, name: str, seed: int, plan: Plan) -> Iterator[Round]:
    """A round that cleans up after itself; its files stay if something was found."""
    made = Round(template, name, seed, plan)
    try:
        yield made
    finally:
        made.close()


def measured(template: NewsroomTemplate) -> tuple[Said, float]:
    """How often an undisturbed beat passes each point, before it delivers and in all, and how many seconds it takes."""
    with one_round(template, "measure", 0, Plan()) as calm:
        begun = time.monotonic()
        code = calm.run()
        took = time.monotonic() - begun
        said = calm.said()
        assert code == 0, said.error
        calm.finish()
        verdict = calm.verdict()
        assert not verdict.broken, verdict.broken
        return said, took
