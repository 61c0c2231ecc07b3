"""The providers' APIs: the common contract of senders, and the exact request that each gets."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr, ValidationError

from tests.channels import providers
from tests.channels.providers import said
from tidings import plugins
from tidings.channels.base import Idempotency, MailTransport
from tidings.channels.mail_api import mailgun, postmark, sendgrid, ses
from tidings.channels.mail_api.base import ApiTransport, CannotCarryError
from tidings.channels.mail_api.message_parts import ParsedAddress, format_mailbox, split_message
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.http_sink import HttpSink, Received, Step
from tidings.testing.mail_contract import MESSAGE, SECRET, SENDER, ApiContract

TO = "reader@example.net"
SUBJECT, TEXT, HTML = "Ауыз су: «12»", "Су құбыры\n", "<p>Су &amp; жаңа құдық</p>\n"


def _aws(status: int, kind: str, message: str) -> Step:
    return said(status, {"message": message}, **{"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"})


def _errors(status: int, message: str, field: str | None = None) -> Step:
    return said(status, {"errors": [{"message": message, "field": field, "help": None}]})


class TestSes(ApiContract):
    success = said(200, {"MessageId": "0107018b-1"})
    refusals: ClassVar = {
        Verdict.REJECTED: [
            _aws(400, "BadRequestException", f"Illegal address {TO}"),
            _aws(400, "MessageRejected", "Transaction failed: duplicate header 'To'."),
            said(400, {"__type": "com.amazon#BadRequestException", "message": "Missing final '@domain'"}),
            Step(413),
        ],
        Verdict.DEFERRED: [
            _aws(429, "TooManyRequestsException", "Too Many Requests"),
            _aws(400, "ThrottlingException", "Maximum sending rate exceeded."),
            _aws(503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
        ],
        Verdict.NOT_STARTED: [
            _aws(400, "ThrottlingException", "Daily message quota exceeded."),
            _aws(400, "MessageRejected", f"Email address is not verified. The following identities failed: {TO}"),
            _aws(400, "SendingPausedException", "Email sending is paused."),
            _aws(400, "AccountSuspendedException", ""),
            _aws(400, "MailFromDomainNotVerifiedException", ""),
            _aws(404, "NotFoundException", "Configuration set <x> does not exist."),
            _aws(403, "SignatureDoesNotMatch", "Check your AWS Secret Access Key and signing method."),
            _aws(403, "AccessDeniedException", "User is not authorized to perform: ses:SendRawEmail"),
        ],
        Verdict.UNKNOWN: [_aws(500, "InternalFailure", "unknown error")],
    }

    def make(
        self, url: str, *, key: str = SECRET, allow_private: bool = True, patience: float = 0.3
    ) -> ses.SesTransport:
        settings = ses.Settings(
            type="ses", region="eu-central-1", access_key="AKIDEXAMPLE", secret_key=SecretStr(key), endpoint=url,
            allow_private=allow_private,
        )  # fmt: skip
        return ses.SesTransport(settings, timeout=patience)

    def answer(self, received: Received) -> Step:
        return providers.ses(received, SECRET)


class TestMailgun(ApiContract):
    success = said(200, {"id": "<1@mg.example.org>", "message": "Queued. Thank you."})
    refusals: ClassVar = {
        Verdict.REJECTED: [
            said(400, {"message": f"to parameter is not a valid address ({TO}). please check documentation"}),
            Step(413),
        ],
        Verdict.DEFERRED: [said(429, {"message": "Too many requests"})],
        Verdict.NOT_STARTED: [
            Step(401, b"Forbidden"),
            said(403, {"message": "Domain mg.example.org is not allowed to send: Sandbox subdomains are for tests."}),
            said(400, {"message": "Domain mg.example.org is not allowed to send: account disabled"}),
            # github.com/mailgun/mailgun-java/issues/50
            said(420, {"message": "Domain mg.example.org is not allowed to send: recipient limit exceeded"}),
            said(404, {"message": "Domain not found: mg.example.org"}),
            said(400, {"message": "from parameter is missing"}),
        ],
        Verdict.UNKNOWN: [said(500, {"message": "Internal Server Error"}), Step(503)],
    }

    def make(
        self, url: str, *, key: str = SECRET, allow_private: bool = True, patience: float = 0.3
    ) -> mailgun.MailgunTransport:
        settings = mailgun.Settings(
            type="mailgun", domain="mg.example.org", api_key=SecretStr(key), endpoint=url, allow_private=allow_private
        )
        return mailgun.MailgunTransport(settings, timeout=patience)

    def answer(self, received: Received) -> Step:
        return providers.mailgun(received, SECRET)


class TestPostmark(ApiContract):
    success = said(200, {"ErrorCode": 0, "Message": "OK", "MessageID": "b7bc2f4a", "To": TO})
    refusals: ClassVar = {
        Verdict.REJECTED: [
            said(422, {"ErrorCode": 406, "Message": f"Found inactive addresses: {TO}. Inactive recipients are ones"}),
            said(422, {"ErrorCode": 300, "Message": f"Invalid 'To' address: '{TO}'."}),
            Step(413),
        ],
        Verdict.DEFERRED: [
            said(429, {"ErrorCode": 429, "Message": "Rate limit exceeded"}),
            said(503, {"ErrorCode": 100, "Message": "Maintenance"}),
        ],
        Verdict.NOT_STARTED: [
            said(401, {"ErrorCode": 10, "Message": "Bad or missing API token"}),
            said(422, {"ErrorCode": 400, "Message": "Sender signature not found"}),
            said(422, {"ErrorCode": 401, "Message": "Sender signature not confirmed"}),
            said(422, {"ErrorCode": 405, "Message": "Not allowed to send"}),
            said(422, {"ErrorCode": 412, "Message": "Account is pending"}),
            said(422, {"ErrorCode": 413, "Message": "Account may not send"}),
            said(422, {"ErrorCode": 1235, "Message": "The 'MessageStream' provided does not exist"}),
            said(422, {"ErrorCode": 300, "Message": "Invalid 'From' address: 'x'."}),
        ],
        Verdict.UNKNOWN: [said(500, {"ErrorCode": 0, "Message": ""}), Step(503, b"<html>")],
    }

    def make(
        self, url: str, *, key: str = SECRET, allow_private: bool = True, patience: float = 0.3
    ) -> postmark.PostmarkTransport:
        settings = postmark.Settings(
            type="postmark", server_token=SecretStr(key), endpoint=url, allow_private=allow_private
        )
        return postmark.PostmarkTransport(settings, timeout=patience)

    def answer(self, received: Received) -> Step:
        return providers.postmark(received, SECRET)


class TestSendgrid(ApiContract):
    success = Step(202, b"", {"X-Message-Id": "IOqWyqCCSyOmIvRRmwRfEg"})
    refusals: ClassVar = {
        Verdict.REJECTED: [
            _errors(400, "Does not contain a valid address.", "personalizations.0.to.0.email"),
            Step(413),
        ],
        Verdict.DEFERRED: [_errors(429, "too many requests"), Step(503)],
        Verdict.NOT_STARTED: [
            _errors(401, "The provided authorization grant is invalid, expired, or revoked"),
            _errors(401, "Maximum credits exceeded"),
            _errors(403, "The from address does not match a verified Sender Identity.", "from"),
            _errors(400, "The from email does not contain a valid address.", "from.email"),
            Step(200),
        ],
        Verdict.UNKNOWN: [_errors(500, "Internal server error"), Step(202)],
    }

    def make(
        self, url: str, *, key: str = SECRET, allow_private: bool = True, patience: float = 0.3
    ) -> sendgrid.SendgridTransport:
        settings = sendgrid.Settings(type="sendgrid", api_key=SecretStr(key), endpoint=url, allow_private=allow_private)
        return sendgrid.SendgridTransport(settings, timeout=patience)

    def answer(self, received: Received) -> Step:
        return providers.sendgrid(received, SECRET)


CONTRACTS: list[type[ApiContract]] = [TestSes, TestMailgun, TestPostmark, TestSendgrid]


def _handed(case: ApiContract, data: bytes = MESSAGE) -> tuple[Outcome, Received]:
    with HttpSink(answer=case.answer) as sink:
        transport = case.make(sink.url)
        outcome = transport.send(SENDER, TO, data)
        transport.close()
    assert len(sink.received) == 1
    return outcome, sink.received[0]


def test_ses_gets_the_exact_message_and_the_return_path() -> None:
    outcome, received = _handed(TestSes())
    body = json.loads(received.body)
    assert base64.b64decode(body["Content"]["Raw"]["Data"]) == MESSAGE
    assert body["Destination"] == {"ToAddresses": [TO]}
    assert body["FeedbackForwardingEmailAddress"] == SENDER
    assert (outcome.via, outcome.receipt.startswith("0107018b")) == ("127.0.0.1", True)


def test_mailgun_gets_the_exact_message_without_tracking() -> None:
    outcome, received = _handed(TestMailgun())
    form = providers.mailgun_form(received)
    assert form.pop("message") == MESSAGE
    assert form == {"to": TO, "o:tracking": "no", "o:tracking-clicks": "no", "o:tracking-opens": "no"}
    assert outcome.receipt.endswith("@mg.example.org")


KEPT = {
    "Message-ID": "<0123456789abcdef@example.org>",
    "List-Id": "=?utf-8?b?0JTQsNC50LTQttC10YHRgg==?= <digest.example.org>",
    "List-Unsubscribe": "<https://news.example.org/unsubscribe/t0ken-that-is-longer-than-a-line-of-mail-would-be>, "
    "<mailto:leave@example.org?subject=t0ken>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "Feedback-ID": "weekly:digest:tidings:example",
    "Auto-Submitted": "auto-generated",
}


def test_postmark_gets_the_parts_and_keeps_the_message_id() -> None:
    _, received = _handed(TestPostmark())
    body = json.loads(received.body)
    headers = {one["Name"]: one["Value"] for one in body.pop("Headers")}
    assert headers == {**KEPT, "X-PM-KeepID": "true"}
    assert body == {
        "From": '"Дала" <news@example.org>',
        "To": f'"Reader, A." <{TO}>',
        "ReplyTo": "comms@example.org",
        "Subject": SUBJECT,
        "TextBody": TEXT,
        "HtmlBody": HTML,
        "TrackOpens": False,
        "TrackLinks": "None",
        "MessageStream": "broadcast",
    }


def test_postmark_sends_a_notice_on_the_transactional_stream() -> None:
    notice = b"From: news@example.org\r\nTo: reader@example.net\r\nSubject: x\r\n\r\nhello\r\n"
    _, received = _handed(TestPostmark(), notice)
    body = json.loads(received.body)
    assert (body["MessageStream"], body["TextBody"], "HtmlBody" in body) == ("outbound", "hello\n", False)


def test_sendgrid_gets_the_parts_and_adds_nothing() -> None:
    outcome, received = _handed(TestSendgrid())
    body = json.loads(received.body)
    assert body["headers"] == KEPT
    assert body["subject"] == SUBJECT
    assert [one["value"] for one in body["content"]] == [TEXT, HTML]
    assert body["personalizations"] == [{"to": [{"email": TO, "name": '"Reader, A."'}]}]
    assert body["from"] == {"email": "news@example.org", "name": "Дала"}
    assert body["reply_to"] == {"email": "comms@example.org"}
    assert not any(one["enable"] for one in body["tracking_settings"].values())
    assert outcome.receipt.startswith("IOqWyq")


def test_sendgrids_rate_limit_header_is_read() -> None:
    case = TestSendgrid()
    with HttpSink([Step(429, headers={"X-RateLimit-Reset": str(int(time.time()) + 40)})]) as sink:
        outcome = case.make(sink.url).send(SENDER, TO, MESSAGE)
    assert outcome.verdict is Verdict.DEFERRED and 30 < (outcome.retry_after or 0) <= 40


def test_a_part_that_an_api_cannot_carry_is_refused() -> None:
    attached = (
        b"From: news@example.org\r\nTo: reader@example.net\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
        b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n"
    )
    for contract in (TestPostmark, TestSendgrid):
        with HttpSink() as sink:
            outcome = contract().make(sink.url).send(SENDER, TO, attached)
        assert outcome.verdict is Verdict.REJECTED and "application/pdf" in outcome.reason
        assert not sink.received


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_recipient_that_could_be_several_is_refused(contract: type[ApiContract]) -> None:
    with HttpSink() as sink:
        transport = contract().make(sink.url)
        for odd in ("a@example.net,b@example.net", '"a, b"@example.net', "a@example.net\r\nx: y", "A <a@example.net>"):
            assert transport.send(SENDER, odd, MESSAGE).verdict is Verdict.REJECTED
    assert not sink.received


def test_a_non_ascii_header_is_refused() -> None:
    broken = MESSAGE.replace(b"Feedback-ID: weekly", b"Feedback-ID: \xff\xfe")
    for contract in (TestPostmark, TestSendgrid):
        with HttpSink() as sink:
            outcome = contract().make(sink.url).send(SENDER, TO, broken)
        assert outcome.verdict is Verdict.REJECTED and not sink.received


def test_a_line_break_in_an_encoded_word_makes_no_second_header() -> None:
    hidden = base64.b64encode(b"Hello\r\nBcc: all@example.org").decode()
    parts = split_message(f"From: n@example.org\r\nSubject: =?utf-8?b?{hidden}?=\r\n\r\nx".encode())
    assert parts.subject == "Hello Bcc: all@example.org"
    with pytest.raises(CannotCarryError):
        split_message(f"From: =?utf-8?b?{hidden}?= <n@example.org>\r\n\r\nx".encode())
    assert format_mailbox(ParsedAddress('A "B" \\C', "a@example.org")) == '"A \\"B\\" \\\\C" <a@example.org>'


def test_no_provider_claims_idempotency() -> None:
    """No provider documents a key for repeated requests, so a message in doubt is never safe to repeat."""
    for contract in CONTRACTS:
        transport = contract().make("http://127.0.0.1:9")
        assert isinstance(transport, ApiTransport) and transport.idempotency is Idempotency.NONE


KEY = SecretStr("s")


def _ses(**settings: Any) -> ses.Settings:
    return ses.Settings(type="ses", access_key="A", secret_key=KEY, **settings)


def _mailgun(**settings: Any) -> mailgun.Settings:
    return mailgun.Settings(type="mailgun", domain="mg.example.org", api_key=KEY, **settings)


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        (_ses(region="us-east-1"), "email.us-east-1.amazonaws.com"),
        (_mailgun(), "api.mailgun.net"),
        (_mailgun(region="eu"), "api.eu.mailgun.net"),
        (postmark.Settings(type="postmark", server_token=KEY), "api.postmarkapp.com"),
        (sendgrid.Settings(type="sendgrid", api_key=KEY), "api.sendgrid.com"),
        (sendgrid.Settings(type="sendgrid", api_key=KEY, region="eu"), "api.eu.sendgrid.com"),
    ],
)
def test_each_goes_to_its_own_region_over_tls(settings: Any, host: str) -> None:
    assert (settings.target_host, settings.base) == (host, f"https://{host}")
    made: MailTransport = plugins.senders()[settings.type].make(settings)
    made.close()


@pytest.mark.parametrize("region", ["eu", "frankfurt", "eu-central"])
def test_an_unknown_region_is_refused(region: str) -> None:
    with pytest.raises(ValidationError, match="is not a region; write it like eu-central-1"):
        _ses(region=region)
