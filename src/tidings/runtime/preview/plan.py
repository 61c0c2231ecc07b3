"""`tidings plan`: the next slots and their recipients, computed on a copy by the functions that send."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery, ListDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.cadence import (
    OnNew,
    OnRequest,
    Slot,
    describe_cadence,
    find_slot_for_new,
    list_slots,
    next_slots,
)
from tidings.model.plurals import count_noun
from tidings.pipeline.address.channels import describe_untranslated
from tidings.pipeline.address.lists import plan_deliveries
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.compose.baseline import describe_cadence_edit, find_cadence_edit, select_backfill
from tidings.pipeline.compose.draft import EditionDraft
from tidings.pipeline.compose.due import find_due_slot, find_first_new
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.outlets import Outlet, count_planned
from tidings.store.content import editions, schedules
from tidings.store.people import subscribers
from tidings.store.service import pauses

_MONTH = timedelta(days=30)


@contextmanager
def open_scratch_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """Open a runtime on a copy of the store, with the content that is on the disk now.

    On PostgreSQL a copy is expensive, so the given runtime is yielded: only read with it.
    """
    path = runtime.store.path
    if path is None:
        yield runtime
        return
    with tempfile.TemporaryDirectory(prefix="tidings-") as folder:
        copy = Path(folder) / "copy.db"
        with closing(sqlite3.connect(path)) as origin, closing(sqlite3.connect(copy)) as target:
            origin.backup(target)
        newsroom = runtime.newsroom.model_copy(update={"store": SecretStr(f"sqlite:///{copy}")})
        with Runtime(newsroom, keys=runtime.keys) as scratch:
            scratch.set_clock(runtime.now())
            collect(scratch.store, scratch.sources, now=scratch.now(), url=newsroom.site.url)
            with scratch.store.write() as connection:
                subscribers.update_marks(connection)
            yield scratch


@dataclass
class PlannedSlot:
    """One future slot. Only the next slot of a schedule has `stories` and `outlets`; the others are not known yet."""

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
    """Return the next `runs` slots of every schedule. Changes nothing."""
    planned = []
    with runtime.store.read() as connection:
        for written in runtime.newsroom.schedules.values():
            schedule = _find_known_schedule(connection, runtime, written)
            entry = PlannedSchedule(written.name, describe_cadence(schedule.cadence))
            for slot in _find_slots(runtime, connection, schedule, now, runs):
                entry.slots.append(PlannedSlot(slot.key, slot.at, slot.move_reason, slot.skip_reason))
            following = next((slot for slot in entry.slots if not slot.skipped), None)
            notes = [_describe_edit(connection, schedule, now)]
            if following is not None:
                _fill_slot(runtime, connection, schedule, following, now)
            elif isinstance(schedule.cadence.rule, OnRequest):
                notes.append(f"on request: tidings send {written.name}")
            elif isinstance(schedule.cadence.rule, OnNew):
                draft = look_ahead(runtime, connection, schedule, now)
                notes += ["nothing new", describe_untranslated(connection, runtime.newsroom, draft)]
            elif not entry.slots:
                notes.append("its time has passed")
            entry.note = "; ".join(filter(None, [*notes, *_estimate_prices(runtime.newsroom, schedule, now)]))
            planned.append(entry)
    return planned


def _describe_edit(connection: Connection, schedule: Schedule, now: datetime) -> str:
    """Say that a changed cadence counts from its edit, until its first slot has passed."""
    edited = find_cadence_edit(connection, schedule, now)
    state = schedules.find_schedule(connection, schedule.name)
    if edited is None or state is None or (state.last_slot is not None and state.last_slot > edited):
        return ""
    return describe_cadence_edit(schedule, edited)


def _find_known_schedule(connection: Connection, runtime: Runtime, schedule: Schedule) -> Schedule:
    """Return the schedule under its old name (`was`) if the next tick will rename it in the store."""
    former = runtime.newsroom.former_name("schedule", schedule.name)
    if former is None or schedules.find_schedule(connection, schedule.name) is not None:
        return schedule
    is_known = schedules.find_schedule(connection, former) is not None
    return schedule.model_copy(update={"name": former}) if is_known else schedule


def _find_slots(runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime, runs: int) -> list[Slot]:
    rule = schedule.cadence.rule
    state = schedules.find_schedule(connection, schedule.name)
    if isinstance(rule, OnRequest):
        return []
    if isinstance(rule, OnNew):
        if state is None:
            return []
        first = find_first_new(runtime.composer, connection, schedule, now, state)
        return [] if first is None else [find_slot_for_new(schedule.cadence, first)]
    overdue = None if state is None else find_due_slot(runtime.composer, connection, schedule, now)
    started = [overdue.slot] if overdue and overdue.slot else []
    after = max([now, *(slot.at for slot in started)])
    return [*started, *next_slots(schedule.cadence, after, runs - len(started))]


def _fill_slot(runtime: Runtime, connection: Connection, schedule: Schedule, slot: PlannedSlot, now: datetime) -> None:
    if schedules.find_schedule(connection, schedule.name) is None and not schedule.backfill:
        slot.note = "new schedule: stories that are out before its first start are not sent, except with `backfill`"
    holding = pauses.active_pauses(connection)
    paused = pauses.find_schedule_pause(holding, schedule.name)
    targets = {
        f"list {part.list}" if isinstance(part, ListDelivery) else f"channel {part.channel}"
        for part in schedule.deliver
    }
    if paused is not None:
        slot.note = f"{paused.what} is paused. Slots that come due meanwhile become one edition"
    elif waiting := [pause.what for pause in holding if pause.what in targets]:
        slot.note = f"{' and '.join(waiting)} {'is' if len(waiting) == 1 else 'are'} paused. Deliveries there wait"
    draft = look_ahead(runtime, connection, schedule, max(slot.at, now))
    slot.stories = [(story.key, find_title(draft, story.key, runtime)) for story in draft.stories]
    reason = runtime.composer.explain_skip(connection, draft)
    if reason:
        slot.note = slot.note or f"would be skipped: {reason}"
        return
    slot.outlets = count_planned(plan_deliveries(connection, runtime.newsroom, draft))


def look_ahead(runtime: Runtime, connection: Connection, schedule: Schedule, moment: datetime) -> EditionDraft:
    """Draft the edition of `moment`, with the stories that a held edition would pass on to it."""
    state = schedules.find_schedule(connection, schedule.name)
    held = editions.list_editions(connection, schedule=schedule.name, states=["held"])
    freed = frozenset(key for edition in held for key in edition.stories)
    draft = runtime.composer.draft(connection, schedule, moment, freed=freed).without_embargoed(runtime.now())
    if state is not None or schedule.select.stories:
        return draft
    fresh = {story.key for story in draft.stories if story.out_at > runtime.now()}
    kept = select_backfill((story for story in draft.stories if story.key not in fresh), schedule, runtime.now())
    return draft.with_stories(fresh | kept)


def find_title(draft: EditionDraft, key: str, runtime: Runtime) -> str:
    """Return a story's title in the first language of the site that it has."""
    item = draft.all_stories[key].in_language([*runtime.newsroom.site.languages, *draft.all_stories[key].items])
    return item.title if item else key


