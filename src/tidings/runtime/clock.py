"""The ticker, on APScheduler. Our own code decides what is due, and slots are claimed in the store.

This module avoids four traps of APScheduler. Stored jobs are pickles, so a database could run code: jobs stay in
memory. A run that is a second late is dropped silently: there is no misfire limit, and late runs merge. A run that
comes due during the previous one is dropped too: it is requested again. The wall clock can be set back: see `keep`.
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

_JOB = "cycle"
_AGAIN = timedelta(seconds=0.5)
"""Delay before a cycle is requested again while the last one is still running."""
log = logging.getLogger("tidings.clock")


class Ticker:
    """Calls `run_cycle` every `seconds` seconds, one call at a time, and sooner when woken."""

    def __init__(self, run_cycle: Callable[[], None], seconds: float) -> None:
        self._run_cycle = run_cycle
        self._seconds = seconds
        self._mutex = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._is_reported = False
        self._last = time.monotonic()
        # APScheduler's messages arrive as events (`_alarm`), one line each.
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
        """Start. The first cycle runs at once."""
        self._scheduler.start()

    def wake(self, moment: datetime | None = None) -> None:
        """Run a cycle at `moment` or at once, never later than the next regular one. Callable from any thread."""
        now = datetime.now(UTC)
        soon = max(moment or now, now)
        with self._mutex:
            job = self._scheduler.get_job(_JOB)
            if job is None or soon >= job.next_run_time:
                return
            try:
                self._scheduler.modify_job(_JOB, next_run_time=soon)
            except JobLookupError:
                # The ticker was stopped meanwhile.
                return

    def keep(self) -> None:
        """Run a cycle if the wall clock was set back, which would delay the next one for hours. Call it regularly."""
        if self._idle.is_set() and time.monotonic() - self._last > 1.5 * self._seconds:
            self._last = time.monotonic()
            self.wake()

    def stop(self, seconds: float) -> bool:
        """Start no further cycle, and wait for the running one. Returns False if it is still running."""
        self._scheduler.shutdown(wait=False)
        return self._idle.wait(max(seconds, 0.0))

    def _run(self) -> None:
        self._idle.clear()
        try:
            self._run_cycle()
        finally:
            self._is_reported = False
            self._last = time.monotonic()
            self._idle.set()

    def _alarm(self, event: JobEvent) -> None:
        if event.code == EVENT_JOB_MAX_INSTANCES:
            # APScheduler dropped this run. Request it again: a changed file or a slot must not wait a whole cycle.
            if not self._is_reported:
                log.info("the last cycle is still running; the next one follows it")
            self._is_reported = True
            self.wake(datetime.now(UTC) + _AGAIN)
        elif event.code == EVENT_JOB_MISSED:
            log.warning("a cycle was missed; the next one does its work")
        else:
            log.error("a cycle failed: %s", getattr(event, "exception", ""))
