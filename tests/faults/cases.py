"""The faults: what each one does in a round. All choices come from the round's seed, so that they can be replayed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from tests.faults import journal
from tests.faults.child import ChildReport
from tests.faults.newsrooms import SCHEDULE, SLOT
from tests.faults.plan import Plan
from tests.faults.rounds import Round
from tidings.store.people import consent, subscribers

KILLS = 4
"""Several kills in one edition, so that recovery is killed too."""
OUTSIDE = frozenset({"statement", "before-commit", "after-commit"})
"""Kill points that the harness adds. The product names the others."""


class Case:
    """A fault. `do` disturbs one round; `plan` says how the sinks behave during it."""

    def __init__(
        self,
        name: str,
        title: str,
        share: float,
        do: Callable[[Round, ChildReport, float], None],
        *,
        plan: Callable[[int], Plan] | None = None,
        sqlite_only: bool = False,
        kills: bool = False,
    ) -> None:
        self.name = name
        self.title = title
        self.share = share
        """Number of points of this fault for each requested point. All kills together count as one."""
        self.do = do
        self.plan = plan or _moody
        self.sqlite_only = sqlite_only
        self.kills = kills
        """Whether its points are kill -9."""


def _moody(seed: int) -> Plan:
    """Let the sinks fail too, in every second round."""
    return Plan(seed=seed, often=0.12 if seed % 2 else 0.0, pipelining=seed % 4 < 2)


def _kind(seed: int) -> Plan:
    return Plan(seed=seed, pipelining=seed % 2 == 0)


def _stubborn(seed: int) -> Plan:
    return Plan(seed=seed, often=0.6, pipelining=seed % 2 == 0, refuses=True)


def _slow(seed: int) -> Plan:
    return Plan(seed=seed, delay=0.004, pipelining=seed % 2 == 0)


# -- kill -9 ----------------------------------------------------------------------------------------------------------


def boundary(tried: Round, calm: ChildReport, took: float) -> None:
    """Kill at a named point, again and again, until the edition is over."""
    point = tried.dice.choice(sorted(set(calm.points) - OUTSIDE))
    _kill_at(tried, point, calm.points[point])


def commit(tried: Round, calm: ChildReport, took: float) -> None:
    """Kill right before or right after a COMMIT."""
    point = tried.dice.choice(["before-commit", "after-commit"])
    _kill_at(tried, point, calm.points[point])


def composing(tried: Round, calm: ChildReport, took: float) -> None:
    """Kill at any SQL statement before delivery: collecting, publishing, composing, addressing."""
    for _ in range(KILLS):
        if tried.run(point="statement", nth=tried.dice.randint(1, calm.composing["statement"])) == 0:
            break
    tried.finish()


def _kill_at(tried: Round, point: str, times: int) -> None:
    for _ in range(KILLS):
        if tried.run(point=point, nth=tried.dice.randint(1, max(1, times // 2))) == 0:
            break
    tried.finish()


def moment(tried: Round, calm: ChildReport, took: float) -> None:
    """Kill from outside, at a random moment."""
    for _ in range(KILLS):
        process = tried.start()
        time.sleep(tried.dice.uniform(0.1, took))
        os.kill(process.pid, signal.SIGKILL)
        if tried.ended(process) == 0:
            break
        tried.hit("a random moment")
    tried.finish()


def command(tried: Round, calm: ChildReport, took: float) -> None:
    """Kill `tidings tick` and `tidings run` as a user starts them. Every third `run` gets SIGTERM instead."""
    runs = tried.seed % 2 == 1
    if runs:
        # This runs in real time, so a slot must come due soon.
        path = tried.newsroom.root / "schedules" / f"{SCHEDULE}.yaml"
        path.write_text(path.read_text().replace('{daily: "09:00"}', "{every: 15m}"))
        _set_port(tried.newsroom.root / "tidings.yaml")
    polite = runs and tried.seed % 3 == 0
    for _ in range(KILLS):
        moment = [] if runs else ["--now", tried.now.isoformat()]
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "run" if runs else "tick", "-C", str(tried.newsroom.root), *moment],
            env={**os.environ, **tried.newsroom.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(tried.dice.uniform(0.9, 1.2 + took))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM if polite else signal.SIGKILL)
            process.wait()
        tried.look()
        if process.returncode == -signal.SIGKILL:
            tried.hit("tidings run" if runs else "tidings tick")
        elif polite:
            tried.points += 1
        elif process.returncode == 0:
            break
    tried.now = datetime.now(UTC) if runs else tried.now
    tried.finish()


def _set_port(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path.write_text(path.read_text().replace("web: {port: 8080}", f"web: {{port: {port}}}"))


# -- a stopped process, two processes ---------------------------------------------------------------------------------


def stopped(tried: Round, calm: ChildReport, took: float) -> None:
    """SIGSTOP until the lease is over, another process takes over, SIGCONT: the stopped process begins nothing more."""
    lease = 1.0
    if tried.dice.random() < 0.5:
        point = tried.dice.choice(sorted(set(calm.points) - OUTSIDE))
        nth = tried.dice.randint(1, max(1, calm.points[point] // 2))
        sleeper = tried.start(lease=lease, point=point, nth=nth, act=signal.SIGSTOP)
        sleeper.within(took * 10 + 5, "TZ")
    else:
        sleeper = tried.start(lease=lease)
        time.sleep(tried.dice.uniform(0.1, took))
        os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(lease * 1.1)
    tried.stood_still = True
    # A process that is stopped in a transaction keeps SQLite locked (on PostgreSQL, its rows). Then nobody can take
    # over, and it continues. It also keeps the edition that it was composing as long as it lives.
    heir = tried.start(busy_timeout=1.0)
    is_free = heir.within(10.0)
    taken_over = is_free and tried.ended(heir) == 0 and tried.is_all_mailed()
    woken = time.monotonic_ns()
    os.kill(sleeper.pid, signal.SIGCONT)
    tried.ended(sleeper)
    if not is_free:
        tried.ended(heir)
    tried.deaths += 1
    tried.points += taken_over
    late = sum(when > woken for when, _ in tried.said(2).intents)
    # Nobody took over the posts and the mails to the team, so the stopped process may claim and send them.
    late -= sum(event["t"] > woken for event in journal.read(tried.newsroom.http_journal))
    # An envelope without a body is no message: the stopped process was at it, looked at the clock and hung up.
    bodies = [e for e in journal.read(tried.newsroom.smtp_journal) if e["e"] == "body" and e["t"] > woken]
    begun = [event for event in bodies if not event["to"].startswith("comms@")]
    late -= len(bodies) - len(begun)
    if taken_over and late > 0 and begun:
        tried.broken.append(f"I2: a sender that slept past its lease began {late} more messages")
    tried.finish()


def together(tried: Round, calm: ChildReport, took: float) -> None:
    """Run two services on one database. Sometimes one is killed, and a third one starts."""
    first, second = tried.start(), tried.start()
    if tried.dice.random() < 0.6:
        time.sleep(tried.dice.uniform(0.2, took))
        os.kill(first.pid, signal.SIGKILL)
        if tried.ended(first) != 0:
            tried.hit("one of two")
        tried.ended(tried.start())
    else:
        tried.ended(first)
        tried.points += 1
    tried.ended(second)
    tried.finish()


# -- the machine ------------------------------------------------------------------------------------------------------


def full_disk(tried: Round, calm: ChildReport, took: float) -> None:
    """Limit the size of files (RLIMIT_FSIZE), then remove the limit."""
    for _ in range(2):
        size = tried.dice.randint(4, 150) * 4096
        failed = tried.run(file_size=size) != 0
        # An outcome that cannot be written leaves a mail in doubt, as a kill does.
        tried.deaths += failed
        tried.points += failed or bool(tried.said().stalled)
    tried.finish()


def locked(tried: Round, calm: ChildReport, took: float) -> None:
    """Lock the database for longer than a writer waits for it."""
    process = tried.start(busy_timeout=0.2)
    time.sleep(tried.dice.uniform(0.2, took))
    with tried.store.write() as connection:
        if not tried.store.is_sqlite:
            connection.execute(text("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"))
        time.sleep(tried.dice.choice([0.5, 2.0, 6.0]))
    tried.ended(process)
    tried.points += 1
    tried.finish()


def clock(tried: Round, calm: ChildReport, took: float) -> None:
    """Set the real clock wrong by an hour or a day, move the newsroom's clock, and kill in between."""
    error = tried.dice.choice([-86_400.0, -3_600.0, 3_600.0, 86_400.0])
    tried.run(clock_error=error, point="any", nth=tried.dice.randint(300, 900))
    before = len(journal.read(tried.newsroom.smtp_journal))
    was, tried.now = tried.now, SLOT.replace(hour=1)
    if tried.run(clock_error=-error) == 0 or len(journal.read(tried.newsroom.smtp_journal)) > before:
        tried.broken.append("I5: the newsroom's clock went back and something was done")
    tried.errors.clear()
    tried.now = was
    tried.run(clock_error=-error)
    tried.points += 1
    tried.finish()


