"""`keep`: once a day, what is older than the newsroom keeps is taken out, a page at a time."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from tidings.store import kept
from tidings.store import schema as t
from tidings.store.engine import Store

BUDGET = 3.0
"""Seconds of one beat: what is left goes on with the next, and no slot waits for it."""
_NAME = "kept_on"


def retain(store: Store, keep: timedelta | None, now: datetime, budget: float = BUDGET) -> int:
    """Take out what is older than `keep` at `now`; returns how many rows. Does nothing once it is done for the day."""
    if keep is None:
        return 0
    today = now.date().isoformat()
    before = now - keep
    with store.read() as connection:
        if connection.execute(select(t.facts.c.value).where(t.facts.c.name == _NAME)).scalar_one_or_none() == today:
            return 0
        mailings = kept.old_mailings(connection, before)
    ends = time.monotonic() + budget
    taken = 0
    for mailing in mailings:
        while time.monotonic() < ends:
            with store.write() as connection:
                page = kept.take_page(connection, mailing, before)
            taken += page
            if page < kept.PAGE:
                break
        else:
            return taken
    while time.monotonic() < ends:
        with store.write() as connection:
            page = kept.take_records(connection, before)
            if not page:
                _done(connection, today)
                return taken
        taken += page
    return taken


def _done(connection: Connection, today: str) -> None:
    f = t.facts
    if connection.execute(update(f).where(f.c.name == _NAME).values(value=today)).rowcount == 0:
        connection.execute(insert(f).values(name=_NAME, value=today))
