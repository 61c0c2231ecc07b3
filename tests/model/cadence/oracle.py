"""A brute-force check: it walks every UTC minute, reads the local clock, and asks whether the rule names that minute.

It is independent of the arithmetic under test: it knows offsets, folds and gaps only from the clock.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)


def walls(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Return (UTC minute, naive local time) for each minute of a period."""
    moment = start
    while moment < end:
        yield moment, moment.astimezone(zone).replace(tzinfo=None)
        moment += _MINUTE


def fires(zone: ZoneInfo, names: Callable[[datetime], bool], start: datetime, end: datetime) -> list[datetime]:
    """Return the UTC minutes in [start, end) at which a rule fires. `names` decides about naive local minutes.

    It begins three days early, to know the earlier local minutes. If the clock jumps over local minutes that the rule
    names, it fires at the first minute after the gap. If the clock repeats a minute, it does not fire again.
    """
    moments: list[datetime] = []
    furthest: datetime | None = None
    for moment, wall in walls(zone, start - timedelta(days=3), end):
        if furthest is None:
            hit = names(wall)
            furthest = wall
        elif wall <= furthest:
            hit = False
        else:
            skipped = furthest + _MINUTE
            hit = names(wall)
            while not hit and skipped < wall:
                hit = names(skipped)
                skipped += _MINUTE
            furthest = wall
        if hit and moment >= start:
            moments.append(moment)
    return moments


def last_day(day: date) -> int:
    """Return the last day of the month of `day`."""
    return calendar.monthrange(day.year, day.month)[1]


def transitions(zone: ZoneInfo, year: int) -> list[datetime]:
    """Return the UTC hours of a year in which the offset changes."""
    moment = datetime(year, 1, 1, tzinfo=UTC)
    moments = []
    before = moment.astimezone(zone).utcoffset()
    while moment.year == year:
        after = (moment + timedelta(hours=6)).astimezone(zone).utcoffset()
        if after != before:
            moments.append(moment)
        before = after
        moment += timedelta(hours=6)
    return moments
