"""Metrics for Prometheus, read from the store on request: any process can answer, and none has to count.

Labels are names from the configuration and our own words: there are few, and none holds an address. `docs/alerts.yaml`
has an alert for each failure.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from tidings import __version__
from tidings.model.delivery import DeliveryState
from tidings.model.edition import EditionState
from tidings.runtime.monitoring.health import NewsroomHealth, read_health
from tidings.runtime.newsroom import Runtime
from tidings.store import migrate
from tidings.store.service.heartbeat import Heartbeat
from tidings.store.service.pauses import Scope

REUSED = 2.0
"""Seconds for which one read of the store answers all requests."""
_FINAL = (DeliveryState.ACCEPTED, DeliveryState.REJECTED, DeliveryState.QUARANTINED)
"""Final states of a delivery. Only `keep` deletes such deliveries, and counts them."""
_FAULTS = ("configuration", "beat", "next", "deliveries", "pulse")
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
        self._found: NewsroomHealth | None = None
        self._took = 0.0
        self._at = -REUSED

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        found = self._look()
        yield _one("store_up", "1 if the store can be read.", found is not None)
        yield _one("time_seconds", "The time of this machine.", datetime.now(UTC))
        yield _one("collect_seconds", "Duration of the last read of the store.", self._took)
        yield InfoMetricFamily("tidings", "Versions.", value=self._versions())
        own = self._own() if self._own is not None else None
        services = [one for one in (found.services if found else ()) if own is None or one.owner != own.owner]
        yield from _service_metrics([*services, *([own] if own else [])], self._runtime)
        if found is not None:
            yield from _delivery_metrics(found)
            yield from _edition_metrics(found, self._runtime)
            yield from _source_metrics(found, self._runtime)
            yield from _disk_metrics(found)

    def _look(self) -> NewsroomHealth | None:
        with self._mutex:
            if time.monotonic() - self._at < REUSED:
                return self._found
            begun = time.monotonic()
            try:
                self._found = read_health(self._runtime, datetime.now(UTC))
            except (SQLAlchemyError, OSError) as error:
                log.warning("the store cannot be read for metrics: %s", type(error).__name__)
                self._found = None
            self._at = time.monotonic()
            self._took = self._at - begun
            return self._found

    def _versions(self) -> dict[str, str]:
        return {
            "version": __version__,
            "schema": migrate.HEAD,
            "tzdata": version("tzdata"),
            "database": "sqlite" if self._runtime.store.is_sqlite else "postgresql",
        }


def _one(name: str, about: str, value: float | datetime | None) -> GaugeMetricFamily:
    """Make a gauge without labels. A moment becomes seconds since 1970; an unknown value is left out."""
    family = GaugeMetricFamily(f"tidings_{name}", about)
    if value is not None:
        family.add_metric([], _number(value))
    return family


def _many(name: str, about: str, label: str, values: Mapping[str, float | datetime]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"tidings_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], _number(value))
    return family


def _number(value: float | datetime) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _service_metrics(services: list[Heartbeat], runtime: Runtime) -> Iterator[Metric]:
    kinds = {kind: [one for one in services if one.only_pages == (kind == "pages")] for kind in ("full", "pages")}
    yield _many("services", "Running services.", "kind", {kind: len(those) for kind, those in kinds.items()})
    beats = {kind: max(one.beat for one in those) for kind, those in kinds.items() if those}
    yield _many("last_beat_timestamp_seconds", "When the last cycle ended, successful or not.", "kind", beats)
    refused = any(one.refused for one in services)
    yield _one("configuration_refused", "1 if a changed configuration has errors and is not used.", refused)
    faults = {what: any(what in one.faults for one in services) for what in _FAULTS}
    yield _many("service_fault", "1 if this fails again and again; see the log.", "what", faults)
    lanes = {"mail": "", **{f"channel:{name}": name for name in runtime.newsroom.channels}}
    stalled = {label: any(lane in one.stalled for one in services) for label, lane in lanes.items()}
    yield _many("lane_stalled", "1 if this outlet cannot send.", "lane", stalled)


def _delivery_metrics(found: NewsroomHealth) -> Iterator[Metric]:
    vitals = found.vitals
    counts = {state.value: vitals.deliveries.get(state, 0) for state in DeliveryState}
    yield _many("deliveries", "Deliveries by state.", "state", counts)
    for state in _FINAL:
        about = f"Deliveries that ended as {state.value}."
        yield CounterMetricFamily(f"tidings_deliveries_{state.value}", about, value=counts[state.value])
    yield _one("last_accepted_timestamp_seconds", "About when the last delivery was accepted.", vitals.accepted_at)
    yield _one("queue_pending", "Deliveries that can be sent now.", vitals.queued)
    yield _one("queue_since_timestamp_seconds", "Start time of the oldest mailing in the queue.", vitals.queued_since)
    yield _one("deferred_overdue", "Deferred deliveries that are due again.", vitals.overdue)
    yield _one("in_doubt_for_a_person", "Deliveries in doubt that need `tidings resolve`.", vitals.doubtful)
    yield _one("in_doubt_since_timestamp_seconds", "When the oldest of them became doubtful.", vitals.doubtful_since)
    yield _one("quarantined_lately", "Deliveries quarantined in the last week.", vitals.quarantined)
    down = {name: not health.is_up(found.real_now) for name, health in found.senders.items()}
    yield _many("sender_down", "1 while a mail sender pauses after a failure.", "sender", down)
    failures = {name: health.failures for name, health in found.senders.items()}
    yield _many("sender_failures", "Failures of a mail sender in a row.", "sender", failures)
    yield _one("dead_owners", "Dead processes with unfinished deliveries.", len(found.dead_owners))
    yield _one("services_died", "Services that stopped unexpectedly.", len(found.died))


def _edition_metrics(found: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    vitals, names = found.vitals, runtime.newsroom.schedules
    states = {
        state.value: sum(one.state is state for one in vitals.open_editions)
        for state in (EditionState.COMPOSING, EditionState.HELD, EditionState.SENDING)
    }
    yield _many("editions", "Unfinished editions, by state.", "state", states)
    held = {reason.value: count for reason, count in vitals.held_by_reason.items()}
    yield _many("editions_held", "Editions that wait for a person, by reason.", "reason", held)
    yield _one(
        "edition_composing_since_timestamp_seconds",
        "When composing of the oldest unfinished edition began.",
        min((one.cutoff for one in vitals.open_editions if one.state is EditionState.COMPOSING), default=None),
    )
    paused = {scope.value: sum(one.scope is scope for one in vitals.pauses) for scope in Scope}
    yield _many("paused", "Active pauses, by scope.", "scope", paused)
    since = min((one.since for one in vitals.pauses), default=None)
    yield _one("paused_since_timestamp_seconds", "Start of the oldest active pause.", since)
    slots = CounterMetricFamily("tidings_slots", "Settled slots, by schedule and result.", labels=["schedule", "state"])
    for name in names:
        for state in _SLOTS:
            slots.add_metric([name, state], vitals.slots.get((name, state), 0))
    yield slots
    late = {name: (found.now - found.overdue[name]).total_seconds() if name in found.overdue else 0 for name in names}
    yield _many("schedule_overdue_seconds", "Age of the first due slot that is not settled.", "schedule", late)


def _source_metrics(found: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    names = runtime.newsroom.sources
    aside = {name: found.vitals.set_aside.get(name, 0) for name in names}
    yield _many("items_set_aside", "Refused items, by source.", "source", aside)
    tick = found.tick
    yield _one("last_tick_timestamp_seconds", "When the last tick succeeded.", tick.at if tick else None)
    read = {name: tick.read[name] for name in names if tick and name in tick.read}
    yield _many("source_read_timestamp_seconds", "When a source was last read successfully.", "source", read)
    asked = {name: one.fetched for name, one in found.sources.items() if one.fetched}
    yield _many("source_fetched_timestamp_seconds", "When a website was last fetched successfully.", "source", asked)
    failing = {name: bool(one.problem) for name, one in found.sources.items()}
    yield _many("source_failing", "1 if a website cannot be read.", "source", failing)
    silent = {name: one.is_silent for name, one in found.sources.items()}
    yield _many("source_silent", "1 if a website has had nothing new for unusually long.", "source", silent)
    yield _one("pages_refused", "1 if pages and feeds cannot be updated.", bool(tick and tick.unpublished))


def _disk_metrics(found: NewsroomHealth) -> Iterator[Metric]:
    free = {name: disk.free for name, disk in found.disks.items()}
    yield _many("disk_free_bytes", "Free bytes on the disk of this place.", "place", free)
    total = {name: disk.total for name, disk in found.disks.items()}
    yield _many("disk_size_bytes", "Size of the disk of this place.", "place", total)
    yield _one("store_size_bytes", "Size of the store.", found.store_bytes)
    skew = found.skew.total_seconds() if found.skew is not None else None
    yield _one("clock_ahead_seconds", "How far the newsroom's clock is ahead of real time.", skew)
