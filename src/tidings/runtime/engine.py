"""The task engine of a fleet: Celery carries the work, the ledger carries the promise.

A message holds only ids and says: there is work of this kind. A worker then claims what is due in the ledger, as a
`tidings run` without an engine does. So the broker may lose, double, reorder or redeliver any message. A lost one is
replaced by the sweep of a ticker, which puts into the queues every 30 seconds what the ledger says is due.

`tidings.runtime.engine:app` is the Celery application, so that `celery -A tidings.runtime.engine:app inspect active`
and Flower work. It is the newsroom of the folder TIDINGS_NEWSROOM, or of the current one. Celery and kombu are
imported only here, and only if `engine:` is set.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from tidings.model.cadence import load_zone
from tidings.model.delivery import WEBHOOK_LANE
from tidings.model.errors import InputError, RefusedError
from tidings.model.plurals import count_noun
from tidings.runtime.monitoring.log import Redactor, is_json, start_log
from tidings.runtime.newsroom import Runtime, load_valid_newsroom, open_runtime
from tidings.runtime.service_cycle import ServiceCycle
from tidings.runtime.tick import record_failures, send_notices
from tidings.runtime.watch import Ticker, configuration_stamp
from tidings.sources.base import FetchingSource, PictureSource
from tidings.store.delivery import claims, ledger
from tidings.store.locks import exclusive_work
from tidings.store.service.heartbeat import ProcessRole

if TYPE_CHECKING:
    from tidings.pipeline.deliver.deliverer import DeliveryPart

QUEUES = ("mail", "social", "sources", "render")
"""The queues, each with one task of its name: `tidings.mail` and so on."""
DEAD_LETTERS = "tidings.dead"
"""Where RabbitMQ puts a message that killed its worker `_DELIVERY_LIMIT` times."""
FOLDER = "TIDINGS_NEWSROOM"
"""The environment variable that names the newsroom's folder."""
SWEEP = 30.0
"""Seconds after which the same work is put into its queue again."""
TASK_SECONDS = 40.0
"""A task begins no message after this time. With the last reply it ends within a minute."""
_HARD_LIMIT = 900
"""Seconds after which a task is killed. A relay may take ten minutes for its last reply (RFC 5321 §4.5.3.2.6), and
RabbitMQ takes the message back after thirty."""
_DELIVERY_LIMIT = 20
ASKED = 2.0
"""Seconds for which the broker is asked. `/metrics` and `tidings status` wait no longer."""
_MAILS_PER_MESSAGE = 500
_MOST_WAITING = 32
"""Messages that may wait in one queue. More would only find that nothing is left."""
OpenWorker = Callable[[Path, str, "Redactor | None"], "EngineWorker"]
"""Opens the newsroom of a folder in a process that works for these queues."""
log = logging.getLogger("tidings.engine")


def __getattr__(name: str) -> Any:
    """Make the Celery application when an operator's tool first asks for it."""
    if name == "app":
        return _application(open_process)
    if name == "EngineConsumer":
        return _consumer_class()
    raise AttributeError(name)


@cache
def _application(open_worker: OpenWorker) -> Any:
    root = Path(os.environ.get(FOLDER, ".")).resolve()
    newsroom = load_valid_newsroom(root)
    if newsroom.engine is None:
        raise RefusedError("This newsroom has no task engine. Write `engine:` into tidings.yaml, or use `tidings run`.")
    redactor, zone = Redactor(newsroom.secrets), load_zone(newsroom.site.timezone)
    app = make_app(newsroom.engine.broker.get_secret_value(), lambda queues: open_worker(root, queues, redactor))
    from celery import signals

    def set_up_log(**_: Any) -> None:
        start_log(redactor, zone)
        logging.getLogger("celery").setLevel(logging.INFO)

    signals.setup_logging.connect(set_up_log, weak=False)
    return app


@cache
def _consumer_class() -> Any:
    """Return Celery's consumer without delayed delivery, which would declare 28 queues: no message here has an ETA."""
    from celery.worker.consumer import Consumer

    steps = [step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in str(step)]
    blueprint = type("Blueprint", (Consumer.Blueprint,), {"default_steps": steps})
    return type("EngineConsumer", (Consumer,), {"Blueprint": blueprint})


