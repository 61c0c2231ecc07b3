"""Amazon SES by its API v2 (SendEmail with raw content).

It has no key for repeats. It puts its own Message-ID and Date into the message, and keeps all other headers
(docs.aws.amazon.com/ses/latest/dg/header-fields.html). A suppressed address is taken and then bounces.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from tidings.channels.mail_api.aws_signature import Credentials, signed_headers
from tidings.channels.mail_api.base import TIMEOUT, ApiRequest, ApiSettings, ApiTransport, dumped, read_object
from tidings.config.types import Line, Name
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

_DEFERRED = {"TooManyRequestsException", "ThrottlingException", "Throttling", "ServiceUnavailable"}
"""SES says of these that nothing was sent (docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html)."""
_REJECTED = {"MessageRejected", "BadRequestException", "ValidationException", "InvalidParameterValue"}
_NOT_ABOUT_THIS = ("not verified", "quota exceeded", "paused", "suspended")
"""Words of a refusal that every other message would meet too."""


class Settings(ApiSettings):
    """`type: ses`."""

    region: Annotated[Name, AfterValidator(lambda value: _region(value))] = Field(
        description="Region of the account, like eu-central-1."
    )
    access_key: Line = Field(description="Access key ID of a user that may call ses:SendEmail and ses:SendRawEmail.")
    secret_key: SecretStr = Field(description="Its secret access key: {env: NAME} or {file: PATH}.")
    session_token: SecretStr | None = Field(default=None, description="Goes with keys that are lent for a while.")
    configuration_set: Line | None = Field(default=None, description="Configuration set, for events and pools.")

    @property
    def default_endpoint(self) -> str:
        """The region's."""
        return f"https://email.{self.region}.amazonaws.com"


def _region(value: str) -> str:
    if value.count("-") < 2 or not value[-1].isdigit():
        raise ValueError(f"{value!r} is no region; write it like eu-central-1")
    return value


class SesTransport(ApiTransport):
    """docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html"""

    def __init__(
        self, settings: Settings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(settings, reached=reached, timeout=timeout)
        token = settings.session_token.get_secret_value() if settings.session_token else ""
        self._credentials = Credentials(settings.access_key, settings.secret_key.get_secret_value(), token)
        self._url = f"{settings.base}/v2/email/outbound-emails"
        self._region = settings.region
        self._set = settings.configuration_set

    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """The message as it is; bounces are forwarded to the return path."""
        body: dict[str, object] = {
            "Content": {"Raw": {"Data": base64.b64encode(data).decode()}},
            "Destination": {"ToAddresses": [recipient]},
            "FeedbackForwardingEmailAddress": sender,
        }
        if self._set:
            body["ConfigurationSetName"] = self._set
        encoded = dumped(body)
        headers = signed_headers(
            self._credentials,
            method="POST",
            url=self._url,
            headers={"content-type": "application/json"},
            body=encoded,
            region=self._region,
            service="ses",
            at=datetime.now(UTC),
        )
        return ApiRequest(self._url, encoded, headers)

    def receipt(self, answer: HttpResponse) -> str:
        """MessageId, which bounces and complaints carry as mail.messageId."""
        found = read_object(answer).get("MessageId")
        return found if isinstance(found, str) else ""

    def refused(self, answer: HttpResponse) -> Outcome | None:
        """By the type of the error, in a header or in the body."""
        kind = _kind(answer)
        if not kind:
            return None
        said = self.words(answer).casefold()
        if any(words in said for words in _NOT_ABOUT_THIS):
            return Outcome(Verdict.NOT_STARTED, reason=kind)
        if kind in _DEFERRED:
            return Outcome(Verdict.DEFERRED, reason=kind)
        if kind in _REJECTED:
            return Outcome(Verdict.REJECTED, reason=kind)
        return Outcome(Verdict.UNKNOWN if answer.status >= 500 else Verdict.NOT_STARTED, reason=kind)

    def words(self, answer: HttpResponse) -> str:
        """Its `message`."""
        found = read_object(answer)
        return str(found.get("message") or found.get("Message") or "")


def _kind(answer: HttpResponse) -> str:
    if answer.status < 400:
        return ""
    written = answer.headers.get("x-amzn-errortype") or read_object(answer).get("__type") or ""
    return str(written).partition(":")[0].rpartition("#")[2].strip()[:80]


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> SesTransport:
    """The transport; it connects when first needed. `reached` hears of points on the way."""
    return SesTransport(settings, reached=reached)
