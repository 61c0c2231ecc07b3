"""Delete old deliveries (`keep`). Counts stay, and so does the record of who received which story."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, or_, select, tuple_, update

from tidings.model.delivery import TERMINAL, DeliveryState
from tidings.store import schema as t
from tidings.store.engine import insert_once

PAGE = 500
"""Rows deleted in one transaction: well under 100 ms."""
_OVER = ("done", "cancelled", "superseded")


@dataclass(frozen=True, slots=True)
class PastReaders:
    """Readers who received a story, in one selection of an old edition."""

    story: str
    what: str
    version: str
    language: str
    cut: datetime
    subscribers: frozenset[int]


def load_past_readers(connection: Connection, stories: Collection[str]) -> list[PastReaders]:
    """Readers of these stories whose deliveries `keep` has deleted."""
    ss, r, e = t.selection_stories.c, t.renditions.c, t.editions.c
    if not stories:
        return []
    query = (
        select(ss.story, ss.what, ss.version, r.language, e.cut, t.past_readers.c.subscribers)
        .join_from(t.selection_stories, t.past_readers, t.past_readers.c.selection == ss.selection)
        .join(t.selections, t.selections.c.id == ss.selection)
        .join(t.renditions, r.id == t.selections.c.rendition)
        .join(t.editions, e.id == r.edition)
        .where(ss.story.in_(list(stories)))
    )
    rows = connection.execute(query)
    return [
        PastReaders(r.story, r.what, r.version, r.language, r.cut, frozenset(unpack_readers(r.subscribers)))
        for r in rows
    ]


def _pack(numbers: Iterable[int]) -> bytes:
    """Pack ids as differences: one or two bytes for each."""
    before, steps = 0, []
    for number in sorted(numbers):
        steps.append(number - before)
        before = number
    return zlib.compress(json.dumps(steps, separators=(",", ":")).encode(), 9)


def unpack_readers(raw: bytes) -> list[int]:
    """Unpack the ids of subscribers from a row of `past_readers`."""
    ids, last = [], 0
    for step in json.loads(zlib.decompress(raw)):
        last += step
        ids.append(last)
    return ids


def old_mailings(connection: Connection, before: datetime) -> list[int]:
    """Mailings that were finished `before` this time: their deliveries may be deleted."""
    m, e = t.mailings.c, t.editions.c
    query = (
        select(m.id)
        .join_from(t.mailings, t.editions, e.id == m.edition, isouter=True)
        .where(m.open.is_(False), m.at < before)
        .where(or_(m.edition.is_(None), and_(e.state.in_(_OVER), e.at < before, m.marked.is_(True))))
        .order_by(m.id)
    )
    return list(connection.execute(query).scalars())


def delete_old_deliveries(connection: Connection, mailing: int, before: datetime) -> int:
    """Delete up to a page of the old deliveries of a mailing; returns how many.

    Deliveries in doubt stay. So do posts, which are few and unique, and deliveries with a story that was postponed.
    """
    d, r = t.deliveries.c, t.renditions.c
    query = (
        select(d.id, d.subscriber, d.selection, d.list, d.state, d.reason, d.returned, r.language)
        .join_from(t.deliveries, t.renditions, r.id == d.rendition, isouter=True)
        .where(d.mailing == mailing, d.at < before, d.state.in_(TERMINAL), _may_go(mailing))
        .order_by(d.id)
        .limit(PAGE)
    )
    rows = connection.execute(query).all()
    if not rows:
        return 0
    is_edition = connection.execute(select(t.mailings.c.edition).where(t.mailings.c.id == mailing)).scalar_one()
    if is_edition is not None:
        _put_away(connection, rows)
        _count(connection, mailing, rows)
    connection.execute(delete(t.deliveries).where(d.id.in_([row.id for row in rows])))
    return len(rows)


def _may_go(mailing: int) -> ColumnElement[bool]:
    d, s = t.deliveries.c, t.subscriptions.c
    edition = select(t.mailings.c.edition).where(t.mailings.c.id == mailing).scalar_subquery()
    waits = exists(
        select(1).where(s.subscriber == d.subscriber, s.list == d.list, s.state == "confirmed", s.mark <= d.mark)
    )
    put_off = and_(d.mark < edition, waits)
    return and_(or_(d.channel == "", edition.is_(None)), or_(d.mark.is_(None), ~put_off))


def _put_away(connection: Connection, rows: Sequence[Any]) -> None:
    had = sorted(
        (row.selection, row.subscriber)
        for row in rows
        if row.state == DeliveryState.ACCEPTED and row.subscriber is not None and row.selection is not None
    )
    packed = [
        {"selection": selection, "subscribers": _pack(reader for _, reader in group)}
        for selection, group in groupby(had, key=lambda pair: pair[0])
    ]
    if packed:
        connection.execute(insert(t.past_readers), packed)


def _count(connection: Connection, mailing: int, rows: Sequence[Any]) -> None:
    tallies = Counter(
        (row.list, row.language or "", row.state, row.reason if row.state == "skipped" else "", row.returned)
        for row in rows
    )
    y = t.deleted_deliveries.c
    for (list_name, language, state, reason, returned), count in tallies.items():
        key = {"list": list_name, "language": language, "state": state, "reason": reason, "returned": returned}
        connection.execute(insert_once(connection, t.deleted_deliveries).values(mailing=mailing, count=0, **key))
        mine = and_(y.mailing == mailing, *(y[name] == value for name, value in key.items()))
        connection.execute(update(t.deleted_deliveries).where(mine).values(count=y.count + count))


def delete_old_records(connection: Connection, before: datetime) -> int:
    """Delete a page each of old slots, sent notices, media notes, and mailings without deliveries; returns how many."""
    s, k, n, m = t.slots.c, t.schedules.c, t.notices.c, t.mailings.c
    # A slot before the last settled one never becomes due again.
    past = (
        select(s.schedule, s.slot)
        .join_from(t.slots, t.schedules, k.name == s.schedule)
        .where(s.at < before, s.slot < k.last_slot, s.state != "claimed")
        .limit(PAGE)
    )
    gone = connection.execute(past).all()
    done = 0
    if gone:
        pairs = [(row.schedule, row.slot) for row in gone]
        done += connection.execute(delete(t.slots).where(tuple_(s.schedule, s.slot).in_(pairs))).rowcount
    a, e, x = t.archives.c, t.editions.c, t.edition_media.c
    is_archived = exists(select(1).where(a.edition == x.edition))
    over = exists(select(1).where(e.id == x.edition, e.state.in_(_OVER), e.at < before))
    shown = select(x.edition).where(over, ~is_archived).distinct().limit(PAGE)
    done += connection.execute(delete(t.edition_media).where(x.edition.in_(shown))).rowcount
    sent = select(n.key).where(n.told_at < before).limit(PAGE)
    done += connection.execute(delete(t.notices).where(n.key.in_(sent))).rowcount
    done += _delete_bounce_counts(connection, before)
    left = exists(select(1).where(t.deliveries.c.mailing == m.id))
    empty = select(m.id).where(m.edition.is_(None), m.open.is_(False), m.at < before, ~left).limit(PAGE)
    done += connection.execute(delete(t.mailings).where(m.id.in_(empty))).rowcount
    return done


def _delete_bounce_counts(connection: Connection, before: datetime) -> int:
    """Delete a page of what the breaker counts for a mailing (`bounced:MAILING:...`, `tripped:MAILING:...`)."""
    f, m, d = t.facts.c, t.mailings.c, t.deliveries.c
    names = connection.execute(
        select(f.name).where(or_(f.name.startswith("bounced:"), f.name.startswith("tripped:")))
    ).scalars()
    by_mailing: dict[int, list[str]] = {}
    for name in names:
        by_mailing.setdefault(int(name.split(":", 2)[1]), []).append(name)
    kept: set[int] = set()
    numbers = sorted(by_mailing)
    for at in range(0, len(numbers), PAGE):
        part = numbers[at : at + PAGE]
        has_rows = exists(select(1).where(d.mailing == m.id))
        kept.update(connection.execute(select(m.id).where(m.id.in_(part), or_(m.at >= before, has_rows))).scalars())
    gone = [name for number in numbers if number not in kept for name in by_mailing[number]][:PAGE]
    return connection.execute(delete(t.facts).where(f.name.in_(gone))).rowcount if gone else 0


def count_deleted(connection: Connection, *, edition: int | None = None, mailing: int | None = None) -> Counter[str]:
    """Deleted deliveries, by state."""
    y = t.deleted_deliveries.c
    query = select(y.state, func.sum(y.count)).group_by(y.state)
    if edition is not None:
        query = query.where(y.mailing.in_(select(t.mailings.c.id).where(t.mailings.c.edition == edition)))
    if mailing is not None:
        query = query.where(y.mailing == mailing)
    return Counter({row[0]: int(row[1]) for row in connection.execute(query)})
