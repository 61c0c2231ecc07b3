"""Every reply of the corpus as a bounce: in a report, in plain text, and from a reporter that contradicts it."""

from __future__ import annotations

import base64
import quopri
from email.header import Header

import pytest

from tests.model.test_refusal import Sample, samples
from tidings.model.refusal import Effect, classify
from tidings.pipeline.track.report_parser import decoded_parts, parse_report

READER = "relay@policy.example"
PATH = "bounces+token@example.org"
_HEAD = f"Return-Path: <>\r\nFrom: {{sender}}\r\nTo: {PATH}\r\nSubject: Undelivered mail\r\nMIME-Version: 1.0\r\n"
_COPY = "Received: from x\r\nDKIM-Signature: v=1; spf=none\r\nSubject: News about spam and quota\r\n"


def _reader(sample: Sample) -> str:
    """The words of its address mislead, unless the reply calls the reader by name."""
    return sample.readers[0] if "{l}" in sample.text else READER


def _report(sample: Sample, status: str, final: str = "") -> bytes:
    reader = _reader(sample)
    return (
        _HEAD.format(sender="Mail Delivery System <MAILER-DAEMON@relay.example>")
        + 'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\r\n\r\n'
        "--B\r\nContent-Type: text/plain\r\n\r\nYour mail is blocked by policy, or the user is unknown.\r\n"
        "--B\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; relay.example\r\n\r\n"
        f"Original-Recipient: rfc822;{reader}\r\nFinal-Recipient: rfc822;{final or reader}\r\nAction: failed\r\n"
        f"{f'Status: {status}' if status else 'X: y'}\r\n"
        f"Diagnostic-Code: smtp; {sample.said_of(reader)}\r\n\r\n"
        f"--B\r\nContent-Type: text/rfc822-headers\r\n\r\n{_COPY}\r\n--B--\r\n"
    ).encode()


def _plain(sample: Sample, sender: str) -> bytes:
    reader = _reader(sample)
    text = f"Your message could not be delivered to <{reader}>.\r\nThe other server said:\r\n"
    return (
        _HEAD.format(sender=sender)
        + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + f"{text}{sample.said_of(reader)}\r\n\r\nMessage headers follow.\r\n\r\n{_COPY}\r\n"
    ).encode()


def _effect(raw: bytes, reader: str = READER) -> Effect | None:
    report = parse_report(raw, reader, is_signed=True)
    return report.refusal.effect if report.refusal else None


_ALL = pytest.mark.slow
"""For all replies of the corpus; the fast tests read some of them."""


@pytest.mark.parametrize(
    ("status", "step"),
    [("", 11), ("5.0.0", 7), ("5.1.1", 5), *(pytest.param(code, 1, marks=_ALL) for code in ("", "5.0.0", "5.1.1"))],
)
def test_a_report_gives_the_same_result_as_the_reply(status: str, step: int) -> None:
    for sample in list(samples())[::step]:
        reader = _reader(sample)
        expected = classify(sample.said_of(reader), status=status, recipient=reader).effect
        assert _effect(_report(sample, status), reader) is expected, sample
        assert (expected is Effect.HARD) <= (sample.about == "gone"), sample


@pytest.mark.parametrize(
    ("sender", "step"),
    [
        ("MAILER-DAEMON <>", 5),
        ("Post Office <post@gate.example>", 11),
        ("postmaster@gate.example", 13),
        pytest.param("MAILER-DAEMON <>", 1, marks=_ALL),
        pytest.param("postmaster@gate.example", 1, marks=_ALL),
    ],
)
def test_plain_text_suppresses_nobody_wrongly(sender: str, step: int) -> None:
    missed = 0
    for sample in list(samples())[::step]:
        reader = _reader(sample)
        effect = _effect(_plain(sample, sender), reader)
        assert effect is not Effect.HARD or sample.about == "gone", sample
        is_read = classify(sample.said_of(reader), recipient=reader).effect is Effect.HARD
        missed += is_read and effect is not Effect.HARD and sample.text[:1] == "5"
    assert missed <= 7


def test_a_report_about_another_address_is_soft_at_most() -> None:
    for sample in list(samples())[::7]:
        report = _report(sample, "5.1.1", "former.member@elsewhere.example")
        assert _effect(report, _reader(sample)) is not Effect.HARD, sample


_DEAD = f"Final-Recipient: rfc822; {READER}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no such user\n"
_LATE = f"Final-Recipient: rfc822; {READER}\nAction: delayed\nStatus: 4.4.1\n"


