"""Threads of posts: part 0 is the first post, the others reply to it once it was accepted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, select, update

from tidings.model.delivery import Delivery, DeliveryState, SkipReason
from tidings.store import schema as t

WAITS = "waits for the post that it answers"
_OVER = (DeliveryState.REJECTED, DeliveryState.QUARANTINED, DeliveryState.SKIPPED)


def parent_receipt(connection: Connection, delivery: Delivery) -> str:
    """The receipt of the first post of the thread; empty for that post itself."""
    if not delivery.part:
        return ""
    d = t.deliveries.c
    query = select(d.receipt).where(
        d.mailing == delivery.mailing,
        d.target == delivery.target,
        d.story == delivery.story,
        d.purpose == delivery.purpose,
        d.part == 0,
    )
    return connection.execute(query).scalar_one_or_none() or ""


def count_replies(connection: Connection, delivery: int) -> tuple[str, int]:
    """The channel of a delivery, and how many posts wait to reply to it."""
    reply, first = t.deliveries.alias("reply"), t.deliveries.alias("first")
    query = (
        select(first.c.channel, func.count(reply.c.id))
        .outerjoin_from(first, reply, and_(first.c.part == 0, _waits(reply), *_same_thread(reply, first)))
        .where(first.c.id == delivery)
        .group_by(first.c.channel)
    )
    row = connection.execute(query).one_or_none()
    return (row[0], row[1]) if row else ("", 0)


def _same_thread(reply: FromClause, first: FromClause) -> Iterator[ColumnElement[bool]]:
    return (reply.c[name] == first.c[name] for name in ("mailing", "target", "story", "purpose"))


def _waits(reply: FromClause) -> ColumnElement[bool]:
    d = reply.c
    return and_(d.state == DeliveryState.DEFERRED, d.next_at.is_(None), d.channel != "", d.part > 0)


def decided_replies(connection: Connection) -> list[tuple[int, dict[str, Any]]]:
    """Replies whose first post is decided, with the new values of their rows."""
    reply, first = t.deliveries.alias("reply"), t.deliveries.alias("first")
    query = (
        select(reply.c.id, first.c.state, first.c.receipt, first.c.reason)
        .join_from(reply, first, and_(first.c.part == 0, *_same_thread(reply, first)))
        .where(_waits(reply))
        .order_by(reply.c.id)
    )
    return [(row.id, values) for row in connection.execute(query).all() for values in _decide(*row[1:])]


def _decide(state: str, receipt: str, reason: str) -> Iterator[dict[str, Any]]:
    """The new values of a reply; none while the first post may still be sent, or its result is unknown."""
    if state == DeliveryState.ACCEPTED and receipt:
        yield {"state": DeliveryState.PENDING, "reason": ""}
    elif state == DeliveryState.CANCELLED:
        yield {"state": DeliveryState.CANCELLED, "reason": reason}
    elif state in _OVER or state == DeliveryState.ACCEPTED:
        yield {"state": DeliveryState.SKIPPED, "reason": str(SkipReason.UNANSWERABLE)}


def revive_replies(connection: Connection, delivery: int) -> None:
    """Let the replies wait again that were skipped because this first post of their thread was refused."""
    reply, first = t.deliveries, t.deliveries.alias("first")
    thread = select(first.c.id).where(first.c.id == delivery, first.c.part == 0, *_same_thread(reply, first))
    skipped = and_(reply.c.state == DeliveryState.SKIPPED, reply.c.reason == str(SkipReason.UNANSWERABLE))
    values = {"state": DeliveryState.DEFERRED, "reason": WAITS, "next_at": None}
    connection.execute(update(reply).where(thread.exists(), skipped, reply.c.part > 0).values(**values))


def release_replies(connection: Connection, now: datetime) -> int:
    """Release replies whose first post was accepted, and end those that cannot be sent; returns how many."""
    d = t.deliveries
    count = 0
    for delivery, values in decided_replies(connection):
        waits = and_(d.c.id == delivery, d.c.state == DeliveryState.DEFERRED, d.c.next_at.is_(None))
        count += connection.execute(update(d).where(waits).values(at=now, **values)).rowcount
    return count
