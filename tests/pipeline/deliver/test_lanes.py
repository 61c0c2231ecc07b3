"""Several senders with rates: their shares, failover, and slowing down after a temporary refusal."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.fixtures import ledger as ledger_fixtures
from tests.fixtures.ledger import add_edition, add_mailing, add_readers, rows
from tests.fixtures.smtp import SmtpSink
from tidings.channels.smtp.login import Login
from tidings.channels.smtp.protocol import Timeouts
from tidings.channels.smtp.relay import SmtpRelay
from tidings.model.throttling import SLOWEST, Pace, slow_down
from tidings.pipeline.deliver.deliverer import Deliverer
from tidings.pipeline.deliver.pacing import SendRates
from tidings.pipeline.deliver.senders import MailSender
from tidings.store import locks
from tidings.store import schema as t
from tidings.store.delivery import rates
from tidings.store.engine import Store


@pytest.fixture
def sinks(tmp_path: Path) -> Iterator[tuple[SmtpSink, SmtpSink]]:
    with SmtpSink(tmp_path / "a.journal") as first, SmtpSink(tmp_path / "b.journal") as second:
        yield first, second


made: list[Deliverer] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for one in made:
        one.close()
    made.clear()


def _sender(name: str, sink: SmtpSink, **options: Any) -> MailSender:
    login = Login("127.0.0.1", sink.port, timeout=60)
    return MailSender(name, lambda: SmtpRelay(login, timeouts=Timeouts(60, 60)), **options)


def _deliverer(store: Store, alive: locks.Liveness, *senders: MailSender, **options: Any) -> Deliverer:
    made.append(ledger_fixtures.deliverer(store, alive, 0, senders=list(senders), **options))
    return made[-1]


def _states(store: Store) -> Counter[str]:
    return Counter(row["state"] for row in rows(store))


def test_the_first_sender_takes_all_and_the_second_takes_over(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(20)]), add_edition(store))
    sinks[0].greeting = "421 4.3.2 too busy"
    sender = _deliverer(store, alive, _sender("one", sinks[0]), _sender("two", sinks[1]))
    done = sender.run_until_idle()
    assert done.states == {"accepted": 20}
    assert done.stalled == {}
    assert "421" in done.failed_senders["one"]
    assert (len(sinks[0].taken()), len(sinks[1].taken())) == (0, 20)
    # Its rest period is stored: the next run does not ask it again, though it works again.
    sinks[0].greeting = "220 sink.example ESMTP"
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store, 2))
    assert sender.run_until_idle().states == {"accepted": 1}
    assert len(sinks[1].taken()) == 21
    later = datetime.now(UTC) + timedelta(minutes=1)
    add_mailing(store, add_readers(store, ["grace"]), add_edition(store, 3))
    again = _deliverer(store, alive, _sender("one", sinks[0]), _sender("two", sinks[1]), real_clock=lambda: later)
    assert again.run_until_idle().states == {"accepted": 1}
    assert len(sinks[0].taken()) == 1


def test_without_senders_mail_waits_at_no_attempt(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    add_mailing(store, add_readers(store, ["ada", "grace"]), add_edition(store))
    for sink in sinks:
        sink.greeting = "421 4.3.2 too busy"
    done = _deliverer(store, alive, _sender("one", sinks[0]), _sender("two", sinks[1])).run_until_idle()
    assert "421" in done.stalled[""]
    assert {(row["state"], row["attempts"]) for row in rows(store)} == {("pending", 0)}


def test_weights_share_the_mail_and_a_list_names_its_sender(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(80)]), add_edition(store))
    add_mailing(store, add_readers(store, ["p1", "p2", "p3"], "press"), add_edition(store, 2), "press")
    senders = [_sender("big", sinks[0], weight=3), _sender("small", sinks[1], weight=1)]
    routes = {"": ["big", "small"], "digest": ["big", "small"], "press": ["small"]}
    assert _deliverer(store, alive, *senders, routes=routes).run_until_idle().states == {"accepted": 83}
    taken = [[entry["to"].partition("@")[0] for entry in sink.taken()] for sink in sinks]
    assert len([name for name in taken[0] if name.startswith("r")]) == 60
    assert len([name for name in taken[1] if name.startswith("r")]) == 20
    assert {name for name in taken[1] if name.startswith("p")} == {"p1", "p2", "p3"}


def test_mail_in_doubt_is_repeated_by_the_same_sender(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    add_mailing(store, add_readers(store, ["once-lost.x"]), add_edition(store))
    one, two = _sender("one", sinks[0]), _sender("two", sinks[1])
    _deliverer(store, alive, one, two).run_until_idle()
    assert [len(sink.taken()) for sink in sinks] == [2, 0]
    # While the same sender is away, the other one does not send it.
    again = {"state": "in_doubt", "next_at": ledger_fixtures.NOW, "sender": "one"}
    with store.write() as connection:
        connection.execute(update(t.deliveries).values(again))
        connection.execute(update(t.mailings).values(open=True))
    sinks[0].greeting = "421 4.3.2 too busy"
    assert _deliverer(store, alive, two, one).run_until_idle().states["accepted"] == 0
    assert [len(sink.taken()) for sink in sinks] == [2, 0]
    sinks[0].greeting = "220 sink.example ESMTP"
    with store.write() as connection:
        connection.execute(delete(t.senders))
    # The same sender is used even if the other one is preferred now. If it is no longer configured, any may send.
    for former, order, count in (("one", (two, one), 3), ("former", (one, two), 4)):
        again = {"state": "in_doubt", "next_at": ledger_fixtures.NOW, "sender": former}
        with store.write() as connection:
            connection.execute(update(t.deliveries).values(again))
            connection.execute(update(t.mailings).values(open=True))
        assert _deliverer(store, alive, *order).run_until_idle().states == {"accepted": 1}
        assert [len(sink.taken()) for sink in sinks] == [count, 0]


def test_a_busy_domain_slows_only_its_own_mail(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    readers = add_readers(store, [f"rcpt-452.{number}" for number in range(3)])
    with store.write() as connection:
        connection.execute(update(t.subscribers).values(address=t.subscribers.c.address + ".busy"))
    add_mailing(store, readers, add_edition(store))
    _deliverer(store, alive, _sender("one", sinks[0])).run_until_idle()
    with store.read() as connection:
        learnt = rates.load_paces(connection, "one")
    assert set(learnt) == {"example.org.busy"}
    assert learnt["example.org.busy"].rate <= 5
    # Mail to other domains is sent at once.
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(30)]), add_edition(store, 2))
    assert set(SendRates(_sender("one", sinks[0]), learnt).limits(time.time())) <= {"example.org.busy"}
    assert _deliverer(store, alive, _sender("one", sinks[0])).run_until_idle().states["accepted"] == 30


def test_a_domain_rate_holds_and_delays_no_other(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    slow = add_readers(store, [f"s{number}" for number in range(12)])
    with store.write() as connection:
        connection.execute(update(t.subscribers).values(address=t.subscribers.c.address + ".slow"))
    quick = add_readers(store, [f"q{number}" for number in range(12)])
    add_mailing(store, {**slow, **quick}, add_edition(store))
    sender = _sender("one", sinks[0], domain_rates={"example.org.slow": 4.0})
    assert _deliverer(store, alive, sender).run_until_idle().states["accepted"] == 24
    at = {"s": [], "q": []}  # type: dict[str, list[float]]
    for entry in sinks[0].taken():
        at[entry["to"][0]].append(entry["at"])
    assert max(at["s"]) - min(at["s"]) >= 11 / 4 - 0.1
    assert max(at["q"]) < max(at["s"])
    with store.read() as connection:
        assert connection.execute(select(t.sending_rates.c.domain)).scalars().all() == ["example.org.slow"]


def test_no_mail_falls_between_two_readings_of_the_clock(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink]
) -> None:
    """A mail whose time came between two questions was neither due nor later, and the run ended without it."""
    base, step = datetime.now(UTC), timedelta(milliseconds=20)
    for number in range(12):
        readings = itertools.count()
        mailing = add_mailing(store, add_readers(store, [f"r{number}"]), add_edition(store, number + 1))
        with store.write() as connection:
            waits = t.deliveries.c.mailing == mailing
            connection.execute(update(t.deliveries).where(waits).values(not_before=base + (number + 0.5) * step))
        sender = _sender("one", sinks[0])
        _deliverer(
            store, alive, sender, real_clock=lambda readings=readings: base + next(readings) * step
        ).run_until_idle()
        assert _states(store) == {"accepted": number + 1}


def test_a_pace_halves_at_a_refusal_and_doubles_each_minute() -> None:
    first = slow_down(None, 40.0, 1000.0)
    assert first == Pace(20.0, 1000.0)
    assert slow_down(first, 40.0, 1000.5) is first
    second = slow_down(first, 40.0, 1002.0)
    assert 10.0 < second.rate < 10.5
    assert first.rate_at(1060.0) == pytest.approx(40.0)
    assert first.rate_at(2000.0) is None
    assert first.rate_at(1000.0 + 30 * 86400) is None
    pace = first
    for moment in range(1002, 1100, 2):
        pace = slow_down(pace, 40.0, float(moment))
    assert pace.rate == SLOWEST


@pytest.mark.parametrize("kind", ["alert", "test", "notice"])
def test_a_confirmation_overtakes_an_edition(
    store: Store, alive: locks.Liveness, sinks: tuple[SmtpSink, SmtpSink], kind: str
) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(100)]), add_edition(store))
    readers = add_readers(store, ["urgent"])
    left = 12

    def reached(point: str) -> None:
        nonlocal left
        left -= point == "after-outcome"
        if left == 0:
            left = -1
            edition = add_edition(store, 2) if kind == "alert" else None
            mailing = add_mailing(store, readers, edition, purpose="edition" if kind == "alert" else kind)
            with store.write() as connection:
                connection.execute(update(t.mailings).where(t.mailings.c.id == mailing).values(urgent=True))

    sender = _sender("one", sinks[0], connections=1, rate=40.0)
    assert _deliverer(store, alive, sender, reached=reached).run_until_idle().states["accepted"] == 101
    order = [entry["to"].partition("@")[0] for entry in sinks[0].taken()]
    # Mail that was already claimed, a second and a half of sending, goes first. The rest of the edition waits.
    assert order.index("urgent") < 90
