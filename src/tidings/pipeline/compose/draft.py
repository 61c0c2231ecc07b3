"""What an edition is about before anybody is addressed, and the deliveries that it will mean."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidings.config.schedule import Schedule
from tidings.model.delivery import Purpose, SkipReason
from tidings.model.edition import Selection
from tidings.pipeline.compose.select import Story
from tidings.store.people import segments


@dataclass(frozen=True, slots=True)
class MessageGroup:
    """Readers of one outlet and language who get the same. `story` is set where each story is a message of its own."""

    outlet: str
    story: str
    selection: Selection
    part: int = 0
    """Place in a thread of posts; above 0 it answers the first."""

    @classmethod
    def split(cls, outlet: str, selection: Selection, *, per_item: bool) -> list[MessageGroup]:
        """One group for all of a selection, or one for each of its stories."""
        if not per_item:
            return [cls(outlet, "", selection)]
        items = (*selection.lead_items, *selection.items)
        return [cls(outlet, item.story, Selection(selection.language, item)) for item in items]

    @property
    def key(self) -> str:
        """Equal for equal content."""
        parts = (
            self.selection.lead and self.selection.lead.id,
            *(item.id for item in self.selection.items),
            "titles",
            *(item.id for item in self.selection.titles),
            "notes",
            *(item.id for item in self.selection.notes),
            "corrections",
            *(item.id for item in self.selection.corrections),
        )
        text = "\n".join((self.outlet, self.story, self.selection.language, *map(str, parts)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """One delivery to be: to `group`, or skipped with a reason."""

    target: str
    story: str
    purpose: str
    list: str = ""
    channel: str = ""
    subscriber: int | None = None
    address_hash: str = ""
    group: MessageGroup | None = None
    reason: SkipReason | None = None
    mark: int | None = None
    detail: str = ""
    """More about the reason, in words."""

    @property
    def reason_text(self) -> str:
        """The reason as it is stored and shown."""
        return ": ".join(filter(None, (self.reason and str(self.reason), self.detail)))


@dataclass(frozen=True, slots=True)
class PlannedSegments:
    """All readers of a list but those in `without`, by crowds: what each gets is worked out once."""

    list: str
    frequency: str | None
    purpose: str
    without: frozenset[int]
    parts: tuple[PlannedSegment, ...]


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """One crowd: what it gets, as (story or empty, group); nothing for who has no group."""

    segment: segments.Segment
    groups: tuple[tuple[str, MessageGroup], ...]
    mark: int | None = None


@dataclass(frozen=True)
class EditionDraft:
    """What one edition is about, before anybody is addressed.

    `stories` are in the edition's order; `explicit` means that a person named them: who had them gets them again.
    `edition` is the edition's id, or one above the newest while only planning.
    """

    schedule: Schedule
    edition: int
    now: datetime
    stories: tuple[Story, ...]
    notes: tuple[Story, ...]
    all_stories: Mapping[str, Story]
    explicit: bool = False
    corrected: Mapping[str, Mapping[str, tuple[datetime, str]]] = field(default_factory=dict)
    """By story and language: the moment of the correction, and its version."""

    def with_stories(self, keys: Collection[str]) -> EditionDraft:
        """The same edition with no stories or notes but these."""
        return replace(
            self,
            stories=tuple(story for story in self.stories if story.key in keys),
            notes=tuple(story for story in self.notes if story.key in keys),
        )

    def without_embargoed(self, now: datetime) -> EditionDraft:
        """The same without what is under embargo at `now`: it leaves no trace anywhere, a look ahead included."""
        free = {
            key: Story(key, items)
            for key, story in self.all_stories.items()
            if (items := {at: one for at, one in story.items.items() if one.embargo is None or one.embargo <= now})
        }
        return replace(
            self,
            stories=tuple(free[story.key] for story in self.stories if story.key in free),
            notes=tuple(free[note.key] for note in self.notes if note.key in free),
            all_stories=free,
        )

    @property
    def post_purpose(self) -> str:
        """The purpose of a post: a story that a person names goes out once more, for this edition."""
        return f"again-{self.edition}" if self.explicit else Purpose.STORY


def message_groups(one: PlannedDelivery | PlannedSegments) -> list[MessageGroup]:
    """What goes out."""
    if isinstance(one, PlannedSegments):
        return [group for part in one.parts for _, group in part.groups]
    return [one.group] if one.group is not None else []
