"""How a sender of mail has fared, and when it may be tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

COOL_DOWN = tuple(timedelta(seconds=seconds) for seconds in (15, 30, 60, 120, 300))
"""How long a sender rests after the first, second, ... failure in a row: short, for it costs one connection to ask."""
LONGEST = timedelta(hours=1)
"""However long the other side asks us to stay away."""


@dataclass(frozen=True, slots=True)
class Health:
    """Of one sender. Moments are real time. What was never heard of is up."""

    failures: int = 0
    """In a row."""
    reason: str = ""
    down_until: datetime | None = None

    def is_up(self, now: datetime) -> bool:
        """Whether it may be tried. After its rest it is as good as any other, until it fails once more."""
        return self.down_until is None or now >= self.down_until

    def failed(self, reason: str, now: datetime, retry_after: float | None = None) -> Health:
        """It could not be reached, or let us in no more. `retry_after`: seconds that it asked for.

        Several connections find the same outage: while it is down already, that counts once.
        """
        asked = now + min(timedelta(seconds=retry_after or 0), LONGEST)
        if not self.is_up(now):
            assert self.down_until is not None
            return Health(self.failures, reason, max(self.down_until, asked))
        rest = COOL_DOWN[min(self.failures, len(COOL_DOWN) - 1)]
        return Health(self.failures + 1, reason, max(now + rest, asked))
