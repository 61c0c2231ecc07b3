"""Sinks for the benchmarks of sending, and Postfix's `smtp-source` and `smtp-sink`.

The C sink is built from bench/sink.c. Postfix's programs are those of the machine, or come out of Debian's package,
which is unpacked and not installed: its daemons are never started. Both stand in .bench/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PLACE = Path(__file__).parents[1] / ".bench"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SENDER_CORE = {CORES[0]} if len(CORES) > 1 else set(CORES)
SINK_CORE = {CORES[1]} if len(CORES) > 1 else set(CORES)
"""A core each, where there are two."""
EVERY = 997
"""Each so manieth message is kept and looked at."""


@dataclass(frozen=True)
class Taken:
    """What a sink saw: counts, and its own seconds of the processor."""

    messages: int
    cpu: float
    most: int = 0
    bytes: int = 0


def pinned(command: Sequence[str | Path], cores: set[int]) -> list[str]:
    """The command on these cores alone."""
    named = [str(word) for word in command]
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *named] if cores and shutil.which("taskset") else named


def built_sink() -> Path:
    """The C sink, built anew when its source has changed."""
    source, program = Path(__file__).with_name("sink.c"), PLACE / "sink"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        PLACE.mkdir(exist_ok=True)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            sys.exit("The sink of the benchmark is written in C: install gcc (on Debian: apt install gcc libc6-dev).")
        fresh = program.with_name(f"sink-{os.getpid()}")
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", fresh, source], check=True)
        fresh.replace(program)
    return program


class SmtpSink:
    """A sink on a free port, until `taken` or the end of a `with`."""

    port: int
    _process: subprocess.Popen[str]

    def taken(self) -> Taken:
        """End it; what it took."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class CSink(SmtpSink):
    """The C sink. Its log and samples stand in `folder`."""

    def __init__(self, folder: Path, *, delay_ms: int = 0, pipelining: bool = True, every: int = EVERY) -> None:
        self.log = folder / "log"
        self.samples = folder / "samples"
        self.samples.mkdir(parents=True)
        command: list[str | Path] = [
            built_sink(),
            "-l",
            self.log,
            "-s",
            self.samples,
            "-e",
            str(every),
            "-d",
            str(delay_ms),
        ]
        if not pipelining:
            command.append("-P")
        self._process = subprocess.Popen(pinned(command, SINK_CORE), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def taken(self) -> Taken:
        """End it; what it took."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=30)
        found = json.loads(said)
        return Taken(found["messages"], found["cpu"], found["most"], found["bytes"])

    def recipients(self) -> list[str]:
        """Of each message it took, once it has ended."""
        return [line.partition("\t")[2] for line in self.log.read_text().splitlines()]


class PostfixSink(SmtpSink):
    """`smtp-sink`. It counts; it keeps no recipients."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._said = (folder / "count").open("w+")
        # It wants another user when it is started by root.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = pinned([postfix("smtp-sink"), "-c", *user, f"127.0.0.1:{self.port}", "64"], SINK_CORE)
        self._process = subprocess.Popen(
            command, stdout=self._said, stderr=subprocess.DEVNULL, env=postfix_env(), text=True
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        sys.exit("smtp-sink did not start")

    def taken(self) -> Taken:
        """End it; what it took."""
        self._process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        self._said.seek(0)
        counted = re.findall(r"mesg=(\d+)", self._said.read())
        self._said.close()
        return Taken(int(counted[-1]) if counted else 0, usage.ru_utime + usage.ru_stime)


def postfix(name: str) -> Path:
    """`smtp-source` or `smtp-sink`; Debian's package is fetched and unpacked where the machine has neither."""
    if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(found)
    place = PLACE / "postfix"
    if not (place / "usr/sbin" / name).exists():
        place.mkdir(parents=True, exist_ok=True)
        if shutil.which("apt-get") is None:
            sys.exit(f"{name} is missing: install Postfix, or leave its daemons out and put {name} on the PATH.")
        subprocess.run(["apt-get", "download", "-q", "postfix"], cwd=place, check=True, capture_output=True)
        (package,) = place.glob("postfix_*.deb")
        subprocess.run(["dpkg", "-x", package, place], check=True)
        package.unlink()
    return place / "usr/sbin" / name


def postfix_env() -> dict[str, str]:
    """With the libraries of the unpacked package."""
    return {**os.environ, "LD_LIBRARY_PATH": str(PLACE / "postfix/usr/lib/postfix")}
