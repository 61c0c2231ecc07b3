"""The ticker, and nothing more of APScheduler: what is due is decided by our own arithmetic and claimed in the store.

Its traps, each met here: a job store of pickles is code in the database (so: memory); a run that is a second late falls
away without a word (so: no misfire limit, late ones merged); a run that comes due while the last one works falls away
too (so: it is asked for again); it waits by the wall clock, which somebody may set back (so: `keep`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

_JOB = "beat"
_AGAIN = timedelta(seconds=0.5)
"""How soon to ask again for a beat while the last one still works."""
log = logging.getLogger("tidings.clock")


class Ticker:
    """Calls `beat` every so many seconds, one call at a time, and sooner when woken."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._mutex = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._waited = False
        self._last = time.monotonic()
        # What it has to say comes by the events below, in one line each.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )
        self._scheduler.add_listener(self._alarm, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        trigger = IntervalTrigger(seconds=seconds, timezone=UTC)
        self._scheduler.add_job(self._run, trigger, id=_JOB, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        """The first beat comes at once."""
        self._scheduler.start()

    def wake(self, moment: datetime | None = None) -> None:
        """Beat at `moment`, or at once; never later than the next regular beat. From any thread, also from a beat."""
        now = datetime.now(UTC)
        soon = max(moment or now, now)
        with self._mutex:
            job = self._scheduler.get_job(_JOB)
            if job is None or soon >= job.next_run_time:
                return
            try:
                self._scheduler.modify_job(_JOB, next_run_time=soon)
            except JobLookupError:
                # Stopped in between.
                return

    def keep(self) -> None:
        """Called now and then: beats where the wall clock was set back, by which the next beat is hours away."""
        if self._idle.is_set() and time.monotonic() - self._last > 1.5 * self._seconds:
            self._last = time.monotonic()
            self.wake()

    def stop(self, seconds: float) -> bool:
        """No further beat; waits so long for the one that runs. False if that one still does."""
        self._scheduler.shutdown(wait=False)
        return self._idle.wait(max(seconds, 0.0))

    def _run(self) -> None:
        self._idle.clear()
        try:
            self._beat()
        finally:
            self._waited = False
            self._last = time.monotonic()
            self._idle.set()

    def _alarm(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_MAX_INSTANCES:
            # Dropped by APScheduler: what woke it (a changed file, a slot) would wait for the next regular beat.
            if not self._waited:
                log.info("the last beat is still at work; the next one follows it")
            self._waited = True
            self.wake(datetime.now(UTC) + _AGAIN)
        elif event.code == EVENT_JOB_MISSED:
            log.warning("a beat was missed; the next one does its work")
        else:
            log.error("a beat failed: %s", getattr(event, "exception", ""))
