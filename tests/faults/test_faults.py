"""A part of the fault harness that is quick enough for the suite; `make faults` plays a thousand points.

A round prints nothing while every promise holds. A broken promise names the seed with which to play it again.
"""

from __future__ import annotations

import random

import pytest

from tests.conftest import missing
from tests.faults import million
from tests.faults.cases import CASES
from tests.faults.run import Run
from tests.servers.postgresql import Server

QUICK = [name for name in CASES if name != "locked"]
FEW = ["boundary", "moment", "leaving", "wire"]
READERS = 40


def torment(database: str, **options: object) -> Run:
    if database == "postgresql" and not Server.is_installed():
        missing("PostgreSQL")
    seed = random.SystemRandom().randrange(10**6)
    found: list[str] = []
    run = Run(database=database, seed=seed, lanes=2, say=found.append, points=100, **options)  # type: ignore[arg-type]
    run.run()
    assert not found, "\n".join([*found, f"again: python -m tests.faults --database {database} --case CASE --rounds 1"])
    return run


@pytest.mark.slow
def test_a_round_of_some_faults_on_sqlite() -> None:
    run = torment("sqlite", cases=FEW, rounds=1, readers=READERS)
    assert all(tally.total.messages for tally in run.tallies)


@pytest.mark.slow
def test_a_round_of_every_fault_on_sqlite() -> None:
    run = torment("sqlite", cases=QUICK, rounds=1, readers=READERS)
    assert all(tally.total.messages for tally in run.tallies)
    assert sum(tally.points for tally in run.tallies) >= 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_long_send_killed_repeatedly() -> None:
    seed = random.SystemRandom().randrange(10**6)
    result = million.run(database="sqlite", seed=seed, readers=30_000, kills=8, say=print)
    assert result.kills >= 5, f"seed {seed}"
    assert not result.broken, f"seed {seed}: {result}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)])
def test_many_rounds(database: str) -> None:
    run = torment(database, rounds=3)
    assert sum(tally.points for tally in run.tallies if tally.case.kills) >= 30
    # Kills happened at the points that an undisturbed tick passes: the points belong to the product itself.
    assert {"before-intent", "after-dot"} <= set(run.points)
