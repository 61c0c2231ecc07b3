"""Mailgun, through POST /v3/DOMAIN/messages.mime.

Mailgun has no idempotency key. The message is sent unchanged, with its Message-ID, and Mailgun signs it. Bounces go to
Mailgun. It accepts mail to a suppressed address, which then fails (documentation.mailgun.com).
"""

from __future__ import annotations

import base64
import secrets
from typing import Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from tidings.channels.http import read_object
from tidings.channels.mail_api.base import ApiRequest, ApiSettings, ApiTransport
from tidings.config.types import Domain
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse


class Settings(ApiSettings):
    """`type: mailgun`."""

    domain: Domain = Field(description="Sending domain, as it is called at Mailgun.")
    api_key: SecretStr = Field(description="Sending key of the domain: {env: NAME} or {file: PATH}.")
    region: Literal["us", "eu"] = Field(default="us", description="The region of the domain: us or eu.")

    @property
    def default_endpoint(self) -> str:
        return "https://api.eu.mailgun.net" if self.region == "eu" else "https://api.mailgun.net"


class MailgunTransport(ApiTransport[Settings]):
    """documentation.mailgun.com: "Send an email in MIME format"; "API Response Codes"."""

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Return a multipart form with the message as a file. Tracking is off, so that no link is rewritten."""
        boundary = secrets.token_hex(24)
        fields = {"to": recipient, "o:tracking": "no", "o:tracking-clicks": "no", "o:tracking-opens": "no"}
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="message"; filename="message.eml"\r\n'
            "Content-Type: message/rfc822\r\n\r\n"
        )
        body = "".join(parts).encode() + head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        login = base64.b64encode(f"api:{self._settings.api_key.get_secret_value()}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        url = f"{self._settings.base}/v3/{quote(self._settings.domain, safe='')}/messages.mime"
        return ApiRequest(url, body, headers)

    def receipt(self, answer: HttpResponse) -> str:
        """Return `id`, which is the Message-ID, without angle brackets, as events have it."""
        number = read_object(answer).get("id")
        return number.strip("<> ") if isinstance(number, str) else ""

    def refusal(self, answer: HttpResponse) -> Outcome | None:
        """Recognise a refusal of the sender. Besides the documented codes, 420 means a limit of the domain."""
        is_about_the_sender = answer.status == 400 and any(
            words in self.message(answer).casefold()
            for words in ("not allowed to send", "from parameter", "domain not")
        )
        return Outcome(Verdict.NOT_STARTED) if is_about_the_sender else None

    def message(self, answer: HttpResponse) -> str:
        """Return its `message`, or the text, because some refusals are plain text."""
        return str(read_object(answer).get("message") or answer.text)


make = MailgunTransport
