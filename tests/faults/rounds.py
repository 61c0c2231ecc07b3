"""One round: its own newsroom, processes with faults, ticks until all is over, and the records of both sides."""

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
from tests.faults.child import ChildReport, Spec
from tests.faults.invariants import BEATS, Evidence, Verdict, judge
from tests.faults.newsrooms import CONNECTIONS, SCHEDULE, SLOT, NewsroomTemplate
from tests.faults.plan import Plan
from tests.faults.warm import Process, Warm
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.engine import Store

STEPS = (0, 0, 2, 6, 16, 61, 61, 181, 361, 721, 721, 721)
"""Minutes by which the newsroom's clock moves between the last ticks, so that retries come due."""


class Round:
    """One round. `seed` decides everything except the moment at which a signal arrives."""

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
        """Faults that really happened."""
        self.left: list[tuple[str, int]] = []
        self.erased: set[str] = set()
        self.broken: list[str] = []
        """Problems that a case found itself."""
        self.stood_still = False
        self.errors: list[str] = []
        """How processes ended that were not killed."""
        self._snapshots: list[dict[int, tuple[str, str]]] = []
        self._logs: list[Path] = []
        self._beats = 0
        self.at: Counter[str] = Counter()
        """Points at which a process was killed."""

    def start(self, **torment: Any) -> Process:
        """Start a tick in a process of its own."""
        log = self.template.folder / f"{self.newsroom.root.name}.{len(self._logs)}.log"
        self._logs.append(log)
        self.newsroom.env.setdefault("TIDINGS_STORE", self.newsroom.url)
        return self.warm.beat(
            Spec(root=str(self.newsroom.root), now=self.now.isoformat(), log=str(log), env=self.newsroom.env, **torment)
        )

    def ended(self, process: Process) -> int:
        """Wait for its end, and read the ledger after it."""
        code = process.wait()
        if code > 0:
            report = self.said()
            self.errors.append(report.error or f"exit {code}")
        self.look()
        return code

    def run(self, **torment: Any) -> int:
        """Start a tick and wait for it. A SIGKILL counts as a point."""
        code = self.ended(self.start(**torment))
        if code < 0:
            self.hit(torment.get("point") or "a random moment")
        return code

    def hit(self, where: str) -> None:
        """Count a sender that ended or was stopped there."""
        self.deaths += 1
        self.points += 1
        self.at[where] += 1

    def said(self, back: int = 1) -> ChildReport:
        """Return the report of the last process, or of one before it."""
        return ChildReport.read(self._logs[-back])

    def look(self) -> None:
        """Record the states of all rows, except while a stopped sender has the database locked."""
        try:
            with self.store.read() as connection:
                composing = {
                    edition.name for edition in editions.list_editions(connection) if edition.state.value == "composing"
                }
                rows = {entry.id: (entry.edition, entry.state) for entry in ledger.entries(connection)}
        except OperationalError:
            return
        self._snapshots.append({key: value for key, value in rows.items() if value[0] not in composing})

    def finish(self) -> None:
        """Run beats without faults until nothing is active any more.

        Real time moves together with the newsroom's clock, so that a rate that refusals have slowed recovers.
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
        """Return the ids of rows that would still be sent."""
        with self.store.read() as connection:
            return frozenset(connection.execute(select(t.deliveries.c.id).where(ledger.is_active())).scalars())

    def is_over(self) -> bool:
        """Whether every edition has ended and no row would still be sent."""
        with self.store.read() as connection:
            states = {edition.state.value for edition in editions.list_editions(connection)}
        return not self.waiting() and states <= {"done", "cancelled", "superseded"} and bool(states)

    def is_all_mailed(self) -> bool:
        """Whether no mail of an edition would still be sent; posts may wait for their hour."""
        waiting = self.waiting()
        with self.store.read() as connection:
            rows = list(ledger.entries(connection))
        return bool(rows) and not any(row.id in waiting and not row.channel for row in rows)

    def not_yet_mailed(self) -> list[str]:
        """Return the addresses of waiting mails, in the order of sending, without people who have left."""
        gone = {address for address, _ in self.left}
        with self.store.read() as connection:
            rows = [row for row in ledger.entries(connection) if row.state in ledger.UNFINISHED]
        return [row.address for row in rows if row.address and row.address not in gone]

    def verdict(self) -> Verdict:
        """Check the promises after the round."""
        waiting = self.waiting()
        with self.store.read() as connection:
            rows = [entry.as_json() | {"address": entry.address} for entry in ledger.entries(connection)]
            counts = ledger.count_by_state(connection)
            s = t.slots.c
            rows_of_slots = connection.execute(
                select(s.slot, s.state).where(s.schedule == SCHEDULE).order_by(s.slot.desc())
            )
            slots = [(SCHEDULE, str(row.slot), row.state) for row in rows_of_slots]
            made = [
                (edition.name, str(edition.slot), edition.state.value) for edition in editions.list_editions(connection)
            ]
        intents = [moment for log in self._logs for moment in ChildReport.read(log).intents]
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
        """Delete its files, because nothing was found."""
        shutil.rmtree(self.newsroom.root, ignore_errors=True)
        for path in (self.newsroom.smtp_journal, self.newsroom.http_journal, *self._logs):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the sinks and close the store."""
        self.store.close()
        self.newsroom.stop()


@contextmanager
def one_round(template: NewsroomTemplate, name: str, seed: int, plan: Plan) -> Iterator[Round]:
    """Play a round and clean up after it. Its files stay if something was found."""
    made = Round(template, name, seed, plan)
    try:
        yield made
    finally:
        made.close()


def measured(template: NewsroomTemplate) -> tuple[ChildReport, float]:
    """Return how often a tick without faults passes each point (before delivery, and in all), and its seconds."""
    with one_round(template, "measure", 0, Plan()) as calm:
        begun = time.monotonic()
        code = calm.run()
        took = time.monotonic() - begun
        report = calm.said()
        assert code == 0, report.error
        calm.finish()
        verdict = calm.verdict()
        assert not verdict.broken, verdict.broken
        return report, took
