"""kill -9 of a real process at each named point of delivery: nobody is lost, and every doubled mail was in doubt."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures import smtp
from tests.fixtures.items import open_store
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, deliverer, rows
from tests.servers.postgresql import PgBouncer
from tidings.pipeline.deliver.deliverer import finish_editions
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.recovery import recover
from tidings.store import locks
from tidings.store.engine import Store

CONNECTIONS = 4
READERS = 120

POINTS = {
    "before-claim": 3,
    "after-claim": 3,
    "before-intent": 60,
    "after-intent": 61,
    "before-dot": 62,
    "after-dot": 63,
    "after-reply": 64,
    "after-outcome": 65,
    "before-settle": 2,
    "after-settle": 2,
}
"""Each point, and how often it is reached before the kill. At least four groups: this is before the end."""


class SinkProcess:
    """The SMTP sink as a process of its own, so that it outlives the senders."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "sink.journal"
        command = [sys.executable, "-m", "tests.fixtures.smtp", str(self.journal)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate("")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SinkProcess]:
    process = SinkProcess(tmp_path)
    yield process
    process.close()


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    made = open_store(database_url, tmp_path)
    readers = add_readers(made, [f"reader{number}" for number in range(READERS)])
    add_mailing(made, readers, add_edition(made))
    yield made
    made.close()


def _run_child(url: str, root: Path, port: int, point: str, nth: int) -> int:
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.deliver.delivery_child",
        url,
        str(root),
        str(port),
        point,
        str(nth),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    print(f"child ended with {done.returncode}: {done.stdout}")
    return done.returncode


def _finish_here(store: Store, port: int) -> None:
    """Recover as the next start does."""
    alive = locks.acquire_liveness(store)
    recover(store, alive, now=NOW, policies=ResendPolicies())
    sender = deliverer(store, alive, port)
    sender.run_until_idle()
    sender.close()
    finish_editions(store, NOW)
    alive.release()


def _check(store: Store, sink: SinkProcess, kills: int) -> None:
    ledger = rows(store)
    taken = smtp.read(sink.journal)
    by_id = {entry["id"]: entry for entry in taken}
    copies = Counter(entry["to"] for entry in taken)
    # Nobody is lost: every row ends well, because the sink refuses nobody. Only a mail that was being sent at two
    # crashes waits for a person, and a mail that was being prepared at three crashes is set aside.
    assert len(ledger) == READERS
    for row in ledger:
        if row["state"] == "in_doubt":
            assert kills >= row["doubts"] == 2
        elif row["state"] == "quarantined":
            assert kills >= row["crashes"] == 3
        else:
            assert row["state"] == "accepted"
            assert copies[row["address"]] >= 1
    # Each accepted row has a receipt of the sink for the same reader.
    for row in [row for row in ledger if row["state"] == "accepted"]:
        assert by_id[row["receipt"].rpartition(" ")[2]]["to"] == row["address"]
    # At most one mail for each connection is doubled. The ledger knew the doubt before it was sent again.
    doubled = [row for row in ledger if copies[row["address"]] > 1]
    assert sum(count - 1 for count in copies.values()) <= kills * CONNECTIONS
    for row in doubled:
        assert row["doubts"] >= copies[row["address"]] - 1, row
    assert sum(row["doubts"] for row in ledger) <= kills * CONNECTIONS
    # A resend carries the Message-ID of the first try.
    assert len({(entry["to"], entry["message_id"]) for entry in taken}) == len(copies)


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_each_point(store: Store, sink: SinkProcess, database_url: str, tmp_path: Path, point: str) -> None:
    assert _run_child(database_url, tmp_path, sink.port, point, POINTS[point]) == -signal.SIGKILL
    before = smtp.read(sink.journal)
    assert point.endswith("settle") or len(before) < READERS
    _finish_here(store, sink.port)
    _check(store, sink, kills=1)
    assert len(smtp.read(sink.journal)) >= READERS
    if point == "after-dot":
        assert any(row["doubts"] for row in rows(store))


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_kill_9_beside_a_pool_of_transactions(
    store: Store, sink: SinkProcess, database_url: str, tmp_path: Path, start_pool: Callable[[str], PgBouncer]
) -> None:
    pool = start_pool("transaction")
    address = pool.address(database_url, direct=True)
    for point in ("after-dot", "before-settle"):
        assert _run_child(address, tmp_path, sink.port, point, 2) == -signal.SIGKILL
    pooled = Store(address, tmp_path)
    _finish_here(pooled, sink.port)
    _check(pooled, sink, kills=2)
    pooled.close()


def test_kill_9_repeatedly(store: Store, sink: SinkProcess, database_url: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = 0
    for _ in range(4):
        if _run_child(database_url, tmp_path, sink.port, "any", chance.randint(20, 250)) == 0:
            break
        kills += 1
    _finish_here(store, sink.port)
    _check(store, sink, kills)


@pytest.mark.slow
def test_kill_9_thirty_times(store: Store, sink: SinkProcess, database_url: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for round_number in range(1, 31):
        readers = add_readers(store, [f"extra{round_number}x{number}" for number in range(40)])
        add_mailing(store, readers, add_edition(store, round_number + 1))
        _run_child(database_url, tmp_path, sink.port, "any", chance.randint(1, 300))
    _finish_here(store, sink.port)
    ledger = rows(store)
    copies = Counter((entry["to"], entry["message_id"]) for entry in smtp.read(sink.journal))
    assert {row["state"] for row in ledger} <= {"accepted", "in_doubt", "quarantined"}
    for row in ledger:
        sent = copies[row["address"], f"<{row['id']}@news.example.org>"]
        assert sent - 1 <= row["doubts"]
        assert (row["state"] == "quarantined") == (sent == 0), row
