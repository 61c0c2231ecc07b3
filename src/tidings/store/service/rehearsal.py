"""Queries of a rehearsal on its copy of a store. Never use them on the store of a newsroom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Text, and_, cast, event, exists, func, literal, select, update

from tidings.model.delivery import DeliveryState
from tidings.store import schema as t
from tidings.store.engine import Store
from tidings.store.service.clock import set_clock

_CLAIMED = (DeliveryState.LEASED, DeliveryState.HANDED)


def skip_syncing(store: Store) -> None:
    """Do not sync the copy to disk: it need not survive a power loss."""
    store.close()

    @event.listens_for(store.engine, "connect")
    def _prepare(raw: object, _record: object) -> None:
        raw.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]


def prepare_copy(connection: Connection, clock: datetime | None) -> int:
    """Release claimed deliveries, replace the names and addresses of readers, and set the clock unless it is None.

    Returns how many deliveries were claimed. Sample files may be passed on, so they have no real addresses. The hashes
    stay, because suppressions use them.
    """
    d, p = t.deliveries, t.subscribers
    free = {"owner": "", "lease_until": None, "state": DeliveryState.PENDING.value}
    freed = connection.execute(update(d).where(d.c.state.in_(_CLAIMED)).values(**free))
    nobody = literal("reader") + cast(p.c.id, Text) + literal("@example.org")
    connection.execute(update(p).values(address=nobody))
    connection.execute(update(p).where(p.c.name != "").values(name="A. Reader"))
    if clock is not None:
        set_clock(connection, clock)
    return freed.rowcount


@dataclass(frozen=True, slots=True)
class PendingMailing:
    """A mailing with pending deliveries. `edition` is empty for a notice or a test."""

    mailing: int
    kind: str
    edition: str
    is_open: bool


def pending_mailings(connection: Connection) -> list[PendingMailing]:
    """Mailings with pending deliveries, urgent ones first."""
    d, m, e = t.deliveries.c, t.mailings.c, t.editions.c
    left = exists(select(1).where(d.state == DeliveryState.PENDING, d.mailing == m.id))
    query = (
        select(m.id, m.kind, m.open, e.schedule, e.number)
        .join_from(t.mailings, t.editions, e.id == m.edition, isouter=True)
        .where(left)
        .order_by(m.urgent.desc(), m.id)
    )
    rows = connection.execute(query)
    return [
        PendingMailing(r.id, r.kind, "" if r.number is None else f"{r.schedule}/{r.number}", bool(r.open)) for r in rows
    ]


def mailing_of(connection: Connection, edition: int) -> int | None:
    query = select(t.mailings.c.id).where(t.mailings.c.edition == edition)
    return connection.execute(query).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """A count of similar deliveries. One of `list` and `channel` is empty; both are for a notice by mail."""

    list: str
    channel: str
    language: str
    state: str
    reason: str
    count: int


def count_deliveries(connection: Connection, mailing: int) -> list[DeliveryCount]:
    """Deliveries of a mailing, by list, channel, language, state and reason."""
    d, r = t.deliveries.c, t.renditions.c
    language = func.coalesce(r.language, "")
    query = (
        select(d.list, d.channel, language, d.state, d.reason, func.count())
        .join_from(t.deliveries, t.renditions, r.id == d.rendition, isouter=True)
        .where(d.mailing == mailing)
        .group_by(d.list, d.channel, language, d.state, d.reason)
        .order_by(d.list, d.channel, language)
    )
    return [DeliveryCount(*row) for row in connection.execute(query)]


def keep_samples(connection: Connection, mailing: int, most: int, each: int) -> int:
    """Accept all but `each` mails of a rendition if a mailing has more than `most`; returns how many."""
    d = t.deliveries
    waiting = and_(d.c.mailing == mailing, d.c.state == DeliveryState.PENDING, d.c.channel == "")
    if connection.execute(select(func.count()).where(waiting)).scalar_one() <= most:
        return 0
    place = func.row_number().over(partition_by=d.c.rendition, order_by=d.c.id)
    numbered = select(d.c.id, place.label("place")).where(waiting).subquery()
    kept = select(numbered.c.id).where(numbered.c.place <= each)
    done = connection.execute(update(d).where(waiting, d.c.id.not_in(kept)).values(state=DeliveryState.ACCEPTED))
    return done.rowcount


@dataclass(frozen=True, slots=True)
class SampleMail:
    """A mail that is really sent. `key` is the source of its Message-ID."""

    key: str
    list: str
    language: str
    story: str


def list_samples(connection: Connection, mailing: int) -> Iterator[SampleMail]:
    """The pending mails of a mailing."""
    d, r = t.deliveries.c, t.renditions.c
    query = (
        select(d.target, d.story, d.purpose, d.part, d.list, r.language)
        .join_from(t.deliveries, t.renditions, r.id == d.rendition, isouter=True)
        .where(d.mailing == mailing, d.state == DeliveryState.PENDING, d.channel == "")
    )
    for row in connection.execute(query):
        # The same key as in the preparation of a mail: the unique columns of a delivery.
        key = f"{mailing}|{row.target}|{row.story}|{row.purpose}|{row.part}"
        yield SampleMail(key, row.list, row.language or "", row.story)


def list_skipped_slots(connection: Connection, now: datetime) -> list[tuple[str, datetime, str, str]]:
    """(schedule, slot, state, reason) of slots that were settled at `now` without an edition."""
    s = t.slots.c
    query = select(s.schedule, s.slot, s.state, s.reason).where(s.at == now, s.state.in_(("skipped", "merged")))
    return [(r.schedule, r.slot, r.state, r.reason) for r in connection.execute(query.order_by(s.slot, s.schedule))]


def next_retry_time(connection: Connection, now: datetime) -> datetime | None:
    """When the next deferred delivery is due, or None."""
    d = t.deliveries.c
    states = (DeliveryState.DEFERRED, DeliveryState.IN_DOUBT)
    query = select(func.min(d.next_at)).where(d.state.in_(states), d.next_at > now)
    due: datetime | None = connection.execute(query).scalar_one()
    return due
