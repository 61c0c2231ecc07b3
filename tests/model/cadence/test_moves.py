"""Working days, holidays, seasons and every other week, compared with minute-by-minute walks and with examples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.cadence.oracle import fires, last_day
from tests.model.cadence.test_oracle import EXAMPLES, spans
from tidings.model.cadence import (
    Cadence,
    CadenceError,
    OnHoliday,
    Slot,
    describe_cadence,
    find_due_slots,
    find_slot_for_new,
    list_slots,
    load_zone,
    next_slots,
    parse_every_other,
    parse_move,
    parse_rule,
    parse_season,
    parse_skip_date,
    parse_weekend,
    parse_window,
)
from tidings.model.cadence.rules import WEEKDAYS

DAY = timedelta(days=1)
Named = Callable[[date], bool]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@st.composite
def calendars(draw: st.DrawFn) -> tuple[str, datetime, Cadence, Named, Callable[[date], date | None]]:
    """A cadence, the days that its rule names, and the day to which a slot moves: written a second time, by hand."""
    zone, start = draw(spans())
    first = start.astimezone(load_zone(zone)).date() - 3 * DAY
    free = frozenset(first + number * DAY for number in draw(st.sets(st.integers(0, 12), max_size=6)))
    weekend = frozenset(draw(st.sampled_from([(5, 6), (4, 5), (6,), ()])))
    mode = draw(st.sampled_from(list(OnHoliday)))
    clocks = draw(st.sets(st.sampled_from(["00:00", "00:30", "02:15", "09:00", "23:45"]), min_size=1, max_size=2))
    written = "[" + ", ".join(sorted(clocks)) + "]"
    days = draw(st.sets(st.integers(0, 6), min_size=1, max_size=4))

    def is_working(day: date) -> bool:
        return day not in free and day.weekday() not in weekend

    def working(day: date) -> list[date]:
        month = [day.replace(day=number) for number in range(1, last_day(day) + 1)]
        return [other for other in month if is_working(other)]

    kind = draw(st.sampled_from(["daily", "weekly", "other", "monthly", "first", "last", "week"]))
    rule, named = parse_rule("daily", written), lambda day: True
    if kind in ("weekly", "other"):
        rule = parse_rule("weekly", f"[{', '.join(WEEKDAYS[number] for number in days)}] {written}")
        named = lambda day: day.weekday() in days  # noqa: E731
    if kind == "other":
        begin = first + draw(st.integers(-30, 6)) * DAY
        rule = parse_every_other(rule, str(begin))
        named = _every_other(begin, days)
    if kind == "monthly":
        dates = {number * 4 + 1 for number in days}
        rule = parse_rule("monthly", f"[{', '.join(map(str, dates))}] {written}")
        named = lambda day: day.day in dates  # noqa: E731
    if kind == "first":
        rule = parse_rule("monthly", f"first working day {written}")
        named = lambda day: working(day)[:1] == [day]  # noqa: E731
    if kind == "last":
        rule = parse_rule("monthly", f"last working day {written}")
        named = lambda day: working(day)[-1:] == [day]  # noqa: E731
    if kind == "week":
        rule = parse_rule("weekly", f"last working day {written}")
        named = lambda day: is_working(day) and not any(map(is_working, _rest_of_week(day)))  # noqa: E731
    begins, ends = (draw(st.integers(1, 12)), 1), (draw(st.integers(1, 12)), 28)
    in_season: Named = lambda day: True  # noqa: E731
    season = parse_season(None, None)
    if draw(st.booleans()):
        season = parse_season(f"{begins[0]:02}-01", f"{ends[0]:02}-28")
        in_season = lambda day: (  # noqa: E731
            ((day.month, day.day) >= begins) + ((day.month, day.day) <= ends) + (begins > ends) >= 2
        )

    def counts(day: date) -> bool:
        return in_season(day) and named(day)

    def goes_to(day: date) -> date | None:
        if day not in free:
            return day
        if mode is OnHoliday.SKIP:
            return None
        step = DAY if mode is OnHoliday.AFTER else -DAY
        while day in free or (day.weekday() in weekend and not counts(day)):
            day += step
        return day

    skip = tuple(parse_skip_date(str(day)) for day in free)
    cadence = Cadence(rule, zone, skip_dates=skip, on_holiday=mode, weekend=tuple(sorted(weekend)), season=season)
    return zone, start, cadence, counts, goes_to


def _rest_of_week(day: date) -> list[date]:
    return [day + number * DAY for number in range(1, 7 - day.weekday())]


def _every_other(begin: date, days: set[int]) -> Named:
    first = next(day for day in (begin + number * DAY for number in range(7)) if day.weekday() in days)

    def named(day: date) -> bool:
        weeks = (day - timedelta(days=day.weekday()) - (first - timedelta(days=first.weekday()))).days // 7
        return day >= begin and day.weekday() in days and weeks % 2 == 0

    return named


def _walk(zone: str, day: date, clock: str) -> datetime:
    """Return the minute of a local day and time, by the oracle's walk."""
    names = lambda wall: wall.date() == day and f"{wall:%H:%M}" == clock  # noqa: E731
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - DAY
    return fires(load_zone(zone), names, begin, begin + 4 * DAY)[0]


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(calendars())
@pytest.mark.slow
def test_moved_slots_match_the_walk_and_none_is_lost(
    case: tuple[str, datetime, Cadence, Named, Callable[[date], date | None]],
) -> None:
    zone, start, cadence, counts, goes_to = case
    first = start.astimezone(load_zone(zone)).date()
    end = start + 2 * DAY
    slots = list(list_slots(cadence, start - timedelta(seconds=1), end))
    clocks = sorted(f"{clock:%H:%M}" for clock in cadence.rule.at)  # type: ignore[union-attr]
    keys = {}
    for day in (first + number * DAY for number in range(-2, 5)):
        for clock in clocks if counts(day) else ():
            key = _walk(zone, day, clock)
            if start <= key <= end:
                keys[key] = clock
    assert [slot.key for slot in slots] == sorted(keys)
    for slot in slots:
        shown = slot.key.astimezone(load_zone(zone))
        target = goes_to(shown.date())
        assert (slot.skip_reason is None) == (target is not None)
        if target == shown.date():
            assert (slot.at, slot.move_reason) == (slot.key, None)
        elif target is not None:
            assert slot.at == _walk(zone, target, f"{shown:%H:%M}")
            assert slot.move_reason and "skip_dates" in slot.move_reason


