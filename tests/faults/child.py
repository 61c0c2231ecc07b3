"""The code of the processes that get faults: `tests.faults.warm` starts `python -m tests.faults.child`.

It imports everything once, and forks a tick of a newsroom or a sink on request, so that a thousand of them are cheap.
Each child is an ordinary process: it opens its own store, takes its own lock, and can be killed.

`Spec` gives a child its fault. It ends itself with SIGKILL or stops itself with SIGSTOP when it passes a named point
for the nth time. Or it is slow at points, or has a small disk, a short wait for the database, a short lease or a
wrong clock. Points are the names that the product gives to `Runtime(reached=...)`, every COMMIT (`before-commit` and
`after-commit`) and every statement (`statement`).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.plan import Plan


@dataclass
class Spec:
    """One tick of a newsroom, and the fault that it gets."""

    root: str
    now: str
    """The newsroom's clock, in ISO 8601."""
    log: str
    """The file for its reports: see `ChildReport`."""
    env: dict[str, str] = field(default_factory=dict)
    point: str = ""
    nth: int = 0
    act: int = signal.SIGKILL
    dawdle: float = 0.0
    """Longest pause at a point, in seconds; `seed` chooses it."""
    seed: int = 0
    lease: float | None = None
    busy_timeout: float | None = None
    file_size: int | None = None
    """The size in bytes that no file may exceed."""
    clock_error: float = 0.0
    """Seconds by which the real clock of this process is wrong."""


@dataclass
class ChildReport:
    """The report of a child: how often it passed each point, what was delivered, and how it ended."""

    points: Counter[str] = field(default_factory=Counter)
    composing: Counter[str] = field(default_factory=Counter)
    """Passed points until the first claim, which is all work before delivery."""
    delivered: Counter[str] = field(default_factory=Counter)
    stalled: dict[str, str] = field(default_factory=dict)
    error: str = ""
    intents: list[tuple[int, int | None]] = field(default_factory=list)
    """(nanoseconds of CLOCK_MONOTONIC, delivery where it is known) of each passing of `after-intent`."""

    @staticmethod
    def read(path: Path) -> ChildReport:
        """Read its log, as far as it was written."""
        report = ChildReport()
        for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
            kind, value = json.loads(line)
            if kind == "intent":
                report.intents.append((value[0], value[1]))
            elif kind == "error":
                report.error = value
            else:
                report.points, report.composing = Counter(value["points"]), Counter(value["composing"])
                report.delivered, report.stalled = Counter(value["delivered"]), value["stalled"]
        return report


def _serve() -> None:
    # Import all modules of a tick once, so that each fork has them.
    import tidings.channels.chat.webhook
    import tidings.channels.smtp.relay
    import tidings.cli
    import tidings.pipeline.compose.composer
    import tidings.pipeline.deliver.deliverer
    import tidings.pipeline.deliver.prepare
    import tidings.runtime.tick  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any] = {}
        if asked["do"] == "beat":
            answer["pid"] = _fork(partial(_beat, Spec(**asked["spec"])))
        elif asked["do"] == "sink":
            reader, writer = os.pipe()
            answer["pid"] = _fork(partial(_sink, asked, writer))
            os.close(writer)
            with os.fdopen(reader) as pipe:
                answer["port"] = int(pipe.read())
        elif asked["do"] == "wait":
            answer["code"] = os.waitstatus_to_exitcode(os.waitpid(asked["pid"], 0)[1])
        print(json.dumps(answer), flush=True)


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _fork(work: Any) -> int:
    """Fork a child that does `work` and ends. It never returns into the parent's loop."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # Only the parent has the pipes: a child that lives longer must not hold them open.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _sink(asked: dict[str, Any], writer: int) -> None:
    from tests.faults.http_sink import HttpSink
    from tests.faults.smtp_sink import SmtpSink
    from tidings.store.engine import Store

    plan, journal = Plan(**asked["plan"]), Path(asked["journal"])
    sink: SmtpSink | HttpSink
    if asked["kind"] == "smtp":
        sink = SmtpSink(journal, plan, partial(_doubts, Store(asked["url"], Path(asked["root"]))))
    else:
        sink = HttpSink(journal, plan)
    os.write(writer, str(sink.port).encode())
    os.close(writer)
    sink.serve()


def _doubts(store: Any, address: str) -> int:
    """Return the largest number of times that a delivery to this address was in doubt, by the ledger."""
    from tidings.store.delivery import ledger
    from tidings.store.people import subscribers

    with store.read() as connection:
        who = subscribers.find_id(connection, address)
        # Notices go to the team and belong to no schedule.
        rows = list(
            ledger.entries(connection, schedule="") if who is None else ledger.entries(connection, subscriber=who)
        )
    return max((row.doubts for row in rows if row.address == address), default=0)


_DAWDLES = {"before-intent": 0.5, "after-intent": 0.0}
"""How often a pause is made at points where it could let a wrong message through.