def _estimate_prices(newsroom: Newsroom, schedule: Schedule, now: datetime) -> Iterator[str]:
    """Yield what each channel of a schedule costs in a month at most, where the network charges for a post."""
    for part in schedule.deliver:
        if not isinstance(part, ChannelDelivery) or part.channel not in newsroom.channels:
            continue
        settings = newsroom.channels[part.channel]
        price = getattr(settings, "DOLLARS_A_POST", None)
        if price is None:
            continue
        count = sum(not slot.skip_reason for slot in list_slots(schedule.cadence, now, now + _MONTH))
        if settings.translations == "thread":
            count *= max(len(settings.languages), 1)
        posts = count if part.per == "edition" else count * (part.max_posts or 0)
        if posts:
            yield f"{part.channel}: at most {count_noun(posts, 'post')} in 30 days, ${posts * price:,.2f}"
        else:
            yield f"{part.channel}: ${price:.2f} for each post"


def plan_as_json(planned: list[PlannedSchedule]) -> list[dict[str, object]]:
    """Return the output of `tidings plan --json`."""
    return [
        {
            "schedule": schedule.name,
            "cadence": schedule.cadence,
            "note": schedule.note,
            "slots": [
                {
                    "slot": slot.key,
                    "at": slot.at,
                    "moved": slot.moved,
                    "skipped": slot.skipped,
                    "note": slot.note,
                    "stories": None if slot.stories is None else [key for key, _ in slot.stories],
                    "outlets": [outlet.as_json() | {"stories": outlet.stories} for outlet in slot.outlets],
                }
                for slot in schedule.slots
            ],
        }
        for schedule in planned
    ]
