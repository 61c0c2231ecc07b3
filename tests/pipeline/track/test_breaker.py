"""A relay that wrongly refuses us or everybody takes no reader off the list and loses none."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select

from tests.fixtures.items import make_newsroom
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, deliverer, rows
from tests.fixtures.ports import free_port
from tests.model.test_refusal import samples
from tidings.config.bounces import Bounces
from tidings.model.delivery import Delivery, Outcome, Verdict
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.model.tokens import TokenKeys
from tidings.pipeline.compose.lifecycle import EditionLifecycle
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.pipeline.deliver.deliverer import finish_editions
from tidings.pipeline.deliver.outcomes import ResendPolicies, find_refusal_of_us, must_stall, values_after_attempt
from tidings.pipeline.track.bounces import act_on_refusals, believe_bounces
from tidings.pipeline.track.breaker import find_trips, judge
from tidings.pipeline.track.incoming_mail import receive_message
from tidings.store import locks
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery.refusals import RefusedMail
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.people.feedback import Recipient

ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RULES = Bounces()
BLANK = Delivery(
    1, 1, "friday", 1, "digest", "", "", "edition", 0, "list:digest:1", 1, "", "", "en", 1, 1, "handed", 0, 0, 0, 1,
    "x", None, "{}",
)  # fmt: skip
LATER = NOW + timedelta(hours=1)
KEYS = TokenKeys({1: b"k" * 32})
GONE = "550 5.1.1 <{}>: Recipient address rejected: User unknown (RCPT)"
ABOUT_US = [
    "550 Access denied - Invalid HELO name (RCPT)",
    "504 5.5.2 <news1>: Helo command rejected: need fully-qualified hostname (RCPT)",
    "550 5.5.1 Authentication required (RCPT)",
    "550-Verification failed for <news@example.org> 550-No Such User Here 550 Sender verify failed (RCPT)",
    "554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org (RCPT)",
]
WAITING = [
    "550 5.4.5 Daily user sending limit exceeded (end of message)",
    "552 5.2.2 relay quota exceeded (end of message)",
    "554 5.7.1 <x@example.org>: Relay access denied (RCPT)",
    "554 Message rejected: Email address is not verified. (end of message)",
]


class Relay:
    """A mail server (aiosmtpd) that answers with `answer`, which gets the address and the number of earlier mails.

    The end of an answer names the step that it refuses: MAIL, RCPT or the end of the message.
    """

    def __init__(self, answer: Callable[[str, int], str]) -> None:
        self.answer = answer
        self.seen: list[str] = []
        self.accepted: list[str] = []

    def _answer(self, address: str, step: str, usual: str) -> str:
        reply, _, refused = self.answer(address, len(self.seen)).rpartition(" (")
        if refused != f"{step})":
            return usual
        self.seen.append(address)
        return re.sub(r" (?=550[ -])", "\r\n", reply)

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, sender: str, _: list[str]) -> str:
        envelope.mail_from = sender
        return self._answer("", "MAIL", "250 2.1.0 ok")

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        reply = self._answer(address, "RCPT", "250 2.1.5 ok")
        if reply.startswith("250"):
            envelope.rcpt_tos = [address]
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        [address] = envelope.rcpt_tos
        reply = self._answer(address, "end of message", "")
        if not reply:
            self.seen.append(address)
            self.accepted.append(address)
        return reply or "250 2.0.0 queued"


def _run(store: Store, alive: locks.Liveness, relay: Relay, now: Any = NOW) -> DeliverySummary:
    server = Controller(relay, hostname="127.0.0.1", port=free_port())
    server.start()
    sender = deliverer(store, alive, server.port, connections=1, clock=lambda: now)
    try:
        done = sender.run_until_idle()
    finally:
        sender.close()
        server.stop()
    act_on_refusals(store, RULES, now, done.refused)
    finish_editions(store, now)
    return done


def _edition(store: Store) -> Edition:
    with store.read() as connection:
        return editions.list_editions(connection)[0]


def _states(store: Store) -> Counter[str]:
    return Counter(row["state"] for row in rows(store))


def _suppressed(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(t.suppressions)).all())


def _confirmed(store: Store) -> int:
    with store.read() as connection:
        return subscribers.count_by_state(connection, "digest").get("confirmed", 0)


def _release(store: Store) -> None:
    EditionLifecycle(store, make_newsroom(Path())).release(_edition(store), LATER, "op")


def _mailing(store: Store, count: int, number: int = 1) -> None:
    add_mailing(store, add_readers(store, [f"r{reader}" for reader in range(count)]), add_edition(store, number))


@pytest.mark.parametrize("reply", ABOUT_US)
@ONE
def test_a_wrong_name_of_ours_holds_the_edition(store: Store, alive: locks.Liveness, reply: str) -> None:
    """All eight readers were taken off, in one case off all lists for ever."""
    _mailing(store, 8)
    done = _run(store, alive, Relay(lambda address, before: reply))
    edition = _edition(store)
    assert edition.state is EditionState.HELD
    assert [hold.reason for hold in edition.holds] == [HoldReason.BREAKER]
    assert reply.split(" <")[0][4:24] in edition.holds[0].detail
    assert (_suppressed(store), _confirmed(store)) == (0, 8)
    assert _states(store) == {"pending": 8}
    assert done.stalled
    with store.read() as connection:
        texts = connection.execute(select(t.notices.c.text)).scalars().all()
    assert any("tidings release friday/1" in text for text in texts)
    _release(store)
    relay = Relay(lambda address, before: "")
    _run(store, alive, relay, LATER)
    assert _states(store) == {"accepted": 8}
    assert _edition(store).state is EditionState.DONE


@pytest.mark.parametrize("reply", WAITING)
@ONE
def test_a_quota_makes_the_rest_wait(store: Store, alive: locks.Liveness, reply: str) -> None:
    """Nine of twelve readers were `rejected` for good."""
    _mailing(store, 12)
    done = _run(store, alive, Relay(lambda address, before: "" if before < 3 else reply))
    assert reply.split(" (")[0] in next(iter(done.stalled.values()))
    assert _states(store) == {"accepted": 3, "pending": 9}
    assert _edition(store).state is EditionState.SENDING
    assert _suppressed(store) == 0
    _run(store, alive, Relay(lambda address, before: ""), NOW + timedelta(days=1))
    assert _states(store) == {"accepted": 12}


@ONE
def test_starttls_at_mail_stalls_with_its_mend(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 5)
    relay = Relay(lambda address, before: "530 5.7.0 Must issue a STARTTLS command first (MAIL)")
    done = _run(store, alive, relay)
    assert len(relay.seen) == 3
    assert "security" in next(iter(done.stalled.values()))
    assert _states(store) == {"pending": 5}
    assert _edition(store).state is EditionState.SENDING
    _run(store, alive, Relay(lambda address, before: ""))
    assert _states(store) == {"accepted": 5}


def test_one_dead_mailbox_leaves_and_the_rest_goes_on(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 12)
    _run(store, alive, Relay(lambda address, before: GONE.format(address) if address.startswith("r3@") else ""))
    assert _states(store) == {"accepted": 11, "rejected": 1}
    assert (_suppressed(store), _confirmed(store)) == (1, 11)


@ONE
def test_one_domain_that_blocks_us_stops_no_other(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 8)
    refused = "554 5.7.1 blocked using zen.spamhaus.org (RCPT)"
    done = _run(store, alive, Relay(lambda address, before: refused if address.startswith("r0@") else ""))
    assert not done.stalled
    assert _states(store) == {"accepted": 7, "deferred": 1}


def test_a_relay_that_says_all_are_gone_holds_the_edition(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 40)
    relay = Relay(lambda address, before: GONE.format(address))
    _run(store, alive, relay)
    assert len(relay.seen) <= 12
    assert _edition(store).state is EditionState.HELD
    assert (_suppressed(store), _states(store)) == (0, {"pending": 40})
    # A person accepts it: the refused readers leave, and the others are tried.
    count = believe_bounces(store, _edition(store), LATER)
    assert count == len(relay.seen) == _suppressed(store)
    _release(store)
    _run(store, alive, Relay(lambda address, before: ""), LATER)
    assert _states(store) == {"rejected": count, "accepted": 40 - count}


@ONE
def test_more_refusals_than_plausible_hold_the_edition(store: Store, alive: locks.Liveness) -> None:
    """More than 5 % and 20 readers."""
    _mailing(store, 200)
    relay = Relay(lambda address, before: GONE.format(address) if before % 5 == 4 else "")
    _run(store, alive, relay)
    assert _edition(store).state is EditionState.HELD
    assert _suppressed(store) == 0
    assert len(relay.seen) < 120


def _bounce(store: Store, delivery: int, address: str) -> str:
    path = KEYS.make_return_path_signer("bounces@example.org")(delivery)
    raw = (
        "From: MAILER-DAEMON@mx.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=B\r\n"
        "\r\n--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{address}>: user unknown\r\n\r\n--B--\r\n"
    )
    return receive_message(store, KEYS, raw.encode(), recipients=[path], rules=RULES, via="lmtp", now=LATER).kind


def test_later_bounces_of_everybody_suppress_nobody(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 30)
    _run(store, alive, Relay(lambda address, before: ""))
    assert _edition(store).state is EditionState.DONE
    for row in rows(store)[:25]:
        _bounce(store, row["id"], row["address"])
    assert _edition(store).state is EditionState.HELD
    assert (_suppressed(store), _confirmed(store)) == (0, 30)
    assert believe_bounces(store, _edition(store), LATER) == 25
    assert (_suppressed(store), _confirmed(store)) == (25, 5)
    _release(store)
    finish_editions(store, LATER)
    assert _edition(store).state is EditionState.DONE
    # After a person accepted one, the rest is accepted too.
    row = rows(store)[27]
    assert _bounce(store, row["id"], row["address"]) == "hard"


@ONE
def test_released_bounces_suppress_nobody(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 30)
    _run(store, alive, Relay(lambda address, before: ""))
    for row in rows(store)[:20]:
        _bounce(store, row["id"], row["address"])
    _release(store)
    assert (_suppressed(store), _confirmed(store)) == (0, 30)
    assert _bounce(store, rows(store)[0]["id"], rows(store)[0]["address"]) in ("known", "hard")


@ONE
def test_a_few_bounces_suppress_at_once(store: Store, alive: locks.Liveness) -> None:
    _mailing(store, 30)
    _run(store, alive, Relay(lambda address, before: ""))
    for row in rows(store)[:4]:
        assert _bounce(store, row["id"], row["address"]) == "hard"
    assert (_suppressed(store), _edition(store).state) == (4, EditionState.DONE)


REPLIES = [*ABOUT_US, *WAITING, "550 5.7.1 policy (RCPT)", "550 go away (RCPT)", "454 4.7.1 later (RCPT)", GONE, ""]


def _simulate(
    chance: random.Random, replies: list[str], count: int, first: int
) -> tuple[set[int], set[int], dict[int, str]]:
    """One session without a database. Returns addresses named as gone, suppressed ones, and each reader's state."""
    states = dict.fromkeys(range(count), "pending")
    named_gone: set[int] = set()
    streak: list[tuple[int, Refusal, str]] = []
    mails: list[RefusedMail] = []
    accepted = 0
    for reader in range(count):
        reply = "" if reader < first else chance.choice(replies).replace("{}", f"r{reader}@example.org")
        if not reply:
            accepted += 1
            streak.clear()
            states[reader] = "accepted"
            continue
        delivery = BLANK._replace(id=reader, address=f"r{reader}@example.org")
        is_final = reply.startswith("5") and not reply.endswith("(MAIL)")
        outcome = Outcome(Verdict.REJECTED if is_final else Verdict.DEFERRED, reason=reply)
        values = values_after_attempt(delivery, outcome, ResendPolicies(), now=NOW, real_now=NOW)
        states[reader] = str(values["state"])
        if classify(reply, stage="RCPT", recipient=delivery.address).kind is RefusalKind.GONE:
            named_gone.add(reader)
        refusal = find_refusal_of_us(delivery, outcome)
        if refusal is not None:
            assert states[reader] == "deferred", reply
            streak.append((reader, refusal, reply))
        if states[reader] == "rejected" or refusal is not None:
            who = Recipient("x", "digest", reader, reader, address=delivery.address)
            mails.append(RefusedMail(who, reply, states[reader], 1, 1, "relay"))
        if must_stall([entry[1:] for entry in streak], is_over=False, has_accepted=bool(accepted)):
            break
    is_stalled = must_stall([entry[1:] for entry in streak], is_over=True, has_accepted=bool(accepted))
    waiting = {reader for reader, _, _ in streak} if is_stalled else set()
    judged = [one for one in map(judge, mails) if one and (one.mail.state == "rejected" or one.mail.id in waiting)]
    trips = find_trips(RULES.breaker, judged, lambda sender, domain: accepted)
    doubted = {one.mail.id for trip in trips for one in trip.refused}
    for reader in doubted | waiting:
        states[reader] = "pending"
    hard = {
        verdict.mail.id
        for verdict in judged
        if verdict.refusal.effect is Effect.HARD and verdict.mail.state == "rejected"
    }
    return named_gone, hard - doubted, states


@pytest.mark.slow
def test_ten_thousand_decisions_suppress_nobody() -> None:
    chance = random.Random(14)
    us = [sample.text.replace("{r}", "{}") for sample in samples() if sample.about == "us" and sample.text[0] == "5"]
    replies = [*REPLIES, *(f"{text} (RCPT)" for text in us)]
    for _ in range(10_000):
        mix = [chance.choice(replies) for _ in range(chance.randint(1, 3))]
        count = chance.randint(1, 14)
        named_gone, suppressed, states = _simulate(chance, mix, count, chance.randint(0, 6))
        assert suppressed <= named_gone
        assert set(states) == set(range(count))
        assert set(states.values()) <= {"accepted", "pending", "deferred", "rejected"}
