"""`tidings plan`: the next slots and their recipients, computed on a copy by the functions that send."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.model.plurals import count_noun
from tidings.pipeline.address.channels import describe_untranslated
from tidings.pipeline.address.lists import plan_deliveries
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.compose.baseline import describe_cadence_edit, find_cadence_edit, select_backfill
from tidings.pipeline.compose.draft import EditionDraft
from tidings.pipeline.compose.due import find_due_slot, find_first_new, is_since_edit
from tidings.pipeline.compose.edit import EditionChanges
from tidings.pipeline.compose.review import approval_deadline, is_sent_on_silence
from tidings.pipeline.compose.select import group_stories
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.outlets import Outlet, count_planned
from tidings.store.content import editions, items, schedules
from tidings.store.copying import make_scratch
from tidings.store.people import segments, subscribers
from tidings.store.service import pauses

_MONTH = timedelta(days=30)
_MOST_MOVED = 3
"""Most slots that a window or a holiday can move past an edit of the cadence."""
_SLOTS_TO_LOOK_AT = 20
"""Number of slots to search for the next one, because the first may be skipped."""


@contextmanager
def open_scratch_runtime(runtime: Runtime) -> Iterator[Runtime]:
    """Open a runtime on a copy of the store, with the content that is on the disk now. Only read with it.

    Ledger and people are read where they are. On PostgreSQL nothing is copied, and the given runtime is yielded.
    """
    path = runtime.store.path
    if path is None:
        yield runtime
        return
    with tempfile.TemporaryDirectory(prefix="tidings-") as folder:
        copy = Path(folder) / "copy.db"
        make_scratch(path, copy)
        newsroom = runtime.newsroom.model_copy(update={"store": SecretStr(f"sqlite:///{copy}")})
        with Runtime(newsroom, keys=runtime.keys, lazy=True) as scratch:
            scratch.store.attach(path)
            scratch.set_clock(runtime.now())
            collect(scratch.store, scratch.sources, now=scratch.now(), url=newsroom.site.url)
            segments.update_marks(scratch.store)
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
    is_counted: bool = False
    """Whether `outlets` has all recipients; there may be none."""
    at_most: int = 0
    """Subscribers who might get it, if there are so many that the recipients were not counted."""
    note: str = ""
    edition: str = ""
    """The edition, if it is composed already and waits."""
    embargoed: dict[str, datetime] = field(default_factory=dict)
    """End of the embargo, by story."""


@dataclass
class PlannedSchedule:
    """A schedule with its next slots."""

    name: str
    cadence: str
    slots: list[PlannedSlot] = field(default_factory=list)
    note: str = ""
    waiting: list[PlannedSlot] = field(default_factory=list)
    """Editions that are composed and wait for a person."""


MOST_COUNTED = 2_000
"""Subscribers of a schedule for whom the room and the API count exactly who would get its next edition."""


def plan(runtime: Runtime, now: datetime, runs: int = 3, *, most_counted: int | None = None) -> list[PlannedSchedule]:
    """Return the next `runs` slots of every schedule. Changes nothing.

    Counting the recipients may read each subscriber. With `most_counted`, a slot with more subscribers than that has
    no `outlets`, and `at_most` instead.
    """
    with runtime.store.read() as connection:
        return [
            _plan_schedule(runtime, connection, written, now, runs, most_counted)
            for written in runtime.newsroom.schedules.values()
        ]


def find_next_slot(runtime: Runtime, schedule: Schedule, now: datetime) -> PlannedSlot | None:
    """Return the next slot of a schedule with its stories and recipients, or None if none is known."""
    with runtime.store.read() as connection:
        planned = _plan_schedule(runtime, connection, schedule, now, _SLOTS_TO_LOOK_AT, MOST_COUNTED)
    return next((slot for slot in planned.slots if not slot.skipped), None)


def _plan_schedule(
    runtime: Runtime,
    connection: Connection,
    written: Schedule,
    now: datetime,
    runs: int,
    most_counted: int | None,
) -> PlannedSchedule:
    schedule = _find_known_schedule(connection, runtime, written)
    entry = PlannedSchedule(written.name, describe_cadence(schedule.cadence))
    for slot in _find_slots(runtime, connection, schedule, now, runs):
        entry.slots.append(PlannedSlot(slot.key, slot.at, slot.move_reason, slot.skip_reason))
    following = next((slot for slot in entry.slots if not slot.skipped), None)
    held = editions.list_editions(connection, schedule=schedule.name, states=[EditionState.HELD])
    entry.waiting = [_describe_waiting(runtime, connection, edition) for edition in held]
    notes = [_describe_edit(connection, schedule, now)]
    if following is not None:
        _fill_slot(runtime, connection, schedule, following, now, most_counted)
        if entry.waiting and following.stories:
            names = " and ".join(slot.edition for slot in entry.waiting)
            text = f"if {names} still waits then, its stories join this edition"
            following.note = "; ".join(filter(None, [following.note, text]))
    elif isinstance(schedule.cadence.rule, OnRequest):
        notes.append(f"on request: tidings send {written.name}")
    elif isinstance(schedule.cadence.rule, OnNew):
        draft = look_ahead(runtime, connection, schedule, now)
        notes += ["nothing new", describe_untranslated(connection, runtime.newsroom, draft)]
    elif not entry.slots:
        notes.append("its time has passed")
    notes += _describe_embargoed(runtime, connection, schedule, following.at if following else now, now)
    entry.note = "; ".join(filter(None, [*notes, *_estimate_prices(runtime.newsroom, schedule, now)]))
    return entry


def find_next_slots(runtime: Runtime, now: datetime, most: int = 3) -> dict[str, datetime | None]:
    """Return when each schedule is due next, without its stories and readers. None: not within `most` slots."""
    found: dict[str, datetime | None] = {}
    with runtime.store.read() as connection:
        for written in runtime.newsroom.schedules.values():
            schedule = _find_known_schedule(connection, runtime, written)
            slots = _find_slots(runtime, connection, schedule, now, most)
            found[written.name] = next((slot.at for slot in slots if not slot.skip_reason), None)
    return found


def _describe_waiting(runtime: Runtime, connection: Connection, edition: Edition) -> PlannedSlot:
    """Return an edition that is held, with the reasons, its stories and its recipients as they are frozen."""
    newsroom = runtime.newsroom
    schedule = newsroom.schedules.get(edition.schedule)
    note = f"{edition.name} is held: {'; '.join(hold.detail for hold in edition.holds)}"
    if schedule is not None and any(hold.reason is HoldReason.APPROVAL for hold in edition.holds):
        note += f". They were asked on {_show(newsroom, edition.cutoff)}. "
        if is_sent_on_silence(edition, schedule):
            note += f"Without an answer it is sent on {_show(newsroom, approval_deadline(edition, schedule))}"
        else:
            note += "Without an answer it is not sent"
    slot = PlannedSlot(edition.slot or edition.starts, edition.starts, note=note, edition=edition.name)
    everything = group_stories(items.load_items(connection), edition.starts)
    languages = newsroom.site.languages
    slot.stories = []
    for key in edition.stories:
        item = everything[key].in_language([*languages, *everything[key].items]) if key in everything else None
        slot.stories.append((key, item.title if item else key))
    outlets: dict[str, Outlet] = {}
    for count in editions.count_recipients(connection, edition.id):
        name = count.outlet.replace(":", " ", 1)
        outlet = outlets.setdefault(name, Outlet(name, stories=list(edition.stories)))
        outlet.recipients[count.language] += count.count
    slot.outlets = list(outlets.values())
    return slot


def _describe_embargoed(
    runtime: Runtime, connection: Connection, schedule: Schedule, after: datetime, now: datetime
) -> Iterator[str]:
    """Name the stories whose embargo ends after the next slot, with the slot that takes them."""
    for key, until in items.find_embargoes(connection, after).items():
        draft = runtime.drafter.draft(connection, schedule, until)
        if key not in {story.key for story in draft.stories}:
            continue
        cadence = schedule.cadence
        slot: Slot | None = None
        if isinstance(cadence.rule, OnNew):
            slot = find_slot_for_new(cadence, max(until, now))
        elif not isinstance(cadence.rule, OnRequest):
            found = next_slots(cadence, until - timedelta(microseconds=1), _SLOTS_TO_LOOK_AT)
            slot = next((slot for slot in found if not slot.skip_reason), None)
        goes = f"; it goes on {_show(runtime.newsroom, slot.at)}" if slot is not None else ""
        yield f"{find_title(draft, key, runtime)} ({key}) is under embargo until {_show(runtime.newsroom, until)}{goes}"


def _show(newsroom: Newsroom, moment: datetime) -> str:
    return f"{moment.astimezone(newsroom.site.zone):%a %Y-%m-%d %H:%M}"


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
        first = find_first_new(runtime.drafter, connection, schedule, now, state)
        return [] if first is None else [find_slot_for_new(schedule.cadence, first)]
    overdue = None if state is None else find_due_slot(runtime.drafter, connection, schedule, now)
    started = [overdue.slot] if overdue and overdue.slot else []
    after = max([now, *(slot.at for slot in started)])
    edited = find_cadence_edit(connection, schedule, now)
    # An edition that is composed ahead, for approval, has taken its slot already.
    taken = state.last_slot if state is not None else None
    following = next_slots(schedule.cadence, after, runs + _MOST_MOVED)
    open_slots = (slot for slot in following if taken is None or slot.key > taken)
    return [*started, *(slot for slot in open_slots if is_since_edit(slot, edited))][:runs]


def _fill_slot(
    runtime: Runtime,
    connection: Connection,
    schedule: Schedule,
    slot: PlannedSlot,
    now: datetime,
    most_counted: int | None,
) -> None:
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
    draft = look_ahead(runtime, connection, schedule, max(slot.at, now), embargoed=True)
    slot.stories = [(story.key, find_title(draft, story.key, runtime)) for story in draft.stories]
    ends = items.find_embargoes(connection, now)
    slot.embargoed = {story.key: ends[story.key] for story in draft.stories if story.key in ends}
    reason = runtime.drafter.explain_skip(connection, draft)
    if reason:
        slot.note = slot.note or f"would be skipped: {reason}"
        return
    readers = 0 if most_counted is None else _count_readers(connection, schedule)
    if most_counted is not None and readers > most_counted:
        slot.at_most = readers
    else:
        slot.outlets = count_planned(plan_deliveries(connection, runtime.newsroom, draft))
        slot.is_counted = True
    named = {key for key, _ in slot.stories}
    older = dict.fromkeys(key for outlet in slot.outlets for key in outlet.stories if key not in named)
    if older:
        names = ", ".join(f"{find_title(draft, key, runtime)} ({key})" for key in older)
        slot.note = "; ".join(filter(None, [slot.note, f"left over from earlier editions: {names}"]))
    if schedule.approval is not None:
        asked = max(slot.at - schedule.approval.ahead, now)
        by = ", ".join(schedule.approval.by)
        text = f"waits for approval: {by} will be asked on {_show(runtime.newsroom, asked)}"
        slot.note = "; ".join(filter(None, [slot.note, text]))


def _count_readers(connection: Connection, schedule: Schedule) -> int:
    """Count the confirmed subscribers of a schedule's lists with its frequencies."""
    total = 0
    for part in schedule.deliver:
        if isinstance(part, ListDelivery):
            counts = subscribers.count_by_frequency(connection, part.list)
            is_for_all = part.everyone or part.frequency in (None, "all")
            total += sum(counts.values()) if is_for_all else counts.get(part.frequency or "", 0)
    return total


