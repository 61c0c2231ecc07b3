"""Compute slots from rules: the moments at which a schedule is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidings.model.cadence.rules import Cadence, CadenceError, Move, OnHoliday, OnNew, OnRequest

_DAY = timedelta(days=1)
_HORIZON = 3_700
"""Days that a search looks ahead: a little over ten years."""
_LISTED = 100
"""The most merged slots, and the most skipped slots, that `find_due_slots` lists."""
_FURTHEST_SHIFT = 3 * _DAY
"""A window opens every day, but a gap may remove it on one day."""
FURTHEST_MOVE = 62
"""Most days that a slot moves over holidays and `skip_dates` before it is skipped, and that a person can move it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One due moment. `key` names it (UTC, before any shift); `at` is when it is due (UTC, after shifts)."""

    key: datetime
    at: datetime
    move_reason: str | None = None
    """Why `at` differs from `key`, in words."""
    skip_reason: str | None = None
    """Why nothing is sent, in words."""
    by_person: bool = False
    """Whether a person moved the slot, by `moved`."""


@dataclass(frozen=True, slots=True)
class DueSlots:
    """The due slots: the latest one, and the earlier ones that merge into it. Each list holds the newest hundred."""

    slot: Slot | None
    merged: tuple[Slot, ...]
    skipped: tuple[Slot, ...]


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name such as `Asia/Almaty`. Raises ZoneInfoNotFoundError."""
    parts = name.split("/")
    if not all(part and part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        raise ZoneInfoNotFoundError(name)
    file = resources.files("tzdata").joinpath("zoneinfo", *parts)
    try:
        with file.open("rb") as stream:
            return ZoneInfo.from_file(stream, key=name)
    except (OSError, ValueError) as error:
        raise ZoneInfoNotFoundError(name) from error


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a naive local time: the first of two, or the first valid minute after a gap (PEP 495)."""
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local:
        return instant
    # In a gap fold=1 reads the offset after it and lands before the transition, fold=0 the other way round.
    return _offset_changes(local.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)


def _offset_changes(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second with the offset of `after`. At `before` the offset is different."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle <= before:
            break
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def _day_keys(cadence: Cadence, zone: ZoneInfo, day: date) -> list[datetime]:
    keys = [to_utc(datetime.combine(day, clock), zone) for clock in cadence.local_times(day)]
    return sorted(set(keys))


def list_slots(cadence: Cadence, after: datetime, until: datetime) -> Iterator[Slot]:
    """Yield slots with `after < key <= until`, ascending. `on: new` and `on: request` have none."""
    if isinstance(cadence.rule, (OnNew, OnRequest)):
        return
    zone = load_zone(cadence.zone)
    # Two days on each side: a zone may skip a whole day (Apia, 2011-12-30).
    day = _local_day(after, zone) - 2 * _DAY
    last_day = _local_day(until, zone) + 2 * _DAY
    newest = after
    while day <= last_day:
        for key in _day_keys(cadence, zone, day):
            if newest < key <= until:
                newest = key
                yield _shifted(cadence, zone, key)
        day += _DAY


def moved_slots(cadence: Cadence) -> list[Slot]:
    """Return the slots that a person moved, in the order of `at`. A move past another slot is ignored."""
    if not cadence.moved or isinstance(cadence.rule, (OnNew, OnRequest)):
        return []
    zone = load_zone(cadence.zone)
    days = dict.fromkeys(move.day for move in cadence.moved)
    found = (_shifted(cadence, zone, key) for day in days for key in _day_keys(cadence, zone, day))
    return sorted((slot for slot in found if slot.by_person), key=_by_moment)


def next_slots(cadence: Cadence, after: datetime, count: int) -> list[Slot]:
    """Return the next `count` slots with `at > after`, skipped ones included; fewer if ten years have no more.

    If several slots move to one moment, only the latest is returned: `find_due_slots` merges the others.
    """
    slots: list[Slot] = []
    for slot in _slots_by_moment(cadence, after):
        if slot.at <= after:
            continue
        if slots and slots[-1].at == slot.at:
            slots[-1] = slot
        elif len(slots) < count:
            slots.append(slot)
        else:
            break
    return slots


def _slots_by_moment(cadence: Cadence, after: datetime) -> Iterator[Slot]:
    """Yield slots in the order of `at`, then `key`, from before `after` on."""
    return heapq.merge(_unmoved_by_moment(cadence, after), moved_slots(cadence), key=_by_moment)


def _unmoved_by_moment(cadence: Cadence, after: datetime) -> Iterator[Slot]:
    """Yield the slots that no person moved.

    Moves never cross a day that takes moved slots. So the days between two of these days are sorted together: with the
    day before them for `on_holiday: before`, else with the day after them.
    """
    if isinstance(cadence.rule, (OnNew, OnRequest)):
        return
    zone = load_zone(cadence.zone)
    # A slot whose key has passed may still wait for its window, or for a working day.
    day = _local_day(after, zone) - _FURTHEST_SHIFT
    if cadence.on_holiday is OnHoliday.AFTER:
        day -= FURTHEST_MOVE * _DAY
    last_day = _local_day(after, zone) + _HORIZON * _DAY
    if cadence.season.last is not None:
        last_day = min(last_day, cadence.season.last)
    together: list[Slot] = []
    newest = datetime.min.replace(tzinfo=UTC)
    while day <= last_day:
        is_edge = cadence.takes_moved_slots(day)
        if is_edge and cadence.on_holiday is OnHoliday.BEFORE:
            yield from sorted(together, key=_by_moment)
            together.clear()
        for key in _day_keys(cadence, zone, day):
            if newest < key:
                newest = key
                slot = _shifted(cadence, zone, key)
                together += [] if slot.by_person else [slot]
        day += _DAY
        if cadence.on_holiday is OnHoliday.SKIP or (is_edge and cadence.on_holiday is OnHoliday.AFTER):
            yield from sorted(together, key=_by_moment)
            together.clear()
    yield from sorted(together, key=_by_moment)


def _by_moment(slot: Slot) -> tuple[datetime, datetime]:
    return slot.at, slot.key


def find_due_slots(cadence: Cadence, after: datetime, now: datetime, since: datetime | None = None) -> DueSlots | None:
    """Return the slots with `key > after` and `at <= now`, or None if nothing is due.

    `since` is when the schedule was first seen: slots that `on_holiday: before` moved to earlier never fire.
    Missed slots merge into the latest. It searches backwards from now, so a year's pause costs no more than a day's.
    """
    if isinstance(cadence.rule, (OnNew, OnRequest)):
        return None
    zone = load_zone(cadence.zone)
    first_day = _local_day(after, zone) - 2 * _DAY
    day = _local_day(now, zone) + 2 * _DAY
    is_before = cadence.on_holiday is OnHoliday.BEFORE
    if is_before:
        furthest = day + FURTHEST_MOVE * _DAY
        while day < furthest and not cadence.takes_moved_slots(day):
            day += _DAY
    chosen: Slot | None = None
    merged: list[Slot] = []
    skipped: list[Slot] = []
    seen: set[datetime] = set()
    while day >= first_day and not (chosen and len(merged) + len(skipped) >= _LISTED):
        # Skipped slots never end the search: an earlier slot that is allowed must not be lost behind them.
        keys = [] if len(skipped) >= _LISTED and _all_left_out(cadence, day) else _day_keys(cadence, zone, day)
        for key in reversed(keys):
            if not after < key or (key > now and not is_before) or key in seen:
                continue
            seen.add(key)
            slot = _shifted(cadence, zone, key)
            if slot.by_person or slot.at > now or (slot.at < slot.key and since is not None and slot.at <= since):
                continue
            if slot.skip_reason:
                skipped.append(slot)
            elif chosen is None:
                chosen = slot
            else:
                merged.append(slot)
        day -= _DAY
    moved = [slot for slot in moved_slots(cadence) if after < slot.key and slot.at <= now]
    moved = [slot for slot in moved if since is None or slot.at > min(slot.key, since) or slot.at == slot.key]
    if moved:
        merged = sorted([*merged, *moved, *([chosen] if chosen else [])], key=lambda slot: slot.key, reverse=True)
        chosen = merged.pop(0)
    if chosen is None and not skipped:
        return None
    return DueSlots(chosen, tuple(reversed(merged[:_LISTED])), tuple(reversed(skipped[:_LISTED])))


def _all_left_out(cadence: Cadence, day: date) -> bool:
    """Whether every slot of a local day is skipped, even after a gap or the window has moved it."""
    if cadence.on_holiday is not OnHoliday.SKIP:
        return False
    return all(cadence.skip_reason(day + number * _DAY) for number in range(_FURTHEST_SHIFT.days + 1))


def find_slot_for_new(cadence: Cadence, first_new: datetime) -> Slot:
    """Return the slot of `on: new`. A skipped day moves it to a later day, because no other slot follows."""
    if not isinstance(cadence.rule, OnNew):
        raise CadenceError("only `on: new` has a slot for something new")
    zone = load_zone(cadence.zone)
    key = first_new + cadence.rule.settle
    slot = _shifted(cadence, zone, key)
    reason, left_out = slot.skip_reason, 0
    while slot.skip_reason and left_out < _HORIZON:
        left_out += 1
        slot = _shifted(cadence, zone, _next_day(zone, slot.at))
    if reason is None or slot.skip_reason:
        return Slot(key, slot.at, slot.move_reason, slot.skip_reason)
    others = f" (and {left_out - 1} more)" if left_out > 1 else ""
    return Slot(key, slot.at, f"{reason}{others}, moved to {slot.at.astimezone(zone):%Y-%m-%d %H:%M}")


def is_in_window(cadence: Cadence, now: datetime) -> bool:
    """Whether sending is allowed at this moment."""
    return cadence.window is None or cadence.window.contains(now.astimezone(load_zone(cadence.zone)).time())


def find_window_end(cadence: Cadence, now: datetime) -> datetime | None:
    """Return when the current sending window ends. None if sending is not allowed now, or is always allowed."""
    window = cadence.window
    if window is None or window.is_always or not is_in_window(cadence, now):
        return None
    return _next_wall(load_zone(cadence.zone), now, window.end, lambda wall: not window.contains(wall.time()))


def _moved_to(cadence: Cadence, zone: ZoneInfo, key: datetime) -> datetime | None:
    """Return the moment to which a person moved a slot, or None. Stays between its neighbours, so that none is lost."""
    move = _find_move(cadence, zone, key)
    if move is None or move.to is None:
        return None
    at = _in_window(cadence, zone, to_utc(move.to, zone))
    first, last = min(key, at), max(key, at)
    begin = _local_day(first, zone)
    days = [begin + number * _DAY for number in range((_local_day(last, zone) - begin).days + 1)]
    if len(days) > FURTHEST_MOVE:
        return None
    between = [other for day in days for other in _day_keys(cadence, zone, day) if first <= other <= last]
    return at if between == [key] and not _passes_other_move(cadence, zone, key, at) else None


def _find_move(cadence: Cadence, zone: ZoneInfo, key: datetime) -> Move | None:
    """Return what a person wrote about a slot in `moved`, or None."""
    if not cadence.moved:
        return None
    local = key.astimezone(zone).replace(tzinfo=None)
    return next((one for one in cadence.moved if one.day == local.date() and one.clock in (None, local.time())), None)


def _passes_other_move(cadence: Cadence, zone: ZoneInfo, key: datetime, at: datetime) -> bool:
    """Whether another moved slot would change places with this one. Then the earlier one would be lost."""
    for move in cadence.moved:
        if move.to is None:
            continue
        to = _in_window(cadence, zone, to_utc(move.to, zone))
        for other in _day_keys(cadence, zone, move.day):
            is_meant = move.clock in (None, other.astimezone(zone).time())
            if is_meant and ((other < key and to > at) or (other > key and to < at)):
                return True
    return False


def _shifted(cadence: Cadence, zone: ZoneInfo, key: datetime) -> Slot:
    if (wanted := _moved_to(cadence, zone, key)) is not None:
        reason = f"changed by a person, moved to {wanted.astimezone(zone):%Y-%m-%d %H:%M}"
        return Slot(key, wanted, reason, by_person=True)
    at, reasons = _in_window(cadence, zone, key), []
    if (move := _find_move(cadence, zone, key)) is not None and move.to is None:
        return Slot(key, at, skip_reason="left out by a person")
    if at != key:
        reasons.append(f"outside {cadence.window}")
    day = _local_day(at, zone)
    skipped = cadence.skip_reason(day)
    if skipped and cadence.on_holiday is not OnHoliday.SKIP:
        step = -_DAY if cadence.on_holiday is OnHoliday.BEFORE else _DAY
        days = (day + number * step for number in range(1, FURTHEST_MOVE + 1))
        target = next((other for other in days if cadence.takes_moved_slots(other)), None)
        if target is None:
            skipped += f", and no working day is within {FURTHEST_MOVE} days"
        else:
            clock = at.astimezone(zone).replace(tzinfo=None).time()
            at = _in_window(cadence, zone, to_utc(datetime.combine(target, clock), zone))
            reasons.append(skipped)
            skipped = None
    moved = f"{' and '.join(reasons)}, moved to {at.astimezone(zone):%Y-%m-%d %H:%M}" if reasons else None
    return Slot(key, at, moved, skipped)


def _in_window(cadence: Cadence, zone: ZoneInfo, moment: datetime) -> datetime:
    """Return the moment, or the first one after it at which the window is open."""
    window = cadence.window
    if window is None or is_in_window(cadence, moment):
        return moment
    return _next_wall(zone, moment, window.start, lambda wall: window.contains(wall.time()))


def _next_day(zone: ZoneInfo, moment: datetime) -> datetime:
    today = _local_day(moment, zone)
    return _next_wall(zone, moment, 0, lambda wall: wall.date() > today)


def _next_wall(zone: ZoneInfo, moment: datetime, minute: int, holds: Callable[[datetime], bool]) -> datetime:
    """Return the first moment after `moment` at which `holds` is true for the wall clock.

    That happens at `minute` of the day or at a change of the offset. Between two changes a wall clock runs evenly, so
    gaps and repeated hours are exact.
    """
    for _ in range(_HORIZON):
        wall = moment.astimezone(zone).replace(tzinfo=None)
        edge = wall.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(minutes=minute % (24 * 60))
        if edge <= wall:
            edge += _DAY
        following = moment + (edge - wall)
        if following.astimezone(zone).utcoffset() != moment.astimezone(zone).utcoffset():
            following = _offset_changes(moment, following, zone)
        moment = following
        if holds(moment.astimezone(zone).replace(tzinfo=None)):
            return moment
    raise CadenceError(f"this hour never occurs in {zone.key}")


def _local_day(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()
