"""Segments: the subscribers of a list with the same language, topics and mark. They get the same mails, or none.

Addressing decides once for each segment, and the database writes the deliveries: a million readers are never in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, String, TextClause, bindparam, cast, exists, func, select, text, update

from tidings.model.delivery import DeliveryState, SkipReason
from tidings.model.edition import EditionState
from tidings.store import schema as t
from tidings.store.delivery.history import RECEIVED_STATES
from tidings.store.engine import Store
from tidings.store.people import eligibility

PAGE = 5_000
"""Subscriptions in one transaction: well under 100 ms."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Confirmed readers of a list with the same language, topics and mark."""

    language: str
    topics: str
    """As stored: a JSON array."""
    mark: int
    readers: int
    suppressed: dict[SkipReason, int]
    """The number of other readers who must not be mailed, by reason."""

    @property
    def interests(self) -> frozenset[str]:
        """The topics they chose; none means all."""
        return frozenset(json.loads(self.topics))


@dataclass(frozen=True, slots=True)
class SegmentDelivery:
    """A message for one segment, or the reason why the segment gets none."""

    language: str
    topics: str
    mark: int
    story: str
    selection: int | None
    rendition: int | None
    new_mark: int | None
    reason: str
    first: bool
    """The first message of the segment. Suppressed readers get one row, for this message only."""


def _of_list(query: Select[Any], list_name: str, frequency: str | None) -> Select[Any]:
    """Only confirmed readers of a list who chose the frequency; None means all."""
    s = t.subscriptions.c
    query = query.where(s.list == list_name, s.state == eligibility.CONFIRMED)
    return query if frequency is None else query.where(s.frequency == frequency)


def load_segments(
    connection: Connection, list_name: str, frequency: str | None, *, without: Collection[int] = ()
) -> list[Segment]:
    """The segments of a list, without the subscribers in `without`. Suppressed readers count apart, by the reason."""
    s, p = t.subscriptions.c, t.subscribers.c
    topics = cast(s.topics, String)
    columns = (p.language, topics, s.mark)
    both = t.subscriptions.join(t.subscribers, s.subscriber == p.id)
    everybody = _of_list(select(*columns, func.count()).select_from(both), list_name, frequency).group_by(*columns)
    # Few are suppressed: only for them the reason is looked up.
    hashes = select(t.suppressions.c.hash).where(t.suppressions.c.list.in_(("", list_name)))
    suppressed = (
        eligibility.join_suppressions(
            select(*columns, eligibility.REASON, func.count()).select_from(both), p.address_hash, list_name
        )
        .where(p.address_hash.in_(hashes))
        .group_by(*columns, eligibility.REASON)
    )
    suppressed = _of_list(suppressed, list_name, frequency)
    if without:
        is_wanted = s.subscriber.not_in(list(without))
        everybody, suppressed = everybody.where(is_wanted), suppressed.where(is_wanted)
    readers = {(row[0], row[1], row[2]): row[3] for row in connection.execute(everybody)}
    skips: dict[tuple[str, str, int], Counter[SkipReason]] = {}
    for language, chosen, mark, reason, count in connection.execute(suppressed):
        skips.setdefault((language, chosen, mark), Counter())[eligibility.suppression_skip(reason)] += count
    return [
        Segment(*key, count - (skipped := skips.get(key, Counter())).total(), dict(skipped))
        for key, count in sorted(readers.items())
    ]


_CREATE_MESSAGES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS segment_messages (
        language TEXT, topics TEXT, mark BIGINT, story TEXT, selection BIGINT, rendition BIGINT, new_mark BIGINT,
        reason TEXT, is_first INTEGER, PRIMARY KEY (language, topics, mark, story)
    )
"""
_DROP_MESSAGES = {"sqlite": "", "postgresql": "ON COMMIT DROP"}
"""A pool such as PgBouncer gives the session, and what is in it, to others."""
_FILL_MESSAGES = text("""
    INSERT INTO segment_messages (language, topics, mark, story, selection, rendition, new_mark, reason, is_first)
    VALUES (:language, :topics, :mark, :story, :selection, :rendition, :new_mark, :reason, :is_first)
""")
_MAY = f"{eligibility.REASON_SQL} IS NULL"
# `|| ''` makes SQLite use the index of ids. Another index would read the whole list for each page.
_INSERT = f"""
    INSERT INTO deliveries (
        mailing, target, story, purpose, part, list, channel, subscriber, selection, rendition, mark, address_hash,
        state, reason, attempts, doubts, crashes, owner, fence, receipt, via, sender, returned, at, details
    )
    SELECT
        :mailing, :prefix || CAST(s.subscriber AS text), CASE WHEN {_MAY} THEN message.story ELSE '' END, :purpose, 0,
        :list, '', s.subscriber, CASE WHEN {_MAY} THEN message.selection END,
        CASE WHEN {_MAY} THEN message.rendition END, CASE WHEN {_MAY} THEN message.new_mark END, p.address_hash,
        CASE WHEN {_MAY} AND message.reason = '' THEN 'pending' ELSE 'skipped' END,
        CASE WHEN {_MAY} THEN message.reason ELSE {eligibility.SKIP_SQL} END,
        0, 0, 0, '', 0, '', '', '', '', :at, '{{}}'
    FROM subscriptions AS s
    JOIN subscribers AS p ON p.id = s.subscriber
    JOIN segment_messages AS message ON message.language = p.language AND message.topics = CAST(s.topics AS text)
        AND message.mark = s.mark
    {eligibility.JOINS_SQL}
    WHERE s.id > :after AND s.id <= :until AND s.list || '' = :list AND s.state || '' = '{eligibility.CONFIRMED}'
        AND (CAST(:frequency AS text) = '' OR s.frequency || '' = :frequency)
        AND ({_MAY} OR message.is_first = 1)
        AND s.subscriber NOT IN (SELECT CAST(one.id AS bigint) FROM ({{numbers}}) AS one)
    ORDER BY s.id
    ON CONFLICT DO NOTHING
