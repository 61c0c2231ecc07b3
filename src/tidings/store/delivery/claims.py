"""Claim deliveries: take those that are due and may be sent now, and skip those that must not be sent.

A claim is the permission to send. It holds the lock of the consent version until its transaction ends, so nobody can
unsubscribe between the check and the claim. Every later write names the fence of the claim.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    cast,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite

from tidings.model.delivery import Delivery, DeliveryState, SkipReason
from tidings.store import schema as t
from tidings.store.delivery import settling
from tidings.store.engine import json_rows, run_sql
from tidings.store.people import consent, eligibility
from tidings.store.service import pauses

BLOCKED_STATES = ("composing", "held", "cancelled", "superseded")
"""States of an edition in which none of its deliveries is sent."""


def _select_deliveries(more: Sequence[ColumnElement[Any]] = (), *, is_claimed: bool = False) -> Select[Any]:
    """Select the fields of `Delivery` in their order, then `more`. `is_claimed`: as they are after a claim."""
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
            literal(DeliveryState.HANDED.value) if is_claimed else d.state,
            d.attempts,
            d.doubts,
            d.crashes,
            d.fence + 1 if is_claimed else d.fence,
            func.coalesce(p.address_hash, d.address_hash).label("address_hash"),
            type_coerce(d.handed_at, BigInteger).label("handed"),
            cast(d.details, String).label("details"),
            *more,
        )
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.subscribers, p.id == d.subscriber)
    )


_FIELDS = len(Delivery._fields)


def _delivery(row: Sequence[Any]) -> Delivery:
    delivery = Delivery._make(row[:_FIELDS])
    if delivery.details == "{}":
        return delivery
    extra = delivery.parsed_details
    address, language = delivery.address or extra.get("address", ""), delivery.language or extra.get("language", "")
    return delivery._replace(address=address, language=language)


def _select_checked(*, is_claimed: bool = False) -> Select[Any]:
    """Select deliveries, then what decides whether each may be sent: see `_skip_reason`."""
    d, p, s = t.deliveries.c, t.subscribers.c, t.subscriptions.c
    checks = (eligibility.EVERYWHERE.c.reason, eligibility.HERE.c.reason, s.state)
    digest = func.coalesce(p.address_hash, d.address_hash)
    return eligibility.join_suppressions(_select_deliveries(checks, is_claimed=is_claimed), digest, d.list).outerjoin(
        t.subscriptions, and_(s.subscriber == d.subscriber, s.list == d.list)
    )


def _skip_reason(delivery: Delivery, row: Sequence[Any]) -> SkipReason | None:
    everywhere, here, subscription = row[_FIELDS:]
    return eligibility.skip_reason(delivery, everywhere=everywhere, here=here, subscription=subscription)


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


def _due(channel: str, crashed: bool, share: SenderShare | None) -> list[ColumnElement[bool]]:
    """The condition of a due delivery for each state in which it can wait, in the order of sending.

    The moments are the parameters `now` and `real_now`, in microseconds.
    """
    d = t.deliveries.c
    now: ColumnElement[Any] = literal_column(":now")
    real_now: ColumnElement[Any] = literal_column(":real_now")
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


_OPEN_MAILINGS = f"""
    SELECT mailings.id FROM mailings LEFT JOIN editions ON editions.id = mailings.edition
    WHERE mailings.open
        AND (mailings.edition IS NULL OR editions.state NOT IN ({", ".join(f"'{state}'" for state in BLOCKED_STATES)}))
        AND (mailings.closes IS NULL OR mailings.closes > :now)
    ORDER BY mailings.urgent DESC, mailings.id
