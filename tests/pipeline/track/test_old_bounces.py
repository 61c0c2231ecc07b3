"""Bounces without a standard report, as older mail systems write them, and what only looks like a reason."""

from __future__ import annotations

import pytest

from tests.model.test_refusal import samples
from tidings.model.refusal import Effect, classify
from tidings.pipeline.track.report_parser import ParsedReport, parse_report

READER = "zora.neale@lake.example"
PATH = "bounces+token@example.org"
GONE, SOFT, BLOCKED = Effect.HARD, Effect.SOFT, Effect.BLOCKED
DAEMON = "Mail Delivery System <MAILER-DAEMON@relay.example>"
_QMAIL = "Hi. This is the qmail-send program at relay.example.\nThis is a permanent error; I've given up.\n\n"
_EXIM = (
    "This message was created automatically by mail delivery software.\n\nA message that you sent could not be"
    " delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n"
)
_COPY = "Received: from relay.example\nSubject: Our news of spam, policy and quota\nTo: " + READER + "\n\nHello\n"


def _read(text: str, sender: str = DAEMON, kind: str = "plain", charset: str = "utf-8") -> ParsedReport:
    head = f"Return-Path: <>\nFrom: {sender}\nTo: {PATH}\nSubject: Returned mail\nMIME-Version: 1.0\n"
    raw = f"{head}Content-Type: text/{kind}; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n{text}"
    return parse_report(raw.encode(charset), READER, is_signed=True)


def _read_with_copy(text: str, sender: str, kind: str = "plain") -> ParsedReport:
    copy = f"--B\nContent-Type: message/rfc822\n\n{_COPY}\n--B--\n"
    part = f"--B\nContent-Type: text/{kind}; charset=utf-8\n\n{text}\n{copy}"
    head = f"Return-Path: <>\nFrom: {sender}\nTo: {PATH}\nSubject: Returned mail\nMIME-Version: 1.0\n"
    raw = f'{head}Content-Type: multipart/mixed; boundary="B"\n\n{part}'
    return parse_report(raw.encode(), READER, is_signed=True)


def _effect(report: ParsedReport) -> Effect | None:
    return report.refusal.effect if report.refusal else None