def look_ahead(
    runtime: Runtime, connection: Connection, schedule: Schedule, moment: datetime, *, embargoed: bool = False
) -> EditionDraft:
    """Draft the edition of `moment`, with the stories that a held edition would pass on to it.

    `embargoed` adds stories that are under embargo now but will be free at that moment.
    """
    state = schedules.find_schedule(connection, schedule.name)
    held = editions.list_editions(connection, schedule=schedule.name, states=["held"])
    freed = frozenset(key for edition in held for key in edition.stories)
    draft = runtime.drafter.draft(connection, schedule, moment, freed=freed)
    draft = replace(draft, superseded=frozenset(edition.id for edition in held))
    if (planned := schedules.find_planned_changes(connection, schedule.name)) is not None:
        changes = EditionChanges.of_request({"changes": planned.changes})
        draft = changes.apply(draft, runtime.newsroom.site.languages)
    if not embargoed:
        draft = draft.without_embargoed(runtime.now())
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
            "waiting": [_base_as_json(slot) | {"edition": slot.edition} for slot in schedule.waiting],
            "slots": [slot_as_json(slot) for slot in schedule.slots],
        }
        for schedule in planned
    ]


def slot_as_json(slot: PlannedSlot) -> dict[str, object]:
    """Return a coming slot as in the output of `tidings plan --json`."""
    return _base_as_json(slot) | {"at_most": slot.at_most, "embargoed": slot.embargoed}


def _base_as_json(slot: PlannedSlot) -> dict[str, object]:
    return {
        "slot": slot.key,
        "at": slot.at,
        "moved": slot.moved,
        "skipped": slot.skipped,
        "note": slot.note,
        "stories": None if slot.stories is None else [key for key, _ in slot.stories],
        "outlets": [outlet.as_json() | {"stories": outlet.stories} for outlet in slot.outlets],
    }
