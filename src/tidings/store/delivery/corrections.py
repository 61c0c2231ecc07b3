"""Posts whose story was corrected or withdrawn after they were accepted, and the steps taken for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from tidings.model.delivery import DeliveryState, Purpose
from tidings.store import schema as t


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
    for start in range(0, len(stories), 500):
        query = (
            select(d.id, d.channel, d.story, d.receipt, d.via, d.state, i.id, i.withdrawn, i.corrected_at, e.cut)
            .join_from(t.deliveries, t.renditions, d.rendition == r.id)
            .join(t.mailings, d.mailing == m.id)
            .join(t.editions, m.edition == e.id)
            .join(t.items, and_(i.story == d.story, i.language == r.language))
            .where(
                d.channel.in_(channels),
                d.story.in_(stories[start : start + 500]),
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
