"""Windows, skipped days and merging, compared with minute-by-minute walks of the local clock, in all zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model.cadence.oracle import walls
from tests.model.cadence.test_oracle import EXAMPLES, Case, rules, spans
from tidings.model.cadence import (
    Cadence,
    OnNew,
    Slot,
    find_due_slots,
    find_slot_for_new,
    find_window_end,
    is_in_window,
    list_slots,
    load_zone,
    next_slots,
    parse_rule,
    parse_skip_date,
    parse_window,
)

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, set[str]]:
    """Return (text, function that names the local times inside). Half of the edges are in hours of clock changes."""
    edge = st.one_of(st.integers(0, 14).map(lambda n: n * 15), st.integers(0, 95).map(lambda n: n * 15))
    start = draw(edge)
    end = draw(st.one_of(edge, st.just(1440)).filter(lambda end: end != start))
    inside, minute = set(), start
    while minute % 1440 != end % 1440 or not inside:
        inside.add(_clock(minute % 1440))
        minute += 1
    return f"{_clock(start)}-{_clock(end)}", inside


def _first_inside(zone: ZoneInfo, moment: datetime, inside: set[str]) -> datetime:
    return next(utc for utc, wall in walls(zone, moment, moment + timedelta(days=4)) if f"{wall:%H:%M}" in inside)


@settings(max_examples=EXAMPLES // 2)
@given(spans(), rules(), windows(), st.sets(st.integers(0, 4), max_size=3))
@pytest.mark.slow
def test_a_slot_moves_into_the_window_before_its_day_is_checked(
    span: tuple[str, datetime], rule: Case, window: tuple[str, set[str]], left_out: set[int]
) -> None:
    name, start = span
    text, inside = window
    zone = load_zone(name)
    days = {start.date() + timedelta(days=number) for number in left_out}
    cadence = Cadence(
        parse_rule(*rule[:2]),
        name,
        window=parse_window(text),
        skip_dates=tuple(parse_skip_date(str(day)) for day in days),
    )
    slots = list(list_slots(cadence, start, start + timedelta(days=2)))
    # Only the first and last dozen: with a slot each minute, the oracle would walk for minutes.
    for slot in slots[:12] + slots[-12:]:
        assert slot.at == _first_inside(zone, slot.key, inside)
        assert (slot.move_reason is not None) == (slot.at != slot.key)
        assert (slot.skip_reason is not None) == (slot.at.astimezone(zone).date() in days)
    assert [slot.at for slot in slots] == sorted(slot.at for slot in slots)


@settings(max_examples=EXAMPLES // 4)
@given(spans(), windows())
@example(("Europe/London", datetime(2026, 10, 25, 0, 5, tzinfo=UTC)), ("00:00-24:00", set(map(_clock, range(1440)))))
@pytest.mark.slow
def test_a_window_closes_when_the_wall_clock_leaves_it(
    span: tuple[str, datetime], window: tuple[str, set[str]]
) -> None:
    name, start = span
    text, inside = window
    cadence = Cadence(parse_rule("on", "request"), name, window=parse_window(text))
    shown = [(utc, f"{wall:%H:%M}" in inside) for utc, wall in walls(load_zone(name), start, start + timedelta(days=3))]
    assert is_in_window(cadence, start) == shown[0][1]
    expected = next((utc for utc, opened in shown if not opened), None) if shown[0][1] else None
    assert find_window_end(cadence, start) == expected


@settings(max_examples=EXAMPLES // 2)
@given(spans(), rules(), st.none() | windows(), st.sets(st.integers(0, 6), max_size=5), st.integers(0, 200))
def test_the_latest_slot_that_is_not_skipped_is_due(
    span: tuple[str, datetime], rule: Case, window: tuple[str, set[str]] | None, left_out: set[int], hours: int
) -> None:
    name, after = span
    now = after + timedelta(hours=hours)
    cadence = Cadence(
        parse_rule(*rule[:2]),
        name,
        window=parse_window(window[0]) if window else None,
        skip_dates=tuple(parse_skip_date(str(after.date() + timedelta(days=n))) for n in left_out),
    )
    reached = [slot for slot in list_slots(cadence, after, now) if slot.at <= now]
    going = [slot for slot in reached if not slot.skip_reason]
    due = find_due_slots(cadence, after, now)
    if not reached:
        assert due is None
        return
    assert due is not None
    assert due.slot == (going[-1] if going else None)
    skipped, merged = [slot for slot in reached if slot.skip_reason], going[:-1]
    if len(reached) <= 100:
        assert (list(due.skipped), list(due.merged)) == (skipped, merged)
    else:
        assert len(due.skipped) <= 100 and len(due.merged) <= 100
        assert list(due.skipped) == skipped[len(skipped) - len(due.skipped) :]
        assert list(due.merged) == merged[len(merged) - len(due.merged) :]
        # A caller that stores its progress stores the newest key.
        assert max(slot.key for slot in (*going[-1:], *due.skipped)) == reached[-1].key


@settings(max_examples=EXAMPLES // 2)
@given(spans(), rules(), st.none() | windows(), st.integers(1, 4))
def test_the_next_slots_will_be_due_once_each(
    span: tuple[str, datetime], rule: Case, window: tuple[str, set[str]] | None, count: int
) -> None:
    name, now = span
    cadence = Cadence(parse_rule(*rule[:2]), name, window=parse_window(window[0]) if window else None)
    slots = next_slots(cadence, now, count)
    by_moment: dict[datetime, Slot] = {}
    until = max([now, *(slot.at for slot in slots)])
    for slot in list_slots(cadence, now - timedelta(days=3), until):
        if slot.at > now:
            by_moment[slot.at] = slot
    assert slots == list(by_moment.values())[:count]
    assert len(slots) == count


@settings(max_examples=EXAMPLES // 4)
@given(spans(), st.none() | windows(), st.sets(st.integers(0, 5), max_size=5))
def test_a_new_story_is_sent_at_the_first_allowed_time(
    span: tuple[str, datetime], window: tuple[str, set[str]] | None, left_out: set[int]
) -> None:
    name, first_new = span
    days: set[date] = {first_new.date() + timedelta(days=n) for n in left_out}
    cadence = Cadence(
        OnNew(timedelta(minutes=10)),
        name,
        window=parse_window(window[0]) if window else None,
        skip_dates=tuple(parse_skip_date(str(day)) for day in days),
    )
    slot = find_slot_for_new(cadence, first_new)
    key = first_new + timedelta(minutes=10)
    allowed = next(
        utc
        for utc, wall in walls(load_zone(name), key, key + timedelta(days=10))
        if wall.date() not in days and (window is None or f"{wall:%H:%M}" in window[1])
    )
    assert (slot.key, slot.at, slot.skip_reason) == (key, allowed, None)
    assert (slot.move_reason is not None) == (slot.at != slot.key)
