"""Monthly rules: a day of the month, or the first to last weekday of a month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}


@dataclass(frozen=True, slots=True)
class MonthlyDay:
    """On a day of the month at a local time; months without that day are skipped. -1 is the last day."""

    day: int
    at: time

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day.day == self.day or (self.day == -1 and (day + timedelta(days=1)).day == 1):
            yield self.at

    def __str__(self) -> str:
        return f"every month on {'the last day' if self.day == -1 else f'day {self.day}'} at {self.at:%H:%M}"


@dataclass(frozen=True, slots=True)
class MonthlyWeekday:
    """On the nth weekday of the month (1 to 5, -1 is the last) at a local time."""

    nth: int
    weekday: int
    at: time

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day.weekday() != self.weekday:
            return
        if (self.nth == -1 and (day + timedelta(days=7)).month != day.month) or (day.day - 1) // 7 + 1 == self.nth:
            yield self.at

    def __str__(self) -> str:
        return f"every month on the {_NTH[self.nth]} {DAY_NAMES[self.weekday]} at {self.at:%H:%M}"