def make_app(broker: str, open_worker: Callable[[str], EngineWorker]) -> Any:
    """Make the Celery application. `open_worker` opens the newsroom in a process that works for these queues."""
    try:
        from celery import Celery, signals
        from kombu import Queue
    except ModuleNotFoundError:
        command = f'{sys.executable} -m pip install "tidings[cluster]"'
        raise InputError(f"`engine: celery` needs Celery. Install it: {command}") from None
    is_rabbitmq = broker.startswith("amqp")
    app = Celery("tidings", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        result_backend="disabled://",
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_time_limit=_HARD_LIMIT,
        task_create_missing_queues=False,
        task_default_queue="mail",
        task_queues=[Queue(name, routing_key=name, queue_arguments=_arguments(is_rabbitmq)) for name in QUEUES],
        task_routes={f"tidings.{name}": {"queue": name} for name in QUEUES},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        broker_transport_options=_transport_options(broker),
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_consumer="tidings.runtime.engine:EngineConsumer",
        worker_proc_alive_timeout=60.0,
        worker_send_task_events=True,
    )
    process = WorkerProcess(open_worker)
    signals.worker_process_init.connect(process.open, weak=False)
    signals.worker_process_shutdown.connect(process.close, weak=False)
    signals.celeryd_init.connect(process.note_queues, weak=False)
    signals.worker_shutting_down.connect(process.drain, weak=False)

    def mail(mailing: int) -> None:
        process.work(lambda worker: worker.deliver("mail", mailing))

    def social(mailing: int) -> None:
        process.work(lambda worker: worker.deliver("social", mailing))

    def sources(name: str) -> None:
        process.work(lambda worker: worker.fetch(name))

    def render(name: str) -> None:
        process.work(lambda worker: worker.fetch_pictures(name))

    for task in (mail, social, sources, render):
        app.task(name=f"tidings.{task.__name__}")(task)
    return app


def _arguments(is_rabbitmq: bool) -> dict[str, Any]:
    """Return the arguments of a queue. A message that kills its workers again and again goes to the dead letters."""
    if not is_rabbitmq:
        return {}
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": _DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": DEAD_LETTERS,
    }


def _transport_options(broker: str) -> dict[str, Any]:
    if broker.startswith("amqp"):
        return {"confirm_publish": True}
    # Redis takes a message back after this time. It is longer than any task.
    return {"visibility_timeout": 2 * _HARD_LIMIT}


class WorkerProcess:
    """Opens the newsroom in each process of a Celery worker, and hands it to the tasks.

    The newsroom is opened in a thread: Celery kills a process that is not ready within a few seconds.
    """

    def __init__(self, open_worker: Callable[[str], EngineWorker]) -> None:
        self._open_worker = open_worker
        self._queues = ",".join(QUEUES)
        self._draining = multiprocessing.Event()
        """Set in the parent process; its children share it."""
        self._mutex = threading.Lock()
        self._worker: EngineWorker | None = None
        self._pid = 0

    def note_queues(self, options: Any = None, **_: Any) -> None:
        """Note which queues this worker takes, for `tidings status`."""
        selected = (options or {}).get("queues")
        if selected:
            self._queues = selected if isinstance(selected, str) else ",".join(selected)

    def open(self, **_: Any) -> None:
        """Open the newsroom in the background. Called in each new process."""
        threading.Thread(target=self._open_patiently, name="open", daemon=True).start()
        threading.Thread(target=self._wait_for_drain, name="drain", daemon=True).start()

    def drain(self, **_: Any) -> None:
        """Let all processes finish the messages that are on the wire. Called in the parent on SIGTERM."""
        self._draining.set()

    def close(self, **_: Any) -> None:
        """Close the newsroom at the end of a process."""
        with self._mutex:
            worker, self._worker = self._worker, None
        if worker is not None and self._pid == os.getpid():
            worker.close()

    def work(self, task: Callable[[EngineWorker], None]) -> None:
        """Run a task with the newsroom of this process."""
        if not self._draining.is_set():
            task(self._get())

    def _get(self) -> EngineWorker:
        with self._mutex:
            if self._worker is None or self._pid != os.getpid():
                self._worker, self._pid = self._open_worker(self._queues), os.getpid()
            return self._worker

    def _open_patiently(self) -> None:
        while not self._draining.is_set():
            try:
                self._get()
            except Exception as error:
                log.error("the newsroom cannot be opened: %s", str(error).splitlines()[0] if str(error) else error)
                time.sleep(5.0)
            else:
                return

    def _wait_for_drain(self) -> None:
        self._draining.wait()
        worker = self._worker
        if worker is not None:
            worker.stop()


def open_process(root: Path, queues: str, redactor: Redactor | None = None) -> EngineWorker:
    """Open the newsroom of a folder in a process of a worker. `redactor` is the one of its log."""
    stamp = configuration_stamp(root)
    return EngineWorker(open_runtime(root), queues, stamp, redactor)


