"""The log of the service."""

from __future__ import annotations

import json
import logging
from zoneinfo import ZoneInfo

import pytest

from tidings.model.errors import InputError
from tidings.runtime.monitoring import log
from tidings.runtime.monitoring.log import Redactor, RepeatFilter, start_log


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


def test_lines_in_json_have_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    former, level = logging.root.handlers[:], logging.root.level
    monkeypatch.setenv(log.FORM, "json")
    try:
        start_log(Redactor(("hunter2",)), ZoneInfo("Asia/Almaty"))
        try:
            raise ValueError("hunter2\nfailed")
        except ValueError:
            logging.getLogger("tidings.service").exception("source %s", "сайт")
    finally:
        logging.root.handlers[:] = former
        logging.root.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line)
    assert fields["message"] == "source сайт: ValueError: [secret]\nfailed"
    assert fields["level"] == "error" and fields["logger"] == "tidings.service"
    assert fields["time"].endswith("+00:00")


def test_an_unknown_form_of_the_log_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(log.FORM, "xml")
    with pytest.raises(InputError, match="Write json or text"):
        log.is_json()
