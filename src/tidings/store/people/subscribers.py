"""Subscribers and their subscriptions, with the last edition that each received."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    String,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from tidings.model.delivery import DeliveryState, Purpose, SkipReason
from tidings.model.text import clean
from tidings.store import schema as t
from tidings.store.content.editions import newest_edition_id
from tidings.store.engine import insert_once
from tidings.store.people import consent, eligibility
from tidings.store.people.eligibility import CONFIRMED as CONFIRMED
from tidings.store.people.eligibility import PENDING as PENDING
from tidings.store.people.eligibility import UNSUBSCRIBED as UNSUBSCRIBED
from tidings.store.people.erasure import erase as erase  # callers import it from here

STATES = (CONFIRMED, PENDING, UNSUBSCRIBED)
LAPSED = "lapsed"
"""In the record of consents: they did not confirm again in time."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One confirmed subscription, as addressing needs it."""

    subscription: int
    subscriber: int
    address_hash: str
    language: str
    topics: frozenset[str]
    mark: int
    skip_reason: SkipReason | None
    """Why the list must not mail them, if so."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A person who is on a list, or was."""

    id: int
    address: str
    address_hash: str
    name: str
    language: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One line of `subscribers show` and of the CSV."""

    subscriber: int
    address: str
    name: str
    language: str
    list: str
    state: str
    topics: tuple[str, ...]
    frequency: str
    source: str
    confirmed_at: datetime | None
    left_at: datetime | None


def find_id(connection: Connection, address: str) -> int | None:
    """The id of the subscriber with this address, or None."""
    query = select(t.subscribers.c.id).where(t.subscribers.c.address_hash == consent.address_hash(address))
    return connection.execute(query).scalar_one_or_none()


def find_by_id(connection: Connection, subscriber: int) -> Subscriber | None:
    """Return a subscriber, or None for a person who was erased."""
    p = t.subscribers.c
    known = (p.id, p.address, p.address_hash, p.name, p.language, func.coalesce(p.note, ""))
    row = connection.execute(select(*known).where(p.id == subscriber)).one_or_none()
    return None if row is None else Subscriber(*row)


def subscription_states(connection: Connection, subscriber: int, lists: Collection[str]) -> dict[str, str]:
    """The state of a person's subscription to each of these lists; `pending` while a re-confirmation is open."""
    s = t.subscriptions.c
    query = select(s.list, s.state, s.confirm_by).where(s.subscriber == subscriber, s.list.in_(list(lists)))
    return {
        row.list: PENDING if row.state == CONFIRMED and row.confirm_by is not None else row.state
        for row in connection.execute(query)
    }


def has_confirmed(connection: Connection, subscriber: int) -> bool:
    """Whether the person has a confirmed subscription to any list."""
    s = t.subscriptions.c
    query = select(s.id).where(s.subscriber == subscriber, s.state == CONFIRMED).limit(1)
    return connection.execute(query).first() is not None


def is_on_any(connection: Connection, subscriber: int, lists: Collection[str]) -> bool:
    """Whether the person is on one of these lists, confirmed or pending."""
    s = t.subscriptions.c
    query = select(s.id).where(s.subscriber == subscriber, s.list.in_(list(lists)), s.state.in_((CONFIRMED, PENDING)))
    return connection.execute(query).first() is not None


def add(
    connection: Connection,
    address: str,
    list_name: str,
    *,
    language: str,
    frequency: str,
    now: datetime,
    name: str = "",
    topics: Iterable[str] = (),
    confirmed: bool = False,
    source: str = "",
    bring_back: bool = False,
) -> str:
    """Add a person to a list. Returns what happened: added, exists, left or suppressed.

    A person who unsubscribed stays off unless `bring_back` (a new request of their own, which also changes the
    choices of a pending one). Nobody is mailed. Raises InputError for an invalid address.
    """
    address = consent.normal_address(address)
    digest = consent.hash_normal_address(address)
    reason = consent.suppression(connection, digest, list_name)
    if reason is not None and not bring_back:
        return "left" if reason == UNSUBSCRIBED else "suppressed"
    p = t.subscribers.c
    subscriber = connection.execute(select(p.id).where(p.address_hash == digest)).scalar_one_or_none()
    if subscriber is None:
        row = {"address": address, "address_hash": digest, "name": name, "language": language, "created": now}
        subscriber = connection.execute(insert(t.subscribers).values(**row).returning(p.id)).scalar_one()
    values: dict[str, Any] = {
        "state": CONFIRMED if confirmed else PENDING,
        "topics": sorted(set(topics)),
        "frequency": frequency,
        "mark": newest_edition_id(connection),
        "source": source,
        "confirmed_at": now if confirmed else None,
        "confirm_by": None,
        "left_at": None,
    }
    key = (t.subscriptions.c.subscriber == subscriber) & (t.subscriptions.c.list == list_name)
    known = connection.execute(select(t.subscriptions.c.state).where(key)).scalar_one_or_none()
    if known == CONFIRMED or (known == PENDING and not confirmed):
        if known == PENDING and bring_back:
            choices = {"topics": values["topics"], "frequency": frequency}
            connection.execute(update(t.subscriptions).where(key).values(**choices))
        return "exists"
    if known == UNSUBSCRIBED and not bring_back:
        return "left"
    if known is None:
        connection.execute(insert(t.subscriptions).values(subscriber=subscriber, list=list_name, created=now, **values))
    else:
        connection.execute(update(t.subscriptions).where(key).values(**values))
    consent.record(connection, digest, list_name, "confirmed" if confirmed else "joined", source, now)
    return "added"


