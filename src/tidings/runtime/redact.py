"""Secrets out of every line that is logged."""

from __future__ import annotations

import logging


class Redactor(logging.Filter):
    """Takes the newsroom's secrets out of log records."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self.secrets = secrets

    def text(self, line: str) -> str:
        """`line` without them."""
        for secret in self.secrets:
            line = line.replace(secret, "[secret]")
        return line

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record in place."""
        record.msg, record.args = self.text(record.getMessage()), ()
        return True
