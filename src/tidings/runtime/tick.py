"""One beat of the newsroom: collect, publish, compose what is due, deliver. `run` does it again and again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.model.cadence import DueSlots, OnNew, OnRequest, find_due_slots, find_slot_for_new
from tidings.model.edition import EditionState, Hold, HoldReason
from tidings.model.errors import InputError
from tidings.pipeline import notices
from tidings.pipeline.address.channels import translation_deadlines
from tidings.pipeline.collect.sweep import SweepResult, collect
from tidings.pipeline.compose import review
from tidings.pipeline.compose.composer import ComposeResult
from tidings.pipeline.compose.select import Story, group_stories, is_note, matches_rules
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.pipeline.deliver.corrections import apply_corrections
from tidings.pipeline.deliver.recover import recover
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import PublishResult, publish
from tidings.pipeline.retention import delete_expired
from tidings.pipeline.track.bounces import record_session_refusals
from tidings.runtime.newsroom import Runtime
from tidings.store.content import editions, schedules
from tidings.store.content.items import load_items
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.store.service import heartbeat, pauses, restored
from tidings.store.service.clock import advance_clock


@dataclass
class TickResult:
    """What one beat did."""

    now: datetime
    collected: SweepResult | None = None
    published: PublishResult | None = None
    unpublished: str = ""
    """Why pages and feeds stay as they are: a template of the newsroom is broken."""
    composed: list[ComposeResult] = field(default_factory=list)
    delivered: Counter[str] = field(default_factory=Counter)
    stalled: dict[str, str] = field(default_factory=dict)
    notices: int = 0
    restored: str = ""
    """Said once, by the first beat after a restore."""


def tick(
    runtime: Runtime, now: datetime, *, deliver: bool = True, accept: bool = False, public: bool = True
) -> TickResult:
    """Do now what is due. A second call at the same moment does nothing. `public` False leaves public/ alone."""
    done = TickResult(now)
    with runtime.store.write() as connection:
        advance_clock(connection, now)
    end_due_pauses(runtime, now)
    with runtime.store.write() as connection:
        subscribers.expire_reconfirmations(connection, now)
    recover(runtime.store, runtime.liveness, now=now, policies=runtime.resend_policies())
    done.collected = collect(runtime.store, runtime.sources, now=now, url=runtime.newsroom.site.url, accept=accept)
    hold_withdrawn(runtime, now)
    apply_corrections(runtime.store, runtime.newsroom, runtime.channels, now)
    if public:
        publish_site(runtime, done)
    rename_outlets(runtime)
    resume_composing(runtime, now)
    for schedule in runtime.newsroom.schedules.values():
        set_baseline(runtime, schedule, now)
    done.restored = start_after_restore(runtime, now)
    for schedule in runtime.newsroom.schedules.values():
        composed = compose_due(runtime, schedule, now)
        if composed is not None:
            done.composed.append(composed)
    open_and_close(runtime, now)
    if public:
        publish_editions(runtime, done)
    delete_expired(runtime.store, runtime.newsroom.keep, now)
    done.notices = send_notices(runtime, now)
    with runtime.store.write() as connection:
        unread = done.collected.unread
        heartbeat.record_tick(connection, datetime.now(UTC), runtime.sources, unread, done.unpublished)
    runtime.answer_requests()
    if deliver:
        delivered = runtime.deliver()
        done.delivered.update(delivered.states)
        done.stalled.update(delivered.stalled)
        record_failures(runtime, delivered, now)
        if told := send_notices(runtime, now):
            done.notices += told
            done.delivered.update(runtime.deliver().states)
    return done


def start_after_restore(runtime: Runtime, now: datetime) -> str:
    """After a restore, once: hold what came due since the backup, and say what waits for a person."""
    with runtime.store.read() as connection:
        found = restored.find_restored(connection)
        if found is None or found.until is not None:
            return ""
        came_due = [
            one.name
            for one in runtime.newsroom.schedules.values()
            if isinstance(one.cadence.rule, OnNew)
            or ((due_now := find_due_slot(runtime, connection, one, now)) is not None and due_now.slot is not None)
        ]
        held = editions.list_editions(connection, states=[EditionState.HELD])
    names = [one.name for one in held if any(hold.reason is HoldReason.RESTORED for hold in one.holds)]
    text = f"The newsroom was restored from a backup of {found.made:%Y-%m-%d %H:%M} UTC; nothing is sent a second time."
    if names:
        text += f" Held, for they may have gone out since: {', '.join(names)}."
    if came_due:
        text += f" The next edition of each of these schedules is held too: {', '.join(sorted(came_due))}."
    if names or came_due:
        text += " Let each go with `tidings release`, or say `tidings resolve EDITION --accepted` if it had gone out."
    text += " Who left since the backup is not known: take them off with `tidings subscribers remove`."
    with runtime.store.write() as connection:
        restored.hold_next_editions(connection, came_due, now)
        notices.add(connection, f"restored:{found.at.isoformat()}", "restored", text, now)
    return text


def end_due_pauses(runtime: Runtime, now: datetime) -> None:
    """What was paused until now goes on."""
    with runtime.store.read() as connection:
        due = any(one.until is not None and one.until <= now for one in pauses.active_pauses(connection))
    if due:
        with runtime.store.write() as connection:
            pauses.end_due(connection, now)


def publish_site(runtime: Runtime, done: TickResult) -> None:
    """Publish. A broken page template stops that, and a person hears of it, but not what goes out by mail."""
    try:
        done.published = publish(runtime.store, runtime.newsroom, now=done.now)
    except InputError as error:
        record_unpublished(runtime, done, error)


def publish_editions(runtime: Runtime, done: TickResult) -> None:
    """What is being sent stands in the archive before the first mail that links it goes."""
    try:
        publish_archive(runtime.store, runtime.newsroom, now=done.now)
    except InputError as error:
        record_unpublished(runtime, done, error)


def record_unpublished(runtime: Runtime, done: TickResult, error: InputError) -> None:
    """Note why pages stay as they are."""
    done.unpublished = str(error)
    key = f"pages:{hashlib.sha256(done.unpublished.encode()).hexdigest()[:16]}:{done.now.date()}"
    with runtime.store.write() as connection:
        notices.add(connection, key, "refused", f"Pages and feeds stay as they are: {error}", done.now)


def rename_outlets(runtime: Runtime) -> None:
    """Take readers, their leave and what was sent along to the new name of a list or channel (`was`)."""
    newsroom = runtime.newsroom
    for kind, outlets in (("list", newsroom.lists), ("channel", newsroom.channels)):
        for name, settings in outlets.items():
            if not settings.was or settings.was in outlets:
                continue
            with runtime.store.read() as connection:
                known = subscribers.is_outlet_known(connection, kind, settings.was)
                known = known or pauses.is_known(connection, pauses.Scope(kind), settings.was)
            if known:
                with runtime.store.write() as connection:
                    pauses.rename(connection, pauses.Scope(kind), settings.was, name)
                    subscribers.rename_outlet(connection, kind, settings.was, name)


def set_baseline(runtime: Runtime, schedule: Schedule, now: datetime) -> None:
    """Set the baseline of a schedule that was never seen: what was out before does not go out, but for `backfill`."""
    with runtime.store.read() as connection:
        if schedules.find_schedule(connection, schedule.name) is not None:
            return
        known_before = schedule.was and schedules.find_schedule(connection, schedule.was) is not None
    with runtime.store.write() as connection:
        if known_before and schedule.was not in runtime.newsroom.schedules:
            pauses.rename(connection, pauses.Scope.SCHEDULE, str(schedule.was), schedule.name)
            schedules.rename_schedule(connection, str(schedule.was), schedule.name)
            return
        items = load_items(connection)
        kept = backfill_stories(group_stories(items, now).values(), schedule)
        # What has expired or is withdrawn today was out before all the same, should it come back.
        out = dict.fromkeys(item.story for item in items if item.out_at is not None and item.out_at <= now)
        schedules.begin_schedule(connection, schedule.name, now, [key for key in out if key not in kept])


def backfill_stories(stories: Iterable[Story], schedule: Schedule) -> set[str]:
    """Keys of the newest stories that a schedule takes though they were out before its baseline."""
    wanted = [story for story in stories if not is_note(story) and matches_rules(story, schedule.select)]
    newest = sorted(wanted, key=lambda story: (story.published, story.key), reverse=True)
    return {story.key for story in newest[: schedule.backfill]}


def compose_due(runtime: Runtime, schedule: Schedule, now: datetime) -> ComposeResult | None:
    """Claim and compose the slot of a schedule that is due, if there is one."""
    with runtime.store.read() as connection:
        found = find_due_slot(runtime, connection, schedule, now)
    if found is None:
        return None
    with runtime.store.read() as connection:
        if pauses.find_schedule_pause(pauses.active_pauses(connection), schedule.name) is not None:
            # What comes due meanwhile merges into one, once it goes on.
            return None
        before = pauses.ended_pauses(connection, schedule.name)
    slot = found.slot
    moments = [passed_over.key for passed_over in (*found.skipped, *found.merged)]

    def settle(connection: Connection) -> bool:
        """In the transaction that makes the edition: a crash leaves either both or neither."""
        for skipped in found.skipped:
            schedules.settle_slot(connection, schedule.name, skipped.key, "skipped", skipped.skip_reason or "", now)
        for merged in found.merged:
            schedules.settle_slot(connection, schedule.name, merged.key, "merged", "merged into a later slot", now)
        claimed = slot is not None and schedules.claim_slot(connection, schedule.name, slot.key, runtime.owner, now)
        reached = max([*moments, slot.key] if slot else moments)
        schedules.record_progress(connection, schedule.name, slot=reached, cut=now if slot else None)
        return claimed

    if slot is None:
        with runtime.store.write() as connection:
            settle(connection)
        return None
    lateness = now - slot.at - pauses.paused_time(before, slot.at, now)
    late = ""
    if lateness > schedule.cadence.max_late:
        late = f"its slot was {lateness / timedelta(hours=1):.0f} hours ago, more than max_late allows"
    return runtime.composer.compose(schedule, now, slot=slot, late=late, claim=settle)


def find_due_slot(runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime) -> DueSlots | None:
    """The slot that is due at `now` and not settled, with those that merge into it."""
    rule = schedule.cadence.rule
    state = schedules.find_schedule(connection, schedule.name)
    if state is None or isinstance(rule, OnRequest):
        return None
    if isinstance(rule, OnNew):
        first = first_new_story_at(runtime, connection, schedule, now, state.last_cut or state.baseline)
        if first is None:
            return None
        slot = find_slot_for_new(schedule.cadence, first)
        return DueSlots(slot=slot, merged=(), skipped=()) if slot.at <= now else None
    ahead = schedule.approval.ahead if schedule.approval else timedelta(0)
    after = max(moment for moment in (state.last_slot, state.baseline) if moment is not None)
    return find_due_slots(schedule.cadence, after, now + ahead)


def first_new_story_at(
    runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime, since: datetime
) -> datetime | None:
    """When the first story came out, or waited no longer, that `schedule` wants and that no slot has looked at."""
    edit = runtime.composer.draft(connection, schedule, now)
    moments = [story.out_at for story in edit.stories]
    moments += [moment for moment in translation_deadlines(connection, runtime.newsroom, edit) if moment <= now]
    return min((moment for moment in moments if moment > since), default=None)


def open_and_close(runtime: Runtime, now: datetime) -> None:
    """Open the mailings whose moment has come; close those whose window has shut. Silence may release (approval)."""
    with runtime.store.read() as connection:
        held = editions.list_editions(connection, states=[EditionState.HELD])
        sending = editions.list_editions(connection, states=[EditionState.SENDING])
    for edition in held:
        schedule = runtime.newsroom.schedules.get(edition.schedule)
        reasons = {hold.reason for hold in edition.holds}
        if (
            schedule is not None
            and schedule.approval is not None
            and schedule.approval.silence == "send"
            and reasons == {HoldReason.APPROVAL}
            and review.approval_deadline(edition, schedule) <= now
        ):
            sending.append(runtime.composer.release(edition, now, "silence"))
    with runtime.store.write() as connection:
        for edition in sending:
            runtime.composer.open_or_close(connection, edition, now)


def resume_composing(runtime: Runtime, now: datetime) -> None:
    """Compose anew what a crash left half frozen: nothing of it was handed over."""
    with runtime.store.read() as connection:
        left = editions.list_editions(connection, states=[EditionState.COMPOSING])
        owners = {edition.id: editions.get_owner(connection, edition.id) for edition in left}
    for edition in left:
        schedule, owner = runtime.newsroom.schedules.get(edition.schedule), owners[edition.id]
        if schedule is None or (owner != runtime.owner and runtime.liveness.is_alive(owner)):
            continue
        with runtime.store.write() as connection:
            mine = editions.take_over(connection, edition.id, owner, runtime.owner)
        if mine:
            runtime.composer.freeze(edition, schedule, now)


def hold_withdrawn(runtime: Runtime, now: datetime) -> None:
    """Hold what has not gone yet of every edition that carries a withdrawn story."""
    with runtime.store.read() as connection:
        live = editions.list_editions(connection, states=[EditionState.SENDING, EditionState.HELD])
        if not live:
            return
        withdrawn = {item.story: item for item in load_items(connection) if item.withdrawn}
        shown = {edition.id: editions.shown_stories(connection, edition.id) for edition in live}
    for edition in live:
        gone = sorted(key for key in shown[edition.id] | set(edition.stories) if key in withdrawn)
        known = any(hold.reason is HoldReason.WITHDRAWN for hold in edition.holds)
        if not gone or known:
            continue
        hold = Hold(HoldReason.WITHDRAWN, f"{gone[0]} was withdrawn: {withdrawn[gone[0]].withdrawn}")
        with runtime.store.write() as connection:
            if not ledger.has_unfinished(connection, edition.id):
                continue
            ledger.close_edition(connection, edition.id)
            changed = editions.set_state(
                connection,
                edition,
                EditionState.HELD,
                now=now,
                what=f"held: {hold.detail}",
                holds=[*edition.holds, hold],
            )
            notices.add_held(connection, changed, now)


def record_failures(runtime: Runtime, delivered: DeliverySummary, now: datetime) -> None:
    """Note what went wrong in delivering, so that a person hears of it once a day and lane."""
    if delivered.states["rejected"]:
        record_session_refusals(runtime.store, runtime.newsroom.bounces.soft, now)
    day = now.date().isoformat()
    with runtime.store.write() as connection:
        for lane, reason in delivered.stalled.items():
            what = f"Channel {lane}" if lane else "Mail"
            notices.add(connection, f"stalled:{lane}:{day}", "failed", f"{what} cannot be sent: {reason}", now)
        for lane, reason in delivered.disabled.items():
            notices.add(connection, f"disabled:{lane}:{day}", "failed", f"Channel {lane} is gone: {reason}", now)
        bad = {state: count for state in ("rejected", "in_doubt", "quarantined") if (count := delivered.states[state])}
        if bad:
            words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in bad.items())
            text = f"Deliveries failed: {words}. See them: tidings ledger --state {next(iter(bad))}"
            notices.add(connection, f"failed:{now.isoformat()}", "failed", text, now)


def send_notices(runtime: Runtime, now: datetime) -> int:
    """Make mailings of what a person must hear of."""
    notify = runtime.newsroom.notify
    default = runtime.newsroom.site.languages[0]
    return notices.send_notices(
        runtime.store,
        now,
        to=notify.to if notify else (),
        channel=notify.channel if notify else None,
        title=runtime.newsroom.site.title.get(default, default),
    )
