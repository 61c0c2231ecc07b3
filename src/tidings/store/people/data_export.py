"""Export all data about a person, as they may request it (GDPR, articles 15 and 20)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, or_, select

from tidings.model.dates import format_utc
from tidings.store import schema as t
from tidings.store.delivery.retention import unpack_readers
from tidings.store.people import consent


def export_subscriber(connection: Connection, subscriber: int) -> dict[str, Any]:
    """Return every row about a subscriber, ready for JSON, with times in UTC. Raises KeyError for an unknown id."""
    p = t.subscribers.c
    person = connection.execute(select(t.subscribers).where(p.id == subscriber)).one_or_none()
    if person is None:
        raise KeyError(subscriber)
    identity = {
        "address": person.address,
        "name": person.name,
        "language": person.language,
        "note": person.note or "",
        "number": person.id,
        "known_since": _as_json(person.created),
    }
    return identity | _rows_of(connection, subscriber, person.address_hash)


def export_address(connection: Connection, address: str) -> dict[str, Any]:
    """Return every row about an address, also if it is on no list. Raises InputError for an invalid address."""
    p = t.subscribers.c
    digest = consent.address_hash(address)
    subscriber = connection.execute(select(p.id).where(p.address_hash == digest)).scalar_one_or_none()
    if subscriber is not None:
        return export_subscriber(connection, subscriber)
    identity = {"address": address, "name": "", "language": "", "note": "", "number": None, "known_since": None}
    return identity | _rows_of(connection, None, digest)


def _rows_of(connection: Connection, subscriber: int | None, digest: str) -> dict[str, Any]:
    s, c, x, f = t.subscriptions.c, t.consents.c, t.suppressions.c, t.feedback.c
    choices = (s.list, s.state, s.topics, s.frequency, s.paused_until, s.source)
    moments = (s.created.label("since"), s.confirmed_at, s.left_at)
    consents = select(c.at, c.list, c.what, c.source, c.wording, c.ip).where(c.address_hash == digest)
    returns = select(f.at, f.list, f.kind, f.code, f.text, f.via).where(f.address_hash == digest)
    return {
        "subscriptions": _rows(
            connection, select(*choices, *moments).where(s.subscriber == subscriber).order_by(s.list)
        ),
        "consents": _rows(connection, consents.order_by(c.id)),
        "suppressions": _rows(connection, select(x.list, x.reason, x.at).where(x.hash == digest).order_by(x.list)),
        "mails": _mails(connection, subscriber, digest),
        "older_mails": _older(connection, subscriber),
        "returns": _rows(connection, returns.order_by(f.id)),
    }


def _mails(connection: Connection, subscriber: int | None, digest: str) -> list[dict[str, Any]]:
    """Mails to the person, oldest first, with their stories."""
    d, m, e, x = t.deliveries.c, t.mailings.c, t.editions.c, t.selections.c
    mine: ColumnElement[bool] = d.subscriber.is_(None) & (d.address_hash == digest)
    if subscriber is not None:
        mine = or_(mine, d.subscriber == subscriber)
    query = (
        select(d.at, m.kind, e.schedule, e.number, d.list, d.purpose, d.state, d.reason, d.receipt, d.via, d.returned)
        .add_columns(d.selection, x.arrangement, d.details)
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.editions, e.id == m.edition)
        .outerjoin(t.selections, x.id == d.selection)
        .where(mine)
        .order_by(d.id)
    )
    rows = connection.execute(query).all()
    stories = _stories(connection, {row.selection for row in rows if row.selection is not None})
    return [
        {
            "at": _as_json(row.at),
            "kind": row.kind,
            "edition": f"{row.schedule}/{row.number}" if row.schedule else "",
            "list": row.list,
            "purpose": row.purpose,
            "subject": (row.arrangement or {}).get("subject", "") or row.details.get("subject", ""),
            "stories": stories.get(row.selection, []),
            "state": row.state,
            "reason": row.reason,
            "accepted_by": row.via,
            "receipt": row.receipt,
            "returned": row.returned,
        }
        for row in rows
    ]


def _older(connection: Connection, subscriber: int | None) -> list[dict[str, Any]]:
    """Editions that the person received and whose deliveries `keep` has deleted."""
    r, e, x, s = t.renditions.c, t.editions.c, t.selections.c, t.subscriptions.c
    lists = connection.execute(select(s.list).where(s.subscriber == subscriber)).scalars().all()
    query = (
        select(t.past_readers.c.selection, t.past_readers.c.subscribers, e.schedule, e.number, e.at, r.outlet)
        .join_from(t.past_readers, t.selections, x.id == t.past_readers.c.selection)
        .join(t.renditions, r.id == x.rendition)
        .join(t.editions, e.id == r.edition)
        .where(r.outlet.in_([f"list:{name}" for name in lists]))
        .order_by(e.id)
    )
    rows = [row for row in connection.execute(query) if subscriber in unpack_readers(row.subscribers)]
    stories = _stories(connection, {row.selection for row in rows})
    return [
        {
            "at": _as_json(row.at),
            "edition": f"{row.schedule}/{row.number}",
            "list": row.outlet.partition(":")[2],
            "stories": stories.get(row.selection, []),
        }
        for row in rows
    ]


def _stories(connection: Connection, selections: set[int]) -> dict[int, list[str]]:
    c = t.selection_stories.c
    stories: dict[int, list[str]] = {}
    for row in connection.execute(
        select(c.selection, c.story).where(c.selection.in_(selections)).order_by(c.selection, c.story)
    ):
        stories.setdefault(row.selection, []).append(row.story)
    return stories


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    rows = connection.execute(query).mappings()
    return [{name: _as_json(value) for name, value in row.items()} for row in rows]


def _as_json(value: Any) -> Any:
    return format_utc(value) if isinstance(value, datetime) else value
