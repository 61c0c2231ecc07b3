"""Recover deliveries of crashed processes, and settle deliveries in doubt by a person's decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tidings.channels.base import Channel, KnowsAddresses
from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.pipeline.deliver.outcomes import ResendPolicies, values_after_attempt, values_after_crash
from tidings.store.delivery import claims, failover, ledger, settling, threads
from tidings.store.delivery.failover import SenderMemory
from tidings.store.delivery.journal import Journal, JournalRecord, delete_record, read_record
from tidings.store.engine import Store
from tidings.store.locks import Liveness
from tidings.store.people import consent
from tidings.store.service.restored import mark_forgotten


def recover(
    store: Store,
    liveness: Liveness,
    *,
    now: datetime,
    policies: ResendPolicies,
    real_now: datetime | None = None,
) -> Counter[str]:
    """Take over the deliveries of dead processes, and deliveries leased for too long. Returns the new states.

    `now` is the newsroom's clock. Leases go by `real_now`. Call it at each start and every 30 seconds.
    """
    journal = Journal(store)
    real_now = real_now or datetime.now(UTC)
    states: Counter[str] = Counter()
    liveness.refresh()
    if not failover.is_settled(store, real_now):
        # A process that has not connected again looks dead, but knows what became of its deliveries.
        return states
    with store.read() as connection:
        holders = claims.list_owners(connection)
    for owner in dict.fromkeys([*holders, *sorted(journal.owners()), *liveness.list_dead()]):
        is_alive = liveness.is_alive(owner)
        if is_alive and owner not in holders:
            continue
        states += _recover_owner(
            store, owner, policies=policies, now=now, real_now=real_now, expired_at=real_now if is_alive else None
        )
        if not is_alive:
            liveness.forget(owner)
    ledger.cancel_leftovers(store, now)
    return states


def recover_own(store: Store, owner: str, *, now: datetime, real_now: datetime, policies: ResendPolicies) -> None:
    """Recover what an interrupted run of this process left. Call it only while this process sends nothing.

    After the database was restarted, a claim may be committed although its sender knows nothing of it.
    """
    journal = Journal(store)
    with store.read() as connection:
        is_holder = owner in claims.list_owners(connection)
    if is_holder or owner in journal.owners():
        _recover_owner(store, owner, policies=policies, now=now, real_now=real_now)


def recover_forgotten(
    store: Store,
    owner: str,
    memory: SenderMemory,
    *,
    may_change: bool,
    lease: timedelta,
    now: datetime,
    real_now: datetime,
    policies: ResendPolicies,
) -> None:
    """Write into the ledger what the server that took over has forgotten of this process. It must send nothing now.

    What was accepted becomes accepted again. What has no outcome is in doubt. Without `may_change` others have claimed
    since, so that only a notice is written.
    """
    record, claimed = JournalRecord(), memory.claims()
    for line in memory.lines():
        record.add(line)
    fences = {number: fence for number, fence in sorted(record.intents) if number in claimed}
    with store.write() as connection:
        missing = list(fences)
        if may_change:
            until = real_now + lease
            missing = failover.take_back(connection, owner, fences, claimed, real_now=real_now, until=until)
        if missing:
            schedules = sorted({claimed[number].schedule for number in missing} - {""})
            mark_forgotten(connection, schedules if may_change else [], count=len(missing), owner=owner, now=now)
    if may_change:
        _recover_owner(store, owner, policies=policies, now=now, real_now=real_now, memory=record)


def _recover_owner(
    store: Store,
    owner: str,
    *,
    policies: ResendPolicies,
    now: datetime,
    real_now: datetime,
    expired_at: datetime | None = None,
    memory: JournalRecord | None = None,
) -> Counter[str]:
    """Settle what an owner has claimed by what its journal says, and delete its journal.

    With `expired_at`, settle only expired leases, and keep the journal. `memory`: what the process itself remembers, if
    its journal was lost with a server.
    """
    boot = Journal(store).boot()
    with store.write() as connection:
        if expired_at is not None and not claims.get_claimed(connection, owner, expired_at=expired_at):
            return Counter()
        # PostgreSQL may have ended the session of the lock while the process lives and sends. From here on, none of its
        # messages begins before it has found out what it still holds. So its journal is complete.
        consent.advance_version(connection)
        record = memory or read_record(connection, owner)
        # The last journal lines before the machine went down may be lost. Then nothing proves that nothing was sent.
        may_be_lost = memory is None and record.boots != {boot}
        event = "the machine went down" if may_be_lost else "the database failed over" if memory else "the process died"
        held = claims.get_claimed(connection, owner, expired_at=expired_at)
        results = [(row, _recovered_values(row, record, event, may_be_lost, policies, now, real_now)) for row in held]
        settling.settle(connection, owner, results)
        if expired_at is None:
            delete_record(connection, owner)
    return Counter(str(values["state"]) for _, values in results)


def _recovered_values(
    row: Delivery,
    record: JournalRecord,
    event: str,
    may_be_lost: bool,
    policies: ResendPolicies,
    now: datetime,
    real_now: datetime,
) -> dict[str, Any]:
    key = (row.id, row.fence)
    if key in record.prepared and key not in record.intents and not may_be_lost:
        return values_after_crash(row, "the process died three times while it prepared this message", now)
    if row.state == DeliveryState.LEASED:
        # Written by version 0.1, which claimed deliveries ahead.
        return settling.requeued(row)
    outcome = record.outcomes.get(key)
    if outcome is not None:
        return values_after_attempt(row, outcome, policies, now=now, real_now=real_now)
    if key in record.intents or may_be_lost:
        unknown = Outcome(Verdict.UNKNOWN, reason=f"{event} while this message was being sent")
        return values_after_attempt(row, unknown, policies, now=now, real_now=real_now) | {"crashes": row.crashes + 1}
    return settling.requeued(row)


def resolve_in_doubt(
    store: Store,
    channels: Mapping[str, Channel],
    delivery: int,
    how: Literal["accepted", "resend", "cancel"],
    now: datetime,
    *,
    url: str = "",
    alone: bool = False,
) -> None:
    """Record a person's decision about a delivery in doubt.

    `url` is the address of the post. Replies in its thread need the post's id, which the channel reads from it; with
    `alone` they are left out. Raises InputError for an unknown id, and RefusedError if the delivery is not in doubt or
    if replies wait and there is no id.
    """
    receipt = ""
    if how == "accepted":
        with store.read() as connection:
            name, replies = threads.count_replies(connection, delivery)
        channel = channels.get(name)
        reads_urls = isinstance(channel, KnowsAddresses)
        if isinstance(channel, KnowsAddresses) and url:
            receipt = channel.receipt_at(url)
        if replies and not receipt and not alone:
            if not reads_urls:
                problem = f"but channel {name!r} cannot identify a post by its address"
            elif url:
                problem = f"but {url} is not a post of channel {name!r}. Give the address that a browser shows for it"
            else:
                problem = f"and the address of the post is missing: tidings resolve {delivery} --accepted URL"
            waiting = f"{count_noun(replies, 'post', 'posts')} of its thread {'wait' if replies > 1 else 'waits'}"
            raise RefusedError(
                f"{waiting} to reply to delivery {delivery}, {problem}. To leave them out: --accepted --alone"
            )
    with store.write() as connection:
        ledger.resolve(connection, delivery, how, now, url=url, receipt=receipt)
