"""A port where a mail server of our own hands bounces over (LMTP, RFC 2033)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from sqlalchemy.exc import SQLAlchemyError

from tidings.model.errors import RefusedError
from tidings.pipeline.track.inbound import Heard

LARGEST = 10 << 20
"""Bytes of a message; more is not looked at either way, but a bounce may bring a whole mail back."""
log = logging.getLogger("tidings.bounces")

Receive = Callable[[bytes, Sequence[str]], Heard]
"""Takes a message and the recipients of its envelope."""


class BounceListener:
    """Answers 250 once what a message says has committed: until then the other side keeps it."""

    def __init__(self, address: tuple[str, int], receive: Receive, is_ours: Callable[[str], bool]) -> None:
        """`is_ours`: whether an address is a return path. No other is taken."""
        self._address = address
        self._receive = receive
        self._is_ours = is_ours
        self._controller = _Controller(self, hostname=address[0], port=address[1], ready_timeout=10)

    def start(self) -> None:
        """Listen. Raises RefusedError where the port is taken."""
        try:
            self._controller.start()
        except OSError as error:
            host, port = self._address
            raise RefusedError(
                f"{host}:{port} cannot be listened on: {error.strerror or error}. Perhaps another program has it: "
                "write another `bounces: {lmtp: ...}` into tidings.yaml."
            ) from None

    def stop(self) -> None:
        """Take nothing more."""
        self._controller.stop(no_assert=True)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        """Called by aiosmtpd for each recipient."""
        if not self._is_ours(address):
            return "550 5.1.1 not a return path of this newsroom"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Called by aiosmtpd for each message; one answer for each recipient (RFC 2033 §4.2)."""
        recipients = list(envelope.rcpt_tos)
        try:
            heard = await asyncio.to_thread(self._receive, bytes(envelope.content), recipients)
        except SQLAlchemyError as error:
            log.error("a bounce could not be noted, it comes again: %s", type(error).__name__)
            return "\r\n".join(["451 4.3.0 the store cannot be used now"] * len(recipients))
        said = "noted" if heard.counts else "ignored"
        return "\r\n".join([f"250 2.0.0 {said}"] * len(recipients))


class _Controller(Controller):
    def factory(self) -> LMTP:
        """Speaks LMTP instead of SMTP."""
        return LMTP(self.handler, data_size_limit=LARGEST, enable_SMTPUTF8=True, ident="Tidings", hostname="tidings")
