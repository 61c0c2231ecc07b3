"""The models of `bounces`: by which ways it is heard what came back, and what follows."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator

from tidings.config.adapters import ConfigModel
from tidings.config.types import ONE_OR_MANY, Duration, Int, Line, ListenAddress

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_OFTEN = timedelta(seconds=10)


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise ValueError(f"{value!r} is no topic of SNS; write it like arn:aws:sns:eu-central-1:123456789012:bounces")
    return value


def load_sendgrid_key(text: str) -> EllipticCurvePublicKey:
    """Read the verification key as SendGrid shows it, base64 of DER. Raises ValueError."""
    # Imported late: cryptography is slow to import, and few newsrooms use SendGrid.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        said = "this is no verification key; copy it whole from SendGrid: Settings, Mail Settings, Event Webhooks"
        raise ValueError(said)  # noqa: TRY004
    return key


def _sendgrid_key(value: str) -> str:
    load_sendgrid_key(value)
    return value


class BounceMailbox(ConfigModel):
    """A mailbox that is looked into by IMAP."""

    host: Line = Field(description="IMAP host.")
    port: Int = Field(default=993, ge=1, le=65535, description="IMAP port.")
    security: Literal["tls", "starttls", "none"] = Field(default="tls", description="tls, starttls or none.")
    username: Line = Field(description="Login.")
    password: SecretStr = Field(description="Password: {env: NAME} or {file: PATH}.")
    folder: Line = Field(default="INBOX", description="Which folder.")
    every: Duration = Field(default=timedelta(minutes=5), description="How often to look, such as 5m.")

    @field_validator("every", mode="after")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        if value < _OFTEN:
            raise ValueError("no more often than every 10s; write it like 5m")
        return value


class SoftBounces(ConfigModel):
    """When bounces that may pass are too many."""

    days: Int = Field(default=5, ge=1, le=1000, description="On so many different days mail bounced softly.")
    within: Duration = Field(default=timedelta(days=60), description="Of so long a time, such as 60d.")

    @field_validator("within", mode="after")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value < timedelta(days=1):
            raise ValueError("a day at least; write it like 60d")
        return value


class SesHook(ConfigModel):
    """What Amazon SES says by SNS at /hooks/ses."""

    topics: Annotated[tuple[Annotated[Line, AfterValidator(_topic)], ...], ONE_OR_MANY] = Field(
        min_length=1, description="ARN of the SNS topic, or of several; messages of no other are believed."
    )


class PostmarkHook(ConfigModel):
    """What Postmark says at /hooks/postmark."""

    username: Line = Field(description="Login that the webhook's address holds: https://USER:PASSWORD@...")
    password: SecretStr = Field(description="Its password: {env: NAME} or {file: PATH}.")


class MailgunHook(ConfigModel):
    """What Mailgun says at /hooks/mailgun."""

    signing_key: SecretStr = Field(description="HTTP webhook signing key of the account: {env: NAME} or {file: PATH}.")


class SendgridHook(ConfigModel):
    """What SendGrid says at /hooks/sendgrid."""

    public_key: Annotated[Line, AfterValidator(_sendgrid_key)] = Field(
        description="Verification key of the signed event webhook, as SendGrid shows it."
    )


class Bounces(ConfigModel):
    """How bounces and complaints are heard, and what follows."""

    lmtp: ListenAddress | None = Field(
        default=None, description="Address where a mail server of your own hands bounces over, such as 127.0.0.1:2424."
    )
    mailbox: BounceMailbox | None = Field(default=None, description="A mailbox that bounces come into.")
    soft: SoftBounces = Field(default=SoftBounces(), description="When bounces that may pass are too many.")
    ses: SesHook | None = Field(default=None, description="Webhook of Amazon SES, by SNS.")
    postmark: PostmarkHook | None = Field(default=None, description="Webhook of Postmark.")
    mailgun: MailgunHook | None = Field(default=None, description="Webhook of Mailgun.")
    sendgrid: SendgridHook | None = Field(default=None, description="Webhook of SendGrid.")

    @property
    def lmtp_address(self) -> tuple[str, int] | None:
        """Host and port, None where there is none."""
        if self.lmtp is None:
            return None
        host, _, port = self.lmtp.rpartition(":")
        return host.strip("[]"), int(port)
