"""The outcome of each delivery, for all answers of the other side and with other processes at work."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests.fixtures import ledger as ledger_fixtures
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, prepare, rows
from tests.fixtures.smtp import SmtpSink
from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.model.delivery import Delivery, Outcome, Verdict
from tidings.pipeline.deliver.context import OutgoingMessage
from tidings.pipeline.deliver.deliverer import Deliverer, finish_editions
from tidings.pipeline.deliver.outcomes import BACKOFF, ResendPolicies
from tidings.pipeline.deliver.recovery import recover
from tidings.store import locks
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import claims, ledger
from tidings.store.delivery.journal import Journal
from tidings.store.engine import Store
from tidings.store.people import subscribers


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path / "sink.journal") as running:
        yield running


made: list[Deliverer] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the connections that deliverers keep."""
    yield
    for sender in made:
        sender.close()
    made.clear()


def deliverer(*args: Any, **options: Any) -> Deliverer:
    """A deliverer that is closed after the test."""
    made.append(ledger_fixtures.deliverer(*args, **options))
    return made[-1]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def real(self) -> datetime:
        """Move real time together with the clock, so that a rate learned from a busy relay recovers."""
        return datetime.now(UTC) + (self.now - NOW)


def _states(store: Store) -> dict[str, str]:
    return {row["address"].partition("@")[0]: row["state"] for row in rows(store)}


def test_each_verdict_ends_in_its_state(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    names = ["ada", "rcpt-550", "dot-554", "rcpt-450", "dot-451", "rst-rcpt", "once-lost.x", "lost.y", "grace"]
    add_mailing(store, add_readers(store, names), add_edition(store))
    sender = deliverer(store, alive, sink.port)
    done = sender.run_until_idle()
    by_name = {row["address"].partition("@")[0]: row for row in rows(store)}
    assert {name: row["state"] for name, row in by_name.items()} == {
        "ada": "accepted",
        "rcpt-550": "rejected",
        "dot-554": "rejected",
        "rcpt-450": "deferred",
        "dot-451": "deferred",
        "rst-rcpt": "deferred",
        # In doubt, sent once more with the same Message-ID, and accepted.
        "once-lost.x": "accepted",
        # In doubt twice: now a person decides.
        "lost.y": "in_doubt",
        "grace": "accepted",
    }
    assert by_name["rcpt-550"]["reason"] == "550 5.1.1 refused at RCPT (RCPT)"
    assert (by_name["once-lost.x"]["doubts"], by_name["once-lost.x"]["attempts"]) == (1, 2)
    assert (by_name["lost.y"]["doubts"], by_name["lost.y"]["next_at"]) == (2, None)
    assert by_name["rcpt-450"]["next_at"] == NOW + BACKOFF[0]
    copies = Counter(entry["to"].partition("@")[0] for entry in sink.taken())
    assert copies == {"ada": 1, "once-lost.x": 2, "lost.y": 2, "grace": 1}
    lost = [entry["message_id"] for entry in sink.taken() if entry["to"].startswith("once-lost")]
    assert lost[0] == lost[1]
    assert done.states["accepted"] == 3
    assert done.states["rejected"] == 2
    assert done.too_late == 0
    # A second call at the same moment sends nothing.
    assert deliverer(store, alive, sink.port).run_until_idle().states == {}
    assert len(sink.taken()) == 6


def test_resend_in_doubt_never(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, ["once-lost.x"]), add_edition(store))
    policies = ResendPolicies(never=frozenset({"digest"}))
    deliverer(store, alive, sink.port, policies=policies).run_until_idle()
    assert _states(store) == {"once-lost.x": "in_doubt"}
    assert len(sink.taken()) == 1


def test_temporary_refusals_are_retried_and_given_up(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, ["rcpt-450", "once-rcpt-450.x"]), add_edition(store))
    clock = Clock()
    sender = deliverer(store, alive, sink.port, clock=clock, real_clock=clock.real)
    sender.run_until_idle()
    tries = 1
    while any(state == "deferred" for state in _states(store).values()):
        clock.now += timedelta(seconds=30)
        sender.run_until_idle()
        (waiting,) = [row for row in rows(store) if row["address"].startswith("rcpt-450")]
        if waiting["attempts"] > tries:
            tries = waiting["attempts"]
        if waiting["next_at"] is not None:
            clock.now = waiting["next_at"] - timedelta(seconds=30)
    assert _states(store) == {"rcpt-450": "quarantined", "once-rcpt-450.x": "accepted"}
    assert tries == len(BACKOFF) + 1
    assert timedelta(hours=40) < clock.now - NOW < timedelta(hours=60)
    assert "450" in rows(store)[0]["reason"]


