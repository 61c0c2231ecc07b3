"""Amazon SES, through API v2 (SendEmail with raw content).

SES has no idempotency key. It sets its own Message-ID and Date, and keeps all other headers
(docs.aws.amazon.com/ses/latest/dg/header-fields.html). It accepts mail to a suppressed address, which then bounces.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import Field, SecretStr

from tidings.channels.http import encode_json, must_match, read_object
from tidings.channels.mail_api.base import TIMEOUT, ApiRequest, ApiSettings, ApiTransport
from tidings.config.types import Line, Name
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

_DEFERRED = {"TooManyRequestsException", "ThrottlingException", "Throttling", "ServiceUnavailable"}
"""Errors after which nothing was sent (docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html)."""
_REJECTED = {"MessageRejected", "BadRequestException", "ValidationException", "InvalidParameterValue"}
_ABOUT_THE_ACCOUNT = ("not verified", "quota exceeded", "paused", "suspended")
"""Words in a refusal that affects every message."""
_ALGORITHM = "AWS4-HMAC-SHA256"


class Settings(ApiSettings):
    """`type: ses`."""

    region: Annotated[Name, must_match(r".*-.*-.*[0-9]", "is not a region; write it like eu-central-1")] = Field(
        description="Region of the account, like eu-central-1."
    )
    access_key: Line = Field(description="Access key ID of a user that may call ses:SendEmail and ses:SendRawEmail.")
    secret_key: SecretStr = Field(description="Its secret access key: {env: NAME} or {file: PATH}.")
    session_token: SecretStr | None = Field(default=None, description="Session token of temporary keys.")
    configuration_set: Line | None = Field(default=None, description="Configuration set, for events and pools.")

    @property
    def default_endpoint(self) -> str:
        return f"https://email.{self.region}.amazonaws.com"


class SesTransport(ApiTransport[Settings]):
    """docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html"""

    def __init__(
        self, settings: Settings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(settings, reached=reached, timeout=timeout)
        token = settings.session_token.get_secret_value() if settings.session_token else ""
        self._credentials = Credentials(settings.access_key, settings.secret_key.get_secret_value(), token)
        self._url = f"{settings.base}/v2/email/outbound-emails"

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Return the unchanged message. SES forwards bounces to the return path."""
        value: dict[str, object] = {
            "Content": {"Raw": {"Data": base64.b64encode(data).decode()}},
            "Destination": {"ToAddresses": [recipient]},
            "FeedbackForwardingEmailAddress": sender,
        }
        if self._settings.configuration_set:
            value["ConfigurationSetName"] = self._settings.configuration_set
        body = encode_json(value)
        headers = sign_request(
            self._credentials,
            method="POST",
            url=self._url,
            headers={"content-type": "application/json"},
            body=body,
            region=self._settings.region,
            service="ses",
            at=datetime.now(UTC),
        )
        return ApiRequest(self._url, body, headers)

    def receipt(self, answer: HttpResponse) -> str:
        """Return MessageId, which is mail.messageId in bounces and complaints."""
        number = read_object(answer).get("MessageId")
        return number if isinstance(number, str) else ""

    def refusal(self, answer: HttpResponse) -> Outcome | None:
        """Classify by the type of the error, in a header or in the body."""
        kind = _error_type(answer)
        if not kind:
            return None
        message = self.message(answer).casefold()
        if any(words in message for words in _ABOUT_THE_ACCOUNT):
            return Outcome(Verdict.NOT_STARTED, reason=kind)
        if kind in _DEFERRED:
            return Outcome(Verdict.DEFERRED, reason=kind)
        if kind in _REJECTED:
            return Outcome(Verdict.REJECTED, reason=kind)
        return Outcome(Verdict.UNKNOWN if answer.status >= 500 else Verdict.NOT_STARTED, reason=kind)

    def message(self, answer: HttpResponse) -> str:
        value = read_object(answer)
        return str(value.get("message") or value.get("Message") or "")


def _error_type(answer: HttpResponse) -> str:
    if answer.status < 400:
        return ""
    written = answer.headers.get("x-amzn-errortype") or read_object(answer).get("__type") or ""
    return str(written).partition(":")[0].rpartition("#")[2].strip()[:80]


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys for signing. Temporary keys have a `token`."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def sign_request(
    credentials: Credentials,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """Return `headers` with host, x-amz-date and authorization, names in lower case.

    The signature is Version 4 (IAM User Guide, "Create a signed AWS API request"). `at` is real time, because Amazon
    refuses a signature that is some minutes off.
    """
    parts = urlsplit(url)
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(signed))
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    request = "\n".join(
        (
            method,
            # The path is already encoded. Every service except S3 requires it to be encoded again.
            quote(parts.path or "/", safe="/~"),
            "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


make = SesTransport
