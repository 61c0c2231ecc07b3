"""Readers of a list taken together: those with the same language, topics and mark get the same, or nothing.

Addressing works out what each crowd gets once, and the database writes their deliveries: a million readers are never
in memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, String, TextClause, bindparam, cast, exists, func, select, text

from tidings.store import schema as t

PAGE = 5_000
"""Subscriptions in one transaction: well under 100 ms."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Confirmed readers of a list with the same choice, who are on no other's behalf an exception."""

    language: str
    topics: str
    """As stored: a JSON array."""
    mark: int
    readers: int
    suppressed: dict[str, int]
    """How many of them must not be mailed, by reason."""

    @property
    def interests(self) -> frozenset[str]:
        """The topics they chose; none means all."""
        return frozenset(json.loads(self.topics))


@dataclass(frozen=True, slots=True)
class SegmentDelivery:
    """What one crowd gets: a row for each message, or one row that says why there is none."""

    language: str
    topics: str
    mark: int
    story: str
    selection: int | None
    rendition: int | None
    new_mark: int | None
    reason: str
    first: bool
    """Whether it is the first of the crowd's rows: who is suppressed gets one row, however many messages there are."""


def load_marks(connection: Connection, list_name: str, frequency: str | None) -> list[int]:
    """Every mark that confirmed readers of a list have."""
    s = t.subscriptions.c
    query = select(s.mark).where(s.list == list_name, s.state == "confirmed").distinct()
    if frequency is not None:
        query = query.where(s.frequency == frequency)
    return list(connection.execute(query).scalars())


def load_segments(
    connection: Connection,
    list_name: str,
    frequency: str | None,
    *,
    behind: Collection[int] = (),
    without: Collection[int] = (),
) -> list[Segment]:
    """All but readers whose mark is among `behind`, and the subscribers in `without`."""
    s, p = t.subscriptions.c, t.subscribers.c
    everywhere, here = t.suppressions.alias("everywhere"), t.suppressions.alias("here")
    topics = cast(s.topics, String)
    reason = func.coalesce(everywhere.c.reason, here.c.reason)
    query: Select[Any] = (
        select(p.language, topics, s.mark, reason, func.count())
        .join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
        .outerjoin(everywhere, (everywhere.c.hash == p.address_hash) & (everywhere.c.list == ""))
        .outerjoin(here, (here.c.hash == p.address_hash) & (here.c.list == list_name))
        .where(s.list == list_name, s.state == "confirmed", s.mark.not_in(list(behind)))
        .group_by(p.language, topics, s.mark, reason)
        .order_by(p.language, topics, s.mark)
    )
    if without:
        query = query.where(s.subscriber.not_in(list(without)))
    if frequency is not None:
        query = query.where(s.frequency == frequency)
    found: dict[tuple[str, str, int], tuple[int, dict[str, int]]] = {}
    for row in connection.execute(query):
        language, chosen, mark, why, count = row
        readers, suppressed = found.get((language, chosen, mark), (0, {}))
        if why is None:
            readers += count
        else:
            suppressed = {**suppressed, why: count}
        found[language, chosen, mark] = (readers, suppressed)
    return [Segment(*key, readers, suppressed) for key, (readers, suppressed) in found.items()]


