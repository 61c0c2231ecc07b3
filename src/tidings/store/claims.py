"""Taking deliveries to send: lease, permission under the lock of consent, and settling. Every write is fenced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, literal, or_, select, update

from tidings.model.delivery import Delivery, DeliveryState, Purpose, SkipReason
from tidings.store import consent
from tidings.store import schema as t
from tidings.store.engine import insert_once

_BARRED = ("composing", "held", "cancelled", "superseded")
_PLACE = "mail_free_from"
_UNASKED = frozenset({Purpose.TEST, Purpose.NOTICE, Purpose.CONFIRMATION})
"""Purposes that need no confirmed subscription; what holds for every list binds them too."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What `hand_over` decided. `version` is the state of consent for which the permission holds."""

    handed: tuple[Delivery, ...]
    skipped: tuple[tuple[Delivery, SkipReason], ...]
    back: tuple[Delivery, ...]
    version: int


def _rows() -> Select[Any]:
    d, m, e, p = t.deliveries.c, t.mailings.c, t.editions.c, t.subscribers.c
    return (
        select(
            t.deliveries,
            m.schedule,
            m.edition,
            m.open,
            e.state.label("edition_state"),
            p.address,
            p.address_hash.label("reader_hash"),
            p.language,
        )
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.editions, e.id == m.edition)
        .outerjoin(t.subscribers, p.id == d.subscriber)
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        mailing=row.mailing,
        schedule=row.schedule,
        edition=row.edition,
        list=row.list,
        channel=row.channel,
        story=row.story,
        purpose=row.purpose,
        part=row.part,
        target=row.target,
        subscriber=row.subscriber,
        address=row.address or row.details.get("address", ""),
        language=row.language or row.details.get("language", ""),
        selection=row.selection,
        state=DeliveryState(row.state),
        rendition=row.rendition,
        reason=row.reason,
        attempts=row.attempts,
        doubts=row.doubts,
        crashes=row.crashes,
        receipt=row.receipt,
        via=row.via,
        returned=row.returned,
        fence=row.fence,
        address_hash=row.reader_hash or row.address_hash,
        next_at=row.next_at,
        handed_at=row.handed_at,
        at=row.at,
        extra=dict(row.details),
    )


def get(connection: Connection, ids: Iterable[int]) -> list[Delivery]:
    """By id, in the order of ids."""
    query = _rows().where(t.deliveries.c.id.in_(list(ids))).order_by(t.deliveries.c.id)
    return [_delivery(row) for row in connection.execute(query)]


def _due(channel: str, now: datetime, real_now: datetime, shaken: bool) -> list[ColumnElement[bool]]:
    """For each state in which a row can wait, in the order in which they are served: the condition that it is due."""
    d = t.deliveries.c
    both = and_(
        d.channel == channel,
        or_(d.not_before.is_(None), d.not_before <= real_now),
        d.crashes > 0 if shaken else d.crashes == 0,
    )
    return [
        and_(d.state == DeliveryState.PENDING, d.next_at.is_(None), both),
        and_(d.state == DeliveryState.DEFERRED, d.next_at <= now, both),
        and_(d.state == DeliveryState.IN_DOUBT, d.next_at <= now, both),
    ]


def _open_mailings(connection: Connection, now: datetime, only: int | None) -> list[int]:
    """Those that a person waits for (a confirmation, a notice) before editions; or `only` one."""
    m, e = t.mailings.c, t.editions.c
    query = (
        select(m.id)
        .join_from(t.mailings, t.editions, e.id == m.edition, isouter=True)
        .where(m.open.is_(True), or_(m.edition.is_(None), e.state.not_in(_BARRED)))
        .where(or_(m.closes.is_(None), m.closes > now))
        .order_by(case((m.edition.is_(None), 0), else_=1), m.id)
    )
    if only is not None:
        query = query.where(m.id == only)
    return list(connection.execute(query).scalars())


def due_counts(connection: Connection, now: datetime, real_now: datetime, only: int | None = None) -> dict[str, int]:
    """How many deliveries may be claimed now, by channel; e-mail is the empty name. `only` looks at one mailing."""
    d = t.deliveries.c
    found: dict[str, int] = {}
    mailings = _open_mailings(connection, now, only)
    if not mailings:
        return found
    late = and_(d.state.in_((DeliveryState.DEFERRED, DeliveryState.IN_DOUBT)), d.next_at <= now)
    query = (
        select(d.channel, func.count())
        .where(d.mailing.in_(mailings), or_(d.state == DeliveryState.PENDING, late))
        .where(or_(d.not_before.is_(None), d.not_before <= real_now))
        .group_by(d.channel)
    )
    for channel, count in connection.execute(query):
        found[channel] = count
    return found


