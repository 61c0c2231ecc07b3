"""Claim deliveries to send: lease those that are due, and skip those that must not be sent. Every write is fenced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    cast,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
    update,
)

from tidings.model.delivery import Delivery, DeliveryState, SkipReason
from tidings.store import schema as t
from tidings.store.delivery import settling
from tidings.store.people import consent, eligibility
from tidings.store.service import pauses

BLOCKED_STATES = ("composing", "held", "cancelled", "superseded")
"""States of an edition in which none of its deliveries is sent."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The result of `claim`. `version` is the consent version at which all `deliveries` were allowed."""

    deliveries: tuple[Delivery, ...]
    skipped: tuple[tuple[Delivery, SkipReason], ...]
    version: int

    @property
    def is_empty(self) -> bool:
        """Nothing was due."""
        return not self.deliveries and not self.skipped


def _select_deliveries(more: Sequence[ColumnElement[Any]] = ()) -> Select[Any]:
    """Select the fields of `Delivery` in their order, then `more`."""
    d, m, p = t.deliveries.c, t.mailings.c, t.subscribers.c
    return (
        select(
            d.id,
            d.mailing,
            m.schedule,
            m.edition,
            d.list,
            d.channel,
            d.story,
            d.purpose,
            d.part,
            d.target,
            d.subscriber,
            func.coalesce(p.address, "").label("address"),
            func.coalesce(p.name, "").label("name"),
            func.coalesce(p.language, "").label("language"),
            d.selection,
            d.rendition,
            d.state,
            d.attempts,
            d.doubts,
            d.crashes,
            d.fence,
            func.coalesce(p.address_hash, d.address_hash).label("address_hash"),
            type_coerce(d.handed_at, BigInteger).label("handed"),
            cast(d.details, String).label("details"),
            *more,
        )
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.subscribers, p.id == d.subscriber)
    )


_FIELDS = len(Delivery._fields)


def _delivery(row: Row[Any]) -> Delivery:
    delivery = Delivery._make(row[:_FIELDS])
    if delivery.details == "{}":
        return delivery
    extra = delivery.parsed_details
    address, language = delivery.address or extra.get("address", ""), delivery.language or extra.get("language", "")
    return delivery._replace(address=address, language=language)


class SendChecks(NamedTuple):
    """The data that decides whether a delivery is sent: see `skip_reason` and `may_send_now`."""

    owner: str
    is_open: bool
    edition_state: str | None
    everywhere: str | None
    """Why the address is suppressed on every list."""
    here: str | None
    """Why the address is suppressed on the list of the delivery."""
    subscription: str | None
    """State of the subscription."""
    is_paused: bool = False


def load_checks(connection: Connection, ids: Iterable[int]) -> list[tuple[Delivery, SendChecks]]:
    """Deliveries with their checks, in the order of ids."""
    d, p, m, e, s = t.deliveries.c, t.subscribers.c, t.mailings.c, t.editions.c, t.subscriptions.c
    more = (
        d.owner,
        m.open,
        e.state.label("edition_state"),
        eligibility.EVERYWHERE.c.reason,
        eligibility.HERE.c.reason,
        s.state.label("subscription"),
    )
    query = (
        eligibility.join_suppressions(
            _select_deliveries(more).outerjoin(t.editions, e.id == m.edition),
            func.coalesce(p.address_hash, d.address_hash),
            d.list,
        )
        .outerjoin(t.subscriptions, and_(s.subscriber == d.subscriber, s.list == d.list))
        .where(d.id.in_(list(ids)))
        .order_by(d.id)
    )
    active = pauses.active_pauses(connection)
    checked = []
    for row in connection.execute(query).all():
        delivery, checks = _delivery(row), SendChecks(*row[_FIELDS:])
        if active and delivery.edition is not None:
            pause = pauses.find_pause(
                active, schedule=delivery.schedule, list_name=delivery.list, channel=delivery.channel
            )
            checks = checks._replace(is_paused=pause is not None)
        checked.append((delivery, checks))
    return checked


def skip_reason(delivery: Delivery, checks: SendChecks) -> SkipReason | None:
    """Return why a delivery must never be sent, or None if it may."""
    return eligibility.skip_reason(
        delivery, everywhere=checks.everywhere, here=checks.here, subscription=checks.subscription
    )


def may_send_now(checks: SendChecks) -> bool:
    """Whether its mailing is open, its edition neither held nor dropped, and nothing of it paused."""
    return bool(checks.is_open) and checks.edition_state not in BLOCKED_STATES and not checks.is_paused


@dataclass(frozen=True, slots=True)
class SenderShare:
    """The mail that one of several senders takes: of each list the deliveries with `first <= id % of < end`.

    A delivery in doubt stays with the sender that tried it. In `lists` and `shares`, the list '' stands for all mail
    that belongs to no other list.
    """

    sender: str
    senders: tuple[str, ...]
    shares: Mapping[str, tuple[int, int, int]]
    """(first, end, of) by list."""
    lists: tuple[str, ...]

    def condition(self) -> ColumnElement[bool]:
        """Whether a row of `deliveries` is in the share."""
        d = t.deliveries.c
        mine = []
        for name, (first, end, of) in self.shares.items():
            on_list = d.list == name if name else d.list.not_in([other for other in self.lists if other])
            mine.append(and_(on_list, d.id % of >= first, d.id % of < end) if of > 1 else on_list)
        free = or_(d.doubts == 0, d.sender.not_in(self.senders))
        return or_(and_(d.doubts > 0, d.sender == self.sender), and_(free, or_(*mine) if mine else false()))


