"""Pauses by a person: of a schedule, a list, a channel or everything.

An ended pause stays: slots that were due meanwhile are not late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, not_, or_, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once
from tidings.store.people import consent


class Scope(StrEnum):
    """What is paused."""

    SCHEDULE = "schedule"
    LIST = "list"
    CHANNEL = "channel"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that is active, or was until `ended`."""

    scope: Scope
    name: str
    """Empty for all."""
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
    mine = (p.c.scope == scope) & (p.c.name == name)
    connection.execute(insert_once(connection, p).values(scope=scope, name=name, since=now, ended=None, **values))
    connection.execute(update(p).where(mine, p.c.ended.is_not(None)).values(since=now, ended=None))
    connection.execute(update(p).where(mine).values(**values))
    consent.advance_version(connection)


def resume(connection: Connection, scope: Scope, name: str, now: datetime) -> bool:
    """End a pause; False if none is active."""
    p = t.pauses
    mine = (p.c.scope == scope) & (p.c.name == name) & p.c.ended.is_(None)
    done = connection.execute(update(p).where(mine).values(ended=now))
    if done.rowcount:
        consent.advance_version(connection)
    return bool(done.rowcount)


def end_due(connection: Connection, now: datetime) -> list[Pause]:
    """End the pauses whose `until` has passed; returns them."""
    due = [one for one in active_pauses(connection) if one.until is not None and one.until <= now]
    for one in due:
        assert one.until is not None
        resume(connection, one.scope, one.name, one.until)
    return due


def is_known(connection: Connection, scope: Scope, name: str) -> bool:
    """Whether it is or was paused."""
    return bool(_pauses(connection, _is(scope, name)))


def rename(connection: Connection, scope: Scope, was: str, name: str) -> None:
    """Rename a pause."""
    p = t.pauses
    if is_known(connection, scope, was):
        connection.execute(delete(p).where(_is(scope, name)))
        connection.execute(update(p).where(_is(scope, was)).values(name=name))
        consent.advance_version(connection)


def active_pauses(connection: Connection) -> list[Pause]:
    """All active pauses."""
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
    for one in sorted(pauses, key=lambda one: one.since):
        ended = min(one.ended or now, now)
        begun = max(one.since, reached)
        if ended > begun:
            total, reached = total + (ended - begun), ended
    return total


def find_schedule_pause(pauses: Iterable[Pause], schedule: str) -> Pause | None:
    """The pause that stops a schedule, or None."""
    found = (one for one in pauses if one.scope is Scope.ALL or (one.scope is Scope.SCHEDULE and one.name == schedule))
    return next(found, None)


def find_pause(pauses: Iterable[Pause], *, schedule: str, list_name: str, channel: str) -> Pause | None:
    """The pause that stops a delivery of an edition, or None."""
    names = {Scope.SCHEDULE: schedule, Scope.LIST: list_name, Scope.CHANNEL: channel}
    return next((one for one in pauses if one.scope is Scope.ALL or names[one.scope] == one.name), None)


def is_not_paused(pauses: Iterable[Pause]) -> ColumnElement[bool] | None:
    """The same as a condition on `deliveries` joined to `mailings`; None if nothing is paused.

    Notices, tests and confirmations are never paused: a person waits for them.
    """
    d, m = t.deliveries.c, t.mailings.c
    conditions: list[ColumnElement[bool]] = []
    for one in pauses:
        match one.scope:
            case Scope.ALL:
                return m.edition.is_(None)
            case Scope.SCHEDULE:
                conditions.append(m.schedule == one.name)
            case Scope.LIST:
                conditions.append(d.list == one.name)
            case Scope.CHANNEL:
                conditions.append(d.channel == one.name)
    return or_(m.edition.is_(None), not_(or_(*conditions))) if conditions else None
