"""Delivery with trouble: an unsubscription at the worst moment, a failing journal, an expired lease, a slow relay."""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, deliverer, rows
from tests.fixtures.smtp import SmtpSink
from tests.servers.postgresql import PgBouncer, Server
from tidings.pipeline.deliver import batch
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.pacing import SendWindow
from tidings.pipeline.deliver.recovery import recover
from tidings.store import locks
from tidings.store.delivery.claims import Claimant
from tidings.store.delivery.journal import Journal, JournalWriter
from tidings.store.engine import Store, is_locked
from tidings.store.people import consent


def test_no_message_begins_after_an_unsubscribe(store: Store, alive: locks.Liveness, tmp_path: Path) -> None:
    """The sender does not wait for the ledger between announcing and sending, so an unsubscription may come first."""
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(12)]), add_edition(store))
    left: dict[str, float] = {}
    meanwhile: set[str] = set()

    def reached(point: str) -> None:
        if point != "before-claim" or left:
            return
        record = Journal(store).read(alive.owner)
        begun = {key[0] for key in record.intents if key not in record.outcomes}
        there = {entry["to"] for entry in sink.taken()}
        leaving = [row["address"] for row in rows(store) if row["id"] in begun and row["address"] not in there]
        if leaving:
            with store.write() as connection:
                for address in leaving:
                    consent.suppress(connection, consent.address_hash(address), "digest", "unsubscribed", NOW)
            left.update(dict.fromkeys(leaving, time.time()))
            # The message that was already being sent arrives now.
            before = -1
            while len(sink.taken()) != before:
                before = len(sink.taken())
                time.sleep(2.0)
            meanwhile.update(entry["to"] for entry in sink.taken())

    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING",)) as sink:
        sender = deliverer(store, alive, sink.port, reached=reached, connections=4)
        sender.run_until_idle()
        sender.close()
        late = [
            e["to"] for e in sink.taken() if e["to"] in left and e["to"] not in meanwhile and e["at"] > left[e["to"]]
        ]
    assert late == []


def test_journal_entries_survive_a_reload(store: Store, alive: locks.Liveness, tmp_path: Path) -> None:
    """A new deliverer of the same process, while another process checks an expired lease."""
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    is_broken, looked = True, False

    def reached(point: str) -> None:
        nonlocal looked
        if point == "before-settle" and is_broken:
            raise OperationalError("", {}, Exception("database is locked"))
        if point == "after-intent" and not is_broken and not looked:
            looked = True
            later = datetime.now(UTC) + timedelta(hours=1)
            recover(store, alive, now=NOW, policies=ResendPolicies(), real_now=later)

    with SmtpSink(tmp_path / "sink.journal") as sink:
        first = deliverer(store, alive, sink.port, reached=reached)
        with pytest.raises(OperationalError):
            first.run_until_idle()
        first.close()
        is_broken = False
        add_mailing(store, add_readers(store, ["bob"]), add_edition(store, 2))
        second = deliverer(store, alive, sink.port, reached=reached)
        second.run_until_idle()
        second.run_until_idle()
        second.close()
        copies = Counter(entry["to"] for entry in sink.taken())
    assert looked
    for row in rows(store):
        assert copies[row["address"]] == 1 + row["doubts"], row