PLAIN = {
    "Novell": (f"The message that you sent was undeliverable to the following:\n\t{READER} (user not found)\n", GONE),
    "Notes": (f"-- Failure Reasons --\n\nUser not listed in public Name & Address Book\n{READER}\n", GONE),
    "Lotus Notes in Japanese": (f"-- Failure Reasons --\n\nディレクトリのリストにありません\n{READER}\n", GONE),
    "Exchange 4": (
        "Your message did not reach some or all of the intended recipients.\n\n      To:\tus@example.org\n"
        "      Subject:\tOffer without spam\n\nThe following recipient(s) could not be reached:\n\n"
        f"      {READER} on 4/29/01 11:34 PM\n            Recipient Not Found\n            MSEXCH:IMC:LAKE:A:B\n",
        GONE,
    ),
    "a gateway with its own header": (
        "Your message:\n   From:    us@example.org\n   Subject: Full of news\n\nCould not be delivered because of\n\n"
        f"550 5.1.1 User unknown\n\nThe following recipients were affected: \n    {READER}\n\n\nMore\n====\n"
        "Original Sender:    <us@example.org>\nSender-MTA:         <192.0.2.3>\n",
        GONE,
    ),
    "a transcript": (
        "The original message was received at Thu, 29 Apr 2011\n\n -- The following addresses had errors --\n\n"
        f">>> {READER} <{READER}>\n\n ----- Transcript of session follows -----\n"
        "550 sorry, no mailbox here by that name (#5.1.1 - chkusr)\n",
        GONE,
    ),
    "IMail": (f"Unknown user: {READER}\n\nRCPT TO generated following response:\n553 5.3.0 <{READER}>... Addressee"
              f" unknown, relay=[192.0.2.9]\n\nOriginal message follows.\n\n{_COPY}", GONE),
    "a greeting of its own": (
        "She/He is no user of our policy service.\nCheck the address that you send to.\n\n"
        f"<{READER}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is\n\n" + _COPY,
        GONE,
    ),
    "French": (f"À : {READER}\nL'adresse de messagerie mentionnée ci-dessus n'existe pas.\n", GONE),
    "OpenSMTPD": (f"An error has occurred while delivering to:\n\n{READER}: Domain does not exist\n", GONE),
    "a scanner's footer": (
        f"{_EXIM}  {READER}\n    550 user not found\n\n**********************\n\nOur spam scanner refused it.\n",
        GONE,
    ),
    "Exchange whose parts have no head": (
        "This message is in MIME format.\n\n----=_Part\nContent-Type: text/plain\n\nYour message\n  Subject: A virus\n"
        f"did not reach the following recipient(s):\n\n{READER} on Friday\n    The recipient name is not recognized\n",
        GONE,
    ),
    "IMail without a reason": (f"undeliverable to {READER}\n\nOriginal message follows.\n\n{_COPY}", None),
    "Exim with a hidden reason": (f"{_EXIM}  an undisclosed address\n    (generated from {READER})\n", BLOCKED),
    "Exim with an odd reason": (f"{_EXIM}  {READER}\n    554 No Resent-From field given\n", BLOCKED),
    "Exim with a disabled account": (f"{_EXIM}  {READER}\n    account is disabled\n", SOFT),
    "their forwarding": (f"{_EXIM}  old@hill.example\n (generated from {READER})\n 550 user unknown\n", SOFT),
    "an alias": (f"<old@hill.example> (expanded from <{READER}>): host said: 550 5.1.1 user unknown\n", SOFT),
    "their other host": (f"{_EXIM}  zora.neale@mx.lake.example (generated from {READER})\n 550 user unknown\n", GONE),
    "a full mailbox of KDDI": (f"Your mail sent on: Thu, 29 Apr 2013\n     Could not be delivered to: <{READER}>\n"
                               "     As their mailbox is full.\n", SOFT),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_an_old_form_is_read(name: str) -> None:
    text, effect = PLAIN[name]
    assert _effect(_read(text)) is effect


def test_a_bounce_in_html_is_read() -> None:
    text = (
        "<html><head><title>Undeliverable: virus</title><style>.spam{color:red}</style></head><body><p>Your message"
        f"<br>&nbsp; Subject: Quota of spam<br>did not reach the following recipient(s):<br>{READER} on Thursday<br>"
        "&nbsp; The recipient name is not recognized<br></p></body></html>"
    )
    assert _effect(_read_with_copy(text, "System Administrator <postmaster@lake.example>", "html")) is GONE


@pytest.mark.parametrize("sender", ["no-reply@isp.example", "", "<>"])
def test_a_bounce_from_an_unusual_sender_is_read(sender: str) -> None:
    text = f"Your mail could not be delivered to: <{READER}>\n\nTheir address does not exist.\n"
    assert _effect(_read_with_copy(text, sender)) is GONE


def test_a_bounce_that_calls_itself_an_automatic_reply_is_read() -> None:
    raw = f"From: <>\nAuto-Submitted: auto-replied\n\nYou sent mail to {READER}. That's not a valid user here.\n"
    assert _effect(parse_report(raw.encode(), READER, is_signed=True)) is GONE


def test_a_damaged_multipart_is_read_as_text() -> None:
    raw = (
        f"From: {DAEMON}\nMIME-Version: 1.0\nContent-Type: multipart/report; boundary=A Message-Id: <1@x>\n\n--A\n\n"
        f"<{READER}>: host mx.lake.example said: 550\n    No such user here (in reply to RCPT TO command)\n\n--A--\n"
    )
    assert _effect(parse_report(raw.encode(), READER, is_signed=True)) is GONE


@pytest.mark.parametrize(
    "frame",
    [
        "Your message could not be delivered to one or more recipients. It's attached below.",
        "A message that you sent could not be delivered to one or more of its recipients. This is a permanent error.",
        "Delivery to the following recipients failed permanently.",
        "The mail system was unable to deliver your message to one user.",
        "The message was undeliverable to the following recipients:",
        "Your message did not reach some or all of the intended recipients.",
        "Unable to deliver message to the following address(es).",
        "Ihre Nachricht konnte an einen oder mehrere Empfänger nicht zugestellt werden.",
        "Votre message n'a pas pu être délivré à un ou plusieurs destinataires.",
        "Su mensaje no ha podido ser entregado a uno o más destinatarios.",
        "Il messaggio non è stato recapitato a uno o più destinatari.",
        "A mensagem não pôde ser entregue a um ou mais destinatários.",
        "Ваше письмо не может быть доставлено одному или нескольким получателям.",
        "您的邮件无法投递到以下收件人。",
        "次の宛先にメールを送信できませんでした。",
        "Wiadomość nie została dostarczona do jednego lub więcej odbiorców.",
        "تعذر تسليم الرسالة إلى المستلمين التالية",
    ],
)
def test_the_words_of_every_report_name_nobody_as_gone(frame: str) -> None:
    """Exim and Postfix write such a sentence above every reason, also above one that nobody knows."""
    assert classify(frame, recipient=READER).effect is not GONE
    text = f"{frame}\n\n<{READER}>: zork in the glorp\n"
    assert _effect(_read(text)) in (BLOCKED, None)
    status = f"Reporting-MTA: dns; r.example\n\nFinal-Recipient: rfc822; {READER}\nAction: failed\nStatus: 5.0.0\n"
    report = f"--B\nContent-Type: message/delivery-status\n\n{status}\n--B--\n"
    raw = f"--B\nContent-Type: text/plain; charset=utf-8\n\n{text}\n{report}"
    raw = f'From: {DAEMON}\nMIME-Version: 1.0\nContent-Type: multipart/report; boundary="B"\n\n{raw}'
    assert _effect(parse_report(raw.encode(), READER, is_signed=True)) is BLOCKED


_FRAMES = {
    "qmail": _QMAIL + "<{r}>:\n{reply}\n\n--- Below this line is a copy of the message.\n\n",
    "exim": _EXIM + "  {r}\n    SMTP error from remote mail server after RCPT TO:<{r}>:\n    host mx: {reply}\n\n",
    "gateway": "Your message:\n\nNot delivered because of\n\n{reply}\n\nAffected:\n  {r}\n\nSender-MTA: y\n",
}


@pytest.mark.parametrize("step", [11, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("frame", _FRAMES.values(), ids=list(_FRAMES))
def test_a_reason_beside_the_address_suppresses_nobody_wrongly(frame: str, step: int) -> None:
    missed = 0
    for sample in list(samples())[::step]:
        reader = sample.readers[0] if "{l}" in sample.text else "relay@policy.example"
        reply = sample.said_of(reader)
        head = f"Return-Path: <>\nFrom: {DAEMON}\nTo: {PATH}\nContent-Type: text/plain; charset=utf-8\n\n"
        raw = f"{head}{frame.format(r=reader, reply=reply)}{_COPY}"
        effect = _effect(parse_report(raw.encode(), reader, is_signed=True))
        assert effect is not GONE or sample.about == "gone", sample
        is_read = classify(reply, recipient=reader).effect is GONE and reply[:1] == "5"
        missed += is_read and effect is not GONE
    assert missed <= 15


def test_a_status_without_a_reason_counts_above_a_footer() -> None:
    status = f"Reporting-MTA: dns; r.example\n\nFinal-Recipient: rfc822; {READER}\nAction: failed\nStatus: 5.1.1\n"
    text = (
        f"Delivery to the following recipients failed.\n\n   {READER}\n\n{'_' * 60}\nThis email has been scanned for"
        " viruses and offensive content.\n"
    )
    raw = (
        f'From: postmaster@r.example\nMIME-Version: 1.0\nContent-Type: multipart/report; boundary="B"\n\n--B\n'
        f"Content-Type: text/plain\n\n{text}\n--B\nContent-Type: message/delivery-status\n\n{status}\n--B--\n"
    )
    assert _effect(parse_report(raw.encode(), READER, is_signed=True)) is GONE


def test_a_persons_words_about_an_attached_mail_are_no_bounce() -> None:
    report = _read_with_copy(
        f"Hi, I still like to get this at {READER}. My old mailbox is full, so write here.", "Zora <z@hill.example>"
    )
    assert _effect(report) is not GONE
