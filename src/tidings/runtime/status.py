"""`tidings status`: health, next slots, what is pending, held, in doubt."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection

from tidings import __version__
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.pipeline import notices
from tidings.runtime.newsroom import Runtime
from tidings.runtime.planning import plan
from tidings.store import clock, editions, ledger, pauses, restored, subscribers
from tidings.store.items import count_items, load_aside


def _restored(connection: Connection, held: list[Edition]) -> dict[str, Any] | None:
    """What waits for a person since the store came out of a backup; None where nothing does."""
    found = restored.find_restored(connection)
    waiting = [one.name for one in held if any(hold.reason is HoldReason.RESTORED for hold in one.holds)]
    if found is None or not (waiting or found.open or found.until is None):
        return None
    return {"made": found.made, "at": found.at, "waiting": waiting, "schedules": list(found.open)}


def status(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """The shape of `tidings status --json`."""
    with runtime.store.read() as connection:
        counts = ledger.counts(connection)
        held = editions.editions(connection, states=[EditionState.HELD])
        aside = load_aside(connection)
        found: dict[str, Any] = {
            "version": __version__,
            "tzdata": version("tzdata"),
            "clock": clock.read_clock(connection),
            "items": count_items(connection),
            "set_aside": [{"file": one.ref, "problem": one.problem} for one in aside],
            "deliveries": counts,
            "held": [{"edition": one.name, "holds": [hold.detail for hold in one.holds]} for one in held],
            "in_doubt": counts.get("in_doubt", 0),
            "restored": _restored(connection, held),
            "paused": [
                {"what": one.what, "since": one.since, "until": one.until, "reason": one.reason, "who": one.who}
                for one in pauses.holding(connection)
            ],
            "lists": {name: subscribers.count(connection, name) for name in runtime.newsroom.lists},
            "notices": [
                {"at": one.at, "kind": one.kind, "text": one.text} for one in notices.recent(connection, limit=5)
            ],
        }
    found["next"] = [
        {"schedule": one.name, "at": next((slot.at for slot in one.slots if not slot.skipped), None)}
        for one in plan(runtime, now, 3)
    ]
    return {"ok": not (held or aside or found["in_doubt"] or counts.get("quarantined")), **found}