Never after an intent: one write has the intents of several messages, and the harness records each at once. After a
pause between two records, the second message would seem to begin after its reader left.
"""


class _Hook:
    """The function `reached` in a child."""

    def __init__(self, spec: Spec, log: int) -> None:
        import random

        self._spec = spec
        self._log = log
        self._left = spec.nth
        self._mutex = threading.Lock()
        self._dice = random.Random(spec.seed)
        self.points: Counter[str] = Counter()
        self.composing: Counter[str] = Counter()

    def __call__(self, point: str, *about: Any) -> None:
        """Report that a point was passed. `about` may name the delivery."""
        spec = self._spec
        with self._mutex:
            if point == "before-claim" and not self.points[point]:
                self.composing = self.points.copy()
            self.points[point] += 1
            if point == "after-intent":
                known = about[0] if about and isinstance(about[0], int) else None
                self.say("intent", [time.monotonic_ns(), known])
            mine = spec.nth and spec.point in (point, "any")
            if mine:
                self._left -= 1
            now = mine and self._left == 0
            pause = (
                self._dice.random() * spec.dawdle
                if spec.dawdle and self._dice.random() < _DAWDLES.get(point, 0.1)
                else 0.0
            )
        if now:
            os.kill(os.getpid(), spec.act)
        if pause and point not in ("statement", "before-commit", "after-commit"):
            time.sleep(pause)

    def say(self, kind: str, value: Any) -> None:
        """Write one line with one write. A full disk does not stop it: the log is on another disk."""
        os.write(self._log, json.dumps([kind, value]).encode() + b"\n")


def _beat(spec: Spec) -> int:
    from datetime import UTC, datetime, timedelta

    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.default import DefaultDialect

    from tidings.pipeline.deliver import deliverer
    from tidings.runtime import newsroom, tick
    from tidings.store import engine

    log = os.open(spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    hook = _Hook(spec, log)

    commit: Any = DefaultDialect.do_commit

    def noted_commit(self: Any, connection: Any) -> None:
        hook("before-commit")
        commit(self, connection)
        hook("after-commit")

    DefaultDialect.do_commit = noted_commit  # type: ignore[method-assign]

    def noted_statement(*_: Any) -> None:
        hook("statement")

    event.listen(Engine, "before_cursor_execute", noted_statement)
    if spec.busy_timeout is not None:
        engine.BUSY_TIMEOUT = spec.busy_timeout
    if spec.file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (spec.file_size, resource.RLIM_INFINITY))
    options: dict[str, Any] = {}
    if spec.lease is not None:
        options["lease"] = timedelta(seconds=spec.lease)
    if spec.clock_error:
        wrong = timedelta(seconds=spec.clock_error)
        options["real_clock"] = lambda: datetime.now(UTC) + wrong
        tick.recover = partial(tick.recover, real_now=datetime.now(UTC) + wrong)  # type: ignore[attr-defined]
    deliverer.Deliverer = partial(deliverer.Deliverer, **options)  # type: ignore[assignment, misc]

    loaded = newsroom.load_newsroom(Path(spec.root), spec.env)
    assert loaded.newsroom is not None, [str(problem) for problem in loaded.problems]
    code = 0
    try:
        with newsroom.Runtime(loaded.newsroom, reached=hook) as runtime:
            runtime.set_clock(datetime.fromisoformat(spec.now))
            done = tick.tick(runtime, runtime.now())
        answer = {"points": hook.points, "composing": hook.composing}
        hook.say("done", answer | {"delivered": done.delivered, "stalled": done.stalled})
    except Exception as error:
        hook.say("error", f"{type(error).__name__}: {error}".splitlines()[0][:300])
        code = 1
    return code


if __name__ == "__main__":
    _serve()