def _statuses(*fields: str, kind: str = "message/delivery-status") -> bytes:
    parts = "".join(f"--B\nContent-Type: {kind}\n\nReporting-MTA: dns; relay.example\n\n{part}\n" for part in fields)
    head = _HEAD.format(sender="MAILER-DAEMON@relay.example").replace("\r\n", "\n")
    body = f"--B\nContent-Type: text/plain\n\nIt could not be delivered.\n{parts}--B--\n"
    return f'{head}Content-Type: multipart/report; boundary="B"\n\n{body}'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        _statuses(_DEAD.replace("failed", "Failed; for good")),
        _statuses(_DEAD.replace("5.1.1", "5.1.1\t(bad destination)").replace("smtp; 550 no such user", "")),
        _statuses(_DEAD.replace("5.1.1", "#5.1.1.").replace("smtp; 550 no such user", "")),
        _statuses(_LATE, _DEAD),
        _statuses(_DEAD, kind="text/plain; name=details.txt"),
    ],
    ids=["parameter", "tab", "hash", "first late, then failed", "an attachment"],
)
def test_a_report_of_unusual_form_is_read(raw: bytes) -> None:
    assert _effect(raw) is Effect.HARD


@pytest.mark.parametrize(
    "words",
    [
        "550 mailbox unavailable (in reply to end of DATA command)",
        "550 5.1.1 no such user (in reply to MAIL FROM command)",
        "SMTP error from remote mail server after MAIL FROM:<bounces@example.org>: 550 unknown user",
        "SMTP error from remote mail server after end of data: 550 Mailbox unavailable",
    ],
)
def test_the_refused_command_in_a_report_counts(words: str) -> None:
    assert _effect(_statuses(_DEAD.replace("550 no such user", words))) is Effect.BLOCKED


def test_a_persons_mail_is_no_refusal() -> None:
    letter = _HEAD.format(sender="Ada <ada@shop.example>") + "\r\nOnly 550 euros! No such user was ever sorry.\r\n"
    assert _effect(letter.encode()) is None


@pytest.mark.parametrize("kind", ["opt-out-list", "abuse; for=news"])
def test_a_complaint_of_a_rare_kind_is_one(kind: str) -> None:
    part = f"--F\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nVersion: 1\n\n--F--\n"
    raw = f'Content-Type: multipart/report; boundary="F"\n\n{part}'
    assert parse_report(raw.encode()).complaint


def test_an_unknown_bounce_is_left_to_a_person() -> None:
    raw = _HEAD.format(sender="postmaster@gate.example").encode() + b"\r\nDie Post kam zur\xc3\xbcck.\r\n"
    report = parse_report(raw, READER, is_signed=True)
    assert not report.is_feedback
    assert report.is_unread


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_a_token_in_an_encoded_part_is_found(encoding: str) -> None:
    inner = b"Subject: Digest\r\nList-Unsubscribe: <https://news.example.org/unsubscribe/" + b"a" * 60 + b">\r\n"
    body = base64.encodebytes(inner) if encoding == "base64" else quopri.encodestring(inner)
    raw = (
        b'Content-Type: multipart/report; boundary="F"\r\n\r\n--F\r\nContent-Type: text/rfc822-headers\r\n'
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + body + b"\r\n--F--\r\n"
    )
    assert b"/unsubscribe/" + b"a" * 60 not in raw
    assert b"/unsubscribe/" + b"a" * 60 in decoded_parts(raw)


@pytest.mark.parametrize(
    ("diagnostic", "effect"),
    [
        ("smtp; =?utf-8?q?550_5.1.1_Der_Benutzer_existiert_nicht?=", Effect.HARD),
        (f"smtp; {Header('550 5.1.1 Пользователь не найден', 'utf-8').encode()}", Effect.HARD),
        (f"smtp; {Header('552 5.2.2 Ящик переполнен', 'koi8-r').encode()}", Effect.SOFT),
        ("smtp; =?no-such-charset?q?550_5.1.1?= user unknown", Effect.BLOCKED),
        ("smtp; 550 5.1.1 \ufffd\ufffd\ufffd\ufffd\ufffd \ufffd\ufffd \ufffd\ufffd\ufffd", Effect.BLOCKED),
        ("smtp; 550 5.1.1 ????????? ?? ??????", Effect.BLOCKED),
        ("smtp; 550 5.1.1 user unknown?", Effect.HARD),
    ],
)
def test_encoded_words_are_read_and_lost_ones_doubted(diagnostic: str, effect: Effect) -> None:
    assert _effect(_statuses(_DEAD.replace("smtp; 550 no such user", diagnostic))) is effect


@pytest.mark.parametrize(
    "subject",
    [
        "Risposta automatica: News",
        "Resposta automática: News",
        "Automatisch antwoord: News",
        "Automatyczna odpowiedź: News",
        "Otomatik yanıt: News",
        "Automatická odpověď: News",
        "Autosvar: News",
        "Automaattinen vastaus: News",
        "Automatikus válasz: News",
        "Автоматична відповідь: News",
        "自动答复: News",
        "自動返信: News",
        "자동 회신: News",
    ],
)
def test_an_absence_is_known_by_its_subject(subject: str) -> None:
    head = f"From: {READER}\nTo: {PATH}\nSubject: {Header(subject, 'utf-8').encode()}\n"
    report = parse_report(f"{head}\nBack on Monday.\n".encode(), READER, is_signed=True)
    assert (report.reason, report.is_unread) == ("an automatic reply", False)