"""  # noqa: S608


@lru_cache
def _insert(dialect: str) -> TextClause:
    """The INSERT, with a table of the numbers in the JSON array `:without`."""
    numbers = (
        "SELECT value AS id FROM json_each(:without)"
        if dialect == "sqlite"
        else "SELECT jsonb_array_elements_text(CAST(:without AS jsonb)) AS id"
    )
    return text(_INSERT.replace("{numbers}", numbers)).bindparams(bindparam("at", type_=t.Moment()))


def subscription_pages(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of ids of subscriptions of all lists: each begins after the first id and ends with the second."""
    s = t.subscriptions.c
    after = 0
    while True:
        page = select(s.id).where(s.id > after).order_by(s.id).limit(PAGE).subquery()
        until = connection.execute(select(func.max(page.c.id))).scalar_one()
        if until is None:
            return
        yield after, int(until)
        after = int(until)


def add_deliveries(
    connection: Connection,
    mailing: int,
    list_name: str,
    frequency: str | None,
    messages: Sequence[SegmentDelivery],
    *,
    purpose: str,
    between: tuple[int, int],
    without: Collection[int],
    at: datetime,
) -> int:
    """Add one page of deliveries, without changing existing rows. Returns how many were new."""
    connection.exec_driver_sql(_CREATE_MESSAGES + _DROP_MESSAGES[connection.dialect.name])
    connection.exec_driver_sql("DELETE FROM segment_messages")
    connection.execute(_FILL_MESSAGES, [{**asdict(message), "is_first": int(message.first)} for message in messages])
    arguments = {
        "mailing": mailing,
        "prefix": f"list:{list_name}:",
        "purpose": purpose,
        "list": list_name,
        "frequency": frequency or "",
        "after": between[0],
        "until": between[1],
        "without": json.dumps(sorted(without)),
        "at": at,
    }
    return connection.execute(_insert(connection.dialect.name), arguments).rowcount


def find_subscribers(
    connection: Connection,
    list_name: str,
    frequency: str | None,
    choices: Collection[tuple[str, str, int]],
    *,
    without: Collection[int],
) -> set[int]:
    """Subscribers in the segments with these (language, topics, mark) who may be mailed."""
    s, p = t.subscriptions.c, t.subscribers.c
    query = select(s.subscriber, p.language, cast(s.topics, String), s.mark).join_from(
        t.subscriptions, t.subscribers, s.subscriber == p.id
    )
    query = _of_list(eligibility.join_suppressions(query, p.address_hash, list_name), list_name, frequency)
    left_out = set(without)
    rows = connection.execution_options(yield_per=5_000).execute(query.where(eligibility.REASON.is_(None)))
    return {row[0] for row in rows if tuple(row[1:]) in choices and row[0] not in left_out}


_MARKED = 2_000
"""Deliveries whose readers are marked in one transaction: below 100 ms."""


def update_marks(store: Store) -> None:
    """Update the marks of readers who received editions since the last call, in small transactions."""
    d, m, e = t.deliveries.c, t.mailings.c, t.editions.c
    ends = (
        select(m.id, func.coalesce(func.min(d.id), 0), func.coalesce(func.max(d.id), -1))
        .join_from(t.mailings, t.editions, e.id == m.edition)
        .join(t.deliveries, d.mailing == m.id, isouter=True)
        .where(m.marked.is_(False), e.state != EditionState.COMPOSING)
        .group_by(m.id)
    )
    with store.read() as connection:
        unmarked = connection.execute(ends).all()
    for mailing, first, last in unmarked:
        waiting = d.state.in_([state for state in RECEIVED_STATES if state is not DeliveryState.ACCEPTED])
        with store.read() as connection:
            is_over = not connection.execute(select(exists().where(d.mailing == mailing, waiting))).scalar_one()
        for start in range(first, last + 1, _MARKED):
            with store.write() as connection:
                _update_marks(connection, mailing, start)
        if is_over:
            with store.write() as connection:
                connection.execute(update(t.mailings).where(m.id == mailing).values(marked=True))


def _update_marks(connection: Connection, mailing: int, start: int) -> None:
    """Update the marks of the readers whose deliveries have the ids from `start`."""
    d, s = t.deliveries.c, t.subscriptions.c
    # No accepted delivery has a `next_at`; naming it lets the index on states find the page at once.
    page = (d.mailing == mailing) & d.next_at.is_(None) & (d.id >= start) & (d.id < start + _MARKED)
    # As a subquery first: else SQLite scans the whole mailing for each reader.
    served = (
        select(d.subscriber, d.list, func.max(d.mark).label("mark"))
        .where(page, d.state == DeliveryState.ACCEPTED, d.mark.is_not(None))
        .group_by(d.subscriber, d.list)
        .subquery()
    )
    connection.execute(
        update(t.subscriptions)
        .where(s.subscriber == served.c.subscriber, s.list == served.c.list, s.mark < served.c.mark)
        .values(mark=served.c.mark)
    )
