"""The next edition of a schedule, and what an editor chooses for it. The room and the API call this."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.model.errors import RefusedError
from tidings.pipeline.compose.edit import EditionChanges
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import PlannedSlot, find_next_slot
from tidings.store.content import schedules
from tidings.store.content.schedules import PlannedChanges


@dataclass(frozen=True, slots=True)
class NextEdition:
    """The next edition as it would be now. `slot` is None if no coming slot is known."""

    slot: PlannedSlot | None
    changes: EditionChanges
    version: str
    """Changes with the slot and with what was chosen."""

    def built_at(self, now: datetime) -> datetime:
        """Return when the edition is built, as far as it is known."""
        return max(self.slot.at, now) if self.slot is not None else now


def find_next_edition(runtime: Runtime, schedule: Schedule, now: datetime) -> NextEdition:
    """Return the next edition of a schedule."""
    slot = find_next_slot(runtime, schedule, now)
    with runtime.store.read() as connection:
        planned = schedules.find_planned_changes(connection, schedule.name)
    changes = EditionChanges.of_request({"changes": planned.changes if planned is not None else {}})
    return NextEdition(slot, changes, _version(slot, planned))


def save_choices(
    connection: Connection, runtime: Runtime, schedule: str, seen: NextEdition, changes: EditionChanges
) -> EditionChanges:
    """Save the first story, the subjects and the notes. They replace earlier ones and count for this edition only.

    Returns what was saved. Raises RefusedError or InputError, also if somebody else has saved since `seen` was read.
    """
    if seen.slot is None or _version(seen.slot, schedules.find_planned_changes(connection, schedule)) != seen.version:
        raise RefusedError("The next edition has changed in the meantime. Look at it again, then change it.")
    changes.check({key for key, _ in seen.slot.stories or ()}, runtime.newsroom.site.languages)
    kept = changes.after(EditionChanges())
    is_empty = kept == EditionChanges()
    schedules.save_planned_changes(
        connection, schedule, None if is_empty else PlannedChanges(seen.slot.key, kept.to_json())
    )
    return kept


def describe_choices(changes: EditionChanges) -> str:
    """Describe the choices for the log; empty without any."""
    return "" if changes == EditionChanges() else changes.describe()


def _version(slot: PlannedSlot | None, planned: PlannedChanges | None) -> str:
    parts = [slot and slot.key.isoformat(), planned and [planned.slot.isoformat(), dict(planned.changes)]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
