"""Editions: a numbered, frozen selection of stories for one slot of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tidings.model.item import Item


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
    cutoff: datetime
    starts: datetime
    state: EditionState
    stories: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()

    @property
    def name(self) -> str:
        """`SCHEDULE/NUMBER`, as every command writes it."""
        return f"{self.schedule}/{self.number}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The items for one set of readers who get the same, in one language, each part in reading order.

    `lead` is None where nothing is new. `titles` are the stories beyond `max_items`, shown as linked titles.
    `corrections` go to readers who had the story before it was corrected, `notes` open the digest.
    """

    language: str
    lead: Item | None = None
    items: tuple[Item, ...] = ()
    titles: tuple[Item, ...] = ()
    notes: tuple[Item, ...] = ()
    corrections: tuple[Item, ...] = ()

    @property
    def lead_items(self) -> tuple[Item, ...]:
        """The lead, if there is one."""
        return (self.lead,) if self.lead else ()

    @property
    def stories(self) -> tuple[str, ...]:
        """The story keys that count as had by who gets this (neither notes nor corrections)."""
        return tuple(item.story for item in (*self.lead_items, *self.items, *self.titles))

    @property
    def all_items(self) -> tuple[Item, ...]:
        """Every item that the digest shows, in reading order."""
        return (*self.notes, *self.lead_items, *self.items, *self.titles, *self.corrections)
