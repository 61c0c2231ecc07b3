"""The port between a relay and whoever has the messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tidings.model.delivery import Outcome

COMMAND_TIMEOUT = 60.0
"""Seconds for each reply and each write."""
DOT_TIMEOUT = 600.0
"""Seconds to wait for the reply to the final dot (RFC 5321 §4.5.3.2.6): giving up sooner makes duplicates."""


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
        """The message in pieces; lines end in CRLF, also the last one (see `lines_ended`)."""

    @property
    def is_plain(self) -> bool:
        """Whether it is known to be ASCII, with no line that begins with a dot; else it is looked at."""


class Work(Protocol):
    """Who has the messages. All calls come from one thread."""

    def take(self) -> Mail | None:
        """The next message; None if there is none now."""

    def begin(self, mails: Sequence[Mail]) -> Sequence[bool]:
        """The first byte of each goes out now; False for one that may not: it is the caller's again."""

    def accepted(self, mail: Mail, receipt: str, via: str) -> None:
        """The relay `via` took it, and said `receipt`."""

    def done(self, mail: Mail, outcome: Outcome) -> None:
        """What else became of it."""

    def back(self, mail: Mail) -> None:
        """Nothing of it was sent, by no fault of its own."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a reply may take, in seconds."""

    command: float = COMMAND_TIMEOUT
    dot: float = DOT_TIMEOUT


class Errand(Work, Protocol):
    """Work that may come bit by bit; `SmtpRelay.carry` goes on until it is over."""

    def rest(self) -> float | None:
        """Seconds until `take` may have more by itself; None once nothing more comes. Called at least once a second."""

    def note(self) -> None:
        """What was `accepted` and `done` stands nowhere yet; called before the relay waits for anything."""

    def stalled(self, reason: str) -> None:
        """No connection can be had; nothing more is taken."""
