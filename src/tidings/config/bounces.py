"""The models of `bounces`: how bounces and complaints arrive, and their effects."""

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
_SHARE = re.compile(r"\d{1,3}(?:\.\d{1,3})?%")
_OFTEN = timedelta(seconds=10)


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise ValueError(f"{value!r} is not an SNS topic; write it like arn:aws:sns:eu-central-1:123456789012:bounces")
    return value


def load_sendgrid_key(text: str) -> EllipticCurvePublicKey:
    """Read the verification key as SendGrid shows it (base64 of DER). Raises ValueError."""
    # Imported late: cryptography is slow to import, and few newsrooms use SendGrid.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        message = "this is not a verification key; copy it whole from SendGrid: Settings, Mail Settings, Event Webhooks"
        raise ValueError(message)  # noqa: TRY004
    return key


def _sendgrid_key(value: str) -> str:
    load_sendgrid_key(value)
    return value


class BounceMailbox(ConfigModel):
    """A mailbox that is read by IMAP."""

    host: Line = Field(description="IMAP host.")
    port: Int = Field(default=993, ge=1, le=65535, description="IMAP port.")
    security: Literal["tls", "starttls", "none"] = Field(default="tls", description="tls, starttls or none.")
    username: Line = Field(description="Login.")
    password: SecretStr = Field(description="Password: {env: NAME} or {file: PATH}.")
    folder: Line = Field(default="INBOX", description="Folder of the mailbox.")
    every: Duration = Field(default=timedelta(minutes=5), description="How often to look, such as 5m.")

    @field_validator("every", mode="after")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        if value < _OFTEN:
            raise ValueError("this is too often: at least 10s; write it like 5m")
        return value


class SoftBounces(ConfigModel):
    """How many soft bounces (temporary failures) are too many."""

    days: Int = Field(default=5, ge=1, le=1000, description="Number of different days with a soft bounce.")
    within: Duration = Field(
        default=timedelta(days=60), description="Time in which these days are counted, such as 60d."
    )

    @field_validator("within", mode="after")
    @classmethod
    def _long_enough(cls, value: timedelta) -> timedelta:
        if value < timedelta(days=1):
            raise ValueError("this is too short: at least 1d; write it like 60d")
        return value


class Breaker(ConfigModel):
    """How many refusals and hard bounces of one mailing are too many to be true."""

    share: Line = Field(default="5%", description="Share of the mails of a mailing, such as 5%.")
    least: Int = Field(default=20, ge=1, le=1_000_000, description="Number of refused mails from which that counts.")
    alike: Int = Field(default=10, ge=1, le=1_000_000, description="Number of first mails that are all refused.")

    @field_validator("share", mode="after")
    @classmethod
    def _is_share(cls, value: str) -> str:
        if not _SHARE.fullmatch(value) or not 0 < float(value[:-1]) <= 100:
            raise ValueError(f"{value!r} is not a share; write it like 5%")
        return value

    @property
    def fraction(self) -> float:
        """The share as a number up to 1."""
        return float(self.share[:-1]) / 100

    def is_too_much(self, refused: int, accepted: int) -> bool:
        """Whether a list cannot have so many bad addresses, by the mails that were refused and accepted so far."""
        are_alike = refused >= self.alike and not accepted
        return are_alike or (refused >= self.least and refused > self.fraction * (refused + accepted))


class SesHook(ConfigModel):
    """The webhook of Amazon SES, by SNS, at /hooks/ses."""

    topics: Annotated[tuple[Annotated[Line, AfterValidator(_topic)], ...], ONE_OR_MANY] = Field(
        min_length=1, description="ARN of the SNS topic, or several; messages of other topics are refused."
    )


class PostmarkHook(ConfigModel):
    """The webhook of Postmark at /hooks/postmark."""

    username: Line = Field(description="Username in the webhook's address: https://USER:PASSWORD@...")
    password: SecretStr = Field(description="Password in that address: {env: NAME} or {file: PATH}.")


class MailgunHook(ConfigModel):
    """The webhook of Mailgun at /hooks/mailgun."""

    signing_key: SecretStr = Field(description="HTTP webhook signing key of the account: {env: NAME} or {file: PATH}.")


class SendgridHook(ConfigModel):
    """The webhook of SendGrid at /hooks/sendgrid."""

    public_key: Annotated[Line, AfterValidator(_sendgrid_key)] = Field(
        description="Verification key of the signed event webhook, as SendGrid shows it."
    )


class Bounces(ConfigModel):
    """How bounces and complaints arrive, and their effects."""

    lmtp: ListenAddress | None = Field(
        default=None, description="Address where your own mail server delivers bounces by LMTP, such as 127.0.0.1:2424."
    )
    mailbox: BounceMailbox | None = Field(default=None, description="A mailbox that receives bounces.")
    authority: Line | None = Field(
        default=None,
        description="Name of your mail server in its Authentication-Results: who it proves leaves by any mail to "
        "`unsubscribe_mailto`.",
    )
    soft: SoftBounces = Field(
        default=SoftBounces(), description="How many soft bounces (temporary failures) are too many."
    )
    breaker: Breaker = Field(
        default=Breaker(), description="How many refusals and bounces of a mailing hold it and remove nobody."
    )
    ses: SesHook | None = Field(default=None, description="Webhook of Amazon SES, by SNS.")
    postmark: PostmarkHook | None = Field(default=None, description="Webhook of Postmark.")
    mailgun: MailgunHook | None = Field(default=None, description="Webhook of Mailgun.")
    sendgrid: SendgridHook | None = Field(default=None, description="Webhook of SendGrid.")

    @property
    def lmtp_address(self) -> tuple[str, int] | None:
        """Host and port, or None without `lmtp`."""
        if self.lmtp is None:
            return None
        host, _, port = self.lmtp.rpartition(":")
        return host.strip("[]"), int(port)
