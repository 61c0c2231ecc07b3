"""Editions: a numbered, frozen selection of stories for one slot of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tidings.model.item import Item


class EditionState(StrEnum):
    """The state of an edition. Terminal: done, cancelled, superseded."""

    COMPOSING = "composing"
    """Its slot is claimed; items, bytes and recipients are being frozen. After a crash it is composed again."""
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
    BREAKER = "breaker"
    """Too many of its mails were refused or bounced to be plausible."""
    RESTORED = "restored"
    """The store was restored from a backup: the edition may have been sent since."""
    EDITED = "edited"
    """A person changed it, and nothing else holds it."""
    SENT_BACK = "sent_back"
    """An approver asked for changes. It cannot be sent unchanged. A change or a new build ends this hold."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why an edition is held, with a text for people."""

    reason: HoldReason
    detail: str


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition as the store holds it. `slot` is None if a person asked for it (`tidings send`)."""

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
    """The items for readers who get the same content in one language. Each part is in reading order.

    `lead` is None if nothing is new. `titles` are the stories beyond `max_items`, shown as linked titles.
    `corrections` go to readers who had the story before it was corrected. `notes` come first in the digest.
    """

    language: str
    lead: Item | None = None
    items: tuple[Item, ...] = ()
    titles: tuple[Item, ...] = ()
    notes: tuple[Item, ...] = ()
    corrections: tuple[Item, ...] = ()

    @property
    def lead_items(self) -> tuple[Item, ...]:
        return (self.lead,) if self.lead else ()

    @property
    def stories(self) -> tuple[str, ...]:
        """The keys of the stories that the reader has received after this edition, without notes and corrections."""
        return tuple(item.story for item in (*self.lead_items, *self.items, *self.titles))

    @property
    def all_items(self) -> tuple[Item, ...]:
        """Every item that the digest shows, in reading order."""
        return (*self.notes, *self.lead_items, *self.items, *self.titles, *self.corrections)
