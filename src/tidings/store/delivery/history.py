"""Who received which story: no story is sent twice, and a correction goes to its readers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select

from tidings.model.delivery import DeliveryState
from tidings.store import schema as t
from tidings.store.delivery import retention

RECEIVED_STATES = (
    DeliveryState.ACCEPTED,
    DeliveryState.PENDING,
    DeliveryState.LEASED,
    DeliveryState.HANDED,
    DeliveryState.DEFERRED,
    DeliveryState.IN_DOUBT,
)
"""States in which a story counts as received: accepted, or on its way."""


def stories_received(
    connection: Connection,
    stories: Collection[str],
    *,
    channel: str | None = None,
    subscribers: Collection[int] | None = None,
    without: Collection[int] = (),
) -> dict[int, set[str]]:
    """The `stories` that each subscriber has received or will receive; a channel has the key 0. Notes count too.

    `without`: ids of editions that do not count.
    """
    d, ss = t.deliveries.c, t.selection_stories.c
    received: dict[int, set[str]] = {}
    if not stories or (subscribers is not None and not subscribers):
        return received
    query = (
        select(d.subscriber, ss.story)
        .join_from(t.selection_stories, t.deliveries, d.selection == ss.selection)
        .where(ss.story.in_(list(stories)), ss.what != "correction", d.state.in_(RECEIVED_STATES), d.purpose != "test")
    )
    if without:
        m = t.mailings.c
        query = query.where(d.mailing.not_in(select(m.id).where(m.edition.in_(list(without)))))
    query = query.where(d.subscriber.is_not(None)) if channel is None else query.where(d.channel == channel)
    if subscribers is not None:
        query = query.where(d.subscriber.in_(list(subscribers)))
    for row in connection.execute(query):
        received.setdefault(row.subscriber or 0, set()).add(row.story)
    if channel is None:
        for old in retention.load_past_readers(connection, stories):
            if old.what != "correction":
                for reader in old.subscribers if subscribers is None else old.subscribers & set(subscribers):
                    received.setdefault(reader, set()).add(old.story)
    return received


def stories_refused(connection: Connection, stories: Collection[str], channel: str) -> set[str]:
    """The `stories` that a channel refused for good, or that stopped after too many failures."""
    d = t.deliveries.c
    if not stories:
        return set()
    states = (DeliveryState.REJECTED, DeliveryState.QUARANTINED)
    query = select(d.story).where(d.channel == channel, d.story.in_(list(stories)), d.state.in_(states))
    return set(connection.execute(query).scalars())


def find_same_story(connection: Connection, delivery: int) -> int | None:
    """A delivery of another mailing that brought, or brings, a story of this one to the same reader or channel."""
    own, other = t.deliveries.alias("own"), t.deliveries.alias("other")
    shown, again = t.selection_stories.alias("shown"), t.selection_stories.alias("again")
    same_target = or_(
        and_(own.c.channel != "", other.c.channel == own.c.channel),
        and_(own.c.channel == "", other.c.subscriber == own.c.subscriber),
    )
    query = (
        select(other.c.id)
        .join_from(own, shown, shown.c.selection == own.c.selection)
        .join(again, and_(again.c.story == shown.c.story, again.c.what == "story"))
        .join(other, and_(other.c.selection == again.c.selection, other.c.mailing != own.c.mailing, same_target))
        .where(own.c.id == delivery, other.c.state.in_(RECEIVED_STATES), other.c.purpose != "test")
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def waits_for_more(connection: Connection, delivery: int) -> bool:
    """Whether stories of this delivery's edition wait for the reader's next edition: its mark stays before it."""
    d, m = t.deliveries.c, t.mailings.c
    query = select(d.mark < m.edition).join_from(t.deliveries, t.mailings, m.id == d.mailing).where(d.id == delivery)
    return bool(connection.execute(query).scalar_one_or_none())


def shows_story(connection: Connection, delivery: int, story: str) -> bool:
    """Whether the story was in a delivery, as its own post or in its selection."""
    d, ss = t.deliveries.c, t.selection_stories.c
    shown = exists().where(ss.selection == d.selection, ss.story == story)
    return bool(connection.execute(select(or_(d.story == story, shown)).where(d.id == delivery)).scalar_one())


def count_receipts(connection: Connection, stories: Collection[str], most: int) -> int:
    """Deliveries that show one of these stories, counted up to about `most`."""
    d, ss = t.deliveries.c, t.selection_stories.c
    if not stories:
        return 0
    some = (
        select(d.id)
        .join_from(t.selection_stories, t.deliveries, d.selection == ss.selection)
        .where(ss.story.in_(list(stories)), d.subscriber.is_not(None))
        .limit(most + 1)
        .subquery()
    )
    count = int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    return count + sum(len(old.subscribers) for old in retention.load_past_readers(connection, stories))


def pending_corrections(
    connection: Connection, corrected: Mapping[str, Mapping[str, tuple[datetime, str]]]
) -> dict[int, set[str]]:
    """Story keys by subscriber: stories that they received without the later correction.

    `corrected` gives the time and version of the correction by story and language: a translation has its own
    correction, often later.
    """
    d, ss, r, e = t.deliveries.c, t.selection_stories.c, t.renditions.c, t.editions.c
    if not corrected:
        return {}
    query = (
        select(d.subscriber, ss.story, ss.what, ss.version, e.cut, r.language)
        .join_from(t.selection_stories, t.deliveries, d.selection == ss.selection)
        .join(t.renditions, r.id == d.rendition)
        .join(t.editions, e.id == r.edition)
        .where(ss.story.in_(list(corrected)), d.state.in_(RECEIVED_STATES), d.subscriber.is_not(None))
    )
    stale: dict[int, set[str]] = {}
    informed: dict[int, set[str]] = {}

    def note(readers: Iterable[int], row: Any) -> None:
        versions = {version for _, version in corrected[row.story].values()}
        moments = {language: moment for language, (moment, _) in corrected[row.story].items()}
        # The reader got a fallback in another language: the last correction counts.
        moment = moments.get(row.language) or max(moments.values())
        if (row.what == "correction" and row.version in versions) or (row.what == "story" and row.cut >= moment):
            group = informed
        elif row.what == "story":
            group = stale
        else:
            return
        for reader in readers:
            group.setdefault(reader, set()).add(row.story)

    for row in connection.execute(query):
        note([row.subscriber], row)
    for old in retention.load_past_readers(connection, corrected):
        note(old.subscribers, old)
    return {reader: left for reader, keys in stale.items() if (left := keys - informed.get(reader, set()))}
