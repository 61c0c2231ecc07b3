"""OpenTelemetry traces: slot, edition, send, batch. They are on if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Each edition is one trace. Its id and the id of its edition's span are computed from the newsroom and the edition, so
every process that sends a part of it adds to the same trace, whatever carried the work to it. A span names editions,
lists and channels, and counts. It never names a person.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.exc import SQLAlchemyError

from tidings import __version__
from tidings.config.schedule import Schedule
from tidings.model.cadence import Slot
from tidings.model.delivery import Delivery
from tidings.model.edition import Edition
from tidings.pipeline.compose.composer import Composer, ComposeResult
from tidings.store.delivery import ledger
from tidings.store.engine import Store

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Span

    from tidings.pipeline.deliver.context import OutgoingMessage, Preparer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LAST_SECONDS = 3.0
"""Seconds that the end of a process waits for a collector that does not answer."""
log = logging.getLogger("tidings.traces")


def open_traces(site: str, store: Store) -> Traces | None:
    """Return the traces of the newsroom at the address `site`, or None if the environment does not ask for them."""
    is_off = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if is_off or not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        log.warning('no traces: install the extra: %s -m pip install "tidings[otel]"', sys.executable)
        return None
    return Traces(site, store)


class _ChosenIds:
    """An OpenTelemetry `IdGenerator`: it uses the chosen ids for the next span, else random ones."""

    def __init__(self, random: IdGenerator) -> None:
        self._random = random
        self._chosen = threading.local()

    @contextlib.contextmanager
    def chosen(self, trace: int, span: int) -> Iterator[None]:
        """Give these ids to the span that this thread starts."""
        self._chosen.ids = trace, span
        try:
            yield
        finally:
            self._chosen.ids = 0, 0

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        return getattr(self._chosen, "ids", (0, 0))[0] or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        return getattr(self._chosen, "ids", (0, 0))[1] or self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Whether the ids of traces are spread evenly, as those of a hash are."""
        return True


@dataclass
class _Run:
    """One run of the deliverer."""

    sends: dict[int, Span] = field(default_factory=dict)
    """A span for each edition with messages in the run."""
    batches: dict[int, list[Span]] = field(default_factory=dict)
    """The spans of the last batch of each thread."""


class Traces:
    """Makes the spans of one process. OpenTelemetry exports them in a thread, and drops what a collector refuses."""

    def __init__(self, site: str, store: Store) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._site = site
        self._store = store
        given: dict[str, str | int] = {"service.version": __version__, "process.pid": os.getpid()}
        if not os.environ.get("OTEL_SERVICE_NAME"):
            given["service.name"] = "tidings"
        self._ids = _ChosenIds(RandomIdGenerator())
        self._provider = TracerProvider(resource=Resource.create(given), id_generator=cast("IdGenerator", self._ids))
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("tidings", __version__)
        self._mutex = threading.Lock()
        self._run: _Run | None = None

    def close(self) -> None:
        """Export what is left, for at most a few seconds."""
        timer = threading.Timer(_LAST_SECONDS, self._exporter.shutdown)
        timer.daemon = True
        timer.start()
        self._provider.shutdown()
        timer.cancel()

    def record_edition(self, edition: Edition, slot: datetime | None, begun: int) -> None:
        """Record that an edition was composed since `begun` (nanoseconds since 1970), for a slot or on request."""
        ended = time.time_ns()
        schedule: dict[str, str | int] = {"tidings.schedule": edition.schedule}
        values = schedule | {
            "tidings.edition": edition.name,
            "tidings.state": edition.state.value,
        }
        parent = None
        if slot is not None:
            parent = "slot"
            # The slot's span shows how late it was composed. An edition that needs an approval is composed before it.
            due = min(int(slot.timestamp() * 1e9), begun)
            self._start("slot", edition.id, schedule, start=due, chosen="slot").end(ended)
        self._start(
            "edition",
            edition.id,
            values | {"tidings.stories": len(edition.stories)},
            parent=parent,
            start=begun,
            chosen="edition",
        ).end(ended)

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Record a run of the deliverer: a span for each edition with messages in the run."""
        run = self._run = _Run()
        try:
            yield
        except Exception as error:
            for span in run.sends.values():
                span.record_exception(error)
            raise
        finally:
            self._run = None
            for span in (one for spans in run.batches.values() for one in spans):
                span.end()
            for edition, span in run.sends.items():
                for state, count in self._count(edition).items():
                    span.set_attribute(f"tidings.ledger.{state}", count)
                span.end()

    def watch(self, prepare: Preparer) -> Preparer:
        """Return a preparer that also begins a span for each batch. It ends with the next batch of its thread."""

        def prepare_watched(deliveries: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]:
            self._begin_batch(deliveries)
            return prepare(deliveries)

        return prepare_watched

    def _begin_batch(self, deliveries: Sequence[Delivery]) -> None:
        run, thread = self._run, threading.get_ident()
        if run is None:
            return
        for span in run.batches.pop(thread, ()):
            span.end()
        counts = Counter((row.edition, row.schedule, row.list, row.channel) for row in deliveries)
        for (edition, schedule, list_name, channel), count in counts.items():
            if edition is None:
                continue
            with self._mutex:
                if edition not in run.sends:
                    run.sends[edition] = self._start("send", edition, {"tidings.schedule": schedule}, parent="edition")
            outlet = {"tidings.channel": channel} if channel else {"tidings.list": list_name}
            values = outlet | {"tidings.deliveries": count}
            batch = self._start("batch", edition, values, parent=run.sends[edition])
            run.batches.setdefault(thread, []).append(batch)

    def _count(self, edition: int) -> dict[str, int]:
        try:
            with self._store.read() as connection:
                return ledger.count_by_state(connection, edition=edition)
        except SQLAlchemyError:
            return {}

    def _start(
        self,
        name: str,
        edition: int,
        values: Mapping[str, str | int],
        *,
        parent: str | Span | None = None,
        start: int | None = None,
        chosen: str = "",
    ) -> Span:
        """Start a span in the trace of an edition. `chosen`: its id is the one of that name."""
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        trace = self._hash(edition, "trace", 16)
        context = Context()
        if isinstance(parent, str):
            decision = self._provider.sampler.should_sample(context, trace, name).decision
            flags = TraceFlags(TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
            above = SpanContext(trace, self._hash(edition, parent, 8), is_remote=True, trace_flags=flags)
            context = set_span_in_context(NonRecordingSpan(above), context)
        elif parent is not None:
            context = set_span_in_context(parent, context)
        with self._ids.chosen(trace, self._hash(edition, chosen, 8)) if chosen else contextlib.nullcontext():
            span: Span = self._tracer.start_span(name, context, attributes=values, start_time=start)
        return span

    def _hash(self, edition: int, what: str, length: int) -> int:
        digest = hashlib.sha256(f"tidings {what} {edition} {self._site}".encode()).digest()
        return int.from_bytes(digest[:length], "big")


class TracedComposer(Composer):
    """A composer that records each edition that it makes."""

    traces: Traces

    def compose(
        self, schedule: Schedule, now: datetime, *, slot: Slot | None = None, **options: Any
    ) -> ComposeResult | None:
        """Compose as the composer does."""
        begun = time.time_ns()
        result = super().compose(schedule, now, slot=slot, **options)
        if result is not None and result.edition is not None:
            self.traces.record_edition(result.edition, slot.at if slot is not None else None, begun)
        return result
