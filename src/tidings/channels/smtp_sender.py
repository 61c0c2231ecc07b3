"""A relay by SMTP as a sender: its settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tidings.config.adapters import SenderSettings
from tidings.config.types import Int, Line


class Settings(SenderSettings):
    """`type: smtp`."""

    host: Line = Field(description="SMTP host.")
    port: Int = Field(default=25, ge=1, le=65535, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(default="starttls", description="none, starttls or tls.")
    username: Line | None = Field(default=None, description="Login, if the host wants one.")
    password: SecretStr | None = Field(default=None, description="Password: {env: NAME} or {file: PATH}.")

    @property
    def name(self) -> str:
        """By default the host."""
        return self.name_ or self.host.lower()

    @property
    def dials(self) -> str:
        """The host."""
        return self.host
