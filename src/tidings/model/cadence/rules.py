"""The rules of a cadence, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from tidings.model.cadence.monthly import (
    DAY_NAMES,
    IsWorkingDay,
    Monthly,
    WeeklyWorkingDay,
    join_clocks,
    join_words,
)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_EPOCH = date(1970, 1, 1)


class CadenceError(ValueError):
    """A rule that cannot be read; the message says what is wrong and how to write it."""


def _weekdays_named(days: Sequence[int]) -> str:
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{DAY_NAMES[days[0]]} to {DAY_NAMES[days[-1]]}"
    return join_words([DAY_NAMES[day] for day in days])


def _length(span: timedelta) -> str:
    """Return `2 hours` or `90 minutes`, in the largest unit without a fraction; `hour` for one hour."""
    for unit, word in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if span >= unit and not span % unit:
            return f"{span // unit} {word}s" if span > unit else word
    return f"{span // timedelta(seconds=1)} seconds"


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day at local times."""

    at: tuple[time, ...]

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        yield from self.at

    def __str__(self) -> str:
        return f"every day at {join_clocks(self.at)}"


@dataclass(frozen=True, slots=True)
class Weekly:
    """On weekdays (0 is Monday) at local times. With `every_other`, in every other week from that day on.

    Weeks begin on Monday. The first week is that of the first slot on or after `every_other`.
    """

    days: tuple[int, ...]
    at: tuple[time, ...]
    every_other: date | None = None

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day.weekday() not in self.days:
            return
        if self.every_other is not None:
            begin = self.every_other
            first = begin + timedelta(days=min((number - begin.weekday()) % 7 for number in self.days))
            monday = first - timedelta(days=first.weekday())
            if day < begin or (day - monday).days // 7 % 2:
                return
        yield from self.at

    def __str__(self) -> str:
        if self.every_other is None:
            return f"every {_weekdays_named(self.days)} at {join_clocks(self.at)}"
        return f"every other {_weekdays_named(self.days)} at {join_clocks(self.at)}, from {self.every_other}"


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields, as sets. If both day fields are restricted, either matches (POSIX crontab)."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
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
        clocks = [f"{hour:02}:{minute:02}" for hour in sorted(self.hours) for minute in sorted(self.minutes)]
        if len(clocks) > 4:
            return f"cron {self.text}"
        days = [_weekdays_named(sorted(self.weekdays))] if self.weekdays is not None else []
        if self.days is not None:
            days.append(f"day {join_words([str(day) for day in sorted(self.days)])} of the month")
        months = f" in {join_words([_MONTHS[n - 1] for n in sorted(self.months)])}" if len(self.months) < 12 else ""
        return f"every {' or '.join(days) or 'day'}{months} at {join_words(clocks)}"


