"""One cycle of the service: load a changed configuration, then do everything that is due except deliveries."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tidings import __version__
from tidings.config.schedule import ListDelivery
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.pipeline import notices
from tidings.pipeline.compose.due import find_next_moment
from tidings.pipeline.deliver.recovery import recover
from tidings.render.template_check import find_template_problems
from tidings.runtime.check import template_errors
from tidings.runtime.monitoring.log import Redactor
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import TickResult, tick
from tidings.runtime.watch import Stamp, configuration_stamp, configuration_version
from tidings.store.delivery.failover import is_settled
from tidings.store.engine import describe_fault
from tidings.store.service.clock import read_clock
from tidings.store.service.heartbeat import Heartbeat, ProcessRole, delete_heartbeat, load_heartbeats, record_heartbeat

CLOCK_TOLERANCE = timedelta(seconds=60)
"""Real time may be this far behind the newsroom's clock: another process was ahead, or NTP corrected this machine."""
MAX_SILENCE = 120.0
"""Seconds without a cycle (there is one every 30) after which the ticker counts as dead."""
MAX_CYCLE = 900.0
"""Seconds that one cycle may take: composing for a million readers takes a few minutes."""
MAX_FAILED_TICKS = 3
"""Ticks that may fail in a row. There is one every 30 seconds, and sooner after a change."""
MAX_FAILING = 60.0
"""Seconds without a successful tick after which failed ticks count."""
_TASKS = {"beat": "cycle", "next": "search for the next due moment", "pulse": "heartbeat"}
"""Names in the log of tasks that have another key in the store and the metrics."""
log = logging.getLogger("tidings.service")


@dataclass(slots=True)
class CycleHealth:
    """Times of the last work of the service, by `time.monotonic`, which cannot be set back."""

    cycle_ended: float = field(default_factory=time.monotonic)
    """End of the last cycle."""
    tick_ended: float = field(default_factory=time.monotonic)
    """End of the last successful tick."""
    cycle_began: float | None = None
    """Start of the running cycle; None between two cycles."""
    failed_ticks: int = 0
    """Ticks since the last successful one."""

    def health(self, now: float, *, only_pages: bool) -> dict[str, object]:
        """Return `ok`, ages in seconds, and a `reason` if the service is not healthy. Nothing secret: it is public."""
        reason = self._reason(now, only_pages)
        result: dict[str, object] = {"ok": not reason, "beat_age": round(now - self.cycle_ended, 1)}
        if not only_pages:
            result["tick_age"] = round(now - self.tick_ended, 1)
        return result | ({"reason": reason} if reason else {})

    def is_hanging(self, now: float) -> bool:
        """Whether the cycle or the ticker does not go on."""
        began = self.cycle_began
        return now - began > MAX_CYCLE if began is not None else now - self.cycle_ended > MAX_SILENCE

    def _reason(self, now: float, only_pages: bool) -> str:
        if not only_pages and self.failed_ticks >= MAX_FAILED_TICKS and now - self.tick_ended > MAX_FAILING:
            return f"no tick succeeded for {now - self.tick_ended:.0f} seconds; see the log"
        if self.cycle_began is not None:
            minutes = (now - self.cycle_began) / 60
            return f"one cycle has been running for {minutes:.0f} minutes" if now - self.cycle_began > MAX_CYCLE else ""
        if now - self.cycle_ended > MAX_SILENCE:
            return f"the ticker stopped: no cycle for {now - self.cycle_ended:.0f} seconds"
        return ""


