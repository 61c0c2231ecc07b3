"""`tidings status`: what is wrong and how to mend it, what comes next, and how things stand."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection

from tidings import __version__
from tidings.model.cadence import load_zone
from tidings.model.edition import Edition, HoldReason
from tidings.runtime.monitoring.diagnosis import diagnose
from tidings.runtime.monitoring.health import NewsroomHealth, read_health
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import plan
from tidings.sources.base import SourceHealth
from tidings.store import migrate
from tidings.store.content.items import count_items, load_refused
from tidings.store.delivery.notices import recent_notices
from tidings.store.people import subscribers
from tidings.store.service import pauses, restored


def _restored(connection: Connection, held: list[Edition]) -> dict[str, Any] | None:
    """What waits for a person since the store came out of a backup; None where nothing does."""
    found = restored.find_restored(connection)
    waiting = [one.name for one in held if any(hold.reason is HoldReason.RESTORED for hold in one.holds)]
    if found is None or not (waiting or found.open or found.until is None):
        return None
    return {"made": found.made, "at": found.at, "waiting": waiting, "schedules": list(found.open)}


def status(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """The shape of `tidings status --json`. `ok` where nothing is wrong; `wrong` has the worst first."""
    health = read_health(runtime, datetime.now(UTC))
    zone = load_zone(runtime.newsroom.site.timezone)
    with runtime.store.read() as connection:
        aside = load_refused(connection)
        wrong = diagnose(health, aside, lambda moment: f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}")
        found: dict[str, Any] = {
            "ok": not wrong,
            "wrong": [one.as_json() for one in wrong],
            "version": __version__,
            "schema": migrate.HEAD,
            "tzdata": version("tzdata"),
            "clock": health.clock,
            "items": count_items(connection),
            "set_aside": [{"file": one.ref, "problem": one.problem} for one in aside],
            "held": [{"edition": one.name, "holds": [hold.detail for hold in one.holds]} for one in health.vitals.held],
            "restored": _restored(connection, health.vitals.held),
            "paused": [
                {"what": one.what, "since": one.since, "until": one.until, "reason": one.reason, "who": one.who}
                for one in pauses.active_pauses(connection)
            ],
            "lists": {name: subscribers.count_by_state(connection, name) for name in runtime.newsroom.lists},
            "notices": [
                {"at": one.at, "kind": one.kind, "text": one.text} for one in recent_notices(connection, limit=5)
            ],
        }
    found["next"] = [
        {"schedule": one.name, "at": next((slot.at for slot in one.slots if not slot.skipped), None)}
        for one in plan(runtime, now, 3)
    ]
    return found | _of_health(runtime, health)


def _of_source(health: SourceHealth | None) -> dict[str, Any]:
    """What a source on the network adds: its own problem, and when it is asked."""
    if health is None:
        return {"fetched": None, "newest": None, "due": None, "silent": False}
    said = {"problem": health.problem} if health.problem else {}
    return {"fetched": health.fetched, "newest": health.newest, "due": health.due, "silent": health.is_silent} | said


def _of_health(runtime: Runtime, health: NewsroomHealth) -> dict[str, Any]:
    vitals, tick = health.vitals, health.tick
    return {
        "deliveries": dict(vitals.deliveries),
        "in_doubt": vitals.deliveries.get("in_doubt", 0),
        "queued": vitals.queued,
        "deferred": vitals.deliveries.get("deferred", 0),
        "last_tick": tick.at if tick else None,
        "last_accepted": vitals.accepted_at,
        "services": [
            {
                "owner": one.owner,
                "alive": one in health.services,
                "started": one.started,
                "beat": one.beat,
                "only_pages": one.only_pages,
            }
            for one in (*health.services, *health.died)
        ],
        "stalled": health.stalled,
        "senders": [
            {
                "sender": name,
                "up": sender.is_up(health.real_now),
                "failures": sender.failures,
                "reason": sender.reason,
                "down_until": sender.down_until,
            }
            for name, sender in health.senders.items()
        ],
        "sources": [
            {
                "source": name,
                "read": tick.read.get(name) if tick else None,
                "problem": tick.unread.get(name, "") if tick else "",
            }
            | _of_source(health.sources.get(name))
            for name in runtime.newsroom.sources
        ],
        "disks": {name: {"free": disk.free, "total": disk.total} for name, disk in health.disks.items()},
        "store_bytes": health.store_bytes,
    }
