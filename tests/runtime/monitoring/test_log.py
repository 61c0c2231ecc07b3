"""The log of the service."""

from __future__ import annotations

import logging

from tidings.runtime.monitoring.log import RepeatFilter


def record(name: str, text: str, second: float, *args: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "", 0, text, args, None)
    made.created = second
    return made


def test_repeated_lines_are_counted_not_written() -> None:
    lines = RepeatFilter()
    taken = [record("uvicorn.error", "Invalid HTTP request received.", second / 1_000) for second in range(10_000)]
    assert sum(lines.filter(each) for each in taken) == 5
    later = record("uvicorn.error", "Invalid HTTP request received.", 61.0)
    assert lines.filter(later)
    assert later.getMessage() == "Invalid HTTP request received. (9,995 more lines like this left out)"


def test_different_lines_are_all_written() -> None:
    lines = RepeatFilter()
    assert all(lines.filter(record("tidings.service", "source %s: new", 1.0, f"s{number}")) for number in range(3_000))
