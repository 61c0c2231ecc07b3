"""Find the slot that is due, compose its edition, and compute the next due moment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.model.cadence import (
    DueSlots,
    OnNew,
    OnRequest,
    Slot,
    find_due_slots,
    find_slot_for_new,
    is_in_window,
    next_slots,
)
from tidings.model.dates import format_local
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.model.errors import InputError
from tidings.pipeline import notices
from tidings.pipeline.address.channels import translation_deadlines
from tidings.pipeline.address.lists import has_waiting_readers
from tidings.pipeline.compose.baseline import find_cadence_edit
from tidings.pipeline.compose.draft import EditionDraft
from tidings.pipeline.compose.drafter import Drafter
from tidings.store.content import editions, schedules
from tidings.store.content.items import next_visible_at
from tidings.store.content.schedules import ScheduleState
from tidings.store.locks import Liveness
from tidings.store.service import pauses, restored

if TYPE_CHECKING:
    from tidings.pipeline.compose.composer import Composer, ComposeResult

_A_MOMENT = timedelta(seconds=1)
"""Added to an edition's slot, so that the next slot gets another key."""
_LOOKAHEAD = 5
"""Number of slots to check per schedule, because the first ones may be skipped (holidays)."""


def find_due_slot(drafter: Drafter, connection: Connection, schedule: Schedule, now: datetime) -> DueSlots | None:
    """Return the unsettled slot that is due at `now`, with the slots that merge into it, or None."""
    rule = schedule.cadence.rule
    state = schedules.find_schedule(connection, schedule.name)
    if state is None or isinstance(rule, OnRequest):
        return None
    if isinstance(rule, OnNew):
        first = find_first_new(drafter, connection, schedule, now, state)
        slot = None if first is None else find_slot_for_new(schedule.cadence, first)
        return None if slot is None or slot.at > now else DueSlots(slot=slot, merged=(), skipped=())
    due = find_due_slots(schedule.cadence, _last_settled(state), now + _approval_time(schedule), since=state.baseline)
    return _since_edit(due, find_cadence_edit(connection, schedule, now))


def _since_edit(due: DueSlots | None, edited: datetime | None) -> DueSlots | None:
    """Drop slots from before the cadence was edited: the new cadence did not apply then."""
    if due is None or edited is None:
        return due
    slot = due.slot if due.slot is not None and is_since_edit(due.slot, edited) else None
    merged = tuple(slot for slot in due.merged if is_since_edit(slot, edited))
    skipped = tuple(slot for slot in due.skipped if is_since_edit(slot, edited))
    return DueSlots(slot, merged, skipped) if slot is not None or skipped else None


def is_since_edit(slot: Slot, edited: datetime | None) -> bool:
    """Whether a slot belongs to the cadence after its edit. A window or a holiday may move an older slot past the edit.

    A slot that a person moved is due at the chosen moment, even after another edit.
    """
    return edited is None or (slot.at if slot.by_person else min(slot.key, slot.at)) >= edited


def find_overdue_slot(connection: Connection, schedule: Schedule, now: datetime) -> datetime | None:
    """Return the moment of the first unsettled slot. None without one, or for `on: new`, where it is too slow."""
    state = schedules.find_schedule(connection, schedule.name)
    if state is None or isinstance(schedule.cadence.rule, OnNew | OnRequest):
        return None
    due = find_due_slots(schedule.cadence, _last_settled(state), now, since=state.baseline)
    due = _since_edit(due, find_cadence_edit(connection, schedule, now))
    return None if due is None or due.slot is None else min(slot.at for slot in (*due.merged, due.slot))


