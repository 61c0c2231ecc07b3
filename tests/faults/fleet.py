"""Faults for a fleet: two tickers, two workers with two processes each, PostgreSQL with a standby, one RabbitMQ.

All rounds use the same fleet. In each round a story is published, and a schedule sends it at once to every reader and
to a channel. During the send, something is killed, stopped, emptied or doubled. After each round, the received mails
and posts must match the ledger.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.servers.cable import Cable
from tests.servers.postgresql import Server
from tests.servers.rabbitmq import RabbitMq
from tidings.runtime import engine
from tidings.runtime.newsroom import Runtime
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import subscribers
from tidings.store.service.heartbeat import load_heartbeats

CONNECTIONS = 4
LEASE = 20.0
"""Seconds of a lease in this fleet. The product uses 20 minutes."""
CUT = 90.0
"""Seconds without a network."""
PATIENCE = 240.0
"""Seconds after which a round that does not converge has failed."""
SCHEDULE = "cadence: {on: new, settle: 0m}\ndeliver:\n  - {list: digest, frequency: all}\n  - {channel: desk}\n"


@dataclass
class Score:
    """The totals of one fault."""

    rounds: int = 0
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    """Doubled mails that were not in doubt before."""
    fired_twice: int = 0
    posts_doubled: int = 0
    seconds: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether a promise is broken."""
        return bool(self.lost or self.unknown or self.fired_twice or self.posts_doubled)


@dataclass
class Fleet:
    """The processes of one fleet."""

    folder: NewsroomFolder
    broker: RabbitMq
    server: Server
    """The primary."""
    standby: Server
    url: str
    logs: Path
    cables: Sequence[Cable]
    """The network between worker-2 and the two servers."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    COMMANDS: ClassVar = {
        "ticker-1": ["run", "--only", "ticker"],
        "ticker-2": ["run", "--only", "ticker"],
        "worker-1": ["worker", "--queues", "mail,social", "--concurrency", "2"],
        "worker-2": ["worker", "--queues", "mail,social", "--concurrency", "2"],
    }

    def start(self, name: str) -> None:
        """Start one process, with its children in a group of its own."""
        environment = {**os.environ, **self.folder.env}
        if name == "worker-2":
            environment["TIDINGS_STORE"] = _address(self.url, [cable.port for cable in self.cables])
        with (self.logs / name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", __name__, *self.COMMANDS[name], "-C", str(self.folder.root)],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def keep(self) -> None:
        """Restart processes that have ended, as systemd does."""
        for name in self.COMMANDS:
            if name not in self.processes or self.processes[name].poll() is not None:
                self.start(name)

    def kill(self, name: str) -> None:
        """Kill a process and its children with kill -9."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End all processes."""
        for name in self.processes:
            self.kill(name)


