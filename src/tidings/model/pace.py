"""How fast mail may go after some was refused for now: half as fast at once, and twice as fast after each minute."""

from __future__ import annotations

from dataclasses import dataclass

SLOWEST = 0.05
"""Messages a second: however often it is refused."""
_UNLIMITED = 1_000.0
_DOUBLES = 60.0
_ONE_TROUBLE = 1.0
"""Refusals within so many seconds tell of one trouble."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate found out at a refusal: messages a second, and when that was, in seconds since 1970."""

    rate: float
    refused_at: float

    def now(self, moment: float) -> float | None:
        """The rate at a moment; None: as fast as it goes."""
        rate = self.rate * 2.0 ** (max(0.0, moment - self.refused_at) / _DOUBLES)
        return rate if rate < _UNLIMITED else None


def slowed(pace: Pace | None, measured: float, moment: float) -> Pace:
    """After one more refusal for now. `measured`: messages a second lately."""
    if pace is not None and moment - pace.refused_at < _ONE_TROUBLE:
        return pace
    known = pace.now(moment) if pace is not None else None
    return Pace(max(SLOWEST, min(measured, known or measured) / 2), moment)