def test_a_relay_that_is_down_costs_no_attempt(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(30)]), add_edition(store))
    sink.greeting = "421 4.3.2 too busy"
    sender = deliverer(store, alive, sink.port)
    done = sender.run_until_idle()
    assert "421" in done.stalled[""]
    assert Counter(_states(store).values()) == {"pending": 30}
    assert {row["attempts"] for row in rows(store)} == {0}
    sink.greeting = "220 sink.example ESMTP"
    assert sender.run_until_idle().states["accepted"] == 30


def test_two_deliverers_on_one_store_deliver_each_once(store: Store, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(150)]), add_edition(store))
    owners = [locks.acquire_liveness(store) for _ in range(2)]
    senders = [deliverer(store, owner, sink.port, connections=2) for owner in owners]
    threads = [threading.Thread(target=sender.run_until_idle) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(_states(store).values()) == {"accepted": 150}
    assert Counter(Counter(entry["to"] for entry in sink.taken()).values()) == {1: 150}
    for owner in owners:
        owner.release()


def _at(wanted: str, nth: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Call a function when a point is reached for the nth time."""
    left = nth

    def reached(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if left == 0:
                act()

    return reached


def test_unsubscribing_after_permission_stops_the_mail(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    readers = add_readers(store, [f"r{number}" for number in range(8)])
    add_mailing(store, readers, add_edition(store))

    def leave() -> None:
        with store.write() as connection:
            for name in ("r5", "r6"):
                subscribers.unsubscribe(connection, readers[name], "digest", source="test", now=NOW)

    sender = deliverer(store, alive, sink.port, connections=1, reached=_at("after-outcome", 3, leave))
    done = sender.run_until_idle()
    assert {name for name, state in _states(store).items() if state == "skipped"} == {"r5", "r6"}
    assert {row["reason"] for row in rows(store) if row["state"] == "skipped"} == {"unsubscribed"}
    assert {entry["to"] for entry in sink.taken()} == {f"r{n}@example.org" for n in (0, 1, 2, 3, 4, 7)}
    assert done.states["skipped"] == 2


def test_unsubscribed_before_sending_is_skipped_with_reason(
    store: Store, alive: locks.Liveness, sink: SmtpSink
) -> None:
    readers = add_readers(store, ["ada", "grace", "edsger"])
    add_mailing(store, readers, add_edition(store))
    with store.write() as connection:
        subscribers.unsubscribe(connection, readers["grace"], "digest", source="test", now=NOW)
        subscribers.erase(connection, readers["edsger"], now=NOW)
    deliverer(store, alive, sink.port).run_until_idle()
    assert [(row["state"], row["reason"], row["address"]) for row in rows(store)] == [
        ("accepted", "", "ada@example.org"),
        ("skipped", "unsubscribed", "grace@example.org"),
        ("skipped", "erased", ""),
    ]


def test_in_doubt_stays_after_an_unsubscribe(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    readers = add_readers(store, ["lost"])
    add_mailing(store, readers, add_edition(store))

    def leave() -> None:
        with store.write() as connection:
            subscribers.unsubscribe(connection, readers["lost"], "digest", source="test", now=NOW)

    deliverer(store, alive, sink.port, reached=_at("after-settle", 1, leave)).run_until_idle()
    (row,) = rows(store)
    assert (row["state"], row["reason"]) == ("in_doubt", "not sent again: unsubscribed")
    assert len(sink.taken()) == 1


@pytest.mark.parametrize("then", ["pause", "cancel"])
def test_a_pause_or_cancel_stops_a_half_sent_edition(
    store: Store, alive: locks.Liveness, sink: SmtpSink, then: str
) -> None:
    edition = add_edition(store)
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(40)]), edition)

    def close() -> None:
        with store.write() as connection:
            if then == "pause":
                ledger.close_edition(connection, edition)
            else:
                ledger.cancel_edition(connection, edition, NOW)
                connection.execute(update(t.editions).values(state="cancelled"))

    sender = deliverer(store, alive, sink.port, connections=1, reached=_at("after-outcome", 7, close))
    sender.run_until_idle()
    assert len(sink.taken()) == 7
    finish_editions(store, NOW)
    rest = "pending" if then == "pause" else "cancelled"
    assert Counter(_states(store).values()) == {"accepted": 7, rest: 33}
    if then == "pause":
        with store.write() as connection:
            ledger.open_edition(connection, edition, NOW)
        sender.run_until_idle()
        assert Counter(_states(store).values()) == {"accepted": 40}
        assert len(sink.taken()) == 40


def test_a_living_sender_that_seems_dead_doubles_none(
    store: Store, alive: locks.Liveness, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After PostgreSQL had ended all sessions, others took over its claims, and it sent them too."""
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(40)]), add_edition(store))
    other = locks.acquire_liveness(store)
    monkeypatch.setattr(type(other), "is_alive", lambda self, owner: owner == self.owner)

    def take_over() -> None:
        recover(store, other, now=NOW, policies=ResendPolicies())
        deliverer(store, other, sink.port).run_until_idle()

    deliverer(store, alive, sink.port, connections=1, reached=_at("before-intent", 7, take_over)).run_until_idle()
    taken = Counter(event["to"] for event in sink.taken())
    assert len(taken) == 40
    doubled = {to for to, count in taken.items() if count > 1}
    assert doubled <= {row["address"] for row in rows(store) if row["doubts"]}
    assert len(doubled) <= 1, "one connection has one message on the wire"
    other.release()


