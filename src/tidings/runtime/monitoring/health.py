"""Read the health of a newsroom once, for `tidings status` and for the metrics."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tidings.model.throttling import SenderHealth as SenderHealth
from tidings.pipeline.compose.due import find_overdue_slot
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import FetchingSource, SourceHealth
from tidings.store.delivery import claims, senders
from tidings.store.delivery.journal import open_journal
from tidings.store.service import clock, heartbeat, restored
from tidings.store.service import metrics as vitals
from tidings.store.service.pauses import find_schedule_pause


@dataclass(frozen=True, slots=True)
class Disk:
    """Free and total bytes of the disk of a folder."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class NewsroomHealth:
    """The health at one moment. `now` is the newsroom's clock, `real_now` the machine's clock."""

    now: datetime
    real_now: datetime
    clock: datetime | None
    """The stored clock; None before the first tick."""
    vitals: vitals.StoreMetrics
    tick: heartbeat.LastTick | None
    services: tuple[heartbeat.Heartbeat, ...]
    """Heartbeats of running services."""
    died: tuple[heartbeat.Heartbeat, ...]
    """Heartbeats of services that crashed since the newest restore."""
    dead_owners: tuple[str, ...]
    """Processes that died with unfinished deliveries that nobody has taken over yet."""
    senders: Mapping[str, SenderHealth]
    """Every configured sender."""
    overdue: Mapping[str, datetime]
    """The moment of the first unsettled slot, by schedule."""
    disks: Mapping[str, Disk]
    """By place: `newsroom`, and `store` if that is a file."""
    store_bytes: int
    sources: Mapping[str, SourceHealth]
    """Sources on the network."""

    @property
    def stalled(self) -> dict[str, str]:
        """Why a lane cannot send: {channel, or '' for mail: reason}."""
        return {lane: reason for one in self.services for lane, reason in one.stalled.items()}

    @property
    def skew(self) -> timedelta | None:
        """How far the stored clock is ahead of real time. Normally below zero."""
        return None if self.clock is None else self.clock - self.real_now


def read_health(runtime: Runtime, real_now: datetime) -> NewsroomHealth:
    """Cheap enough for every few seconds: `store.vitals` says why."""
    now = runtime.now()
    newsroom = runtime.newsroom
    known = {sender.name: sender.fingerprint for sender in newsroom.mail}
    with runtime.store.read() as connection:
        found = vitals.load_metrics(connection, now)
        reached = clock.read_clock(connection)
        ticked = heartbeat.last_tick(connection)
        seen = heartbeat.load_heartbeats(connection)
        holders = claims.list_owners(connection)
        healths = senders.load_healths(connection, known)
        overdue = {
            name: moment
            for name, schedule in newsroom.schedules.items()
            if find_schedule_pause(found.pauses, name) is None
            and (moment := find_overdue_slot(connection, schedule, now)) is not None
        }
        came = restored.find_restored(connection)
        size = vitals.store_bytes(runtime.store, connection)
    alive = {one.owner: runtime.liveness.is_alive(one.owner) for one in seen}
    owners = {*holders, *open_journal(runtime.store).owners(), *runtime.liveness.list_dead()} - {""}
    return NewsroomHealth(
        now=now,
        real_now=real_now,
        clock=reached,
        vitals=found,
        tick=ticked,
        services=tuple(one for one in seen if alive[one.owner]),
        died=tuple(one for one in seen if not alive[one.owner] and (came is None or one.beat > came.at)),
        dead_owners=tuple(sorted(owner for owner in owners if not runtime.liveness.is_alive(owner))),
        senders={name: healths.get(name, SenderHealth()) for name in known},
        overdue=overdue,
        disks=_disks(newsroom.root, runtime.store.path),
        store_bytes=size,
        sources={name: one.health(now) for name, one in runtime.sources.items() if isinstance(one, FetchingSource)},
    )


def _disks(root: Path, database: Path | None) -> dict[str, Disk]:
    places = {"newsroom": root} | ({"store": database.parent} if database is not None else {})
    found = {}
    for name, place in places.items():
        usage = shutil.disk_usage(place)
        found[name] = Disk(usage.free, usage.total)
    return found
