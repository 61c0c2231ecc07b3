"""The log of the service: single lines in the site's time zone, without secrets."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


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


class LocalTime(logging.Formatter):
    """Formats `2026-12-01 09:00:00 message` in a time zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__("%(asctime)s %(message)s")
        self.zone = zone

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Format the moment of the record."""
        return f"{datetime.fromtimestamp(record.created, UTC).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


def start_log(redactor: Redactor, zone: ZoneInfo) -> None:
    """Log to stderr: our own lines from INFO, those of libraries from WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(LocalTime(zone))
    handler.addFilter(redactor)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tidings").setLevel(logging.INFO)
