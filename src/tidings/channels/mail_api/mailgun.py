"""Mailgun by POST /v3/DOMAIN/messages.mime.

It has no key for repeats. The message goes as it is, Message-ID too, and is signed by Mailgun; bounces come back to
Mailgun. A suppressed address is taken and then fails (documentation.mailgun.com).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from tidings.channels.mail_api.base import TIMEOUT, ApiRequest, ApiSettings, ApiTransport, read_object
from tidings.config.types import Domain
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse


class Settings(ApiSettings):
    """`type: mailgun`."""

    domain: Domain = Field(description="Sending domain, as it is called at Mailgun.")
    api_key: SecretStr = Field(description="Sending key of the domain: {env: NAME} or {file: PATH}.")
    region: Literal["us", "eu"] = Field(default="us", description="Where the domain is: us or eu.")

    @property
    def default_endpoint(self) -> str:
        """The region's."""
        return "https://api.eu.mailgun.net" if self.region == "eu" else "https://api.mailgun.net"


class MailgunTransport(ApiTransport):
    """documentation.mailgun.com: "Send an email in MIME format"; "API Response Codes"."""

    def __init__(
        self, settings: Settings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(settings, reached=reached, timeout=timeout)
        self._url = f"{settings.base}/v3/{quote(settings.domain, safe='')}/messages.mime"
        login = f"api:{settings.api_key.get_secret_value()}"
        self._login = "Basic " + base64.b64encode(login.encode()).decode()

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Multipart with the message as a file; no link in it is rewritten."""
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
        headers = {"Authorization": self._login, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return ApiRequest(self._url, body, headers)

    def receipt(self, answer: HttpResponse) -> str:
        """`id`: the Message-ID, which events carry without its angles."""
        found = read_object(answer).get("id")
        return found.strip("<> ") if isinstance(found, str) else ""

    def refused(self, answer: HttpResponse) -> Outcome | None:
        """A limit of the domain comes as 420, beside what is documented."""
        about_the_sender = answer.status == 400 and any(
            words in self.words(answer).casefold() for words in ("not allowed to send", "from parameter", "domain not")
        )
        return Outcome(Verdict.NOT_STARTED) if about_the_sender else None

    def words(self, answer: HttpResponse) -> str:
        """Its `message`; some refusals are plain text."""
        return str(read_object(answer).get("message") or answer.text)


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> MailgunTransport:
    """The transport; it connects when first needed. `reached` hears of points on the way."""
    return MailgunTransport(settings, reached=reached)