def _settle(cadence: Cadence, start: datetime, moments: list[datetime]) -> list[Slot]:
    """Return the slots that fire when the service looks at each of these times."""
    fired: list[Slot] = []
    settled = start
    for now in moments:
        due = find_due_slots(cadence, settled, now)
        if due is None:
            continue
        settled = max([settled, *(slot.key for slot in (*due.merged, *due.skipped, *([due.slot] if due.slot else [])))])
        if due.slot is not None:
            fired.append(due.slot)
    return fired


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(calendars())
@pytest.mark.slow
def test_each_moved_moment_fires_once_as_planned(
    case: tuple[str, datetime, Cadence, Named, Callable[[date], date | None]],
) -> None:
    _, start, cadence, _, _ = case
    wide = list(list_slots(cadence, start - 20 * DAY, start + 40 * DAY))
    going = sorted((slot for slot in wide if not slot.skip_reason), key=lambda slot: (slot.at, slot.key))
    latest = [list(group)[-1] for _, group in groupby(going, key=lambda slot: slot.at)]
    expected = [slot for slot in latest if start < slot.at <= start + 14 * DAY]
    planned = [slot for slot in next_slots(cadence, start, 200) if slot.at <= start + 14 * DAY]
    assert [slot for slot in planned if not slot.skip_reason] == expected
    fired = _settle(cadence, start - 20 * DAY, [slot.at for slot in latest if slot.at > start - 15 * DAY])
    assert [slot.at for slot in fired if start < slot.at <= start + 14 * DAY] == [slot.at for slot in expected]


HOLIDAYS = {
    date(2026, 12, 16): "Independence Day",
    date(2026, 12, 17): "Independence Day",
    date(2027, 1, 1): "New Year",
}


