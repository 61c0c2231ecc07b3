"""Every rule against the minute-by-minute oracle, over all zones, 2000 to 2037."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.cadence.oracle import fires, last_day, transitions
from tidings.model.cadence import Cadence, list_slots, load_zone, parse_rule
from tidings.model.cadence.rules import WEEKDAYS

ZONES = resources.files("tzdata").joinpath("zones").read_text().split()
Case = tuple[str, str, Callable[[datetime], bool]]
EXAMPLES = max(400, settings().max_examples)
"""TIDINGS_HYPOTHESIS=thorough asks for more."""


def _clock(draw: st.DrawFn) -> tuple[int, int]:
    # Half of the cases are in hours in which clocks change.
    hour = draw(st.one_of(st.integers(0, 3), st.integers(0, 23)))
    return hour, draw(st.sampled_from([0, 1, 15, 30, 45, 59]))


@st.composite
def rules(draw: st.DrawFn) -> Case:
    """Return (key, text, function that names local minutes). The oracle's rule is written a second time, by hand."""
    hour, minute = _clock(draw)
    clock = f"{hour:02}:{minute:02}"

    def at(wall: datetime) -> bool:
        return (wall.hour, wall.minute) == (hour, minute)

    kind = draw(st.sampled_from(["daily", "weekly", "day", "last", "nth", "every", "days", "cron", "either"]))
    if kind == "daily":
        return "daily", clock, at
    if kind == "weekly":
        days = draw(st.sets(st.integers(0, 6), min_size=1, max_size=3))
        return "weekly", f"{','.join(WEEKDAYS[d] for d in days)} {clock}", lambda w: at(w) and w.weekday() in days
    if kind == "day":
        day = draw(st.integers(1, 31))
        return "monthly", f"{day} {clock}", lambda w: at(w) and w.day == day
    if kind == "last":
        return "monthly", f"last {clock}", lambda w: at(w) and w.day == last_day(w.date())
    if kind == "nth":
        nth, day = (
            draw(st.sampled_from(["first", "second", "third", "fourth", "fifth", "last"])),
            draw(st.integers(0, 6)),
        )

        def named(wall: datetime) -> bool:
            if not at(wall) or wall.weekday() != day:
                return False
            if nth == "last":
                return wall.day + 7 > last_day(wall.date())
            return ["first", "second", "third", "fourth", "fifth"].index(nth) == (wall.day - 1) // 7

        return "monthly", f"{nth} {WEEKDAYS[day]} {clock}", named
    if kind == "every":
        step = draw(st.sampled_from([1, 5, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 720]))
        return "every", f"{step}m", lambda w: (w.hour * 60 + w.minute) % step == 0
    if kind == "days":
        count = draw(st.integers(1, 9))
        epoch = datetime(1970, 1, 1)
        return "every", f"{count}d", lambda w: w.hour == w.minute == 0 and (w - epoch).days % count == 0
    day, weekday = draw(st.integers(1, 31)), draw(st.integers(0, 6))
    if kind == "either":
        text = f"{minute} {hour} {day} * {WEEKDAYS[weekday]}"
        return "cron", text, lambda w: at(w) and (w.day == day or w.weekday() == weekday)
    step = draw(st.sampled_from([7, 10, 25, 30]))
    return "cron", f"*/{step} {hour} * * *", lambda w: w.hour == hour and w.minute % step == 0


@st.composite
def spans(draw: st.DrawFn) -> tuple[str, datetime]:
    """Return a zone and the start of two days, half of the time near a change of its clock."""
    zone = draw(st.sampled_from(ZONES))
    year = draw(st.integers(2000, 2037))
    changes = transitions(load_zone(zone), year) if draw(st.booleans()) else []
    if changes:
        start = draw(st.sampled_from(changes)) - timedelta(hours=draw(st.integers(0, 40)))
    else:
        start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=draw(st.integers(0, 8_700)))
    return zone, start


@settings(max_examples=EXAMPLES)
@given(spans(), rules())
@pytest.mark.slow
def test_slots_match_the_oracle(span: tuple[str, datetime], rule: Case) -> None:
    zone, start = span
    key, text, names = rule
    end = start + timedelta(days=2)
    expected = fires(load_zone(zone), names, start, end)
    cadence = Cadence(parse_rule(key, text), zone)
    keys = [slot.key for slot in list_slots(cadence, start - timedelta(seconds=1), end - timedelta(seconds=1))]
    # A minute-by-minute oracle cannot check a zone whose clock changes within a minute. These years have none.
    assert keys == expected


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 11, 3, 12, tzinfo=UTC)),
        ("Asia/Beirut", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2026, 4, 23, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 6, tzinfo=UTC)),
        ("Asia/Almaty", datetime(2024, 2, 29, 6, tzinfo=UTC)),
        ("Europe/Helsinki", datetime(2026, 10, 24, 12, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize(
    ("key", "text", "names"),
    [
        ("every", "15m", lambda w: w.minute % 15 == 0),
        ("daily", "00:00", lambda w: (w.hour, w.minute) == (0, 0)),
        ("daily", "02:15", lambda w: (w.hour, w.minute) == (2, 15)),
        ("daily", "23:30", lambda w: (w.hour, w.minute) == (23, 30)),
    ],
)
def test_days_with_unusual_clock_changes(
    zone: str, start: datetime, key: str, text: str, names: Callable[[datetime], bool]
) -> None:
    end = start + timedelta(days=3)
    cadence = Cadence(parse_rule(key, text), zone)
    keys = [slot.key for slot in list_slots(cadence, start - timedelta(seconds=1), end - timedelta(seconds=1))]
    assert keys == fires(load_zone(zone), names, start, end)