_SHARES = """
    CREATE TEMPORARY TABLE IF NOT EXISTS shares (
        language TEXT, topics TEXT, mark BIGINT, story TEXT, selection BIGINT, rendition BIGINT, new_mark BIGINT,
        reason TEXT, foremost INTEGER, PRIMARY KEY (language, topics, mark, story)
    )
"""
_FILL = text("""
    INSERT INTO shares (language, topics, mark, story, selection, rendition, new_mark, reason, foremost)
    VALUES (:language, :topics, :mark, :story, :selection, :rendition, :new_mark, :reason, :foremost)
""")
_BARRED = "coalesce(everywhere.reason, here.reason)"
# `|| ''` keeps SQLite from going through the whole list for each page by another index than the ids'.
_INSERT = f"""
    INSERT INTO deliveries (
        mailing, target, story, purpose, part, list, channel, subscriber, selection, rendition, mark, address_hash,
        state, reason, attempts, doubts, crashes, owner, fence, receipt, via, sender, returned, at, details
    )
    SELECT
        :mailing, :prefix || CAST(s.subscriber AS text),
        CASE WHEN {_BARRED} IS NULL THEN share.story ELSE '' END, :purpose, 0, :list, '', s.subscriber,
        CASE WHEN {_BARRED} IS NULL THEN share.selection END, CASE WHEN {_BARRED} IS NULL THEN share.rendition END,
        CASE WHEN {_BARRED} IS NULL THEN share.new_mark END, p.address_hash,
        CASE WHEN {_BARRED} IS NULL AND share.reason = '' THEN 'pending' ELSE 'skipped' END,
        CASE WHEN {_BARRED} IS NULL THEN share.reason
            WHEN {_BARRED} = 'unsubscribed' THEN 'unsubscribed' ELSE 'suppressed' END,
        0, 0, 0, '', 0, '', '', '', '', :at, '{{}}'
    FROM subscriptions AS s
    JOIN subscribers AS p ON p.id = s.subscriber
    JOIN shares AS share ON share.language = p.language AND share.topics = CAST(s.topics AS text)
        AND share.mark = s.mark
    LEFT JOIN suppressions AS everywhere ON everywhere.hash = p.address_hash AND everywhere.list = ''
    LEFT JOIN suppressions AS here ON here.hash = p.address_hash AND here.list = :list
    WHERE s.id > :after AND s.id <= :until AND s.list || '' = :list AND s.state || '' = 'confirmed'
        AND (CAST(:frequency AS text) = '' OR s.frequency || '' = :frequency)
        AND ({_BARRED} IS NULL OR share.foremost = 1)
        AND s.subscriber NOT IN (SELECT CAST(one.id AS bigint) FROM ({{numbers}}) AS one)
    ORDER BY s.id
    ON CONFLICT DO NOTHING
"""  # noqa: S608


@lru_cache
def _insert(dialect: str) -> TextClause:
    return text(_INSERT.replace("{numbers}", _numbers(dialect))).bindparams(bindparam("at", type_=t.Moment()))


def _numbers(dialect: str) -> str:
    """A table of the numbers in the JSON array `:without`."""
    if dialect == "sqlite":
        return "SELECT value AS id FROM json_each(:without)"
    return "SELECT jsonb_array_elements_text(CAST(:without AS jsonb)) AS id"


def subscription_pages(connection: Connection) -> Iterator[tuple[int, int]]:
    """Ranges of ids of subscriptions, of any list: beginning after the first and ending with the second of each."""
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
    shares: Sequence[SegmentDelivery],
    *,
    purpose: str,
    between: tuple[int, int],
    without: Collection[int],
    at: datetime,
) -> int:
    """One page of deliveries; rows that stand already are left alone. Returns how many were new."""
    execute = connection.exec_driver_sql
    execute(_SHARES)
    execute("DELETE FROM shares")
    rows = [{**asdict(share), "foremost": int(share.first)} for share in shares]
    connection.execute(_FILL, rows)
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
    """Who is in the crowds with these (language, topics, mark), and may be mailed."""
    s, p, x = t.subscriptions.c, t.subscribers.c, t.suppressions.c
    topics = cast(s.topics, String)
    query = (
        select(s.subscriber, p.language, topics, s.mark)
        .join_from(t.subscriptions, t.subscribers, s.subscriber == p.id)
        .where(s.list == list_name, s.state == "confirmed")
        .where(~exists().where(x.hash == p.address_hash, x.list.in_(("", list_name))))
    )
    if frequency is not None:
        query = query.where(s.frequency == frequency)
    left = set(without)
    rows = connection.execution_options(yield_per=5_000).execute(query)
    return {row[0] for row in rows if tuple(row[1:]) in choices and row[0] not in left}