def _due(
    channel: str, now: datetime, real_now: datetime, crashed: bool, share: SenderShare | None
) -> list[ColumnElement[bool]]:
    """The condition of a due delivery for each state in which it can wait, in the order of sending."""
    d = t.deliveries.c
    common = and_(
        d.channel == channel,
        true() if share is None else share.condition(),
        or_(d.not_before.is_(None), d.not_before <= real_now),
        d.crashes > 0 if crashed else d.crashes == 0,
    )
    return [
        and_(d.state == DeliveryState.PENDING, d.next_at.is_(None), common),
        and_(d.state == DeliveryState.DEFERRED, d.next_at <= now, common),
        and_(d.state == DeliveryState.IN_DOUBT, d.next_at <= now, common),
    ]


def _open_mailings(connection: Connection, now: datetime, only: int | None) -> list[int]:
    """Open mailings, or `only` one. Urgent ones first: a person waits for a confirmation, a notice or an alert."""
    m, e = t.mailings.c, t.editions.c
    query = (
        select(m.id)
        .join_from(t.mailings, t.editions, e.id == m.edition, isouter=True)
        .where(m.open.is_(True), or_(m.edition.is_(None), e.state.not_in(BLOCKED_STATES)))
        .where(or_(m.closes.is_(None), m.closes > now))
        .order_by(m.urgent.desc(), m.id)
    )
    if only is not None:
        query = query.where(m.id == only)
    return list(connection.execute(query).scalars())


def count_due(connection: Connection, now: datetime, real_now: datetime, only: int | None = None) -> dict[str, int]:
    """Deliveries that may be claimed now, by channel; e-mail is the empty name. `only` limits this to one mailing."""
    d = t.deliveries.c
    mailings = _open_mailings(connection, now, only)
    if not mailings:
        return {}
    late = and_(d.state.in_((DeliveryState.DEFERRED, DeliveryState.IN_DOUBT)), d.next_at <= now)
    query = (
        select(d.channel, func.count())
        .where(d.mailing.in_(mailings), or_(d.state == DeliveryState.PENDING, late))
        .where(or_(d.not_before.is_(None), d.not_before <= real_now))
        .group_by(d.channel)
    )
    not_paused = pauses.is_not_paused(pauses.active_pauses(connection))
    return {row[0]: row[1] for row in connection.execute(_without_paused(query, not_paused))}


def _without_paused(query: Select[Any], not_paused: ColumnElement[bool] | None) -> Select[Any]:
    if not_paused is None:
        return query
    return query.join(t.mailings, t.mailings.c.id == t.deliveries.c.mailing).where(not_paused)


def next_send_time(
    connection: Connection, now: datetime, real_now: datetime, only: int | None = None
) -> datetime | None:
    """The real time of the next possible send among mails that wait only for the sending rate."""
    d = t.deliveries.c
    query = select(func.min(d.not_before)).where(
        d.mailing.in_(_open_mailings(connection, now, only)),
        d.state == DeliveryState.PENDING,
        d.channel == "",
        d.not_before > real_now,
    )
    moment: datetime | None = connection.execute(query).scalar_one()
    return moment


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
    share: SenderShare | None = None,
) -> Lease:
    """Lease up to `limit` due deliveries of a channel (empty: e-mail) until the real time `until`.

    `share` limits mail to that of one sender. Deliveries that must not be sent any more are skipped at once. Those
    that were being prepared when a process died come last and alone, so that a bad message stops no others.
    """
    version = consent.version(connection)
    mailings = _open_mailings(connection, now, only)
    not_paused = pauses.is_not_paused(pauses.active_pauses(connection))
    d = t.deliveries
    ids: list[int] = []
    for crashed in (False, True):
        for mailing in mailings:
            for condition in _due(channel, now, real_now, crashed, share):
                room = (1 if crashed else limit) - len(ids)
                if room <= 0:
                    break
                query = (
                    select(d.c.id)
                    .where(d.c.mailing == mailing, condition)
                    .order_by(d.c.next_at, d.c.id)
                    .limit(room)
                    .with_for_update(skip_locked=True, of=d)
                )
                ids += connection.execute(_without_paused(query, not_paused)).scalars()
        if ids:
            break
    if not ids:
        return Lease((), (), version)
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
    leased, refused = [], []
    place = {number: place for place, number in enumerate(ids)}
    for delivery, checks in sorted(load_checks(connection, ids), key=lambda pair: place[pair[0].id]):
        reason = skip_reason(delivery, checks)
        if reason is None:
            leased.append(delivery)
        else:
            refused.append((delivery, reason))
    settling.settle(
        connection, owner, [(delivery, settling.skipped(delivery, reason, now)) for delivery, reason in refused]
    )
    return Lease(tuple(leased), tuple(refused), version)


_CLAIMED = (DeliveryState.LEASED, DeliveryState.HANDED)


def list_owners(connection: Connection) -> list[str]:
    """Every owner of a claimed delivery."""
    d = t.deliveries.c
    return list(connection.execute(select(d.owner).where(d.state.in_(_CLAIMED)).distinct()).scalars())


def get_claimed(connection: Connection, owner: str, expired_at: datetime | None = None) -> list[Delivery]:
    """Lock and return what an owner has claimed: all, or only leases that had expired at the real time `expired_at`."""
    d = t.deliveries.c
    query = _select_deliveries().where(d.owner == owner, d.state.in_(_CLAIMED)).order_by(d.id)
    if expired_at is not None:
        query = query.where(d.lease_until < expired_at)
    return [_delivery(row) for row in connection.execute(query.with_for_update(of=t.deliveries))]
