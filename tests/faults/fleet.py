"""The processes of a fleet, and the faults that they get: `tests.faults.fleet_rounds` plays them.

A fleet has two tickers, four workers of the task engine, PostgreSQL with a standby, and one RabbitMQ. Run as a program,
this module is `tidings` with a short lease and small shares of work, so that all workers send at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.fixtures.newsroom_folder import NewsroomFolder
from tests.servers.cable import Cable
from tests.servers.postgresql import Server
from tests.servers.rabbitmq import RabbitMq
from tidings.runtime import engine

LEASE = 20.0
"""Seconds of a lease in this fleet. The product uses 20 minutes."""
SHARE = 30
"""Mails for each message in a queue. The product uses 500."""
CUT = 90.0
"""Seconds without a network to the database."""
INTENTS = "FLEET_INTENTS"
"""The environment variable that names the file in which the workers note when they begin a mail."""
TICKER = ("run", "--only", "ticker")
WORKER = ("worker", "--queues", "mail,social", "--concurrency", "1")
WORKERS = ("worker-1", "worker-2", "worker-3", "worker-4")
SCHEDULERS = tuple(f"scheduler-{number}" for number in range(1, 9))


@dataclass
class Fleet:
    """The processes of one fleet."""

    folder: NewsroomFolder
    broker: RabbitMq
    server: Server
    """The primary."""
    standby: Server
    url: str
    place: Path
    """The folder of the logs."""
    cables: Sequence[Cable]
    """The network between worker-2 and the two servers."""
    broker_cable: Cable
    """The network between all processes and the broker."""
    commands: dict[str, Sequence[str]] = field(
        default_factory=lambda: {"ticker-1": TICKER, "ticker-2": TICKER, **dict.fromkeys(WORKERS, WORKER)}
    )
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def intents(self) -> Path:
        """The file in which the workers note when they begin a mail."""
        return self.place / "intents"

    def start(self, name: str) -> None:
        """Start one process, with its children in a group of its own."""
        environment = {**os.environ, **self.folder.env, INTENTS: str(self.intents)}
        if name == "worker-2":
            environment["TIDINGS_STORE"] = address(self.url, [cable.port for cable in self.cables])
        with (self.place / name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", __name__, *self.commands[name], "-C", str(self.folder.root)],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def keep(self) -> None:
        """Restart processes that have ended, as systemd does."""
        for name in self.commands:
            if name not in self.processes or self.processes[name].poll() is not None:
                self.start(name)

    def kill(self, name: str) -> None:
        """Kill a process and its children with kill -9."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_for(self, name: str, seconds: float) -> None:
        """Stop a process and its children with SIGSTOP, and let them continue afterwards."""
        pid = self.processes[name].pid
        os.killpg(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(pid, signal.SIGCONT)

    def add_schedulers(self) -> None:
        """Start eight more tickers."""
        self.commands |= dict.fromkeys(SCHEDULERS, TICKER)
        self.keep()

    def end_schedulers(self) -> None:
        """Kill the eight tickers."""
        for name in SCHEDULERS:
            del self.commands[name]
            self.kill(name)
            del self.processes[name]

    def end(self) -> None:
        """End all processes."""
        for name in self.processes:
            self.kill(name)


def address(url: str, ports: Sequence[int]) -> str:
    """Return the address of a database with several servers. One of them is the primary."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://tidings@{hosts}/{url.rpartition('/')[2]}?target_session_attrs=read-write"


@dataclass(frozen=True)
class Fault:
    """One fault."""

    name: str
    play: Callable[[Fleet, random.Random, int], None]
    """Plays it during a send. The last argument is the id of the mailing."""
    deaths: int = 0
    """How often the connections of the senders may end: each of them may double one mail each time."""
    schedulers: bool = False
    """Whether eight more tickers compose the edition."""


def _kill_worker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.kill(dice.choice(WORKERS))
    fleet.keep()


def _kill_child(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    parent = fleet.processes[dice.choice(WORKERS)].pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    if children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(dice.choice(children)), signal.SIGKILL)


def _kill_ticker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.kill(dice.choice(["ticker-1", "ticker-2"]))
    fleet.keep()


def _kill_schedulers(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.end_schedulers()


def _stop_for_seconds(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.stop_for(dice.choice(["ticker-1", "ticker-2", *WORKERS]), dice.uniform(2, 8))


def _stop_past_the_lease(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    """Another process takes over the work of the stopped one. Each process looks for such work every 30 seconds."""
    fleet.stop_for(dice.choice(WORKERS), LEASE + dice.uniform(1, 35))


def _kill_broker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.broker.kill()
    time.sleep(dice.uniform(0, 2))
    fleet.broker.start()


def _flush_broker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.broker.flush()


def _cut_broker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.broker_cable.cut()
    time.sleep(dice.uniform(5, 45))
    fleet.broker_cable.mend()


def _end_sessions(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    for _ in range(3):
        fleet.server.end_sessions(fleet.url)
        time.sleep(dice.uniform(0, 0.5))


def _restart_database(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.server.halt()
    time.sleep(dice.uniform(0, 3))
    fleet.server.resume()


def _cut_network(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    for cable in fleet.cables:
        cable.cut()
    time.sleep(CUT)
    for cable in fleet.cables:
        cable.mend()


def _fail_over(fleet: Fleet, dice: random.Random, mailing: int, *, synchronous: bool) -> None:
    """Kill the primary and promote the standby; the former primary becomes its standby."""
    if synchronous:
        fleet.server.require_standby()
    else:
        fleet.standby.stop_following()
    time.sleep(dice.uniform(0, 1.5))
    fleet.server.halt()
    time.sleep(dice.uniform(0, 3))
    fleet.standby.promote()
    fleet.server, fleet.standby = fleet.standby, fleet.server
    fleet.standby.follow(fleet.server)


def _double_messages(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    app = engine.make_app(fleet.broker.url, lambda queues: None)  # type: ignore[arg-type, return-value]
    messages = [(queue, number) for queue in ("mail", "social") for number in (mailing, 1, 10**9)] * 10
    dice.shuffle(messages)
    with app.connection_for_write() as connection:
        engine.declare_queues(app, connection)
        for queue, about in messages:
            engine.publish(app, connection, queue, about)


FAULTS = (
    Fault("kill -9 of a worker with its processes", _kill_worker, deaths=1),
    Fault("kill -9 of the sending process of a worker", _kill_child, deaths=1),
    Fault("kill -9 of a ticker", _kill_ticker),
    Fault("eight more schedulers compose, and get kill -9", _kill_schedulers, schedulers=True),
    Fault("a worker or ticker stopped for seconds (SIGSTOP)", _stop_for_seconds),
    Fault("a worker stopped past its lease (SIGSTOP)", _stop_past_the_lease, deaths=1),
    Fault("broker killed and started", _kill_broker),
    Fault("broker killed and emptied", _flush_broker),
    Fault("network to the broker cut for 5 to 45 s", _cut_broker),
    Fault("every message ten times in another order, and false ones", _double_messages),
    Fault("pg_terminate_backend of every session, three times", _end_sessions, deaths=3),
    Fault("database killed and started", _restart_database, deaths=1),
    Fault("network between a worker and the database cut for 90 s", _cut_network, deaths=1),
    Fault("primary killed, its synchronous standby promoted", partial(_fail_over, synchronous=True), deaths=1),
    Fault("primary killed, a standby promoted that was behind", partial(_fail_over, synchronous=False), deaths=1),
)


def _run_program() -> None:
    """Run `tidings` as a process of the fleet."""
    from tidings.cli import main
    from tidings.pipeline.deliver.deliverer import Deliverer
    from tidings.store.delivery.journal import JournalWriter

    defaults = Deliverer.__init__.__kwdefaults__
    assert defaults is not None and "lease" in defaults
    defaults["lease"] = timedelta(seconds=LEASE)
    engine._MAILS_PER_MESSAGE = SHARE
    log = os.open(os.environ[INTENTS], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    begin = JournalWriter.begin

    def noted_begin(self: JournalWriter, keys: Sequence[tuple[int, int]], version: int) -> bool:
        # The time before the call: a mail to a reader who left before it is late for certain.
        at = time.monotonic_ns()
        is_begun = begin(self, keys, version)
        if is_begun:
            os.write(log, json.dumps([at, [delivery for delivery, _ in keys]]).encode() + b"\n")
        return is_begun

    JournalWriter.begin = noted_begin  # type: ignore[method-assign]
    main()


if __name__ == "__main__":
    _run_program()
