"""After a crash: what a dead process had in hand goes on, and what may have arrived is not taken for unsent."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.pipeline.deliver.outcomes import ResendPolicies, values_after_attempt, values_after_crash
from tidings.store.delivery import claims, ledger, settling
from tidings.store.delivery.journal import Journal, JournalRecord, open_journal
from tidings.store.engine import Store
from tidings.store.locks import Liveness

INTERVAL = 30.0
"""Seconds between two calls while the service runs."""


def recover(
    store: Store,
    liveness: Liveness,
    *,
    now: datetime,
    policies: ResendPolicies,
    journal: Journal | None = None,
    real_now: datetime | None = None,
) -> Counter[str]:
    """Take over what dead processes held, and what living ones held for too long; returns the new states, counted.

    `now` is the newsroom's clock, `real_now` the real one by which leases go. Call it at each start and every 30 s.
    """
    journal = journal or open_journal(store)
    real_now = real_now or datetime.now(UTC)
    found: Counter[str] = Counter()
    liveness.refresh()
    with store.read() as connection:
        holders = claims.list_owners(connection)
    for owner in dict.fromkeys([*holders, *sorted(journal.owners()), *liveness.list_dead()]):
        # In this order: who is dead writes no more, so that its journal is complete.
        is_alive = liveness.is_alive(owner)
        if is_alive and owner not in holders:
            continue
        record = journal.read(owner)
        boot = journal.boot()
        with store.write() as connection:
            held = claims.get_claimed(connection, owner, expired_at=real_now if is_alive else None)
            results = [(row, _values(row, record, boot, policies, now, real_now)) for row in held]
            settling.settle(connection, owner, results)
        found.update(str(values["state"]) for _, values in results)
        if not is_alive:
            journal.forget(owner)
            liveness.forget(owner)
    with store.write() as connection:
        ledger.cancel_leftovers(connection, now)
    return found


def _values(
    row: Delivery, record: JournalRecord, boot: str, policies: ResendPolicies, now: datetime, real_now: datetime
) -> dict[str, Any]:
    key = (row.id, row.fence)
    if key in record.prepared and key not in record.intents:
        return values_after_crash(row, "the process died three times while it prepared this message", now)
    if row.state == DeliveryState.LEASED:
        return settling.requeued(row)
    outcome = record.outcomes.get(key)
    if outcome is not None:
        return values_after_attempt(row, outcome, policies, now=now, real_now=real_now)
    # What was written shortly before the machine went down may be lost: then nothing proves that it was not sent.
    lost = record.boots != {boot}
    if key in record.intents or lost:
        what = "the machine went down" if lost else "the process died"
        unknown = Outcome(Verdict.UNKNOWN, reason=f"{what} while this was on the wire")
        return values_after_attempt(row, unknown, policies, now=now, real_now=real_now) | {"crashes": row.crashes + 1}
    return settling.requeued(row)
