"""The events that a sink saw, in order: one line of JSON each, appended with one write, never synced.

The kernel keeps written data when a process is killed, so a sink's journal is complete after any fault.
Every event has `t` (nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share) and `e`, the kind of event.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """A journal to append to, from any number of threads and processes."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, what: str, **details: Any) -> Event:
        """Append an event, as one line with one write."""
        event = {"t": time.monotonic_ns(), "e": what, **details}
        os.write(self._fd, json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
        return event


def read(path: Path) -> list[Event]:
    """Return every event. An incomplete last line is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
