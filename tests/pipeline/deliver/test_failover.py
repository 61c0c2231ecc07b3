"""A standby that was behind takes over: senders report what it has forgotten, before anybody claims again."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, deliverer, rows
from tests.fixtures.smtp import SmtpSink
from tests.servers.postgresql import Server
from tidings.pipeline.deliver.deliverer import Deliverer
from tidings.pipeline.deliver.recovery import recover
from tidings.render.team_notices import translate_hold, translate_notice
from tidings.store import schema as t
from tidings.store.delivery import failover
from tidings.store.delivery.failover import PATIENCE, SenderMemory
from tidings.store.delivery.notices import recent_notices
from tidings.store.engine import Store
from tidings.store.key_values import set_value
from tidings.store.locks import Liveness
from tidings.store.service.heartbeat import Heartbeat, ProcessRole, delete_heartbeat, record_heartbeat
from tidings.store.service.restored import reason_to_hold

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
READERS = ["ada", "grace", "once-lost.x", "mary"]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path / "sink.journal") as running:
        yield running


@pytest.fixture
def memory() -> SenderMemory:
    return SenderMemory()


@pytest.fixture
def sender(store: Store, alive: Liveness, sink: SmtpSink, memory: SenderMemory) -> Iterator[Deliverer]:
    """A sender that has mailed four readers. One connection was lost, so that mail was sent twice."""
    add_mailing(store, add_readers(store, READERS), add_edition(store))
    with store.write() as connection:
        record_heartbeat(connection, Heartbeat(alive.owner, NOW, NOW, role=ProcessRole.WORKER))
    seconds = itertools.count()
    made = deliverer(store, alive, sink.port, memory=memory, clock=lambda: NOW + timedelta(seconds=next(seconds)))
    assert made.run_until_idle().states["accepted"] == 4
    yield made
    made.close()


def fail_over(store: Store, memory: SenderMemory) -> None:
    """Make the present server look like one that took over and has forgotten every claim."""
    with store.write() as connection:
        connection.execute(
            update(t.deliveries).values(state="pending", fence=0, receipt="", attempts=0, doubts=0, at=NOW)
        )
        set_value(connection, "timeline", "1/former")
    memory.timeline = "1/former"


def assert_translated(*notices: str) -> None:
    """The team reads every line in its own language."""
    for text in notices:
        assert not set(text.split("\n")) & set(translate_notice(text, "ru").split("\n"))


def test_forgotten_mails_are_accepted_again(
    store: Store, sender: Deliverer, memory: SenderMemory, sink: SmtpSink
) -> None:
    receipts = {row["id"]: row["receipt"] for row in rows(store)}
    fail_over(store, memory)
    sent = len(sink.taken())
    assert not sender.run_until_idle().states
    assert {row["id"]: row["receipt"] for row in rows(store)} == receipts
    assert {row["state"] for row in rows(store)} == {"accepted"}
    assert len(sink.taken()) == sent
    with store.read() as connection:
        assert not recent_notices(connection)


def test_a_sender_whose_heartbeat_was_forgotten_reports(
    store: Store, sender: Deliverer, alive: Liveness, memory: SenderMemory, sink: SmtpSink
) -> None:
    fail_over(store, memory)
    with store.write() as connection:
        delete_heartbeat(connection, alive.owner)
    sent = len(sink.taken())
    assert not sender.run_until_idle().states
    assert {row["state"] for row in rows(store)} == {"accepted"}
    assert len(sink.taken()) == sent


def test_a_failover_that_forgot_nothing_holds_nothing(store: Store, sender: Deliverer, memory: SenderMemory) -> None:
    before = rows(store)
    with store.write() as connection:
        set_value(connection, "timeline", "1/former")
    memory.timeline = "1/former"
    assert not sender.run_until_idle().states
    assert rows(store) == before
    with store.read() as connection:
        assert not recent_notices(connection)


def test_a_forgotten_intent_is_in_doubt(store: Store, sender: Deliverer, memory: SenderMemory, sink: SmtpSink) -> None:
    """The connection to the database was lost together with the reply of the relay."""
    fail_over(store, memory)
    without = [(at, entry) for at, entry in memory._lines if '"O"' not in entry]
    memory._lines.clear()
    memory._lines.extend(without)
    assert sender.run_until_idle().states == {"accepted": 4}
    assert Counter((row["state"], row["doubts"]) for row in rows(store)) == {("accepted", 1): 4}
    copies = Counter(entry["message_id"] for entry in sink.taken())
    assert set(copies.values()) == {2, 3}, "sent once more, with the same Message-ID"


def test_nothing_is_claimed_until_all_have_reported(
    store: Store, sender: Deliverer, alive: Liveness, memory: SenderMemory, sink: SmtpSink
) -> None:
    with store.write() as connection:
        record_heartbeat(connection, Heartbeat("other-1-ff", NOW, NOW, role=ProcessRole.WORKER))
    add_mailing(store, add_readers(store, ["new"]), add_edition(store, 2))
    fail_over(store, memory)
    now = datetime.now(UTC)
    assert sender.run_until_idle(seconds=0).states == {}
    assert Counter(row["state"] for row in rows(store)) == {"accepted": 4, "pending": 1}
    # The other one looks dead because it has not connected again. It knows the outcomes of its deliveries.
    with store.write() as connection:
        connection.execute(
            update(t.deliveries).where(t.deliveries.c.state == "pending").values(state="handed", owner="x")
        )
    assert not recover(store, alive, now=NOW, policies=sender._context.policies)
    with store.write() as connection:
        failover.report(connection, failover.server_timeline(connection), "other-1-ff")
    assert failover.is_settled(store, now)
    recover(store, alive, now=NOW, policies=sender._context.policies)
    assert sender.run_until_idle().states["accepted"] == 1


def test_a_sender_that_never_reports_is_named(store: Store, sender: Deliverer, memory: SenderMemory) -> None:
    with store.write() as connection:
        record_heartbeat(connection, Heartbeat("other-1-ff", NOW, NOW, role=ProcessRole.WORKER))
    fail_over(store, memory)
    now = datetime.now(UTC)
    assert not failover.is_settled(store, now)
    assert sender.settle_failover() is False
    assert not failover.is_settled(store, now + PATIENCE - timedelta(seconds=1))
    assert failover.is_settled(store, now + PATIENCE)
    with store.read() as connection:
        (notice,) = recent_notices(connection)
    assert "other-1-ff did not report" in notice.text
    assert_translated(notice.text)


def test_a_sender_that_reports_too_late_says_how_many(store: Store, sender: Deliverer, memory: SenderMemory) -> None:
    """Others may have claimed its mails since, so nobody knows which of them were forgotten."""
    fail_over(store, memory)
    now = datetime.now(UTC)
    assert not failover.is_settled(store, now) and failover.is_settled(store, now + PATIENCE)
    assert sender.settle_failover() is True
    with store.read() as connection:
        texts = [notice.text for notice in recent_notices(connection)]
    assert any("may have forgotten" in text and "at most 4)" in text for text in texts), texts
    assert_translated(*texts)
    assert {row["state"] for row in rows(store)} == {"pending"}


def test_a_server_without_a_timeline_erases_no_memory(
    store: Store, sender: Deliverer, memory: SenderMemory, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby that is not promoted yet answers first."""
    fail_over(store, memory)
    sent = len(sink.taken())
    with monkeypatch.context() as standby:
        standby.setattr(failover, "server_timeline", lambda connection: "")
        assert sender.settle_failover()
    assert not sender.run_until_idle().states
    assert {row["state"] for row in rows(store)} == {"accepted"}
    assert len(sink.taken()) == sent


