"""SendGrid, through POST /v3/mail/send.

SendGrid has no idempotency key and does not accept MIME: it gets the parts and all our headers, and adds Date, its own
signature and the return path. It accepts mail to a suppressed address and drops it
(twilio.com/docs/sendgrid/api-reference/mail-send).
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import Field, SecretStr

from tidings.channels.http import encode_json, json_headers, read_object
from tidings.channels.mail_api.base import ApiRequest, ApiSettings, ApiTransport
from tidings.channels.mail_api.message_parts import ParsedAddress, quote_name, split_message
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
        return "https://api.eu.sendgrid.com" if self.region == "eu" else "https://api.sendgrid.com"


class SendgridTransport(ApiTransport[Settings]):
    """twilio.com/docs/sendgrid/api-reference: mail-send/mail-send, how-to-use-the-sendgrid-v3-api/responses"""

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Return parts and headers, without tracking, rewriting, or SendGrid's unsubscribe link."""
        parts = split_message(data)
        # A comma would end the recipient's name (github.com/sendgrid/sendgrid-python/issues/291).
        name = quote_name(parts.to_name) if set(parts.to_name) & set(',;"') else parts.to_name
        texts = (("text/plain", parts.text), ("text/html", parts.html))
        body: dict[str, Any] = {
            "personalizations": [{"to": [_mailbox(ParsedAddress(name, recipient))]}],
            "from": _mailbox(parts.sender),
            "subject": parts.subject,
            # Plain text must come first.
            "content": [{"type": kind, "value": text} for kind, text in texts if text],
            "headers": parts.headers,
            "tracking_settings": {
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
                "subscription_tracking": {"enable": False},
                "ganalytics": {"enable": False},
            },
        }
        if parts.reply_to is not None:
            body["reply_to"] = _mailbox(parts.reply_to)
        if self._settings.ip_pool:
            body["ip_pool_name"] = self._settings.ip_pool
        headers = json_headers(self._settings.api_key) | {"Accept": "application/json"}
        return ApiRequest(f"{self._settings.base}/v3/mail/send", encode_json(body), headers)

    def receipt(self, answer: HttpResponse) -> str:
        """Return X-Message-Id, the first part of sg_message_id in events. 200 means sandbox mode: nothing is sent."""
        return answer.headers.get("x-message-id", "") if answer.status == 202 else ""

    def refusal(self, answer: HttpResponse) -> Outcome | None:
        """Classify by status and field. With 503 nothing was accepted. A refusal of `from` affects every message."""
        if answer.status == 503:
            return Outcome(Verdict.DEFERRED)
        reset = answer.headers.get("x-ratelimit-reset", "")
        if answer.status == 429 and reset.isascii() and reset.isdigit():
            return Outcome(Verdict.DEFERRED, retry_after=min(max(float(reset[:12]) - time.time(), 0.0), 3600.0))
        if answer.status == 200:
            return Outcome(Verdict.NOT_STARTED, reason="HTTP 200: checked in sandbox mode, and not sent")
        if answer.status == 400 and any(str(error.get("field") or "").startswith("from") for error in _errors(answer)):
            return Outcome(Verdict.NOT_STARTED)
        return None

    def message(self, answer: HttpResponse) -> str:
        return "; ".join(str(error.get("message") or "") for error in _errors(answer))


def _errors(answer: HttpResponse) -> list[dict[str, Any]]:
    errors = read_object(answer).get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _mailbox(mailbox: ParsedAddress) -> dict[str, str]:
    return {"email": mailbox.address, "name": mailbox.name} if mailbox.name else {"email": mailbox.address}


make = SendgridTransport