def test_stopping_finishes_messages_and_doubles_none(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(60)]), add_edition(store))
    sender: Deliverer = deliverer(
        store, alive, sink.port, connections=2, reached=_at("before-dot", 9, lambda: sender.stop(grace=60))
    )
    sender.run_until_idle()
    states = Counter(_states(store).values())
    assert set(states) == {"accepted", "pending"}
    assert states["accepted"] == len(sink.taken()) >= 9
    with store.read() as connection:
        assert claims.list_owners(connection) == []
    again = deliverer(store, alive, sink.port)
    again.run_until_idle()
    assert Counter(entry["to"] for entry in sink.taken()).total() == 60


def test_an_error_of_ours_costs_no_mail_an_attempt(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    """When the database failed in the middle, mails that had not begun were deferred for a minute."""
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(20)]), add_edition(store))

    def fail() -> None:
        raise RuntimeError("the database has gone")

    with pytest.raises(RuntimeError, match="has gone"):
        deliverer(store, alive, sink.port, connections=2, reached=_at("before-intent", 5, fail)).run_until_idle()
    assert {(row["state"], row["attempts"]) for row in rows(store)} == {("accepted", 1), ("pending", 0)}


def test_a_process_that_hangs_past_its_lease_writes_nothing(store: Store, sink: SmtpSink) -> None:
    """SIGSTOP until the lease is over: another process takes over, and later writes of the stopped process are void."""
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(10)]), add_edition(store))
    sleeper, other = locks.acquire_liveness(store), locks.acquire_liveness(store)
    seconds = 0.0

    def sleep() -> None:
        # It stops for an hour after the dot of its third message. The other process sends the rest.
        nonlocal seconds
        seconds += 3_600
        later = datetime.now(UTC) + timedelta(hours=1)
        recover(store, other, now=NOW, policies=ResendPolicies(), real_now=later)
        taking_over = deliverer(store, other, sink.port, connections=1)
        taking_over.run_until_idle()

    stale = deliverer(
        store, sleeper, sink.port, connections=1, boot_clock=lambda: seconds, reached=_at("after-dot", 3, sleep)
    )
    done = stale.run_until_idle()
    assert done.too_late >= 1
    assert Counter(_states(store).values()) == {"accepted": 10}
    copies = Counter(entry["to"] for entry in sink.taken())
    # Its journal had two finished messages. Only the third, which was being sent, went twice and was in doubt.
    assert sum(copies.values()) == 11
    (row,) = [row for row in rows(store) if copies[row["address"]] == 2]
    assert row["doubts"] == 1
    sleeper.release()
    other.release()


def test_an_expired_lease_is_noticed_before_a_message_begins(store: Store, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(5)]), add_edition(store))
    alive = locks.acquire_liveness(store)
    seconds = 0.0

    def sleep() -> None:
        nonlocal seconds
        seconds = 10_000.0

    stale = deliverer(
        store, alive, sink.port, connections=1, boot_clock=lambda: seconds, reached=_at("after-outcome", 1, sleep)
    )
    stale.run_until_idle()
    # The first message was sent. Then its lease was over, so it returned the others and claimed them again.
    assert Counter(_states(store).values()) == {"accepted": 5}
    assert sorted(row["fence"] for row in rows(store)) == [1, 2, 2, 2, 2]
    assert len(sink.taken()) == 5
    alive.release()