def _address(url: str, ports: Sequence[int]) -> str:
    """Return the address of a database with several servers. One of them is the primary."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://tidings@{hosts}/{url.rpartition('/')[2]}?target_session_attrs=read-write"


Fault = Callable[[Fleet, random.Random, int], None]


def _kill_worker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.kill(dice.choice(["worker-1", "worker-2"]))
    fleet.keep()


def _kill_child(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    parent = fleet.processes[dice.choice(["worker-1", "worker-2"])].pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    if children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(dice.choice(children)), signal.SIGKILL)


def _kill_ticker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.kill(dice.choice(["ticker-1", "ticker-2"]))
    fleet.keep()


def _stop_worker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    pid = fleet.processes[dice.choice(["worker-1", "worker-2"])].pid
    os.killpg(pid, signal.SIGSTOP)
    time.sleep(dice.uniform(2, 8))
    os.killpg(pid, signal.SIGCONT)


def _stop_past_the_lease(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    """Another process takes over the work of the stopped one. Each process looks for such work every 30 seconds."""
    pid = fleet.processes[dice.choice(["worker-1", "worker-2"])].pid
    os.killpg(pid, signal.SIGSTOP)
    time.sleep(LEASE + dice.uniform(1, 35))
    os.killpg(pid, signal.SIGCONT)


def _kill_broker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.broker.kill()
    time.sleep(dice.uniform(0, 2))
    fleet.broker.start()


def _flush_broker(fleet: Fleet, dice: random.Random, mailing: int) -> None:
    fleet.broker.flush()


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


FAULTS: dict[str, Fault] = {
    "kill -9 of a worker with its processes": _kill_worker,
    "kill -9 of one process of a worker": _kill_child,
    "kill -9 of a ticker": _kill_ticker,
    "a worker stopped for seconds (SIGSTOP)": _stop_worker,
    "a worker stopped past its lease (SIGSTOP)": _stop_past_the_lease,
    "broker killed and started": _kill_broker,
    "broker killed and emptied": _flush_broker,
    "pg_terminate_backend of every session, three times": _end_sessions,
    "database killed and started": _restart_database,
    "network between a worker and the database cut for 90 s": _cut_network,
    "every message ten times in another order, and false ones": _double_messages,
    "primary killed, its synchronous standby promoted": partial(_fail_over, synchronous=True),
    "primary killed, a standby promoted that was behind": partial(_fail_over, synchronous=False),
}


@contextlib.contextmanager
def _open_fleet(readers: int) -> Iterator[tuple[Fleet, Runtime]]:
    server, broker = Server(), RabbitMq()
    with tempfile.TemporaryDirectory(prefix="tidings-fleet-") as place, contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        stack.callback(broker.stop)
        broker.start()
        url = server.fresh_database()
        standby = server.start_standby()
        stack.callback(standby.stop)
        ports = [server.port, standby.port]
        folder = stack.enter_context(make_newsroom_folder(Path(place) / "newsroom", _address(url, ports)))
        folder.env["TIDINGS_BROKER"] = broker.url
        path = folder.root / "tidings.yaml"
        path.write_text(path.read_text() + "engine: {type: celery, broker: {env: TIDINGS_BROKER}}\n")
        folder.write("schedules/alert.yaml", SCHEDULE)
        runtime = stack.enter_context(folder.runtime())
        with runtime.store.write() as connection:
            for number in range(readers):
                subscribers.add(
                    connection, f"reader{number}@example.org", "digest", language="en", frequency="weekly",
                    now=datetime.now(UTC), confirmed=True,
                )  # fmt: skip
        cables = [stack.enter_context(contextlib.closing(Cable(port))) for port in ports]
        fleet = Fleet(folder, broker, server, standby, url, Path(place), cables)
        stack.callback(fleet.end)
        fleet.keep()
        yield fleet, runtime


def _wait(condition: Callable[[], bool], fleet: Fleet) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        fleet.keep()
        with contextlib.suppress(Exception):  # the database is down
            if condition():
                return True
        time.sleep(0.1)
    return False


def play(
    *, seed: int, rounds: int, readers: int, seconds: float, say: Callable[[str], None] = print
) -> dict[str, Score]:
    """Play rounds until their number or the time is over. Returns the totals by fault."""
    scores: dict[str, Score] = {}
    over = time.monotonic() + seconds
    with _open_fleet(readers) as (fleet, runtime):

        def is_ready() -> bool:
            with runtime.store.read() as connection:
                alive = [beat for beat in load_heartbeats(connection) if runtime.liveness.is_alive(beat.owner)]
            return len(alive) >= 6 and (fleet.folder.root / "public" / "en" / "index.html").exists()

        assert _wait(is_ready, fleet), "the fleet does not start"
        last = 0
        for number in range(rounds):
            if time.monotonic() > over:
                break
            dice = random.Random(f"{seed}:{number}")
            name = list(FAULTS)[number % len(FAULTS)]
            score = scores.setdefault(name, Score())
            begun, before = time.monotonic(), len(fleet.folder.mails.received)
            posts = len(fleet.folder.hook.received)
            story = f"round-{number}"
            fleet.folder.write(f"content/{story}.en.md", item(story.capitalize()))

            count = before + dice.randrange(60)
            _wait(partial(_has_begun, fleet, runtime, last, readers, count), fleet)
            FAULTS[name](fleet, dice, _mailing(runtime))
            done = _wait(partial(_is_done, runtime, last), fleet)
            found = _rows(runtime, last)
            last = max((row.id for row in found), default=last)
            _judge(score, fleet, found, readers, before, posts)
            score.seconds += time.monotonic() - begun
            say(
                f"{number + 1} (seed {seed}:{number}) {name}: {'' if done else 'NOT DONE, '}"
                f"lost {score.lost}, doubled {score.doubled} ({score.unknown} unknown), {score.seconds:.0f} s"
            )
        with runtime.store.read() as connection:
            sent = Counter(story for edition in editions.list_editions(connection) for story in edition.stories)
        twice = sum(count > 1 for count in sent.values())
        if twice:
            next(iter(scores.values())).fired_twice += twice
    return scores


def _rows(runtime: Runtime, after: int) -> list[Any]:
    with runtime.store.read() as connection:
        return [entry for entry in ledger.entries(connection, schedule="alert") if entry.id > after]


def _has_begun(fleet: Fleet, runtime: Runtime, after: int, readers: int, mails: int) -> bool:
    return len(fleet.folder.mails.received) >= mails and len(_rows(runtime, after)) > readers


def _is_done(runtime: Runtime, after: int) -> bool:
    found = _rows(runtime, after)
    return bool(found) and all(row.state == "accepted" for row in found)


def _mailing(runtime: Runtime) -> int:
    with contextlib.suppress(Exception), runtime.store.read() as connection:
        return int(connection.exec_driver_sql("SELECT coalesce(max(mailing), 1) FROM deliveries").scalar_one())
    return 1


def _judge(score: Score, fleet: Fleet, rows: list[Any], readers: int, before: int, posts: int) -> None:
    """Compare what arrived since `before` (mails) and `posts` with the ledger."""
    mails = [mail.recipient for mail in fleet.folder.mails.received[before:] if mail.recipient.startswith("reader")]
    copies = Counter(mails)
    score.rounds += 1
    score.messages += len(mails)
    score.lost += readers - len(copies)
    doubled = sum(count - 1 for count in copies.values())
    doubted = sum(row.doubts for row in rows)
    score.doubled += doubled
    score.unknown += max(0, doubled - doubted)
    desk = {request.headers.get("webhook-id") for request in fleet.folder.hook.received[posts:]}
    score.posts_doubled += max(0, len(desk - {None}) - 1)


def table(scores: dict[str, Score], seed: int, readers: int) -> str:
    """Return the table for the page."""
    lines = [
        f"Seed {seed}, {readers} readers in each round.",
        "",
        "| fault | rounds | mails | lost | doubled | of these unknown | posts doubled | stories in two editions |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, score in scores.items():
        lines.append(
            f"| {name} | {score.rounds} | {score.messages:,} | {score.lost} | {score.doubled} | {score.unknown} "
            f"| {score.posts_doubled} | {score.fired_twice} |"
        )
    return "\n".join(lines)


def _run_program() -> None:
    """Run `tidings` with a short lease, as a process of the fleet."""
    from tidings.cli import main
    from tidings.pipeline.deliver.deliverer import Deliverer

    defaults = Deliverer.__init__.__kwdefaults__
    assert defaults is not None and "lease" in defaults
    defaults["lease"] = timedelta(seconds=LEASE)
    main()


if __name__ == "__main__":
    _run_program()
