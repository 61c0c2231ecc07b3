"""A relay by SMTP as a sender: its settings, and its transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from tidings.channels.smtp.relay import Login, SmtpRelay
from tidings.config.adapters import SenderSettings
from tidings.config.dkim import Dkim
from tidings.config.types import Bool, Int, Line, NestedValueError
from tidings.model.tokens import RETURN_TOKEN_LENGTH

# RFC 5321 §4.5.3.1.1.
_LONGEST_LOCAL = 64


class Settings(SenderSettings):
    """`type: smtp`."""

    host: Line = Field(description="SMTP host.")
    port: Int = Field(default=25, ge=1, le=65535, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(default="starttls", description="none, starttls or tls.")
    username: Line | None = Field(default=None, description="Login, if the host wants one.")
    password: SecretStr | None = Field(default=None, description="Password: {env: NAME} or {file: PATH}.")
    verp: Bool = Field(
        default=True,
        description="Bounces come back to return_path with a signed token behind a plus sign, such as"
        " bounces+TOKEN@example.org. false: for a host that takes no such addresses.",
    )
    dkim: Dkim | None = Field(default=None, description="Signs every message, where the host does not.")

    @model_validator(mode="after")
    def _has_room(self) -> Settings:
        local = (self.return_path or "").rpartition("@")[0]
        if self.verp and len(local) + 1 + RETURN_TOKEN_LENGTH > _LONGEST_LOCAL:
            most = _LONGEST_LOCAL - 1 - RETURN_TOKEN_LENGTH
            raise NestedValueError(
                f"at most {most} characters before the @, so that a token fits behind; or write `verp: false`",
                "return_path",
            )
        return self

    @property
    def name(self) -> str:
        """By default the host."""
        return self.name_ or self.host.lower()

    @property
    def dials(self) -> str:
        """The host."""
        return self.host


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> SmtpRelay:
    """The relay; it connects when first needed. `reached` hears of points on the way."""
    password = settings.password.get_secret_value() if settings.password else ""
    login = Login(settings.host, settings.port, settings.security, settings.username or "", password)
    return SmtpRelay(login, reached=reached)