class EngineWorker:
    """One process that works for the engine. It has a heartbeat, and loads a changed configuration automatically."""

    def __init__(self, runtime: Runtime, queues: str, stamp: Any, redactor: Redactor | None = None) -> None:
        self.runtime = runtime
        self._working = threading.Lock()
        self._stopping = threading.Event()
        self._cycle = ServiceCycle(
            runtime,
            redactor or Redactor(runtime.newsroom.secrets),
            stamp=stamp,
            delivering=self._working,
            stopping=self._stopping,
            role=ProcessRole.WORKER,
            queues=queues,
        )
        self._ticker = Ticker(self._run_cycle, SWEEP)
        self._ticker.start()

    def _run_cycle(self) -> None:
        self._cycle.run()

    def deliver(self, part: DeliveryPart, mailing: int) -> None:
        """Send what is due of one part, whatever mailing it belongs to: urgent ones go first."""
        runtime = self.runtime
        with self._working, self._cycle.catch_faults("deliveries"):
            if self._stopping.is_set():
                return
            only = None
            if self._cycle.clock_ahead:
                with runtime.store.read() as connection:
                    if mailing not in ledger.open_mailings_to_people(connection):
                        return
                only = mailing
            done = runtime.deliver(only, patient=True, part=part, seconds=TASK_SECONDS)
            now = runtime.now()
            if part == "mail":
                self._cycle.stalled = dict(done.stalled)
            record_failures(runtime, done, now)
            send_notices(runtime, now)

    def fetch(self, name: str) -> None:
        """Fetch a source on the network if it is due. A second message about it does nothing meanwhile."""
        self._take_turns(f"fetch:{name}", lambda: self.runtime.fetch(only=[name]))

    def fetch_pictures(self, name: str) -> None:
        """Download and shrink the pictures of a source."""
        self._take_turns(f"pictures:{name}", lambda: self.runtime.fetch_pictures(only=[name]))

    def _take_turns(self, key: str, work: Callable[[], object]) -> None:
        with self._working, self._cycle.catch_faults("sources"), exclusive_work(self.runtime.store, key) as is_mine:
            if is_mine and not self._stopping.is_set():
                work()

    def stop(self) -> None:
        """Begin no further message."""
        self._stopping.set()
        self.runtime.stop()

    def close(self) -> None:
        """End: give back what has not begun, and release the locks."""
        self.stop()
        with self._working:
            if self._ticker.stop(5.0):
                self._cycle.end()
                self.runtime.close()


@dataclass
class QueueReport:
    """The messages that wait in each queue, and why the broker cannot be asked."""

    waiting: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    read_at: datetime | None = None
    """When the broker answered last, in real time. `waiting` is of that time."""

    @property
    def dead(self) -> int:
        """Messages that killed their worker again and again."""
        return self.waiting.get(DEAD_LETTERS, 0)


class Dispatcher:
    """Puts what is due into the queues of the engine. Every ticker has one; doubled messages do no harm."""

    def __init__(self, runtime: Runtime, app: Any = None) -> None:
        """`app`: the Celery application. Default: the one of the present configuration."""
        self._runtime = runtime
        self._given = app
        self._broker = ""
        self._app: Any = app
        self._dispatched: dict[tuple[str, object], float] = {}

    def dispatch(self, *, only_people: bool = False, moment: float | None = None) -> int:
        """Put due work into the queues, unless it was put there less than 30 seconds ago. Returns the messages.

        `only_people`: only notices and confirmations. Raises an error of kombu if the broker cannot be reached.
        """
        moment = time.monotonic() if moment is None else moment
        self._dispatched = {key: at for key, at in self._dispatched.items() if moment - at < SWEEP}
        wanted = [entry for entry in self._find_due(only_people) if entry[:2] not in self._dispatched]
        if not wanted:
            return 0
        count = 0
        with self._connect() as connection:
            counts = _count_waiting(connection)
            if not counts.keys() >= _expected_queues(connection):
                # A new broker, or one that lost everything.
                declare_queues(self._app, connection)
            room = {name: _MOST_WAITING - counts.get(name, 0) for name in QUEUES}
            for queue, about, messages in wanted:
                for _ in range(min(messages, room[queue])):
                    publish(self._app, connection, queue, about)
                    room[queue] -= 1
                    count += 1
                self._dispatched[queue, about] = moment
        return count

    def _find_due(self, only_people: bool) -> Iterator[tuple[str, Any, int]]:
        """Yield (queue, id, number of messages) of everything that is due."""
        runtime = self._runtime
        with runtime.store.read() as connection:
            due = claims.count_due_by_mailing(connection, runtime.now(), datetime.now(UTC))
            people = set(ledger.open_mailings_to_people(connection)) if only_people else set()
        for mailing, channel, count in due:
            # The service tells event webhooks itself, in a thread of its own.
            if channel.startswith(WEBHOOK_LANE) or (only_people and mailing not in people):
                continue
            if channel:
                yield "social", mailing, 1
            else:
                yield "mail", mailing, math.ceil(count / _MAILS_PER_MESSAGE)
        if only_people:
            return
        for name, source in runtime.sources.items():
            if isinstance(source, FetchingSource):
                yield "sources", name, 1
            if isinstance(source, PictureSource):
                yield "render", name, 1

    @contextmanager
    def _connect(self) -> Iterator[Any]:
        engine = self._runtime.newsroom.engine
        if self._given is None and engine is not None and engine.broker.get_secret_value() != self._broker:
            self._broker = engine.broker.get_secret_value()
            root = self._runtime.root
            self._app = make_app(self._broker, lambda queues: open_process(root, queues))
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=5)
            yield connection


