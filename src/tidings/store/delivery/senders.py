"""The health of the senders of mail and of the channels, for all processes and across restarts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.model.throttling import SenderHealth
from tidings.store import schema as t
from tidings.store.engine import insert_once


def load_healths(connection: Connection, known: Mapping[str, str] | None) -> dict[str, SenderHealth]:
    """Health of senders that failed recently, by name. `known` has the fingerprints of their settings.

    Changed settings (a new password, another host) clear earlier failures. If `known` is None, nothing is known about
    the settings here, and every sender counts.
    """
    s = t.senders.c
    return {
        row.name: SenderHealth(row.failures, row.reason, row.down_until)
        for row in connection.execute(select(s.name, s.fingerprint, s.failures, s.reason, s.down_until))
        if known is None or known.get(row.name) == row.fingerprint
    }


def record_failure(
    connection: Connection,
    name: str,
    fingerprint: str,
    reason: str,
    now: datetime,
    retry_after: float | None = None,
) -> SenderHealth:
    """Record that a sender could not be reached or refused the login. `now` is real time."""
    s = t.senders.c
    empty = {"fingerprint": fingerprint, "failures": 0, "reason": "", "down_until": None}
    connection.execute(insert_once(connection, t.senders).values(name=name, **empty))
    row = connection.execute(
        select(s.fingerprint, s.failures, s.reason, s.down_until).where(s.name == name).with_for_update()
    ).one()
    before = (
        SenderHealth(row.failures, row.reason, row.down_until) if row.fingerprint == fingerprint else SenderHealth()
    )
    after = before.after_failure(reason[:300], now, retry_after)
    connection.execute(
        update(t.senders)
        .where(s.name == name)
        .values(fingerprint=fingerprint, failures=after.failures, reason=after.reason, down_until=after.down_until)
    )
    return after


def record_success(connection: Connection, name: str) -> bool:
    """Record that a sender accepted a message: earlier failures no longer count. Returns whether there were any."""
    return bool(connection.execute(delete(t.senders).where(t.senders.c.name == name)).rowcount)
