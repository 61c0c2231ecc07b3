"""The service's log: calm single lines by the site's clock, with no secret in them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


class Redactor(logging.Filter):
    """Takes the newsroom's secrets out of log records. `secrets` are replaced when the configuration is."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self.secrets = secrets

    def text(self, line: str) -> str:
        """`line` without them."""
        for secret in self.secrets:
            line = line.replace(secret, "[secret]")
        return line

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record in place; of a traceback the last line stays."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text.splitlines()[0] if text else 'fault'}: {type(error).__name__}: {error}"
            record.exc_info = record.exc_text = None
        record.msg, record.args = self.text(text), ()
        return True


class LocalTime(logging.Formatter):
    """`2026-12-01 09:00:00 message`, by the clocks of a zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__("%(asctime)s %(message)s")
        self.zone = zone

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Of the moment of the record, in the zone."""
        return f"{datetime.fromtimestamp(record.created, UTC).astimezone(self.zone):%Y-%m-%d %H:%M:%S}"


def start_log(redactor: Redactor, zone: ZoneInfo) -> None:
    """Log to stderr: our own lines from INFO, what libraries say from WARNING."""
    handler = logging.StreamHandler()
    handler.setFormatter(LocalTime(zone))
    handler.addFilter(redactor)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tidings").setLevel(logging.INFO)
