"""Counts for the report: mails by edition and language, posts, slots, and people who joined or left."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, and_, case, func, select, type_coerce

from tidings.model.delivery import DeliveryState, FeedbackKind
from tidings.store import schema as t
from tidings.store.engine import split_chunks

JOINED = ("confirmed", "imported")
LEFT = ("unsubscribed",)
_DAY = 86_400_000_000
"""In microseconds."""


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
    """Mails to lists, with those that `keep` has deleted. `reason` is only set for skipped ones.

    Nearly all mails were accepted and did not come back. They are what is left of a selection without the others: its
    index knows how many it has, and no row of theirs is read.
    """
    counts: Counter[MailCountKey] = Counter()
    m, y = t.mailings.c, t.deleted_deliveries.c
    for some in split_chunks(editions):
        plain: dict[int, MailCountKey] = {}
        for selection, key, count in _count_selections(connection, some):
            plain[selection] = key
            counts[key] += count
        for key, of, count in _count_others(connection, some):
            counts[key] += count
            if of in plain:
                counts[plain[of]] -= count
        deleted = (
            select(m.edition, y.list, y.language, y.state, y.reason, y.returned, y.count)
            .join_from(t.deleted_deliveries, t.mailings, m.id == y.mailing)
            .where(m.edition.in_(some))
        )
        for *fields, count in connection.execute(deleted):
            counts[MailCountKey(*fields)] += count
    return +counts


def _count_selections(connection: Connection, editions: list[int]) -> Iterator[tuple[int, MailCountKey, int]]:
    """Yield each selection of mails to a list, the key of those that were accepted and stayed, and how many it has."""
    d, s, r = t.deliveries.c, t.selections.c, t.renditions.c
    size = select(func.count()).where(d.selection == s.id).scalar_subquery()
    query = (
        select(s.id, r.edition, r.outlet, r.language, size)
        .join_from(t.selections, t.renditions, r.id == s.rendition)
        .where(r.edition.in_(editions), r.outlet.startswith("list:"))
    )
    for selection, edition, outlet, language, count in connection.execute(query):
        list_name = outlet.removeprefix("list:")
        yield selection, MailCountKey(edition, list_name, language, DeliveryState.ACCEPTED.value, "", ""), count


def _count_others(connection: Connection, editions: list[int]) -> Iterator[tuple[MailCountKey, int | None, int]]:
    """Yield the mails that were not accepted or came back, with their selection and their number."""
    d, m, r = t.deliveries.c, t.mailings.c, t.renditions.c
    by_mailing = {
        row.id: row.edition for row in connection.execute(select(m.id, m.edition).where(m.edition.in_(editions)))
    }
    reason = case((d.state == DeliveryState.SKIPPED, d.reason), else_="")
    columns = (d.mailing, d.list, r.language, d.state, reason, d.returned, d.selection)
    others = [state for state in DeliveryState if state is not DeliveryState.ACCEPTED]
    # The kinds are named so that SQLite uses the index of feedback, and not the index of mailings.
    came_back = and_(d.returned.in_(list(FeedbackKind)), d.returned != "")
    for which, states in ((d.state.in_(others), others), (came_back, [DeliveryState.ACCEPTED])):
        query = (
            select(*columns, func.count())
            .join_from(t.deliveries, t.renditions, r.id == d.rendition, isouter=True)
            .where(d.mailing.in_(list(by_mailing)), which, d.channel == "")
            .group_by(*columns)
        )
        for mailing, list_name, language, state, why, returned, selection, count in connection.execute(query):
            if state in states:
                key = MailCountKey(by_mailing[mailing], list_name, language or "", state, why, returned)
                yield key, selection, count


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
    for some in split_chunks(editions):
        query = (
            select(m.edition, d.channel, r.language, d.story, d.state, d.reason, d.receipt, d.at, d.id)
            .join_from(t.deliveries, t.mailings, m.id == d.mailing)
            .join(t.renditions, r.id == d.rendition, isouter=True)
            # No post has a subscriber: its index finds the posts among millions of mails.
            .where(m.edition.in_(some), d.subscriber.is_(None), d.channel != "")
            .order_by(d.id)
        )
        posts += [ChannelPost(row[0], row[1], row[2] or "", *row[3:]) for row in connection.execute(query)]
    return posts


class ListMoves:
    """When people joined and left each list, by their language: '' for people who were erased since."""

    def __init__(self, moments: Mapping[tuple[str, str, bool], list[int]]) -> None:
        self._moments = moments

    def lists(self) -> list[tuple[str, str]]:
        """Return each list and language that somebody joined or left."""
        return sorted({(name, language) for name, language, _ in self._moments})

    def count(
        self, name: str, language: str, *, joined: bool, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Count the people who joined or left a list in [since, until)."""
        moments = self._moments.get((name, language, joined), [])
        begin, end = (
            bound if moment is None else bisect_left(moments, t.to_microseconds(moment))
            for bound, moment in ((0, since), (len(moments), until))
        )
        return max(0, end - begin)


def load_moves(
    connection: Connection, since: datetime | None, until: datetime | None, counted: Iterable[datetime]
) -> ListMoves:
    """The people who joined or left in [since, until). They are counted from and until the moments in `counted`."""
    c, p = t.consents.c, t.subscribers.c
    at = type_coerce(c.at, BigInteger)
    days = sorted({t.to_microseconds(moment) // _DAY for moment in counted})
    # Each subscriber has a row: the database adds up those of a day, unless counting begins or ends on it.
    moment = case(((at // _DAY).in_(days), at), else_=at // _DAY * _DAY)
    columns = (c.list, p.language, c.what, moment)
    query = (
        select(*columns, func.count())
        .join_from(t.consents, t.subscribers, p.address_hash == c.address_hash, isouter=True)
        .where(c.what.in_((*JOINED, *LEFT)))
        .group_by(*columns)
    )
    if since is not None:
        query = query.where(c.at >= since)
    if until is not None:
        query = query.where(c.at < until)
    moments: defaultdict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for name, language, what, when, count in connection.execute(query):
        moments[name, language or "", what in JOINED] += [when] * count
    for each in moments.values():
        each.sort()
    return ListMoves(dict(moments))


def list_skipped_slots(connection: Connection, since: datetime | None, until: datetime | None) -> list[Any]:
    """(schedule, slot, state, reason) of slots without an edition of their own, oldest first."""
    s = t.slots.c
    query = select(s.schedule, s.slot, s.state, s.reason).where(s.state.in_(("skipped", "merged"))).order_by(s.slot)
    if since is not None:
        query = query.where(s.slot >= since)
    if until is not None:
        query = query.where(s.slot < until)
    return list(connection.execute(query))
