"""Many rounds on a few cores: each has a warm process and a template, and takes the fault that is most behind."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

from tests.faults.cases import CASES, Case
from tests.faults.child import ChildReport
from tests.faults.invariants import Verdict
from tests.faults.newsrooms import NewsroomTemplate
from tests.faults.rounds import Round, measured, one_round
from tests.faults.warm import Warm
from tests.servers.postgresql import Server


@dataclass
class Tally:
    """The result of all rounds of one fault."""

    case: Case
    target: int
    first: int
    """The first seed; `rounds` follow it one by one."""
    rounds: int = 0
    points: int = 0
    at: Counter[str] = field(default_factory=Counter)
    total: Verdict = field(default_factory=Verdict)
    failed: dict[int, list[str]] = field(default_factory=dict)
    """Broken promises by seed."""

    def add(self, seed: int, one: Round, verdict: Verdict) -> None:
        """Add the result of one round."""
        self.points += one.points
        self.at.update(one.at)
        for count in fields(Verdict):
            if count.name != "broken":
                setattr(self.total, count.name, getattr(self.total, count.name) + getattr(verdict, count.name))
        if verdict.broken:
            self.failed[seed] = verdict.broken


def try_round(
    template: NewsroomTemplate, case: Case, seed: int, calm: ChildReport, took: float
) -> tuple[Round, Verdict]:
    """Play one round of one fault."""
    with one_round(template, case.name, seed, case.plan(seed)) as one:
        case.do(one, calm, took)
        return one, one.verdict()


class Run:
    """All faults with one type of database."""

    def __init__(
        self,
        *,
        database: str,
        points: int,
        seed: int,
        cases: list[str] | None = None,
        rounds: int | None = None,
        readers: int = 100,
        lanes: int = 2,
        seconds: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """`rounds`: the number for each fault, whatever `points` says. `seconds`: begin no round after that."""
        self.database = database
        self.tallies: list[Tally] = []
        for case in CASES.values():
            if (cases and case.name not in cases) or (case.sqlite_only and database != "sqlite"):
                continue
            self.tallies.append(Tally(case, max(1, round(points * case.share)), seed))
        self._rounds = rounds
        self._readers = readers
        self._lanes = lanes
        self._until = time.monotonic() + seconds if seconds else None
        self._say = say
        self._mutex = threading.Lock()
        self._errors: list[BaseException] = []
        self.folder = Path(tempfile.mkdtemp(prefix="tidings-faults-"))
        self.points: Counter[str] = Counter()
        """The points of a tick without faults, and how often it passes each."""

    @property
    def broken(self) -> bool:
        """Whether a promise is broken."""
        return any(tally.failed for tally in self.tallies)

    def run(self) -> None:
        """Play until every fault has had its points. The folder stays if a promise is broken."""
        server = Server() if self.database == "postgresql" else None
        if server:
            server.start()
        try:
            lanes = [threading.Thread(target=self._lane, args=(number, server)) for number in range(self._lanes)]
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
        finally:
            if server:
                server.stop()
        if self._errors:
            raise self._errors[0]
        if not self.broken:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _next(self) -> tuple[Tally, int] | None:
        with self._mutex:
            if self._errors or (self._until is not None and time.monotonic() > self._until):
                return None
            if self._rounds is not None:
                open_ones = [tally for tally in self.tallies if tally.rounds < self._rounds]
            else:
                # A fault that never happens must not run for ever.
                open_ones = [t for t in self.tallies if t.points < t.target and t.rounds < 20 + 2 * t.target]
            if not open_ones:
                return None
            tally = min(open_ones, key=lambda one: (one.points + one.rounds) / one.target)
            seed = tally.first + tally.rounds
            tally.rounds += 1
            return tally, seed

    def _lane(self, number: int, server: Server | None) -> None:
        folder = self.folder / f"lane{number}"
        folder.mkdir()
        try:
            with Warm() as warm:
                # One at a time: Alembic is not thread-safe.
                with self._mutex:
                    template = NewsroomTemplate(folder, warm, server, self._readers).build()
                calm, took = measured(template)
                self.points = calm.points
                while (work := self._next()) is not None:
                    tally, seed = work
                    one, verdict = try_round(template, tally.case, seed, calm, took)
                    with self._mutex:
                        tally.add(seed, one, verdict)
                    for line in verdict.broken:
                        self._say(f"{tally.case.name} seed {seed} ({self.database}): {line}")
                    if not verdict.broken:
                        one.remove()
                template.close()
        except BaseException as error:
            self._errors.append(error)
