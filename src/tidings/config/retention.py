"""The model of `keep`: how long records are kept."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, ValidationInfo, field_validator

from tidings.config.adapters import ConfigModel
from tidings.config.types import Duration

_SHORTEST = {"ledger": 30, "returns": 30, "pending": 2, "left": 30, "ip": 1}
"""Days. Bounces arrive within days, and people ask about a message within weeks."""


class Retention(ConfigModel):
    """How long records are kept. A daily job deletes older ones. Suppressions stay for good, as hashes."""

    ledger: Duration | None = Field(
        default=None,
        description="Age at which deliveries are deleted from the ledger, such as 400d; default: never. The counts, "
        "and which reader had which story, stay.",
    )
    pending: Duration = Field(
        default=timedelta(days=30),
        description="Age at which unconfirmed people are deleted, counted from their last request or import.",
    )
    left: Duration = Field(
        default=timedelta(days=1095),
        description="Time after which people who left a list are deleted: address, choices and consents. Until then "
        "these prove that they wanted the mail.",
    )
    returns: Duration = Field(
        default=timedelta(days=400), description="Age at which bounces and complaints are deleted, with their texts."
    )
    ip: Duration = Field(
        default=timedelta(days=90), description="Age at which IP addresses are deleted from the records of consent."
    )

    @field_validator("*", mode="after")
    @classmethod
    def _long_enough(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        shortest = _SHORTEST[info.field_name or ""]
        if value is not None and value < timedelta(days=shortest):
            raise ValueError(f"this is kept for {shortest} days at least; write it like 400d")
        return value