def test_permitted_rows_survive_a_failing_journal(
    store: Store, alive: locks.Liveness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(40)]), add_edition(store))
    write, calls = JournalWriter._write, itertools.count(1)

    def broken(self: Any, *arguments: Any, **options: Any) -> int | None:
        if next(calls) >= 9:
            raise OSError("the journal cannot be written: No space left on device")
        return write(self, *arguments, **options)

    monkeypatch.setattr(JournalWriter, "_write", broken)
    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING",)) as sink:
        sender = deliverer(store, alive, sink.port, connections=2)
        summary = sender.run_until_idle()
        sender.close()
        taken = {entry["to"] for entry in sink.taken()}
    assert "No space left" in summary.stalled[""]
    states = {row["address"]: row["state"] for row in rows(store)}
    # Deferred: the messages on the two connections when the run ended.
    assert Counter(states.values())["deferred"] <= 2
    assert set(states.values()) <= {"pending", "accepted", "in_doubt", "deferred"}
    assert {address for address, state in states.items() if state in ("accepted", "in_doubt")} == taken


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_own_claims_of_a_broken_run_are_sent_at_once(store: Store, alive: locks.Liveness, tmp_path: Path) -> None:
    """After a restart of the database, a claim may be committed although its sender does not know it."""
    add_mailing(store, add_readers(store, ["ada", "bob"]), add_edition(store))
    with store.write() as connection:
        claim = Claimant(alive.owner, "").claim(connection, 1, now=NOW, real_now=NOW, until=NOW + timedelta(minutes=20))
    assert len(claim.deliveries) == 1
    Journal(store).writer(alive.owner).close()
    with SmtpSink(tmp_path / "sink.journal") as sink:
        sender = deliverer(store, alive, sink.port, real_clock=lambda: NOW)
        assert sender.run_until_idle().states == {"accepted": 2}
        sender.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_long_lock_of_the_file_leaves_no_doubt(
    store: Store, alive: locks.Liveness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long lock makes a batch wait. The replies that arrived before are not forgotten."""
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(9)]), add_edition(store))
    monkeypatch.setattr(batch, "_MAX_RETRIES", 1)
    is_free = threading.Event()
    failed = itertools.count(1)

    def locked(error: DBAPIError) -> bool:
        if next(failed) == 4:
            is_free.set()
        return is_locked(error)

    monkeypatch.setattr(batch, "is_locked", locked)

    @event.listens_for(store.engine, "checkout")
    def _hurry(raw: Any, *_: Any) -> None:
        raw.execute("PRAGMA busy_timeout=50")

    assert store.path is not None
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)

    def reached(point: str) -> None:
        if point == "after-reply" and not other.in_transaction and not is_free.is_set():
            other.execute("BEGIN IMMEDIATE")
            threading.Thread(target=lambda: (is_free.wait(60), other.execute("ROLLBACK"))).start()

    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING",)) as sink:
        sender = deliverer(store, alive, sink.port, reached=reached, connections=3)
        sender.run_until_idle()
        sender.run_until_idle()
        sender.close()
        copies = Counter(entry["to"] for entry in sink.taken())
    assert is_free.is_set()
    assert {row["state"] for row in rows(store)} == {"accepted"}
    assert copies == Counter(row["address"] for row in rows(store))


@pytest.mark.needs_postgresql
def test_a_lost_journal_connection_leaves_no_row(
    store: Store, alive: locks.Liveness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.is_sqlite:
        return
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(5)]), add_edition(store))
    writers: list[JournalWriter] = []
    made = JournalWriter.__init__
    monkeypatch.setattr(JournalWriter, "__init__", lambda self, *about: made(self, *about) or writers.append(self))
    replies = itertools.count(1)

    def reached(point: str) -> None:
        if point == "after-reply" and next(replies) == 2:
            process = writers[-1]._connection.info.backend_pid
            with store.write() as connection:
                connection.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})

    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING",)) as sink:
        sender = deliverer(store, alive, sink.port, reached=reached, connections=1)
        with contextlib.suppress(SQLAlchemyError):
            sender.run_until_idle()
        sender.close()
        taken = {entry["to"] for entry in sink.taken()}
    states = {row["address"]: row["state"] for row in rows(store)}
    assert set(states.values()) <= {"pending", "accepted", "in_doubt"}
    assert all(states[address] != "pending" for address in taken)


def test_a_slow_relay_keeps_all_connections_busy() -> None:
    """A relay that needs more than a second for a message does not get fewer messages."""
    window = SendWindow(400, least=40)
    window.seconds = 2.0
    assert window.room(0, 0, math.inf) == 40
    assert window.room(20, 0, math.inf) == 20
    assert window.room(21, 0, math.inf) == 0
    # A configured rate decides.
    assert window.room(0, 0, 0.5) == 1


def test_a_claim_takes_all_of_the_window_that_is_free() -> None:
    """Each claim costs a disk sync: a limited sender claimed one mail at a time, and a fast one half of its window."""
    window = SendWindow(400, least=8)
    window.seconds = 1 / 4_000
    assert [window.room(permitted, 0, math.inf) for permitted in (0, 100, 101)] == [200, 100, 0]
    assert [window.room(0, scheduled, 100.0) for scheduled in (0, 25, 26)] == [50, 25, 0]
    # Mail that waits for a slow domain does not stop mail to other domains.
    assert [window.room(0, scheduled, math.inf) for scheduled in (0, 300, 400)] == [200, 100, 0]


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_send_goes_on_while_sessions_are_ended(
    store: Store, alive: locks.Liveness, tmp_path: Path, postgresql: Server, database_url: str
) -> None:
    """pg_terminate_backend and a restart in the middle of a send filled the log with PendingRollbackError."""

    def restart() -> None:
        postgresql.halt()
        time.sleep(0.3)
        postgresql.resume()

    def end_sessions() -> None:
        postgresql.end_sessions(database_url)

    _disturb_a_send(store, alive, tmp_path, [end_sessions, end_sessions, restart, end_sessions, end_sessions])


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_send_goes_on_while_its_pool_is_disturbed(
    tmp_path: Path, postgresql: Server, database_url: str, start_pool: Callable[[str], PgBouncer]
) -> None:
    """PgBouncer in transaction mode; locks and journals go past it."""
    pool = start_pool("transaction")
    store = Store(pool.address(database_url, direct=True), tmp_path)
    alive = locks.acquire_liveness(store)

    def end_sessions() -> None:
        postgresql.end_sessions(database_url)

    _disturb_a_send(store, alive, tmp_path, [pool.restart, end_sessions, pool.restart, end_sessions])
    alive.release()
    store.close()


def _disturb_a_send(
    store: Store, alive: locks.Liveness, tmp_path: Path, disturbances: Sequence[Callable[[], None]]
) -> None:
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(240)]), add_edition(store))
    errors: list[BaseException] = []
    with SmtpSink(tmp_path / "sink.journal", delay=0.003) as sink:
        sender = deliverer(store, alive, sink.port, connections=4)

        def send() -> None:
            while True:
                try:
                    sender.run_until_idle()
                    if {row["state"] for row in rows(store)} == {"accepted"}:
                        return
                except Exception as error:
                    errors.append(error)
                    time.sleep(0.05)

        thread = threading.Thread(target=send)
        thread.start()
        for disturbed, disturb in enumerate(disturbances):
            while len(sink.taken()) < 20 + 40 * disturbed and thread.is_alive():
                time.sleep(0.005)
            disturb()
        thread.join(120)
        sender.close()
        copies = Counter(entry["to"] for entry in sink.taken())
    assert not thread.is_alive()
    unexpected = [error for error in errors if not isinstance(error, OperationalError)]
    assert not unexpected, unexpected
    assert len(copies) == 240
    doubled = {address for address, count in copies.items() if count > 1}
    assert len(doubled) <= 4 * len(disturbances)
    assert doubled <= {row["address"] for row in rows(store) if row["doubts"]}
