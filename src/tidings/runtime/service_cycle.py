"""One beat of the service: a changed configuration is taken up, then all that is due is done but for deliveries."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tidings.config.schedule import ListDelivery
from tidings.model.cadence import OnNew, OnRequest, find_slot_for_new, next_slots
from tidings.model.edition import EditionState
from tidings.model.errors import RefusedError
from tidings.pipeline import notices
from tidings.render.template_check import find_template_problems
from tidings.runtime.check import template_errors
from tidings.runtime.log import Redactor
from tidings.runtime.monitoring.heartbeat import CycleHealth
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import TickResult, first_new_story_at, tick
from tidings.runtime.watch import Stamp, configuration_stamp
from tidings.store.content import editions, schedules
from tidings.store.content.items import next_visible_at
from tidings.store.service import pauses
from tidings.store.service.clock import read_clock
from tidings.store.service.heartbeat import Heartbeat, delete_heartbeat, load_heartbeats, record_heartbeat

CLOCK_TOLERANCE = timedelta(seconds=60)
"""By so much real time may lie behind the newsroom's clock: another process was a moment ahead, or NTP set it right."""
_AHEAD = 5
log = logging.getLogger("tidings.service")


class ServiceCycle:
    """What the ticker calls. `delivering` is held by whoever sends; `stopping` says that the service ends."""

    def __init__(
        self,
        runtime: Runtime,
        redactor: Redactor,
        *,
        taken_up: Stamp,
        delivering: threading.Lock,
        stopping: threading.Event,
        only_pages: bool,
    ) -> None:
        """`taken_up` is the stamp of the configuration that `runtime` was opened with."""
        self._runtime = runtime
        self._redactor = redactor
        self._stamp = taken_up
        self._delivering = delivering
        self._stopping = stopping
        self._only_pages = only_pages
        self._refused = ""
        self._unpublished = ""
        self._faults: dict[str, str] = {}
        self._started = datetime.now(UTC)
        self._beaten = self._started
        self._signs = CycleHealth()
        self.stalled: dict[str, str] = {}
        """Lanes that cannot go on, as the deliverer finds them."""
        self.stopped = ""
        """What of the service has ended though it should not."""
        self._keep_templates()

    def run(self) -> datetime | None:
        """Do what is due; returns when something is due again by itself. Never raises."""
        if self._stopping.is_set():
            return None
        self._signs.begun = time.monotonic()
        try:
            return self._do()
        finally:
            self._beaten = datetime.now(UTC)
            with self.catch_faults("pulse"):
                self._note_pulse()
            self._signs.begun, self._signs.beaten = None, time.monotonic()

    def _do(self) -> datetime | None:
        with self.catch_faults("configuration"):
            self._take_up()
        if self._only_pages:
            return None
        with self.catch_faults("beat"):
            self._report(self._tick())
            self._signs.ticked = time.monotonic()
        with self.catch_faults("next"):
            return find_next_moment(self._runtime, self._runtime.now())
        return None

    # -- signs of life ------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, object]:
        """For /healthz: how old the signs of life are, in seconds, and why that is no life, if so."""
        found = self._signs.health(time.monotonic(), only_pages=self._only_pages)
        return found | {"ok": False, "reason": self.stopped} if self.stopped else found

    def pulse(self) -> Heartbeat:
        """How this service fares, as far as it knows itself."""
        return Heartbeat(
            owner=self._runtime.owner,
            started=self._started,
            beat=self._beaten,
            only_pages=self._only_pages,
            refused=self._refused,
            faults=dict(self._faults),
            stalled={lane: self._redactor.text(reason) for lane, reason in self.stalled.items()},
        )

    def _note_pulse(self) -> None:
        """Write it down, and forget services that are dead: their last sign has been seen by who watches."""
        with self._runtime.store.read() as connection:
            others = [one.owner for one in load_heartbeats(connection) if one.owner != self._runtime.owner]
        dead = [owner for owner in others if not self._runtime.liveness.is_alive(owner)]
        with self._runtime.store.write() as connection:
            for owner in dead:
                delete_heartbeat(connection, owner)
            record_heartbeat(connection, self.pulse())

    def end(self) -> None:
        """The service ends in order: it leaves no sign of life."""
        with self.catch_faults("pulse"), self._runtime.store.write() as connection:
            delete_heartbeat(connection, self._runtime.owner)

    # -- faults -------------------------------------------------------------------------------------------------------

    @contextmanager
    def catch_faults(self, what: str) -> Iterator[None]:
        """A fault goes no further: logged if it is of another kind than last time, and told once a day."""
        try:
            yield
        except Exception as error:
            self._fault(what, error)
        else:
            if self._faults.pop(what, ""):
                log.info("%s: works again", what)

    def _fault(self, what: str, error: Exception) -> None:
        said = self._redactor.text(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
        if self._faults.get(what) != type(error).__name__:
            self._faults[what] = type(error).__name__
            log.error("%s: a fault, the next one tries again: %s", what, said)
        now = self._runtime.now()
        try:
            with self._runtime.store.write() as connection:
                key = f"fault:{what}:{type(error).__name__}:{now.date()}"
                notices.add(connection, key, "failed", f"The service met a fault and goes on: {said}", now)
        except Exception as another:
            log.error("and it cannot be noted: %s", type(another).__name__)

    # -- configuration ------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """A changed configuration, between two beats; a broken one changes nothing, and somebody is told."""
        stamp = configuration_stamp(self._runtime.root)
        if stamp == self._stamp:
            return
        loaded = load_newsroom(self._runtime.root)
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
        # The deliverer gives its leases back after the message on the wire, and goes on with the new settings.
        self._runtime.stop()
        with self._delivering:
            if self._stopping.is_set():
                return
            self._runtime.apply_configuration(newsroom)
            self._keep_templates()
            self._redactor.secrets = tuple(sorted({*newsroom.secrets, *self._redactor.secrets}, key=len, reverse=True))
        log.info("the changed configuration is taken up")
        if (newsroom.store, newsroom.web) != (before.store, before.web):
            log.warning("`store` and `web` hold from the next start on: stop `tidings run` and start it again")

    def _keep_templates(self) -> None:
        """Read every mail template that is used into memory: one that is broken on disk later changes nothing."""
        templates, newsroom = self._runtime.templates, self._runtime.newsroom
        parts = (part for schedule in newsroom.schedules.values() for part in schedule.deliver)
        for name in sorted({part.template for part in parts if isinstance(part, ListDelivery)}):
            # Found to be good already; its trial loads whatever it includes.
            find_template_problems(templates, name, languages=newsroom.site.languages)
        templates.environment.auto_reload = False

    def _refuse(self, said: str) -> None:
        said = self._redactor.text(said)
        if said == self._refused:
            return
        self._refused = said
        log.warning("the changed configuration is refused, the last good one stays:\n%s", said)
        now = self._runtime.now()
        key = f"config:{hashlib.sha256(said.encode()).hexdigest()[:16]}:{now.date()}"
        with self._runtime.store.write() as connection:
            text = f"A changed configuration is refused, and the last good one stays:\n{said}"
            notices.add(connection, key, "refused", text, now)

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
                # Another process moved the clock on between our two looks at it.
                if not left:
                    raise
        raise AssertionError

    def _report(self, done: TickResult) -> None:
        if done.restored:
            log.warning("%s", done.restored)
        if done.collected is not None and done.collected.has_changes:
            parts = (done.collected.new, done.collected.changed, done.collected.gone)
            log.info("content: %d new, %d changed, %d gone", *map(len, parts))
        if done.published is not None and (done.published.written or done.published.removed):
            log.info("public/: %d written, %d removed", len(done.published.written), len(done.published.removed))
        if done.unpublished and done.unpublished != self._unpublished:
            log.warning("pages and feeds stay as they are: %s", done.unpublished)
        self._unpublished = done.unpublished
        for one in done.composed:
            if one.edition is None:
                log.info("%s: skipped, %s", one.schedule, one.reason)
                continue
            log.info("%s: %s, %d stories", one.edition.name, one.edition.state.value, len(one.edition.stories))
            for hold in one.edition.holds:
                log.warning("%s is held: %s", one.edition.name, hold.detail)


def find_next_moment(runtime: Runtime, now: datetime) -> datetime | None:
    """The next moment at which something is due by itself."""
    moments: list[datetime | None] = []
    with runtime.store.read() as connection:
        moments.append(next_visible_at(connection, now))
        waiting = editions.list_editions(connection, states=[EditionState.HELD, EditionState.SENDING])
        moments += [edition.starts for edition in waiting]
        moments += [one.until for one in pauses.active_pauses(connection)]
        for schedule in runtime.newsroom.schedules.values():
            rule = schedule.cadence.rule
            if isinstance(rule, OnRequest):
                continue
            if isinstance(rule, OnNew):
                state = schedules.find_schedule(connection, schedule.name)
                if state is not None and rule.settle:
                    first = first_new_story_at(runtime, connection, schedule, now, state.last_cut or state.baseline)
                    moments.append(find_slot_for_new(schedule.cadence, first).at if first else None)
                continue
            ahead = schedule.approval.ahead if schedule.approval else timedelta(0)
            moments += [slot.at - ahead for slot in next_slots(schedule.cadence, now, _AHEAD)]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
