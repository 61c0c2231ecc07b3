"""What wakes the service: a ticker, and changes in the newsroom's folder, which are found at once.

Our own code decides what is due, and slots are claimed in the store.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from watchfiles import Change, watch

from tidings.config.file_reader import MAIN, SECRETS
from tidings.runtime.newsroom import KEYS

FOLDERS = ("schedules", "templates")
_GATHER, _STEP, _LOOK = 400, 50, 500
"""Milliseconds: how long changes are collected, how often they are read, and how soon `stop` is noticed."""

_JOB = "cycle"
_AGAIN = timedelta(seconds=0.5)
"""Delay before a cycle is requested again while the last one is still running."""
log = logging.getLogger("tidings.clock")

Stamp = tuple[tuple[str, int, int], ...]


def configuration_stamp(root: Path) -> Stamp:
    """Return the names, times and sizes of tidings.yaml, secrets.env and the files in schedules/ and templates/.

    For places without change events: network shares, and machines whose watches are used up.
    """
    stamp = []
    for path in [root / MAIN, root / SECRETS, *(file for name in FOLDERS for file in sorted((root / name).rglob("*")))]:
        try:
            stat = path.stat()
        except OSError:
            continue
        if path.is_file():
            stamp.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(stamp)


def configuration_version(root: Path) -> str:
    """Return a short hash of the settings, schedules, templates and keys: the same on machines with the same files.

    Secrets count by their names only: a password may differ from machine to machine.
    """
    digest = hashlib.sha256()
    for path in [root / MAIN, root / KEYS, *(file for name in FOLDERS for file in sorted((root / name).rglob("*")))]:
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            content = b""
        digest.update(f"{path.relative_to(root)}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:8]


class Watcher:
    """Calls `on_change` after changes in the content folders, tidings.yaml, schedules/ and templates/.

    The newsroom's folder is watched without its subfolders: public/ can have tens of thousands, and a machine has few
    watches. It shows which folders appear, vanish or are replaced.
    """

    def __init__(self, root: Path, content: Iterable[Path], on_change: Callable[[], None]) -> None:
        self._root = root
        self._folders = [path.resolve() for path in (*content, *(root / name for name in FOLDERS))]
        self._on_change = on_change
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch_root, name="watch-root", daemon=True),
            threading.Thread(target=self._watch_folders, name="watch", daemon=True),
        ]

    def start(self) -> None:
        """Start. The regular sweep covers folders that cannot be watched (network shares, no watches left)."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._stop.set()
        self._restart.set()
        for thread in self._threads:
            thread.join(timeout=2)

    def _watch_root(self) -> None:
        known = self._existing_folders()
        try:
            for changes in watch(
                self._root,
                recursive=False,
                watch_filter=self._is_relevant,
                stop_event=self._stop,
                raise_interrupt=False,
                debounce=_GATHER,
                step=_STEP,
                rust_timeout=_LOOK,
            ):
                existing = self._existing_folders()
                if existing != known or any(Path(path) in known for _, path in changes):
                    known = existing
                    self._restart.set()
                self._on_change()
        except (OSError, RuntimeError):
            return

    def _watch_folders(self) -> None:
        while not self._stop.is_set():
            self._restart.clear()
            if self._stop.is_set():
                return
            folders = self._existing_folders()
            if not folders:
                self._restart.wait(1.0)
                continue
            try:
                for _ in watch(
                    *folders,
                    watch_filter=None,
                    stop_event=self._restart,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                    debounce=_GATHER,
                    step=_STEP,
                    rust_timeout=_LOOK,
                ):
                    self._on_change()
            except (OSError, RuntimeError):
                # The regular sweep finds changes meanwhile. Watching may work again later.
                self._stop.wait(60.0)

    def _existing_folders(self) -> dict[Path, int]:
        """Return the existing folders with their inodes: a replaced folder must be watched again."""
        return {path: path.stat().st_ino for path in self._folders if path.is_dir()}

    def _is_relevant(self, change: Change, path: str) -> bool:
        where = Path(path)
        return where.name in (MAIN, SECRETS) or where in self._folders or where.name in FOLDERS


class Ticker:
    """Calls `run_cycle` every `seconds` seconds, one call at a time, and sooner when woken.

    It runs on APScheduler and avoids four of its traps. Stored jobs are pickles, so a database could run code: jobs
    stay in memory. A run that is a second late is dropped silently: there is no misfire limit, and late runs merge. A
    run that comes due during the previous one is dropped too: it is requested again. The wall clock can be set back:
    see `keep`.
    """

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
                log.info("the service still publishes or sends; it looks for changes again when that is done")
            self._is_reported = True
            self.wake(datetime.now(UTC) + _AGAIN)
        elif event.code == EVENT_JOB_MISSED:
            log.warning("a cycle was missed; the next one does its work")
        else:
            log.error("a cycle failed: %s", getattr(event, "exception", ""))