def claim(
    connection: Connection,
    *,
    owner: str,
    channel: str,
    limit: int,
    now: datetime,
    real_now: datetime,
    until: datetime,
    only: int | None = None,
) -> list[Delivery]:
    """Lease up to `limit` due deliveries of a channel (empty: e-mail) until the real moment `until`.

    What was in hand when a process died comes last and alone, so that one poisonous message takes no other with it.
    """
    mailings = _open_mailings(connection, now, only)
    ids: list[int] = []
    for shaken in (False, True):
        for mailing in mailings:
            for condition in _due(channel, now, real_now, shaken):
                room = (1 if shaken else limit) - len(ids)
                if room <= 0:
                    break
                query = (
                    select(t.deliveries.c.id)
                    .where(t.deliveries.c.mailing == mailing, condition)
                    .order_by(t.deliveries.c.next_at, t.deliveries.c.id)
                    .limit(room)
                    .with_for_update(skip_locked=True)
                )
                ids += connection.execute(query).scalars()
        if ids:
            break
    if not ids:
        return []
    d = t.deliveries
    connection.execute(
        update(d)
        .where(d.c.id.in_(ids))
        .values(
            state=DeliveryState.LEASED,
            owner=owner,
            fence=d.c.fence + 1,
            lease_until=until,
            next_at=None,
            not_before=None,
        )
    )
    return get(connection, ids)


def hand_over(
    connection: Connection, group: Sequence[Delivery], *, owner: str, now: datetime, real_now: datetime
) -> Permission:
    """Check consent under the lock of each address and make the passing ones `handed`: the permission to send.

    One that may no longer be sent is skipped with its reason; one whose mailing has closed or whose address has changed
    goes back; one that somebody else holds by now is left alone.
    """
    consent.lock(connection, (delivery.address_hash for delivery in group))
    version = consent.version(connection)
    claimed = {delivery.id: delivery for delivery in group}
    query = _rows().where(t.deliveries.c.id.in_(list(claimed))).order_by(t.deliveries.c.id)
    rows = connection.execute(query.with_for_update(of=t.deliveries)).all()
    refusals = _refusals(connection, [claimed[row.id] for row in rows])
    handed, skipped, back = [], [], []
    for row in rows:
        delivery = claimed[row.id]
        if row.owner != owner or row.fence != delivery.fence or row.state != DeliveryState.LEASED:
            continue
        reason = refusals.get(row.id)
        if not _may_go(row) or (row.reader_hash or delivery.address_hash) != delivery.address_hash:
            back.append(delivery)
        elif reason is not None:
            skipped.append((delivery, reason))
        else:
            handed.append(delivery)
    d = t.deliveries
    if handed:
        first = case(
            (and_(d.c.doubts > 0, d.c.handed_at.is_not(None)), d.c.handed_at), else_=literal(real_now, t.Moment())
        )
        connection.execute(
            update(d)
            .where(d.c.id.in_([delivery.id for delivery in handed]))
            .values(state=DeliveryState.HANDED, handed_at=first)
        )
    settle(connection, owner, [(delivery, give_back(delivery)) for delivery in back])
    settle(connection, owner, [(delivery, skip(delivery, reason, now)) for delivery, reason in skipped])
    return Permission(tuple(handed), tuple(skipped), tuple(back), version)


def _may_go(row: Any) -> bool:
    return bool(row.open) and row.edition_state not in _BARRED


def _refusals(connection: Connection, group: Sequence[Delivery]) -> dict[int, SkipReason]:
    """Why some of these may not be sent, by id."""
    s, u = t.suppressions.c, t.subscriptions.c
    hashes = {delivery.address_hash for delivery in group if delivery.address_hash}
    readers = {delivery.subscriber for delivery in group if delivery.subscriber is not None}
    suppressed: dict[tuple[str, str], str] = {}
    if hashes:
        for row in connection.execute(select(s.hash, s.list, s.reason).where(s.hash.in_(hashes))):
            suppressed[row.hash, row.list] = row.reason
    states: dict[tuple[int, str], str] = {}
    if readers:
        for row in connection.execute(select(u.subscriber, u.list, u.state).where(u.subscriber.in_(readers))):
            states[row.subscriber, row.list] = row.state
    found: dict[int, SkipReason] = {}
    for delivery in group:
        reason = _refusal(delivery, suppressed, states)
        if reason is not None:
            found[delivery.id] = reason
    return found


