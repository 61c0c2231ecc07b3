"""Postmark by POST /email.

It has no key for repeats, takes no MIME, and is given the parts and all our headers. Message-ID stays by X-PM-KeepID.
On a broadcast stream Postmark puts its own unsubscribe link and List-Unsubscribe in, unless its support has switched
"manage unsubscribes on your own" on for the account (postmarkapp.com/support/article/1300). Bounces go to Postmark.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field, SecretStr

from tidings.channels.mail_api.base import TIMEOUT, ApiRequest, ApiSettings, ApiTransport, dumped, read_object
from tidings.channels.mail_api.message_parts import Mailbox, format_mailbox, take_apart
from tidings.config.types import Line
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

_OF_THE_ACCOUNT = {10, 400, 401, 405, 412, 413, 1235, 1236}
"""Token, sender signature, credit, approval, stream: postmarkapp.com/developer/api/overview, "API error codes"."""
_MAINTENANCE = 100


class Settings(ApiSettings):
    """`type: postmark`."""

    server_token: SecretStr = Field(description="API token of the server: {env: NAME} or {file: PATH}.")
    stream: Line = Field(default="broadcast", description="Message stream for the mail of lists.")
    transactional_stream: Line = Field(default="outbound", description="Message stream for notices and tests.")

    @property
    def default_endpoint(self) -> str:
        """The same everywhere."""
        return "https://api.postmarkapp.com"


class PostmarkTransport(ApiTransport):
    """postmarkapp.com/developer/api/email-api and .../overview"""

    def __init__(
        self, settings: Settings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(settings, reached=reached, timeout=timeout)
        self._settings = settings
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-Postmark-Server-Token": settings.server_token.get_secret_value(),
        }

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Parts and headers; nothing is tracked or rewritten."""
        parts = take_apart(data)
        headers = dict(parts.headers)
        if any(name.lower() == "message-id" for name in headers):
            headers["X-PM-KeepID"] = "true"
        body: dict[str, object] = {
            "From": format_mailbox(parts.sender),
            "To": format_mailbox(Mailbox(parts.to_name, recipient)),
            "Subject": parts.subject,
            "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
            "TrackOpens": False,
            "TrackLinks": "None",
            "MessageStream": self._settings.stream if parts.is_bulk else self._settings.transactional_stream,
        }
        if parts.reply_to is not None:
            body["ReplyTo"] = format_mailbox(parts.reply_to)
        for key, text in (("TextBody", parts.text), ("HtmlBody", parts.html)):
            if text:
                body[key] = text
        return ApiRequest(f"{self._settings.base}/email", dumped(body), self._headers)

    def receipt(self, answer: HttpResponse) -> str:
        """MessageID, which webhooks carry. A delayed message has no ErrorCode."""
        found = read_object(answer)
        number = found.get("MessageID")
        return number if isinstance(number, str) and found.get("ErrorCode", 0) == 0 else ""

    def refused(self, answer: HttpResponse) -> Outcome | None:
        """By ErrorCode; 503 comes during announced outages, with nothing taken."""
        found = read_object(answer)
        code = found.get("ErrorCode")
        if answer.status == 503 and found:
            return Outcome(Verdict.DEFERRED)
        if not isinstance(code, int) or code == 0 or answer.status >= 500:
            return None
        reason = f"HTTP {answer.status}, error {code}"
        if code == _MAINTENANCE or answer.status == 429:
            return Outcome(Verdict.DEFERRED, reason=reason)
        if code in _OF_THE_ACCOUNT or answer.status in (401, 403, 404):
            return Outcome(Verdict.NOT_STARTED, reason=reason)
        if code == 300 and any(words in self.words(answer) for words in ("'From'", "'Reply-To'", "'ReplyTo'")):
            return Outcome(Verdict.NOT_STARTED, reason=reason)
        return Outcome(Verdict.REJECTED, reason=reason)

    def words(self, answer: HttpResponse) -> str:
        """Its `Message`."""
        return str(read_object(answer).get("Message") or "")


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> PostmarkTransport:
    """The transport; it connects when first needed. `reached` hears of points on the way."""
    return PostmarkTransport(settings, reached=reached)
