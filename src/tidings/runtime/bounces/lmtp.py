"""Receive bounces from our own mail server at a port (LMTP, RFC 2033)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from sqlalchemy.exc import SQLAlchemyError

from tidings.model.errors import RefusedError
from tidings.pipeline.track.events import FeedbackResult
from tidings.store.engine import describe_fault

MAX_MESSAGE = 4 << 20
"""Bytes of a message. A bounce may contain a whole mail; the rest of a larger one is not needed."""
log = logging.getLogger("tidings.bounces")

Receive = Callable[[bytes, Sequence[str]], FeedbackResult]
"""Handles a message and the recipients of its envelope."""


class LmtpListener:
    """Answers 250 after the result is committed. Until then the mail server keeps the message."""

    def __init__(self, address: tuple[str, int], receive: Receive, is_ours: Callable[[str], bool]) -> None:
        """`is_ours`: whether an address belongs to us. Mail to other addresses is refused."""
        self._address = address
        self._receive = receive
        self._is_ours = is_ours
        self._controller: _Controller | None = None

    def start(self) -> None:
        """Start listening. Raises RefusedError if the port is used."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server(self._address, family=family)
        except OSError as error:
            raise RefusedError(
                f"Cannot listen at {host}:{port}: {error.strerror or error}. Perhaps another program uses this port: "
                "write another `bounces: {lmtp: ...}` into tidings.yaml."
            ) from None
        self._controller = _Controller(listener, self, hostname=host, port=port, ready_timeout=10)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop(no_assert=True)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        """Answer aiosmtpd for each recipient."""
        if not self._is_ours(address):
            return "550 5.1.1 no address of this newsroom"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Answer aiosmtpd for each message, once per recipient (RFC 2033 §4.2)."""
        recipients = list(envelope.rcpt_tos)
        try:
            result = await asyncio.to_thread(self._receive, bytes(envelope.content), recipients)
        except SQLAlchemyError as error:
            log.error("a bounce could not be stored; the mail server will send it again: %s", describe_fault(error))
            return "\r\n".join(["451 4.3.0 the store cannot be used now"] * len(recipients))
        text = "noted" if result.is_feedback else "ignored"
        return "\r\n".join([f"250 2.0.0 {text}"] * len(recipients))


class _Lmtp(LMTP):
    # Bounces contain mails from other programs, and some have longer lines than RFC 5321 §4.5.3.1.6 allows.
    line_length_limit = 1 << 20


class _Controller(Controller):
    """Uses a socket that already listens, so that a used port is reported at once."""

    def __init__(self, listener: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listener = listener

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)

    def factory(self) -> LMTP:
        """Speak LMTP instead of SMTP."""
        return _Lmtp(
            self.handler, data_size_limit=MAX_MESSAGE, enable_SMTPUTF8=True, ident="Tidings", hostname="tidings"
        )