"""  # noqa: S608


def _open_mailings(connection: Connection, now: datetime, only: int | None) -> list[int]:
    """Open mailings, or `only` one. Urgent ones first: a person waits for a confirmation, a notice or an alert."""
    found = run_sql(connection, _OPEN_MAILINGS, {"now": t.to_microseconds(now)})
    return [mailing for (mailing,) in found if only is None or mailing == only]


def count_due(connection: Connection, now: datetime, real_now: datetime, only: int | None = None) -> dict[str, int]:
    """Deliveries that may be claimed now, by channel; e-mail is the empty name. `only` limits this to one mailing."""
    counts: Counter[str] = Counter()
    for _, channel, count in count_due_by_mailing(connection, now, real_now, only):
        counts[channel] += count
    return dict(counts)


def count_due_by_mailing(
    connection: Connection, now: datetime, real_now: datetime, only: int | None = None
) -> list[tuple[int, str, int]]:
    """Deliveries that may be claimed now, as (mailing, channel, count), urgent mailings first."""
    d = t.deliveries.c
    mailings = _open_mailings(connection, now, only)
    if not mailings:
        return []
    waiting = d.state.in_((DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.IN_DOUBT))
    query = (
        select(d.mailing, d.channel, func.count())
        .where(d.mailing.in_(mailings), waiting, or_(d.state == DeliveryState.PENDING, d.next_at <= now))
        .where(or_(d.not_before.is_(None), d.not_before <= real_now))
        .group_by(d.mailing, d.channel)
    )
    joined = query.join(t.mailings, t.mailings.c.id == d.mailing)
    found = [(row[0], row[1], row[2]) for row in connection.execute(_without_paused(joined, connection))]
    return sorted(found, key=lambda row: (mailings.index(row[0]), row[1]))


def _without_paused(query: Select[Any], connection: Connection) -> Select[Any]:
    not_paused = pauses.is_not_paused(pauses.active_pauses(connection))
    return query if not_paused is None else query.where(not_paused)


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


class Claim(NamedTuple):
    """Deliveries that may be sent now, and those that were skipped. `version` is the consent version of the claim."""

    deliveries: Sequence[Delivery]
    skipped: Sequence[tuple[Delivery, SkipReason]]
    version: int

    @property
    def is_empty(self) -> bool:
        """Nothing was due."""
        return not self.deliveries and not self.skipped


class Claimant:
    """Claims the deliveries of one channel (empty: e-mail). `share` limits mail to that of one sender."""

    def __init__(
        self, owner: str, channel: str, sender: str = "", share: SenderShare | None = None, only: int | None = None
    ) -> None:
        """`only` limits the claims to one mailing."""
        self._owner = owner
        self._sender = sender
        self._only = only
        self._conditions = [(crashed, _due(channel, crashed, share)) for crashed in (False, True)]
        self._statements: dict[tuple[object, ...], str] = {}

    def claim(self, connection: Connection, limit: int, *, now: datetime, real_now: datetime, until: datetime) -> Claim:
        """Claim up to `limit` due deliveries until the real time `until`.

        Those that must not be sent any more are skipped at once. Crash suspects come last and alone, so that a bad
        message stops no others.
        """
        version = consent.lock_version(connection)
        rows = self._find_due(connection, limit, now, real_now)
        if not rows:
            return Claim((), (), version)
        arguments = {
            "rows": json.dumps([[row[0]] for row in rows]),
            "owner": self._owner,
            "sender": self._sender,
            "real_now": t.to_microseconds(real_now),
            "until": t.to_microseconds(until),
        }
        run_sql(connection, _CLAIM.replace("ROWS", json_rows(connection.dialect.name, id="bigint")), arguments)
        claimed: list[Delivery] = []
        skipped: list[tuple[Delivery, SkipReason]] = []
        for row in rows:
            delivery = _delivery(row)
            reason = _skip_reason(delivery, row)
            if reason is None:
                claimed.append(delivery)
            else:
                skipped.append((delivery, reason))
        results = [(delivery, settling.skipped(delivery, reason, now)) for delivery, reason in skipped]
        settling.settle(connection, self._owner, results)
        return Claim(claimed, skipped, version)

    def _find_due(self, connection: Connection, limit: int, now: datetime, real_now: datetime) -> list[Sequence[Any]]:
        active = pauses.active_pauses(connection)
        mailings = _open_mailings(connection, now, self._only)
        if not mailings:
            return []
        moments = {"now": t.to_microseconds(now), "real_now": t.to_microseconds(real_now)}
        rows: list[Sequence[Any]] = []
        for crashed, conditions in self._conditions:
            for mailing in mailings:
                for number, condition in enumerate(conditions):
                    room = (1 if crashed else limit) - len(rows)
                    if room <= 0:
                        return rows
                    key = (connection.dialect.name, crashed, number, *active)
                    if key not in self._statements:
                        not_paused = pauses.is_not_paused(active)
                        wanted = condition if not_paused is None else and_(condition, not_paused)
                        self._statements[key] = _due_sql(connection.dialect.name, wanted)
                    values = {**moments, "mailing": mailing, "room": room}
                    rows += run_sql(connection, self._statements[key], values)
            if rows:
                break
        return rows


def _due_sql(dialect: str, condition: ColumnElement[bool]) -> str:
    """Return the query of due deliveries as they are after the claim."""
    d = t.deliveries
    query = (
        _select_checked(is_claimed=True)
        .where(d.c.mailing == literal_column(":mailing"), condition)
        .order_by(d.c.next_at, d.c.id)
        .limit(literal_column(":room"))
        .with_for_update(skip_locked=True, of=d)
    )
    spoken = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}[dialect](paramstyle="named")
    return str(query.compile(dialect=spoken, compile_kwargs={"literal_binds": True}))


_CLAIM = """
    UPDATE deliveries SET
        state = 'handed', owner = :owner, fence = fence + 1, lease_until = :until, next_at = NULL,
        not_before = NULL, sender = :sender,
        handed_at = CASE WHEN doubts > 0 AND handed_at IS NOT NULL THEN handed_at ELSE :real_now END
    WHERE id IN (SELECT given.id FROM (ROWS) AS given)
"""


def recheck(connection: Connection, owner: str, claimed: Iterable[Delivery]) -> tuple[set[int], int]:
    """Return the claimed deliveries that may still begin, and the consent version at which this holds.

    One may begin if this owner still holds it, its mailing is open, nothing of it is held or paused, and the person is
    still subscribed with this address.
    """
    version = consent.version(connection)
    keys = {delivery.id: (delivery.fence, delivery.address_hash) for delivery in claimed}
    d, m, e = t.deliveries.c, t.mailings.c, t.editions.c
    query = (
        _select_checked()
        .outerjoin(t.editions, e.id == m.edition)
        .where(d.id.in_(list(keys)), d.owner == owner, d.state == DeliveryState.HANDED, m.open.is_(True))
        .where(or_(m.edition.is_(None), e.state.not_in(BLOCKED_STATES)))
    )
    allowed = set()
    for row in connection.execute(_without_paused(query, connection)):
        delivery = _delivery(row)
        if keys[delivery.id] == (delivery.fence, delivery.address_hash) and _skip_reason(delivery, row) is None:
            allowed.add(delivery.id)
    return allowed, version


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
