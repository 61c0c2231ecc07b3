"""A real relay, Postfix from Debian, delivers each mail unchanged, and refuses some addresses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.fixtures.newsroom import DAILY, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.newsroom_folder import ReceivedMail
from tests.fixtures.smtp import SmtpSink
from tests.servers.dkim_judges import by_dkimpy, by_opendkim
from tests.servers.postfix import Postfix, postfix
from tidings.config.dkim import load_key
from tidings.model.edition import HoldReason
from tidings.model.errors import InputError
from tidings.pipeline.compose.lifecycle import EditionLifecycle
from tidings.render.mail.dkim import DkimIdentity
from tidings.runtime.demo.mail_catcher import MailCatcher
from tidings.store.people import subscribers

pytestmark = pytest.mark.slow

SETTINGS = "return_path: bounces@bounce.example"


@pytest.fixture(scope="module")
def relay() -> Iterator[Postfix]:
    with postfix() as result:
        yield result


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as running:
        yield running


def _use(newsroom: RunningNewsroom, port: int, more: str = "") -> None:
    path = newsroom.folder.root / "tidings.yaml"
    [old] = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("mail:")]
    newsroom.configure(old, f"mail: {{host: 127.0.0.1, port: {port}, security: none, {SETTINGS}{more}}}")


def _signed(newsroom: RunningNewsroom) -> tuple[str, dict[str, str]]:
    """Return settings that sign with two keys, and their DNS records."""
    keys = {
        "s1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "e1": ed25519.Ed25519PrivateKey.generate(),
    }
    records = {}
    for selector, key in keys.items():
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (newsroom.folder.root / f"{selector}.pem").write_bytes(pem)
        identity = DkimIdentity("example.org", selector, load_key(pem.decode()))
        records[identity.name] = identity.record
    second = "ed25519: {selector: e1, key: {file: e1.pem}}"
    return f", dkim: {{domain: example.org, selector: s1, key: {{file: s1.pem}}, {second}}}", records


def _as_sent(mail: bytes) -> bytes:
    """Restore the line endings of SMTP: a maildir has those of the system."""
    return mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_each_reader_has_a_receipt_and_a_signature(relay: Postfix, newsroom: RunningNewsroom, tmp_path: Path) -> None:
    more, records = _signed(newsroom)
    _use(newsroom, relay.port, more)
    for name in ("ru", "kk", "en"):
        newsroom.reader(name, language=name)
        newsroom.item("flood", name, title={"ru": "Паводок", "kk": "Су тасқыны", "en": "The flood"}[name])
    for name in ("refused", "quota", "later", "full", "unknown"):
        newsroom.reader(name)
    newsroom.tick(MONDAY)
    result = {entry.address.partition("@")[0]: entry for entry in newsroom.entries()}
    states = {name: (str(entry.state), entry.reason.partition(" <")[0]) for name, entry in result.items()}
    assert states == {
        "ru": ("accepted", ""),
        "kk": ("accepted", ""),
        "en": ("accepted", ""),
        # The relay accepts these and bounces them later.
        "full": ("accepted", ""),
        "unknown": ("accepted", ""),
        "refused": ("rejected", "550 5.1.1"),
        "quota": ("deferred", "452 4.2.2"),
        "later": ("deferred", "450 4.7.1"),
    }
    for name, word in (("ru", "Паводок"), ("kk", "Су тасқыны"), ("en", "The flood")):
        [raw] = relay.wait_for(name)
        mail = _as_sent(raw)
        assert ReceivedMail("", "", mail).message["Subject"] == word
        assert word in ReceivedMail("", "", mail).text
        # The ledger has the queue id of Postfix's delivery.
        assert result[name].receipt.rpartition(" ")[2] in message_from_bytes(raw)["Received"]
        assert by_dkimpy(mail, records) == [True, True]
        assert by_opendkim(mail, records, tmp_path) == ""
        assert by_opendkim(mail.replace(b"One-Click", b"One-Clack"), records, tmp_path) != ""
    bounced = b"".join(relay.wait_for("bounces", 2))
    assert b"Final-Recipient: rfc822; full@example.org" in bounced
    assert b"Status: 5.2.2" in bounced
    assert b"Final-Recipient: rfc822; unknown@example.org" in bounced


ODD = {
    "plus": "ada+news@example.org",
    "apostrophe": "o'hara@example.org",
    "dots": "a.b.c@example.org",
    "64 characters": "x" * 64 + "@example.org",
    "IDN domain": "ada@пример.example",
    "SMTPUTF8": "айгүл@example.org",
}
REFUSED = {
    "quoted": '"john doe"@example.org',
    "65 characters": "x" * 65 + "@example.org",
    "two dots": "a..b@example.org",
    "dot in front": ".a@example.org",
    "a comment": "ada(x)@example.org",
    "two addresses": "ada@example.org, eve@example.org",
    "a line": "ada@example.org\r\nBcc: eve@example.org",
    "no domain": "ada@",
    "an IP address": "ada@[127.0.0.1]",
}
BOXES = {"plus": "ada", "apostrophe": "o'hara", "dots": "a.b.c", "64 characters": "x" * 64, "IDN domain": "idn"}


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED)
def test_unsupported_addresses_are_refused_with_reasons(newsroom: RunningNewsroom, address: str) -> None:
    with pytest.raises(InputError, match=r"e-mail address|domain|before the @"):
        _add(newsroom, address)


def _add(newsroom: RunningNewsroom, address: str) -> str:
    with newsroom.runtime.store.write() as connection:
        return subscribers.add(
            connection,
            address,
            "digest",
            language="en",
            frequency="daily",
            now=newsroom.now,
            confirmed=True,
            name="Ада",
        )


def _send(newsroom: RunningNewsroom) -> dict[str, tuple[str, str]]:
    """Send an edition to unusual addresses. Returns state and reason by address."""
    for address in ODD.values():
        assert _add(newsroom, address) == "added"
    newsroom.item("one")
    newsroom.tick(MONDAY)
    return {entry.address: (str(entry.state), entry.reason) for entry in newsroom.entries()}


def test_odd_addresses_arrive_unchanged_at_a_real_relay(relay: Postfix, newsroom: RunningNewsroom) -> None:
    more, records = _signed(newsroom)
    _use(newsroom, relay.port, more)
    before = {name: len(relay.mails(box)) for name, box in BOXES.items()}
    assert set(_send(newsroom).values()) == {("accepted", "")}
    for name, box in {**BOXES, "SMTPUTF8": "айгүл"}.items():
        raw = relay.wait_for(box, before.get(name, 0) + 1)[-1]
        stored = ODD[name].replace("пример", "xn--e1afmkfd")
        assert f"X-Original-To: {stored}".encode() in raw
        assert by_dkimpy(_as_sent(raw), records) == [True, True]


def _through_the_catcher(newsroom: RunningNewsroom) -> dict[str, list[str]]:
    with MailCatcher() as catcher:
        _use(newsroom, catcher.port)
        states = _send(newsroom)
        return {address: [mail.recipient for mail in catcher.mails if mail.recipient == address] for address in states}


def test_odd_addresses_arrive_unchanged_in_the_catcher(newsroom: RunningNewsroom) -> None:
    caught = _through_the_catcher(newsroom)
    assert len(caught) == len(ODD)
    assert all(mails == [address] for address, mails in caught.items())


def test_without_smtputf8_such_addresses_are_rejected(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    with SmtpSink(tmp_path / "journal", extensions=("8BITMIME", "PIPELINING")) as sink:
        _use(newsroom, sink.port)
        states = _send(newsroom)
        state, reason = states.pop(ODD["SMTPUTF8"])
        assert state == "rejected"
        assert "does not offer SMTPUTF8" in reason
        assert set(states.values()) == {("accepted", "")}
        assert sorted(entry["to"] for entry in sink.taken() if "comms" not in entry["to"]) == sorted(states)


ABOUT_US = {
    "smtpd_helo_restrictions = check_helo_access static:{550 Invalid HELO name}": "Helo command rejected",
    "smtpd_client_restrictions = check_client_access static:{554 5.7.1 blocked using zen.spamhaus.org}": "spamhaus",
    "smtpd_sender_restrictions = check_sender_access static:{550 5.1.8 not verified}": "Sender address rejected",
    "smtpd_relay_restrictions = reject": "Access denied",
    # A directory that knows nobody.
    "smtpd_reject_unlisted_recipient = yes\nvirtual_mailbox_maps = inline:{nobody@example.org=x}": "User unknown",
}


@pytest.mark.parametrize(("setting", "words"), ABOUT_US.items(), ids=ABOUT_US.values())
def test_a_relay_that_refuses_everybody_takes_nobody_off(
    relay: Postfix, newsroom: RunningNewsroom, setting: str, words: str
) -> None:
    _use(newsroom, relay.port)
    names = [f"r{number}" for number in range(12)]
    for name in names:
        newsroom.reader(name)
    newsroom.item("flood", "en", title="The flood")
    relay.configure(setting)
    try:
        newsroom.tick(MONDAY)
    finally:
        relay.configure("")
    [hold] = newsroom.edition("daily/1").holds
    assert hold.reason is HoldReason.BREAKER
    assert words in hold.detail
    with newsroom.runtime.store.read() as connection:
        assert subscribers.count_by_state(connection, "digest") == {"confirmed": 12}
    assert {str(entry.state) for entry in newsroom.entries()} == {"pending"}
    EditionLifecycle(newsroom.runtime.store, newsroom.runtime.newsroom).release(
        newsroom.edition("daily/1"), MONDAY, "op"
    )
    newsroom.tick(MONDAY + timedelta(hours=1))
    assert {str(entry.state) for entry in newsroom.entries()} == {"accepted"}
