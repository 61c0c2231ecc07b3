"""What came back: bounces and complaints, each once, and what follows for the address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, exists, select, update

from tidings.model.delivery import DeliveryState, Returned
from tidings.store import consent, subscribers
from tidings.store import schema as t
from tidings.store.engine import insert_once

_WEAKER = {
    Returned.SOFT: ("",),
    Returned.HARD: ("", Returned.SOFT),
    Returned.COMPLAINT: ("", Returned.SOFT, Returned.HARD),
}


@dataclass(frozen=True, slots=True)
class Whom:
    """Whom something that came back is about."""

    address_hash: str
    """Empty for who was erased."""
    list: str
    """Empty: no list, or nobody knows which."""
    subscriber: int | None = None
    delivery: int | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery as those who report on it may call it."""

    whom: Whom
    key: str
    """What its Message-ID is made of."""
    receipt: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A delivery that the other side refused at once."""

    whom: Whom
    reason: str


@dataclass(frozen=True, slots=True)
class Return:
    """One row."""

    kind: str
    code: str
    text: str
    via: str
    at: datetime


def by_delivery(connection: Connection, delivery: int) -> Whom | None:
    """Whom a delivery went to; None where `keep` has taken it."""
    d = t.deliveries.c
    query = select(d.address_hash, d.list, d.subscriber, d.purpose).where(d.id == delivery)
    row = connection.execute(query).one_or_none()
    return None if row is None else Whom(row.address_hash, row.list, row.subscriber, delivery, row.purpose)


def by_subscriber(connection: Connection, subscriber: int, list_name: str) -> Whom | None:
    """A person on a list; None for who was erased."""
    p = t.subscribers.c
    digest = connection.execute(select(p.address_hash).where(p.id == subscriber)).scalar_one_or_none()
    return None if digest is None else Whom(digest, list_name, subscriber)


def by_address(connection: Connection, address: str) -> Whom:
    """Whoever has an address. Raises InputError for what is none."""
    digest = consent.address_hash(address)
    p = t.subscribers.c
    found = connection.execute(select(p.id).where(p.address_hash == digest)).scalar_one_or_none()
    return Whom(digest, "", found)


def sent_to(connection: Connection, subscriber: int, list_name: str | None = None, most: int = 200) -> list[Sent]:
    """The newest mails to a subscriber."""
    d = t.deliveries.c
    query = select(t.deliveries).where(d.subscriber == subscriber, d.channel == "").order_by(d.id.desc()).limit(most)
    if list_name is not None:
        query = query.where(d.list == list_name)
    return [
        Sent(
            Whom(row.address_hash, row.list, subscriber, row.id, row.purpose),
            f"{row.mailing}|{row.target}|{row.story}|{row.purpose}|{row.part}",
            row.receipt,
        )
        for row in connection.execute(query)
    ]


def note(
    connection: Connection, key: str, whom: Whom, kind: str, *, code: str, text: str, via: str, now: datetime
) -> bool:
    """Note what came back; False if this was heard before."""
    row = {
        "key": key,
        "delivery": whom.delivery,
        "address_hash": whom.address_hash,
        "list": whom.list,
        "kind": kind,
        "code": code,
        "text": text,
        "via": via,
        "at": now,
    }
    return bool(connection.execute(insert_once(connection, t.returns).values(**row)).rowcount == 1)


def mark(connection: Connection, delivery: int | None, returned: Returned) -> None:
    """Write it to the ledger; the worst stays. What was refused at once says so already."""
    d = t.deliveries.c
    is_it = (d.id == delivery) & d.returned.in_(_WEAKER[returned]) & (d.state != DeliveryState.REJECTED)
    connection.execute(update(t.deliveries).where(is_it).values(returned=returned))


def days(connection: Connection, whom: Whom, kind: str, since: datetime) -> int:
    """On how many days since then something of this kind came back from an address on a list."""
    r = t.returns.c
    query = select(r.at).where(r.address_hash == whom.address_hash, r.list == whom.list, r.kind == kind, r.at > since)
    return len({at.date() for at in connection.execute(query).scalars()})


def stop(connection: Connection, whom: Whom, list_name: str, reason: str, via: str, now: datetime) -> bool:
    """Never mail an address again on a list (empty: on none), and end its subscriptions. True if that is new."""
    if not whom.address_hash:
        return False
    # First, as who leaves by the link does: one of them waits for the other.
    consent.lock(connection, [whom.address_hash])
    s = t.subscriptions.c
    if whom.subscriber is not None:
        mine = s.subscriber == whom.subscriber
        if list_name:
            mine &= s.list == list_name
        on = connection.execute(select(s.list).where(mine, s.state != subscribers.UNSUBSCRIBED)).scalars().all()
        connection.execute(
            update(t.subscriptions)
            .where(mine, s.state != subscribers.UNSUBSCRIBED)
            .values(state=subscribers.UNSUBSCRIBED, left_at=now)
        )
        for name in on:
            consent.record(connection, whom.address_hash, name, "returned", f"{reason}, heard by {via}", now)
    # Last: senders lock the deliveries first, then the counter that this moves on.
    return consent.suppress(connection, whom.address_hash, list_name, reason, now)


def refused(connection: Connection, since: datetime, after: int, most: int = 500) -> list[Refused]:
    """Mails to readers that were refused since then and have no row here yet, by their ids from `after` on."""
    d, r = t.deliveries.c, t.returns.c
    query = (
        select(d.id, d.address_hash, d.list, d.subscriber, d.purpose, d.reason)
        .where(d.state == DeliveryState.REJECTED, d.at > since, d.id > after)
        .where(d.list != "", d.channel == "", d.subscriber.is_not(None))
        .where(~exists(select(r.id).where(r.delivery == d.id)))
        .order_by(d.id)
        .limit(most)
    )
    rows = connection.execute(query)
    return [Refused(Whom(row.address_hash, row.list, row.subscriber, row.id, row.purpose), row.reason) for row in rows]


def of_deliveries(connection: Connection, deliveries: Iterable[int]) -> dict[int, list[Return]]:
    """What came back for each, oldest first."""
    r = t.returns.c
    found: dict[int, list[Return]] = {}
    wanted = list(deliveries)
    for at in range(0, len(wanted), 500):
        query = select(t.returns).where(r.delivery.in_(wanted[at : at + 500])).order_by(r.id)
        for row in connection.execute(query):
            found.setdefault(row.delivery, []).append(Return(row.kind, row.code, row.text, row.via, row.at))
    return found
