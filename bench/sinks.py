"""Sinks for the benchmarks of sending, and Postfix's `smtp-source` and `smtp-sink`.

The C sink is built from bench/sink.c. Postfix's programs are those of the machine, or come from Debian's package, which
is unpacked but not installed: its daemons are never started. Both are in .bench/.
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

FOLDER = Path(__file__).parents[1] / ".bench"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SENDER_CORE = {CORES[0]} if len(CORES) > 1 else set(CORES)
SINK_CORE = {CORES[1]} if len(CORES) > 1 else set(CORES)
"""Sender and sink have a core each if there are two."""
SAMPLE_EVERY = 997
"""The sink keeps every 997th message, which is then checked."""


@dataclass(frozen=True)
class SinkResult:
    """What a sink received: counts, its own CPU seconds, and the most connections at once."""

    messages: int
    cpu: float
    most_connections: int = 0
    bytes: int = 0


def pin(command: Sequence[str | Path], cores: set[int]) -> list[str]:
    """The command, pinned to these cores."""
    words = [str(word) for word in command]
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *words] if cores and shutil.which("taskset") else words


def build_sink() -> Path:
    """The C sink; it is built again when its source has changed."""
    source, program = Path(__file__).with_name("sink.c"), FOLDER / "sink"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        FOLDER.mkdir(exist_ok=True)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            sys.exit("The benchmark's sink is written in C: install gcc (on Debian: apt install gcc libc6-dev).")
        built = program.with_name(f"sink-{os.getpid()}")
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", built, source], check=True)
        built.replace(program)
    return program


class BaseSink:
    """A sink on a free port, until `stop` or the end of a `with` block."""

    port: int
    _process: subprocess.Popen[str]

    def stop(self) -> SinkResult:
        """Stop the sink; returns what it received."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class CSink(BaseSink):
    """The C sink. Its log and samples are in `folder`."""

    def __init__(self, folder: Path, *, delay_ms: int = 0, pipelining: bool = True, every: int = SAMPLE_EVERY) -> None:
        self.log = folder / "log"
        self.samples = folder / "samples"
        self.samples.mkdir(parents=True)
        options = ["-l", self.log, "-s", self.samples, "-e", str(every), "-d", str(delay_ms)]
        command = [build_sink(), *options, *([] if pipelining else ["-P"])]
        self._process = subprocess.Popen(pin(command, SINK_CORE), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> SinkResult:
        """Stop the sink; returns what it received."""
        self._process.send_signal(signal.SIGTERM)
        output, _ = self._process.communicate(timeout=120)
        result = json.loads(output)
        return SinkResult(result["messages"], result["cpu"], result["most"], result["bytes"])

    def recipients(self) -> list[str]:
        """The recipient of each message, in order; only after `stop`."""
        return [line.partition("\t")[2] for line in self.log.read_text().splitlines()]


class PostfixSink(BaseSink):
    """`smtp-sink`. It counts; it keeps no recipients."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._output = (folder / "count").open("w+")
        # It requires another user when root starts it.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = pin([find_postfix("smtp-sink"), "-c", *user, f"127.0.0.1:{self.port}", "64"], SINK_CORE)
        self._process = subprocess.Popen(
            command, stdout=self._output, stderr=subprocess.DEVNULL, env=postfix_env(), text=True
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        sys.exit("smtp-sink did not start")

    def stop(self) -> SinkResult:
        """Stop the sink; returns what it received."""
        self._process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        self._output.seek(0)
        counted = re.findall(r"mesg=(\d+)", self._output.read())
        self._output.close()
        return SinkResult(int(counted[-1]) if counted else 0, usage.ru_utime + usage.ru_stime)


def find_postfix(name: str) -> Path:
    """`smtp-source` or `smtp-sink`; Debian's package is downloaded and unpacked if the machine has neither."""
    if found := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Path(found)
    place = FOLDER / "postfix"
    if not (place / "usr/sbin" / name).exists():
        place.mkdir(parents=True, exist_ok=True)
        if shutil.which("apt-get") is None:
            sys.exit(f"{name} is missing: install Postfix, or put only {name} on the PATH.")
        subprocess.run(["apt-get", "download", "-q", "postfix"], cwd=place, check=True, capture_output=True)
        (package,) = place.glob("postfix_*.deb")
        subprocess.run(["dpkg", "-x", package, place], check=True)
        package.unlink()
    return place / "usr/sbin" / name


def postfix_env() -> dict[str, str]:
    """The environment with the libraries of the unpacked package."""
    return {**os.environ, "LD_LIBRARY_PATH": str(FOLDER / "postfix/usr/lib/postfix")}
