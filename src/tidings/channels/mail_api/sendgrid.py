"""SendGrid by POST /v3/mail/send.

It has no key for repeats, takes no MIME, and is given the parts and all our headers; it makes Date, its own signature
and the return path. A suppressed address is taken and then dropped (twilio.com/docs/sendgrid/api-reference/mail-send).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, SecretStr

from tidings.channels.mail_api.base import TIMEOUT, ApiRequest, ApiSettings, ApiTransport, dumped, read_object
from tidings.channels.mail_api.message_parts import Mailbox, quoted, take_apart
from tidings.config.types import Line
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse


class Settings(ApiSettings):
    """`type: sendgrid`."""

    api_key: SecretStr = Field(description="API key with the permission Mail Send: {env: NAME} or {file: PATH}.")
    region: Literal["global", "eu"] = Field(default="global", description="Where the subuser is: global or eu.")
    ip_pool: Line | None = Field(default=None, description="IP pool to send from.")

    @property
    def default_endpoint(self) -> str:
        """The region's."""
        return "https://api.eu.sendgrid.com" if self.region == "eu" else "https://api.sendgrid.com"


class SendgridTransport(ApiTransport):
    """twilio.com/docs/sendgrid/api-reference: mail-send/mail-send, how-to-use-the-sendgrid-v3-api/responses"""

    def __init__(
        self, settings: Settings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(settings, reached=reached, timeout=timeout)
        self._settings = settings
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {settings.api_key.get_secret_value()}",
        }

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Parts and headers; nothing is tracked or rewritten, and no unsubscribe link is put in."""
        parts = take_apart(data)
        # A comma in a recipient's name would end it (github.com/sendgrid/sendgrid-python/issues/291).
        name = quoted(parts.to_name) if set(parts.to_name) & set(',;"') else parts.to_name
        body: dict[str, Any] = {
            "personalizations": [{"to": [_person(Mailbox(name, recipient))]}],
            "from": _person(parts.sender),
            "subject": parts.subject,
            # Text must come first.
            "content": [
                {"type": kind, "value": text}
                for kind, text in (("text/plain", parts.text), ("text/html", parts.html))
                if text
            ],
            "headers": parts.headers,
            "tracking_settings": {
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
                "subscription_tracking": {"enable": False},
                "ganalytics": {"enable": False},
            },
        }
        if parts.reply_to is not None:
            body["reply_to"] = _person(parts.reply_to)
        if self._settings.ip_pool:
            body["ip_pool_name"] = self._settings.ip_pool
        return ApiRequest(f"{self._settings.base}/v3/mail/send", dumped(body), self._headers)

    def receipt(self, answer: HttpResponse) -> str:
        """X-Message-Id: the first part of sg_message_id in events. 200 is for the sandbox: nothing is sent."""
        return answer.headers.get("x-message-id", "") if answer.status == 202 else ""

    def refused(self, answer: HttpResponse) -> Outcome | None:
        """503 means that the API is not there; a refusal of `from` meets every message."""
        if answer.status == 503:
            return Outcome(Verdict.DEFERRED)
        reset = answer.headers.get("x-ratelimit-reset", "")
        if answer.status == 429 and reset.isascii() and reset.isdigit():
            return Outcome(Verdict.DEFERRED, retry_after=min(max(float(reset[:12]) - time.time(), 0.0), 3600.0))
        if answer.status == 200:
            return Outcome(Verdict.NOT_STARTED, reason="HTTP 200: checked in sandbox mode, and not sent")
        if answer.status == 400 and any(str(one.get("field") or "").startswith("from") for one in _errors(answer)):
            return Outcome(Verdict.NOT_STARTED)
        return None

    def words(self, answer: HttpResponse) -> str:
        """Messages of all its errors."""
        return "; ".join(str(one.get("message") or "") for one in _errors(answer))


def _errors(answer: HttpResponse) -> list[dict[str, Any]]:
    found = read_object(answer).get("errors")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _person(person: Mailbox) -> dict[str, str]:
    return {"email": person.address, "name": person.name} if person.name else {"email": person.address}


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> SendgridTransport:
    """The transport; it connects when first needed. `reached` hears of points on the way."""
    return SendgridTransport(settings, reached=reached)