@dataclass(frozen=True, slots=True)
class Every:
    """At even steps of the wall clock: within a day aligned to local midnight, or whole days from 1970-01-01.

    Steps in the gap of spring fire once, at the first minute after it. None fires in the second of autumn's doubled
    hours: the wall clock has already shown those minutes.
    """

    step: timedelta

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if self.step >= timedelta(days=1):
            if (day - _EPOCH).days % self.step.days == 0:
                yield time(0, 0)
            return
        minutes = self.step // timedelta(minutes=1)
        for minute in range(0, 24 * 60, minutes):
            yield time(minute // 60, minute % 60)

    def __str__(self) -> str:
        return f"every {_length(self.step)}{' at 00:00' if self.step >= timedelta(days=1) else ''}"


@dataclass(frozen=True, slots=True)
class At:
    """Once, at a local date and time."""

    moment: datetime

    def times(self, day: date, is_working_day: IsWorkingDay) -> Iterator[time]:
        """Local times on a local day, ascending."""
        if day == self.moment.date():
            yield self.moment.time()

    def __str__(self) -> str:
        return f"once, at {self.moment:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class OnNew:
    """When something new has come out and `settle` has passed, so that an editor's late changes are included."""

    settle: timedelta = timedelta(minutes=10)

    def __str__(self) -> str:
        length = _length(self.settle)
        return f"{length if length[0].isdigit() else f'1 {length}'} after something new"


@dataclass(frozen=True, slots=True)
class OnRequest:
    """Only when a person asks (`tidings send`)."""

    def __str__(self) -> str:
        return "on request"


DatedRule = Daily | Weekly | WeeklyWorkingDay | Monthly | Cron | Every | At
Rule = DatedRule | OnNew | OnRequest


@dataclass(frozen=True, slots=True)
class Window:
    """A span of local time, from `start` to before `end`, in minutes of the day; it may cross midnight."""

    start: int
    end: int

    def contains(self, local: time) -> bool:
        """Whether a local time lies inside."""
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    @property
    def is_always(self) -> bool:
        """Whether the window is the whole day."""
        return (self.start, self.end) == (0, 24 * 60)

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
class Season:
    """The days on which a cadence has slots: between two dates, and between two days of every year.

    Days of every year are (month, day). A season may cross the new year.
    """

    first: date | None = None
    last: date | None = None
    begins: tuple[int, int] | None = None
    ends: tuple[int, int] | None = None

    def __contains__(self, day: date) -> bool:
        if (self.first is not None and day < self.first) or (self.last is not None and day > self.last):
            return False
        begins, ends = self.begins or (1, 1), self.ends or (12, 31)
        if begins <= ends:
            return begins <= (day.month, day.day) <= ends
        return (day.month, day.day) >= begins or (day.month, day.day) <= ends

    def __str__(self) -> str:
        start, end = self.first or self.begins, self.last or self.ends
        parts = [("from", start), ("until", end)]
        words = [f"{word} {_day_written(day)}" for word, day in parts if day is not None]
        return f"{' '.join(words)}{' every year' if self.begins or self.ends else ''}"


def _day_written(day: date | tuple[int, int]) -> str:
    return f"{day[0]:02}-{day[1]:02}" if isinstance(day, tuple) else str(day)


class OnHoliday(StrEnum):
    """The rule for a slot on a holiday or in `skip_dates`."""

    SKIP = "skip"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Move:
    """One slot that a person moved to the local moment `to`, or left out (None), named by day, or day and time."""

    day: date
    clock: time | None
    to: datetime | None

    @property
    def slot(self) -> str:
        """The slot as it is written: 2026-12-04, or 2026-12-04T09:00."""
        return f"{self.day}T{self.clock:%H:%M}" if self.clock else str(self.day)

    @property
    def target(self) -> str:
        """The new moment as it is written, or skip."""
        return "skip" if self.to is None else f"{self.to:%Y-%m-%dT%H:%M}"


@dataclass(frozen=True, slots=True)
class Cadence:
    """A rule in a time zone, with settings that move or skip its slots. `holidays` names a day's holiday."""

    rule: Rule
    zone: str
    window: Window | None = None
    skip_dates: tuple[DateRange, ...] = ()
    holidays: Callable[[date], str | None] | None = field(default=None, compare=False)
    max_late: timedelta = timedelta(hours=12)
    on_holiday: OnHoliday = OnHoliday.SKIP
    weekend: tuple[int, ...] = (5, 6)
    season: Season = Season()
    moved: tuple[Move, ...] = ()

    def skip_reason(self, day: date) -> str | None:
        """Return why nothing is sent on a local day, or None."""
        for span in self.skip_dates:
            if day in span:
                return f"{day} is in skip_dates"
        holiday = self.holidays(day) if self.holidays else None
        if holiday:
            return f"{day} is a holiday: {holiday}"
        # A dated rule has no slots outside the season. Something new may come out at any time.
        return (
            f"{day} is not in the season {self.season}"
            if isinstance(self.rule, OnNew) and day not in self.season
            else None
        )

    def is_working_day(self, day: date) -> bool:
        """Whether a local day is a working day: not a weekend, not a holiday, and not in `skip_dates`."""
        return day.weekday() not in self.weekend and self.skip_reason(day) is None

    def local_times(self, day: date) -> Iterator[time]:
        """Yield the local times of the rule on a local day, ascending. `on: new` and `on: request` have none."""
        if not isinstance(self.rule, (OnNew, OnRequest)) and day in self.season:
            yield from self.rule.times(day, self.is_working_day)

    def takes_moved_slots(self, day: date) -> bool:
        """Whether a slot can move to a local day: a working day, or a day of the weekend with slots of its own.

        So a daily digest that is sent at weekends too never moves past one of its own slots.
        """
        if self.skip_reason(day) is not None:
            return False
        return day.weekday() not in self.weekend or next(self.local_times(day), None) is not None


def describe_cadence(cadence: Cadence) -> str:
    """Describe a cadence in words, for `tidings plan`: `every Friday at 09:00 (Asia/Almaty)`."""
    season = f", {cadence.season}" if cadence.season != Season() else ""
    window = f", {cadence.window} only" if cadence.window else ""
    moved = f", the working day {cadence.on_holiday} a holiday" if cadence.on_holiday is not OnHoliday.SKIP else ""
    return f"{cadence.rule}{season}{window}{moved} ({cadence.zone})"
