"""Random sessions with a relay that wrongly refuses us: no reader is taken off or lost.

The relay runs in this process and follows a script for each SMTP session. Everything else is real: the session, the
deliverer, the ledger, and the code that reads refusals and bounces.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import IO

import pytest
from sqlalchemy import delete, insert, select, update

from tests.fixtures.items import open_store
from tests.fixtures.ledger import NOW, deliverer
from tests.model.test_refusal import samples
from tidings.channels.smtp.login import Login
from tidings.channels.smtp.protocol import Timeouts
from tidings.channels.smtp.relay import SmtpRelay
from tidings.config.bounces import Bounces
from tidings.model.delivery import list_target
from tidings.model.refusal import RefusalKind, classify
from tidings.model.tokens import TokenKeys
from tidings.pipeline.deliver import batch
from tidings.pipeline.deliver.deliverer import Deliverer, finish_editions
from tidings.pipeline.deliver.pacing import SendRates
from tidings.pipeline.track.bounces import act_on_refusals
from tidings.pipeline.track.incoming_mail import receive_message
from tidings.store import locks
from tidings.store import schema as t
from tidings.store.delivery import ledger, threads
from tidings.store.engine import Store
from tidings.store.people import consent

RULES = Bounces()
KEYS = TokenKeys({1: b"k" * 32})
GONE = "550 5.1.1 <{r}>: Recipient address rejected: User unknown"
DROP = "drop"
STAGES = ("connect", "ehlo", "mail", "rcpt", "data", "dot")
ABOUT_US = tuple(sample.text for sample in samples() if sample.about == "us" and sample.text[:1] in "45")
OTHERS = tuple(
    sample.text for sample in samples() if sample.about != "us" and sample.text[:1] in "45" and "{l}" not in sample.text
)


@dataclass
class Edition:
    """An edition with its own readers, and the actions of the relay in all its sessions."""

    number: int
    """Also the id of its mailing."""
    readers: dict[int, str]
    """Addresses by the id of the subscriber."""
    named_gone: set[str] = field(default_factory=set)
    accepted: list[str] = field(default_factory=list)
    sessions: list[Script] = field(default_factory=list)


@dataclass
class Script:
    """The relay's answers in one session: a reply for each stage of each mail, or '' to accept."""

    chance: random.Random
    edition: Edition = field(repr=False)
    replies: list[str]
    stages: list[str]
    first: int
    """Number of mails that are accepted before the trouble begins."""
    share: float
    most: int
    """Number of mails after which the relay ends the session."""
    end: str
    seen: int = 0

    def answer(self, stage: str, address: str = "") -> str:
        if stage == "mail" and self.seen >= self.most:
            return self.end
        if self.seen < self.first or stage not in self.stages or self.chance.random() > self.share:
            return ""
        sample = self.chance.choice(self.replies)
        reply = re.sub("^([45]..)-", r"\1 ", sample).replace("{r}", address)
        if address and sample != DROP and sample not in ABOUT_US:
            refusal = classify(reply, stage="RCPT", recipient=address)
            if refusal.kind is RefusalKind.GONE:
                self.edition.named_gone.add(address)
        return reply


def _write_script(number: int, edition: Edition) -> Script:
    chance = random.Random(number)
    pool = [chance.choice(ABOUT_US) for _ in range(3)]
    pool += chance.choice([[], [chance.choice(OTHERS)], [GONE], [DROP], [DROP]])
    return Script(
        chance,
        edition,
        chance.sample(pool, chance.randint(1, len(pool))),
        chance.sample(STAGES, chance.randint(1, 2)),
        first=chance.choice([0, 0, 1, 2]),
        share=chance.choice([0.1, 0.3, 0.6, 1.0]),
        most=chance.randint(1, 3),
        end=chance.choice(
            [DROP, "421 4.7.0 closing", "451 4.7.1 enough for one session", "452 4.5.3 too many messages"]
        ),
    )


class ScriptedRelay:
    """An SMTP server on loopback with one thread, for one connection at a time."""

    def __init__(self) -> None:
        self.seed = self.sessions = 0
        self.edition = Edition(0, {})
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
        self.sessions += 1
        script = _write_script(self.seed + self.sessions, self.edition)
        self.edition.sessions.append(script)
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
                        self.edition.accepted.append(rcpt)
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


_hash = cache(consent.address_hash)


def _add_editions(store: Store, chance: random.Random) -> list[Edition]:
    """Write all editions with their readers and deliveries. Their mailings are closed."""
    result, people, deliveries = [], [], []
    for number in range(1, _TOGETHER + 1):
        count = chance.choice([*range(1, 20), 30])
        edition = Edition(number, {number * 100 + at: f"n{number}r{at}@example.org" for at in range(count)})
        result.append(edition)
        for reader, address in edition.readers.items():
            digest = _hash(address)
            people.append(
                {"id": reader, "address": address, "address_hash": digest, "name": "", "language": "en", "created": NOW}
            )
            deliveries.append(
                {"mailing": number, "target": list_target("digest", reader), "purpose": "edition", "list": "digest",
                 "subscriber": reader, "selection": 1, "rendition": 1, "address_hash": digest, "at": NOW}
            )  # fmt: skip
    subscription = {
        "list": "digest", "state": "confirmed", "topics": [], "frequency": "weekly", "mark": 0, "source": "test",
        "created": NOW, "confirmed_at": NOW,
    }  # fmt: skip
    row = {
        "schedule": "friday", "cut": NOW, "starts": NOW, "state": "sending", "holds": [], "stories": [], "owner": "",
        "history": [], "request": {}, "at": NOW,
    }  # fmt: skip
    mailing = {"kind": "edition", "schedule": "friday", "open": False, "urgent": False, "marked": False, "at": NOW}
    with store.write() as connection:
        connection.execute(insert(t.subscribers), people)
        connection.execute(insert(t.subscriptions), [{"subscriber": each["id"], **subscription} for each in people])
        numbers = [edition.number for edition in result]
        connection.execute(insert(t.editions), [{"id": at, "number": at, **row} for at in numbers])
        connection.execute(
            insert(t.mailings), [{"id": at, "key": f"edition:{at}", "edition": at, **mailing} for at in numbers]
        )
        ledger.add_deliveries(connection, deliveries)
    return result