def confirm(connection: Connection, subscriber: int, list_name: str, *, now: datetime) -> bool:
    """Confirm a pending subscription, from the next edition on. False if it was not pending."""
    s = t.subscriptions.c
    done = connection.execute(
        update(t.subscriptions)
        .where(s.subscriber == subscriber, s.list == list_name, s.state == PENDING)
        .values(
            state=CONFIRMED,
            confirmed_at=now,
            left_at=None,
            confirm_by=None,
            paused_until=None,
            mark=newest_edition_id(connection),
        )
    )
    return bool(done.rowcount)


def _not_asked(list_name: str, since: datetime, until: datetime) -> ColumnElement[bool]:
    """Consents before `since` that no re-confirmation with this end has asked about."""
    s, p, c = t.subscriptions.c, t.subscribers.c, t.consents.c
    asked = exists(
        select(1).where(
            c.address_hash == p.address_hash, c.list == list_name, c.what == _ASKED, c.source == _asked_source(until)
        )
    )
    return and_(s.list == list_name, s.state == CONFIRMED, s.confirm_by.is_(None), s.confirmed_at < since, ~asked)


_ASKED = "asked again"


def _asked_source(until: datetime) -> str:
    return f"re-confirmation until {until:%Y-%m-%d}"


def count_not_asked(connection: Connection, list_name: str, since: datetime, until: datetime) -> int:
    """How many people `start_reconfirmation` would still ask."""
    s, p = t.subscriptions.c, t.subscribers.c
    query = select(func.count()).select_from(t.subscriptions.join(t.subscribers, s.subscriber == p.id))
    return int(connection.execute(query.where(_not_asked(list_name, since, until))).scalar_one())


def start_reconfirmation(
    connection: Connection, list_name: str, since: datetime, until: datetime, now: datetime, most: int = 200
) -> list[tuple[int, str, str]]:
    """Start up to `most` re-confirmations of consents before `since`; returns (id, address hash, language) of each.

    Nobody is asked twice for the same end: they have answered, or their time runs.
    """
    s, p = t.subscriptions.c, t.subscribers.c
    query = (
        select(p.id, p.address_hash, p.language)
        .join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
        .where(_not_asked(list_name, since, until))
        .order_by(p.id)
        .limit(most)
    )
    people = [(row.id, row.address_hash, row.language) for row in connection.execute(query)]
    ids = [number for number, _, _ in people]
    mine = (s.list == list_name) & s.subscriber.in_(ids)
    connection.execute(update(t.subscriptions).where(mine).values(confirm_by=until))
    for _, digest, _ in people:
        consent.record(connection, digest, list_name, _ASKED, _asked_source(until), now)
    return people


def renew_confirmation(connection: Connection, subscriber: int, list_name: str, now: datetime) -> None:
    """Record that a person has confirmed again."""
    s = t.subscriptions.c
    mine = (s.subscriber == subscriber) & (s.list == list_name)
    connection.execute(update(t.subscriptions).where(mine).values(confirm_by=None, confirmed_at=now))


