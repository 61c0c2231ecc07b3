"""Decisions on an edition by a person: release, cancel, build again, change. The room and the API call these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import RefusedError
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.compose import review
from tidings.pipeline.compose.edit import EditionChanges
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import TickResult, publish_editions

Decision = Literal["release", "cancel", "recompose"]
DECISIONS: dict[str, Decision] = {"release": "release", "cancel": "cancel", "recompose": "recompose"}
_PATIENCE = 20.0
"""Seconds for which a decision waits for another edition that is being built."""


class ComposingNowError(RefusedError):
    """The service is still building another edition. Nothing was done."""


def decide(runtime: Runtime, edition: Edition, decision: Decision, now: datetime, who: str) -> str:
    """Release, cancel or build an edition again. Raises InputError or RefusedError.

    Returns what was done: released, cancelled, recomposed, or approved if other people must approve it too.
    """
    may_stop = edition.state in (EditionState.HELD, EditionState.SENDING)
    if edition.state is not EditionState.HELD and not (decision == "cancel" and may_stop):
        raise RefusedError(f"{edition.name} is {edition.state.value}, not held.")
    done = "cancelled"
    if decision == "release":
        schedule = runtime.newsroom.schedules.get(edition.schedule)
        with runtime.store.read() as connection:
            lacking = count_lacking(connection, edition, schedule, who)
        if lacking > 0 and not review.find_approver(schedule, who):
            raise RefusedError(f"{edition.name} needs the approval of several people, and not all have approved it.")
        if runtime.editions.release(edition, now, who).state is EditionState.HELD:
            return "approved"
        done = "released"
    elif decision == "cancel":
        runtime.editions.cancel(edition, now, who)
    else:
        collect(runtime.store, runtime.sources, now=now, url=runtime.newsroom.site.url)
        with _composing(runtime):
            runtime.composer.recompose(edition, find_schedule(runtime, edition), now, who)
        done = "recomposed"
    # A mail that is sent at once links to its page in the archive.
    publish_editions(runtime, TickResult(now))
    return done


def count_lacking(connection: Connection, edition: Edition, schedule: Schedule | None, who: str) -> int:
    """Return how many approvals the edition would still need after this person approves it; 0 if one is enough."""
    approval = schedule.approval if schedule is not None else None
    if schedule is None or approval is None or approval.needed < 2 or not review.waits_for_approval(edition):
        return 0
    people = {*review.find_approvals(connection, edition, schedule), review.find_approver(schedule, who)} - {""}
    return approval.needed - len(people)


def change(runtime: Runtime, edition: Edition, changes: EditionChanges, now: datetime, who: str) -> Edition:
    """Change a held edition and freeze it again. Raises InputError or RefusedError."""
    schedule = find_schedule(runtime, edition)
    with _composing(runtime):
        return runtime.composer.edit(edition, schedule, changes, now, who)


def goes_at_once(edition: Edition, now: datetime) -> bool:
    """Whether a release sends at once, so that nobody can take it back."""
    return edition.starts <= now


def find_schedule(runtime: Runtime, edition: Edition) -> Schedule:
    """Return the schedule of an edition. Raises RefusedError if it is gone."""
    schedule = runtime.newsroom.schedules.get(edition.schedule)
    if schedule is None:
        raise RefusedError(f"the schedule {edition.schedule} no longer exists, so {edition.name} stays as it is.")
    return schedule


@contextmanager
def _composing(runtime: Runtime) -> Iterator[None]:
    """Let no other thread of the service compose meanwhile. Raises ComposingNowError if one takes too long."""
    if not runtime.composing.acquire(timeout=_PATIENCE):
        raise ComposingNowError("An edition is being built now. Please try again in a minute.")
    try:
        yield
    finally:
        runtime.composing.release()