def test_a_server_without_timelines_is_asked_only_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.write() as connection:
        monkeypatch.setattr(failover, "_TIMELINE", "SELECT no_such_function()")
        assert failover.server_timeline(connection) == ""
        monkeypatch.setattr(failover, "_TIMELINE", "SELECT 'asked again'")
        assert failover.server_timeline(connection) == ""


def test_a_pool_is_asked_for_its_timeline_again(
    database_url: str, tmp_path: Path, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lead to another server without a new connection."""
    store = Store(f"{database_url}?direct=127.0.0.1:{postgresql.port}", tmp_path)
    with store.write() as connection:
        first = failover.server_timeline(connection)
        monkeypatch.setattr(failover, "_TIMELINE", "SELECT 'another'")
        assert first != failover.server_timeline(connection) == "another"
    store.close()


def test_a_session_that_ends_during_the_look_up_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction had ended. The look-up continued, and the next statement failed with PendingRollbackError."""
    monkeypatch.setattr(failover, "_TIMELINE", "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OperationalError), store.write() as connection:
        failover.server_timeline(connection)


def test_a_forgotten_edition_is_held_for_a_person(store: Store, sender: Deliverer, memory: SenderMemory) -> None:
    fail_over(store, memory)
    with store.write() as connection:
        connection.execute(delete(t.deliveries))
    sender.run_until_idle()
    with store.read() as connection:
        held, other = (reason_to_hold(connection, schedule) for schedule in ("friday", "monday"))
        (notice,) = recent_notices(connection)
    assert "has forgotten an edition of this schedule" in held
    assert not other
    assert "has forgotten what" in notice.text and "(messages: 4)" in notice.text
    assert_translated(notice.text)
    assert translate_hold(held, "ru") != held


def test_a_new_delivery_with_an_old_id_is_sent(store: Store, sender: Deliverer, memory: SenderMemory) -> None:
    """The sequence of ids was behind too, so that another reader's mail has the id of a forgotten one."""
    fail_over(store, memory)
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(at=NOW + timedelta(minutes=5)))
    assert sender.run_until_idle().states["accepted"] == 4


def test_claims_stop_when_the_server_changes(
    store: Store, alive: Liveness, sink: SmtpSink, memory: SenderMemory
) -> None:
    """A batch connects again during a send, and the server that answers may have forgotten other claims."""
    add_mailing(store, add_readers(store, [f"reader{number}" for number in range(60)]), add_edition(store))

    def change_server(point: str) -> None:
        if point == "after-claim":
            memory.timeline = "1/former"

    first = deliverer(store, alive, sink.port, memory=memory, reached=change_server)
    sent = first.run_until_idle().states["accepted"]
    first.close()
    assert 0 < sent < 60
    second = deliverer(store, alive, sink.port, memory=memory)
    assert second.run_until_idle().states["accepted"] == 60 - sent
    second.close()
