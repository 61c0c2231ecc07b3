"""One cycle of the newsroom: collect, publish, compose what is due, deliver."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tidings.model.errors import InputError
from tidings.model.plurals import count_noun
from tidings.pipeline import notices
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.collect.writing import SweepResult
from tidings.pipeline.compose.baseline import note_cadence_edits, rename_outlets, set_baseline
from tidings.pipeline.compose.composer import ComposeResult
from tidings.pipeline.compose.due import compose_due, hold_after_restore, resume_composing
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.pipeline.deliver.corrections import apply_corrections
from tidings.pipeline.deliver.recovery import recover
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import publish
from tidings.pipeline.publish.writing import PublishResult, describe_unwritable
from tidings.pipeline.retention import delete_expired
from tidings.runtime.newsroom import Runtime
from tidings.store.delivery.failover import is_settled
from tidings.store.delivery.notices import delete_notice
from tidings.store.people import subscribers
from tidings.store.service import heartbeat, pauses
from tidings.store.service.clock import advance_clock


@dataclass
class TickResult:
    """The results of one cycle."""

    now: datetime
    collected: SweepResult | None = None
    published: PublishResult | None = None
    unpublished: str = ""
    """Why pages and feeds are not up to date: an error in a template, or files that cannot be written. Or ''."""
    edited: dict[str, str] = field(default_factory=dict)
    """A sentence about each changed cadence, by schedule."""
    composed: list[ComposeResult] = field(default_factory=list)
    delivered: Counter[str] = field(default_factory=Counter)
    stalled: dict[str, str] = field(default_factory=dict)
    notices: int = 0
    restored: str = ""
    """The decision that a person must make. Set only by the first cycle after a restore."""


def tick(
    runtime: Runtime, now: datetime, *, deliver: bool = True, accept: bool = False, public: bool = True
) -> TickResult:
    """Do everything that is due at `now`. A second call at the same moment does nothing.

    1. Advance the clock, end pauses and expired re-confirmations, and recover deliveries of dead processes. After a
       failover of the database, nothing else is done until all senders have reported.
    2. Collect items; hold editions with withdrawn stories; correct posts that are already out.
    3. Publish feeds and pages (unless `public` is False).
    4. Compose: apply renames, resume unfinished editions, set baselines, note changed cadences, compose due slots,
       open due editions.
    5. Publish the edition archive, delete old data as `keep` says, and queue notices.
    6. Answer sign-ups and deliver (unless `deliver` is False).

    `accept`: believe a source that lost many items at once.
    """
    store, newsroom, composer, lifecycle = runtime.store, runtime.newsroom, runtime.composer, runtime.editions
    result = TickResult(now)
    runtime.occupancy.refresh()
    with store.write() as connection:
        advance_clock(connection, now)
        pauses.end_due(connection, now)
    expired = True
    while expired:
        with store.write() as connection:
            expired = bool(subscribers.expire_reconfirmations(connection, now))
    if not is_settled(store, datetime.now(UTC)):
        # New deliveries could get the ids of forgotten ones. A new edition may have been sent already.
        result.stalled[""] = (
            "the database failed over; sending goes on when all workers have reported, within 2 minutes"
        )
        return result
    recover(store, runtime.liveness, now=now, policies=runtime.resend_policies())

    result.collected = collect(
        store,
        runtime.sources,
        now=now,
        url=newsroom.site.url,
        accept=accept,
        unchanged=runtime.unchanged_sweeps,
        listings=runtime.listings,
    )
    lifecycle.hold_withdrawn(now)
    apply_corrections(store, newsroom, runtime.channels, now)
    if public:
        publish_site(runtime, result)

    rename_outlets(store, newsroom)
    with runtime.composing:
        resume_composing(composer, runtime.liveness, now)
        for schedule in newsroom.schedules.values():
            set_baseline(store, newsroom, schedule, now)
        result.edited = note_cadence_edits(store, newsroom, now)
        result.restored = hold_after_restore(composer, now)
        for schedule in newsroom.schedules.values():
            composed = compose_due(composer, schedule, now)
            if composed is not None:
                result.composed.append(composed)
        lifecycle.open_due(now)

    if public:
        publish_editions(runtime, result)
    delete_expired(store, newsroom.keep, now)
    result.notices = send_notices(runtime, now)
    with store.write() as connection:
        unread = result.collected.unread
        heartbeat.record_tick(connection, datetime.now(UTC), runtime.sources, unread, result.unpublished)

    runtime.answer_requests()
    if deliver:
        delivered = runtime.deliver()
        record_failures(runtime, runtime.deliver_events(), now)
        result.delivered.update(delivered.states)
        result.stalled.update(delivered.stalled)
        record_failures(runtime, delivered, now)
        if count := send_notices(runtime, now):
            result.notices += count
            result.delivered.update(runtime.deliver(patient=True).states)
    return result


def publish_site(runtime: Runtime, result: TickResult) -> None:
    """Publish feeds and pages. An error in a template, or a full disk, stops only this, not the mails."""
    with _noting_unpublished(runtime, result) as causes:
        result.published = publish(runtime.store, runtime.newsroom, now=result.now)
        causes += result.published.failed


def publish_editions(runtime: Runtime, result: TickResult) -> None:
    """Publish the edition archive, before the first mail that links to it is sent. Then copy all into the bucket.

    The bucket is brought up to date also if a page failed. The next cycle tries again what failed here.
    """
    with _noting_unpublished(runtime, result) as causes:
        causes += publish_archive(runtime.store, runtime.newsroom, now=result.now).failed
    with _noting_unpublished(runtime, result) as causes:
        causes += filter(None, [runtime.copy_to_bucket().failed])


@contextmanager
def _noting_unpublished(runtime: Runtime, result: TickResult) -> Iterator[list[str]]:
    """Take the causes why files are not up to date, and an error that may stop nothing else, and note them."""
    causes: list[str] = []
    try:
        yield causes
    except InputError as error:
        causes.append(str(error))
    except OSError as error:
        public = runtime.newsroom.public
        causes.append(describe_unwritable(Path(error.filename or public), error, public))
    _record_unpublished(runtime, result, causes)


def _record_unpublished(runtime: Runtime, result: TickResult, causes: Sequence[str]) -> None:
    """Note why pages are not up to date, and add a notice: one a day for the same cause."""
    if not causes or result.unpublished:
        return
    more = len(causes) - 1
    result.unpublished = causes[0] + (f" (and {count_noun(more, 'more file')})" if more else "")
    key = f"pages:{hashlib.sha256(result.unpublished.encode()).hexdigest()[:16]}:{result.now.date()}"
    with runtime.store.write() as connection:
        text = f"Pages and feeds are not up to date: {result.unpublished}"
        notices.add(connection, key, "refused", text, result.now)


def record_failures(runtime: Runtime, delivered: DeliverySummary, now: datetime) -> None:
    """Queue notices about failed deliveries: one for each channel that cannot post, until it works again."""
    day = now.date().isoformat()
    with runtime.store.write() as connection:
        for lane in delivered.recovered:
            delete_notice(connection, f"stalled:{lane}")
        for lane, reason in delivered.stalled.items():
            if lane:
                text = (
                    f"The channel {lane} cannot post: {reason}.\nIts posts wait. They go out after the mend.\n"
                    "If only this post is at fault: tidings resolve DELIVERY --cancel, and the others go on."
                )
                notices.add(connection, f"stalled:{lane}", "failed", text, now)
            else:
                notices.add(connection, f"stalled::{day}", "failed", f"Mail cannot be sent: {reason}", now)
        bad = {state: count for state in ("rejected", "in_doubt", "quarantined") if (count := delivered.states[state])}
        if bad:
            words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in bad.items())
            text = f"Deliveries failed: {words}. To see them: tidings ledger --state {next(iter(bad))}"
            notices.add(connection, f"failed:{now.isoformat()}", "failed", text, now)


def send_notices(runtime: Runtime, now: datetime) -> int:
    """Queue the mail and post to the team about new notices. Returns the number of notices."""
    notify, site = runtime.newsroom.notify, runtime.newsroom.site
    default = site.languages[0]
    return notices.send_notices(
        runtime.store,
        now,
        to=notify.to if notify else (),
        channel=notify.channel if notify else None,
        title=site.title.get(default, default),
        language=default,
    )
