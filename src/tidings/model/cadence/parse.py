"""Read rules as people write them. Every error says how to write the rule instead."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta

from tidings.model.cadence.monthly import MonthlyDay, MonthlyWeekday
from tidings.model.cadence.rules import (
    WEEKDAYS,
    At,
    CadenceError,
    Cron,
    Daily,
    DateRange,
    Every,
    OnNew,
    OnRequest,
    Rule,
    Weekly,
    Window,
)
from tidings.model.dates import read_date

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `10m`, `6h`, `1h30m` or `400d`."""
    parts = re.findall(r"([0-9]{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise CadenceError(f"{text!r} is no length of time; write it like 10m, 6h, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds > 100 * 366 * 86400:
        raise CadenceError(f"{text!r} is longer than a century")
    return timedelta(seconds=seconds)


def parse_time(text: str) -> time:
    """Read `09:00` or `9:00`."""
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text.strip())
    if not match or int(match[1]) > 23 or int(match[2]) > 59:
        raise CadenceError(f"{text!r} is no time of day; write it like 09:00 or 17:30")
    return time(int(match[1]), int(match[2]))


def parse_window(text: str) -> Window:
    """Read `08:00-20:00`. `20:00-06:00` crosses midnight; `24:00` is a valid end."""
    match = re.fullmatch(r"\s*([0-9]{1,2}:[0-9]{2})\s*[-–]\s*([0-9]{1,2}:[0-9]{2})\s*", text)
    if not match:
        raise CadenceError(f"{text!r} is no window; write it like 08:00-20:00")
    start = parse_time(match[1])
    end = 24 * 60 if match[2] == "24:00" else (parse_time(match[2]).hour * 60 + parse_time(match[2]).minute)
    if start.hour * 60 + start.minute == end:
        raise CadenceError(f"the window {text!r} is empty; leave it out to send at any time")
    return Window(start.hour * 60 + start.minute, end)


def _date(text: str) -> date:
    try:
        typed = read_date(text)
    except ValueError:
        typed = None
    if typed is None or typed.clock is not None:
        raise CadenceError(f"{text!r} is no date; write it like 2026-12-16")
    return typed.day


def parse_skip_date(text: str) -> DateRange:
    """Read `2026-12-16`, or `2026-12-24..2027-01-08` with both days included."""
    first, dots, last = text.partition("..")
    span = DateRange(_date(first), _date(last if dots else first))
    if span.last < span.first:
        raise CadenceError(f"{text!r} ends before it begins")
    return span


def parse_rule(key: str, text: str) -> Rule:
    """Read the rule of a `cadence:` key: daily, weekly, monthly, cron, every, at or on."""
    readers: dict[str, Callable[[str], Rule]] = {
        "daily": lambda text: Daily(parse_time(text)),
        "weekly": _weekly,
        "monthly": _monthly,
        "cron": _cron,
        "every": _every,
        "at": _at,
        "on": _on,
    }
    if key not in readers:
        raise CadenceError(f"{key!r} is no rule of cadence; the rules are {', '.join(readers)}")
    return readers[key](text)


