"""Retention (`keep`): once a day, delete old rows, one page at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from tidings.config.retention import Retention
from tidings.store.delivery import retention
from tidings.store.engine import Store
from tidings.store.key_values import find_value, set_value
from tidings.store.people import retention as people_retention
from tidings.store.people.retention import ExpiredRows
from tidings.store.service import events

BUDGET = 3.0
"""Most seconds in one tick, so that no slot has to wait. The next tick continues."""
_KEEP_COUNTERS = timedelta(days=7)
"""How long request counters are kept: longer than the window of any limit."""
_FACT = "kept_on"
_DeletePage = Callable[[], int]
"""Deletes one page of rows. Returns their number, 0 when none are left."""


def delete_expired(store: Store, keep: Retention, now: datetime, budget: float = BUDGET) -> int:
    """Delete rows older than `keep` at `now`. Returns their number. Does nothing if it has finished for the day."""
    today = now.date().isoformat()
    with store.read() as connection:
        if find_value(connection, _FACT) == today:
            return 0
    end = time.monotonic() + budget
    deleted = 0
    for delete_page in [*_ledger_pages(store, keep.ledger, now), *_people_pages(store, keep, now)]:
        count = 1
        while count:
            if time.monotonic() > end:
                return deleted
            count = delete_page()
            deleted += count
    with store.write() as connection:
        set_value(connection, _FACT, today)
    return deleted


def _ledger_pages(store: Store, keep: timedelta | None, now: datetime) -> Iterator[_DeletePage]:
    if keep is None:
        return
    before = now - keep
    with store.read() as connection:
        mailings = retention.old_mailings(connection, before)

    def delete_page(delete: Callable[[Connection], int]) -> int:
        with store.write() as connection:
            return delete(connection)

    for mailing in mailings:
        yield partial(delete_page, partial(retention.delete_old_deliveries, mailing=mailing, before=before))
    yield partial(delete_page, partial(retention.delete_old_records, before=before))
    yield partial(delete_page, partial(events.delete_old_events, before=min(before, now - events.KEPT)))


def _people_pages(store: Store, keep: Retention, now: datetime) -> Iterator[_DeletePage]:
    def delete_page(expired: ExpiredRows) -> int:
        with store.read() as connection:
            keys = connection.execute(expired.find).scalars().all()
        if not keys:
            return 0
        with store.write() as connection:
            return expired.take(connection, keys)

    for expired in (
        people_retention.expired_pending(now - keep.pending),
        people_retention.expired_left(now - keep.left),
        people_retention.expired_consents(now - keep.left),
        people_retention.expired_ip_addresses(now - keep.ip),
        people_retention.expired_feedback(now - keep.returns),
        people_retention.expired_limits(now - _KEEP_COUNTERS),
    ):
        yield partial(delete_page, expired)
