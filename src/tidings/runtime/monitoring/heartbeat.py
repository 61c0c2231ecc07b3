"""The signs of life of one service, by a clock that nobody sets, and when they are too old to be called life."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MAX_SILENCE = 120.0
"""Seconds without a beat, of which there is one every 30, until the ticker is taken for dead."""
MAX_CYCLE = 900.0
"""Seconds that one beat may take: composing for a million readers takes a few minutes."""
MAX_FAILING = 600.0
"""Seconds in which not one tick ended well."""


@dataclass(slots=True)
class CycleHealth:
    """Moments of `time.monotonic`. `begun` is set while a beat is at work."""

    beaten: float = field(default_factory=time.monotonic)
    ticked: float = field(default_factory=time.monotonic)
    begun: float | None = None

    def health(self, now: float, *, only_pages: bool) -> dict[str, object]:
        """`ok`, ages in seconds, and the reason where it is not well; nothing that a stranger must not read."""
        reason = self._reason(now, only_pages)
        found: dict[str, object] = {"ok": not reason, "beat_age": round(now - self.beaten, 1)}
        if not only_pages:
            found["tick_age"] = round(now - self.ticked, 1)
        return found | ({"reason": reason} if reason else {})

    def _reason(self, now: float, only_pages: bool) -> str:
        if self.begun is not None and now - self.begun > MAX_CYCLE:
            return f"one beat has been at work for {(now - self.begun) / 60:.0f} minutes"
        if self.begun is None and now - self.beaten > MAX_SILENCE:
            return f"the ticker stands still: no beat for {now - self.beaten:.0f} seconds"
        if not only_pages and self.begun is None and now - self.ticked > MAX_FAILING:
            return f"no tick has ended well for {(now - self.ticked) / 60:.0f} minutes; the log says why"
        return ""
