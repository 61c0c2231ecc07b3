"""Select the stories of an edition and the part for each segment. Pure functions of items and rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

from tidings.model.edition import Selection
from tidings.model.item import NOTE, Item


class SelectRules(Protocol):
    """The `select:` rules of a schedule."""

    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def topics(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def stories(self) -> Sequence[str]: ...
    @property
    def max_items(self) -> int: ...
    @property
    def overflow(self) -> str: ...
    @property
    def order(self) -> str: ...
    @property
    def starting(self) -> timedelta | None: ...


@dataclass(frozen=True)
class Story:
    """A story and its published items, by language."""

    key: str
    items: Mapping[str, Item]
    is_first: bool = False
    """Whether the editor of the edition chose it as the lead."""

    @cached_property
    def topics(self) -> frozenset[str]:
        """The topics of all translations."""
        return frozenset(topic for item in self.items.values() for topic in item.topics)

    @cached_property
    def not_in(self) -> frozenset[str]:
        """Lists and channels that any translation excludes (`not_in`)."""
        return frozenset(name for item in self.items.values() for name in item.not_in)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of all translations, usually only one."""
        return frozenset(item.kind for item in self.items.values())

    @cached_property
    def out_at(self) -> datetime:
        """When the story was first published. Schedules use this moment, not the date that readers see."""
        return min(item.out_at or item.first_seen for item in self.items.values())

    @cached_property
    def published(self) -> datetime:
        """The latest date that readers see, for sorting."""
        return max(item.published for item in self.items.values())

    @cached_property
    def starts(self) -> datetime | None:
        """When the event begins, or None."""
        return min((item.starts for item in self.items.values() if item.starts is not None), default=None)

    @cached_property
    def lead(self) -> bool:
        """Whether an editor wants the story first."""
        return self.is_first or any(item.lead for item in self.items.values())

    def in_language(self, languages: Iterable[str]) -> Item | None:
        """Return the item in the first of `languages` that exists, else None."""
        return next((self.items[language] for language in languages if language in self.items), None)


def group_stories(items: Iterable[Item], now: datetime) -> dict[str, Story]:
    """Group the items that are published and not expired at `now` into stories, by key."""
    groups: dict[str, dict[str, Item]] = {}
    for item in items:
        if item.is_out(now) and not item.is_expired(now) and (item.out_at is None or item.out_at <= now):
            groups.setdefault(item.story, {})[item.language] = item
    return {key: Story(key, by_language) for key, by_language in groups.items()}


def is_note(story: Story) -> bool:
    """Whether the story is a note from the editor, which opens a digest."""
    return NOTE in story.kinds


def select_stories(
    stories: Iterable[Story], rules: SelectRules, used: Collection[str], now: datetime | None = None
) -> list[Story]:
    """Return the unused stories that match the rules, in order and without notes.

    With `rules.starting`, return only events that begin after `now` and within that time.
    If `rules.stories` names stories, return exactly these, used or not.
    """
    if rules.stories:
        selected = [story for story in stories if story.key in set(rules.stories)]
    else:
        selected = [story for story in stories if story.key not in used and matches_rules(story, rules)]
        if rules.starting is not None and now is not None:
            selected = [story for story in selected if is_upcoming(story, now, rules.starting)]
    return order_stories([story for story in selected if not is_note(story)], rules)


def is_upcoming(story: Story, now: datetime, within: timedelta | None = None) -> bool:
    """Whether the story is an event that begins after `now`, and within a time if one is given."""
    return story.starts is not None and now < story.starts and (within is None or story.starts <= now + within)


def matches_rules(story: Story, rules: SelectRules) -> bool:
    """Whether kind, topics and languages match. An empty rule matches everything."""
    return (
        (not rules.kinds or not story.kinds.isdisjoint(rules.kinds))
        and (not rules.topics or not story.topics.isdisjoint(rules.topics))
        and (not rules.languages or not story.items.keys().isdisjoint(rules.languages))
    )


