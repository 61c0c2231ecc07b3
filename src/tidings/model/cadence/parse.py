"""Read rules as people write them. Every error says how to write the rule instead."""

from __future__ import annotations

import calendar
import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from tidings.model.cadence.monthly import DayOfMonth, Monthly, NthWeekday, NthWorkingDay, WeeklyWorkingDay
from tidings.model.cadence.rules import (
    WEEKDAYS,
    At,
    CadenceError,
    Cron,
    Daily,
    DateRange,
    Every,
    Move,
    OnNew,
    OnRequest,
    Rule,
    Season,
    Weekly,
    Window,
)
from tidings.model.cadence.suggestions import suggest_rule
from tidings.model.dates import read_date
from tidings.model.plurals import count_noun

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_BETWEEN = re.compile(r" ?, ?| and ")


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `10m`, `6h`, `1h30m` or `400d`."""
    parts = re.findall(r"([0-9]{1,9})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise CadenceError(f"{text!r} is not a length of time; write it like 10m, 6h, 1h30m or 2d")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds > 100 * 366 * 86400:
        raise CadenceError(f"{text!r} is longer than a century")
    return timedelta(seconds=seconds)


def parse_time(text: str) -> time:
    """Read `09:00` or `9:00`."""
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text.strip())
    if not match or int(match[1]) > 23 or int(match[2]) > 59:
        raise CadenceError(f"{text!r} is not a time of day; write it like 09:00 or 17:30")
    return time(int(match[1]), int(match[2]))


def parse_window(text: str) -> Window:
    """Read `08:00-20:00`. `20:00-06:00` crosses midnight; `24:00` is a valid end."""
    match = re.fullmatch(r"\s*([0-9]{1,2}:[0-9]{2})\s*[-–]\s*([0-9]{1,2}:[0-9]{2})\s*", text)
    if not match:
        raise CadenceError(f"{text!r} is not a window; write it like 08:00-20:00")
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
        raise CadenceError(f"{text!r} is not a date; {_suggest_date(text) or 'write it like 2026-12-16'}")
    return typed.day


_FORMATS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%d %B %Y", "%d %b %Y",
            "%B %d %Y", "%b %d %Y", "%Y%m%d")  # fmt: skip
"""Date formats of several countries."""


def _suggest_date(text: str) -> str:
    """Return `write 2026-12-16` for a date in another format, or ''. 04/12/2026 may be either of two days."""
    days: list[date] = []
    bare = " ".join(text.replace(",", " ").split())
    for form in _FORMATS:
        with contextlib.suppress(ValueError):
            days.append(datetime.strptime(bare, form).replace(tzinfo=UTC).date())
    return f"write {' or '.join(str(day) for day in dict.fromkeys(days))}" if days else ""


def parse_skip_date(text: str) -> DateRange:
    """Read `2026-12-16`, or `2026-12-24..2027-01-08` with both days included."""
    ends = re.split(r" (?:to|till|until|[-–—]) |\.{3}|[–—…]", " ".join(text.split()))
    if len(ends) == 2:
        raise CadenceError(f"{text!r} is not a range of dates; write two dots: {ends[0].strip()}..{ends[1].strip()}")
    first, dots, last = text.partition("..")
    span = DateRange(_date(first), _date(last if dots else first))
    if span.last < span.first:
        raise CadenceError(f"{text!r} ends before it begins")
    return span


def parse_move(slot: str, to: str) -> Move:
    """Read one entry of `moved:`: a slot by its day, or by day and time, and its new moment or `skip`."""
    try:
        day, clock = _date(slot), None
    except CadenceError:
        moment = parse_at(slot).moment
        day, clock = moment.date(), moment.time()
    return Move(day, clock, None if to.strip() == "skip" else parse_at(to).moment)


def parse_season(begin: str | None, end: str | None) -> Season:
    """Read `from:` and `until:`, each a date like 2026-12-04 or a day of every year like 03-01."""
    first, begins = _day_or_date(begin)
    last, ends = _day_or_date(end)
    if first and last and last < first:
        raise CadenceError(f"until: {end} is before from: {begin}; swap them")
    return Season(first, last, begins, ends)


def _day_or_date(text: str | None) -> tuple[date | None, tuple[int, int] | None]:
    if text is None:
        return None, None
    if match := re.fullmatch(r"([0-9]{2})-([0-9]{2})", text.strip()):
        month, day = int(match[1]), int(match[2])
        # 2024 is a leap year: 02-29 exists in some years.
        if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(2024, month)[1]:
            raise CadenceError(f"{text!r} is not a day of the year; write month and day, like 03-01")
        return None, (month, day)
    try:
        return _date(text), None
    except CadenceError:
        mend = _suggest_date(text) or "write it like 2026-12-04, or 03-01 for every year"
        raise CadenceError(f"{text!r} is not a date; {mend}") from None


def parse_rule(key: str, written: str | Sequence[str]) -> Rule:
    """Read the rule of a `cadence:` key: daily, weekly, monthly, cron, every, at or on.

    A list holds times for `daily`, and for `weekly` and `monthly` rules that share their times.
    """
    readers: dict[str, Callable[[str], Rule]] = {
        "daily": _daily,
        "weekly": _weekly,
        "monthly": _monthly,
        "cron": _cron,
        "every": _every,
        "at": parse_at,
        "on": _on,
    }
    if key not in readers:
        raise CadenceError(f"{key!r} is not a rule of cadence; the rules are {', '.join(readers)}")
    texts = [written] if isinstance(written, str) else list(written)
    try:
        if key not in ("weekly", "monthly") or not any(_days_and_clocks(text)[1] for text in texts):
            return readers[key](", ".join(texts))
        rules = [readers[key](text) for text in texts]
        return rules[0] if len(rules) == 1 else _joined(key, rules)
    except CadenceError as error:
        meant = suggest_rule(key, texts[0]) if key in ("daily", "weekly", "monthly") and len(texts) == 1 else None
        if meant is None:
            raise
        try:
            readers[meant[0]](meant[1])
        except CadenceError:
            raise error from None
        raise CadenceError(f"{str(error).rpartition('; ')[0] or error}; write `{meant[0]}: {meant[1]}`") from None


def _joined(key: str, rules: Sequence[Rule]) -> Rule:
    """Join rules that differ only in their days. Two times for different days are two schedules."""
    weekly = [rule for rule in rules if isinstance(rule, Weekly)]
    monthly = [rule for rule in rules if isinstance(rule, Monthly)]
    if len(weekly) == len(rules) and len({rule.at for rule in weekly}) == 1:
        return replace(weekly[0], days=tuple(sorted({day for rule in weekly for day in rule.days})))
    if len(monthly) == len(rules) and len({rule.at for rule in monthly}) == 1:
        return replace(monthly[0], days=tuple(day for rule in monthly for day in rule.days))
    days = "[mon, thu]" if key == "weekly" else "[first fri, third fri]"
    raise CadenceError(f"these days have different times; write one time, `{days} 09:00`, or two schedules")


def parse_every_other(rule: Rule, text: str) -> Weekly:
    """Return a weekly rule that holds in every other week from a date on."""
    if not isinstance(rule, Weekly):
        raise CadenceError("`every_other` works only with `weekly` and days by name; take it out")
    return replace(rule, every_other=_date(text))


def parse_weekend(texts: Sequence[str]) -> tuple[int, ...]:
    """Read `[sat, sun]`, or an empty list where every weekday is a working day."""
    return _weekdays(", ".join(texts)) if texts else ()


def _number(text: str) -> int | None:
    """Read up to nine digits. `str.isdigit` would accept `²`, and thousands of digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _weekday(text: str) -> int:
    name = text.strip().lower()
    if name.isdigit():
        raise CadenceError(f"weekdays are written by name, not {text!r} (programs number days differently): mon to sun")
    if name in WEEKDAYS or name in _LONG_WEEKDAYS:
        return WEEKDAYS.index(name[:3])
    if name in ("workdays", "weekdays", "weekday", "working days"):
        raise CadenceError(f"{text!r} is not a weekday; write mon-fri")
    days = [word[:3] for word in re.findall(r"\w+", name) if word.removesuffix("s") in (*WEEKDAYS, *_LONG_WEEKDAYS)]
    if days:
        mend = f"[{', '.join(days)}]" if days[1:] else f"only {days[0]}"
        raise CadenceError(f"{text!r} is not a weekday; write {mend}")
    raise CadenceError(f"{text!r} is not a weekday; write mon, tue, wed, thu, fri, sat or sun")


