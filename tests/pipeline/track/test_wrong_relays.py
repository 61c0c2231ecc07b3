"""Random sessions with a relay that is wrong about us: nobody is taken off or lost.

The relay is scripted, in this process. Everything else is real: the SMTP session, the deliverer, the ledger, and what
acts on refusals and bounces.
"""

from __future__ import annotations

import os
import random
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO

import pytest
from sqlalchemy import delete, select, update

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, deliverer
from tests.model.test_refusal import samples
from tidings.channels.smtp.login import Login
from tidings.channels.smtp.protocol import Timeouts
from tidings.channels.smtp.relay import SmtpRelay
from tidings.config.bounces import Bounces
from tidings.model.refusal import RefusalKind, classify
from tidings.model.tokens import TokenKeys
from tidings.pipeline.deliver import deliverer as delivery
from tidings.pipeline.deliver.deliverer import Deliverer, finish_editions
from tidings.pipeline.track.bounces import act_on_refusals
from tidings.pipeline.track.incoming_mail import receive_message
from tidings.store import locks
from tidings.store import schema as t
from tidings.store.engine import Store

RULES = Bounces()
KEYS = TokenKeys({1: b"k" * 32})
GONE = "550 5.1.1 <{r}>: Recipient address rejected: User unknown"
DROP = "drop"
STAGES = ("connect", "ehlo", "mail", "rcpt", "data", "dot")
ABOUT_US = tuple(sample.text for sample in samples() if sample.about == "us" and sample.text[:1] in "45")
OTHERS = tuple(sample.text for sample in samples() if sample.about != "us" and sample.text[:1] in "45")


@dataclass
class Script:
    """How the relay answers in one session: a fitting reply for each stage of each mail, or '' to go on."""

    chance: random.Random
    replies: list[str]
    stages: list[str]
    first: int
    share: float
    seen: int = 0
    named_gone: set[str] = field(default_factory=set)
    accepted: list[str] = field(default_factory=list)

    def answer(self, stage: str, address: str = "") -> str:
        if self.seen < self.first or stage not in self.stages or self.chance.random() > self.share:
            return ""
        reply = re.sub("^([45]..)-", r"\1 ", self.chance.choice(self.replies)).replace("{r}", address)
        if address and reply != DROP:
            found = classify(reply, stage="RCPT", recipient=address)
            if found.kind is RefusalKind.GONE:
                self.named_gone.add(address)
        return reply


