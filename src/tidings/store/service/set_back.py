"""Set the newsroom's clock back to real time, after it was ahead by mistake.

What was noted while it was ahead has moments in the future: items would not be out, schedules would stand still until
then. Those moments become the real time. The slots that were settled while it was ahead are due again, and the next
edition of each of their schedules is held: a person knows what went out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Column, Connection, delete, func, select, update

from tidings.model.dates import format_local
from tidings.model.edition import EditionState, Hold, HoldReason
from tidings.store import schema as t
from tidings.store.content import editions, site_files
from tidings.store.content import schedules as stored_schedules
from tidings.store.content.items import advance_version, items_version
from tidings.store.delivery import ledger
from tidings.store.key_values import delete_value, find_value, set_value
from tidings.store.people import consent
from tidings.store.service import clock

_NAME = "set_back"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SetBack:
    """The result of `set_back`."""

    before: datetime
    """Where the clock was."""
    schedules: tuple[str, ...]
    """Schedules whose next edition is held."""
    held: tuple[str, ...]
    """Editions that were not finished, and are held now."""


def set_back(connection: Connection, now: datetime, who: str, zone: tzinfo = UTC) -> SetBack | None:
    """Set the clock to `now`, the real time. Returns None, unchanged, if it is not ahead.

    `zone` is that of the moment in the reason that people read.
    """
    before = clock.read_clock(connection)
    if before is None or before <= now:
        return None
    cause = f"the newsroom's clock was ahead, at {format_local(before, zone)}, and {who} set it back"
    held = _hold_editions(connection, cause, now)
    names = _reopen_slots(connection, now)
    _mend_items(connection, now)
    passed: tuple[Column[Any], ...] = (
        t.items.c.corrected_at, t.items.c.gone_at, t.items.c.missing_since, t.items.c.ready_at,
        t.schedules.c.baseline, t.schedules.c.last_cut, t.editions.c.cut, t.editions.c.starts, t.editions.c.at,
        t.mailings.c.at, t.deliveries.c.at, t.deliveries.c.next_at, t.notices.c.at, t.pauses.c.since,
        t.websub_pings.c.due, t.hub_subscriptions.c.asked, t.hub_subscriptions.c.due,
    )  # fmt: skip
    for column in passed:
        connection.execute(update(column.table).where(column > now).values({column: now}))
    # These pauses ended too early.
    connection.execute(update(t.pauses).where(t.pauses.c.ended > now).values(ended=None))
    _fetch_again(connection, now)
    for name in connection.execute(select(t.schedules.c.name)).scalars().all():
        seen = stored_schedules.find_cadence(connection, name)
        if seen is not None and seen.since is not None and seen.since > now:
            stored_schedules.save_cadence(connection, name, stored_schedules.SeenCadence(seen.key, seen.kind, now))
    site_files.forget_publishing(connection)
    clock.set_clock(connection, now)
    set_value(connection, _NAME, json.dumps({"cause": cause, "open": names}))
    consent.advance_version(connection)
    return SetBack(before, tuple(names), tuple(held))


def reason_to_hold(connection: Connection, schedule: str) -> str:
    """Why the next edition of a schedule is held; empty if it is not."""
    record = _read(connection)
    if schedule not in record.get("open", ()):
        return ""
    return f"{record['cause']}: this schedule came due meanwhile, and a person must check whether it was sent"


def release_schedule(connection: Connection, schedule: str) -> None:
    """Record that the schedule's next slot was decided, so that later ones are not held."""
    record = _read(connection)
    names = [name for name in record.get("open", ()) if name != schedule]
    if names != record.get("open", []):
        if names:
            set_value(connection, _NAME, json.dumps({**record, "open": names}))
        else:
            delete_value(connection, _NAME)


def _read(connection: Connection) -> dict[str, Any]:
    raw = find_value(connection, _NAME)
    return {} if raw is None else dict(json.loads(raw))


