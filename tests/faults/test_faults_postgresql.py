"""The same on PostgreSQL, in a file of its own, so that both run at once."""

from __future__ import annotations

import pytest

from tests.faults.test_faults import FEW, READERS, torment


@pytest.mark.slow
@pytest.mark.needs_postgresql
def test_a_round_of_some_faults_on_postgresql() -> None:
    run = torment("postgresql", cases=FEW, rounds=1, readers=READERS)
    assert all(tally.total.messages for tally in run.tallies)
