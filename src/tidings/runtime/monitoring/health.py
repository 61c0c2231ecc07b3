"""How a newsroom stands, gathered in one look: what `tidings status` puts into words and Prometheus collects."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.model.cadence import OnNew, OnRequest, find_due_slots
from tidings.model.throttling import SenderHealth as SenderHealth
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import FetchingSource, SourceHealth
from tidings.store.content import schedules
from tidings.store.delivery import claims, senders
from tidings.store.delivery.journal import open_journal
from tidings.store.service import clock, heartbeat, restored
from tidings.store.service import metrics as vitals
from tidings.store.service.pauses import find_schedule_pause


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the disk that a place stands on."""

    free: int
    total: int


@dataclass(frozen=True, slots=True)
class NewsroomHealth:
    """One look. `now` is the newsroom's clock, `real_now` the real one."""

    now: datetime
    real_now: datetime
    clock: datetime | None
    """What the stored clock has reached; None before the first tick."""
    vitals: vitals.StoreMetrics
    tick: heartbeat.LastTick | None
    services: tuple[heartbeat.Heartbeat, ...]
    """Those that live."""
    died: tuple[heartbeat.Heartbeat, ...]
    """Services that neither live nor ended in order, since the newest restore."""
    dead_owners: tuple[str, ...]
    """Processes that died with something in hand, which nobody has taken over yet."""
    senders: Mapping[str, SenderHealth]
    """Of every sender in the configuration."""
    overdue: Mapping[str, datetime]
    """Schedules whose slot has come and is not settled, with its moment."""
    disks: Mapping[str, Disk]
    """`newsroom`, and `store` where that is a file."""
    store_bytes: int
    sources: Mapping[str, SourceHealth]
    """Of those on the network."""

    @property
    def stalled(self) -> dict[str, str]:
        """Lanes that a living service cannot go on with."""
        return {lane: reason for one in self.services for lane, reason in one.stalled.items()}

    @property
    def skew(self) -> timedelta | None:
        """By how much the stored clock is ahead of real time; below zero it lags behind, as it should."""
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


def find_overdue_slot(connection: Connection, schedule: Schedule, now: datetime) -> datetime | None:
    """The moment of the first slot that has come and is not settled; of `on: new` nobody knows it so cheaply."""
    state = schedules.find_schedule(connection, schedule.name)
    if state is None or isinstance(schedule.cadence.rule, OnNew | OnRequest):
        return None
    after = max(moment for moment in (state.last_slot, state.baseline) if moment is not None)
    found = find_due_slots(schedule.cadence, after, now)
    return None if found is None or found.slot is None else min(slot.at for slot in (*found.merged, found.slot))


def _disks(root: Path, database: Path | None) -> dict[str, Disk]:
    places = {"newsroom": root} | ({"store": database.parent} if database is not None else {})
    found = {}
    for name, place in places.items():
        usage = shutil.disk_usage(place)
        found[name] = Disk(usage.free, usage.total)
    return found
