"""The usual step of sending on SQLite in one transaction: record accepted mails, then claim the next first sends.

The rules are those of `settling`, `claims` and `permission`. It uses the driver directly, because the overhead of
SQLAlchemy for each statement costs more than the step. It writes a row once; claim and permission write it twice. Those
modules handle all other cases.
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
from tidings.store.people import eligibility
from tidings.store.people.consent import VERSION
from tidings.store.schema import EPOCH

Taken = tuple[int, int, str, str]
"""A delivery that the server accepted: id, fence, receipt, via."""
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
_VERSION = "SELECT value FROM facts WHERE name = ?"
_IS_ALLOWED = "channel = '' AND (not_before IS NULL OR not_before <= :real_now)"
_DUE = f"""
    SELECT d.id, d.list, d.channel, d.story, d.purpose, d.part, d.target, d.subscriber, p.address, p.name, p.language,
        d.selection, d.rendition, 'handed', d.attempts, d.doubts, d.crashes, d.fence + 1, p.address_hash, d.handed_at
    FROM deliveries AS d
    JOIN subscribers AS p ON p.id = d.subscriber
    JOIN subscriptions AS s ON s.subscriber = d.subscriber AND s.list = d.list AND s.state = '{eligibility.CONFIRMED}'
    {eligibility.suppression_joins_sql("p.address_hash", "d.list")}
    WHERE d.state = 'pending' AND d.mailing = :mailing AND d.next_at IS NULL AND d.id > :after AND {_IS_ALLOWED}
        AND d.crashes = 0 AND d.details = '{{}}' AND d.selection IS NOT NULL AND d.rendition IS NOT NULL
        AND p.address <> '' AND {eligibility.REASON_SQL} IS NULL
    ORDER BY d.id LIMIT :room
"""  # noqa: S608
_OTHER_WAITING = (
    f"SELECT 1 FROM deliveries WHERE state = 'pending' AND mailing = :mailing AND {_IS_ALLOWED} LIMIT 1",  # noqa: S608
    f"""
    SELECT 1 FROM deliveries
    WHERE state IN ('deferred', 'in_doubt') AND mailing = :mailing AND next_at <= :now AND {_IS_ALLOWED} LIMIT 1
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
    """Deliveries that may be sent now, in order, and the consent version at which this is valid."""

    deliveries: Sequence[Delivery]
    version: int
    is_over: bool
    """Nothing more is due."""


class SqliteFastPath:
    """One connection, for one thread."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(
            database, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        # With NORMAL a power loss rolls back commits, and a message would be sent twice.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._after: dict[int, int] = {}
        """The last claimed delivery of each mailing. An earlier delivery that still waits is an unusual case."""

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
        """Record `taken` as accepted, then lease and permit up to `room` mails of editions until the real time `until`.

        Returns None, with nothing changed, in an unusual case: an acceptance is void, something is paused, or the next
        delivery is not the first try of a mail to a confirmed reader.
        """
        execute = self._connection.execute
        moments = {"now": (now - EPOCH) // _MICROSECOND, "real_now": (real_now - EPOCH) // _MICROSECOND}
        execute("BEGIN IMMEDIATE")
        try:
            granted: GrantedBatch | None = GrantedBatch((), 0, False)
            rows = [(*result, owner, moments["now"]) for result in taken]
            if rows and self._connection.executemany(_ACCEPT, rows).rowcount != len(rows):
                granted = None
            elif room > 0:
                granted = self._find_due(room, moments, only)
            if granted is None:
                execute("ROLLBACK")
                return None
            if granted.deliveries:
                values = {**moments, "owner": owner, "until": (until - EPOCH) // _MICROSECOND, "sender": sender}
                self._hand_over(granted.deliveries, values)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        if granted.deliveries:
            last = granted.deliveries[-1]
            self._after[last.mailing] = last.id
        return granted

    def _find_due(self, room: int, moments: dict[str, int], only: int | None) -> GrantedBatch | None:
        execute = self._connection.execute
        row = execute(_VERSION, (VERSION,)).fetchone()
        version = int(row[0]) if row else 0
        if execute(_PAUSES).fetchone():
            return None
        for mailing, schedule, edition in execute(_MAILINGS, {**moments, "only": only}).fetchall():
            values: dict[str, Any] = {**moments, "mailing": mailing}
            if edition is not None:
                values |= {"after": self._after.get(mailing, 0), "room": room}
                make, known = Delivery._make, (mailing, schedule, edition)
                due = [make((row[0], *known, *row[1:], "{}")) for row in execute(_DUE, values)]
                if due:
                    return GrantedBatch(due, version, False)
            if any(execute(query, values).fetchone() for query in _OTHER_WAITING):
                return None
        return GrantedBatch((), version, True)

    def _hand_over(self, batch: Sequence[Delivery], values: dict[str, Any]) -> None:
        first, last = batch[0].id, batch[-1].id
        if last - first + 1 == len(batch):
            done = self._connection.execute(_HAND_RANGE, {**values, "first": first, "last": last}).rowcount
        else:
            done = self._connection.executemany(
                _HAND_ONE, [{**values, "id": delivery.id} for delivery in batch]
            ).rowcount
        # This transaction selected them, so each row must match.
        assert done == len(batch), f"{done} of {len(batch)} deliveries {DeliveryState.HANDED}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
