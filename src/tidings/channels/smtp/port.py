"""The port between a mail relay and the queue whose messages it sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tidings.model.delivery import Outcome

COMMAND_TIMEOUT = 60.0
"""Seconds for each reply and each write."""
DOT_TIMEOUT = 600.0
"""Seconds to wait for the reply to the final dot (RFC 5321 §4.5.3.2.6): giving up sooner makes duplicates."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a reply may take, in seconds."""

    command: float = COMMAND_TIMEOUT
    dot: float = DOT_TIMEOUT


class Mail(Protocol):
    """A message with its envelope."""

    @property
    def sender(self) -> str:
        """The return path; may be empty."""

    @property
    def recipient(self) -> str:
        """One recipient."""

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces. Every line ends in CRLF, also the last one (see `end_lines_with_crlf`)."""

    @property
    def is_plain(self) -> bool:
        """Whether the message is known to be ASCII with no line that begins with a dot. If not, it is searched."""


class MailQueue(Protocol):
    """The messages of one run. New ones may come while it runs. All calls come from one thread."""

    def take(self) -> Mail | None:
        """Return the next message, or None if there is none now."""

    def begin(self, mails: Sequence[Mail]) -> Sequence[bool]:
        """Announce messages whose first byte is sent next. False for one that may not begin: the queue has it back."""

    def record_accepted(self, mail: Mail, receipt: str, via: str) -> None:
        """Record that the relay `via` accepted a message, with its reply as the receipt."""

    def record_outcome(self, mail: Mail, outcome: Outcome) -> None:
        """Record any other outcome of a message."""

    def give_back(self, mail: Mail) -> None:
        """Take a message back of which nothing was sent, for no fault of its own."""

    def seconds_until_next(self) -> float | None:
        """Return the seconds until `take` may have more; None once nothing more comes. Called once a second or more."""

    def flush_outcomes(self) -> None:
        """Save what was recorded. Called before the relay waits for anything."""

    def stall(self, reason: str) -> None:
        """End the run because no connection can be had. The relay takes nothing more."""
