"""A store restored from a backup: editions that were due after the backup are held for a person, not sent again.

The store does not show what was sent between the backup and the restore. So all unfinished editions are held, and the
next edition of each schedule with a slot in that time. A person releases or cancels them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, delete, func, select, text, update

from tidings.model.dates import format_local
from tidings.model.delivery import DeliveryState
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import RefusedError
from tidings.store import schema as t
from tidings.store.content import editions, site_files
from tidings.store.delivery import ledger
from tidings.store.delivery.failover import PREVENTION, forget_timeline
from tidings.store.delivery.notices import Notice, add_notice
from tidings.store.key_values import find_value, set_value
from tidings.store.people import consent
from tidings.store.service import clock

_NAME = "restored"
_APART = 1_000_000
_APART_DELIVERIES = 1_000_000_000
"""New ids begin this far after those of the backup. Ids assigned after the backup are in sent mails: in the
Message-ID (mail programs drop repeated ones), and in unsubscribe links, which identify the reader."""
_WAITING = (DeliveryState.PENDING, DeliveryState.DEFERRED)


@dataclass
class RestoredCounts:
    """The result of `mark_restored`."""

    held: list[str] = field(default_factory=list)
    """Names of held editions."""
    in_doubt: int = 0
    """Deliveries that were being sent at the time of the backup."""
    dropped: int = 0
    """Cancelled deliveries of notices, tests and other mails without an edition."""


def mark_restored(
    connection: Connection, *, made: datetime, now: datetime, reached: datetime | None = None, zone: tzinfo = UTC
) -> RestoredCounts:
    """Make a store from a backup of `made` safe to continue at `now`. Its clock becomes `reached` at least.

    Leases end, deliveries that were being sent are in doubt, and unfinished mailings are held or closed. `zone` is that
    of the moment in the reasons that people read.
    """
    marked = RestoredCounts()
    clocks = [value for value in (clock.read_clock(connection), reached) if value is not None]
    moment = max(clocks, default=now)
    cause = f"the newsroom was restored from a backup of {format_local(made, zone)}"
    _release_deliveries(connection, marked, cause, moment)
    _drop_other_mail(connection, marked, cause, moment)
    _hold_editions(connection, marked, cause, moment)
    # The bucket of `publish` may be ahead.
    site_files.forget_copies(connection)
    # Unsent notices may have been sent since.
    connection.execute(update(t.notices).where(t.notices.c.told_at.is_(None)).values(told_at=moment))
    connection.execute(delete(t.journal))
    if clocks:
        clock.advance_clock(connection, moment)
    consent.advance_version(connection)
    forget_timeline(connection)
    set_value(
        connection, _NAME, json.dumps({"made": made.isoformat(), "at": now.isoformat(), "until": None, "open": []})
    )
    _raise_next_ids(connection)
    return marked


def _release_deliveries(connection: Connection, marked: RestoredCounts, cause: str, now: datetime) -> None:
    d = t.deliveries
    free: dict[str, Any] = {"owner": "", "lease_until": None, "next_at": None, "not_before": None}
    reason = f"{cause}; this was being sent at that time and may have arrived"
    done = connection.execute(
        update(d)
        .where(d.c.state == DeliveryState.HANDED)
        .values(state=DeliveryState.IN_DOUBT, doubts=d.c.doubts + 1, reason=reason, at=now, **free)
    )
    marked.in_doubt = done.rowcount
    waits = f"{cause}; a person must find out if it was sent again since"
    connection.execute(
        update(d).where(d.c.state == DeliveryState.IN_DOUBT, d.c.next_at.is_not(None)).values(reason=waits, **free)
    )
    leased = d.c.state == DeliveryState.LEASED
    connection.execute(update(d).where(leased).values(state=DeliveryState.PENDING, fence=d.c.fence + 1, **free))


def _drop_other_mail(connection: Connection, marked: RestoredCounts, cause: str, now: datetime) -> None:
    d, m = t.deliveries, t.mailings.c
    others = select(m.id).where(m.edition.is_(None))
    waiting = d.c.state.in_(_WAITING)
    done = connection.execute(
        update(d)
        .where(d.c.mailing.in_(others), waiting)
        .values(state=DeliveryState.CANCELLED, reason=cause, next_at=None, not_before=None, at=now)
    )
    marked.dropped = done.rowcount
    connection.execute(update(t.mailings).where(m.edition.is_(None)).values(open=False))


def _hold_editions(connection: Connection, marked: RestoredCounts, cause: str, now: datetime) -> None:
    detail = f"{cause}, and it may have been sent since"
    hold = Hold(HoldReason.RESTORED, detail)
    d, m = t.deliveries.c, t.mailings.c
    left = select(m.edition).join_from(t.mailings, t.deliveries, d.mailing == m.id)
    going = set(connection.execute(left.where(d.state.in_(_WAITING)).distinct()).scalars())
    for edition in editions.list_editions(connection, states=editions.OPEN_STATES):
        if edition.state is EditionState.SENDING and edition.id not in going:
            continue
        request = {**editions.get_request(connection, edition.id), "restored": detail}
        connection.execute(update(t.editions).where(t.editions.c.id == edition.id).values(request=request, owner=""))
        ledger.close_edition(connection, edition.id)
        if edition.state is not EditionState.COMPOSING:
            holds = [*(old for old in edition.holds if old.reason is not HoldReason.RESTORED), hold]
            what = f"held: {detail}"
            editions.set_state(connection, edition, EditionState.HELD, now=now, what=what, holds=holds)
        marked.held.append(edition.name)


def _raise_next_ids(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        raise NotImplementedError("only the SQLite store of a backup can be marked")
    for table in t.metadata.sorted_tables:
        if table.autoincrement_column is None:
            continue
        apart = _APART_DELIVERIES if table is t.deliveries else _APART
        highest = connection.execute(select(func.max(table.c.id))).scalar_one() or 0
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        issued = connection.execute(query, {"name": table.name}).scalar_one_or_none() or 0
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"),
            {"name": table.name, "last": max(highest, issued) + apart},
        )


# -- afterwards ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restored:
    """The last restore of a store. The next edition of the schedules in `open` is held."""

    made: datetime
    at: datetime
    until: datetime | None
    open: tuple[str, ...]
    is_failover: bool = False
    """A standby took over and had forgotten editions, which counts as a restore of these schedules."""


def find_restored(connection: Connection) -> Restored | None:
    """The last restore, or None."""
    raw = find_value(connection, _NAME)
    if raw is None:
        return None
    values = json.loads(raw)
    until = datetime.fromisoformat(values["until"]) if values["until"] else None
    made, at = datetime.fromisoformat(values["made"]), datetime.fromisoformat(values["at"])
    return Restored(made, at, until, tuple(values["open"]), values.get("failover", False))


def hold_next_editions(connection: Connection, schedules: list[str], now: datetime) -> None:
    """After a restore, hold the next edition of each of these schedules: it may have been sent already."""
    restored = find_restored(connection)
    if restored is not None and restored.until is None:
        _write(connection, restored, until=now, names=schedules)


def reason_to_hold(connection: Connection, schedule: str, zone: tzinfo = UTC) -> str:
    """Why the next edition of `schedule` is held for a person; empty if it is not."""
    restored = find_restored(connection)
    if restored is None or (restored.until is not None and schedule not in restored.open):
        return ""
    if restored.is_failover:
        return (
            f"the database failed over {format_local(restored.at, zone)} and has forgotten an edition of this schedule "
            "that was going out: some readers have it already"
        )
    return (
        f"the newsroom was restored from a backup of {format_local(restored.made, zone)}, and this schedule was "
        "due since then: the edition may have been sent already"
    )


def mark_forgotten(connection: Connection, schedules: list[str], *, count: int, owner: str, now: datetime) -> None:
    """After a failover, hold the next edition of each schedule whose edition was forgotten while it was sent.

    A notice says how many messages of `owner` the server has forgotten: `count`, or at most as many without schedules.
    """
    restored = find_restored(connection)
    if schedules and (restored is None or restored.until is not None):
        named = restored.open if restored is not None else ()
        _write(connection, Restored(now, now, now, (), is_failover=True), until=now, names=[*schedules, *named])
    if schedules:
        text = (
            f"The database failed over to a server that has forgotten what {owner} had sent (messages: {count}).\n"
            f"The next edition of each of these schedules is held: {', '.join(schedules)}.\nMost readers may have it."
        )
    else:
        text = (
            f"The database failed over to a server that may have forgotten what {owner} had sent "
            f"(messages: at most {count}).\nThese may go out twice.\n{PREVENTION}"
        )
    add_notice(connection, Notice(f"forgotten:{owner}:{now.isoformat()}", "failed", text, now))


def inherited_reason(superseded: list[Edition]) -> str:
    """The reason that a new edition inherits from those it supersedes: their stories may have been sent."""
    holds = [hold.detail for old in superseded for hold in old.holds if hold.reason is HoldReason.RESTORED]
    return holds[0] if holds else ""


def release_schedule(connection: Connection, schedule: str) -> None:
    """Record that the next edition of the schedule was held, so that later ones are not."""
    restored = find_restored(connection)
    if restored is not None and restored.until is not None and schedule in restored.open:
        _write(connection, restored, until=restored.until, names=[name for name in restored.open if name != schedule])


def settle_as_sent(connection: Connection, edition: Edition, now: datetime, who: str) -> int:
    """Settle an edition that a person found was sent before the restore: its deliveries count as accepted.

    Returns how many deliveries. Raises RefusedError if no restore holds the edition.
    """
    if not any(hold.reason is HoldReason.RESTORED for hold in edition.holds):
        raise RefusedError(
            f"{edition.name} is not held because of a restore: look at it with `tidings ledger --edition`"
        )
    d, m = t.deliveries, t.mailings.c
    free: dict[str, Any] = {"owner": "", "lease_until": None, "next_at": None, "not_before": None}
    mine = d.c.mailing.in_(select(m.id).where(m.edition == edition.id))
    done = connection.execute(
        update(d)
        .where(mine, d.c.state.in_((*_WAITING, DeliveryState.IN_DOUBT)))
        .values(state=DeliveryState.ACCEPTED, reason="a person found that it was sent before the restore", at=now)
        .values(**free)
    )
    ledger.close_edition(connection, edition.id)
    what = "settled: it was sent before the restore"
    editions.set_state(connection, edition, EditionState.DONE, now=now, what=what, who=who, holds=[])
    return done.rowcount


def _write(connection: Connection, restored: Restored, *, until: datetime, names: list[str]) -> None:
    value = {
        "made": restored.made.isoformat(),
        "at": restored.at.isoformat(),
        "until": until.isoformat(),
        "open": sorted(set(names)),
        "failover": restored.is_failover,
    }
    set_value(connection, _NAME, json.dumps(value))
