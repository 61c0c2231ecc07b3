"""Mail that strangers make to stop or to deceive us: it is read to its end, and a person sees what it is."""

from __future__ import annotations

import shlex

import pytest

from tests.fixtures.growth import is_slow
from tests.fixtures.ledger import NOW
from tidings.config.bounces import Bounces
from tidings.model.tokens import TokenKeys
from tidings.pipeline.track.incoming_mail import receive_message
from tidings.pipeline.track.leaving_mail import LeavingAddresses
from tidings.pipeline.track.report_parser import parse_report
from tidings.store.delivery.notices import unsent_notices
from tidings.store.engine import Store
from tidings.store.people import subscribers

KEYS = TokenKeys({1: b"k" * 32})
SIGNED = KEYS.make_return_path_signer("bounces@example.org")(1)
LEAVE = "leave@example.org"
DAEMON = b"From: mailer-daemon@x.example\r\n"
HOSTILE = {
    "mails in mails": DAEMON + b"Content-Type: message/rfc822\r\n\r\n" * 2_000,
    "parts in parts": DAEMON
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1_200)),
    "comments in comments": b"From: " + b"(" * 900 + b"\r\nSubject: x\r\n\r\nx",
    "zero in a charset": DAEMON + b'Content-Type: text/plain; charset="\0"\r\n\r\nx',
    "no charset of mail": DAEMON + b"Content-Type: text/plain; charset=idna\r\n\r\n" + b"x" * 60_000,
    "odd charset of a subject": b"From: =?utf-8\xef\xbf\xbd?q?daemon?= <a@b.c>\r\nSubject: =?idna?q?xn--a?=\r\n\r\nx",
    "zeros": b"From: a\0b@x.example\r\nSubject: daemon\0\r\n\r\nx\0y",
}


def _receive(store: Store, raw: bytes, *recipients: str) -> str:
    leaving = LeavingAddresses({LEAVE: ["digest"]}, "mx.example")
    return receive_message(
        store, KEYS, raw, rules=Bounces(), via="lmtp", now=NOW, recipients=recipients, leaving=leaving
    ).kind


def _notices(store: Store) -> list[str]:
    with store.read() as connection:
        return [notice.text for notice in unsent_notices(connection)]


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_no_mail_of_a_stranger_is_an_error(store: Store, raw: bytes) -> None:
    """One such mail kept the mailbox of bounces from being read, for good."""
    assert _receive(store, raw, "bounces@example.org") == "nothing"
    assert _receive(store, raw, SIGNED) == "nothing"
    assert _receive(store, raw) == "nothing"
    assert _receive(store, raw, LEAVE) in ("shown", "nothing")
    if raw.startswith(DAEMON):
        assert any("Tidings cannot read it" in text for text in _notices(store))


def test_a_charset_takes_linear_time() -> None:
    """One mail of 1 MB in Punycode kept the service busy for a minute."""
    head = DAEMON + b"Content-Type: text/plain; charset=punycode\r\n\r\n"
    assert not is_slow(
        lambda raw: parse_report(raw, is_signed=True), lambda size: head + b"9" * (128 * size), (256, 1_024)
    )


def test_lines_that_decode_to_nothing_are_not_searched() -> None:
    """1 MB of them took five seconds, because the decoded text is short."""
    head = DAEMON + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    assert parse_report(head + b"=\r\n" * 100_000, is_signed=True).reason.startswith("too long")
    assert not parse_report(head + b"=\r\n" * 10_000, is_signed=True).reason.startswith("too long")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_command_in_a_notice_cannot_be_forged(store: Store) -> None:
    """An officer copies it into a shell, and the address of a reader may hold another command."""
    address = "a`reboot`&|$x'@evil.example"
    with store.write() as connection:
        subscribers.add(connection, address, "digest", language="en", frequency="weekly", now=NOW)
    assert _receive(store, f"From: {address}\r\nSubject: bye\r\n\r\n".encode(), LEAVE) == "shown"
    [text] = _notices(store)
    command = text.partition("To remove them: ")[2]
    assert shlex.split(command) == ["tidings", "subscribers", "remove", address, "--list", "digest"]