def _number(text: str) -> int | None:
    """Read up to nine digits. `str.isdigit` would accept `²`, and thousands of digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _weekday(text: str) -> int:
    name = text.strip().lower()
    if name.isdigit():
        raise CadenceError(f"weekdays are written by name, not {text!r} (programs number days differently): mon to sun")
    if name in WEEKDAYS or name in _LONG_WEEKDAYS:
        return WEEKDAYS.index(name[:3])
    raise CadenceError(f"{text!r} is no weekday; write mon, tue, wed, thu, fri, sat or sun")


def _weekly(text: str) -> Weekly:
    days, _, clock = text.strip().rpartition(" ")
    if not days:
        raise CadenceError(f"{text!r} lacks a weekday or a time; write it like fri 09:00 or mon,thu 09:00")
    numbers = sorted({_weekday(day.strip()) for day in re.split(r",|\sand\s", days)})
    return Weekly(tuple(numbers), parse_time(clock))


def _monthly(text: str) -> Rule:
    words = text.split()
    if len(words) == 3 and words[0].lower() in _NTH:
        return MonthlyWeekday(_NTH[words[0].lower()], _weekday(words[1]), parse_time(words[2]))
    if len(words) == 2 and words[0].lower() == "last":
        return MonthlyDay(-1, parse_time(words[1]))
    if len(words) == 2 and (day := _number(words[0])) is not None:
        if not 1 <= day <= 31:
            raise CadenceError(f"there is no day {day} in any month; write 1 to 31, or `last 09:00` for the last day")
        return MonthlyDay(day, parse_time(words[1]))
    raise CadenceError(f"{text!r} is no monthly rule; write it like `first mon 09:00`, `15 09:00` or `last 09:00`")


def _every(text: str) -> Every:
    step = parse_duration(text)
    seconds = int(step.total_seconds())
    if seconds == 0 or seconds % 60:
        raise CadenceError(f"every: {text} is no whole number of minutes")
    if seconds < 86400 and 86400 % seconds:
        raise CadenceError(f"every: {text} does not divide the day; 5m, 10m, 15m, 30m, 1h, 2h, 3h, 4h, 6h and 12h do")
    if seconds > 86400 and seconds % 86400:
        raise CadenceError(f"every: {text} is longer than a day and no whole number of days; write it like 2d")
    return Every(step)


def _at(text: str) -> At:
    try:
        typed = read_date(text)
    except ValueError:
        raise CadenceError(f"{text!r} is no date and time; write it like 2026-12-01T09:00") from None
    if typed.offset is not None:
        raise CadenceError(f"write {text!r} without an offset; `timezone:` says which clock is meant")
    if typed.clock is None:
        raise CadenceError(f"{text!r} lacks a time; write it like 2026-12-01T09:00")
    if typed.clock.second or typed.clock.microsecond:
        raise CadenceError(f"{text!r} is no whole minute; write it like 2026-12-01T09:00")
    return At(datetime.combine(typed.day, typed.clock))


def _on(text: str) -> Rule:
    match text.strip():
        case "new":
            return OnNew()
        case "request":
            return OnRequest()
    raise CadenceError(f"on: {text} is not known; write `on: new` or `on: request`")


def _cron(text: str) -> Cron:
    fields = text.split()
    if len(fields) != 5:
        raise CadenceError(
            f"cron: {text!r} has {len(fields)} fields, not five: minute hour day month weekday, like `0 9 * * fri`"
        )
    minute, hour, day, month, weekday = fields
    rule = Cron(
        text=" ".join(fields),
        minutes=_cron_field(minute, 0, 59, (), "minute") or frozenset(range(60)),
        hours=_cron_field(hour, 0, 23, (), "hour") or frozenset(range(24)),
        days=_cron_field(day, 1, 31, (), "day"),
        months=_cron_field(month, 1, 12, _MONTHS, "month") or frozenset(range(1, 13)),
        weekdays=_cron_field(weekday, 0, 6, WEEKDAYS, "weekday"),
    )
    # 2024 is a leap year: a date that it lacks exists in no year.
    longest = max(calendar.monthrange(2024, number)[1] for number in rule.months)
    if rule.weekdays is None and rule.days is not None and min(rule.days) > longest:
        raise CadenceError(f"cron: {text!r} never fires: none of its months has a day {min(rule.days)}")
    return rule


def _cron_field(text: str, low: int, high: int, names: tuple[str, ...], field: str) -> frozenset[int] | None:
    """Return the values of one field, None for an unrestricted `*`."""
    if text == "*":
        return None
    values: set[int] = set()
    for part in text.lower().split(","):
        span, _, step_text = part.partition("/")
        step = 1
        if "/" in part:
            step = _number(step_text) or 0
            if not step:
                raise CadenceError(f"cron: {part!r} has no whole step in the {field} field; write it like */2")
            if field == "weekday" and "-" not in span:
                raise CadenceError(
                    f"cron: {part!r} counts weekdays by number, which is unclear; name the days: mon,wed,fri"
                )
        if span == "*":
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _cron_value(begin, low, names, field)
            last = _cron_value(end, low, names, field) if dash else (high if step_text else first)
        if field == "weekday" and last < first:
            values.update((first + offset) % 7 for offset in range(0, last + 7 - first + 1, step))
            continue
        if low <= last < first <= high:
            raise CadenceError(
                f"cron: {part!r} runs backwards in the {field} field; write two ranges: {first}-{high},{low}-{last}"
            )
        if not low <= first <= last <= high:
            raise CadenceError(f"cron: {part!r} is outside {low} to {high} in the {field} field")
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _cron_value(text: str, low: int, names: tuple[str, ...], field: str) -> int:
    if field == "weekday":
        return _weekday(text)
    if text in names:
        return names.index(text) + low
    number = _number(text)
    if number is None:
        mend = f"a number or {names[0]} to {names[-1]}" if names else "a number"
        raise CadenceError(f"cron: {text!r} is no {field}; write {mend}")
    return number
