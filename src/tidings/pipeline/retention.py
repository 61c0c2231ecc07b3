"""`keep`: once a day, what is older than the newsroom keeps is taken out, a page at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from tidings.config.retention import Retention
from tidings.store.delivery import retention
from tidings.store.engine import Store
from tidings.store.facts import find_fact, set_fact
from tidings.store.people import retention as people_retention
from tidings.store.people.retention import ExpiredRows

BUDGET = 3.0
"""Seconds of one beat: what is left goes on with the next, and no slot waits for it."""
COUNTERS = timedelta(days=7)
"""Of what was asked for: longer than any limit looks back."""
_NAME = "kept_on"


def delete_expired(store: Store, keep: Retention, now: datetime, budget: float = BUDGET) -> int:
    """Take out what is older than `keep` at `now`; returns how many rows. Does nothing once it is done for the day."""
    today = now.date().isoformat()
    with store.read() as connection:
        if find_fact(connection, _NAME) == today:
            return 0
    ends = time.monotonic() + budget
    taken = 0
    for page_of in [*_of_ledger(store, keep.ledger, now), *_of_people(store, keep, now)]:
        page = 1
        while page:
            if time.monotonic() > ends:
                return taken
            page = page_of()
            taken += page
    with store.write() as connection:
        set_fact(connection, _NAME, today)
    return taken


Page = Callable[[], int]
"""Takes a page of something; returns how many rows, 0 once there are none."""


def _of_ledger(store: Store, keep: timedelta | None, now: datetime) -> Iterator[Page]:
    if keep is None:
        return
    before = now - keep
    with store.read() as connection:
        mailings = retention.old_mailings(connection, before)

    def page_of(take: Callable[[Connection], int]) -> int:
        with store.write() as connection:
            return take(connection)

    for mailing in mailings:
        yield partial(page_of, partial(retention.delete_old_deliveries, mailing=mailing, before=before))
    yield partial(page_of, partial(retention.delete_old_records, before=before))


def _of_people(store: Store, keep: Retention, now: datetime) -> Iterator[Page]:
    def page_of(old: ExpiredRows) -> int:
        with store.read() as connection:
            keys = connection.execute(old.find).scalars().all()
        if not keys:
            return 0
        with store.write() as connection:
            return old.take(connection, keys)

    for old in (
        people_retention.expired_pending(now - keep.pending),
        people_retention.expired_left(now - keep.left),
        people_retention.expired_consents(now - keep.left),
        people_retention.expired_ip_addresses(now - keep.ip),
        people_retention.expired_feedback(now - keep.returns),
        people_retention.expired_limits(now - COUNTERS),
    ):
        yield partial(page_of, old)
