"""The ticker, and nothing more of APScheduler: what is due is decided by our own arithmetic and claimed in the store.

A job in memory, for its own job stores pickle; merged when late, and never dropped for being late (its default lets a
run that is a second late fall away without a word).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

_JOB = "beat"
log = logging.getLogger("tidings.clock")


class Ticker:
    """Calls `beat` every so many seconds, one call at a time, and sooner when woken."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._every = timedelta(seconds=seconds)
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )
        self._scheduler.add_listener(_alarm, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
        self._scheduler.add_job(
            beat, IntervalTrigger(seconds=int(max(seconds, 1)), timezone=UTC), id=_JOB, next_run_time=datetime.now(UTC)
        )

    def start(self) -> None:
        """The first beat comes at once."""
        self._scheduler.start()

    def wake(self, moment: datetime | None = None) -> None:
        """Beat at `moment`, or at once; never later than the next regular beat."""
        now = datetime.now(UTC)
        soon = max(moment or now, now)
        job = self._scheduler.get_job(_JOB)
        if job is not None and (job.next_run_time is None or soon < job.next_run_time):
            self._scheduler.modify_job(_JOB, next_run_time=soon)

    def stop(self) -> None:
        """No further beat; the one that runs ends first."""
        self._scheduler.shutdown(wait=True)


def _alarm(event: JobEvent) -> None:
    if event.code == EVENT_JOB_MAX_INSTANCES:
        log.info("a beat is still at work; the next one follows it")
    elif event.code == EVENT_JOB_MISSED:
        log.warning("a beat was missed")
    else:
        log.error("a beat failed: %s", getattr(event, "exception", ""))
