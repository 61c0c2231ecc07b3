"""The rules that a comms team writes, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_EPOCH = date(1970, 1, 1)


class CadenceError(ValueError):
    """A rule that cannot be read; the message says what is wrong and how to write it."""


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day at a local time."""

    at: time

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        yield self.at

    def __str__(self) -> str:
        return f"every day at {self.at:%H:%M}"


@dataclass(frozen=True, slots=True)
class Weekly:
    """On weekdays (0 is Monday) at a local time."""

    days: tuple[int, ...]
    at: time

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day.weekday() in self.days:
            yield self.at

    def __str__(self) -> str:
        return f"every {' and '.join(_NAMES[day] for day in self.days)} at {self.at:%H:%M}"


@dataclass(frozen=True, slots=True)
class MonthlyDay:
    """On a day of the month at a local time; months without that day are left out. -1 is the last day."""

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
        return f"every month on the {_NTH[self.nth]} {_NAMES[self.weekday]} at {self.at:%H:%M}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields, as sets. If both day fields are restricted, either matches (POSIX crontab)."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day.month not in self.months:
            return
        hits = [day.day in self.days] if self.days is not None else []
        if self.weekdays is not None:
            hits.append(day.weekday() in self.weekdays)
        if hits and not any(hits):
            return
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                yield time(hour, minute)

    def __str__(self) -> str:
        return f"cron {self.text}"


@dataclass(frozen=True, slots=True)
class Every:
    """At even steps: within a day aligned to local midnight, or whole days counted from 1970-01-01."""

    step: timedelta

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if self.step >= timedelta(days=1):
            if (day - _EPOCH).days % self.step.days == 0:
                yield time(0, 0)
            return
        minutes = self.step // timedelta(minutes=1)
        for minute in range(0, 24 * 60, minutes):
            yield time(minute // 60, minute % 60)

    def __str__(self) -> str:
        if self.step >= timedelta(days=1):
            return f"every {self.step.days} days" if self.step.days > 1 else "every day at 00:00"
        return f"every {self.step // timedelta(minutes=1)} minutes"


@dataclass(frozen=True, slots=True)
class At:
    """Once, at a local date and time."""

    moment: datetime

    def times(self, day: date) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day == self.moment.date():
            yield self.moment.time()

    def __str__(self) -> str:
        return f"once, at {self.moment:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class OnNew:
    """When something new has come out and `settle` has passed, so that an editor's second thoughts are in."""

    settle: timedelta = timedelta(minutes=10)

    def __str__(self) -> str:
        return f"{self.settle // timedelta(minutes=1)} minutes after something new"


@dataclass(frozen=True, slots=True)
class OnRequest:
    """Only when a person asks (`tidings send`)."""

    def __str__(self) -> str:
        return "on request"


DatedRule = Daily | Weekly | MonthlyDay | MonthlyWeekday | Cron | Every | At
Rule = DatedRule | OnNew | OnRequest


@dataclass(frozen=True, slots=True)
class Window:
    """A span of local time, from `start` to before `end`, in minutes of the day; it may cross midnight."""

    start: int
    end: int

    def holds(self, local: time) -> bool:
        """Whether a local time lies inside."""
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    @property
    def opens(self) -> time:
        """Its first minute."""
        return time(self.start // 60, self.start % 60)

    def __str__(self) -> str:
        return f"{self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


@dataclass(frozen=True, slots=True)
class DateRange:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class Cadence:
    """A rule in a zone, with what moves or skips its slots. `holidays` names the holiday of a day, or None."""

    rule: Rule
    zone: str
    window: Window | None = None
    skip_dates: tuple[DateRange, ...] = ()
    holidays: Callable[[date], str | None] | None = field(default=None, compare=False)
    max_late: timedelta = timedelta(hours=12)

    @property
    def repeats(self) -> bool:
        """Whether it comes again by itself."""
        return not isinstance(self.rule, (At, OnRequest))

    def skipped(self, day: date) -> str | None:
        """Why nothing goes out on a local day, or None."""
        for span in self.skip_dates:
            if day in span:
                return f"{day} is in skip_dates"
        holiday = self.holidays(day) if self.holidays else None
        return f"{day} is a holiday: {holiday}" if holiday else None


def describe(cadence: Cadence) -> str:
    """In words, for `tidings plan`: `every Friday at 09:00 (Asia/Almaty)`."""
    window = f", {cadence.window} only" if cadence.window else ""
    return f"{cadence.rule}{window} ({cadence.zone})"
