"""Posts whose story was corrected or withdrawn after they were accepted, and the steps taken for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from tidings.model.delivery import DeliveryState, Purpose
from tidings.store import schema as t
from tidings.store.engine import split_chunks


@dataclass(frozen=True, slots=True)
class AcceptedPost:
    """An accepted post of a story, with its item now. `part` counts the posts of the story in the channel."""

    delivery: int
    channel: str
    story: str
    part: int
    item: str
    receipt: str
    via: str
    is_withdrawn: bool


def find_outdated_posts(connection: Connection, channels: Collection[str]) -> Iterator[AcceptedPost]:
    """Posts whose item was withdrawn, or corrected after the text was frozen; oldest first in each channel."""
    d, i, r, m, e = t.deliveries.c, t.items.c, t.renditions.c, t.mailings.c, t.editions.c
    changed = or_(i.withdrawn != "", i.corrected_at.is_not(None))
    stories = connection.execute(select(i.story).where(changed).distinct()).scalars().all()
    for some in split_chunks(stories):
        query = (
            select(d.id, d.channel, d.story, d.receipt, d.via, d.state, i.id, i.withdrawn, i.corrected_at, e.cut)
            .join_from(t.deliveries, t.renditions, d.rendition == r.id)
            .join(t.mailings, d.mailing == m.id)
            .join(t.editions, m.edition == e.id)
            .join(t.items, and_(i.story == d.story, i.language == r.language))
            .where(
                d.channel.in_(channels),
                d.story.in_(some),
            )
            .order_by(d.channel, d.story, d.id)
        )
        part, before = 0, ("", "")
        for row in connection.execute(query):
            part = part + 1 if (row.channel, row.story) == before else 0
            before = (row.channel, row.story)
            is_corrected = row.corrected_at is not None and row.corrected_at > row.cut
            if row.state == DeliveryState.ACCEPTED and (row.withdrawn or is_corrected):
                yield AcceptedPost(
                    row[0], row.channel, row.story, part, row[6], row.receipt, row.via, bool(row.withdrawn)
                )


def posting_times(connection: Connection, channel: str, since: datetime) -> list[datetime]:
    """Times at which posts of a channel were sent, or may have been, since then."""
    d = t.deliveries.c
    query = select(d.at).where(
        d.channel == channel,
        d.rendition.is_not(None),
        d.state.in_((DeliveryState.ACCEPTED, DeliveryState.IN_DOUBT)),
        d.at >= since,
    )
    return list(connection.execute(query).scalars())


def find_correction_steps(connection: Connection, channels: Collection[str]) -> set[tuple[str, str, int, str]]:
    """(channel, story, part, purpose) of the corrections and retractions that were started."""
    d = t.deliveries.c
    query = select(d.channel, d.story, d.part, d.purpose).where(
        d.channel.in_(channels),
        or_(d.purpose.startswith(Purpose.CORRECTION), d.purpose == Purpose.RETRACTION),
    )
    return {(row.channel, row.story, row.part, row.purpose) for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class OnlinePost:
    """An accepted post of any kind. `story` is empty for a whole edition; `part` counts the posts of one story."""

    delivery: int
    channel: str
    schedule: str
    language: str
    story: str
    part: int
    receipt: str
    rendition: int


def find_online_post(connection: Connection, delivery: int) -> OnlinePost | None:
    """Return an accepted post or None if there is no such post."""
    d, r, m = t.deliveries.c, t.renditions.c, t.mailings.c
    query = (
        select(d.id, d.channel, m.schedule, r.language, d.story, d.receipt, r.id)
        .join_from(t.deliveries, t.renditions, d.rendition == r.id)
        .join(t.mailings, d.mailing == m.id)
        .where(d.id == delivery, d.channel != "", d.state == DeliveryState.ACCEPTED)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    earlier = select(d.id).where(
        d.channel == row.channel, d.story == row.story, d.rendition.is_not(None), d.id < delivery
    )
    part = len(connection.execute(earlier).all()) if row.story else 0
    return OnlinePost(row.id, row.channel, row.schedule, row.language, row.story, part, row.receipt, row[6])


def list_post_changes(connection: Connection, channels: Collection[str]) -> dict[int, list[tuple[str, str, str]]]:
    """Return (change, state, reason) of what was done to each post, oldest first, by the delivery of the post."""
    d, m = t.deliveries.c, t.mailings.c
    query = (
        select(m.key, d.details, d.state, d.reason)
        .join_from(t.deliveries, t.mailings, d.mailing == m.id)
        .where(m.key.startswith("amend:"), d.channel.in_(channels))
        .order_by(d.id)
    )
    found: dict[int, list[tuple[str, str, str]]] = {}
    for key, details, state, reason in connection.execute(query):
        found.setdefault(int(key.split(":")[1]), []).append((str(details.get("amendment", "")), state, reason))
    return found