def _refusal(
    delivery: Delivery, suppressed: Mapping[tuple[str, str], str], states: Mapping[tuple[int, str], str]
) -> SkipReason | None:
    if delivery.channel:
        return None
    asked = delivery.purpose not in _UNASKED
    why = suppressed.get((delivery.address_hash, ""))
    if why is None and asked:
        why = suppressed.get((delivery.address_hash, delivery.list))
    if why is not None:
        known = {str(SkipReason.UNSUBSCRIBED): SkipReason.UNSUBSCRIBED, str(SkipReason.ERASED): SkipReason.ERASED}
        return known.get(why, SkipReason.SUPPRESSED)
    if not delivery.address:
        return SkipReason.ERASED
    if asked and delivery.list and delivery.subscriber is not None:
        state = states.get((delivery.subscriber, delivery.list))
        if state == "pending":
            return SkipReason.NOT_CONFIRMED
        if state != "confirmed":
            return SkipReason.UNSUBSCRIBED
    return None


def may_begin(connection: Connection, delivery: Delivery, *, owner: str, version: int) -> bool:
    """Asked right before a message begins: it is still ours, its mailing is open, and nobody in it has left since."""
    d, m, e = t.deliveries.c, t.mailings.c, t.editions.c
    query = (
        select(d.owner, d.fence, d.state, m.open, e.state.label("edition_state"))
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.editions, e.id == m.edition)
        .where(d.id == delivery.id)
    )
    row = connection.execute(query).one_or_none()
    if row is None or row.owner != owner or row.fence != delivery.fence or row.state != DeliveryState.HANDED:
        return False
    if not _may_go(row):
        return False
    return consent.version(connection) == version or not _refusals(connection, [delivery])


def reserve(connection: Connection, now: float, seconds: float) -> float:
    """The next free place in the row of mail, for so many seconds of it; `now` and the answer are seconds since 1970.

    One row for all processes, kept over restarts: the rate holds for the newsroom, not for a worker.
    """
    f = t.facts
    connection.execute(insert_once(connection, f).values(name=_PLACE, value="0"))
    free = connection.execute(select(f.c.value).where(f.c.name == _PLACE).with_for_update()).scalar_one()
    first = max(now, float(free))
    connection.execute(update(f).where(f.c.name == _PLACE).values(value=repr(first + seconds)))
    return first


def renew(connection: Connection, owner: str, group: Iterable[Delivery], until: datetime) -> None:
    """Hold on to a group for longer; what somebody else took meanwhile stays theirs."""
    d = t.deliveries
    for delivery in group:
        connection.execute(
            update(d)
            .where(d.c.id == delivery.id, d.c.owner == owner, d.c.fence == delivery.fence)
            .values(lease_until=until)
        )


def settle(connection: Connection, owner: str, results: Iterable[tuple[Delivery, Mapping[str, Any]]]) -> list[Delivery]:
    """Write what became of deliveries; returns those that are no longer this owner's, whose result is void."""
    d = t.deliveries
    void = []
    for delivery, values in results:
        done = connection.execute(
            update(d)
            .where(
                d.c.id == delivery.id,
                d.c.owner == owner,
                d.c.fence == delivery.fence,
                d.c.state.in_((DeliveryState.LEASED, DeliveryState.HANDED)),
            )
            .values(owner="", lease_until=None, **values)
        )
        if done.rowcount != 1:
            void.append(delivery)
    return void


def give_back(delivery: Delivery) -> dict[str, Any]:
    """Not begun: it may be claimed again at once, and that costs nothing."""
    return {"state": DeliveryState.PENDING, "next_at": None}


def skip(delivery: Delivery, reason: SkipReason, now: datetime) -> dict[str, Any]:
    """It does not go; but what may have arrived once already stays in doubt, for a person."""
    if delivery.doubts:
        return {"state": DeliveryState.IN_DOUBT, "reason": f"not sent again: {reason}", "next_at": None, "at": now}
    return {"state": DeliveryState.SKIPPED, "reason": str(reason), "at": now}


def holders(connection: Connection) -> list[str]:
    """Every owner that has deliveries in hand."""
    d = t.deliveries.c
    query = select(d.owner).where(d.state.in_((DeliveryState.LEASED, DeliveryState.HANDED))).distinct()
    return list(connection.execute(query).scalars())


def in_hand(connection: Connection, owner: str, expired_at: datetime | None = None) -> list[Delivery]:
    """What an owner has in hand, locked; only what had expired at the real moment `expired_at`, if given."""
    d = t.deliveries.c
    query = _rows().where(d.owner == owner, d.state.in_((DeliveryState.LEASED, DeliveryState.HANDED))).order_by(d.id)
    if expired_at is not None:
        query = query.where(d.lease_until < expired_at)
    return [_delivery(row) for row in connection.execute(query.with_for_update(of=t.deliveries))]
