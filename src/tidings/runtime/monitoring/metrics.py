"""Metrics for Prometheus, read from the store on request: any process can answer, without counters of its own.

Labels are names from the configuration and our own words: there are few, and none contains an address.
`docs/alerts.yaml` has an alert for each failure.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from tidings import __version__
from tidings.model.delivery import DeliveryState
from tidings.model.edition import EditionState
from tidings.runtime.monitoring.health import NewsroomHealth, read_broker, read_health
from tidings.runtime.newsroom import Runtime
from tidings.store import migrate
from tidings.store.engine import describe_fault
from tidings.store.service.heartbeat import Heartbeat, ProcessRole
from tidings.store.service.pauses import Scope

if TYPE_CHECKING:
    from tidings.runtime.engine import QueueReport

REUSED = 2.0
"""Seconds for which one read of the store answers all requests."""
_FINAL = (DeliveryState.ACCEPTED, DeliveryState.REJECTED, DeliveryState.QUARANTINED)
"""Final states of a delivery. Only `keep` deletes such deliveries, and counts them."""
_FAULTS = ("configuration", "beat", "next", "deliveries", "engine", "pulse")
_SLOTS = ("fired", "skipped", "merged")
log = logging.getLogger("tidings.metrics")


class Metrics:
    """Answers a scrape. `own` returns the heartbeat of this process, which works without the store."""

    def __init__(self, runtime: Runtime, own: Callable[[], Heartbeat] | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Newsroom(runtime, own))
        # Memory, CPU and open files of this process.
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its Content-Type, in the format that an Accept header asks for."""
        try:
            encode, kind = choose_encoder(accept)
        except (ValueError, TypeError):
            # An invalid Accept header.
            encode, kind = choose_encoder("")
        return encode(self._registry), kind


class _Newsroom(Collector):
    def __init__(self, runtime: Runtime, own: Callable[[], Heartbeat] | None) -> None:
        self._runtime = runtime
        self._own = own
        self._mutex = threading.Lock()
        self._health: NewsroomHealth | None = None
        self._broker: QueueReport | None = None
        self._took = 0.0
        self._at = -REUSED

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        health = self._read_health()
        yield _gauge("store_up", "1 if the store can be read.", health is not None)
        yield _gauge("time_seconds", "The time of this machine.", datetime.now(UTC))
        yield _gauge("collect_seconds", "Duration of the last read of the store.", self._took)
        yield InfoMetricFamily("tidings", "Versions.", value=self._versions())
        own = self._own() if self._own is not None else None
        services = [
            service for service in (health.services if health else ()) if own is None or service.owner != own.owner
        ]
        channels = health.channels if health is not None else {}
        yield from _service_metrics([*services, *([own] if own else [])], channels, self._runtime)
        yield from _broker_metrics(self._broker)
        if health is not None:
            yield from _delivery_metrics(health)
            yield from _edition_metrics(health, self._runtime)
            yield from _source_metrics(health, self._runtime)
            yield from _disk_metrics(health)

    def _read_health(self) -> NewsroomHealth | None:
        with self._mutex:
            if time.monotonic() - self._at < REUSED:
                return self._health
            start = time.monotonic()
            try:
                self._health = read_health(self._runtime, datetime.now(UTC))
            except (SQLAlchemyError, OSError) as error:
                log.warning("the store cannot be read for metrics: %s", describe_fault(error))
                self._health = None
            self._took = time.monotonic() - start
            self._broker = _keep_last_counts(read_broker(self._runtime), self._broker)
            self._at = time.monotonic()
            return self._health

    def _versions(self) -> dict[str, str]:
        return {
            "version": __version__,
            "schema": migrate.HEAD,
            "tzdata": version("tzdata"),
            "database": "sqlite" if self._runtime.store.is_sqlite else "postgresql",
        }


