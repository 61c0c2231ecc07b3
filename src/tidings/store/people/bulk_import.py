"""Import many people to a list at once. Nobody is mailed, and people who unsubscribed stay off the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from tidings.store import schema as t
from tidings.store.content.editions import newest_edition_id
from tidings.store.engine import insert_once
from tidings.store.people import consent
from tidings.store.people.subscribers import CONFIRMED, LAPSED, PENDING, UNSUBSCRIBED

BLOCKED = "blocked"
"""Reason of an imported suppression: the address bounced or was blocked in another tool."""


@dataclass(frozen=True, slots=True)
class ImportedPerson:
    """One line of an import. `state`: confirmed, pending, unsubscribed or blocked. The address is normalised."""

    digest: str
    address: str
    name: str
    language: str
    topics: tuple[str, ...]
    frequency: str
    state: str
    at: datetime | None
    """When they agreed or unsubscribed; None if unknown."""
    source: str
    ip: str


class ImportResult(StrEnum):
    """The result of one line."""

    ADDED = "added"
    CONFIRMED = "confirmed"
    """They were pending."""
    EXISTS = "exists"
    LEFT = "left"
    LAPSED = "lapsed"
    """They did not confirm again in time, and only they can."""
    SUPPRESSED = "suppressed"
    AWAY = "away"
    """They unsubscribed or bounced elsewhere: never mail them here."""
    KNOWN_AWAY = "known_away"
    SINCE = "since"
    """They unsubscribed elsewhere, and agreed here after that."""


def plan_import(connection: Connection, list_name: str, entries: Sequence[ImportedPerson]) -> list[ImportResult]:
    """Return the result of each line without a change. Only an address that unsubscribes may be in two lines."""
    return _Known(connection, list_name, entries).results()


def import_people(
    connection: Connection,
    list_name: str,
    entries: Sequence[ImportedPerson],
    now: datetime,
    *,
    record_events: bool = True,
) -> list[ImportResult]:
    """Import people and return the result of each line.

    With `record_events`, records an event for webhooks about each person who joins or leaves.
    """
    known = _Known(connection, list_name, entries)
    results = known.results()
    added, confirmed, away = (
        [entry for entry, result in zip(entries, results, strict=True) if result is wanted]
        for wanted in (ImportResult.ADDED, ImportResult.CONFIRMED, ImportResult.AWAY)
    )
    _add(connection, list_name, added, now)
    _confirm(connection, list_name, confirmed, known, now)
    if record_events:
        joined = [entry.digest for entry in (*added, *confirmed) if entry.state == CONFIRMED]
        left = [entry.digest for entry in away if entry.state == UNSUBSCRIBED and known.is_on(entry.digest)]
        for what, digests in ((CONFIRMED, joined), (UNSUBSCRIBED, left)):
            consent.record_changes(connection, digests, list_name, what, now)
    _record(connection, list_name, [*added, *confirmed], now)
    _keep_away(connection, list_name, away, now)
    return results


class _Known:
    """The stored data about the people in a chunk."""

    def __init__(self, connection: Connection, list_name: str, entries: Sequence[ImportedPerson]) -> None:
        self.entries = entries
        digests = list({entry.digest for entry in entries})
        p, s, u = t.subscribers.c, t.subscriptions.c, t.suppressions.c
        mine = and_(s.subscriber == p.id, s.list == list_name)
        query = select(p.address_hash, s.id, s.state, s.confirmed_at).join_from(t.subscribers, t.subscriptions, mine)
        rows = connection.execute(query.where(p.address_hash.in_(digests)))
        self.subscriptions = {row.address_hash: row for row in rows}
        self.lapsed = _find_lapsed(
            connection, list_name, [row.address_hash for row in self.subscriptions.values() if row.state == PENDING]
        )
        reasons = select(u.hash, u.list, u.reason).where(u.hash.in_(digests), or_(u.list == "", u.list == list_name))
        self.reasons: dict[str, str] = {}
        self.everywhere: set[str] = set()
        self.left: set[str] = set()
        """Those who are known to have left this list."""
        for row in connection.execute(reasons.order_by(u.list.desc())):
            self.reasons[row.hash] = row.reason
            if not row.list:
                self.everywhere.add(row.hash)
            elif row.reason == UNSUBSCRIBED and not self.is_on(row.hash):
                self.left.add(row.hash)

    def is_on(self, digest: str) -> bool:
        """Whether the person is on the list, confirmed or pending."""
        row = self.subscriptions.get(digest)
        return row is not None and row.state != UNSUBSCRIBED

    def results(self) -> list[ImportResult]:
        # A person who unsubscribes in this chunk is not added by it, whichever line comes first.
        leaving = {entry.digest for entry in self.entries if self._leaves(entry) is ImportResult.AWAY}
        return [self._leaves(entry) or self._joins(entry, leaving) for entry in self.entries]

    def _leaves(self, entry: ImportedPerson) -> ImportResult | None:
        if entry.state not in (UNSUBSCRIBED, BLOCKED):
            return None
        # A bounce is no leaving: once it is lifted, they would be mailed again.
        if entry.digest in (self.left if entry.state == UNSUBSCRIBED else self.everywhere):
            return ImportResult.KNOWN_AWAY
        row = self.subscriptions.get(entry.digest)
        if entry.state == BLOCKED or row is None or row.state != CONFIRMED or None in (entry.at, row.confirmed_at):
            return ImportResult.AWAY
        return ImportResult.SINCE if row.confirmed_at > entry.at else ImportResult.AWAY

    def _joins(self, entry: ImportedPerson, leaving: set[str]) -> ImportResult:
        reason = self.reasons.get(entry.digest)
        row = self.subscriptions.get(entry.digest)
        if reason is not None:
            return ImportResult.LEFT if reason == UNSUBSCRIBED else ImportResult.SUPPRESSED
        if entry.digest in leaving or (row is not None and row.state == UNSUBSCRIBED):
            return ImportResult.LEFT
        if row is None:
            return ImportResult.ADDED
        if row.state != PENDING or entry.state != CONFIRMED:
            return ImportResult.EXISTS
        lapsed = self.lapsed.get(entry.digest)
        if lapsed is not None and (entry.at is None or entry.at <= lapsed):
            return ImportResult.LAPSED
        return ImportResult.CONFIRMED


def _find_lapsed(connection: Connection, list_name: str, digests: Sequence[str]) -> dict[str, datetime]:
    """When each of these people did not confirm again, if they have not asked since."""
    if not digests:
        return {}
    c = t.consents.c
    query = select(c.address_hash, c.what, c.at).where(c.address_hash.in_(digests), c.list == list_name)
    newest = {row.address_hash: row for row in connection.execute(query.order_by(c.id)) if row.what != "lifted"}
    return {digest: row.at for digest, row in newest.items() if row.what == LAPSED}


def _add(connection: Connection, list_name: str, entries: Sequence[ImportedPerson], now: datetime) -> None:
    if not entries:
        return
    # In the order of the hashes, so that two imports cause no deadlock.
    entries = sorted(entries, key=lambda entry: entry.digest)
    p = t.subscribers.c
    people = [
        {
            "address": entry.address,
            "address_hash": entry.digest,
            "name": entry.name,
            "language": entry.language,
            "created": now,
        }
        for entry in entries
    ]
    connection.execute(insert_once(connection, t.subscribers), people)
    known = connection.execute(select(p.address_hash, p.id).where(p.address_hash.in_([e.digest for e in entries])))
    ids = {row[0]: row[1] for row in known}
    mark = newest_edition_id(connection)
    rows = [
        {
            "subscriber": ids[entry.digest],
            "list": list_name,
            "state": entry.state,
            "topics": sorted(set(entry.topics)),
            "frequency": entry.frequency,
            "mark": mark,
            "source": entry.source,
            "created": now,
            "confirmed_at": (entry.at or now) if entry.state == CONFIRMED else None,
        }
        for entry in entries
    ]
    connection.execute(insert_once(connection, t.subscriptions), rows)


def _confirm(
    connection: Connection, list_name: str, entries: Sequence[ImportedPerson], known: _Known, now: datetime
) -> None:
    if not entries:
        return
    s = t.subscriptions.c
    rows = [
        {
            "row": known.subscriptions[entry.digest].id,
            "new_topics": sorted(set(entry.topics)),
            "new_frequency": entry.frequency,
            "new_source": entry.source,
            "new_at": entry.at or now,
        }
        for entry in entries
    ]
    connection.execute(
        update(t.subscriptions)
        .where(s.id == bindparam("row"), s.state == PENDING)
        .values(
            state=CONFIRMED,
            topics=bindparam("new_topics"),
            frequency=bindparam("new_frequency"),
            source=bindparam("new_source"),
            confirmed_at=bindparam("new_at"),
            mark=newest_edition_id(connection),
        ),
        rows,
    )


def _keep_away(connection: Connection, list_name: str, entries: Sequence[ImportedPerson], now: datetime) -> None:
    if not entries:
        return
    p, s = t.subscribers.c, t.subscriptions.c
    for scope, reason, state in ((list_name, UNSUBSCRIBED, UNSUBSCRIBED), ("", BLOCKED, BLOCKED)):
        mine = [entry for entry in entries if entry.state == state]
        if not mine:
            continue
        ids = select(p.id).where(p.address_hash.in_([entry.digest for entry in mine]))
        if state == UNSUBSCRIBED:
            connection.execute(
                update(t.subscriptions)
                .where(s.subscriber.in_(ids), s.list == list_name, s.state != UNSUBSCRIBED)
                .values(state=UNSUBSCRIBED, left_at=now, confirm_by=None)
            )
            _record(connection, list_name, mine, now)
        # Last: senders lock the deliveries first, then the consent version, which this increases.
        consent.suppress_all(connection, [entry.digest for entry in mine], scope, reason, now)


def _record(connection: Connection, list_name: str, entries: Sequence[ImportedPerson], now: datetime) -> None:
    if not entries:
        return
    events = {CONFIRMED: "confirmed", PENDING: "joined", UNSUBSCRIBED: UNSUBSCRIBED}
    rows = [
        {
            "address_hash": entry.digest,
            "list": list_name,
            "what": events[entry.state],
            "source": entry.source,
            "wording": "",
            "ip": entry.ip,
            "at": entry.at or now,
        }
        for entry in entries
    ]
    connection.execute(insert(t.consents), rows)