def _plan(key: str, text: str | list[str], after: str, count: int = 3, **more: object) -> list[str]:
    cadence = Cadence(parse_rule(key, text), "UTC", holidays=HOLIDAYS.get, **more)  # type: ignore[arg-type]
    return [f"{slot.at:%a %d %b %H:%M}" for slot in next_slots(cadence, moment(after), count)]


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("daily", ["07:30", "18:00"], ["Tue 01 Dec 07:30", "Tue 01 Dec 18:00", "Wed 02 Dec 07:30"]),
        ("daily", "07:30, 18:00", ["Tue 01 Dec 07:30", "Tue 01 Dec 18:00", "Wed 02 Dec 07:30"]),
        ("weekly", "[mon, thu] 09:00", ["Thu 03 Dec 09:00", "Mon 07 Dec 09:00", "Thu 10 Dec 09:00"]),
        ("weekly", ["mon 09:00", "thu 09:00"], ["Thu 03 Dec 09:00", "Mon 07 Dec 09:00", "Thu 10 Dec 09:00"]),
        ("weekly", "thu-fri 09:00", ["Thu 03 Dec 09:00", "Fri 04 Dec 09:00", "Thu 10 Dec 09:00"]),
        ("weekly", "sat-sun 09:00, 17:00", ["Sat 05 Dec 09:00", "Sat 05 Dec 17:00", "Sun 06 Dec 09:00"]),
        ("weekly", "Monday to Tuesday 9:00", ["Tue 01 Dec 09:00", "Mon 07 Dec 09:00", "Tue 08 Dec 09:00"]),
        ("weekly", "first working day 09:00", ["Mon 07 Dec 09:00", "Mon 14 Dec 09:00", "Mon 21 Dec 09:00"]),
        ("monthly", "[first fri, third fri] 09:00", ["Fri 04 Dec 09:00", "Fri 18 Dec 09:00", "Fri 01 Jan 09:00"]),
        ("monthly", "[1, 15] 09:00", ["Tue 01 Dec 09:00", "Tue 15 Dec 09:00", "Fri 01 Jan 09:00"]),
        ("monthly", "last 09:00", ["Thu 31 Dec 09:00", "Sun 31 Jan 09:00", "Sun 28 Feb 09:00"]),
        ("monthly", "last day 09:00", ["Thu 31 Dec 09:00", "Sun 31 Jan 09:00", "Sun 28 Feb 09:00"]),
        ("monthly", "first working day 09:00", ["Tue 01 Dec 09:00", "Mon 04 Jan 09:00", "Mon 01 Feb 09:00"]),
        ("monthly", "last working day 09:00", ["Thu 31 Dec 09:00", "Fri 29 Jan 09:00", "Fri 26 Feb 09:00"]),
        ("monthly", "second working day 09:00", ["Wed 02 Dec 09:00", "Tue 05 Jan 09:00", "Tue 02 Feb 09:00"]),
    ],
)
def test_several_days_and_times_in_one_rule(key: str, text: str | list[str], expected: list[str]) -> None:
    assert _plan(key, text, "2026-12-01T00:00") == expected


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("before", "wed 09:00", ["Wed 09 Dec 09:00", "Tue 15 Dec 09:00", "Wed 23 Dec 09:00"]),
        ("after", "wed 09:00", ["Wed 09 Dec 09:00", "Fri 18 Dec 09:00", "Wed 23 Dec 09:00"]),
        ("after", "[thu, fri] 09:00", ["Thu 10 Dec 09:00", "Fri 11 Dec 09:00", "Fri 18 Dec 09:00"]),
        ("before", "sat 09:00", ["Sat 12 Dec 09:00", "Sat 19 Dec 09:00", "Sat 26 Dec 09:00"]),
    ],
)
def test_a_holiday_moves_a_slot_to_a_working_day(mode: str, text: str, expected: list[str]) -> None:
    assert _plan("weekly", text, "2026-12-09T00:00", on_holiday=OnHoliday(mode)) == expected


def test_a_moved_slot_says_why() -> None:
    cadence = Cadence(
        parse_rule("weekly", "fri 07:00"),
        "UTC",
        window=parse_window("08:00-20:00"),
        holidays=HOLIDAYS.get,
        on_holiday=OnHoliday.AFTER,
    )
    (slot,) = list_slots(cadence, moment("2026-12-31T00:00"), moment("2027-01-02T00:00"))
    assert slot.move_reason == ("outside 08:00-20:00 and 2027-01-01 is a holiday: New Year, moved to 2027-01-04 08:00")


def test_a_slot_with_no_working_day_near_is_skipped() -> None:
    free = (parse_skip_date("2026-12-01..2027-12-31"),)
    cadence = Cadence(parse_rule("at", "2026-12-16T09:00"), "UTC", skip_dates=free, on_holiday=OnHoliday.AFTER)
    (slot,) = next_slots(cadence, moment("2026-12-01T00:00"), 3)
    assert slot.skip_reason == "2026-12-16 is in skip_dates, and no working day is within 62 days"


