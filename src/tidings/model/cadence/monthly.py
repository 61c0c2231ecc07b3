"""Monthly rules, and rules of working days: days of the month, nth weekdays, first and last working days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_DAY = timedelta(days=1)

IsWorkingDay = Callable[[date], bool]
"""Whether a local day is a working day: not a weekend, not a holiday, and not in `skip_dates`."""


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[:-1] else words)


def join_clocks(clocks: Sequence[time]) -> str:
    return join_words([f"{clock:%H:%M}" for clock in clocks])


@dataclass(frozen=True, slots=True)
class DayOfMonth:
    """A day of the month; months without that day are skipped. -1 is the last day."""

    day: int

    def matches(self, day: date, is_working_day: IsWorkingDay) -> bool:
        """Whether the rule includes a local day."""
        return day.day == self.day or (self.day == -1 and (day + _DAY).day == 1)

    def __str__(self) -> str:
        return "the last day" if self.day == -1 else f"day {self.day}"


@dataclass(frozen=True, slots=True)
class NthWeekday:
    """The nth weekday of the month: 1 to 5, -1 is the last."""

    nth: int
    weekday: int

    def matches(self, day: date, is_working_day: IsWorkingDay) -> bool:
        """Whether the rule includes a local day."""
        if day.weekday() != self.weekday:
            return False
        if self.nth == -1:
            return (day + timedelta(days=7)).month != day.month
        return (day.day - 1) // 7 + 1 == self.nth

    def __str__(self) -> str:
        return f"the {_NTH[self.nth]} {DAY_NAMES[self.weekday]}"


@dataclass(frozen=True, slots=True)
class NthWorkingDay:
    """The nth working day of the month: 1 to 5, -1 is the last."""

    nth: int

    def matches(self, day: date, is_working_day: IsWorkingDay) -> bool:
        """Whether the rule includes a local day."""
        if not is_working_day(day):
            return False
        step = _DAY if self.nth == -1 else -_DAY
        other, further = day + step, 0
        while other.month == day.month and further < abs(self.nth):
            further += is_working_day(other)
            other += step
        return further == abs(self.nth) - 1

    def __str__(self) -> str:
        return f"the {_NTH[self.nth]} working day"


@dataclass(frozen=True, slots=True)
class Monthly:
    """On days of the month at local times."""

    days: tuple[DayOfMonth | NthWeekday | NthWorkingDay, ...]
    at: tuple[time, ...]

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if any(part.matches(day, is_working_day) for part in self.days):
            yield from self.at

    def __str__(self) -> str:
        return f"every month on {join_words([str(part) for part in self.days])} at {join_clocks(self.at)}"


@dataclass(frozen=True, slots=True)
class WeeklyWorkingDay:
    """On the first or last working day of each week, Monday to Sunday, at local times."""

    is_last: bool
    at: tuple[time, ...]

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        others = range(day.weekday() + 1, 7) if self.is_last else range(day.weekday())
        monday = day - day.weekday() * _DAY
        if is_working_day(day) and not any(is_working_day(monday + number * _DAY) for number in others):
            yield from self.at

    def __str__(self) -> str:
        return f"every week on the {'last' if self.is_last else 'first'} working day at {join_clocks(self.at)}"
