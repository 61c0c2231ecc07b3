"""The archive of public lists: numbers of sent editions, and the frozen mails that it shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, String, cast, exists, func, insert, or_, select

from tidings.model.edition import EditionState
from tidings.store import schema as t

WHOLE = "whole"
"""Key of the selection with all stories of an edition, for the archive. It is never sent."""


@dataclass(frozen=True, slots=True)
class ArchivedMail:
    """One frozen mail of a sent edition. `part` is 0, or the number of the story if each story is a mail."""

    list: str
    number: int
    part: int
    edition: int
    language: str
    rendition: int
    selection: int
    digest: str
    at: datetime


def assign_number(connection: Connection, list_name: str, edition: int, number: int) -> int:
    """Return the number of an edition on a list. The first call assigns it: the number in its schedule, unless taken.

    If several schedules serve a list, the numbers continue.
    """
    a = t.archives.c
    mine = select(a.number).where(a.list == list_name, a.edition == edition)
    known = connection.execute(mine).scalar_one_or_none()
    if known is not None:
        return int(known)
    highest = connection.execute(select(func.max(a.number)).where(a.list == list_name)).scalar_one() or 0
    assigned = max(number, highest + 1)
    connection.execute(insert(t.archives).values(list=list_name, number=assigned, edition=edition))
    return assigned


def sent_mails(connection: Connection, lists: Collection[str]) -> list[ArchivedMail]:
    """Mails of editions whose sending has begun and that are not cancelled, newest first.

    A held edition is not among them, except if it is held because too much of it came back.
    """
    a, e, r, s, m = t.archives.c, t.editions.c, t.renditions.c, t.selections.c, t.mailings.c
    opened = exists(select(1).where(m.edition == e.id, m.open.is_(True)))
    d = t.deliveries.c
    begun = exists(
        select(1)
        .select_from(t.deliveries.join(t.mailings, m.id == d.mailing))
        .where(m.edition == e.id, d.list == a.list, d.attempts > 0)
    )
    query = (
        select(a.list, a.number, e.id, e.stories, e.starts, r.language, r.id, r.story, r.digest, s.id)
        .join_from(t.archives, t.editions, e.id == a.edition)
        .join(t.renditions, (r.edition == e.id) & (r.outlet == "list:" + a.list))
        .join(t.selections, (s.rendition == r.id) & (s.key == WHOLE))
        .where(
            a.list.in_(list(lists)),
            or_(
                e.state == EditionState.DONE,
                (e.state == EditionState.SENDING) & or_(opened, begun),
                (e.state == EditionState.HELD) & cast(e.holds, String).contains('"breaker"') & begun,
            ),
        )
        .order_by(a.list, a.number.desc(), r.language, r.id)
    )
    return [
        ArchivedMail(row[0], row[1], part_of(row[3], row[7]), row[2], row[5], row[6], row[9], row[8], row[4])
        for row in connection.execute(query)
    ]


def part_of(stories: Collection[str], story: str) -> int:
    """Position of a story in its edition, from 1; 0 for a digest."""
    return 1 + list(stories).index(story) if story in stories else 0


def withdrawal_reasons(connection: Connection) -> dict[str, str]:
    """The reason of each withdrawn item, by its id."""
    i = t.items.c
    return {row[0]: row[1] for row in connection.execute(select(i.id, i.withdrawn).where(i.withdrawn != ""))}
