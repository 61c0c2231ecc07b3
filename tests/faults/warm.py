"""The harness's side of the warm process, which forks ticks and sinks and reports how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.child import Spec
from tests.faults.plan import Plan


@dataclass
class Process:
    """A child of the warm process."""

    pid: int
    port: int
    warm: Warm

    def kill(self) -> int:
        """End it now. Returns the same as `wait`."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended. Returns its exit code, or minus the number of the signal."""
        return int(self.warm.ask(do="wait", pid=self.pid)["code"])

    def within(self, seconds: float, states: str = "Z") -> bool:
        """Wait until it has ended or, with `T` in the states, is stopped (SIGSTOP). Returns False if it still runs."""
        end = time.monotonic() + seconds
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] not in states:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True


class Warm:
    """One process that has imported everything. One thread may use it at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.ask(do="ready")

    def ask(self, **what: Any) -> dict[str, Any]:
        """Send one line, and read one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the warm process has died"
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def beat(self, spec: Spec) -> Process:
        """Start a tick of a newsroom in a process of its own."""
        return Process(self.ask(do="beat", spec=asdict(spec))["pid"], 0, self)

    def sink(self, kind: str, journal: Path, plan: Plan, root: Path, url: str) -> Process:
        """Start a sink (smtp or http) in a process of its own."""
        answer = self.ask(
            do="sink", kind=kind, journal=str(journal), plan=asdict(plan), root=str(root), url=url
        )  # fmt: skip
        return Process(answer["pid"], answer["port"], self)

    def close(self) -> None:
        """End it. End its children first, because they would live on."""
        self._process.communicate(timeout=30)

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
