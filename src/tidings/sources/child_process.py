"""Parse foreign data in a child process, so that hostile bytes can crash only that process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

MEMORY = 1 << 30
_SLACK = 3
"""The limit of elapsed time, as a multiple of the limit of processor time."""


class ChildError(Exception):
    """The child exceeded a limit. The text names the limit."""


def run_in_child(module: str, data: bytes, seconds: int) -> Any:
    """Run `python -m module` on the data and return its JSON. `seconds` limits processor time. Raises ChildError."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(seconds)],
            input=data,
            capture_output=True,
            timeout=_SLACK * seconds,
            check=False,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ChildError(f"it takes more than {_SLACK * seconds} seconds to read") from None
    if done.returncode != 0:
        raise ChildError("it takes too much time or memory to read")
    return json.loads(done.stdout)


def serve(parse: Callable[[bytes], Any]) -> None:
    """Run as the main function of such a module: limit this process, parse standard input, print JSON."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    result = parse(sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(result).encode("utf-8", "surrogatepass"))
