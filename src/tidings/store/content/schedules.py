"""Schedules and slots: claimed slots, the progress of each schedule, and the stories it has used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once
from tidings.store.key_values import delete_value, find_value, set_value

_CADENCE = "cadence:"
_PLANNED = "planned-changes:"


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """The progress of a schedule."""

    name: str
    baseline: datetime
    last_slot: datetime | None
    last_cut: datetime | None


def find_schedule(connection: Connection, name: str) -> ScheduleState | None:
    """Return the progress of a schedule, or None before its baseline."""
    row = connection.execute(select(t.schedules).where(t.schedules.c.name == name)).one_or_none()
    return None if row is None else ScheduleState(row.name, row.baseline, row.last_slot, row.last_cut)


def begin_schedule(connection: Connection, name: str, now: datetime, used: Iterable[str]) -> bool:
    """Set the baseline: the stories in `used` are old and are not sent. False if it was set already."""
    done = connection.execute(
        insert_once(connection, t.schedules).values(name=name, baseline=now, last_slot=None, last_cut=now)
    )
    if done.rowcount != 1:
        return False
    reserve_stories(connection, name, used, edition=0)
    return True


def rename_schedule(connection: Connection, was: str, name: str) -> None:
    """Rename a schedule in all tables."""
    for table in (t.used_stories, t.slots, t.editions, t.mailings):
        connection.execute(update(table).where(table.c.schedule == was).values(schedule=name))
    connection.execute(update(t.schedules).where(t.schedules.c.name == was).values(name=name))
    if (seen := find_cadence(connection, was)) is not None:
        save_cadence(connection, name, seen)
        delete_value(connection, _CADENCE + was)
    if (planned := find_value(connection, _PLANNED + was)) is not None:
        set_value(connection, _PLANNED + name, planned)
        delete_value(connection, _PLANNED + was)


@dataclass(frozen=True, slots=True)
class PlannedChanges:
    """What an editor has chosen for the edition of a coming slot."""

    slot: datetime
    changes: Mapping[str, Any]
    """As `EditionChanges` writes them."""


def find_planned_changes(connection: Connection, schedule: str) -> PlannedChanges | None:
    """Return the choices for the next edition of a schedule, or None without any."""
    value = find_value(connection, _PLANNED + schedule)
    if value is None:
        return None
    planned = json.loads(value)
    return PlannedChanges(datetime.fromisoformat(planned["slot"]), planned["changes"])


def save_planned_changes(connection: Connection, schedule: str, planned: PlannedChanges | None) -> None:
    """Store the choices for the next edition of a schedule. None forgets them."""
    if planned is None:
        delete_value(connection, _PLANNED + schedule)
    else:
        values = {"slot": planned.slot.isoformat(), "changes": planned.changes}
        set_value(connection, _PLANNED + schedule, json.dumps(values))


def take_planned_changes(connection: Connection, schedule: str, slot: datetime) -> Mapping[str, Any]:
    """Return the choices for the edition of this slot, or of one that merges into it, and forget them."""
    planned = find_planned_changes(connection, schedule)
    if planned is None or planned.slot > slot:
        return {}
    save_planned_changes(connection, schedule, None)
    return planned.changes


@dataclass(frozen=True, slots=True)
class SeenCadence:
    """The cadence of a schedule that a cycle saw last."""

    key: str
    """It changes with the cadence."""
    kind: str
    """The kind of its rule."""
    since: datetime | None
    """When a changed cadence was first seen; None for the first cadence of a schedule."""


def find_cadence(connection: Connection, schedule: str) -> SeenCadence | None:
    """Return the cadence that was seen last, or None before the first cycle."""
    value = find_value(connection, _CADENCE + schedule)
    if value is None:
        return None
    seen = json.loads(value)
    return SeenCadence(seen["key"], seen["kind"], datetime.fromisoformat(seen["since"]) if seen["since"] else None)


def save_cadence(connection: Connection, schedule: str, cadence: SeenCadence) -> None:
    """Store the cadence that was seen."""
    values = {"key": cadence.key, "kind": cadence.kind, "since": cadence.since and cadence.since.isoformat()}
    set_value(connection, _CADENCE + schedule, json.dumps(values))


def claim_slot(connection: Connection, schedule: str, slot: datetime, owner: str, now: datetime) -> bool:
    """Claim a slot. False if another process has claimed it: the row is the claim."""
    done = connection.execute(
        insert_once(connection, t.slots).values(
            schedule=schedule, slot=slot, state="claimed", reason="", edition=None, owner=owner, at=now
        )
    )
    return bool(done.rowcount == 1)


def settle_slot(
    connection: Connection,
    schedule: str,
    slot: datetime,
    state: str,
    reason: str,
    now: datetime,
    edition: int | None = None,
) -> None:
    """Record the result of a slot: fired, skipped or merged. An unclaimed slot gets its row here."""
    values = {"state": state, "reason": reason, "edition": edition, "at": now}
    connection.execute(insert_once(connection, t.slots).values(schedule=schedule, slot=slot, owner="", **values))
    connection.execute(update(t.slots).where(t.slots.c.schedule == schedule, t.slots.c.slot == slot).values(**values))


def record_progress(connection: Connection, schedule: str, *, slot: datetime | None, cut: datetime | None) -> None:
    """Record the last slot and cut of a schedule. Earlier values are ignored."""
    state = find_schedule(connection, schedule)
    if state is None:
        return
    slots = [moment for moment in (state.last_slot, slot) if moment is not None]
    cuts = [moment for moment in (state.last_cut, cut) if moment is not None]
    connection.execute(
        update(t.schedules)
        .where(t.schedules.c.name == schedule)
        .values(last_slot=max(slots, default=None), last_cut=max(cuts, default=None))
    )


def used_stories(connection: Connection, schedule: str) -> set[str]:
    """Stories that the schedule has used or that one of its held editions reserves."""
    return set(
        connection.execute(select(t.used_stories.c.story).where(t.used_stories.c.schedule == schedule)).scalars()
    )


def find_editions_of_stories(connection: Connection, schedule: str) -> dict[str, int]:
    """Return the id of the edition that used each story. Stories of the baseline are left out."""
    u = t.used_stories.c
    rows = connection.execute(select(u.story, u.edition).where(u.schedule == schedule, u.edition > 0))
    return {row.story: row.edition for row in rows}


def reserve_stories(connection: Connection, schedule: str, stories: Iterable[str], edition: int) -> list[str]:
    """Reserve stories for an edition; returns those that were free."""
    taken = []
    for story in stories:
        done = connection.execute(
            insert_once(connection, t.used_stories).values(schedule=schedule, story=story, edition=edition)
        )
        if done.rowcount == 1:
            taken.append(story)
    return taken


def mark_used_by_all(connection: Connection, stories: Iterable[str]) -> None:
    """Count these stories as sent in every existing schedule."""
    wanted = list(stories)
    if wanted:
        for name in connection.execute(select(t.schedules.c.name)).scalars().all():
            reserve_stories(connection, name, wanted, edition=0)


def release_stories(connection: Connection, edition: int) -> None:
    """Release the stories of an edition that is not sent: they are new again."""
    connection.execute(delete(t.used_stories).where(t.used_stories.c.edition == edition))