def _gauge(name: str, about: str, value: float | datetime | None) -> GaugeMetricFamily:
    """Make a gauge without labels. A moment becomes seconds since 1970; an unknown value is left out."""
    family = GaugeMetricFamily(f"tidings_{name}", about)
    if value is not None:
        family.add_metric([], _number(value))
    return family


def _gauges(name: str, about: str, label: str, values: Mapping[str, float | datetime]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"tidings_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], _number(value))
    return family


def _number(value: float | datetime) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _service_metrics(services: list[Heartbeat], channels: Container[str], runtime: Runtime) -> Iterator[Metric]:
    kinds = {
        "full": [service for service in services if service.work.ticks],
        "pages": [service for service in services if service.work is ProcessRole.PAGES],
        "worker": [service for service in services if service.work is ProcessRole.WORKER],
    }
    yield _gauges("services", "Running services.", "kind", {kind: len(running) for kind, running in kinds.items()})
    last_cycles = {kind: max(service.beat for service in running) for kind, running in kinds.items() if running}
    yield _gauges("last_beat_timestamp_seconds", "When the last cycle ended, successful or not.", "kind", last_cycles)
    refused = any(service.refused for service in services)
    yield _gauge("configuration_refused", "1 if a changed configuration has errors and is not used.", refused)
    faults = {task: any(task in service.faults for service in services) for task in _FAULTS}
    yield _gauges("service_fault", "1 if this fails again and again; see the log.", "what", faults)
    lanes = {"mail": "", **{f"channel:{name}": name for name in runtime.newsroom.channels}}
    stalled = {
        label: lane in channels or any(lane in service.stalled for service in services) for label, lane in lanes.items()
    }
    yield _gauges("lane_stalled", "1 if this outlet cannot send.", "lane", stalled)


def _keep_last_counts(report: QueueReport | None, last: QueueReport | None) -> QueueReport | None:
    """Return a report that has the last known queues if the broker does not answer now."""
    if report is None or last is None or not report.problem:
        return report
    return replace(report, waiting=last.waiting, read_at=last.read_at)


def _broker_metrics(report: QueueReport | None) -> Iterator[Metric]:
    is_up = None if report is None else not report.problem
    yield _gauge("broker_up", "1 if the broker of the task engine can be reached.", is_up)
    read_at = report.read_at if report is not None else None
    yield _gauge("broker_read_timestamp_seconds", "When the broker last told how many messages wait.", read_at)
    waiting = report.waiting if report is not None else {}
    yield _gauges(
        "broker_messages", "Messages that waited in a queue of the task engine when it was read last.", "queue", waiting
    )


def _delivery_metrics(health: NewsroomHealth) -> Iterator[Metric]:
    metrics = health.metrics
    counts = {state.value: metrics.deliveries.get(state, 0) for state in DeliveryState}
    yield _gauges("deliveries", "Deliveries by state.", "state", counts)
    for state in _FINAL:
        about = f"Deliveries that ended as {state.value}."
        yield CounterMetricFamily(f"tidings_deliveries_{state.value}", about, value=counts[state.value])
    yield _gauge("last_accepted_timestamp_seconds", "About when the last delivery was accepted.", metrics.accepted_at)
    yield _gauge("queue_pending", "Deliveries that can be sent now.", metrics.queued)
    yield _gauge(
        "queue_since_timestamp_seconds", "Start time of the oldest mailing in the queue.", metrics.queued_since
    )
    yield _gauge("deferred_overdue", "Deferred deliveries that are due again.", metrics.overdue)
    yield _gauge("in_doubt_for_a_person", "Deliveries in doubt that need `tidings resolve`.", metrics.doubtful)
    yield _gauge(
        "in_doubt_since_timestamp_seconds", "Since when the oldest delivery is in doubt.", metrics.doubtful_since
    )
    yield _gauge("quarantined_lately", "Deliveries quarantined in the last week.", metrics.quarantined)
    down = {name: not sender.is_up(health.real_now) for name, sender in health.senders.items()}
    yield _gauges("sender_down", "1 while a mail sender pauses after a failure.", "sender", down)
    failures = {name: sender.failures for name, sender in health.senders.items()}
    yield _gauges("sender_failures", "Failures of a mail sender in a row.", "sender", failures)
    yield _gauge("dead_owners", "Dead processes with unfinished deliveries.", len(health.dead_owners))
    yield _gauge("services_died", "Services that stopped unexpectedly.", len(health.died))


def _edition_metrics(health: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    metrics, names = health.metrics, runtime.newsroom.schedules
    states = {
        state.value: sum(edition.state is state for edition in metrics.open_editions)
        for state in (EditionState.COMPOSING, EditionState.HELD, EditionState.SENDING)
    }
    yield _gauges("editions", "Unfinished editions, by state.", "state", states)
    held = {reason.value: count for reason, count in metrics.held_by_reason.items()}
    yield _gauges("editions_held", "Editions that wait for a person, by reason.", "reason", held)
    yield _gauge(
        "edition_composing_since_timestamp_seconds",
        "When composing of the oldest unfinished edition began.",
        min(
            (edition.cutoff for edition in metrics.open_editions if edition.state is EditionState.COMPOSING),
            default=None,
        ),
    )
    paused = {scope.value: sum(pause.scope is scope for pause in metrics.pauses) for scope in Scope}
    yield _gauges("paused", "Active pauses, by scope.", "scope", paused)
    since = min((pause.since for pause in metrics.pauses), default=None)
    yield _gauge("paused_since_timestamp_seconds", "Start of the oldest active pause.", since)
    slots = CounterMetricFamily("tidings_slots", "Settled slots, by schedule and result.", labels=["schedule", "state"])
    for name in names:
        for state in _SLOTS:
            slots.add_metric([name, state], metrics.slots.get((name, state), 0))
    yield slots
    late = {
        name: (health.now - health.overdue[name]).total_seconds() if name in health.overdue else 0 for name in names
    }
    yield _gauges("schedule_overdue_seconds", "Age of the first due slot that is not settled.", "schedule", late)


def _source_metrics(health: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    names = runtime.newsroom.sources
    aside = {name: health.metrics.set_aside.get(name, 0) for name in names}
    yield _gauges("items_set_aside", "Refused items, by source.", "source", aside)
    tick = health.tick
    yield _gauge("last_tick_timestamp_seconds", "When the last tick succeeded.", tick.at if tick else None)
    read = {name: tick.read[name] for name in names if tick and name in tick.read}
    yield _gauges("source_read_timestamp_seconds", "When a source was last read successfully.", "source", read)
    fetched = {name: source.fetched for name, source in health.sources.items() if source.fetched}
    yield _gauges(
        "source_fetched_timestamp_seconds", "When a website was last fetched successfully.", "source", fetched
    )
    failing = {name: bool(source.problem) for name, source in health.sources.items()}
    yield _gauges("source_failing", "1 if a website cannot be read.", "source", failing)
    silent = {name: source.is_silent for name, source in health.sources.items()}
    yield _gauges("source_silent", "1 if a website has had nothing new for unusually long.", "source", silent)
    yield _gauge("pages_refused", "1 if pages and feeds cannot be updated.", bool(tick and tick.unpublished))


def _disk_metrics(health: NewsroomHealth) -> Iterator[Metric]:
    free = {name: disk.free for name, disk in health.disks.items()}
    yield _gauges("disk_free_bytes", "Free bytes on the disk of this place.", "place", free)
    total = {name: disk.total for name, disk in health.disks.items()}
    yield _gauges("disk_size_bytes", "Size of the disk of this place.", "place", total)
    yield _gauge("store_size_bytes", "Size of the store.", health.store_bytes)
    skew = health.skew.total_seconds() if health.skew is not None else None
    yield _gauge("clock_ahead_seconds", "How far the newsroom's clock is ahead of real time.", skew)
