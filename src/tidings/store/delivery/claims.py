"""Taking deliveries to send: lease, permission under the lock of consent, and settling. Every write is fenced."""

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

from tidings.model.delivery import Delivery, DeliveryState, Purpose, SkipReason
from tidings.store import schema as t
from tidings.store.delivery import settling
from tidings.store.people import consent
from tidings.store.service import pauses

BLOCKED_STATES = ("composing", "held", "cancelled", "superseded")
_UNASKED = frozenset({Purpose.TEST, Purpose.NOTICE, Purpose.CONFIRMATION})
"""Purposes that need no confirmed subscription; what holds for every list binds them too."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What `claim` took. `version` is the state of consent for which nothing spoke against `deliveries`."""

    deliveries: tuple[Delivery, ...]
    skipped: tuple[tuple[Delivery, SkipReason], ...]
    version: int

    @property
    def is_empty(self) -> bool:
        """Nothing was due."""
        return not self.deliveries and not self.skipped


def _rows(more: Sequence[ColumnElement[Any]] = ()) -> Select[Any]:
    """Deliveries as the fields of `Delivery`, in their order; then `more`."""
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
    found = Delivery._make(row[:_FIELDS])
    if found.details == "{}":
        return found
    extra = found.parsed_details
    return found._replace(
        address=found.address or extra.get("address", ""), language=found.language or extra.get("language", "")
    )


class SendChecks(NamedTuple):
    """What may speak against sending one: see `refusal` and `may_go`."""

    owner: str
    is_open: bool
    edition_state: str | None
    everywhere: str | None
    """Why the address is suppressed on every list, and `here` on the list of the delivery."""
    here: str | None
    subscription: str | None
    """Its state."""
    is_paused: bool = False


def load_checks(connection: Connection, ids: Iterable[int]) -> list[tuple[Delivery, SendChecks]]:
    """Deliveries with all that may speak against sending them, in the order of ids."""
    d, p, m, e, u = t.deliveries.c, t.subscribers.c, t.mailings.c, t.editions.c, t.subscriptions.c
    everywhere, here = t.suppressions.alias("everywhere"), t.suppressions.alias("here")
    digest = func.coalesce(p.address_hash, d.address_hash)
    more = (
        d.owner,
        m.open,
        e.state.label("edition_state"),
        everywhere.c.reason.label("everywhere"),
        here.c.reason.label("here"),
        u.state.label("subscription"),
    )
    query = (
        _rows(more)
        .outerjoin(t.editions, e.id == m.edition)
        .outerjoin(everywhere, and_(everywhere.c.hash == digest, everywhere.c.list == ""))
        .outerjoin(here, and_(here.c.hash == digest, here.c.list == d.list))
        .outerjoin(t.subscriptions, and_(u.subscriber == d.subscriber, u.list == d.list))
        .where(d.id.in_(list(ids)))
        .order_by(d.id)
    )
    stopped = pauses.active_pauses(connection)
    found = []
    for row in connection.execute(query).all():
        one, against = _delivery(row), SendChecks(*row[_FIELDS:])
        if stopped and one.edition is not None:
            why = pauses.find_pause(stopped, schedule=one.schedule, list_name=one.list, channel=one.channel)
            against = against._replace(is_paused=why is not None)
        found.append((one, against))
    return found


