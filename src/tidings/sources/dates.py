"""Dates as editors type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

_TYPED = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:(?:[Tt]|[ ]+)(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?"
    r"[ ]*([Zz]|[+-]\d{2}(?::?\d{2})?)?)?"
)


def read_moment(text: str, zone: ZoneInfo, *, end_of_day: bool = False) -> datetime:
    """`2023-09-27`, `2023-09-27T10:00`, `2023-09-27 10:00:00+05:00`; in `zone` unless it carries an offset. Aware UTC.

    A date alone is its first moment, or its last second with `end_of_day`. Raises ValueError with what is wrong.
    """
    match = _TYPED.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is no date")
    year, month, day, hour, minute, second, offset = match.groups()
    if hour is None and end_of_day:
        hour, minute, second = "23", "59", "59"
    try:
        local = datetime(  # noqa: DTZ001 - its zone follows
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no date that exists ({error})") from None
    if not 1900 <= local.year <= 2200:
        raise ValueError(f"the year {local.year} is out of range")
    return local.replace(tzinfo=_offset(offset) if offset else zone).astimezone(UTC)


def _offset(text: str) -> timezone:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise ValueError(f"{text} is no offset from UTC")
    shift = timedelta(hours=hours, minutes=minutes)
    return timezone(-shift if text[0] == "-" else shift)
