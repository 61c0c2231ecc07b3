"""The built-in mail catcher: a real SMTP server on loopback that delivers nothing and keeps everything."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller


@dataclass(frozen=True)
class CaughtMail:
    """One message as it came over the wire."""

    number: int
    sender: str
    recipient: str
    data: bytes

    @cached_property
    def message(self) -> EmailMessage:
        """Parsed."""
        return email.message_from_bytes(self.data, policy=email.policy.default)

    def part(self, kind: str) -> str:
        """The `html` or `plain` body; empty where there is none."""
        found = self.message.get_body((kind,))
        return "" if found is None else str(found.get_content())

    @property
    def subject(self) -> str:
        """Decoded."""
        return str(self.message["Subject"] or "")


class MailCatcher:
    """`with MailCatcher() as catcher:` listens on a free port of 127.0.0.1."""

    def __init__(self, port: int = 0) -> None:
        self._mails: list[CaughtMail] = []
        self._lock = threading.Lock()
        self._port = port or _free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port, ident="catcher")

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def mails(self) -> Sequence[CaughtMail]:
        """In the order in which they came."""
        with self._lock:
            return list(self._mails)

    def take(self) -> Sequence[CaughtMail]:
        """What came since the last call; it is kept no longer."""
        with self._lock:
            found, self._mails = self._mails, []
        return found

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Called by aiosmtpd for each message; what is answered 250 is kept."""
        with self._lock:
            for recipient in envelope.rcpt_tos:
                number = len(self._mails) + 1
                self._mails.append(CaughtMail(number, envelope.mail_from, recipient, envelope.content))
        return f"250 2.0.0 kept as {number}"

    def __enter__(self) -> MailCatcher:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