def test_a_slot_moves_past_the_weekend_but_not_off_it() -> None:
    arab = {"on_holiday": OnHoliday.AFTER, "weekend": parse_weekend(["fri", "sat"])}
    assert _plan("weekly", "thu 09:00", "2026-12-16T00:00", 1, **arab) == ["Sun 20 Dec 09:00"]
    assert _plan("monthly", "18 09:00", "2026-12-16T00:00", 1, **arab) == ["Fri 18 Dec 09:00"]


def test_a_slot_moved_to_before_the_first_start_does_not_fire() -> None:
    cadence = Cadence(parse_rule("weekly", "wed 09:00"), "UTC", holidays=HOLIDAYS.get, on_holiday=OnHoliday.BEFORE)
    seen = moment("2026-12-15T12:00")
    assert find_due_slots(cadence, seen, seen + timedelta(hours=1), since=seen) is None
    due = find_due_slots(cadence, moment("2026-12-14T12:00"), seen, since=moment("2026-12-14T12:00"))
    assert due is not None and due.slot is not None and due.slot.at == moment("2026-12-15T09:00")


@pytest.mark.parametrize(
    ("begin", "days", "expected"),
    [
        ("2026-12-04", "fri", ["Fri 04 Dec", "Fri 18 Dec", "Fri 01 Jan"]),
        ("2026-12-05", "fri", ["Fri 11 Dec", "Fri 25 Dec", "Fri 08 Jan"]),
        ("2026-12-03", "mon,thu", ["Thu 03 Dec", "Mon 14 Dec", "Thu 17 Dec"]),
        ("2020-01-03", "fri", ["Fri 11 Dec", "Fri 25 Dec", "Fri 08 Jan"]),
    ],
)
def test_every_other_week_counts_from_its_date(begin: str, days: str, expected: list[str]) -> None:
    cadence = Cadence(parse_every_other(parse_rule("weekly", f"{days} 09:00"), begin), "UTC")
    slots = next_slots(cadence, moment("2026-12-01T00:00"), 3)
    assert [f"{slot.at:%a %d %b}" for slot in slots] == expected
    with pytest.raises(CadenceError, match="only with `weekly`"):
        parse_every_other(parse_rule("daily", "09:00"), begin)


@pytest.mark.parametrize(
    ("begin", "end", "inside", "outside"),
    [
        ("03-01", "10-31", ["2026-03-01", "2030-10-31"], ["2026-02-28", "2026-11-01"]),
        ("11-01", "03-31", ["2026-11-01", "2027-01-01", "2027-03-31"], ["2026-04-01", "2026-10-31"]),
        ("2026-12-04", None, ["2026-12-04", "2036-01-01"], ["2026-12-03"]),
        (None, "2026-12-04", ["2026-12-04"], ["2026-12-05"]),
        ("2026-12-04", "06-30", ["2027-06-30"], ["2026-06-30", "2027-07-01"]),
        ("02-29", None, ["2028-02-29", "2027-03-01"], ["2027-02-28"]),
    ],
)
def test_a_season_by_date_or_every_year(
    begin: str | None, end: str | None, inside: list[str], outside: list[str]
) -> None:
    season = parse_season(begin, end)
    assert [day for day in [*inside, *outside] if date.fromisoformat(day) in season] == inside