def _bounce(store: Store, delivery: int, address: str, reply: str) -> None:
    path = KEYS.make_return_path_signer("bounces@example.org")(delivery)
    raw = (
        "From: MAILER-DAEMON@mx.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=B\r\n"
        "\r\n--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\n"
        f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"Diagnostic-Code: smtp; {reply}\r\n\r\n--B--\r\n"
    )
    receive_message(store, KEYS, raw.encode(), recipients=[path], rules=RULES, via="lmtp", now=NOW + timedelta(hours=1))


def _find_states(store: Store) -> dict[int, dict[int, tuple[int, str]]]:
    """Return the delivery and its state by reader, for each edition."""
    d = t.deliveries.c
    states: dict[int, dict[int, tuple[int, str]]] = {}
    with store.read() as connection:
        for row in connection.execute(select(d.id, d.mailing, d.subscriber, d.state)):
            states.setdefault(row.mailing, {})[row.subscriber] = (row.id, row.state)
    return states


def _bounce_some(store: Store, edition: Edition, states: Mapping[int, tuple[int, str]], chance: random.Random) -> None:
    """Return some of the accepted mails as bounces."""
    for reader, (number, state) in states.items():
        if state == "accepted" and chance.random() < 0.05:
            address = edition.readers[reader]
            reply = chance.choice([*ABOUT_US, GONE]).replace("{r}", address)
            if reply.startswith("550 5.1.1 <") and "User unknown" in reply:
                edition.named_gone.add(address)
            _bounce(store, number, address, reply)


def _send(sender: Deliverer, store: Store, edition: Edition) -> set[int]:
    """Send one edition. No session remembers an earlier one, and unsent mail of earlier sessions stays unsent."""
    mailings = t.mailings.c
    with store.write() as connection:
        connection.execute(update(t.mailings).values(open=mailings.id == edition.number))
        connection.execute(delete(t.senders))
    refused = sender.run_until_idle().refused
    sender.close()  # its connections
    return refused


def _play(folder: Path, relay: ScriptedRelay, chance: random.Random) -> None:
    """Play editions in a new store: with many old deliveries, each one takes longer."""
    store = open_store("sqlite:///tidings.db", folder)
    alive = locks.acquire_liveness(store)
    try:
        editions = _add_editions(store, chance)
        login = Login("127.0.0.1", relay.port, timeout=5)
        sender = deliverer(
            store, alive, relay.port, connect=lambda: SmtpRelay(login, timeouts=Timeouts(5, 5)), connections=1
        )
        refused: set[int] = set()
        for edition in editions:
            relay.edition = edition
            refused |= _send(sender, store, edition)
        act_on_refusals(store, RULES, NOW, refused)
        finish_editions(store, NOW)
        states = _find_states(store)
        for edition in editions:
            _bounce_some(store, edition, states[edition.number], chance)
        _check(store, editions)
    finally:
        alive.release()
        store.close()


def _check(store: Store, editions: Sequence[Edition]) -> None:
    s, p = t.subscriptions.c, t.subscribers.c
    with store.read() as connection:
        left = set(connection.execute(select(s.subscriber).where(s.state != "confirmed")).scalars())
        barred = select(p.id).join_from(t.subscribers, t.suppressions, t.suppressions.c.hash == p.address_hash)
        suppressed = set(connection.execute(barred).scalars())
    states = _find_states(store)
    for edition in editions:
        readers = edition.readers
        mine = suppressed & set(readers)
        assert {readers[one] for one in mine} <= edition.named_gone, (mine, edition)
        assert len(left & set(readers)) <= len(mine), (left, mine, edition)
        ends = {readers[one]: state for one, (_, state) in states[edition.number].items()}
        assert set(ends) == set(readers.values()), (ends, edition)
        assert set(ends.values()) <= {"accepted", "pending", "deferred", "rejected", "in_doubt"}, (ends, edition)
        accepted = sorted(address for address, state in ends.items() if state == "accepted")
        assert accepted == sorted(edition.accepted), (ends, edition)


SESSIONS = int(os.environ.get("SESSIONS", "10000"))
"""The number of editions that `make test-all` plays."""
_TOGETHER = 50
"""Editions in one store."""


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 9))])
def test_random_sessions_suppress_and_lose_nobody(
    tmp_path: Path, relay: ScriptedRelay, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SendRates, "learn", lambda *_: None)  # nothing waits for a slowed domain
    monkeypatch.setattr(threads, "decided_replies", lambda connection: [])  # no mail is a reply to another one
    # All claim in the same way. Choosing the way takes longer than a session.
    monkeypatch.setattr(batch, "Claimant", cache(batch.Claimant))
    relay.seed = part * 1_000_003
    chance = random.Random(part)
    least = -(-SESSIONS // 8) if part else 100
    while relay.sessions < least:
        folder = tmp_path / str(relay.sessions)
        _play(folder, relay, chance)
        shutil.rmtree(folder)
