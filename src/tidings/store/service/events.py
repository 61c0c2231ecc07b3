"""Events for webhooks: each is recorded once, in the transaction of what happened, and queued for delivery later.

An event names a subscriber by number and holds no address, so that an erasure leaves nothing in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, literal, select, update

from tidings.model.delivery import EventType
from tidings.store import schema as t
from tidings.store.engine import insert_once
from tidings.store.key_values import find_value, set_value

KEPT = timedelta(days=90)
"""How long an event is kept at least: longer than `_LOOK_BACK`, so that no story is reported again."""
_LOOK_BACK = timedelta(days=30)
_PAGE = 200
_MAILINGS = 50
"""Newest mailings in which the deliveries to a webhook are looked for: one for each webhook and day."""
_SINCE = "events_since"
"""Name in `facts` of the moment from which stories are reported: what was out before the first start is not."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `uid` is made once; the receiver recognises a repeat by it."""

    id: int
    uid: str
    type: EventType
    at: datetime
    data: Mapping[str, Any]


def record_event(connection: Connection, kind: EventType, key: str, data: Mapping[str, Any], now: datetime) -> bool:
    """Record an event in the transaction of its cause. Returns False if an event has this key already."""
    row = _new_row(kind, key, data, now)
    return bool(connection.execute(insert_once(connection, t.events).values(**row)).rowcount == 1)


def record_events(
    connection: Connection, kind: EventType, events: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    """Record the data of many events by their keys in one step, as `record_event` does one by one."""
    rows = [_new_row(kind, key, data, now) for key, data in events.items()]
    if rows:
        connection.execute(insert_once(connection, t.events), rows)


def _new_row(kind: EventType, key: str, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "uid": f"evt_{secrets.token_hex(16)}",
        "key": f"{kind}:{key}",
        "type": kind.value,
        "at": now,
        "data": dict(data),
        "queued": False,
    }


def has_news(connection: Connection, now: datetime) -> bool:
    """Whether there is anything to record or to queue."""
    e = t.events.c
    if connection.execute(select(e.id).where(e.queued.is_(False)).limit(1)).first() is not None:
        return True
    since = find_value(connection, _SINCE)
    return since is None or connection.execute(_stories_out(since, now).limit(1)).first() is not None


def record_stories_out(connection: Connection, now: datetime) -> int:
    """Record an event for each translation that came out since the last call; returns how many."""
    since = find_value(connection, _SINCE)
    if since is None:
        set_value(connection, _SINCE, now.isoformat())
        return 0
    count = 0
    for row in connection.execute(_stories_out(since, now)).all():
        data = {name: getattr(row, name) for name in ("story", "language", "kind", "title", "url")}
        count += record_event(connection, EventType.STORY_OUT, row.id, data, now)
    return count


def _stories_out(since: str, now: datetime) -> Select[Any]:
    """Select the items that came out and are not recorded yet."""
    i = t.items.c
    known = exists(select(1).where(t.events.c.key == literal(f"{EventType.STORY_OUT}:").concat(i.id)))
    return (
        select(i.id, i.story, i.language, i.kind, i.title, i.url)
        .where(
            i.out_at > max(datetime.fromisoformat(since), now - _LOOK_BACK),
            i.out_at <= now,
            i.draft.is_(False),
            i.withdrawn == "",
            i.gone_at.is_(None),
            ~known,
        )
        .order_by(i.out_at, i.id)
    )


def unqueued_events(connection: Connection) -> list[Event]:
    """Events that no webhook was asked about yet, oldest first, a page at a time."""
    e = t.events.c
    query = select(e.id, e.uid, e.type, e.at, e.data).where(e.queued.is_(False)).order_by(e.id).limit(_PAGE)
    return [Event(row.id, row.uid, EventType(row.type), row.at, row.data) for row in connection.execute(query)]


def mark_queued(connection: Connection, ids: Iterable[int]) -> None:
    """Note that the deliveries of these events are made."""
    connection.execute(update(t.events).where(t.events.c.id.in_(list(ids))).values(queued=True))


def delete_old_events(connection: Connection, before: datetime) -> int:
    """Delete a page of old events; returns how many."""
    e = t.events.c
    old = select(e.id).where(e.queued.is_(True), e.at < before).limit(_PAGE)
    return connection.execute(delete(t.events).where(e.id.in_(old))).rowcount


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """An event on its way to a webhook, or delivered."""

    delivery: int
    uid: str
    type: str
    state: str
    reason: str
    attempts: int
    at: datetime


def recent_deliveries(connection: Connection, target: str, most: int = 10) -> list[EventDelivery]:
    """The newest deliveries to a webhook, newest first."""
    d, m = t.deliveries.c, t.mailings.c
    # By mailing, because the ledger has no index of channels.
    mine = select(m.id).where(m.kind == "event").order_by(m.id.desc()).limit(_MAILINGS)
    days = list(connection.execute(mine).scalars())
    query = (
        select(d.id, d.story, d.details, d.state, d.reason, d.attempts, d.at)
        .where(d.mailing.in_(days), d.target == target)
        .order_by(d.id.desc())
        .limit(most)
    )
    rows: Sequence[Any] = connection.execute(query).all()
    return [
        EventDelivery(row.id, row.story, str(row.details.get("type", "")), row.state, row.reason, row.attempts, row.at)
        for row in rows
    ]