def test_a_message_that_fails_is_set_aside(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    add_mailing(store, add_readers(store, ["ada", "poison", "grace"]), add_edition(store))

    def fragile(deliveries: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        if any(delivery.address.startswith("poison") for delivery in deliveries):
            raise ZeroDivisionError("template")
        return prepare(deliveries)

    clock = Clock()
    sender = deliverer(store, alive, sink.port, prepare=fragile, clock=clock)
    sender.run_until_idle()
    assert _states(store) == {"ada": "accepted", "poison": "deferred", "grace": "accepted"}
    for _ in range(2):
        clock.now += timedelta(hours=1)
        sender.run_until_idle()
    (row,) = [row for row in rows(store) if row["state"] == "quarantined"]
    assert "ZeroDivisionError: template" in row["reason"]
    assert len(sink.taken()) == 2


def test_an_outage_of_the_database_is_no_fault_of_a_mail(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    """It counted as a crash: the mail waited minutes, and after three outages for a person."""
    add_mailing(store, add_readers(store, ["ada", "grace"]), add_edition(store))
    failing = iter([True] * 5)

    def cut_off(deliveries: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        if next(failing, False):
            raise OperationalError("SELECT", {}, Exception("server closed the connection unexpectedly"))
        return prepare(deliveries)

    deliverer(store, alive, sink.port, prepare=cut_off).run_until_idle()
    assert _states(store) == {"ada": "accepted", "grace": "accepted"}
    assert {(row["crashes"], row["attempts"]) for row in rows(store)} == {(0, 1)}


def test_a_transport_bug_raises_and_leaves_doubt(store: Store, alive: locks.Liveness) -> None:
    add_mailing(store, add_readers(store, ["ada", "grace"]), add_edition(store))

    class Broken:
        def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
            raise RuntimeError("bug")

        def close(self) -> None: ...

        def abort(self) -> None: ...

    policies = ResendPolicies(never=frozenset({"digest"}))
    with pytest.raises(RuntimeError, match="bug"):
        deliverer(store, alive, 0, connect=Broken, policies=policies).run_until_idle()
    assert Counter(_states(store).values()) == {"in_doubt": 1, "pending": 1}


# -- recovery after a dead process, state by state --------------------------------------------------------------------


def _leave_in_hand(
    store: Store, owner: str, note: Callable[[Any, Delivery], None] | None, channel: str = ""
) -> Delivery:
    real = datetime.now(UTC)
    writer = Journal(store).writer(owner)
    until = real + timedelta(minutes=20)
    with store.write() as connection:
        claim = claims.Claimant(owner, channel).claim(connection, 9, now=NOW, real_now=real, until=until)
        (row,) = claim.deliveries
        preparing = writer.note_preparing(connection, [(row.id, row.fence)])
    if note is not None:
        writer.end_preparing(preparing)
        note(writer, row)
    # The process ends without any clean-up.
    writer._connection.close()
    return row


@pytest.mark.parametrize(
    ("left", "state", "doubts", "crashes"),
    [
        ("being made", "pending", 0, 1),
        ("handed", "pending", 0, 0),
        ("intent", "in_doubt", 1, 1),
        ("outcome", "accepted", 0, 0),
    ],
)
def test_deliveries_of_a_dead_process_are_recovered(
    store: Store, alive: locks.Liveness, left: str, state: str, doubts: int, crashes: int
) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))

    def note(writer: Any, row: Delivery) -> None:
        if left in ("intent", "outcome"):
            writer.begin([(row.id, row.fence)], 0)
        if left == "outcome":
            writer.queue_accepted((row.id, row.fence), "Q1", "mx")
            writer.flush()

    _leave_in_hand(store, "gone-1-ff", None if left == "being made" else note)
    recovered = recover(store, alive, now=NOW, policies=ResendPolicies())
    (row,) = rows(store)
    assert (row["state"], row["doubts"], row["crashes"], row["owner"]) == (state, doubts, crashes, "")
    assert recovered == {state: 1}
    assert Journal(store).owners() == set()
    assert recover(store, alive, now=NOW, policies=ResendPolicies()) == {}


@pytest.mark.parametrize("is_prepared", [True, False], ids=["prepared", "end of preparing lost"])
def test_after_a_power_loss_permitted_mail_is_in_doubt(
    store: Store, alive: locks.Liveness, monkeypatch: pytest.MonkeyPatch, is_prepared: bool
) -> None:
    # The intent of a message, and the end of its preparation, are not synced to the disk.
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    _leave_in_hand(store, "gone-1-ff", (lambda writer, row: None) if is_prepared else None)
    monkeypatch.setattr(Journal, "boot", lambda self: "another boot")
    recover(store, alive, now=NOW, policies=ResendPolicies())
    (row,) = rows(store)
    assert (row["state"], row["doubts"]) == ("in_doubt", 1)
    assert "machine went down" in row["reason"]


def test_prepared_at_three_crashes_is_quarantined(store: Store, alive: locks.Liveness) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    for number in range(3):
        assert [row["state"] for row in rows(store)] == ["pending"]
        _leave_in_hand(store, f"gone-{number}-ff", None)
        recover(store, alive, now=NOW, policies=ResendPolicies())
    assert [row["state"] for row in rows(store)] == ["quarantined"]


def test_a_living_process_keeps_its_deliveries(store: Store, alive: locks.Liveness) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    other = locks.acquire_liveness(store)
    _leave_in_hand(store, other.owner, lambda writer, row: None)
    assert recover(store, alive, now=NOW, policies=ResendPolicies()) == {}
    assert [row["state"] for row in rows(store)] == ["handed"]
    other.release()
    assert recover(store, alive, now=NOW, policies=ResendPolicies()) == {"pending": 1}


def test_an_edition_is_done_after_its_last_delivery(store: Store, alive: locks.Liveness, sink: SmtpSink) -> None:
    edition = add_edition(store)
    add_mailing(store, add_readers(store, ["ada", "rcpt-450"]), edition)
    clock = Clock()
    sender = deliverer(store, alive, sink.port, clock=clock, real_clock=clock.real)
    sender.run_until_idle()
    assert finish_editions(store, NOW) == []
    for wait in BACKOFF:
        clock.now += wait
        sender.run_until_idle()
    assert finish_editions(store, clock.now) == [edition]
    assert finish_editions(store, clock.now) == []
    with store.read() as connection:
        assert editions.get_edition(connection, edition).state == "done"
        assert not connection.execute(select(t.mailings.c.open)).scalar_one()


# -- posts ------------------------------------------------------------------------------------------------------------


class _Room:
    """A channel that answers as a test says."""

    def __init__(self, idempotency: Idempotency, outcomes: Sequence[Outcome], window: float = 0.0) -> None:
        self.name = "team"
        self.capabilities = Capabilities(max_length=500, idempotency=idempotency, window=window)
        self.outcomes = list(outcomes)
        self.keys: list[str] = []

    def prepare(self, post: Post) -> bytes:
        return b""

    def length(self, body: bytes) -> int:
        return len(body)

    def text(self, body: bytes) -> str:
        return ""

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        self.keys.append(attempt.key)
        return self.outcomes.pop(0)


def _post(store: Store) -> None:
    with store.write() as connection:
        mailing = ledger.get_or_create_mailing(connection, "edition:1", "edition", now=NOW, edition=None, open=True)
        row = {"mailing": mailing, "target": "channel:team", "channel": "team", "purpose": "edition", "at": NOW}
        ledger.add_deliveries(connection, [row])


LOST = Outcome(Verdict.UNKNOWN, reason="timeout")
TAKEN = Outcome(Verdict.ACCEPTED, receipt="1", via="https://social.example/1")


def _poster(store: Store, alive: locks.Liveness, room: _Room, clock: Clock, **options: Any) -> Deliverer:
    return Deliverer(
        store,
        alive,
        prepare=lambda group: {row.id: OutgoingMessage(b"{}", key=f"key-{row.id}") for row in group},
        policies=ResendPolicies(channels={"team": room.capabilities}),
        clock=clock,
        channels={"team": room},
        **options,
    )


@pytest.mark.parametrize(
    ("idempotency", "hours", "state", "calls"),
    [
        (Idempotency.NONE, 0, "in_doubt", 1),
        (Idempotency.NATIVE, 0, "accepted", 2),
        (Idempotency.NATIVE, 30, "accepted", 2),
        (Idempotency.WINDOW, 0, "accepted", 2),
        (Idempotency.WINDOW, 1, "in_doubt", 1),
    ],
)
def test_a_post_is_repeated_only_with_a_valid_key(
    store: Store, alive: locks.Liveness, idempotency: Idempotency, hours: int, state: str, calls: int
) -> None:
    _post(store)
    room, clock = _Room(idempotency, [LOST, TAKEN], window=2_700), Clock()
    real = [datetime.now(UTC)]
    sender = _poster(store, alive, room, clock, real_clock=lambda: real[0])
    sender.run_until_idle()
    assert [row["state"] for row in rows(store)] == ["in_doubt"]
    assert finish_editions(store, NOW) == []
    clock.now += timedelta(hours=1)
    real[0] += timedelta(hours=hours)
    sender.run_until_idle()
    (row,) = rows(store)
    assert (row["state"], len(room.keys)) == (state, calls)
    assert len(set(room.keys)) == 1
    assert row["next_at"] is None
    # It stays in this state.
    clock.now += timedelta(days=3)
    sender.run_until_idle()
    assert len(room.keys) == calls


def test_retry_after_counts_by_the_real_clock(store: Store, alive: locks.Liveness) -> None:
    _post(store)
    room, clock = _Room(Idempotency.NONE, [Outcome(Verdict.DEFERRED, reason="429", retry_after=90), TAKEN]), Clock()
    real = [datetime.now(UTC)]
    sender = _poster(store, alive, room, clock, real_clock=lambda: real[0])
    sender.run_until_idle()
    clock.now += timedelta(days=1)
    real[0] += timedelta(seconds=80)
    sender.run_until_idle()
    assert len(room.keys) == 1
    real[0] += timedelta(seconds=20)
    sender.run_until_idle()
    assert [row["state"] for row in rows(store)] == ["accepted"]


def test_a_gone_or_unknown_channel_is_reported(store: Store, alive: locks.Liveness) -> None:
    _post(store)
    room = _Room(Idempotency.NONE, [Outcome(Verdict.REJECTED, reason="410 Gone", disable=True)])
    done = _poster(store, alive, room, Clock()).run_until_idle()
    assert done.disabled == {"team": "410 Gone"}
    assert [row["state"] for row in rows(store)] == ["pending"]
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(channel="former"))
    done = _poster(store, alive, room, Clock()).run_until_idle()
    assert "former" in done.stalled["former"]


@pytest.mark.parametrize("disable", [False, True])
def test_a_channels_refusal_names_the_delivery(store: Store, alive: locks.Liveness, disable: bool) -> None:
    """If the cause is in the post, a person can cancel that post, and the channel continues."""
    _post(store)
    room = _Room(Idempotency.NONE, [Outcome(Verdict.NOT_STARTED, reason="HTTP 403: not allowed", disable=disable)])
    done = _poster(store, alive, room, Clock()).run_until_idle()
    assert done.stalled["team"] == f"HTTP 403: not allowed (delivery {rows(store)[0]['id']})"


@pytest.mark.parametrize("idempotency", [Idempotency.NONE, Idempotency.NATIVE])
def test_a_post_sent_during_a_crash_is_never_doubled(
    store: Store, alive: locks.Liveness, idempotency: Idempotency
) -> None:
    _post(store)
    room, clock = _Room(idempotency, [TAKEN]), Clock()
    _leave_in_hand(store, "gone-1-ff", lambda writer, row: writer.begin([(row.id, row.fence)], 0), channel="team")
    recover(store, alive, now=NOW, policies=ResendPolicies(channels={"team": room.capabilities}))
    assert [row["state"] for row in rows(store)] == ["in_doubt"]
    clock.now += timedelta(days=1)
    _poster(store, alive, room, clock).run_until_idle()
    repeated = idempotency is Idempotency.NATIVE
    assert [row["state"] for row in rows(store)] == ["accepted" if repeated else "in_doubt"]
    assert len(room.keys) == repeated


def test_suspended_before_its_intent_sends_nothing(store: Store, sink: SmtpSink) -> None:
    """SIGSTOP exactly there: the other process found no intent, returned the row and sent the mail."""
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    sleeper, other = locks.acquire_liveness(store), locks.acquire_liveness(store)
    seconds = 0.0

    def sleep() -> None:
        nonlocal seconds
        seconds += 3_600
        later = datetime.now(UTC) + timedelta(hours=1)
        recover(store, other, now=NOW, policies=ResendPolicies(), real_now=later)
        deliverer(store, other, sink.port).run_until_idle()

    stale = deliverer(store, sleeper, sink.port, boot_clock=lambda: seconds, reached=_at("before-intent", 1, sleep))
    stale.run_until_idle()
    assert [row["doubts"] for row in rows(store)] == [0]
    assert len(sink.taken()) == 1
    sleeper.release()
    other.release()
