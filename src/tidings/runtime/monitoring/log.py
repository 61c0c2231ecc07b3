"""The log of the service: single lines in the site's time zone, or JSON for programs, without secrets."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tidings.model.errors import InputError
from tidings.model.plurals import count_noun

FORM = "TIDINGS_LOG"
"""The environment variable with the form of the log: `text`, the default, or `json`."""

_MINUTE = 60.0
_REPEATS = 5
"""Times that the same line is written in a minute."""
_MAX_LINES = 1_000
"""Different lines that are remembered."""


class Redactor(logging.Filter):
    """Removes the newsroom's secrets from log records. A new configuration replaces `secrets`."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self.secrets = secrets

    def text(self, line: str) -> str:
        """Return `line` without secrets."""
        for secret in self.secrets:
            line = line.replace(secret, "[secret]")
        return line

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place. Keep only the last line of a traceback."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text.splitlines()[0] if text else 'fault'}: {type(error).__name__}: {error}"
            record.exc_info = record.exc_text = None
        record.msg, record.args = self.text(text), ()
        return True


class RepeatFilter(logging.Filter):
    """Counts lines that repeat in place of writing them: each of the first few in a minute, then one with the count.

    Otherwise anybody who causes a warning with each request could fill the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a line to leave out. Add the count to the first line of the next minute."""
        # Lines of libraries differ in details that the other side chooses. Ours are about different things.
        is_ours = record.name.partition(".")[0] == "tidings"
        key = record.name, record.getMessage() if is_ours else str(record.msg)
        began, count = self._seen.get(key, (record.created, 0))
        if record.created - began >= _MINUTE:
            if count > _REPEATS:
                more = count_noun(count - _REPEATS, "more line", "more lines")
                record.msg, record.args = f"{record.getMessage()} ({more} like this left out)", ()
            began, count = record.created, 0
        if len(self._seen) >= _MAX_LINES:
            self._seen.clear()
        self._seen[key] = began, count + 1
        return count < _REPEATS


class LocalTime(logging.Formatter):
    """Formats `2026-12-01 09:00:00 message` in a time zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__("%(asctime)s %(message)s")
        self.zone = zone

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Format the moment of the record."""
        return f"{datetime.fromtimestamp(record.created, UTC).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


class JsonLines(logging.Formatter):
    """Formats a JSON object on one line, with the moment in UTC (RFC 3339)."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            "thread": record.threadName,
        }
        return json.dumps(fields, ensure_ascii=False)


def is_json() -> bool:
    """Whether the log is JSON. Raises InputError for an unknown form."""
    form = os.environ.get(FORM) or "text"
    if form not in ("text", "json"):
        raise InputError(f"{FORM} is {form!r} in the environment. Write json or text.")
    return form == "json"


def start_log(redactor: Redactor, zone: ZoneInfo) -> None:
    """Log to stderr: our own lines from INFO, those of libraries from WARNING. Raises InputError as `is_json` does."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if is_json() else LocalTime(zone))
    handler.addFilter(RepeatFilter())
    handler.addFilter(redactor)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tidings").setLevel(logging.INFO)
