"""Pauses by a person: of a schedule, a list, a channel or everything.

An ended pause stays in the store, so that slots that were due during it do not count as late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, not_, or_, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once, run_sql
from tidings.store.people import consent


class Scope(StrEnum):
    """The kind of thing that is paused."""

    SCHEDULE = "schedule"
    LIST = "list"
    CHANNEL = "channel"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is active, or was until `ended`."""

    scope: Scope
    name: str
    """Empty for `Scope.ALL`."""
    since: datetime
    until: datetime | None
    reason: str
    who: str
    ended: datetime | None = None

    @property
    def what(self) -> str:
        """The paused thing in words."""
        return "everything" if self.scope is Scope.ALL else f"{self.scope} {self.name}"


def pause(
    connection: Connection, scope: Scope, name: str, now: datetime, *, until: datetime | None, reason: str, who: str
) -> None:
    """Start a pause, or change an active one without a new start."""
    p = t.pauses
    values = {"until": until, "reason": reason, "who": who}
    mine = _is(scope, name)
    connection.execute(insert_once(connection, p).values(scope=scope, name=name, since=now, ended=None, **values))
    connection.execute(update(p).where(mine, p.c.ended.is_not(None)).values(since=now, ended=None))
    connection.execute(update(p).where(mine).values(**values))
    consent.advance_version(connection)


def resume(connection: Connection, scope: Scope, name: str, now: datetime) -> bool:
    """End a pause; False if none is active."""
    p = t.pauses
    mine = _is(scope, name) & p.c.ended.is_(None)
    done = connection.execute(update(p).where(mine).values(ended=now))
    if done.rowcount:
        consent.advance_version(connection)
    return bool(done.rowcount)


def end_due(connection: Connection, now: datetime) -> list[Pause]:
    """End the pauses whose `until` has passed; returns them."""
    due = [pause for pause in active_pauses(connection) if pause.until is not None and pause.until <= now]
    for pause in due:
        assert pause.until is not None
        resume(connection, pause.scope, pause.name, pause.until)
    return due


def is_known(connection: Connection, scope: Scope, name: str) -> bool:
    """Whether this schedule, list or channel is or was paused."""
    return bool(_pauses(connection, _is(scope, name)))


def rename(connection: Connection, scope: Scope, was: str, name: str) -> None:
    p = t.pauses
    if is_known(connection, scope, was):
        connection.execute(delete(p).where(_is(scope, name)))
        connection.execute(update(p).where(_is(scope, was)).values(name=name))
        consent.advance_version(connection)


def active_pauses(connection: Connection) -> list[Pause]:
    # Nearly always there is none, and senders ask for each batch.
    if not run_sql(connection, "SELECT 1 FROM pauses WHERE ended IS NULL LIMIT 1"):
        return []
    return _pauses(connection, t.pauses.c.ended.is_(None))


def ended_pauses(connection: Connection, schedule: str) -> list[Pause]:
    """Ended pauses of a schedule or of everything."""
    p = t.pauses.c
    return _pauses(connection, p.ended.is_not(None), or_(p.scope == Scope.ALL, _is(Scope.SCHEDULE, schedule)))


def _is(scope: Scope, name: str) -> ColumnElement[bool]:
    return and_(t.pauses.c.scope == scope, t.pauses.c.name == name)


def _pauses(connection: Connection, *which: ColumnElement[bool]) -> list[Pause]:
    p = t.pauses.c
    rows = connection.execute(
        select(p.scope, p.name, p.since, p.until, p.reason, p.who, p.ended).where(*which).order_by(p.scope, p.name)
    )
    return [Pause(Scope(row[0]), *row[1:]) for row in rows]


def paused_time(pauses: Iterable[Pause], since: datetime, now: datetime) -> timedelta:
    """How long any of these pauses was active between `since` and `now`."""
    total, reached = timedelta(0), since
    for pause in sorted(pauses, key=lambda pause: pause.since):
        ended = min(pause.ended or now, now)
        begun = max(pause.since, reached)
        if ended > begun:
            total, reached = total + (ended - begun), ended
    return total


def find_schedule_pause(pauses: Iterable[Pause], schedule: str) -> Pause | None:
    """The pause that stops a schedule, or None."""
    return find_pause(pauses, schedule=schedule)


def find_pause(pauses: Iterable[Pause], *, schedule: str, list_name: str = "", channel: str = "") -> Pause | None:
    """The pause that stops a delivery of an edition, or None."""
    names = {Scope.SCHEDULE: schedule, Scope.LIST: list_name, Scope.CHANNEL: channel}
    return next((pause for pause in pauses if pause.scope is Scope.ALL or names[pause.scope] == pause.name), None)


def is_not_paused(pauses: Iterable[Pause]) -> ColumnElement[bool] | None:
    """The condition that no pause stops a delivery, for `deliveries` joined to `mailings`; None if nothing is paused.

    Notices, tests and confirmations are never paused: a person waits for them.
    """
    d, m = t.deliveries.c, t.mailings.c
    conditions: list[ColumnElement[bool]] = []
    for pause in pauses:
        match pause.scope:
            case Scope.ALL:
                return m.edition.is_(None)
            case Scope.SCHEDULE:
                conditions.append(m.schedule == pause.name)
            case Scope.LIST:
                conditions.append(d.list == pause.name)
            case Scope.CHANNEL:
                conditions.append(d.channel == pause.name)
    return or_(m.edition.is_(None), not_(or_(*conditions))) if conditions else None