def expire_reconfirmations(connection: Connection, now: datetime, most: int = 200) -> int:
    """Return at most so many expired re-confirmations to `pending`; returns how many.

    Skips people whose question is not sent yet.

    Their consent is over: neither an import nor the end of a suppression brings it back.
    """
    s, p, d = t.subscriptions.c, t.subscribers.c, t.deliveries.c
    unsent = exists(
        select(1).where(
            d.subscriber == s.subscriber,
            d.list == s.list,
            d.purpose == Purpose.CONFIRMATION,
            d.state.in_((DeliveryState.PENDING, DeliveryState.LEASED, DeliveryState.HANDED, DeliveryState.DEFERRED)),
        )
    )
    late = (s.state == CONFIRMED) & (s.confirm_by <= now) & ~unsent
    people = t.subscriptions.join(t.subscribers, s.subscriber == p.id)
    query = select(s.id, p.address_hash, s.list).select_from(people).where(late).limit(most)
    expired = connection.execute(query).all()
    if expired:
        mine = late & s.id.in_([row.id for row in expired])
        connection.execute(
            update(t.subscriptions).where(mine).values(state=PENDING, confirm_by=None, confirmed_at=None)
        )
        for _, digest, name in expired:
            consent.record(connection, digest, name, LAPSED, "no word by the end of a re-confirmation", now)
        consent.advance_version(connection)
    return len(expired)


def pause_mail(connection: Connection, subscriber: int, lists: Collection[str], until: datetime | None) -> None:
    """Send a person no edition of these lists before `until`; None ends a pause."""
    s = t.subscriptions.c
    mine = (s.subscriber == subscriber) & s.list.in_(list(lists))
    connection.execute(update(t.subscriptions).where(mine).values(paused_until=until))


def paused_until(connection: Connection, subscriber: int) -> datetime | None:
    """When the longest pause of a person's confirmed subscriptions ends; None without one."""
    s = t.subscriptions.c
    query = select(func.max(s.paused_until)).where(s.subscriber == subscriber, s.state == CONFIRMED)
    until: datetime | None = connection.execute(query).scalar_one()
    return until


def paused_subscribers(connection: Connection, list_name: str, now: datetime) -> set[int]:
    """Subscribers who have paused a list beyond `now`."""
    s = t.subscriptions.c
    return set(connection.execute(select(s.subscriber).where(s.list == list_name, s.paused_until > now)).scalars())


def change(
    connection: Connection,
    subscriber: int,
    *,
    list_name: str | None = None,
    name: str | None = None,
    language: str | None = None,
    note: str | None = None,
    topics: Iterable[str] | None = None,
    frequency: str | None = None,
) -> None:
    """Change the preferences of a person. The mark stays, so that no story is repeated or skipped."""
    written = {"name": name, "language": language, "note": note}
    if person := {key: clean(value) for key, value in written.items() if value is not None}:
        connection.execute(update(t.subscribers).where(t.subscribers.c.id == subscriber).values(**person))
    choice: dict[str, Any] = {} if topics is None else {"topics": sorted(set(topics))}
    if frequency is not None:
        choice["frequency"] = frequency
    if choice:
        query = update(t.subscriptions).where(t.subscriptions.c.subscriber == subscriber)
        if list_name is not None:
            query = query.where(t.subscriptions.c.list == list_name)
        connection.execute(query.values(**choice))


def unsubscribe(connection: Connection, subscriber: int, list_name: str, *, source: str, now: datetime) -> bool:
    """Unsubscribe a person from a list, with a suppression in the same transaction. True if they were on it.

    `list_name` may be a former name of the list.
    """
    s, p = t.subscriptions.c, t.subscribers.c
    digest = connection.execute(select(p.address_hash).where(p.id == subscriber)).scalar_one_or_none()
    if digest is None:
        return False
    was_on = False
    for name in names_to_leave(connection, subscriber, list_name):
        consent.suppress(connection, digest, name, UNSUBSCRIBED, now)
        mine = (s.subscriber == subscriber) & (s.list == name) & (s.state != UNSUBSCRIBED)
        done = connection.execute(
            update(t.subscriptions).where(mine).values(state=UNSUBSCRIBED, left_at=now, confirm_by=None)
        )
        if done.rowcount:
            consent.record(connection, digest, name, UNSUBSCRIBED, source, now)
            was_on = True
    return was_on


def list_names(connection: Connection, name: str) -> list[str]:
    """A name of a list, and every name that the list got later."""
    names = [name]
    for each in names:
        query = select(t.former_lists.c.name).where(t.former_lists.c.former == each).order_by(t.former_lists.c.name)
        names.extend(later for later in connection.execute(query).scalars() if later not in names)
    return names