class ServiceCycle:
    """The work of the ticker's thread. The sending thread holds `delivering`. `stopping` is set at the end."""

    def __init__(
        self,
        runtime: Runtime,
        redactor: Redactor,
        *,
        stamp: Stamp,
        delivering: threading.Lock,
        stopping: threading.Event,
        role: ProcessRole = ProcessRole.ALL,
        queues: str = "",
    ) -> None:
        """`stamp`: that of the configuration with which `runtime` was opened."""
        self._runtime = runtime
        self._redactor = redactor
        self._stamp = stamp
        self._delivering = delivering
        self._stopping = stopping
        self._role = role
        self._queues = queues
        self._configuration = configuration_version(runtime.root)
        self._refused = ""
        self._unpublished = ""
        self._unread: dict[str, str] = {}
        """Sources that the last tick could not read, with the reason."""
        self.unfetched: dict[str, str] = {}
        """Sources on the network whose last fetch failed, with the reason."""
        self._faults: dict[str, tuple[str, str]] = {}
        """The type of the last error of each task, and its text."""
        self._started = datetime.now(UTC)
        self._last_cycle = self._started
        self._health = CycleHealth()
        self.stalled: dict[str, str] = {}
        """The reason why a lane cannot send, by lane, as the deliverer reports it."""
        self.clock_ahead = ""
        """Why nothing is published or sent: the newsroom's clock is ahead of real time."""
        self.stopped = ""
        """The part of the service that ended unexpectedly."""
        self._preload_templates()

    def run(self) -> datetime | None:
        """Do what is due. Returns the next moment at which something is due. Never raises."""
        if self._stopping.is_set():
            return None
        self._health.cycle_began = time.monotonic()
        try:
            return self._run()
        finally:
            self._last_cycle = datetime.now(UTC)
            with self.catch_faults("pulse"):
                self._store_heartbeat()
            self._health.cycle_began, self._health.cycle_ended = None, time.monotonic()

    def _run(self) -> datetime | None:
        with self.catch_faults("configuration"):
            self._load_changes()
        if self._role.sends and self._delivering.acquire(blocking=False):
            # Otherwise the run that is sending does it at its end, or the next one at its beginning.
            try:
                with self.catch_faults("beat"):
                    self._runtime.settle_failover()
            finally:
                self._delivering.release()
        if not self._role.ticks:
            if self._role.sends:
                with self.catch_faults("beat"):
                    self._prepare_to_send()
            return None
        with self.catch_faults("beat"):
            self._health.failed_ticks += 1
            if self._is_clock_ahead():
                self._health.failed_ticks = 0
                return None
            self._report(self._tick())
            self._health.tick_ended, self._health.failed_ticks = time.monotonic(), 0
        with self.catch_faults("next"):
            return find_next_moment(self._runtime.composer, self._runtime.now())
        return None

    def _prepare_to_send(self) -> None:
        """Do the part of a tick that a worker needs: its locks, the clock, and the deliveries of dead workers."""
        runtime = self._runtime
        self._health.failed_ticks += 1
        runtime.occupancy.refresh()
        if not self._is_clock_ahead():
            recover(runtime.store, runtime.liveness, now=runtime.now(), policies=runtime.resend_policies())
        self._health.tick_ended, self._health.failed_ticks = time.monotonic(), 0

    # -- heartbeat ----------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, object]:
        """Return the answer of /healthz."""
        health = self._health.health(time.monotonic(), only_pages=self._role is ProcessRole.PAGES)
        reason = self.stopped or self.clock_ahead
        wrong = {"pages": self._unpublished} if self._unpublished else {}
        wrong |= {f"source {name}": problem for name, problem in (self._unread | self.unfetched).items()}
        if wrong:
            # These stop neither the mail nor the rest of the pages, so the service is healthy.
            health["wrong"] = {name: self._redactor.text(text) for name, text in wrong.items()}
        return health | {"ok": False, "reason": reason} if reason else health

    def is_hanging(self) -> bool:
        """Whether a restart would help: a cycle never ends, the ticker or the sending thread stopped."""
        return bool(self.stopped) or self._health.is_hanging(time.monotonic())

    def make_heartbeat(self) -> Heartbeat:
        """Return the present state of this service."""
        return Heartbeat(
            owner=self._runtime.owner,
            started=self._started,
            beat=self._last_cycle,
            role=self._role,
            queues=self._queues,
            host=socket.gethostname(),
            version=__version__,
            configuration=self._configuration,
            refused=self._refused,
            catches=self._runtime.is_caught,
            faults={task: text for task, (_, text) in self._faults.items()},
            stalled={lane: self._redactor.text(reason) for lane, reason in self.stalled.items()},
        )

    def _store_heartbeat(self) -> None:
        """Store the heartbeat, and delete those of dead services: monitoring has seen their last one."""
        with self._runtime.store.read() as connection:
            owners = [heartbeat.owner for heartbeat in load_heartbeats(connection)]
        own, liveness = self._runtime.owner, self._runtime.liveness
        dead = [owner for owner in owners if owner != own and not liveness.is_alive(owner)]
        if not is_settled(self._runtime.store, datetime.now(UTC)):
            dead = []  # After a failover, they may not have connected again.
        with self._runtime.store.write() as connection:
            for owner in dead:
                delete_heartbeat(connection, owner)
            record_heartbeat(connection, self.make_heartbeat())

    def end(self) -> None:
        """Delete the heartbeat when the service ends normally."""
        with self.catch_faults("pulse"), self._runtime.store.write() as connection:
            delete_heartbeat(connection, self._runtime.owner)

    # -- faults -------------------------------------------------------------------------------------------------------

    @contextmanager
    def catch_faults(self, task: str) -> Iterator[None]:
        """Catch every exception. Log it if its type differs from the last one, and send one notice a day."""
        try:
            yield
        except Exception as error:
            self._record_fault(task, error)
        else:
            if self._faults.pop(task, None):
                log.info("no more errors in: %s", _TASKS.get(task, task))

    def _record_fault(self, task: str, error: Exception) -> None:
        text = describe_fault(error, self._redactor.text)
        is_new = self._faults.get(task, ("", ""))[0] != type(error).__name__
        self._faults[task] = type(error).__name__, text
        if is_new:
            log.error("error in %s, tried again in the next cycle: %s", _TASKS.get(task, task), text)
        now = self._runtime.now()
        try:
            with self._runtime.store.write() as connection:
                key = f"fault:{task}:{type(error).__name__}:{now.date()}"
                notices.add(connection, key, "failed", f"The service had an error and continues: {text}", now)
        except Exception as another:
            log.error("the notice about this error cannot be stored: %s", describe_fault(another))

    # -- configuration ------------------------------------------------------------------------------------------------

    def _load_changes(self) -> None:
        """Load a changed configuration. A configuration with errors changes nothing and causes a notice."""
        stamp = configuration_stamp(self._runtime.root)
        if stamp == self._stamp:
            return
        loaded = load_newsroom(self._runtime.root, needs="yaml" if self._runtime.is_caught else "everything")
        self._stamp = stamp
        problems = [problem for problem in loaded.problems if problem.level == "error"]
        newsroom = loaded.newsroom
        if newsroom is not None:
            problems += template_errors(newsroom)
        if newsroom is None or problems:
            self._refuse("\n".join(str(problem) for problem in problems))
            return
        self._refused = ""
        before = self._runtime.newsroom
        # The deliverer finishes the current message, returns its leases, and continues with the new settings.
        self._runtime.stop()
        with self._delivering:
            if self._stopping.is_set():
                return
            self._runtime.apply_configuration(newsroom)
            self._configuration = configuration_version(self._runtime.root)
            self._preload_templates()
            self._redactor.secrets = tuple(sorted({*newsroom.secrets, *self._redactor.secrets}, key=len, reverse=True))
        log.info("the changed configuration is loaded")
        has_engine = newsroom.engine is not None
        if (newsroom.store, newsroom.web, has_engine) != (before.store, before.web, before.engine is not None):
            log.warning("changes of `store`, `web` and `engine` need a restart: stop `tidings run` and start it again")

    def _preload_templates(self) -> None:
        """Load every used mail template into memory, so that later errors on disk change nothing."""
        templates, newsroom = self._runtime.templates, self._runtime.newsroom
        parts = (part for schedule in newsroom.schedules.values() for part in schedule.deliver)
        for name in sorted({part.template for part in parts if isinstance(part, ListDelivery)}):
            # The templates were checked before. The check loads all that they include.
            find_template_problems(templates, name, languages=newsroom.site.languages)
        templates.environment.auto_reload = False

    def _refuse(self, problems: str) -> None:
        problems = self._redactor.text(problems)
        if problems == self._refused:
            return
        self._refused = problems
        log.warning("the changed configuration has errors; the last good one stays in use:\n%s", problems)
        now = self._runtime.now()
        key = f"config:{hashlib.sha256(problems.encode()).hexdigest()[:16]}:{now.date()}"
        with self._runtime.store.write() as connection:
            text = f"The changed configuration has errors. The last good one stays in use. Correct this:\n{problems}"
            notices.add(connection, key, "refused", text, now)

    def _is_clock_ahead(self) -> bool:
        """Whether nothing may be published or sent, because the newsroom's clock is ahead of real time."""
        with self._runtime.store.read() as connection:
            reached = read_clock(connection)
        was_ahead, self.clock_ahead = self.clock_ahead, ""
        if reached is not None and reached > self._runtime.now() + CLOCK_TOLERANCE:
            moment = reached.astimezone(self._runtime.newsroom.site.zone)
            self.clock_ahead = (
                f"The newsroom's clock is ahead, at {moment:%Y-%m-%d %H:%M}. Nothing is published or sent until then. "
                "If this machine's clock is right: tidings clock --set now"
            )
        if self.clock_ahead and not was_ahead:
            log.warning("%s", self.clock_ahead)
            now = self._runtime.now()
            with self._runtime.store.write() as connection:
                notices.add(connection, f"clock-ahead:{now.date()}", "failed", self.clock_ahead, now)
        elif was_ahead and not self.clock_ahead:
            log.info("the newsroom's clock is right again")
        return bool(self.clock_ahead)

    # -- what is due --------------------------------------------------------------------------------------------------

    def _tick(self) -> TickResult:
        for left in (2, 1, 0):
            with self._runtime.store.read() as connection:
                reached = read_clock(connection)
            now = self._runtime.now()
            if reached is not None and now < reached <= now + CLOCK_TOLERANCE:
                now = reached
            try:
                return tick(self._runtime, now, deliver=False)
            except RefusedError:
                # Another process advanced the clock meanwhile.
                if not left:
                    raise
        raise AssertionError

    def _report(self, result: TickResult) -> None:
        collected, published = result.collected, result.published
        if result.restored:
            log.warning("%s", result.restored)
        if collected is not None and collected.has_changes:
            parts = (collected.new, collected.changed, collected.gone)
            log.info("content: %d new, %d changed, %d gone", *map(len, parts))
        if published is not None and (published.written or published.removed):
            log.info("public/: %d written, %d removed", len(published.written), len(published.removed))
        if result.unpublished and result.unpublished != self._unpublished:
            log.warning("pages and feeds are not up to date: %s", result.unpublished)
        self._unpublished = result.unpublished
        self._unread = dict(collected.unread) if collected is not None else {}
        for name, change in result.edited.items():
            log.info("%s: %s", name, change)
        for composed in result.composed:
            edition = composed.edition
            if edition is None:
                log.info("%s: skipped, %s", composed.schedule, composed.reason)
                continue
            stories = count_noun(len(edition.stories), "story", "stories")
            log.info("%s: %s, %s", edition.name, edition.state.value, stories)
            for hold in edition.holds:
                log.warning("%s is held: %s", edition.name, hold.detail)
