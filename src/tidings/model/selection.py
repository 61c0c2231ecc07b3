"""What one reader gets of an edition: the items, and in which form each stands."""

from __future__ import annotations

from dataclasses import dataclass

from tidings.model.item import Item


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
    def leading(self) -> tuple[Item, ...]:
        """The lead, if there is one."""
        return (self.lead,) if self.lead else ()

    @property
    def stories(self) -> tuple[str, ...]:
        """The story keys that count as had by who gets this (neither notes nor corrections)."""
        return tuple(item.story for item in (*self.leading, *self.items, *self.titles))

    @property
    def all_items(self) -> tuple[Item, ...]:
        """Every item that the digest shows, in reading order."""
        return (*self.notes, *self.leading, *self.items, *self.titles, *self.corrections)
