"""Read the health of a newsroom once, for `tidings status` and for the metrics."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from tidings.model.throttling import SenderHealth as SenderHealth
from tidings.pipeline.compose.due import find_overdue_slot
from tidings.pipeline.deliver.senders import channel_key
from tidings.runtime.newsroom import Runtime
from tidings.sources.base import FetchingSource, SourceHealth
from tidings.store.delivery import claims, senders
from tidings.store.delivery.journal import Journal
from tidings.store.service import clock, heartbeat, restored
from tidings.store.service import metrics as store_metrics
from tidings.store.service.pauses import find_schedule_pause

if TYPE_CHECKING:
    from tidings.runtime.engine import QueueReport


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
    metrics: store_metrics.StoreMetrics
    tick: heartbeat.LastTick | None
    services: tuple[heartbeat.Heartbeat, ...]
    """Heartbeats of running services."""
    died: tuple[heartbeat.Heartbeat, ...]
    """Heartbeats of services that crashed since the newest restore."""
    dead_owners: tuple[str, ...]
    """Processes that died with unfinished deliveries that nobody has taken over yet."""
    senders: Mapping[str, SenderHealth]
    """Every configured sender."""
    channels: Mapping[str, SenderHealth]
    """Channels that cannot post. A channel with new settings is not among them: it is tried at once."""
    overdue: Mapping[str, datetime]
    """The time of the first unsettled slot, by schedule."""
    disks: Mapping[str, Disk]
    """By place: `newsroom`, and `store` if that is a file."""
    store_bytes: int
    sources: Mapping[str, SourceHealth]
    """Sources on the network."""

    @property
    def stalled(self) -> dict[str, str]:
        """Why a lane cannot send: {channel, or '' for mail: reason}."""
        lanes = {lane: reason for service in self.services for lane, reason in service.stalled.items()}
        return lanes | {name: channel.reason for name, channel in self.channels.items()}

    @property
    def skew(self) -> timedelta | None:
        """How far the stored clock is ahead of real time. Normally below zero."""
        return None if self.clock is None else self.clock - self.real_now


def read_health(runtime: Runtime, real_now: datetime) -> NewsroomHealth:
    """Read the health from the store. It can be repeated every few seconds (see `store.service.metrics`)."""
    now, newsroom, liveness = runtime.now(), runtime.newsroom, runtime.liveness
    fingerprints = {sender.name: sender.fingerprint for sender in newsroom.mail}
    channel_fingerprints = {channel_key(name): settings.fingerprint for name, settings in newsroom.channels.items()}
    with runtime.store.read() as connection:
        metrics = store_metrics.load_metrics(connection, now)
        stored_clock = clock.read_clock(connection)
        tick = heartbeat.last_tick(connection)
        heartbeats = heartbeat.load_heartbeats(connection)
        owners = claims.list_owners(connection)
        sender_healths = senders.load_healths(connection, fingerprints)
        # Without its secrets, the fingerprint of a channel is another.
        channel_healths = senders.load_healths(connection, None if newsroom.unset else channel_fingerprints)
        overdue = {
            name: moment
            for name, schedule in newsroom.schedules.items()
            if find_schedule_pause(metrics.pauses, name) is None
            and (moment := find_overdue_slot(connection, schedule, now)) is not None
        }
        restore = restored.find_restored(connection)
        store_bytes = store_metrics.store_bytes(runtime.store, connection)
    running = tuple(service for service in heartbeats if liveness.is_alive(service.owner))
    stopped = (service for service in heartbeats if service not in running)
    all_owners = {*owners, *Journal(runtime.store).owners(), *liveness.list_dead()} - {""}
    return NewsroomHealth(
        now=now,
        real_now=real_now,
        clock=stored_clock,
        metrics=metrics,
        tick=tick,
        services=running,
        died=tuple(service for service in stopped if restore is None or service.beat > restore.at),
        dead_owners=tuple(sorted(owner for owner in all_owners if not liveness.is_alive(owner))),
        senders={name: sender_healths.get(name, SenderHealth()) for name in fingerprints},
        channels={
            key.removeprefix(channel_key("")): channel
            for key, channel in channel_healths.items()
            if key.startswith(channel_key(""))
        },
        overdue=overdue,
        disks=_read_disks(newsroom.root, runtime.store.path),
        store_bytes=store_bytes,
        sources={
            name: source.health(now) for name, source in runtime.sources.items() if isinstance(source, FetchingSource)
        },
    )


def _read_disks(root: Path, database: Path | None) -> dict[str, Disk]:
    places = {"newsroom": root} | ({"store": database.parent} if database is not None else {})
    usages = {name: shutil.disk_usage(place) for name, place in places.items()}
    return {name: Disk(usage.free, usage.total) for name, usage in usages.items()}


def read_broker(runtime: Runtime) -> QueueReport | None:
    """Ask the broker of the task engine, if there is one and its address is known here."""
    engine = runtime.newsroom.engine
    if engine is None or not isinstance(engine.broker, SecretStr):
        return None
    from tidings.runtime.engine import read_queues

    return read_queues(engine.broker.get_secret_value())
