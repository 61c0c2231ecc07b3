"""`tidings plan`: the next slots, and what would go to whom, by the functions that run on cadence. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery, ListDelivery, Schedule
from tidings.model.cadence import At, OnNew, OnRequest, Slot, describe_cadence, find_slot_for_new, next_slots
from tidings.model.delivery import SkipReason
from tidings.pipeline.address.channels import describe_untranslated
from tidings.pipeline.address.lists import plan_deliveries
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup, PlannedDelivery, PlannedSegment, PlannedSegments
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.prices import prices
from tidings.runtime.tick import backfill_stories, find_due_slot, first_new_story_at
from tidings.store.content import editions, schedules
from tidings.store.service import pauses


@dataclass
class Outlet:
    """What a list or channel would get: readers by language, skipped by reason."""

    name: str
    readers: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)

    def show(self, group: MessageGroup) -> None:
        """Its stories are among those shown."""
        self.stories += [story for story in group.selection.stories if story not in self.stories]


@dataclass
class PlannedSlot:
    """One slot ahead. `stories` and `outlets` are told for a schedule's next one only: the rest is not yet known."""

    key: datetime
    at: datetime
    moved: str | None = None
    skipped: str | None = None
    stories: list[tuple[str, str]] | None = None
    """(key, title)"""
    outlets: list[Outlet] = field(default_factory=list)
    note: str = ""


@dataclass
class PlannedSchedule:
    """A schedule with its next slots."""

    name: str
    cadence: str
    slots: list[PlannedSlot] = field(default_factory=list)
    note: str = ""


def plan(runtime: Runtime, now: datetime, runs: int = 3) -> list[PlannedSchedule]:
    """The next `runs` slots of every schedule."""
    planned = []
    with runtime.store.read() as connection:
        for written in runtime.newsroom.schedules.values():
            schedule = find_known_schedule(connection, runtime, written)
            one = PlannedSchedule(written.name, describe_cadence(schedule.cadence))
            for slot in _slots(runtime, connection, schedule, now, runs):
                one.slots.append(PlannedSlot(slot.key, slot.at, slot.move_reason, slot.skip_reason))
            following = next((slot for slot in one.slots if not slot.skipped), None)
            if following is not None:
                _fill(runtime, connection, schedule, following, now)
            elif isinstance(schedule.cadence.rule, OnRequest):
                one.note = f"when asked: tidings send {written.name}"
            elif isinstance(schedule.cadence.rule, OnNew):
                one.note = "; ".join(filter(None, ["nothing new", _waiting(runtime, connection, schedule, now)]))
            elif isinstance(schedule.cadence.rule, At):
                one.note = "its moment has passed"
            one.note = "; ".join(filter(None, [one.note, *prices(runtime.newsroom, schedule, now)]))
            planned.append(one)
    return planned


def find_known_schedule(connection: Connection, runtime: Runtime, schedule: Schedule) -> Schedule:
    """A schedule under the name by which the store still knows it, until the next tick renames it (`was`)."""
    if schedule.was is None or schedule.was in runtime.newsroom.schedules:
        return schedule
    if schedules.find_schedule(connection, schedule.name) is not None:
        return schedule
    known = schedules.find_schedule(connection, schedule.was) is not None
    return schedule.model_copy(update={"name": schedule.was}) if known else schedule


def _waiting(runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime) -> str:
    """Which stories wait for a translation, in words."""
    return describe_untranslated(connection, runtime.newsroom, look_ahead(runtime, connection, schedule, now))


def _slots(runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime, runs: int) -> list[Slot]:
    rule = schedule.cadence.rule
    state = schedules.find_schedule(connection, schedule.name)
    if isinstance(rule, OnRequest):
        return []
    if isinstance(rule, OnNew):
        first = (
            None
            if state is None
            else first_new_story_at(runtime, connection, schedule, now, state.last_cut or state.baseline)
        )
        return [] if first is None else [find_slot_for_new(schedule.cadence, first)]
    overdue = None if state is None else find_due_slot(runtime, connection, schedule, now)
    begun = [overdue.slot] if overdue and overdue.slot else []
    after = max([now, *(slot.at for slot in begun)])
    return [*begun, *next_slots(schedule.cadence, after, runs - len(begun))]