def _weekdays(text: str) -> tuple[int, ...]:
    """Read `mon`, `mon, thu` or `mon-fri`."""
    numbers: set[int] = set()
    for part in _BETWEEN.split(re.sub(" ?[-–] ?| to ", "-", text)):
        first, dash, last = part.partition("-")
        begin, end = _weekday(first), _weekday(last if dash else first)
        numbers.update((begin + offset) % 7 for offset in range((end - begin) % 7 + 1))
    return tuple(sorted(numbers))


def _days_and_clocks(text: str) -> tuple[str, tuple[time, ...]]:
    """Split `[mon, thu] 09:00` into the days without brackets and the times. Either may be empty."""
    bare = " ".join(re.sub("[\\[\\]\"']", " ", text).split())
    clocks, end = set(), len(bare)
    for word in reversed([*re.finditer("[^ ,]+", bare)]):
        if ":" in word[0]:
            clocks.add(parse_time(word[0]))
        elif word[0] != "and" or not clocks:
            break
        end = word.start()
    return bare[:end].strip(" ,"), tuple(sorted(clocks))


def _daily(text: str) -> Daily:
    days, clocks = _days_and_clocks(text)
    if days or not clocks:
        parse_time(days.split(",")[0])
        raise CadenceError(f"{text!r} is not a time of day; write it like 09:00, or [09:00, 18:00]")
    return Daily(clocks)