def find_first_new(
    drafter: Drafter, connection: Connection, schedule: Schedule, now: datetime, state: ScheduleState
) -> datetime | None:
    """Return when the first unsent story of a schedule came out, or stopped waiting for a translation."""
    since = max(state.last_cut or state.baseline, find_cadence_edit(connection, schedule, now) or state.baseline)
    draft = drafter.draft(connection, schedule, now)
    moments = [story.out_at for story in draft.stories]
    moments += [moment for moment in translation_deadlines(connection, drafter.newsroom, draft) if moment <= now]
    first = min((moment for moment in moments if moment > since), default=None)
    if first is None and state.last_cut is not None and _has_leftovers(drafter, connection, draft):
        # Stories that did not fit into the last edition are sent next, without waiting for new ones. They are never
        # late.
        assert isinstance(schedule.cadence.rule, OnNew)
        first = max(state.last_cut + _A_MOMENT, now - schedule.cadence.rule.settle)
    return first


def _has_leftovers(drafter: Drafter, connection: Connection, draft: EditionDraft) -> bool:
    """Whether stories wait since an earlier edition, such as those beyond `max_items`."""
    schedule = draft.schedule
    if schedule.select.min_items > 1 or not has_waiting_readers(connection, drafter.newsroom, draft):
        return False
    # Otherwise an edition that waits for a person would be superseded again and again.
    return not editions.list_editions(connection, schedule=schedule.name, states=[EditionState.HELD])


def find_next_moment(drafter: Drafter, now: datetime) -> datetime | None:
    """Return the next moment after `now` at which a story, an edition, a pause or a slot is due."""
    moments: list[datetime | None] = []
    with drafter.store.read() as connection:
        moments.append(next_visible_at(connection, now))
        waiting = editions.list_editions(connection, states=[EditionState.HELD, EditionState.SENDING])
        moments += [edition.starts for edition in waiting]
        moments += [pause.until for pause in pauses.active_pauses(connection)]
        for schedule in drafter.newsroom.schedules.values():
            rule = schedule.cadence.rule
            if isinstance(rule, OnNew):
                state = schedules.find_schedule(connection, schedule.name)
                if state is not None and rule.settle:
                    first = find_first_new(drafter, connection, schedule, now, state)
                    moments.append(find_slot_for_new(schedule.cadence, first).at if first else None)
            elif not isinstance(rule, OnRequest):
                ahead = _approval_time(schedule)
                moments += [slot.at - ahead for slot in next_slots(schedule.cadence, now, _LOOKAHEAD)]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def check_start(schedule: Schedule, edition: Edition, starts: datetime, now: datetime, zone: ZoneInfo) -> None:
    """Raise InputError if an edition cannot be sent at another moment: it has passed, or the next edition comes first.

    The next edition would take the stories of one that is still held.
    """
    cadence = schedule.cadence
    if starts <= now:
        raise InputError("This time has passed. Choose a later one.")
    if edition.slot is not None and not is_in_window(cadence, starts):
        raise InputError(f"This schedule sends only at {cadence.window}.")
    if isinstance(cadence.rule, OnNew | OnRequest):
        return
    following = next_slots(cadence, now, _LOOKAHEAD)
    coming = (slot for slot in following if not slot.skip_reason and (edition.slot is None or slot.key > edition.slot))
    built = next((slot.at - _approval_time(schedule) for slot in coming), None)
    if built is not None and starts >= built:
        raise InputError(
            f"The next edition of this schedule is built on {format_local(built, zone)} and takes these stories. "
            "Choose an earlier time, or cancel this one."
        )


