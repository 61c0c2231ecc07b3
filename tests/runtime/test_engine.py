"""The task engine: messages may be lost or doubled, and everybody still gets one mail, and each post is sent once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, run_in
from tests.conftest import missing
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.fixtures.waiting import wait_until
from tests.runtime.test_fleet import to_readers
from tests.runtime.test_service import prepared, running, stop
from tests.servers.postgresql import Server
from tests.servers.rabbitmq import RabbitMq
from tidings.runtime import engine
from tidings.runtime.check import check_newsroom
from tidings.runtime.engine import Dispatcher, EngineWorker
from tidings.runtime.monitoring.diagnosis import diagnose_queues
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import load_newsroom
from tidings.runtime.tick import tick
from tidings.runtime.watch import configuration_stamp
from tidings.store.delivery import ledger

READERS = 60
__all__ = ["run_in"]


@pytest.fixture
def app() -> Any:
    """An engine with its broker in this process."""
    made = engine.make_app("memory://", lambda queues: pytest.fail("no task runs by itself here"))
    made.conf.broker_transport_options = {}
    with made.connection_for_write() as connection:
        engine.declare_queues(made, connection)
        for name in engine.QUEUES:
            connection.channel().queue_purge(name)
    return made


def take(app: Any) -> list[tuple[str, Any]]:
    """Take every message from the queues: (queue, its only argument)."""
    messages = []
    with app.connection_for_write() as connection:
        for name in engine.QUEUES:
            with connection.SimpleQueue(app.amqp.queues[name]) as queue, contextlib.suppress(queue.Empty):
                while True:
                    message = queue.get(block=False)
                    message.ack()
                    arguments, _, _ = message.payload
                    messages.append((name, arguments[0]))
    return messages


def work(worker: EngineWorker, messages: list[tuple[str, Any]]) -> None:
    """Run the tasks of these messages."""
    for queue, about in messages:
        if queue in ("mail", "social"):
            worker.deliver(queue, about)  # type: ignore[arg-type]


@contextmanager
def workers(folder: NewsroomFolder, count: int) -> Iterator[list[EngineWorker]]:
    opened = [EngineWorker(folder.runtime(), "mail,social", configuration_stamp(folder.root)) for _ in range(count)]
    try:
        yield opened
    finally:
        for worker in opened:
            worker.close()


def composed(folder: NewsroomFolder, readers: int = READERS) -> None:
    """Compose an edition that nobody sends yet."""
    prepared(folder, readers)
    with folder.runtime() as runtime:
        tick(runtime, runtime.now(), deliver=False)
        folder.write("content/new.en.md", item("New"))
        tick(runtime, runtime.now(), deliver=False)


def test_messages_may_be_lost_doubled_and_reordered(tmp_path: Path, database_url: str, app: Any) -> None:
    dice = random.Random(1)
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        composed(folder)
        with folder.runtime() as runtime, workers(folder, 3) as team:
            dispatcher = Dispatcher(runtime, app)
            for sweep in range(4):
                dispatcher.dispatch(moment=sweep * engine.SWEEP)
                messages = take(app)
                if sweep == 0:
                    assert {queue for queue, _ in messages} == {"mail"}
                    assert all(isinstance(about, int) for _, about in messages), "only ids"
                    continue  # the whole first sweep is lost
                shares = [dice.sample(messages * 10, len(messages) * 10) for _ in team]
                threads = [
                    threading.Thread(target=work, args=(worker, share))
                    for worker, share in zip(team, shares, strict=True)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert dispatcher.dispatch(moment=999.0) == 0, "nothing is due any more"
            with runtime.store.read() as connection:
                states = Counter(entry.state for entry in ledger.entries(connection, schedule="alert"))
    assert states == {"accepted": READERS}
    assert set(Counter(to_readers(folder)).values()) == {1}
    assert len(to_readers(folder)) == READERS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_same_work_is_queued_once_in_a_sweep(tmp_path: Path, database_url: str, app: Any) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        composed(folder, 3)
        with folder.runtime() as runtime:
            dispatcher, second = Dispatcher(runtime, app), Dispatcher(runtime, app)
            assert dispatcher.dispatch(moment=0.0) == 1
            assert dispatcher.dispatch(moment=engine.SWEEP - 1) == 0
            assert dispatcher.dispatch(moment=engine.SWEEP) == 1
            for number in range(100):
                second.dispatch(moment=number * engine.SWEEP)
            assert len(take(app)) == 32, "a queue that nobody empties does not grow"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_celery_with_sqlite_is_refused(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        path = folder.root / "tidings.yaml"
        path.write_text(path.read_text() + "engine: {type: celery, broker: 'amqp://127.0.0.1//'}\n")
        (problem,) = [each for each in check_newsroom(folder.root) if "needs PostgreSQL" in each.message]
    assert problem.level == "error" and "postgresql://host/database" in problem.mend
    assert problem.file == "tidings.yaml" and problem.line


def test_a_password_of_the_broker_stays_out_of_the_yaml(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "postgresql://127.0.0.1/none") as folder:
        path = folder.root / "tidings.yaml"
        written = path.read_text()
        path.write_text(written + "engine: {type: celery, broker: 'amqp://me:s3cret-word@127.0.0.1//'}\n")
        problems = "\n".join(str(problem) for problem in load(folder))
        assert "broker: {env: NAME}" in problems and "s3cret-word" not in problems
        path.write_text(written + "engine: {type: celery, broker: 'http://127.0.0.1/'}\n")
        assert "not the address of a broker" in "\n".join(str(problem) for problem in load(folder))


def load(folder: NewsroomFolder) -> Any:
    return load_newsroom(folder.root).problems


def test_a_dead_broker_and_dead_letters_are_named() -> None:
    diagnoses = {wrong.what: wrong for wrong in diagnose_queues(engine.read_queues("amqp://127.0.0.1:1//"))}
    assert "Nothing is lost" in diagnoses["broker"].text and "--only worker" in diagnoses["broker"].mend
    (dead,) = diagnose_queues(engine.QueueReport({"mail": 4, engine.DEAD_LETTERS: 2}))
    assert dead.text.startswith("2 tasks killed their worker") and "tidings.dead" in dead.text


def test_a_silent_broker_is_not_waited_for() -> None:
    """`/metrics` and `status` waited three seconds, or for ever if the broker stopped after it had accepted."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = engine.read_queues(f"amqp://127.0.0.1:{silent.getsockname()[1]}//", seconds=1)
    assert report == engine.QueueReport(problem="no answer within 1 second")


