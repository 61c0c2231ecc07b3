"""Feedback: bounces and complaints, each recorded once, and the suppressions that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update

from tidings.model.delivery import DeliveryState, EventType, FeedbackKind
from tidings.model.errors import RefusedError
from tidings.store import schema as t
from tidings.store.content.editions import newest_edition_id
from tidings.store.engine import insert_once, split_chunks
from tidings.store.people import consent, subscribers
from tidings.store.people.bulk_import import BLOCKED
from tidings.store.service.events import record_event

_WEAKER = {
    FeedbackKind.SOFT: ("",),
    FeedbackKind.HARD: ("", FeedbackKind.SOFT),
    FeedbackKind.COMPLAINT: ("", FeedbackKind.SOFT, FeedbackKind.HARD),
}


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient that a bounce or complaint is about."""

    address_hash: str
    """Empty for an erased person."""
    list: str
    """Empty: no list, or unknown."""
    subscriber: int | None = None
    delivery: int | None = None
    purpose: str = ""
    address: str = field(default="", repr=False)
    """Their own address, which a server may quote; empty for an erased person."""


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that was sent, with the identifiers that a report may use."""

    recipient: Recipient
    key: str
    """The source of its Message-ID."""
    receipt: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """One bounce or complaint."""

    kind: str
    code: str
    text: str
    via: str
    at: datetime


def find_by_delivery(connection: Connection, delivery: int) -> Recipient | None:
    """The recipient of a delivery; None if `keep` has deleted it."""
    d, p = t.deliveries.c, t.subscribers.c
    query = (
        select(d.address_hash, d.list, d.subscriber, d.purpose, p.address)
        .outerjoin_from(t.deliveries, t.subscribers, p.id == d.subscriber)
        .where(d.id == delivery)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Recipient(row.address_hash, row.list, row.subscriber, delivery, row.purpose, row.address or "")


def find_by_subscriber(connection: Connection, subscriber: int, list_name: str) -> Recipient | None:
    """A subscriber on a list; None for an erased person."""
    p = t.subscribers.c
    row = connection.execute(select(p.address_hash, p.address).where(p.id == subscriber)).one_or_none()
    return None if row is None else Recipient(row.address_hash, list_name, subscriber, address=row.address)


def find_by_address(connection: Connection, address: str) -> Recipient:
    """The recipient with an address. Raises InputError for an invalid address."""
    digest = consent.address_hash(address)
    p = t.subscribers.c
    subscriber = connection.execute(select(p.id).where(p.address_hash == digest)).scalar_one_or_none()
    return Recipient(digest, "", subscriber)


def recent_mails(
    connection: Connection, subscriber: int, list_name: str | None = None, most: int = 200
) -> list[SentMail]:
    """The newest mails to a subscriber."""
    d = t.deliveries.c
    query = select(t.deliveries).where(d.subscriber == subscriber, d.channel == "").order_by(d.id.desc()).limit(most)
    if list_name is not None:
        query = query.where(d.list == list_name)
    return [
        SentMail(
            Recipient(row.address_hash, row.list, subscriber, row.id, row.purpose),
            f"{row.mailing}|{row.target}|{row.story}|{row.purpose}|{row.part}",
            row.receipt,
        )
        for row in connection.execute(query)
    ]


def record(
    connection: Connection, key: str, recipient: Recipient, kind: str, *, code: str, text: str, via: str, now: datetime
) -> bool:
    """Record a bounce or complaint; False if it was recorded before."""
    row = {
        "key": key,
        "delivery": recipient.delivery,
        "address_hash": recipient.address_hash,
        "list": recipient.list,
        "kind": kind,
        "code": code,
        "text": text,
        "via": via,
        "at": now,
    }
    if connection.execute(insert_once(connection, t.feedback).values(**row)).rowcount != 1:
        return False
    data = {"kind": kind, "list": recipient.list, "subscriber": recipient.subscriber, "delivery": recipient.delivery}
    record_event(connection, EventType.FEEDBACK_RECEIVED, key, {**data, "code": code}, now)
    return True


def is_recorded(connection: Connection, key: str) -> bool:
    """Whether a bounce or complaint with this key was recorded."""
    return connection.execute(select(t.feedback.c.id).where(t.feedback.c.key == key)).first() is not None


def mark_delivery(connection: Connection, delivery: int | None, returned: FeedbackKind) -> None:
    """Write feedback to its delivery; the worst kind stays. A rejected delivery is not changed."""
    d = t.deliveries.c
    is_it = (d.id == delivery) & d.returned.in_(_WEAKER[returned]) & (d.state != DeliveryState.REJECTED)
    connection.execute(update(t.deliveries).where(is_it).values(returned=returned))


def count_days(connection: Connection, recipient: Recipient, kind: str, since: datetime) -> int:
    """Count the days after `since` with feedback of this kind from an address on a list."""
    r = t.feedback.c
    query = select(r.at).where(
        r.address_hash == recipient.address_hash, r.list == recipient.list, r.kind == kind, r.at > since
    )
    return len({at.date() for at in connection.execute(query).scalars()})


def suppress_recipient(
    connection: Connection, recipient: Recipient, list_name: str, reason: str, via: str, now: datetime
) -> bool:
    """Never mail an address again on a list (empty: on any), and end its subscriptions. True if that is new."""
    if not recipient.address_hash:
        return False
    # First, as an unsubscribe does: one of them waits for the other.
    consent.lock(connection, [recipient.address_hash])
    s = t.subscriptions.c
    if recipient.subscriber is not None:
        mine = s.subscriber == recipient.subscriber
        if list_name:
            mine &= s.list == list_name
        on = connection.execute(select(s.list).where(mine, s.state != subscribers.UNSUBSCRIBED)).scalars().all()
        connection.execute(
            update(t.subscriptions)
            .where(mine, s.state != subscribers.UNSUBSCRIBED)
            .values(state=subscribers.UNSUBSCRIBED, left_at=now, confirm_by=None)
        )
        for name in on:
            consent.record(connection, recipient.address_hash, name, "returned", f"{reason}, heard by {via}", now)
    # Last: senders lock the deliveries first, then the consent version, which this increases.
    return consent.suppress(connection, recipient.address_hash, list_name, reason, now)


def lift_suppressions(connection: Connection, digest: str, list_name: str, source: str, now: datetime) -> list[str]:
    """Lift a wrong hard bounce or imported block; returns the lists that mail the address again.

    It lifts those on `list_name` and on every list, or all (empty). Readers start with the next edition. Raises
    RefusedError if they unsubscribed, complained, bounced softly or were erased: only they can take that back.
    """
    consent.lock(connection, [digest])
    since = consent.suppressions_of(connection, digest)
    reasons = {name: reason for name, (reason, _) in since.items()}
    r, s, p = t.feedback.c, t.subscriptions.c, t.subscribers.c
    # A suppression keeps its first reason, but a later complaint counts here.
    complaints = select(r.list, r.at).where(r.address_hash == digest, r.kind == FeedbackKind.COMPLAINT)
    for name, at in connection.execute(complaints).all():
        if name in since and at >= since[name][1]:
            reasons[name] = FeedbackKind.COMPLAINT
    asked = {name: reason for name, reason in reasons.items() if not list_name or name in ("", list_name)}
    wrong = [name for name, reason in asked.items() if reason in (FeedbackKind.HARD, BLOCKED)]
    if not wrong:
        raise RefusedError(_why_not(asked))
    for name in wrong:
        consent.lift(connection, digest, name)
        consent.record(connection, digest, name, "lifted", source, now)
    stays = reasons.keys() - set(wrong)
    mine = (p.address_hash == digest) & (s.state == subscribers.UNSUBSCRIBED) & s.list.not_in(stays)
    query = select(s.id, s.list, s.confirmed_at).join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
    back = [row for row in connection.execute(query.where(mine)) if not list_name or row.list == list_name]
    for row in back:
        state = subscribers.CONFIRMED if row.confirmed_at else subscribers.PENDING
        again = {"state": state, "left_at": None, "mark": newest_edition_id(connection)}
        connection.execute(update(t.subscriptions).where(s.id == row.id).values(**again))
    return sorted(row.list for row in back)


def _why_not(reasons: Mapping[str, str]) -> str:
    words = {
        subscribers.UNSUBSCRIBED: "they unsubscribed, and only they can subscribe again",
        FeedbackKind.COMPLAINT: "they complained, and only they can subscribe again",
        FeedbackKind.SOFT: "their mailbox was full or unavailable too often, and only they can subscribe again",
        "erased": "they were erased, and must not be stored again",
    }
    parts = [f"{f'list {name}' if name else 'every list'}: {words.get(why, why)}" for name, why in reasons.items()]
    return f"nothing was lifted. {'; '.join(parts)}" if parts else "this address has no suppression"


def of_deliveries(connection: Connection, deliveries: Iterable[int]) -> dict[int, list[Feedback]]:
    """Feedback for each delivery, oldest first."""
    r = t.feedback.c
    feedback: dict[int, list[Feedback]] = {}
    for some in split_chunks(deliveries):
        query = select(t.feedback).where(r.delivery.in_(some)).order_by(r.id)
        for row in connection.execute(query):
            feedback.setdefault(row.delivery, []).append(Feedback(row.kind, row.code, row.text, row.via, row.at))
    return feedback