def compose_due(composer: Composer, schedule: Schedule, now: datetime) -> ComposeResult | None:
    """Claim the due slot of a schedule and compose its edition. Returns None when nothing is composed."""
    store, name = composer.store, schedule.name
    with store.read() as connection:
        due = find_due_slot(composer, connection, schedule, now)
        # Slots that come due during a pause merge into one when the pause ends.
        if due is None or pauses.find_schedule_pause(pauses.active_pauses(connection), name) is not None:
            return None
        ended_pauses = pauses.ended_pauses(connection, name)
    slot = due.slot

    def claim(connection: Connection) -> bool:
        """Settle and claim in the transaction that makes the edition, so a crash leaves both or neither."""
        for skipped in due.skipped:
            schedules.settle_slot(connection, name, skipped.key, "skipped", skipped.skip_reason or "", now)
            if (planned := schedules.find_planned_changes(connection, name)) and planned.slot == skipped.key:
                schedules.save_planned_changes(connection, name, None)
        for merged in due.merged:
            schedules.settle_slot(connection, name, merged.key, "merged", "merged into a later slot", now)
        is_claimed = slot is not None and schedules.claim_slot(connection, name, slot.key, composer.owner, now)
        reached = max(passed.key for passed in (*due.skipped, *due.merged, *([slot] if slot else ())))
        schedules.record_progress(connection, name, slot=reached, cut=now if slot else None)
        return is_claimed

    if slot is None:
        with store.write() as connection:
            claim(connection)
        return None
    lateness = now - slot.at - pauses.paused_time(ended_pauses, slot.at, now)
    late = ""
    if lateness > schedule.cadence.max_late:
        late = f"its slot was {lateness / timedelta(hours=1):.0f} hours ago, more than max_late allows"
    return composer.compose(schedule, now, slot=slot, late=late, claim=claim)


def resume_composing(composer: Composer, liveness: Liveness, now: datetime) -> None:
    """Compose the editions again that a crashed process left half frozen. None of them was sent."""
    store = composer.store
    with store.read() as connection:
        unfinished = editions.list_editions(connection, states=[EditionState.COMPOSING])
        owners = {edition.id: editions.get_owner(connection, edition.id) for edition in unfinished}
    for edition in unfinished:
        schedule, owner = composer.newsroom.schedules.get(edition.schedule), owners[edition.id]
        if schedule is None or (owner != composer.owner and liveness.is_alive(owner)):
            continue
        with store.write() as connection:
            is_taken_over = editions.take_over(connection, edition.id, owner, composer.owner)
        if is_taken_over:
            composer.freeze(edition, schedule, now)


def hold_after_restore(composer: Composer, now: datetime) -> str:
    """After a restore, hold each edition that was due since the backup. Does so once. Returns the notice, or ''."""
    with composer.store.read() as connection:
        restore = restored.find_restored(connection)
        if restore is None or restore.until is not None:
            return ""
        came_due = [
            schedule.name
            for schedule in composer.newsroom.schedules.values()
            if isinstance(schedule.cadence.rule, OnNew)
            or ((due := find_due_slot(composer, connection, schedule, now)) is not None and due.slot is not None)
        ]
        held = editions.list_editions(connection, states=[EditionState.HELD])
    names = [edition.name for edition in held if any(hold.reason is HoldReason.RESTORED for hold in edition.holds)]
    text = _describe_restore(format_local(restore.made, composer.newsroom.site.zone), names, came_due)
    with composer.store.write() as connection:
        restored.hold_next_editions(connection, came_due, now)
        notices.add(connection, f"restored:{restore.at.isoformat()}", "restored", text, now)
    return text


def _describe_restore(made: str, names: Collection[str], came_due: Collection[str]) -> str:
    lines = [f"The newsroom was restored from a backup of {made}. Nothing is sent a second time."]
    if names:
        lines.append(f"These editions are held, because they may already have gone out: {', '.join(names)}.")
    if came_due:
        lines.append(f"The next edition of each of these schedules is held: {', '.join(sorted(came_due))}.")
    if names or came_due:
        accepted = "`tidings resolve EDITION --accepted`"
        lines.append(f"Send each with `tidings release EDITION`. If it already went out, run {accepted}.")
    lines.append("Tidings does not know who unsubscribed after the backup.")
    lines.append("Remove these people with `tidings subscribers remove`.")
    return "\n".join(lines)


def _approval_time(schedule: Schedule) -> timedelta:
    return schedule.approval.ahead if schedule.approval else timedelta(0)


def _last_settled(state: ScheduleState) -> datetime:
    return max(state.last_slot, state.baseline) if state.last_slot else state.baseline