@pytest.mark.slow
def test_the_base_install_imports_no_celery() -> None:
    code = "import tidings.runtime.engine, tidings.runtime.service, sys; sys.exit('celery' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_queue_is_refused(run_in: Run, tmp_path: Path) -> None:
    ran = run_in(tmp_path, "worker", "--queues", "mail,letters")
    assert ran.code == 2 and "letters" in ran.err and "mail, social, sources, render" in ran.err


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMq]:
    """A private RabbitMQ."""
    if not RabbitMq.is_installed():
        missing("RabbitMQ")
    server = RabbitMq()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def celery_worker(folder: NewsroomFolder, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `tidings worker` in a process group of its own."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "worker", *options, "-C", str(folder.root)],
            env={**os.environ, **folder.env}, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


ON_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)


def use_engine(folder: NewsroomFolder, broker: RabbitMq) -> None:
    folder.env["TIDINGS_BROKER"] = broker.url
    path = folder.root / "tidings.yaml"
    path.write_text(path.read_text() + "engine: {type: celery, broker: {env: TIDINGS_BROKER}}\n")


@pytest.mark.slow
@ON_POSTGRESQL
def test_a_fleet_on_rabbitmq_survives_its_broker(
    tmp_path: Path, database_url: str, broker: RabbitMq, postgresql: Server
) -> None:
    """A worker is killed in the middle of a send, the broker is killed and flushed, the database is restarted."""
    readers = 600
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder, contextlib.ExitStack() as stack:
        prepared(folder, readers)
        use_engine(folder, broker)
        folder.env["TIDINGS_LOG"] = "json"
        log = tmp_path / "worker.log"
        arguments = ["--queues", "mail,social", "--concurrency", "2"]
        first = stack.enter_context(celery_worker(folder, log, *arguments))
        second = stack.enter_context(celery_worker(folder, log, *arguments))
        ticker = stack.enter_context(running(folder, tmp_path / "ticker.log", "--only", "ticker"))
        with folder.runtime() as runtime:

            def report() -> dict[str, Any]:
                return status(runtime, runtime.now())

            wait_until(lambda: len([s for s in report()["services"] if s["alive"]]) == 5)
            assert {s["queues"] for s in report()["services"] if s["role"] == "worker"} == {"mail,social"}
            folder.write("content/new.en.md", item("New"))
            wait_until(lambda: len(to_readers(folder)) > 50)
            os.killpg(first.pid, signal.SIGKILL)
            broker.flush()
            postgresql.halt()
            postgresql.resume()
            wait_until(lambda: len(set(to_readers(folder))) == readers)
            wait_until(lambda: runtime_states(runtime) == {"accepted": readers})
            wait_until(lambda: set(report()["queues"]) >= set(engine.QUEUES))
        stop(ticker)
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0, log.read_text()[-3000:]
        assert {json.loads(line)["process"] for line in (tmp_path / "ticker.log").read_text().splitlines()} == {
            ticker.pid
        }
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        assert "celery.worker.strategy" in {line["logger"] for line in lines}
        copies = Counter(to_readers(folder))
        doubled = [address for address, count in copies.items() if count > 1]
        with folder.runtime() as runtime, runtime.store.read() as connection:
            doubts = {entry.target for entry in ledger.entries(connection, schedule="alert") if entry.doubts}
    assert len(copies) == readers
    # How many are in doubt depends on what was sent but not yet settled when the database died.
    assert len(doubled) <= min(len(doubts), 2 * 4 * 2), "at most one a connection and death, each known as in doubt"


def runtime_states(runtime: Any) -> dict[str, int]:
    with runtime.store.read() as connection:
        return Counter(entry.state for entry in ledger.entries(connection, schedule="alert"))
