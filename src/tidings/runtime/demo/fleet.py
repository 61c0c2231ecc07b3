"""The fleet of `tidings demo --fleet`: a private PostgreSQL, a private RabbitMQ and three workers of the task engine.

The workers are processes of their own, which Celery runs as in life. Only their clock differs: it follows the
newsroom's clock in the store, which the demo moves through its two weeks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from tidings.model.errors import InputError
from tidings.pipeline.deliver.deliverer import finish_editions
from tidings.runtime.demo.servers import PrivatePostgres, PrivateRabbitMq, Watchman, kill_group
from tidings.runtime.engine import Dispatcher, EngineWorker, run_worker
from tidings.runtime.monitoring.log import Redactor
from tidings.runtime.newsroom import Runtime, load_valid_newsroom
from tidings.runtime.tick import TickResult, tick
from tidings.runtime.watch import configuration_stamp
from tidings.store.delivery import claims, ledger
from tidings.store.service.clock import read_clock

WORKERS = 3
SETTINGS = "store: {env: DEMO_DATABASE}\nengine: {type: celery, broker: {env: DEMO_BROKER}}"
"""What tidings.yaml says in place of its `store:`."""
_PATIENCE = 120.0
"""Seconds that the workers may take for what is due at one moment."""
_DRAIN = 30.0
"""Seconds in which a worker ends."""


class DemoFleet:
    """Use as a context manager: it starts the two servers, and ends them and the workers."""

    def __init__(self, log: Path) -> None:
        """Check that everything is installed, or raise InputError. `log`: file for the output of the workers."""
        missing = [name for name in ("celery", "psycopg") if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"The fleet needs {' and '.join(missing)}. "
                f'Install them: {sys.executable} -m pip install "tidings[cluster]"'
            )
        self.log = log
        self._stack = contextlib.ExitStack()
        self._broker = PrivateRabbitMq()
        self._stack.callback(self._broker.stop)
        with self._ending_on_error():
            self._database = PrivatePostgres()
        self._stack.callback(self._database.stop)
        self._dispatcher: Dispatcher | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self.env: dict[str, str] = {}
        """The variables that `SETTINGS` names."""

    def __enter__(self) -> DemoFleet:
        with self._ending_on_error():
            self._database.start()
            self._broker.start()
            self.env = {"DEMO_DATABASE": self._database.create_database("demo"), "DEMO_BROKER": self._broker.url}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stack.close()
            raise

    def start_workers(self, runtime: Runtime) -> None:
        """Start the workers on a newsroom's folder."""
        self._dispatcher = Dispatcher(runtime)
        self._stack.callback(self._stop_workers)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", __name__, str(runtime.root)]
        with self.log.open("wb") as log:
            for _ in range(WORKERS):
                worker = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
                self._workers.append(worker)
        self._watchman = Watchman(*(kill_group(worker.pid) for worker in self._workers))

    def tick(self, runtime: Runtime, now: datetime) -> TickResult:
        """Do everything that is due at `now`, as `tick` does; the workers send."""
        before = self._count(runtime)
        result = tick(runtime, now, deliver=False)
        self._wait_until_sent(runtime)
        finish_editions(runtime.store, now)
        result.delivered = self._count(runtime) - before
        return result

    def agree(self, compare: Callable[[], list[str]]) -> list[str]:
        """Compare again until there is no difference, for a few seconds: a worker may send a notice meanwhile."""
        end = time.monotonic() + 5
        while (differences := compare()) and time.monotonic() < end:
            time.sleep(0.2)
        return differences

    def _count(self, runtime: Runtime) -> Counter[str]:
        with runtime.store.read() as connection:
            return Counter(ledger.count_by_state(connection))

    def _wait_until_sent(self, runtime: Runtime) -> None:
        """Put what is due into the queues until the workers have sent it all."""
        assert self._dispatcher is not None
        end = time.monotonic() + _PATIENCE
        while True:
            with runtime.store.read() as connection:
                due = claims.count_due_by_mailing(connection, runtime.now(), datetime.now(UTC))
                handed = ledger.count_by_state(connection).get("handed", 0)
            if not due and not handed:
                return
            if due:
                self._dispatcher.dispatch()
            if any(worker.poll() is not None for worker in self._workers):
                raise InputError(f"A worker of the demo has ended. Its last words are in {self.log}.")
            if time.monotonic() > end:
                raise InputError(f"The workers of the demo do not send. See {self.log}.")
            time.sleep(0.05)

    def _stop_workers(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(_DRAIN)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self._watchman.dismiss()


class FollowingRuntime(Runtime):
    """A runtime whose clock is the one in the store."""

    def now(self) -> datetime:
        """Return the time that the newsroom's clock has reached."""
        with self.store.read() as connection:
            return read_clock(connection) or super().now()


def open_demo_process(root: Path, queues: str, redactor: Redactor | None = None) -> EngineWorker:
    """Open the newsroom of the demo in a process of a worker."""
    stamp = configuration_stamp(root)
    return EngineWorker(FollowingRuntime(load_valid_newsroom(root), looks_up_links=False), queues, stamp, redactor)


if __name__ == "__main__":
    sys.exit(run_worker(Path(sys.argv[1]), ["mail", "social"], concurrency=1, open_worker=open_demo_process))