class ScriptedRelay:
    """An SMTP server on loopback in one thread, for one connection after the other."""

    def __init__(self) -> None:
        self.script = Script(random.Random(0), [], [], 0, 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            try:
                with peer, peer.makefile("rwb") as stream:
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._talk(stream)
            except OSError:
                continue

    def _talk(self, stream: IO[bytes]) -> None:
        script = self.script
        rcpt = ""

        def say(stage: str, usual: str, address: str = "") -> bool:
            reply = script.answer(stage, address)
            if reply == DROP:
                raise ConnectionError
            stream.write(f"{reply or usual}\r\n".encode())
            stream.flush()
            return not reply

        if not say("connect", "220 relay ESMTP"):
            return
        while line := stream.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                say("ehlo", "250-relay\r\n250 PIPELINING")
            elif verb == b"HELO":
                say("ehlo", "250 relay")
            elif verb == b"MAIL":
                rcpt = ""
                if not say("mail", "250 ok"):
                    rcpt = "refused"
            elif verb == b"RCPT":
                address = line.decode().partition("<")[2].partition(">")[0]
                if rcpt == "refused":
                    stream.write(b"503 5.5.1 no sender\r\n")
                    stream.flush()
                else:
                    rcpt = address if say("rcpt", "250 ok", address) else ""
                script.seen += 1
            elif verb == b"DATA":
                if "@" not in rcpt:
                    stream.write(b"554 5.5.1 no valid recipients\r\n")
                    stream.flush()
                elif say("data", "354 go on", rcpt):
                    while (line := stream.readline()) not in (b".\r\n", b""):
                        pass
                    if not line:
                        return  # the connection ended before the dot, so nothing was accepted
                    if say("dot", "250 2.0.0 queued", rcpt):
                        script.accepted.append(rcpt)
            elif verb == b"QUIT":
                stream.write(b"221 bye\r\n")
                stream.flush()
                return
            else:
                stream.write(b"250 ok\r\n")
                stream.flush()


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    server = ScriptedRelay()
    yield server
    server.close()


def _script(chance: random.Random) -> Script:
    pool = [chance.choice(ABOUT_US) for _ in range(3)]
    pool += chance.choice([[], [], [chance.choice(OTHERS)], [GONE], [DROP]])
    replies = chance.sample(pool, chance.randint(1, len(pool)))
    stages = chance.sample(STAGES, chance.randint(1, 2))
    return Script(chance, replies, stages, chance.randint(0, 4), chance.choice([0.2, 0.6, 1.0]))


def _bounce(store: Store, delivery: int, address: str, reply: str) -> None:
    path = KEYS.make_return_path_signer("bounces@example.org")(delivery)
    raw = (
        "From: MAILER-DAEMON@mx.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=B\r\n"
        "\r\n--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"Diagnostic-Code: smtp; {reply}\r\n\r\n--B--\r\n"
    )
    receive_message(store, KEYS, raw.encode(), recipients=[path], rules=RULES, via="lmtp", now=NOW + timedelta(hours=1))


def make_sender(store: Store, alive: locks.Liveness, relay: ScriptedRelay) -> Deliverer:
    login = Login("127.0.0.1", relay.port, timeout=5)
    return deliverer(store, alive, relay.port, connect=lambda: SmtpRelay(login, timeouts=Timeouts(5, 5)), connections=1)


def _run_session(store: Store, sender: Deliverer, relay: ScriptedRelay, chance: random.Random, number: int) -> None:
    script = relay.script = _script(chance)
    readers = add_readers(store, [f"n{number}r{reader}" for reader in range(chance.randint(1, 8))])
    edition = add_edition(store, number)
    mailing = add_mailing(store, readers, edition)
    done = sender.run_until_idle()
    sender.close()  # its connections: the next session begins anew
    act_on_refusals(store, RULES, NOW, done.refused)
    finish_editions(store, NOW)
    query = (
        select(t.deliveries.c.id, t.deliveries.c.state, t.subscribers.c.address)
        .join_from(t.deliveries, t.subscribers, t.subscribers.c.id == t.deliveries.c.subscriber)
        .where(t.deliveries.c.mailing == mailing)
    )
    with store.read() as connection:
        mine = connection.execute(query).all()
    for row in mine:
        if row.state == "accepted" and chance.random() < 0.1:
            reply = chance.choice([*ABOUT_US, GONE]).replace("{r}", row.address)
            if reply.startswith("550 5.1.1 <") and "User unknown" in reply:
                script.named_gone.add(row.address)
            _bounce(store, row.id, row.address, reply)
    with store.write() as connection:
        mine = connection.execute(query).all()
        suppressed = set(
            connection.execute(
                select(t.subscribers.c.address)
                .join_from(t.subscribers, t.suppressions, t.suppressions.c.hash == t.subscribers.c.address_hash)
                .where(t.subscribers.c.id.in_(list(readers.values())))
            ).scalars()
        )
        left = connection.execute(
            select(t.subscriptions.c.subscriber).where(
                t.subscriptions.c.subscriber.in_(list(readers.values())), t.subscriptions.c.state != "confirmed"
            )
        ).all()
        # Later sessions have nothing to do with what waits.
        connection.execute(
            update(t.deliveries)
            .where(t.deliveries.c.mailing == mailing, t.deliveries.c.state.in_(["pending", "deferred", "in_doubt"]))
            .values(state="cancelled")
        )
        connection.execute(delete(t.sending_rates))
        connection.execute(delete(t.senders))
        connection.execute(update(t.editions).where(t.editions.c.id == edition).values(state="done"))
    assert suppressed <= script.named_gone, (suppressed, script)
    assert len(left) <= len(suppressed), (left, suppressed, script)
    states = {row.address: row.state for row in mine}
    assert len(states) == len(readers), (states, script)
    assert set(states.values()) <= {"accepted", "pending", "deferred", "rejected", "in_doubt"}, (states, script)
    assert {address for address, state in states.items() if state == "accepted"} == set(script.accepted), (
        states,
        script,
    )


SESSIONS = int(os.environ.get("SESSIONS", "150"))
"""How many `make test-all` plays. SESSIONS=10000 takes most of an hour."""


@pytest.mark.parametrize(("seed", "count"), [(0, 20), pytest.param(14, SESSIONS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_random_sessions_suppress_and_lose_nobody(
    store: Store, alive: locks.Liveness, relay: ScriptedRelay, seed: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SHORT_WAIT", timedelta(0))  # a slowed domain is not waited for
    sender = make_sender(store, alive, relay)
    for number in range(1, count + 1):
        _run_session(store, sender, relay, random.Random(seed * 1_000_003 + number), number)
