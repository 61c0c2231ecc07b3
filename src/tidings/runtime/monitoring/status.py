"""`tidings status`: what is wrong and how to repair it, what comes next, and the present state."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from sqlalchemy import Connection

from tidings import __version__
from tidings.model.cadence import load_zone
from tidings.model.edition import Edition, HoldReason
from tidings.runtime.monitoring.diagnosis import (
    diagnose,
    diagnose_faults,
    diagnose_queues,
    diagnose_versions,
    diagnose_waiting,
)
from tidings.runtime.monitoring.health import NewsroomHealth, read_broker, read_health
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import find_next_slots
from tidings.runtime.watch import configuration_version
from tidings.sources.base import SourceHealth
from tidings.store import migrate
from tidings.store.content.items import count_items, load_refused
from tidings.store.delivery import refusals
from tidings.store.delivery.notices import recent_notices
from tidings.store.people import eligibility, subscribers
from tidings.store.service import pauses, restored
from tidings.store.service.heartbeat import ProcessRole

_OF_SERVICES = ("owner", "started", "beat", "role", "queues", "host", "version", "configuration")


def status(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """Return the answer of `tidings status --json`. `ok` if nothing is wrong; `wrong` lists the worst first."""
    health = read_health(runtime, datetime.now(UTC))
    held, zone = health.metrics.held, load_zone(runtime.newsroom.site.timezone)
    with runtime.store.read() as connection:
        refused = load_refused(connection)
        wrong = diagnose(health, refused, lambda moment: f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M}")
        queues = read_broker(runtime)
        wrong += diagnose_queues(queues)
        wrong += diagnose_versions(health.services, __version__, configuration_version(runtime.root))
        wrong += diagnose_faults(runtime.newsroom.faults, wrong)
        wrong += diagnose_waiting(refusals.waiting_reasons(connection))
        result: dict[str, Any] = {
            "ok": not wrong,
            "wrong": [asdict(diagnosis) for diagnosis in wrong],
            "version": __version__,
            "schema": migrate.HEAD,
            "tzdata": version("tzdata"),
            "clock": health.clock,
            "queues": queues.waiting if queues is not None else {},
            "unset": list(dict.fromkeys(each.name for each in runtime.newsroom.unset)),
            "items": count_items(connection),
            "set_aside": [{"file": item.ref, "problem": item.problem} for item in refused],
            "held": [{"edition": edition.name, "holds": [hold.detail for hold in edition.holds]} for edition in held],
            "restored": _restored(connection, held),
            "paused": [
                {name: getattr(pause, name) for name in ("what", "since", "until", "reason", "who")}
                for pause in pauses.active_pauses(connection)
            ],
            "lists": {name: subscribers.count_by_state(connection, name) for name in runtime.newsroom.lists},
            "former_lists": eligibility.count_on_other_lists(connection, runtime.newsroom.lists),
            "notices": [
                {"at": notice.at, "kind": notice.kind, "text": notice.text}
                for notice in recent_notices(connection, limit=5)
            ],
        }
    result["next"] = [{"schedule": name, "at": at} for name, at in find_next_slots(runtime, now).items()]
    return result | _health_values(runtime, health)


def _restored(connection: Connection, held: list[Edition]) -> dict[str, Any] | None:
    """Return the decisions that wait for a person since a restore, or None."""
    restore = restored.find_restored(connection)
    waiting = [edition.name for edition in held if any(hold.reason is HoldReason.RESTORED for hold in edition.holds)]
    if restore is None or not (waiting or restore.open or restore.until is None):
        return None
    return {"made": restore.made, "at": restore.at, "waiting": waiting, "schedules": list(restore.open)}


def _source_values(health: SourceHealth | None) -> dict[str, Any]:
    """Return the extra values of a source on the network: its problem, and when it is fetched next."""
    if health is None:
        return {"fetched": None, "newest": None, "due": None, "silent": False}
    problem = {"problem": health.problem} if health.problem else {}
    return {"fetched": health.fetched, "newest": health.newest, "due": health.due, "silent": health.is_silent} | problem


def _health_values(runtime: Runtime, health: NewsroomHealth) -> dict[str, Any]:
    metrics, tick = health.metrics, health.tick
    return {
        "deliveries": dict(metrics.deliveries),
        "in_doubt": metrics.deliveries.get("in_doubt", 0),
        "queued": metrics.queued,
        "deferred": metrics.deliveries.get("deferred", 0),
        "last_tick": tick.at if tick else None,
        "last_accepted": metrics.accepted_at,
        "services": [
            {name: getattr(service, name) for name in _OF_SERVICES}
            | {"alive": service in health.services, "only_pages": service.work is ProcessRole.PAGES}
            for service in (*health.services, *health.died)
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
            | _source_values(health.sources.get(name))
            for name in runtime.newsroom.sources
        ],
        "disks": {name: {"free": disk.free, "total": disk.total} for name, disk in health.disks.items()},
        "store_bytes": health.store_bytes,
    }