def names_to_leave(connection: Connection, subscriber: int, name: str, *, by_link: bool = False) -> list[str]:
    """Return the names of the lists that a person leaves. If several lists had this name, the present one is meant.

    `by_link`: the link may be in an old mail of a former list, so they leave that list too if they joined it first.
    """
    names, s = list_names(connection, name), t.subscriptions.c
    query = select(s.list, s.created).where(s.subscriber == subscriber, s.list.in_(names), s.state != UNSUBSCRIBED)
    on = {row.list: row.created for row in connection.execute(query)}
    if name in on:
        return [*(old for old in names[1:] if by_link and old in on and on[old] <= on[name]), name]
    return [each for each in names if each in on] or names[-1:]


def may_be_list_of(connection: Connection, subscriber: int, names: Collection[str]) -> bool:
    """Whether a person was ever on one of these lists, or is on no list at all.

    If this is False, the person may mean another list, and would stay on it.
    """
    s, p, u = t.subscriptions.c, t.subscribers.c, t.suppressions.c
    left = select(u.hash).join(t.subscribers, p.address_hash == u.hash).where(p.id == subscriber, u.list.in_(names))
    mine = select(s.id).where(s.subscriber == subscriber)
    known = (left.limit(1), mine.where(s.list.in_(names)).limit(1))
    if any(connection.execute(query).first() for query in known):
        return True
    return connection.execute(mine.where(s.state != UNSUBSCRIBED).limit(1)).first() is None


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Which subscriptions to list or count. An empty value means any."""

    list: str = ""
    within: tuple[str, ...] | None = None
    """Only these lists; None: any."""
    language: str = ""
    topic: str = ""
    """Only people who chose this topic, without people who have no choice and get every topic."""
    frequency: str = ""
    states: tuple[str, ...] = ()
    text: str = ""
    """Part of the address or the name."""

    def apply(self, query: Select[Any]) -> Select[Any]:
        """Add the conditions to a query of subscriptions and subscribers."""
        s, p = t.subscriptions.c, t.subscribers.c
        query = query.join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
        for column, value in ((s.list, self.list), (p.language, self.language), (s.frequency, self.frequency)):
            query = query.where(column == value) if value else query
        if self.within is not None:
            query = query.where(s.list.in_(self.within))
        if self.states:
            query = query.where(s.state.in_(self.states))
        if self.topic:
            # Both databases keep the list as JSON text.
            query = query.where(cast(s.topics, String).contains(json.dumps(self.topic), autoescape=True))
        if self.text:
            text = self.text.lower()
            within = [func.lower(column).contains(text, autoescape=True) for column in (p.address, p.name)]
            query = query.where(or_(*within))
        return query


def count_subscriptions(connection: Connection, wanted: SubscriptionFilter) -> int:
    """Count the subscriptions that match."""
    return int(connection.execute(wanted.apply(select(func.count()))).scalar_one())


def subscriptions_page(
    connection: Connection, wanted: SubscriptionFilter, *, after: tuple[str, str] = ("", ""), limit: int = 1_000
) -> list[Subscription]:
    """Return the next subscriptions that match, by list and address, after the (list, address) of the last one."""
    s, p = t.subscriptions.c, t.subscribers.c
    query = wanted.apply(select(*_COLUMNS)).where(or_(s.list > after[0], (s.list == after[0]) & (p.address > after[1])))
    rows = connection.execute(query.order_by(s.list, p.address).limit(limit))
    return [_subscription(row) for row in rows]


def subscriptions(
    connection: Connection, *, list_name: str | None = None, address: str | None = None
) -> Iterator[Subscription]:
    """Subscriptions, ordered by list and address."""
    s, p = t.subscriptions.c, t.subscribers.c
    query = select(*_COLUMNS).join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
    if list_name is not None:
        query = query.where(s.list == list_name)
    if address is not None:
        query = query.where(p.address_hash == consent.address_hash(address))
    # In pages, for lists of a million; a caller that stops after the first row leaves no cursor open.
    with connection.execute(query.order_by(s.list, p.address), execution_options={"yield_per": 1_000}) as rows:
        for row in rows:
            yield _subscription(row)


_COLUMNS = (
    t.subscribers.c.id.label("subscriber"),
    *(t.subscribers.c[name] for name in ("address", "name", "language")),
    *(
        t.subscriptions.c[name]
        for name in ("list", "state", "topics", "frequency", "source", "confirmed_at", "left_at")
    ),
)


def _subscription(row: Row[Any]) -> Subscription:
    return Subscription(**{**row._mapping, "topics": tuple(row.topics)})


def consents_of(connection: Connection, address: str) -> list[tuple[datetime, str, str, str]]:
    """(time, list, event, source) of the consents of a person, oldest first."""
    c = t.consents.c
    query = select(c.at, c.list, c.what, c.source).where(c.address_hash == consent.address_hash(address))
    return [(row.at, row.list, row.what, row.source) for row in connection.execute(query.order_by(c.id))]


def count_by_state(connection: Connection, list_name: str) -> dict[str, int]:
    """Subscriptions of a list by state."""
    s = t.subscriptions.c
    rows = connection.execute(select(s.state, func.count()).where(s.list == list_name).group_by(s.state))
    return {row[0]: row[1] for row in rows}


def count_by_frequency(connection: Connection, list_name: str) -> dict[str, int]:
    """Confirmed readers of a list, by frequency."""
    s = t.subscriptions.c
    rows = connection.execute(
        select(s.frequency, func.count()).where(s.list == list_name, s.state == CONFIRMED).group_by(s.frequency)
    )
    return {row[0]: row[1] for row in rows}


def readers(
    connection: Connection,
    list_name: str,
    frequency: str | None,
    page: int = 5_000,
    *,
    marks: Collection[int] | None = None,
    subscribers: Collection[int] = (),
) -> Iterator[Reader]:
    """Confirmed readers of a list with a `frequency` (None: all), in the order of joining.

    With `marks`, only readers with one of these marks, and these `subscribers`.
    """
    s, p = t.subscriptions.c, t.subscribers.c
    after = 0
    while True:
        query = (
            eligibility.join_suppressions(
                select(
                    s.id, s.subscriber, p.address_hash, p.language, s.topics, s.mark, eligibility.REASON.label("why")
                ).join_from(t.subscriptions, t.subscribers, s.subscriber == p.id),
                p.address_hash,
                list_name,
            )
            .where(s.list == list_name, s.state == CONFIRMED, s.id > after)
            .order_by(s.id)
            .limit(page)
        )
        if frequency is not None:
            query = query.where(s.frequency == frequency)
        if marks is not None:
            query = query.where(or_(s.mark.in_(list(marks)), s.subscriber.in_(list(subscribers))))
        rows = connection.execute(query).all()
        for row in rows:
            skip = None if row.why is None else eligibility.suppression_skip(row.why)
            yield Reader(row.id, row.subscriber, row.address_hash, row.language, frozenset(row.topics), row.mark, skip)
        if len(rows) < page:
            return
        after = rows[-1].id


def is_outlet_known(connection: Connection, kind: str, name: str) -> bool:
    """Whether the store has rows of a list or channel with this name (`kind` is list or channel)."""
    tables = (t.subscriptions, t.suppressions, t.deliveries) if kind == "list" else (t.deliveries,)
    return any(connection.execute(select(1).where(table.c[kind] == name).limit(1)).first() for table in tables)


def rename_outlet(connection: Connection, kind: str, was: str, name: str) -> None:
    """Rename a list or channel in all tables; targets in the ledger keep the old name.

    A list's former name is kept for ever, because links in old mails have it.
    """
    connection.execute(update(t.deliveries).where(t.deliveries.c[kind] == was).values({kind: name}))
    connection.execute(
        update(t.renditions).where(t.renditions.c.outlet == f"{kind}:{was}").values(outlet=f"{kind}:{name}")
    )
    if kind == "channel":
        return
    connection.execute(insert_once(connection, t.former_lists).values(former=was, name=name))
    connection.execute(update(t.deleted_deliveries).where(t.deleted_deliveries.c.list == was).values(list=name))
    s, u = t.subscriptions.c, t.suppressions.c
    there = select(s.subscriber).where(s.list == name)
    connection.execute(update(t.subscriptions).where(s.list == was, s.subscriber.not_in(there)).values(list=name))
    connection.execute(delete(t.subscriptions).where(s.list == was))
    left = select(u.hash).where(u.list == name)
    connection.execute(update(t.suppressions).where(u.list == was, u.hash.not_in(left)).values(list=name))
    connection.execute(delete(t.suppressions).where(u.list == was))
    connection.execute(update(t.consents).where(t.consents.c.list == was).values(list=name))
    a = t.archives.c
    moved = (a.list == was) & a.number.not_in(select(a.number).where(a.list == name))
    connection.execute(update(t.archives).where(moved).values(list=name))
