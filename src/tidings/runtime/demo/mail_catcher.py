"""The built-in mail catcher: an SMTP server on loopback that keeps every mail and delivers none."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from typing import Any

from aiosmtpd.controller import Controller

from tidings.runtime.demo.servers import find_free_port


@dataclass(frozen=True)
class CaughtMail:
    """One received message."""

    number: int
    sender: str
    recipient: str
    data: bytes

    @cached_property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.data, policy=email.policy.default)

    def part(self, kind: str) -> str:
        """Return the `html` or `plain` body, or '' if it has none."""
        body = self.message.get_body((kind,))
        return "" if body is None else str(body.get_content())

    @property
    def subject(self) -> str:
        return str(self.message["Subject"] or "")

    @property
    def language(self) -> str:
        return str(self.message["Content-Language"] or "")

    @property
    def date(self) -> str:
        return str(self.message["Date"] or "")


class MailCatcher:
    """`with MailCatcher() as catcher:` listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._mails: list[CaughtMail] = []
        self._lock = threading.Lock()
        self.port = find_free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ident="catcher")

    @property
    def mails(self) -> Sequence[CaughtMail]:
        """Return the mails in the order of their arrival."""
        with self._lock:
            return list(self._mails)

    def take(self) -> Sequence[CaughtMail]:
        """Return the mails since the last call, and forget them."""
        with self._lock:
            mails, self._mails = self._mails, []
        return mails

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a message (called by aiosmtpd)."""
        with self._lock:
            for recipient in envelope.rcpt_tos:
                number = len(self._mails) + 1
                self._mails.append(CaughtMail(number, envelope.mail_from, recipient, envelope.content))
        return f"250 2.0.0 caught as message {number}"

    def __enter__(self) -> MailCatcher:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
