"""Samples in the styles of many mail systems are read correctly, and hostile messages do no harm."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fixtures.growth import is_slow
from tidings.model.refusal import Effect, classify
from tidings.pipeline.track.report_parser import MAX_BYTES, ParsedReport, decoded_parts, parse_report

FOLDER = Path(__file__).parent / "returns"
HARD, SOFT, BLOCKED = Effect.HARD, Effect.SOFT, Effect.BLOCKED

REFUSALS = {
    "postfix-unknown": (HARD, "5.1.1"),
    "postfix-full": (SOFT, "5.2.2"),
    "postfix-relay-denied": (BLOCKED, "5.7.1"),
    "postfix-expired": (SOFT, "4.4.1"),
    "postfix-international": (HARD, "5.1.1"),
    "escaped-international": (HARD, "5.1.1"),
    "encoded-international": (SOFT, "5.2.2"),
    "exim-unrouteable": (HARD, ""),
    "exim-full": (SOFT, "5.0.0"),
    "exim-remote": (HARD, "5.0.0"),
    "sendmail-unknown": (HARD, "5.1.1"),
    "sendmail-host-unknown": (HARD, "5.1.2"),
    "sendmail-queue": (SOFT, "4.4.1"),
    "microsoft365-unknown": (HARD, "5.1.10"),
    "microsoft365-directory": (HARD, "5.4.1"),
    "microsoft365-full": (SOFT, "5.2.2"),
    "microsoft365-blocked": (BLOCKED, "5.7.515"),
    "microsoft365-no-domain": (HARD, "5.4.310"),
    "outlook-unavailable": (HARD, "5.5.0"),
    "exchange2000": (HARD, ""),
    "gmail-unknown": (HARD, "5.1.1"),
    "gmail-disabled": (SOFT, "5.2.1"),
    "gmail-quota": (SOFT, "4.2.2"),
    "gmail-unauthenticated": (BLOCKED, "5.7.26"),
    "qmail-unknown": (HARD, "5.1.1"),
    "qmail-connection": (SOFT, "4.4.1"),
    "qmail-full": (SOFT, ""),
    "yahoo-unknown": (HARD, "5.0.0"),
    "yahoo-policy": (BLOCKED, "5.7.9"),
    "mailru-unknown": (HARD, "5.0.0"),
    "mailru-plain": (SOFT, ""),
    "mailru-full": (SOFT, "5.0.0"),
    "yandex-unknown": (HARD, "5.7.1"),
    "yandex-spam": (BLOCKED, "5.7.1"),
    "zimbra-quota": (SOFT, "5.2.2"),
    "zimbra-unknown": (HARD, "5.1.1"),
    "ses-suppressed": (HARD, "5.1.1"),
    "ses-temporary": (SOFT, "4.4.7"),
    "two-recipients": (HARD, "5.1.1"),
    "opaque": (BLOCKED, "5.0.0"),
}
COMPLAINTS = {"arf-yahoo", "arf-mailru", "arf-redacted", "arf-opt-out", "arf-microsoft", "cfbl"}
NOTHING = {
    "postfix-delayed": "delay",
    "exim-warning": "delay",
    "postfix-success": "success",
    "arf-not-spam": "not a complaint",
    "arf-auth-failure": "not a complaint",
    "office-exchange": "automatic reply",
    "office-vacation": "automatic reply",
    "office-ru": "automatic reply",
    "office-ru-yandex": "automatic reply",
    "office-kk": "automatic reply",
    "office-ar": "automatic reply",
    "ticket": "automatic reply",
    "person": "neither a bounce",
    "spam": "neither a bounce",
    "receipt": "receipt",
}


def _read(name: str) -> ParsedReport:
    return parse_report((FOLDER / f"{name}.eml").read_bytes())


@pytest.mark.parametrize(("name", "expected"), REFUSALS.items(), ids=REFUSALS)
def test_a_bounce_is_read(name: str, expected: tuple[Effect, str]) -> None:
    report = _read(name)
    assert report.refusal is not None, report.reason
    assert (report.refusal.effect, report.refusal.code) == expected
    assert report.recipient == ("айгүл@example.net" if "international" in name else "ada@example.net")


@pytest.mark.parametrize("name", sorted(COMPLAINTS))
def test_a_complaint_is_read(name: str) -> None:
    report = _read(name)
    assert report.complaint in ("abuse", "opt-out"), report.reason
    assert report.recipient == ("" if "redacted" in name else "ada@example.net")


@pytest.mark.parametrize(("name", "why"), NOTHING.items(), ids=NOTHING)
def test_other_messages_are_no_feedback(name: str, why: str) -> None:
    report = _read(name)
    assert not report.is_feedback
    assert why in report.reason


def test_every_sample_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.eml")} == set(REFUSALS) | COMPLAINTS | set(NOTHING)


@pytest.mark.parametrize(("name"), sorted({*REFUSALS, *COMPLAINTS, *NOTHING}))
def test_line_ends_do_not_matter(name: str) -> None:
    raw = (FOLDER / f"{name}.eml").read_bytes()
    assert parse_report(raw.replace(b"\r\n", b"\n")) == parse_report(raw)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("", "550 5.1.1 <x>: no", HARD),
        ("5.0.0", "550 5.2.2 over quota", SOFT),
        ("", "552 5.3.4 Message size exceeds fixed limit", BLOCKED),
        ("", "550 5.1.8 Sender address rejected: Domain not found", BLOCKED),
        ("", "451 4.7.1 Greylisting in action", BLOCKED),
        ("5.3.0", "x", SOFT),
        ("5.9.9.9", "550 nothing known", BLOCKED),
        ("banana", "", BLOCKED),
    ],
)
def test_refusals_are_classified(code: str, text: str, expected: Effect) -> None:
    assert classify(text, status=code).effect is expected


def _nested(depth: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number) for number in range(depth)
    )
    return b"From: mailer-daemon@x\nMIME-Version: 1.0\n" + head + b"\nhello\n" * 1000


HOSTILE = {
    "empty": b"",
    "zeros": b"\0" * 100_000,
    "a little nested": _nested(30),
    "deeply nested": _nested(3000),
    "mails in mails": b"Content-Type: message/rfc822\n\n" * 30_000,
    "one long line": b"Subject: " + b"x" * (2 * MAX_BYTES),
    "many fields": b"X: y\n" * 200_000 + b"\n",
    "many parts": b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n\nx\n" * 100_000,
    "many recipients": (FOLDER / "postfix-unknown.eml")
    .read_bytes()
    .replace(b"Arrival-Date", b"\r\nFinal-Recipient: rfc822; x@y\r\nAction: failed\r\n" * 10_000 + b"Arrival-Date"),
    "odd charset": b"Content-Type: text/plain; charset=no-such\n\n\xff\xfe\n",
    "odd parameters": b"Content-Type: multipart/report; boundary*0*=''%ff; boundary*1=x; charset*=a'b\n\n--x\n",
    "not base64": b"From: mailer-daemon@x\nContent-Type: message/global-delivery-status\n"
    b"Content-Transfer-Encoding: base64\n\n!!!!\n",
    "white space": b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b" \t" * 400_000,
    "words without end": b"From: mailer-daemon@x\nX-Failed-Recipients: a@b.c\n\n" + b"user mailbox recipient " * 40_000,
    "a short long text": b"From: mailer-daemon@x\nX-Failed-Recipients: a@b.c\n\n" + b"user exceed quota of " * 3_000,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages_end_soon_with_a_reason(raw: bytes) -> None:
    begun = time.process_time()
    report = parse_report(raw)
    assert time.process_time() - begun < 20
    assert report.is_feedback or report.reason


def test_an_international_address_beyond_unicode_is_no_error() -> None:
    raw = (FOLDER / "escaped-international.eml").read_bytes()
    assert parse_report(raw.replace(rb"\x{0430}", rb"\x{FFFFFF}")).is_feedback


@pytest.mark.parametrize(
    ("begin", "unit"),
    [
        (b"From: ", b"a@b.c, "),
        (b"Content-Type: text/plain", b"; a=b"),
        (b"Content-Type: text/plain", b"; a*0=b"),
        (b"Content-Type: text/plain", b'; a="b'),
        (b"Subject: a", b"\r\n x"),
        (b"From: mailer-daemon@a.b\r\nSubject: failure notice\r\n\r\n", b"user unknown <a@b.c> "),
    ],
)
def test_reading_a_bounce_takes_linear_time(begin: bytes, unit: bytes) -> None:
    """One field of 1 MB took 20 seconds and more, and anybody may send such a message."""

    def parse(raw: bytes) -> None:
        parse_report(raw, "reader@example.org", is_signed=True)
        decoded_parts(raw)

    assert not is_slow(parse, lambda size: begin + unit * (64 * size))