def _weekly(text: str) -> Weekly | WeeklyWorkingDay:
    days, clocks = _days_and_clocks(text)
    if not days or not clocks:
        raise CadenceError(f"{text!r} lacks a weekday or a time; write it like fri 09:00 or [mon, thu] 09:00")
    if match := re.fullmatch("(first|last) working day", days.lower()):
        return WeeklyWorkingDay(match[1] == "last", clocks)
    return Weekly(_weekdays(days), clocks)


def _monthly(text: str) -> Monthly:
    days, clocks = _days_and_clocks(text)
    if not days or not clocks:
        raise CadenceError(f"{text!r} lacks a day or a time; write it like `first mon 09:00` or `[1, 15] 09:00`")
    return Monthly(tuple(_day_of_month(part, text) for part in _BETWEEN.split(days)), clocks)


def _day_of_month(part: str, text: str) -> DayOfMonth | NthWeekday | NthWorkingDay:
    words = part.lower().split()
    if words in (["last"], ["last", "day"]):
        return DayOfMonth(-1)
    if len(words) == 1 and (day := _number(words[0])) is not None:
        if not 1 <= day <= 31:
            raise CadenceError(f"there is no day {day} in any month; write 1 to 31, or `last 09:00` for the last day")
        return DayOfMonth(day)
    if len(words) > 1 and words[0] in _NTH:
        if words[1:] == ["working", "day"]:
            return NthWorkingDay(_NTH[words[0]])
        if len(words) == 2:
            return NthWeekday(_NTH[words[0]], _weekday(words[1]))
    mend = "write it like `first mon 09:00`, `[1, 15] 09:00`, `last 09:00` or `last working day 09:00`"
    raise CadenceError(f"{text!r} is not a monthly rule; {mend}")


def _every(text: str) -> Every:
    if text.strip().isdigit():
        other = "for every other week: `weekly: fri 09:00` with `every_other: {from: 2026-12-04}`"
        raise CadenceError(f"{text!r} has no unit; write it like 15m or 2d; {other}")
    step = parse_duration(text)
    seconds = int(step.total_seconds())
    if seconds == 0 or seconds % 60:
        raise CadenceError(f"every: {text} is not a whole number of minutes")
    if seconds < 86400 and 86400 % seconds:
        raise CadenceError(f"every: {text} does not divide the day; 5m, 10m, 15m, 30m, 1h, 2h, 3h, 4h, 6h and 12h do")
    if seconds > 86400 and seconds % 86400:
        raise CadenceError(f"every: {text} is longer than a day, but is not a whole number of days; write it like 2d")
    return Every(step)


def parse_at(text: str) -> At:
    """Read `2026-12-01T09:00`."""
    try:
        typed = read_date(text)
    except ValueError:
        day, _, clock = text.strip().rpartition(" ")
        meant = _suggest_date(day) if re.fullmatch("[0-9]{2}:[0-9]{2}", clock) else ""
        mend = meant if " or " in meant else f"{meant}T{clock}" if meant else "write it like 2026-12-01T09:00"
        raise CadenceError(f"{text!r} is not a date and time; {mend}") from None
    if typed.offset is not None:
        raise CadenceError(f"write {text!r} without an offset; `timezone:` says which clock is meant")
    if typed.clock is None:
        raise CadenceError(f"{text!r} lacks a time; write it like 2026-12-01T09:00")
    if typed.clock.second or typed.clock.microsecond:
        raise CadenceError(f"{text!r} is not a whole minute; write it like 2026-12-01T09:00")
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
            f"cron: {text!r} has {count_noun(len(fields), 'field')}, not five: "
            "minute hour day month weekday, like `0 9 * * fri`"
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
