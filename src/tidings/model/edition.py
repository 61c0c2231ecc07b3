"""Editions: a numbered, frozen selection of stories for one slot of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EditionState(StrEnum):
    """Where an edition stands. Terminal: done, cancelled, superseded."""

    COMPOSING = "composing"
    """Its slot is claimed; items, bytes and recipients are being frozen. A crash here composes it anew."""
    HELD = "held"
    """Frozen, and waiting for a person; its stories are reserved."""
    SENDING = "sending"
    """Released: its deliveries may be claimed."""
    DONE = "done"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class HoldReason(StrEnum):
    """Why an edition waits for a person."""

    GATE = "gate"
    LATE = "late"
    APPROVAL = "approval"
    WITHDRAWN = "withdrawn"
    RESTORED = "restored"
    """The store came out of a backup: it may have gone out since."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why an edition is held, with the words a person reads."""

    reason: HoldReason
    detail: str


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition as the store holds it. `slot` is None for one that a person asked for (`tidings send`)."""

    id: int
    schedule: str
    number: int
    slot: datetime | None
    cut: datetime
    starts: datetime
    state: EditionState
    stories: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()

    @property
    def name(self) -> str:
        """`SCHEDULE/NUMBER`, as every command writes it."""
        return f"{self.schedule}/{self.number}"