def get_deliveries(connection: Connection, ids: Iterable[int]) -> list[Delivery]:
    """By id, in the order of ids."""
    query = _rows().where(t.deliveries.c.id.in_(list(ids))).order_by(t.deliveries.c.id)
    return [_delivery(row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class SenderShare:
    """The mail that one of several senders takes: of each list those with `first <= id % of < end`.

    What may have arrived by a sender is that sender's; `senders` are all there are, and the list '' stands for what is
    of no other in `lists`.
    """

    sender: str
    senders: tuple[str, ...]
    shares: Mapping[str, tuple[int, int, int]]
    """(first, end, of) by list."""
    lists: tuple[str, ...]

    def condition(self) -> ColumnElement[bool]:
        """Of a row of `deliveries`."""
        d = t.deliveries.c
        mine = []
        for name, (first, end, of) in self.shares.items():
            here = d.list == name if name else d.list.not_in([one for one in self.lists if one])
            mine.append(and_(here, d.id % of >= first, d.id % of < end) if of > 1 else here)
        free = or_(d.doubts == 0, d.sender.not_in(self.senders))
        return or_(and_(d.doubts > 0, d.sender == self.sender), and_(free, or_(*mine) if mine else false()))


def _due(
    channel: str, now: datetime, real_now: datetime, shaken: bool, portion: SenderShare | None
) -> list[ColumnElement[bool]]:
    """For each state in which a row can wait, in the order in which they are served: the condition that it is due."""
    d = t.deliveries.c
    both = and_(
        d.channel == channel,
        true() if portion is None else portion.condition(),
        or_(d.not_before.is_(None), d.not_before <= real_now),
        d.crashes > 0 if shaken else d.crashes == 0,
    )
    return [
        and_(d.state == DeliveryState.PENDING, d.next_at.is_(None), both),
        and_(d.state == DeliveryState.DEFERRED, d.next_at <= now, both),
        and_(d.state == DeliveryState.IN_DOUBT, d.next_at <= now, both),
    ]


def _open_mailings(connection: Connection, now: datetime, only: int | None) -> list[int]:
    """The urgent ones first (a person waits for a confirmation or a notice; an alert); or `only` one."""
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
    going = pauses.is_not_paused(pauses.active_pauses(connection))
    if going is not None:
        query = query.join(t.mailings, t.mailings.c.id == d.mailing).where(going)
    for channel, count in connection.execute(query):
        found[channel] = count
    return found


def next_send_time(
    connection: Connection, now: datetime, real_now: datetime, only: int | None = None
) -> datetime | None:
    """When, in real time, the first mail may go that waits for nothing but its place in a row."""
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
    portion: SenderShare | None = None,
) -> Lease:
    """Lease up to `limit` due deliveries of a channel (empty: e-mail) until the real moment `until`.

    Of mail only the `portion` of one sender, if given.

    What may no longer be sent is skipped at once. What was being prepared when a process died comes last and alone, so
    that one poisonous message takes no other with it.
    """
    version = consent.version(connection)
    mailings = _open_mailings(connection, now, only)
    going = pauses.is_not_paused(pauses.active_pauses(connection))
    ids: list[int] = []
    for shaken in (False, True):
        for mailing in mailings:
            for condition in _due(channel, now, real_now, shaken, portion):
                room = (1 if shaken else limit) - len(ids)
                if room <= 0:
                    break
                query = (
                    select(t.deliveries.c.id)
                    .where(t.deliveries.c.mailing == mailing, condition)
                    .order_by(t.deliveries.c.next_at, t.deliveries.c.id)
                    .limit(room)
                    .with_for_update(skip_locked=True, of=t.deliveries)
                )
                if going is not None:
                    query = query.join(t.mailings, t.mailings.c.id == t.deliveries.c.mailing).where(going)
                ids += connection.execute(query).scalars()
        if ids:
            break
    if not ids:
        return Lease((), (), version)
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
    may, skipped = [], []
    place = {number: place for place, number in enumerate(ids)}
    for delivery, against in sorted(load_checks(connection, ids), key=lambda one: place[one[0].id]):
        reason = skip_reason(delivery, against)
        if reason is None:
            may.append(delivery)
        else:
            skipped.append((delivery, reason))
    results = [(delivery, settling.skipped(delivery, reason, now)) for delivery, reason in skipped]
    settling.settle(connection, owner, results)
    return Lease(tuple(may), tuple(skipped), version)


def skip_reason(delivery: Delivery, against: SendChecks) -> SkipReason | None:
    """Why it may not be sent, if it may not."""
    if delivery.channel:
        return None
    asked = delivery.purpose not in _UNASKED
    why = against.everywhere or (against.here if asked else None)
    if why is not None:
        known = {str(SkipReason.UNSUBSCRIBED): SkipReason.UNSUBSCRIBED, str(SkipReason.ERASED): SkipReason.ERASED}
        return known.get(why, SkipReason.SUPPRESSED)
    if not delivery.address:
        return SkipReason.ERASED
    if asked and delivery.list and delivery.subscriber is not None and against.subscription != "confirmed":
        return SkipReason.NOT_CONFIRMED if against.subscription == "pending" else SkipReason.UNSUBSCRIBED
    return None


def may_send_now(against: SendChecks) -> bool:
    """Whether its mailing is open, its edition not held or dropped, and nothing of it paused."""
    return bool(against.is_open) and against.edition_state not in BLOCKED_STATES and not against.is_paused


def list_owners(connection: Connection) -> list[str]:
    """Every owner that has deliveries in hand."""
    d = t.deliveries.c
    query = select(d.owner).where(d.state.in_((DeliveryState.LEASED, DeliveryState.HANDED))).distinct()
    return list(connection.execute(query).scalars())


def get_claimed(connection: Connection, owner: str, expired_at: datetime | None = None) -> list[Delivery]:
    """What an owner has in hand, locked; only what had expired at the real moment `expired_at`, if given."""
    d = t.deliveries.c
    query = _rows().where(d.owner == owner, d.state.in_((DeliveryState.LEASED, DeliveryState.HANDED))).order_by(d.id)
    if expired_at is not None:
        query = query.where(d.lease_until < expired_at)
    return [_delivery(row) for row in connection.execute(query.with_for_update(of=t.deliveries))]
