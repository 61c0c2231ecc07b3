"""How fast mail and posts may be sent: after refusals, after failures of a sender, and by the limits of a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.model.cadence import Cadence, OnRequest, Window, find_window_end

SLOWEST = 0.05
"""Messages a second: the rate never falls below this."""
_UNLIMITED = 1_000.0
_DOUBLES = 60.0
_ONE_TROUBLE = 1.0
"""Seconds: refusals within this time count as one."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The rate after a refusal, in messages a second, and its time in seconds since 1970. It doubles each minute."""

    rate: float
    refused_at: float

    def rate_at(self, moment: float) -> float | None:
        """Return the rate at a moment, None for no limit."""
        # 64 doublings lift even the slowest rate above `_UNLIMITED`, and a float overflows after 1,024.
        doublings = min(64.0, max(0.0, moment - self.refused_at) / _DOUBLES)
        rate = self.rate * 2.0**doublings
        return rate if rate < _UNLIMITED else None


def slow_down(pace: Pace | None, measured: float, moment: float) -> Pace:
    """Halve the rate after a temporary refusal. `measured` is the recent rate in messages a second."""
    if pace is not None and moment - pace.refused_at < _ONE_TROUBLE:
        return pace
    known = pace.rate_at(moment) if pace is not None else None
    return Pace(max(SLOWEST, min(measured, known or measured) / 2), moment)


REST_TIMES = tuple(timedelta(seconds=seconds) for seconds in (15, 30, 60, 120, 300))
"""How long a sender rests after the first, second, ... failure in a row. Short: a new try costs one connection."""
LONGEST_REST = timedelta(hours=1)
"""The longest rest, even if the other side asks for more."""


@dataclass(frozen=True, slots=True)
class SenderHealth:
    """The health of one mail sender. Moments are real time. A new sender is up."""

    failures: int = 0
    """Failures in a row."""
    reason: str = ""
    down_until: datetime | None = None

    def is_up(self, now: datetime) -> bool:
        """Whether the sender may be used. After its rest it may be used until it fails again."""
        return self.down_until is None or now >= self.down_until

    def after_failure(self, reason: str, now: datetime, retry_after: float | None = None) -> SenderHealth:
        """Return the health after a failed connection or login. `retry_after`: seconds that the server asked for.

        Several connections may fail in the same outage, so failures while the sender rests do not count again.
        """
        asked = now + min(timedelta(seconds=retry_after or 0), LONGEST_REST)
        if not self.is_up(now):
            assert self.down_until is not None
            return SenderHealth(self.failures, reason, max(self.down_until, asked))
        rest = REST_TIMES[min(self.failures, len(REST_TIMES) - 1)]
        return SenderHealth(self.failures + 1, reason, max(now + rest, asked))


_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Spacing:
    """The limits of a channel: quiet hours in a time zone, posts in an hour and in a day, and the gap between posts."""

    zone: str
    quiet_hours: Window | None = None
    max_per_hour: int | None = None
    max_per_day: int | None = None
    min_gap: timedelta = timedelta(0)

    def earliest(self, now: datetime, posted: Sequence[datetime]) -> datetime:
        """Return the first moment, `now` or later, for one more post. `posted`: posts of the last day, in any order."""
        before = sorted(posted)
        silence = Cadence(OnRequest(), self.zone, window=self.quiet_hours)
        while True:
            at = now
            if before:
                at = max(at, before[-1] + self.min_gap)
            for most, span in ((self.max_per_hour, _HOUR), (self.max_per_day, _DAY)):
                if most is not None and len(before) >= most:
                    at = max(at, before[-most] + span)
            if self.quiet_hours is not None:
                at = find_window_end(silence, at) or at
            if at == now:
                return at
            now = at