def publish(app: Any, connection: Any, queue: str, about: object) -> None:
    """Put one message into a queue: the task of its name with one id. RabbitMQ confirms it."""
    with connection.Producer(serializer="json") as producer:
        limits = {"timeout": 10, "confirm_timeout": 10} if connection.transport.driver_type == "amqp" else {}
        app.send_task(f"tidings.{queue}", (about,), producer=producer, queue=queue, retry=False, **limits)


def declare_queues(app: Any, connection: Any) -> None:
    """Make the queues, with the one of dead letters."""
    from kombu import Queue

    channel = connection.channel()
    if connection.transport.driver_type == "amqp":
        Queue(DEAD_LETTERS, queue_arguments={"x-queue-type": "quorum"}).bind(channel).declare()
    for queue in app.amqp.queues.values():
        queue.bind(channel).declare()
    channel.close()


def _expected_queues(connection: Any) -> set[str]:
    return {*QUEUES, DEAD_LETTERS} if connection.transport.driver_type == "amqp" else set(QUEUES)


def _count_waiting(connection: Any) -> dict[str, int]:
    """Return the waiting messages by queue. A queue that does not exist yet is left out."""
    waiting = {}
    for name in (*QUEUES, DEAD_LETTERS):
        channel = connection.channel()
        try:
            waiting[name] = int(channel.queue_declare(name, passive=True).message_count)
        except (*connection.channel_errors, KeyError):
            continue  # the error has closed the channel
        channel.close()
    return waiting


def read_queues(broker: str, seconds: float = ASKED) -> QueueReport:
    """Ask the broker for its queues, for at most `seconds`. Never raises."""
    answers: SimpleQueue[QueueReport] = SimpleQueue()
    # Looking up a host name and reading an answer have no time limit in every library.
    threading.Thread(target=lambda: answers.put(_ask_broker(broker, 2 * seconds)), name="broker", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return QueueReport(problem=f"no answer within {count_noun(round(seconds), 'second')}")


def _ask_broker(broker: str, seconds: float) -> QueueReport:
    try:
        from kombu import Connection
    except ModuleNotFoundError:
        return QueueReport(problem="Celery is not installed here")
    limits = {"read_timeout": seconds, "write_timeout": seconds} if broker.startswith("amqp") else {}
    try:
        with Connection(broker, connect_timeout=seconds, transport_options=limits) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=seconds)
            return QueueReport(_count_waiting(connection), read_at=datetime.now(UTC))
    except Exception as error:
        return QueueReport(problem=(str(error) or "no answer")[:200])


def run_worker(root: Path, queues: Sequence[str], *, concurrency: int, open_worker: OpenWorker = open_process) -> int:
    """Run a Celery worker until SIGTERM. Returns the exit code. `open_worker` opens the newsroom in each process.

    Raises RefusedError for an unknown queue or without `engine:`, InputError for an invalid configuration.
    """
    unknown = [name for name in queues if name not in QUEUES]
    if unknown or not queues:
        raise RefusedError(f"There is no queue {', '.join(unknown) or '(none given)'}. Known: {', '.join(QUEUES)}.")
    os.environ[FOLDER] = str(root)
    app = _application(open_worker)
    report = read_queues(app.conf.broker_url, seconds=5.0)
    if not report.problem:
        with app.connection_for_write() as connection:
            declare_queues(app, connection)
    arguments = ["--quiet"] if is_json() else []
    arguments += ["worker", "--queues", ",".join(queues), "--concurrency", str(concurrency), "--loglevel", "INFO"]
    arguments += ["--without-gossip", "--without-mingle", "--prefetch-multiplier", "1"]
    arguments += ["--hostname", f"tidings-{os.getpid()}@%h"]
    return int(app.worker_main(arguments) or 0)
