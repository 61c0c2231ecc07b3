"""Postmark, through POST /email.

Postmark has no idempotency key and does not accept MIME: it gets the parts and all our headers. X-PM-KeepID keeps our
Message-ID. On a broadcast stream, Postmark inserts its own unsubscribe link and List-Unsubscribe, unless its support
has enabled "manage unsubscribes on your own" for the account (postmarkapp.com/support/article/1300). Bounces go to
Postmark.
"""

from __future__ import annotations

from pydantic import Field, SecretStr

from tidings.channels.http import encode_json, json_headers, read_object
from tidings.channels.mail_api.base import ApiRequest, ApiSettings, ApiTransport
from tidings.channels.mail_api.message_parts import ParsedAddress, format_mailbox, split_message
from tidings.config.types import Line
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

_ABOUT_THE_ACCOUNT = {10, 400, 401, 405, 412, 413, 1235, 1236}
"""Error codes about token, sender signature, credit, approval and stream: postmarkapp.com/developer/api/overview."""
_MAINTENANCE = 100


class Settings(ApiSettings):
    """`type: postmark`."""

    server_token: SecretStr = Field(description="API token of the server: {env: NAME} or {file: PATH}.")
    stream: Line = Field(default="broadcast", description="Message stream for the mail of lists.")
    transactional_stream: Line = Field(default="outbound", description="Message stream for notices and tests.")

    @property
    def default_endpoint(self) -> str:
        return "https://api.postmarkapp.com"


class PostmarkTransport(ApiTransport[Settings]):
    """postmarkapp.com/developer/api/email-api and .../overview"""

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Return parts and headers, without tracking or rewriting."""
        parts = split_message(data)
        own_headers = dict(parts.headers)
        if any(name.lower() == "message-id" for name in own_headers):
            own_headers["X-PM-KeepID"] = "true"
        body: dict[str, object] = {
            "From": format_mailbox(parts.sender),
            "To": format_mailbox(ParsedAddress(parts.to_name, recipient)),
            "Subject": parts.subject,
            "Headers": [{"Name": name, "Value": value} for name, value in own_headers.items()],
            "TrackOpens": False,
            "TrackLinks": "None",
            "MessageStream": self._settings.stream if parts.is_bulk else self._settings.transactional_stream,
        }
        if parts.reply_to is not None:
            body["ReplyTo"] = format_mailbox(parts.reply_to)
        for key, text in (("TextBody", parts.text), ("HtmlBody", parts.html)):
            if text:
                body[key] = text
        token = {"X-Postmark-Server-Token": self._settings.server_token.get_secret_value()}
        headers = json_headers() | {"Accept": "application/json"} | token
        return ApiRequest(f"{self._settings.base}/email", encode_json(body), headers)

    def receipt(self, answer: HttpResponse) -> str:
        """Return MessageID, which webhooks contain too. A delayed message has no ErrorCode."""
        value = read_object(answer)
        number = value.get("MessageID")
        return number if isinstance(number, str) and value.get("ErrorCode", 0) == 0 else ""

    def refusal(self, answer: HttpResponse) -> Outcome | None:
        """Classify by ErrorCode. During announced outages the answer is 503, and nothing was accepted."""
        value = read_object(answer)
        code = value.get("ErrorCode")
        if answer.status == 503 and value:
            return Outcome(Verdict.DEFERRED)
        if not isinstance(code, int) or code == 0 or answer.status >= 500:
            return None
        reason = f"HTTP {answer.status}, error {code}"
        if code == _MAINTENANCE or answer.status == 429:
            return Outcome(Verdict.DEFERRED, reason=reason)
        if code in _ABOUT_THE_ACCOUNT or answer.status in (401, 403, 404):
            return Outcome(Verdict.NOT_STARTED, reason=reason)
        if code == 300 and any(name in self.message(answer) for name in ("'From'", "'Reply-To'", "'ReplyTo'")):
            return Outcome(Verdict.NOT_STARTED, reason=reason)
        return Outcome(Verdict.REJECTED, reason=reason)

    def message(self, answer: HttpResponse) -> str:
        return str(read_object(answer).get("Message") or "")


make = PostmarkTransport
