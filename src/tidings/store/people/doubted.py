"""Bounces that the breaker does not believe: they suppress nobody until a person decides."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from tidings.model.delivery import FeedbackKind
from tidings.store import schema as t
from tidings.store.key_values import delete_value, find_value, set_value
from tidings.store.people import consent, subscribers
from tidings.store.people.feedback import Recipient, suppress_recipient

DOUBTED = "doubted"
"""The stored kind of a hard bounce that is not believed yet."""
_BELIEVED = "believed"


def is_believed(connection: Connection, edition: int) -> bool:
    """Whether a person has accepted the bounces of an edition."""
    return find_value(connection, f"breaker:{edition}") == _BELIEVED


def count_bounce(connection: Connection, mailing: int, scope: str) -> int:
    """Count one more hard bounce of a mailing, within a sender or a sender's domain; returns the count."""
    name = f"bounced:{mailing}:{scope}"
    count = int(find_value(connection, name) or 0) + 1
    set_value(connection, name, str(count))
    return count


def has_tripped(connection: Connection, mailing: int, scope: str) -> bool:
    """Whether the hard bounces of a scope are doubted."""
    return find_value(connection, f"tripped:{mailing}:{scope}") is not None


def doubt(connection: Connection, mailing: int, scope: str, now: datetime) -> None:
    """Doubt the hard bounces of a mailing within a scope (SENDER, or SENDER/DOMAIN), and undo what followed."""
    set_value(connection, f"tripped:{mailing}:{scope}", now.isoformat())
    sender, _, domain = scope.partition("/")
    d, p, r = t.deliveries.c, t.subscribers.c, t.feedback.c
    which = (d.mailing == mailing) & (d.sender == sender) & (r.kind == FeedbackKind.HARD)
    if domain:
        which &= func.lower(p.address).endswith(f"@{domain}", autoescape=True)
    for row in _bounces(connection, which):
        connection.execute(
            update(t.feedback).where(r.id == row.id).values(kind=DOUBTED, key=f"{DOUBTED}:{row.delivery}")
        )
        connection.execute(
            update(t.deliveries).where(d.id == row.delivery, d.returned == FeedbackKind.HARD).values(returned="soft")
        )
        _undo(connection, row, now)


def _bounces(connection: Connection, which: ColumnElement[bool]) -> list[Row[Any]]:
    d, p, r = t.deliveries.c, t.subscribers.c, t.feedback.c
    query = (
        select(r.id, r.delivery, r.at, r.address_hash, d.list, d.subscriber, d.purpose, p.address)
        .join_from(t.feedback, t.deliveries, d.id == r.delivery)
        .outerjoin(t.subscribers, p.id == d.subscriber)
    )
    return list(connection.execute(query.where(which).order_by(r.id)))


def _undo(connection: Connection, row: Row[Any], now: datetime) -> None:
    """Take back the suppression that one bounce caused. Readers get what they missed with the next edition."""
    reason, since = consent.suppressions_of(connection, row.address_hash).get("", ("", None))
    if reason != FeedbackKind.HARD or since is None or since < row.at or row.subscriber is None:
        return
    consent.lift(connection, row.address_hash, "")
    s = t.subscriptions.c
    ended = (s.subscriber == row.subscriber) & (s.state == subscribers.UNSUBSCRIBED) & (s.left_at == since)
    for confirmed, state in ((True, subscribers.CONFIRMED), (False, subscribers.PENDING)):
        had = s.confirmed_at.is_not(None) if confirmed else s.confirmed_at.is_(None)
        connection.execute(update(t.subscriptions).where(ended, had).values(state=state, left_at=None))
    consent.record(connection, row.address_hash, "", "lifted", "too many bounces at once to be true", now)


def believe(connection: Connection, edition: int, now: datetime) -> int:
    """Accept the doubted bounces of an edition; returns how many readers no list writes to any more."""
    d, m, r = t.deliveries.c, t.mailings.c, t.feedback.c
    mine = d.mailing.in_(select(m.id).where(m.edition == edition)) & (r.kind == DOUBTED)
    rows = _bounces(connection, mine)
    for row in rows:
        connection.execute(
            update(t.feedback).where(r.id == row.id).values(kind=FeedbackKind.HARD, key=f"hard:{row.delivery}")
        )
        connection.execute(update(t.deliveries).where(d.id == row.delivery).values(returned=FeedbackKind.HARD))
        target = Recipient(row.address_hash, row.list, row.subscriber, row.delivery, row.purpose)
        suppress_recipient(connection, target, "", FeedbackKind.HARD, "a person's decision", now)
    _forget(connection, edition)
    set_value(connection, f"breaker:{edition}", _BELIEVED)
    return len(rows)


def disbelieve(connection: Connection, edition: int) -> None:
    """Drop the doubted bounces of an edition: a person goes on without believing them."""
    d, m, r = t.deliveries.c, t.mailings.c, t.feedback.c
    mine = d.mailing.in_(select(m.id).where(m.edition == edition)) & (r.kind == DOUBTED)
    for row in _bounces(connection, mine):
        connection.execute(
            update(t.feedback).where(r.id == row.id).values(kind="blocked", key=f"disbelieved:{row.delivery}")
        )
    _forget(connection, edition)


def _forget(connection: Connection, edition: int) -> None:
    m, f = t.mailings.c, t.facts.c
    for mailing in connection.execute(select(m.id).where(m.edition == edition)).scalars().all():
        for prefix in ("tripped", "bounced"):
            names = select(f.name).where(f.name.startswith(f"{prefix}:{mailing}:", autoescape=True))
            for name in connection.execute(names).scalars().all():
                delete_value(connection, name)
