"""Counts for the report: mails by edition and language, posts, slots, and people who joined or left."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from tidings.store import schema as t

JOINED = ("confirmed", "imported")
LEFT = ("unsubscribed",)


@dataclass(frozen=True, slots=True)
class MailCountKey:
    """Mails are counted by these fields. `language` is '' if a delivery was skipped before a language was chosen."""

    edition: int
    list: str
    language: str
    state: str
    reason: str
    returned: str


def count_mails(connection: Connection, editions: list[int]) -> Counter[MailCountKey]:
    """Mails to lists, with those that `keep` has deleted. `reason` is only set for skipped ones."""
    d, m, r, y = t.deliveries.c, t.mailings.c, t.renditions.c, t.deleted_deliveries.c
    counts: Counter[MailCountKey] = Counter()
    for start in range(0, len(editions), 500):
        some = editions[start : start + 500]
        live = (
            select(m.edition, d.list, r.language, d.state, d.reason, d.returned, func.count())
            .join_from(t.deliveries, t.mailings, m.id == d.mailing)
            .join(t.renditions, r.id == d.rendition, isouter=True)
            .where(m.edition.in_(some), d.channel == "")
            .group_by(m.edition, d.list, r.language, d.state, d.reason, d.returned)
        )
        taken = (
            select(m.edition, y.list, y.language, y.state, y.reason, y.returned, y.count)
            .join_from(t.deleted_deliveries, t.mailings, m.id == y.mailing)
            .where(m.edition.in_(some))
        )
        for query in (live, taken):
            for edition, list_name, language, state, reason, returned, count in connection.execute(query):
                why = reason if state == "skipped" else ""
                counts[MailCountKey(edition, list_name, language or "", state, why, returned)] += count
    return counts


@dataclass(frozen=True, slots=True)
class ChannelPost:
    """A post to a channel. `receipt` is what the service returned, often a URL."""

    edition: int
    channel: str
    language: str
    story: str
    state: str
    reason: str
    receipt: str
    at: datetime
    delivery: int = 0


def list_posts(connection: Connection, editions: list[int]) -> list[ChannelPost]:
    """Posts of these editions, oldest first. `keep` never deletes posts."""
    d, m, r = t.deliveries.c, t.mailings.c, t.renditions.c
    posts = []
    for start in range(0, len(editions), 500):
        query = (
            select(m.edition, d.channel, r.language, d.story, d.state, d.reason, d.receipt, d.at, d.id)
            .join_from(t.deliveries, t.mailings, m.id == d.mailing)
            .join(t.renditions, r.id == d.rendition, isouter=True)
            # No post has a subscriber: its index finds the posts among millions of mails.
            .where(m.edition.in_(editions[start : start + 500]), d.subscriber.is_(None), d.channel != "")
            .order_by(d.id)
        )
        posts += [ChannelPost(row[0], row[1], row[2] or "", *row[3:]) for row in connection.execute(query)]
    return posts


@dataclass(frozen=True, slots=True)
class ListMove:
    """A person joined or left a list. `language` is '' for a person who was erased since."""

    list: str
    language: str
    joined: bool
    at: datetime


def list_moves(connection: Connection, since: datetime | None, until: datetime | None) -> list[ListMove]:
    """People who joined or left, in the order of time."""
    c, p = t.consents.c, t.subscribers.c
    query = (
        select(c.list, p.language, c.what, c.at)
        .join_from(t.consents, t.subscribers, p.address_hash == c.address_hash, isouter=True)
        .where(c.what.in_((*JOINED, *LEFT)))
        .order_by(c.at, c.id)
    )
    if since is not None:
        query = query.where(c.at >= since)
    if until is not None:
        query = query.where(c.at < until)
    return [ListMove(row[0], row[1] or "", row[2] in JOINED, row[3]) for row in connection.execute(query)]


def list_skipped_slots(connection: Connection, since: datetime | None, until: datetime | None) -> list[Any]:
    """(schedule, slot, state, reason) of slots without an edition of their own, oldest first."""
    s = t.slots.c
    query = select(s.schedule, s.slot, s.state, s.reason).where(s.state.in_(("skipped", "merged"))).order_by(s.slot)
    if since is not None:
        query = query.where(s.slot >= since)
    if until is not None:
        query = query.where(s.slot < until)
    return list(connection.execute(query))
