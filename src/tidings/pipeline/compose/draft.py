"""Edition drafts: what an edition contains, and the deliveries that are planned for it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidings.config.schedule import Schedule
from tidings.model.delivery import Purpose, SkipReason
from tidings.model.edition import Selection
from tidings.pipeline.compose.select import Story, order_stories
from tidings.store.people import segments


@dataclass(frozen=True, slots=True)
class MessageGroup:
    """Recipients of one outlet and language who get the same message. `story` is set for one message per story."""

    outlet: str
    story: str
    selection: Selection
    part: int = 0
    """Position in a thread of posts. Above 0 it is a reply to the first post."""

    @classmethod
    def split(cls, outlet: str, selection: Selection, *, per_item: bool) -> list[MessageGroup]:
        """Return one group for the whole selection, or one per story."""
        if not per_item:
            return [cls(outlet, "", selection)]
        items = (*selection.lead_items, *selection.items)
        return [cls(outlet, item.story, Selection(selection.language, item)) for item in items]

    @property
    def key(self) -> str:
        """A hash of the content. Equal groups have equal keys."""
        selection = self.selection
        parts: list[object] = [selection.lead and selection.lead.id, *(item.id for item in selection.items)]
        for name in ("titles", "notes", "corrections"):
            parts += [name, *(item.id for item in getattr(selection, name))]
        text = "\n".join((self.outlet, self.story, selection.language, *map(str, parts)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """A delivery to one target: the message of `group`, or skipped for a reason."""

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
    """Details of the reason, for people."""

    @property
    def reason_text(self) -> str:
        """The reason as it is stored and shown: `reason: detail`."""
        return ": ".join(filter(None, (self.reason and str(self.reason), self.detail)))


@dataclass(frozen=True, slots=True)
class PlannedSegments:
    """The segments of a list, except the subscribers in `without`."""

    list: str
    frequency: str | None
    purpose: str
    without: frozenset[int]
    parts: tuple[PlannedSegment, ...]


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """The messages of one segment as pairs (story or '', group). May be empty."""

    segment: segments.Segment
    groups: tuple[tuple[str, MessageGroup], ...]
    mark: int | None = None


@dataclass(frozen=True)
class EditionDraft:
    """The contents of one edition, before its deliveries are planned.

    `stories` are in the edition's order. `explicit`: a person named them, so readers get them even for a second time.
    `edition` is the edition's id, or one above the newest id while only planning.
    """

    schedule: Schedule
    edition: int
    now: datetime
    stories: tuple[Story, ...]
    notes: tuple[Story, ...]
    all_stories: Mapping[str, Story]
    explicit: bool = False
    to_one_outlet: bool = False
    """Whether a person sends it to one list or channel alone. Then a channel also gets posts that it refused before."""
    superseded: frozenset[int] = frozenset()
    """Ids of held editions that this one would supersede, so that nobody gets them. Only for plans."""
    corrected: Mapping[str, Mapping[str, tuple[datetime, str]]] = field(default_factory=dict)
    """(moment, version) of each correction, by story and language."""
    arrangement: tuple[str, ...] = ()
    """The order of the stories, if a person chose it."""
    subjects: Mapping[str, str] = field(default_factory=dict)
    """Templates of the subject by language, if a person wrote one."""

    @property
    def keys(self) -> list[str]:
        """The keys of the stories and notes."""
        return [story.key for story in (*self.stories, *self.notes)]

    def arrange(self, stories: Iterable[Story]) -> list[Story]:
        """Return stories in the order of the schedule, or in the order that a person chose."""
        ranks = {key: rank for rank, key in enumerate(self.arrangement)}
        ordered = order_stories(stories, self.schedule.select)
        return sorted(ordered, key=lambda story: ranks.get(story.key, len(ranks)))

    def with_stories(self, keys: Collection[str]) -> EditionDraft:
        """Return the draft limited to these stories and notes."""
        return replace(
            self,
            stories=tuple(story for story in self.stories if story.key in keys),
            notes=tuple(story for story in self.notes if story.key in keys),
        )

    def without_embargoed(self, now: datetime) -> EditionDraft:
        """Return the draft without items under embargo at `now`: a plan must not reveal them."""
        free = {
            key: Story(key, items)
            for key, story in self.all_stories.items()
            if (
                items := {
                    language: item
                    for language, item in story.items.items()
                    if item.embargo is None or item.embargo <= now
                }
            )
        }
        return replace(
            self,
            stories=tuple(free[story.key] for story in self.stories if story.key in free),
            notes=tuple(free[note.key] for note in self.notes if note.key in free),
            all_stories=free,
        )

    @property
    def post_purpose(self) -> str:
        """The purpose of a post. A story that a person named gets a new purpose, so it is posted again."""
        return f"again-{self.edition}" if self.explicit else Purpose.STORY

    def purpose_of(self, story: str, refused: Collection[str]) -> str:
        """The purpose of a post of one story. A story in `refused` gets a new purpose too."""
        return f"again-{self.edition}" if story in refused else self.post_purpose


def message_groups(plan: PlannedDelivery | PlannedSegments) -> list[MessageGroup]:
    if isinstance(plan, PlannedSegments):
        return [group for part in plan.parts for _, group in part.groups]
    return [plan.group] if plan.group is not None else []
