"""How many messages may be permitted and not yet settled: by how fast they go, lately and at the most."""

from __future__ import annotations

import math
import time

GROUP = 400
"""At most so many; a twentieth of a second of sending, where that is less.

A power loss puts that much in doubt. Small groups cost a sync of the disk each: 50 are always allowed within a second.
"""
_SMALL_GROUP = 50
FIRST_GROUP = 10
AHEAD = 500
"""At most so many are leased, and at most half a second of sending: what is urgent need not wait for long."""


class SendWindow:
    """Of one desk."""

    def __init__(self, group: int = GROUP, least: int = 1) -> None:
        """`group`: the most that may be permitted at once; `least`: what keeps all connections at work."""
        self.group = group
        self._least = least
        self.ended = 0
        """Messages so far."""
        self.seconds: float | None = None
        """What a message takes, lately."""
        self._counted = (time.monotonic(), 0)

    def note_pace(self) -> None:
        """Learn from what has ended since the last time."""
        since, before = self._counted
        now = time.monotonic()
        if self.ended > before and now - since > 0.01:
            seconds = (now - since) / (self.ended - before)
            self.seconds = seconds if self.seconds is None else 0.7 * self.seconds + 0.3 * seconds
            self._counted = (now, self.ended)

    def _a_second(self, rate: float) -> float:
        """How many messages are sent in a second, as far as is known; at most `rate`."""
        return min(rate, FIRST_GROUP if self.seconds is None else 1.0 / max(self.seconds, 1e-6))

    def room(self, busy: int, later: int, rate: float) -> int:
        """How many more may be permitted: a slice, once half of what is sent in a second is free.

        `busy` are permitted, `later` too, but not before their moment; `rate` is what the sender as a whole may send.
        """
        if self.group == 1:
            most = 1
        else:
            a_second = self._a_second(rate)
            most = max(1, min(self.group, int(a_second), max(_SMALL_GROUP, int(a_second / 20))))
            if rate == math.inf:
                # A relay that is slow to answer is not made slower by being asked for one message at a time.
                most = max(most, self._least)
        if busy > most // 2:
            return 0
        # Behind a slow domain others may go; behind the rate of all nobody may.
        most_of_all = self.group if rate == math.inf else most
        return max(0, min(max(1, most // 2), most_of_all - busy - later))

    def to_lease(self, room: int, rate: float) -> int:
        """How many to lease ahead where `room` may be permitted."""
        return 1 if self.group == 1 else max(room, min(AHEAD, int(self._a_second(rate) / 2)))
