"""The usual step of a send on SQLite without a detour: what was taken is settled, and what goes next is permitted.

By the same rules as in `settling`, `claims` and `permission`, in one transaction of the driver's: what SQLAlchemy adds
to each statement costs more than the step itself, and a row that is leased and permitted at once is written once less.
Whatever is not usual is left to those.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tidings.model.delivery import Delivery, DeliveryState
from tidings.store.delivery.claims import BLOCKED_STATES
from tidings.store.delivery.settling import IS_ERASED_READER
from tidings.store.engine import BUSY_TIMEOUT
from tidings.store.people.consent import VERSION
from tidings.store.schema import EPOCH

Taken = tuple[int, int, str, str]
"""What the other side took: delivery, fence, receipt, via."""
_MICROSECOND = timedelta(microseconds=1)
_ACCEPT = f"""
    UPDATE deliveries SET
        state = 'accepted', reason = '', attempts = attempts + 1, via = ?4,
        receipt = CASE WHEN {IS_ERASED_READER} AND ?3 LIKE '%@%' THEN '' ELSE ?3 END,
        owner = '', lease_until = NULL, next_at = NULL, not_before = NULL, at = ?6
    WHERE id = ?1 AND fence = ?2 AND owner = ?5 AND coalesce(state, '') = 'handed'
"""  # noqa: S608
_PAUSES = "SELECT 1 FROM pauses WHERE ended IS NULL LIMIT 1"
_MAILINGS = f"""
    SELECT m.id, m.schedule, m.edition FROM mailings AS m LEFT JOIN editions AS e ON e.id = m.edition
    WHERE m.open AND (m.edition IS NULL OR e.state NOT IN ({", ".join(f"'{state}'" for state in BLOCKED_STATES)}))
        AND (m.closes IS NULL OR m.closes > :now) AND (:only IS NULL OR m.id = :only)
    ORDER BY m.urgent DESC, m.id
"""  # noqa: S608
_COUNTER = "SELECT value FROM facts WHERE name = ?"
_GOES = "channel = '' AND (not_before IS NULL OR not_before <= :real_now)"
_DUE = f"""
    SELECT d.id, d.list, d.channel, d.story, d.purpose, d.part, d.target, d.subscriber, p.address, p.name, p.language,
        d.selection, d.rendition, 'handed', d.attempts, d.doubts, d.crashes, d.fence + 1, p.address_hash, d.handed_at
    FROM deliveries AS d
    JOIN subscribers AS p ON p.id = d.subscriber
    JOIN subscriptions AS u ON u.subscriber = d.subscriber AND u.list = d.list AND u.state = 'confirmed'
    LEFT JOIN suppressions AS everywhere ON everywhere.hash = p.address_hash AND everywhere.list = ''
    LEFT JOIN suppressions AS here ON here.hash = p.address_hash AND here.list = d.list
    WHERE d.state = 'pending' AND d.mailing = :mailing AND d.next_at IS NULL AND d.id > :after AND {_GOES}
        AND d.crashes = 0 AND d.details = '{{}}' AND d.selection IS NOT NULL AND d.rendition IS NOT NULL
        AND p.address <> '' AND everywhere.hash IS NULL AND here.hash IS NULL
    ORDER BY d.id LIMIT :room
"""  # noqa: S608
_WAITS = (
    f"SELECT 1 FROM deliveries WHERE state = 'pending' AND mailing = :mailing AND {_GOES} LIMIT 1",  # noqa: S608
    f"""
    SELECT 1 FROM deliveries
    WHERE state IN ('deferred', 'in_doubt') AND mailing = :mailing AND next_at <= :now AND {_GOES} LIMIT 1
    """,  # noqa: S608
)
_HAND = """
    UPDATE deliveries SET
        state = 'handed', owner = :owner, fence = fence + 1, lease_until = :until, next_at = NULL, not_before = NULL,
        sender = :sender, handed_at = CASE WHEN doubts > 0 AND handed_at IS NOT NULL THEN handed_at ELSE :real_now END
"""
_HAND_RANGE = f"{_HAND} WHERE id BETWEEN :first AND :last AND coalesce(state, '') = 'pending'"
_HAND_ONE = f"{_HAND} WHERE id = :id AND coalesce(state, '') = 'pending'"


class GrantedBatch(NamedTuple):
    """What may be sent now, in the order in which it goes, for which state of consent."""

    deliveries: Sequence[Delivery]
    version: int
    is_over: bool
    """Nothing more is due."""


class SqliteFastPath:
    """A connection of its own. For one thread."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(
            database, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        # As everywhere: with NORMAL a power loss rolls back commits, and a message would go out twice.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._after: dict[int, int] = {}
        """The last delivery taken of each mailing: what stands before it and still waits is not usual."""

    def step(
        self,
        owner: str,
        taken: Sequence[Taken],
        room: int,
        *,
        now: datetime,
        real_now: datetime,
        until: datetime,
        sender: str = "",
        only: int | None = None,
    ) -> GrantedBatch | None:
        """Settle what was taken, and lease and permit up to `room` mails of editions until the real moment `until`.

        None, and nothing is changed, if it is not usual: an acceptance is void, something is paused, or what goes next
        is no mail to a confirmed reader that waits for the first time.
        """
        execute = self._connection.execute
        moments = {"now": (now - EPOCH) // _MICROSECOND, "real_now": (real_now - EPOCH) // _MICROSECOND}
        execute("BEGIN IMMEDIATE")
        try:
            granted = GrantedBatch((), 0, False)
            if taken:
                rows = [(*one, owner, moments["now"]) for one in taken]
                if self._connection.executemany(_ACCEPT, rows).rowcount != len(taken):
                    execute("ROLLBACK")
                    return None
            if room > 0:
                found = self._due(room, moments, only)
                if found is None:
                    execute("ROLLBACK")
                    return None
                granted = found
                if granted.deliveries:
                    values = {**moments, "owner": owner, "until": (until - EPOCH) // _MICROSECOND, "sender": sender}
                    self._hand(granted.deliveries, values)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        if granted.deliveries:
            last = granted.deliveries[-1]
            self._after[last.mailing] = last.id
        return granted

    def _due(self, room: int, moments: dict[str, int], only: int | None) -> GrantedBatch | None:
        execute = self._connection.execute
        row = execute(_COUNTER, (VERSION,)).fetchone()
        version = int(row[0]) if row else 0
        if execute(_PAUSES).fetchone():
            return None
        for mailing, schedule, edition in execute(_MAILINGS, {**moments, "only": only}).fetchall():
            values: dict[str, Any] = {**moments, "mailing": mailing}
            if edition is not None:
                values |= {"after": self._after.get(mailing, 0), "room": room}
                make, known = Delivery._make, (mailing, schedule, edition)
                found = [make((row[0], *known, *row[1:], "{}")) for row in execute(_DUE, values)]
                if found:
                    return GrantedBatch(found, version, False)
            if any(execute(query, values).fetchone() for query in _WAITS):
                return None
        return GrantedBatch((), version, True)

    def _hand(self, group: Sequence[Delivery], values: dict[str, Any]) -> None:
        first, last = group[0].id, group[-1].id
        if last - first + 1 == len(group):
            done = self._connection.execute(_HAND_RANGE, {**values, "first": first, "last": last}).rowcount
        else:
            done = self._connection.executemany(_HAND_ONE, [{**values, "id": one.id} for one in group]).rowcount
        # They were looked at in this very transaction.
        assert done == len(group), f"{done} of {len(group)} deliveries {DeliveryState.HANDED}"

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()