def _hold_editions(connection: Connection, cause: str, now: datetime) -> list[str]:
    """Hold the unfinished editions that were composed while the clock was ahead."""
    held = []
    e = t.editions.c
    composed_ahead = set(connection.execute(select(e.id).where(e.cut > now)).scalars())
    for edition in editions.list_editions(connection, states=editions.OPEN_STATES):
        if edition.id not in composed_ahead:
            continue
        detail = f"{cause}; it was composed before that"
        request: Mapping[str, Any] = {**editions.get_request(connection, edition.id), "restored": detail}
        connection.execute(update(t.editions).where(t.editions.c.id == edition.id).values(request=request, owner=""))
        ledger.close_edition(connection, edition.id)
        if edition.state is not EditionState.COMPOSING:
            holds = [*(old for old in edition.holds if old.reason is not HoldReason.RESTORED)]
            holds.append(Hold(HoldReason.RESTORED, detail))
            editions.set_state(connection, edition, EditionState.HELD, now=now, what=f"held: {detail}", holds=holds)
        held.append(edition.name)
    return held


def _reopen_slots(connection: Connection, now: datetime) -> list[str]:
    """Forget the slots that were settled while the clock was ahead. Returns their schedules."""
    s, schedules = t.slots, t.schedules
    ahead = (s.c.at > now) | (s.c.slot > now)
    names = set(connection.execute(select(s.c.schedule).where(ahead).distinct()).scalars())
    moved = select(schedules.c.name).where((schedules.c.last_cut > now) | (schedules.c.last_slot > now))
    names |= set(connection.execute(moved).scalars())
    slots = select(s.c.edition).where(ahead, s.c.edition.is_not(None))
    connection.execute(update(t.editions).where(t.editions.c.id.in_(slots)).values(slot=None))
    connection.execute(update(t.editions).where(t.editions.c.slot > now).values(slot=None))
    connection.execute(delete(s).where(ahead))
    for name in names:
        last = connection.execute(select(func.max(s.c.slot)).where(s.c.schedule == name)).scalar_one_or_none()
        connection.execute(update(schedules).where(schedules.c.name == name).values(last_slot=last))
    return sorted(names)


def _mend_items(connection: Connection, now: datetime) -> None:
    """Items that were found while the clock was ahead count as found now. One under embargo is not out any more."""
    i = t.items
    whole = now.replace(microsecond=0)
    rows = connection.execute(
        select(i.c.id, i.c.language, i.c.published, i.c.first_seen, i.c.out_at, i.c.changed, i.c.embargo).where(
            (i.c.first_seen > now) | (i.c.out_at > now) | (i.c.changed > now)
        )
    ).all()
    for row in rows:
        is_undated = row.first_seen > now and row.published == row.first_seen.replace(microsecond=0)
        published = whole if is_undated else row.published
        earliest = max(published, row.embargo or published)
        changed = max(earliest, whole) if row.changed > now else row.changed
        taken = set(
            connection.execute(select(i.c.changed).where(i.c.language == row.language, i.c.id != row.id)).scalars()
        )
        while changed in taken:
            changed += _SECOND
        values = {
            "published": published,
            "first_seen": min(row.first_seen, now),
            "out_at": None if row.out_at is None else max(min(row.out_at, now), earliest),
            "changed": changed,
        }
        connection.execute(update(i).where(i.c.id == row.id).values(**values))
    if rows:
        advance_version(connection, items_version(connection))


def _fetch_again(connection: Connection, now: datetime) -> None:
    """Let sources on the network be fetched now, not only in the future."""
    f = t.fetch_caches
    for row in connection.execute(select(f.c.source, f.c.state)).all():
        late = {key: now.isoformat() for key in ("due", "asked") if _is_after(row.state.get(key), now)}
        if late:
            connection.execute(update(f).where(f.c.source == row.source).values(state={**row.state, **late}))


def _is_after(text: object, now: datetime) -> bool:
    return isinstance(text, str) and datetime.fromisoformat(text) > now
