"""How posts are spread, so that nobody's timeline is flooded and no telephone rings at night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.model.cadence import Cadence, OnRequest, Window, window_closes

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Spacing:
    """What a channel allows: quiet hours by the wall clock of a zone, most posts in any hour and any day, and the least
    time between two."""

    zone: str
    quiet: Window | None = None
    hourly: int | None = None
    daily: int | None = None
    apart: timedelta = timedelta(0)

    def earliest(self, now: datetime, posted: Sequence[datetime]) -> datetime:
        """The first moment, `now` or later, for one more post; `posted` are those of the last day, in any order."""
        before = sorted(posted)
        silence = Cadence(OnRequest(), self.zone, window=self.quiet)
        while True:
            at = now
            if before:
                at = max(at, before[-1] + self.apart)
            for most, span in ((self.hourly, _HOUR), (self.daily, _DAY)):
                if most is not None and len(before) >= most:
                    at = max(at, before[-most] + span)
            if self.quiet is not None:
                at = window_closes(silence, at) or at
            if at == now:
                return at
            now = at