# -- readers and mail servers -----------------------------------------------------------------------------------------


def leaving(tried: Round, calm: ChildReport, took: float) -> None:
    """Unsubscribe readers during a send. The sender is slow wherever that could let a message through."""
    dies = tried.dice.random() < 0.3
    torment = {"point": "any", "nth": tried.dice.randint(300, 900)} if dies else {}
    process = tried.start(dawdle=0.02, seed=tried.seed, **torment)
    end = time.monotonic() + took * 5 + 5
    while not _begun(tried) and time.monotonic() < end:
        time.sleep(0.005)
    for _ in range(len(tried.newsroom.owed) // 2):
        # Readers whose mail is next, so that both happen at once.
        following = tried.not_yet_mailed()[:4]
        if not following:
            break
        address = tried.dice.choice(following)
        with tried.store.write() as connection:
            who = subscribers.find_id(connection, address)
            if who is None:
                continue
            how = tried.dice.choice(["leave", "leave", "complain", "erase"])
            if how == "leave":
                for name in ("digest", "press"):
                    subscribers.unsubscribe(connection, who, name, source="test", now=tried.now)
            elif how == "complain":
                consent.suppress(connection, consent.address_hash(address), "", "complaint", tried.now)
            else:
                subscribers.erase(connection, who, now=tried.now)
                tried.erased.add(address)
        tried.left.append((address, time.monotonic_ns()))
        tried.points += 1
        time.sleep(tried.dice.uniform(0.0, 0.01))
    if tried.ended(process) < 0:
        tried.hit("while they left")
    tried.finish()


def _begun(tried: Round) -> bool:
    """Whether a message is being sent."""
    path = tried.newsroom.smtp_journal
    return path.exists() and b'"rcpt"' in path.read_bytes()


def wire(tried: Round, calm: ChildReport, took: float) -> None:
    """Let the relay and the webhook refuse, stall, reset and drip, before and after they accepted the message."""
    tried.finish()
    tried.points += sum(
        1
        for event in journal.read(tried.newsroom.smtp_journal)
        if event.get("fault") or event.get("say", "250") != "250"
    )


CASES = {
    case.name: case
    for case in (
        Case("boundary", "kill -9 at each named point of delivery", 0.42, boundary, kills=True),
        Case("commit", "kill -9 right before and after a COMMIT", 0.14, commit, kills=True),
        Case("composing", "kill -9 while composing and addressing", 0.14, composing, kills=True),
        Case("moment", "kill -9 at random moments", 0.24, moment, kills=True),
        Case(
            "command",
            "kill -9 and SIGTERM of `tidings tick` and `run`",
            0.06,
            command,
            plan=_kind,
            kills=True,
        ),
        Case("together", "two services on one database, one of them killed", 0.06, together),
        Case("stopped", "SIGSTOP past the lease, another takes over, SIGCONT", 0.04, stopped, plan=_kind),
        Case("disk", "disk full", 0.04, full_disk, sqlite_only=True),
        Case("locked", "database locked for long", 0.01, locked, plan=_kind),
        Case("clock", "clock jumps, and a kill", 0.03, clock, plan=_kind),
        Case("leaving", "readers leave while it is sent", 0.50, leaving, plan=_slow),
        Case("wire", "relay and webhook refuse, stall, reset, drip", 0.80, wire, plan=_stubborn),
    )
}