def order_stories(stories: Iterable[Story], rules: SelectRules) -> list[Story]:
    """Sort by the order of the rules (`newest`, `oldest`, `kind` or `starts`). Lead stories come first."""
    by_date = sorted(
        stories, key=lambda story: (story.published, story.out_at, story.key), reverse=rules.order != "oldest"
    )
    if rules.order == "kind":
        ranks = {kind: rank for rank, kind in enumerate(rules.kinds)}
        by_date.sort(key=lambda story: min((ranks.get(kind, len(ranks)), kind) for kind in story.kinds))
    if rules.order == "starts":
        by_date.sort(key=lambda story: story.starts.timestamp() if story.starts else float("inf"))
    return sorted(by_date, key=lambda story: not story.lead)


def pick_first(stories: Iterable[Story], count: int) -> set[str]:
    """Return the keys of the `count` stories to send first: lead stories, then the stories that wait longest."""
    return {story.key for story in sorted(stories, key=lambda story: (not story.lead, story.out_at, story.key))[:count]}


@dataclass(frozen=True, slots=True)
class SegmentFilter:
    """The filter of a segment or channel: language, topics, and outlet."""

    language: str
    fallback: tuple[str, ...]
    topics: frozenset[str]
    outlet: str
    """Name of the list or channel, for `not_in`."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages to try, in this order."""
        return (self.language, *self.fallback)


@dataclass(frozen=True, slots=True)
class SegmentSelection:
    """The selection for a segment, and the keys of the stories that wait for its next edition."""

    selection: Selection
    waiting: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send. A note on its own is not sent."""
        return not (self.selection.stories or self.selection.corrections)


def select_items(
    stories: Iterable[Story], segment_filter: SegmentFilter, had: Collection[str] = (), *, every_topic: bool = False
) -> list[Item]:
    """Return the items that match a filter, in the order of `stories`, except stories already received (`had`)."""
    items = []
    for story in stories:
        if story.key in had or segment_filter.outlet in story.not_in:
            continue
        if segment_filter.topics and not every_topic and segment_filter.topics.isdisjoint(story.topics):
            continue
        item = story.in_language(segment_filter.languages)
        if item is not None:
            items.append(item)
    return items


def select_for_segment(
    offered: Sequence[Story],
    segment_filter: SegmentFilter,
    rules: SelectRules,
    *,
    had: Collection[str] = (),
    notes: Sequence[Story] = (),
    corrections: Sequence[Story] = (),
    every_topic: bool = False,
) -> SegmentSelection:
    """Return a segment's part of an edition. `offered` is in the edition's order; `had` holds story keys.

    Stories beyond `max_items` become titles, or wait (`overflow: wait`). Of waiting stories, lead stories are sent
    first and then the oldest, so that no story waits forever. Stories in the reader's own language come before
    fallbacks.
    """
    items = select_items(offered, segment_filter, had, every_topic=every_topic)
    items.sort(key=lambda item: item.language != segment_filter.language)
    full, rest = items[: rules.max_items], items[rules.max_items :]
    waiting: tuple[str, ...] = ()
    if rest and rules.overflow == "wait":
        wanted = [story for story in offered if story.key in {item.story for item in items}]
        # Offered events are sorted by their beginning.
        is_by_start = rules.order == "starts"
        kept = (
            {story.key for story in wanted[: rules.max_items]} if is_by_start else pick_first(wanted, rules.max_items)
        )
        first = {item.id for item in items if item.story in kept}
        full = [item for item in items if item.id in first]
        waiting = tuple(item.story for item in items if item.id not in first)
        rest = []
    greetings = [
        story.items[segment_filter.language]
        for story in notes
        if segment_filter.language in story.items and story.key not in had
    ]
    corrected = [item for item in select_items(corrections, segment_filter, every_topic=True) if item.correction]
    return SegmentSelection(
        Selection(
            language=segment_filter.language,
            lead=full[0] if full else None,
            items=tuple(full[1:]),
            titles=tuple(rest),
            notes=tuple(greetings),
            corrections=tuple(corrected),
        ),
        waiting,
    )