def _fill(runtime: Runtime, connection: Connection, schedule: Schedule, slot: PlannedSlot, now: datetime) -> None:
    moment = max(slot.at, now)
    if schedules.find_schedule(connection, schedule.name) is None and not schedule.backfill:
        slot.note = "new here: what is out before its first start does not go out (`backfill` would change that)"
    holding = pauses.active_pauses(connection)
    stopped = pauses.find_schedule_pause(holding, schedule.name)
    if stopped is not None:
        slot.note = f"{stopped.what} is paused: what comes due meanwhile merges into one"
    elif waiting := [one.what for one in holding if one.what in {_outlet(part) for part in schedule.deliver}]:
        slot.note = f"{' and '.join(waiting)} is paused: what goes there waits"
    edit = look_ahead(runtime, connection, schedule, moment)
    slot.stories = [(story.key, find_title(edit, story.key, runtime)) for story in edit.stories]
    reason = runtime.composer.explain_skip(connection, edit)
    if reason:
        slot.note = slot.note or f"skipped as things stand: {reason}"
        return
    slot.outlets = count_by_outlet(plan_deliveries(connection, runtime.newsroom, edit))


def _outlet(part: ListDelivery | ChannelDelivery) -> str:
    return f"list {part.list}" if isinstance(part, ListDelivery) else f"channel {part.channel}"


def look_ahead(runtime: Runtime, connection: Connection, schedule: Schedule, moment: datetime) -> EditionDraft:
    """What an edition at `moment` would hold, with what a held edition would hand over to it."""
    composer = runtime.composer
    state = schedules.find_schedule(connection, schedule.name)
    freed = frozenset(
        key
        for held in editions.list_editions(connection, schedule=schedule.name, states=["held"])
        for key in held.stories
    )
    edit = composer.draft(connection, schedule, moment, freed=freed).without_embargoed(runtime.now())
    if state is not None or schedule.select.stories:
        return edit
    fresh = {story.key for story in edit.stories if story.out_at > runtime.now()}
    kept = backfill_stories((story for story in edit.stories if story.key not in fresh), schedule)
    return edit.with_stories(fresh | kept)


def count_by_outlet(addressed: Iterable[PlannedDelivery | PlannedSegments]) -> list[Outlet]:
    """Deliveries counted by list and channel."""
    found: dict[str, Outlet] = {}
    for one in addressed:
        name = f"list {one.list}" if isinstance(one, PlannedSegments) or one.list else f"channel {one.channel}"
        outlet = found.setdefault(name, Outlet(name))
        if isinstance(one, PlannedSegments):
            for part in one.parts:
                _count_crowd(outlet, part)
        elif one.group is None:
            outlet.skipped[one.reason_text] += 1
        else:
            outlet.readers[one.group.selection.language] += 1
            outlet.show(one.group)
    return list(found.values())


def _count_crowd(outlet: Outlet, part: PlannedSegment) -> None:
    for reason, count in part.segment.suppressed.items():
        outlet.skipped["unsubscribed" if reason == "unsubscribed" else "suppressed"] += count
    if not part.segment.readers:
        return
    if not part.groups:
        outlet.skipped[str(SkipReason.NOTHING_FOR_READER)] += part.segment.readers
    for _, group in part.groups:
        outlet.readers[group.selection.language] += part.segment.readers
        outlet.show(group)


def find_title(edit: EditionDraft, key: str, runtime: Runtime) -> str:
    """A story's title in the first of the site's languages that it has."""
    item = edit.all_stories[key].in_language([*runtime.newsroom.site.languages, *edit.all_stories[key].items])
    return item.title if item else key


def plan_as_json(planned: list[PlannedSchedule]) -> list[dict[str, object]]:
    """The shape of `tidings plan --json`."""
    return [
        {
            "schedule": one.name,
            "cadence": one.cadence,
            "note": one.note,
            "slots": [
                {
                    "slot": slot.key,
                    "at": slot.at,
                    "moved": slot.moved,
                    "skipped": slot.skipped,
                    "note": slot.note,
                    "stories": None if slot.stories is None else [key for key, _ in slot.stories],
                    "outlets": [
                        {
                            "outlet": outlet.name,
                            "deliveries": sum(outlet.readers.values()),
                            "languages": dict(outlet.readers),
                            "skipped": dict(outlet.skipped),
                            "stories": outlet.stories,
                        }
                        for outlet in slot.outlets
                    ],
                }
                for slot in one.slots
            ],
        }
        for one in planned
    ]
