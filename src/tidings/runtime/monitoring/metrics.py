"""What Prometheus collects: read from the store when asked, so that any process may answer and none need count.

Labels are names out of the configuration and words of ours, so that there are never many, and never an address of a
reader or of a service. `docs/alerts.yaml` has an alert for each failure that these tell of.
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
"""Seconds for which one look at the store answers everybody who asks."""
_GROWING = (DeliveryState.ACCEPTED, DeliveryState.REJECTED, DeliveryState.QUARANTINED)
"""States that a delivery never leaves, and that none is taken out of but by `keep`, which counts it."""
_FAULTS = ("configuration", "beat", "next", "deliveries", "pulse")
_SLOTS = ("fired", "skipped", "merged")
log = logging.getLogger("tidings.metrics")


class Metrics:
    """The answer to a scrape. `own` says how this process itself fares, which it knows though the store be gone."""

    def __init__(self, runtime: Runtime, own: Callable[[], Heartbeat] | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Newsroom(runtime, own))
        # Memory, CPU and open files of this process.
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text and its Content-Type, in the form that an Accept header asks for."""
        try:
            encode, kind = choose_encoder(accept)
        except (ValueError, TypeError):
            # An Accept header that nobody can read.
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
        """Nothing ahead of time: to be registered costs no look at the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        found = self._look()
        yield _one("store_up", "1 where the store can be read.", found is not None)
        yield _one("time_seconds", "What time this machine believes it is.", datetime.now(UTC))
        yield _one("collect_seconds", "What the last look at the store took.", self._took)
        yield InfoMetricFamily("tidings", "Versions.", value=self._versions())
        own = self._own() if self._own is not None else None
        services = [one for one in (found.services if found else ()) if own is None or one.owner != own.owner]
        yield from _of_services([*services, *([own] if own else [])], self._runtime)
        if found is not None:
            yield from _of_deliveries(found)
            yield from _of_editions(found, self._runtime)
            yield from _of_sources(found, self._runtime)
            yield from _of_place(found)

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
    """A gauge without labels; a moment is seconds since 1970, and what is not known is left out."""
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


def _of_services(services: list[Heartbeat], runtime: Runtime) -> Iterator[Metric]:
    kinds = {kind: [one for one in services if one.only_pages == (kind == "pages")] for kind in ("full", "pages")}
    yield _many("services", "Services that live.", "kind", {kind: len(those) for kind, those in kinds.items()})
    beats = {kind: max(one.beat for one in those) for kind, those in kinds.items() if those}
    yield _many("last_beat_timestamp_seconds", "When the last beat ended, well or not.", "kind", beats)
    refused = any(one.refused for one in services)
    yield _one("configuration_refused", "1 where a changed configuration is not taken up.", refused)
    faults = {what: any(what in one.faults for one in services) for what in _FAULTS}
    yield _many("service_fault", "1 where this fails again and again; the log says how.", "what", faults)
    lanes = {"mail": "", **{f"channel:{name}": name for name in runtime.newsroom.channels}}
    stalled = {label: any(lane in one.stalled for one in services) for label, lane in lanes.items()}
    yield _many("lane_stalled", "1 where what is due cannot go this way.", "lane", stalled)


def _of_deliveries(found: NewsroomHealth) -> Iterator[Metric]:
    vitals = found.vitals
    counts = {state.value: vitals.deliveries.get(state, 0) for state in DeliveryState}
    yield _many("deliveries", "Deliveries by state.", "state", counts)
    for state in _GROWING:
        about = f"Deliveries that ended as {state.value}."
        yield CounterMetricFamily(f"tidings_deliveries_{state.value}", about, value=counts[state.value])
    yield _one("last_accepted_timestamp_seconds", "About when the last delivery was accepted.", vitals.accepted_at)
    yield _one("queue_pending", "Deliveries that may go now.", vitals.queued)
    yield _one(
        "queue_since_timestamp_seconds", "When the oldest mailing in the queue was to begin.", vitals.queued_since
    )
    yield _one("deferred_overdue", "Deferred deliveries whose moment has passed.", vitals.overdue)
    yield _one("in_doubt_for_a_person", "In doubt, and nothing settles them but `tidings resolve`.", vitals.doubtful)
    yield _one("in_doubt_since_timestamp_seconds", "Since when the oldest is in doubt.", vitals.doubtful_since)
    yield _one("quarantined_lately", "Quarantined within the last week.", vitals.quarantined)
    down = {name: not health.is_up(found.real_now) for name, health in found.senders.items()}
    yield _many("sender_down", "1 while a sender of mail rests after a failure.", "sender", down)
    failures = {name: health.failures for name, health in found.senders.items()}
    yield _many("sender_failures", "Failures of a sender in a row; 0 once it has taken a message.", "sender", failures)
    yield _one(
        "dead_owners", "Processes that died with deliveries in hand and were not taken over.", len(found.dead_owners)
    )
    yield _one("services_died", "Services that ended without saying so.", len(found.died))


def _of_editions(found: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    vitals, names = found.vitals, runtime.newsroom.schedules
    states = {
        state.value: sum(one.state is state for one in vitals.open_editions)
        for state in (EditionState.COMPOSING, EditionState.HELD, EditionState.SENDING)
    }
    yield _many("editions", "Editions that are not over, by state.", "state", states)
    held = {reason.value: count for reason, count in vitals.held_by_reason.items()}
    yield _many("editions_held", "Editions that wait for a person, by reason.", "reason", held)
    yield _one(
        "edition_composing_since_timestamp_seconds",
        "Since when the oldest edition is being composed.",
        min((one.cutoff for one in vitals.open_editions if one.state is EditionState.COMPOSING), default=None),
    )
    paused = {scope.value: sum(one.scope is scope for one in vitals.pauses) for scope in Scope}
    yield _many("paused", "What a person has stopped for a while.", "scope", paused)
    since = min((one.since for one in vitals.pauses), default=None)
    yield _one("paused_since_timestamp_seconds", "Since when the oldest pause holds.", since)
    slots = CounterMetricFamily("tidings_slots", "Slots by what became of them.", labels=["schedule", "state"])
    for name in names:
        for state in _SLOTS:
            slots.add_metric([name, state], vitals.slots.get((name, state), 0))
    yield slots
    late = {name: (found.now - found.overdue[name]).total_seconds() if name in found.overdue else 0 for name in names}
    yield _many("schedule_overdue_seconds", "Age of the first slot that came and was not settled.", "schedule", late)


def _of_sources(found: NewsroomHealth, runtime: Runtime) -> Iterator[Metric]:
    names = runtime.newsroom.sources
    aside = {name: found.vitals.set_aside.get(name, 0) for name in names}
    yield _many("items_set_aside", "Items that could not be taken, by source.", "source", aside)
    tick = found.tick
    yield _one("last_tick_timestamp_seconds", "When the last tick ended well.", tick.at if tick else None)
    read = {name: tick.read[name] for name in names if tick and name in tick.read}
    yield _many("source_read_timestamp_seconds", "When a source was last read and believed.", "source", read)
    asked = {name: one.fetched for name, one in found.sources.items() if one.fetched}
    yield _many("source_fetched_timestamp_seconds", "When a website last answered well.", "source", asked)
    failing = {name: bool(one.problem) for name, one in found.sources.items()}
    yield _many("source_failing", "1 where a website cannot be read.", "source", failing)
    silent = {name: one.is_silent for name, one in found.sources.items()}
    yield _many("source_silent", "1 where a website is silent for longer than its habit.", "source", silent)
    yield _one("pages_refused", "1 where pages and feeds stay as they are.", bool(tick and tick.unpublished))


def _of_place(found: NewsroomHealth) -> Iterator[Metric]:
    free = {name: disk.free for name, disk in found.disks.items()}
    yield _many("disk_free_bytes", "Free on the disk of this place.", "place", free)
    total = {name: disk.total for name, disk in found.disks.items()}
    yield _many("disk_size_bytes", "Size of the disk of this place.", "place", total)
    yield _one("store_size_bytes", "What the store takes.", found.store_bytes)
    skew = found.skew.total_seconds() if found.skew is not None else None
    yield _one("clock_ahead_seconds", "By how much the newsroom's clock is ahead of real time.", skew)
