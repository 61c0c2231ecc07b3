"""The ticker: no wake-up is lost, no late run is dropped, and it stops when asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.jobstores.memory import MemoryJobStore

from tests.fixtures.waiting import wait_until
from tidings.runtime.watch import Ticker

NEVER = 3_600.0


class Beats:
    """A function that records its calls. `hold` keeps a call running, `fail` makes it raise."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.free = threading.Event()
        self.free.set()
        self.fail = False

    def __call__(self) -> None:
        self.at.append(time.monotonic())
        self.free.wait(120)
        if self.fail:
            raise ValueError("the relay is on fire")

    def reach(self, count: int, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while len(self.at) < count:
            assert time.monotonic() < end, f"{len(self.at)} beats, {count} wanted"
            time.sleep(0.01)


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
def ticking(beats: Beats) -> Iterator[Callable[[float], Ticker]]:
    made: list[Ticker] = []

    def start(seconds: float) -> Ticker:
        made.append(Ticker(beats, seconds))
        made[-1].start()
        return made[-1]

    yield start
    beats.free.set()
    for each in made:
        if each._scheduler.running:
            each.stop(120)


def test_it_ticks_at_once_and_then_regularly(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    begun = time.monotonic()
    ticking(0.3)
    beats.reach(4)
    assert beats.at[3] - begun > 0.8


def test_a_wake_up_during_a_tick_is_not_lost(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    """APScheduler's `max_instances` drops a run that comes due while the last one runs, without a message."""
    beats.free.clear()
    ticker = ticking(NEVER)
    beats.reach(1)
    ticker.wake()
    time.sleep(0.3)
    assert len(beats.at) == 1
    beats.free.set()
    beats.reach(2)


def test_a_long_tick_is_logged_once(
    beats: Beats, ticking: Callable[[float], Ticker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    beats.free.clear()
    ticker = ticking(NEVER)
    beats.reach(1)
    ticker.wake()

    def count() -> int:
        return [record.getMessage() for record in caplog.records].count(
            "the service still publishes or sends; it looks for changes again when that is done"
        )

    wait_until(lambda: count() > 0)
    time.sleep(0.8)
    beats.free.set()
    beats.reach(2)
    assert count() == 1


def test_it_wakes_at_the_set_time_and_not_before(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    ticker = ticking(NEVER)
    beats.reach(1)
    time.sleep(0.2)
    begun = time.monotonic()
    ticker.wake(datetime.now(UTC) + timedelta(seconds=0.6))
    # A later time does not delay it.
    ticker.wake(datetime.now(UTC) + timedelta(seconds=60))
    beats.reach(2)
    assert 0.55 < beats.at[1] - begun < 50


def test_a_run_that_is_hours_late_happens_once(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    """By default, APScheduler drops a run that is more than a second late (its issue 292)."""
    ticker = ticking(NEVER)
    beats.reach(1)
    ticker._scheduler.modify_job("cycle", next_run_time=datetime.now(UTC) - timedelta(hours=5))
    beats.reach(2)
    time.sleep(0.5)
    assert len(beats.at) == 2


def test_a_wall_clock_that_is_set_back_stops_nothing(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    ticker = ticking(0.5)
    beats.reach(1)
    # The state after somebody set the clock back by an hour.
    ticker._scheduler.modify_job("cycle", next_run_time=datetime.now(UTC) + timedelta(hours=1))
    # A run that was due before has begun and ended.
    wait_until(lambda: not ticker._scheduler._executors["default"]._instances["cycle"])
    count = len(beats.at)
    time.sleep(1)
    assert len(beats.at) == count
    ticker.keep()
    beats.reach(count + 2)


def test_a_failing_tick_is_one_log_line_and_the_next_runs(
    beats: Beats, ticking: Callable[[float], Ticker], caplog: pytest.LogCaptureFixture
) -> None:
    beats.fail = True
    ticking(0.2)
    beats.reach(3)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings and all(record.getMessage() == "a cycle failed: the relay is on fire" for record in warnings)
    assert not any(record.exc_info for record in warnings)


def test_every_alarm_of_the_library_is_logged(beats: Beats, caplog: pytest.LogCaptureFixture) -> None:
    ticker = Ticker(beats, NEVER)
    for code in (EVENT_JOB_MISSED, EVENT_JOB_ERROR):
        event = JobExecutionEvent(code, "cycle", "default", datetime.now(UTC), exception=ValueError("odd"))
        ticker._scheduler._dispatch_event(event)
    assert [record.getMessage() for record in caplog.records] == [
        "a cycle was missed; the next one does its work",
        "a cycle failed: odd",
    ]


def test_the_job_is_in_memory_and_late_runs_are_merged(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    ticker = ticking(NEVER)
    job = ticker._scheduler.get_job("cycle")
    assert (job.coalesce, job.misfire_grace_time, job.max_instances) == (True, None, 1)
    assert [type(store) for store in ticker._scheduler._jobstores.values()] == [MemoryJobStore]


def test_stop_returns_whether_the_last_tick_has_ended(beats: Beats, ticking: Callable[[float], Ticker]) -> None:
    beats.free.clear()
    ticker = ticking(NEVER)
    beats.reach(1)
    begun = time.monotonic()
    assert ticker.stop(0.3) is False
    assert time.monotonic() - begun < 60
    beats.free.set()
    assert ticker._idle.wait(60)
    ticker.wake()
    time.sleep(0.3)
    assert len(beats.at) == 1
