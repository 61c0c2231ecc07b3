"""Reading what others made in a process of its own: hostile bytes can end that process and nothing else."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 1 << 30
_SLACK = 3
"""Times its seconds of processor time may pass on the clock."""


class ChildError(Exception):
    """It takes more than it may; says what of."""


def run_in_child(module: str, given: bytes, seconds: int) -> Any:
    """What `python -m module` answers in JSON. `seconds` are of processor time. Raises ApartError."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(seconds)],
            input=given,
            capture_output=True,
            timeout=_SLACK * seconds,
            check=False,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"it takes more than {_SLACK * seconds} seconds to read") from None
    if done.returncode != 0:
        raise ChildError("it takes more time or memory to read than it may")
    return json.loads(done.stdout)


def run_child(read: Callable[[bytes], Any]) -> None:
    """The main function of such a module."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    found = read(sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(found).encode("utf-8", "surrogatepass"))
