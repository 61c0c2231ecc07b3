"""What a sink saw, in the order in which it saw it: one line of JSON an event, appended with one write, never synced.

A kernel keeps what was written when a process is killed, so a sink's journal is whole whatever happens to either side.
Every event has `t` (nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share) and `e`, what happened.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """To append to; for any number of threads and processes."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, what: str, **details: Any) -> Event:
        """One line, one write."""
        event = {"t": time.monotonic_ns(), "e": what, **details}
        os.write(self._fd, json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
        return event


def read(path: Path) -> list[Event]:
    """Every event; what was torn off at the end is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
