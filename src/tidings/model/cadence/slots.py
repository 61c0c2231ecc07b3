"""From rules to slots: the moments at which a schedule is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tidings.model.cadence.rules import Cadence, CadenceError, OnNew, OnRequest
from tidings.model.cadence.zone import load_zone

_DAY = timedelta(days=1)
_HORIZON = 3_700
"""Days that a search looks ahead: ten years and a bit."""
_LISTED = 100
"""Merged and skipped slots that `due` lists at the most."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One due moment. `key` names it (UTC, before any shift); `at` is when it is due (UTC, after shifts)."""

    key: datetime
    at: datetime
    moved: str | None = None
    """Why `at` is not `key`, in words."""
    skipped: str | None = None
    """Why nothing goes out at all, in words."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due: the latest slot, and the earlier ones that merge into it. Lists hold the newest hundred."""

    slot: Slot | None
    merged: tuple[Slot, ...]
    skipped: tuple[Slot, ...]


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a naive local time: the first of two, or the first valid minute after a gap (PEP 495)."""
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local:
        return instant
    # In a gap fold=1 reads the offset after it and lands before the transition, fold=0 the other way round.
    before, after = local.replace(tzinfo=zone, fold=1).astimezone(UTC), instant
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle in (before, after):
            break
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def _day_keys(cadence: Cadence, zone: ZoneInfo, day: date) -> list[datetime]:
    assert not isinstance(cadence.rule, (OnNew, OnRequest))
    keys = [to_utc(datetime.combine(day, clock), zone) for clock in cadence.rule.times(day)]
    return sorted(set(keys))


def slots(cadence: Cadence, after: datetime, until: datetime) -> Iterator[Slot]:
    """Slots with `after < key <= until`, ascending. `on: new` and `on: request` have none of their own."""
    if isinstance(cadence.rule, (OnNew, OnRequest)):
        return
    zone = load_zone(cadence.zone)
    # Two days to either side: a zone may skip a whole day (Apia, 2011-12-30).
    day = _local_day(after, zone) - 2 * _DAY
    last_day = _local_day(until, zone) + 2 * _DAY
    newest = after
    while day <= last_day:
        for key in _day_keys(cadence, zone, day):
            if newest < key <= until:
                newest = key
                yield _shifted(cadence, zone, key)
        day += _DAY


def next_slots(cadence: Cadence, after: datetime, count: int) -> list[Slot]:
    """The next `count` slots after a moment, skipped ones included; fewer where ten years hold no more."""
    found: list[Slot] = []
    begin = after
    span = timedelta(days=2)
    while len(found) < count and begin < after + _HORIZON * _DAY:
        for slot in slots(cadence, begin, begin + span):
            found.append(slot)
            if len(found) == count:
                break
        begin += span
        span = min(span * 2, timedelta(days=400))
    return found


def due(cadence: Cadence, after: datetime, now: datetime) -> Due | None:
    """What has come due with `key > after` and `at <= now`; None if nothing has.

    Missed slots merge into the latest. Walks backwards from now, so that a year's sleep costs no more than a day's.
    """
    if isinstance(cadence.rule, (OnNew, OnRequest)):
        return None
    zone = load_zone(cadence.zone)
    first_day = _local_day(after, zone) - 2 * _DAY
    day = _local_day(now, zone) + 2 * _DAY
    chosen: Slot | None = None
    merged: list[Slot] = []
    skipped: list[Slot] = []
    seen: set[datetime] = set()
    while day >= first_day and len(merged) + len(skipped) < _LISTED:
        for key in reversed(_day_keys(cadence, zone, day)):
            if not after < key <= now or key in seen:
                continue
            seen.add(key)
            slot = _shifted(cadence, zone, key)
            if slot.at > now:
                continue
            if slot.skipped:
                skipped.append(slot)
            elif chosen is None:
                chosen = slot
            else:
                merged.append(slot)
        day -= _DAY
    if chosen is None and not skipped:
        return None
    return Due(chosen, tuple(reversed(merged[:_LISTED])), tuple(reversed(skipped[:_LISTED])))


def slot_for_new(cadence: Cadence, first_new: datetime) -> Slot:
    """The slot of `on: new`. What would skip another rule's slot moves this one: nothing else would bring it back."""
    if not isinstance(cadence.rule, OnNew):
        raise CadenceError("only `on: new` has a slot for something new")
    zone = load_zone(cadence.zone)
    key = first_new + cadence.rule.settle
    slot = _shifted(cadence, zone, key)
    reasons = [slot.moved] if slot.moved else []
    for _ in range(_HORIZON):
        if slot.skipped is None:
            break
        reasons.append(slot.skipped)
        tomorrow = _local_day(slot.at, zone) + _DAY
        slot = _shifted(cadence, zone, to_utc(datetime.combine(tomorrow, time(0, 0)), zone))
    return replace(slot, key=key, moved="; ".join(reasons) or None, skipped=None)


def in_window(cadence: Cadence, now: datetime) -> bool:
    """Whether sending is allowed at this moment."""
    return cadence.window is None or cadence.window.holds(now.astimezone(load_zone(cadence.zone)).time())


def _shifted(cadence: Cadence, zone: ZoneInfo, key: datetime) -> Slot:
    at, moved = key, None
    if cadence.window is not None and not in_window(cadence, at):
        at = _next_opening(cadence, zone, at)
        moved = f"outside {cadence.window}, moved to {at.astimezone(zone):%Y-%m-%d %H:%M}"
    return Slot(key, at, moved, cadence.skipped(_local_day(at, zone)))


def _next_opening(cadence: Cadence, zone: ZoneInfo, moment: datetime) -> datetime:
    assert cadence.window is not None
    day = _local_day(moment, zone)
    for _ in range(_HORIZON):
        opening = to_utc(datetime.combine(day, cadence.window.opens), zone)
        # A gap may swallow a whole window: then it opens on the next day.
        if opening > moment and in_window(cadence, opening):
            return opening
        day += _DAY
    raise CadenceError(f"the window {cadence.window} never opens in {cadence.zone}")


def _local_day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()
