"""Read dates and times as people type them, and write them for people and programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

_TYPED = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:(?:[Tt]|[ ]+)(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6})\d*)?)?"
    r"[ ]*([Zz]|[+-]\d{2}(?::?\d{2})?)?)?"
)
YEARS = range(1900, 2201)
"""The years of a story. Others are mistakes, and no store and no zone knows year 10,000."""


@dataclass(frozen=True, slots=True)
class TypedDate:
    """A date, with a time and an offset from UTC if they were typed."""

    day: date
    clock: time | None = None
    offset: tzinfo | None = None


def read_date(text: str) -> TypedDate:
    """Read `2023-09-27`, `2023-09-27T10:00` or `2023-09-27 10:00:00.5+05:00`. Raises ValueError."""
    match = _TYPED.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a date")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        clock = time(int(hour), int(minute), int(second or 0), int((fraction or "0").ljust(6, "0"))) if hour else None
        return TypedDate(date(int(year), int(month), int(day)), clock, _offset(offset) if offset else None)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} does not exist ({error})") from None


def parse_moment(text: str, zone: tzinfo, *, end_of_day: bool = False, years: range = YEARS) -> datetime:
    """Read a moment, in `zone` unless it carries an offset. Returns aware UTC; raises ValueError.

    A date without a time means its first moment, or with `end_of_day`, its last second.
    """
    typed = read_date(text)
    if typed.day.year not in years:
        raise ValueError(f"the year {typed.day.year} is out of range")
    clock = typed.clock or (time(23, 59, 59) if end_of_day else time())
    try:
        return datetime.combine(typed.day, clock, typed.offset or zone).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"the year {typed.day.year} is out of range") from None


def check_year(moment: datetime) -> datetime:
    """Return the moment. Raises ValueError if its year is none of YEARS."""
    if moment.year not in YEARS:
        raise ValueError(f"the year {moment.year} is out of range")
    return moment


def _offset(text: str) -> tzinfo:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise ValueError(f"{text} is not an offset from UTC")
    shift = timedelta(hours=hours, minutes=minutes)
    return timezone(-shift if text[0] == "-" else shift)


def format_utc(moment: datetime) -> str:
    """Return a moment in UTC, in RFC 3339: `2026-12-01T05:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_json(value: object) -> object:
    """Convert a value of a type that JSON does not have (`default` of `json.dumps`)."""
    if isinstance(value, datetime):
        return format_utc(value)
    return list(value) if isinstance(value, (set, frozenset, tuple)) else str(value)


def format_local(moment: datetime, zone: tzinfo) -> str:
    """Return a moment as the clocks of a zone show it, with the zone: `2026-12-01 10:00 (Asia/Almaty)`."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M} ({zone})"