def test_a_season_that_is_over_has_no_slots() -> None:
    over = Cadence(parse_rule("daily", "09:00"), "UTC", season=parse_season("2026-01-01", "2026-06-30"))
    assert next_slots(over, moment("2026-12-01T00:00"), 3) == []
    new = Cadence(parse_rule("on", "new"), "UTC", season=parse_season("03-01", "10-31"))
    slot = find_slot_for_new(new, moment("2026-12-01T00:00"))
    assert slot.at == moment("2027-03-01T00:00")
    assert slot.move_reason is not None and "not in the season from 03-01 until 10-31 every year" in slot.move_reason


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [("2026-12-04", "2026-12-03", "swap"), ("13-01", None, "03-01"), ("1 March", None, "for every year")],
)
def test_an_impossible_season_is_refused(begin: str, end: str | None, words: str) -> None:
    with pytest.raises(CadenceError, match=words):
        parse_season(begin, end)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("weekly", ["mon 09:00", "thu 17:00"], "two schedules"),
        ("weekly", ["mon", "thu"], "lacks a weekday or a time"),
        ("monthly", ["1", "15"], "lacks a day or a time"),
        ("monthly", "working day 09:00", "last working day 09:00"),
        ("daily", ["07:30", "25:00"], "time of day"),
        ("weekly", "mon-friday-sun 09:00", "not a weekday"),
    ],
)
def test_an_impossible_list_of_days_is_explained(key: str, text: str | list[str], words: str) -> None:
    with pytest.raises(CadenceError, match=words):
        parse_rule(key, text)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("daily", "7:30,18:00", "every day at 07:30 and 18:00"),
        ("monthly", "[first fri, third fri] 09:00", "every month on the first Friday and the third Friday at 09:00"),
        ("monthly", "[1, 15] 09:00", "every month on day 1 and day 15 at 09:00"),
        ("monthly", "last working day 09:00", "every month on the last working day at 09:00"),
        ("weekly", "first working day 09:00", "every week on the first working day at 09:00"),
    ],
)
def test_new_rules_are_described_in_words(key: str, text: str, words: str) -> None:
    assert describe_cadence(Cadence(parse_rule(key, text), "UTC")) == f"{words} (UTC)"


def test_settings_of_a_cadence_are_described_in_words() -> None:
    cadence = Cadence(
        parse_every_other(parse_rule("weekly", "fri 09:00"), "2026-12-04"),
        "UTC",
        on_holiday=OnHoliday.BEFORE,
        season=parse_season("09-01", "06-30"),
    )
    assert describe_cadence(cadence) == (
        "every other Friday at 09:00, from 2026-12-04, from 09-01 until 06-30 every year, "
        "the working day before a holiday (UTC)"
    )


@pytest.mark.parametrize(
    ("rule", "moved", "now", "due"),
    [
        ("fri 09:00", {"2026-12-04": "2026-12-03T15:00"}, "2026-12-03T14:59", ["03T15:00", "11T09:00"]),
        ("fri 09:00", {"2026-12-04T09:00": "2026-12-09T21:30"}, "2026-12-05T00:00", ["09T21:30", "11T09:00"]),
        # It stays between its neighbours, so that no other edition is lost. A day without a slot moves nothing.
        ("fri 09:00", {"2026-12-04": "2026-12-11T09:00"}, "2026-12-03T00:00", ["04T09:00", "11T09:00"]),
        ("fri 09:00", {"2026-12-03": "2026-12-02T09:00"}, "2026-12-01T00:00", ["04T09:00", "11T09:00"]),
        ("mon-fri 09:00", {"2026-12-04": "2026-12-02T15:00"}, "2026-12-02T12:00", ["03T09:00", "04T09:00"]),
        ("fri 09:00", {"2026-12-04": "skip"}, "2026-11-27T09:00", ["11T09:00", "18T09:00"]),
        ("fri 09:00, 18:00", {"2026-12-04T18:00": "skip"}, "2026-12-04T08:00", ["04T09:00", "11T09:00"]),
        # Two moves that would change the order.
        (
            "thu,fri 09:00",
            {"2026-12-03": "2026-12-03T18:00", "2026-12-04": "2026-12-03T17:00"},
            "2026-12-02T12:00",
            ["03T09:00", "04T09:00"],
        ),
    ],
)
def test_a_person_moves_one_slot(rule: str, moved: dict[str, str], now: str, due: list[str]) -> None:
    moves = tuple(parse_move(slot, to) for slot, to in moved.items())
    cadence = Cadence(parse_rule("weekly", rule), "UTC", moved=moves)
    first, second = (moment(f"2026-12-{text}") for text in due)
    slots = [slot for slot in next_slots(cadence, moment(now), 3) if not slot.skip_reason]
    assert [slot.at for slot in slots[:2]] == [first, second]
    before = next(slot for slot in next_slots(cadence, moment("2026-11-26T00:00"), 9) if slot.at == first)
    earlier = max(
        slot.key for slot in list_slots(cadence, moment("2026-11-01T00:00"), before.key) if slot.key < before.key
    )
    assert find_due_slots(cadence, earlier, first - timedelta(minutes=1)) is None
    for after, at in ((earlier, first), (before.key, second)):
        slots = find_due_slots(cadence, after, at)
        assert slots is not None and slots.slot is not None and slots.slot.at == at and not slots.merged
