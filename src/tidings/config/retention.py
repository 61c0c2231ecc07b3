"""`keep`: how long what happened is kept."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, ValidationInfo, field_validator

from tidings.config.adapters import ConfigModel
from tidings.config.types import Duration

_SHORTEST = {"ledger": 30, "returns": 30, "pending": 2, "left": 30, "ip": 1}
"""Days. What comes back for a message does so within days, and a person asks within weeks."""


class Retention(ConfigModel):
    """How long what happened is kept; a daily job takes out what is older. Suppressions stay for good, as hashes."""

    ledger: Duration | None = Field(
        default=None,
        description="Age at which deliveries are taken out of the ledger, such as 400d; without it, never. Their "
        "counts stay, and who had which story.",
    )
    pending: Duration = Field(
        default=timedelta(days=30),
        description="Age at which who never confirmed is forgotten, since they last asked or were imported.",
    )
    left: Duration = Field(
        default=timedelta(days=1095),
        description="Time after which who left a list is forgotten: address, choices and consents. Until then these "
        "prove that mail was wanted.",
    )
    returns: Duration = Field(
        default=timedelta(days=400), description="Age at which bounces and complaints are taken out, texts and all."
    )
    ip: Duration = Field(
        default=timedelta(days=90), description="Age at which IP addresses are taken out of the records of consent."
    )

    @field_validator("*", mode="after")
    @classmethod
    def _long_enough(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        shortest = _SHORTEST[info.field_name or ""]
        if value is not None and value < timedelta(days=shortest):
            raise ValueError(f"this is kept for {shortest} days at least; write it like 400d")
        return value
