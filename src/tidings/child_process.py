"""Run code on foreign data in child processes with limits, so that hostile bytes hold up or crash only those.

A child serves many calls, because starting one takes longer than most calls. A call that exceeds a limit ends its
child; the next call starts another one.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MEMORY = 1 << 30
"""Bytes of address space of a child."""
_KEPT_MEMORY = 300_000
"""Kilobytes. A child that ever used more is not used again."""
_SLACK = 3
"""The limit of elapsed time, as a multiple of the limit of processor time."""
_START = 20
"""Seconds that a child may take to start, on a busy machine."""
MOST_ANSWER = 64 << 20
"""Bytes of an answer. The caller keeps an answer in its own memory, which has no limit."""


class ChildError(Exception):
    """The child exceeded a limit. The text names the limit."""


class _Child:
    """A child process that answers one call at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONUTF8": "1"},
            start_new_session=True,  # Ctrl-C is for the parent only
        )
        self.is_usable = True

    def call(self, function: str, data: bytes, seconds: int) -> Any:
        """Run `function` (MODULE:NAME) on the data. Raises ChildError; then the child has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        watch = threading.Timer(_SLACK * seconds + _START, end)
        watch.daemon = True
        watch.start()
        line = b""
        try:
            self._process.stdin.write(json.dumps([function, seconds, len(data)]).encode() + b"\n" + data)
            self._process.stdin.flush()
            line = self._process.stdout.readline(MOST_ANSWER)
        except OSError:
            pass  # it has ended; the answer is missing
        finally:
            watch.cancel()
        if not line.endswith(b"\n"):
            self.close()
            if is_late.is_set():
                raise ChildError(f"it takes more than {_SLACK * seconds} seconds to read")
            raise ChildError("it takes too much time or memory to read")
        answer, self.is_usable = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.is_usable = False
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class _Children:
    """The idle children of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._owner = os.getpid()

    def take(self) -> _Child:
        """Return an idle child, or a new one."""
        with self._lock:
            if self._owner != os.getpid():  # after a fork they belong to the parent
                self._owner, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else _Child()

    def give_back(self, child: _Child) -> None:
        """Keep a child for the next call, or end it."""
        if not child.is_usable:
            child.close()
            return
        with self._lock:
            self._idle.append(child)

    def close(self) -> None:
        """End all idle children."""
        with self._lock:
            if self._owner == os.getpid():
                while self._idle:
                    self._idle.pop().close()


_children = _Children()
atexit.register(_children.close)


def run_in_child(parse: Callable[[bytes], Any], data: bytes, seconds: int) -> Any:
    """Run `parse`, a function of a module, on the data in a child process and return its JSON. Raises ChildError.

    `seconds` limits processor time.
    """
    child = _children.take()
    try:
        return child.call(f"{parse.__module__}:{parse.__name__}", data, seconds)
    finally:
        _children.give_back(child)


def start_fork(work: Callable[[], T]) -> Callable[[], T]:
    """Start `work` in a fork of this process, on another core. Returns a function that waits for its result.

    That function raises what `work` raised. A fork needs little memory of its own, and no limits: it is for our own
    work, of a command without other threads. `work` must not use open connections of this process.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        # Without the cleanup of Python and of the libraries: it would end connections of the parent.
        try:
            os.close(reader)
            try:
                answer: tuple[bool, Any] = True, work()
            except BaseException as error:
                answer = False, error
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)

    def wait() -> T:
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        os.waitpid(process, 0)
        if not data:
            raise ChildError("a process that helped has ended early; perhaps there is too little memory")
        is_done, value = pickle.loads(data)  # noqa: S301
        if not is_done:
            raise value
        return value  # type: ignore[no-any-return]

    return wait


def _peak_memory() -> int:
    """Return the most memory that this process has used, in kilobytes.

    Not `ru_maxrss`: a process inherits that peak from the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def serve() -> None:
    """Answer calls from standard input until it ends. A call that exceeds a limit, or fails, ends this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # so that no library can write into an answer
    while line := source.readline():
        function, seconds, length = json.loads(line)
        module, _, name = function.partition(":")
        parse = getattr(importlib.import_module(module), name)
        data = source.read(length)
        # The signal's default action ends the process at once, also inside a pattern or a library written in C.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = parse(data)
        is_usable = _peak_memory() < _KEPT_MEMORY
        target.write(json.dumps([answer, is_usable]).encode() + b"\n")
        target.flush()
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    serve()
