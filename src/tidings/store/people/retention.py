"""Delete old data about people (`keep`). Hashes of suppressed addresses stay for ever.

Old rows are found by reads, which may scan a whole table; then they are deleted page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, select, update

from tidings.store import schema as t
from tidings.store.people.erasure import delete_person
from tidings.store.people.subscribers import PENDING, UNSUBSCRIBED

PEOPLE = 100
"""People in one transaction."""
ROWS = 500


@dataclass(frozen=True, slots=True)
class ExpiredRows:
    """Rows to delete: `find` selects a page of keys, `take` deletes those that are still old and returns how many."""

    find: Select[Any]
    take: Callable[[Connection, Sequence[Any]], int]


def expired_pending(before: datetime) -> ExpiredRows:
    """People who never confirmed. They may subscribe again at any time."""
    s, p, c = t.subscriptions.c, t.subscribers.c, t.consents.c
    asked_since = exists(select(1).where(c.address_hash == p.address_hash, c.list == s.list, c.at >= before))
    return _people((s.state == PENDING) & (s.created < before) & ~asked_since)


def expired_left(before: datetime) -> ExpiredRows:
    """People who unsubscribed long ago: only the suppression stays."""
    return _people(and_(t.subscriptions.c.state == UNSUBSCRIBED, t.subscriptions.c.left_at < before))


def _people(which: ColumnElement[bool]) -> ExpiredRows:
    s, p, c = t.subscriptions.c, t.subscribers.c, t.consents.c
    people = t.subscriptions.join(t.subscribers, p.id == s.subscriber)

    def take(connection: Connection, ids: Sequence[int]) -> int:
        query = select(s.id, s.subscriber, s.list, p.address_hash).select_from(people)
        rows = connection.execute(query.where(s.id.in_(ids), which)).all()
        for row in rows:
            connection.execute(delete(t.subscriptions).where(s.id == row.id))
            connection.execute(delete(t.consents).where(c.address_hash == row.address_hash, c.list == row.list))
            if not connection.execute(select(s.id).where(s.subscriber == row.subscriber).limit(1)).all():
                delete_person(connection, row.subscriber)
        return len(rows)

    return ExpiredRows(select(s.id).select_from(people).where(which).order_by(s.id).limit(PEOPLE), take)


def expired_consents(before: datetime) -> ExpiredRows:
    """Consents of a hash without a subscriber, such as an imported unsubscribe."""
    c, p = t.consents.c, t.subscribers.c
    return _rows(t.consents, (c.at < before) & ~exists(select(1).where(p.address_hash == c.address_hash)))


def expired_feedback(before: datetime) -> ExpiredRows:
    """Old bounces and complaints: suppressions stay."""
    return _rows(t.feedback, t.feedback.c.at < before)


def expired_ip_addresses(before: datetime) -> ExpiredRows:
    """IP addresses of old consents; the rest of the consent stays."""
    c = t.consents.c

    def take(connection: Connection, ids: Sequence[int]) -> int:
        return connection.execute(update(t.consents).where(c.id.in_(ids)).values(ip="")).rowcount

    return ExpiredRows(select(c.id).where(c.ip != "", c.at < before).order_by(c.id).limit(ROWS), take)


def expired_limits(before: datetime) -> ExpiredRows:
    """Counts of requests that no limit uses any more."""
    c = t.request_counts.c

    def take(connection: Connection, keys: Sequence[str]) -> int:
        return connection.execute(delete(t.request_counts).where(c.key.in_(keys), c.since < before)).rowcount

    return ExpiredRows(select(c.key).where(c.since < before).distinct().limit(ROWS), take)


def _rows(table: Any, which: ColumnElement[bool]) -> ExpiredRows:
    def take(connection: Connection, ids: Sequence[int]) -> int:
        return connection.execute(delete(table).where(table.c.id.in_(ids), which)).rowcount

    return ExpiredRows(select(table.c.id).where(which).order_by(table.c.id).limit(ROWS), take)
