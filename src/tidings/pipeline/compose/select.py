"""Deciding what goes to whom: pure, from items and rules to selections. The rules are those of the contract."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol

from tidings.model.edition import Selection
from tidings.model.item import NOTE, Item


class SelectRules(Protocol):
    """`select:` of a schedule."""

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


@dataclass(frozen=True)
class Story:
    """A story as schedules see it: its items that are out, by language."""

    key: str
    items: Mapping[str, Item]

    @cached_property
    def topics(self) -> frozenset[str]:
        """Of any of its translations."""
        return frozenset(topic for item in self.items.values() for topic in item.topics)

    @cached_property
    def not_in(self) -> frozenset[str]:
        """Lists and channels that it stays out of, said in any of its translations."""
        return frozenset(name for item in self.items.values() for name in item.not_in)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Usually one."""
        return frozenset(item.kind for item in self.items.values())

    @cached_property
    def out_at(self) -> datetime:
        """When it was first new: what schedules go by."""
        return min(item.out_at or item.first_seen for item in self.items.values())

    @cached_property
    def published(self) -> datetime:
        """The date that readers see, for ordering."""
        return max(item.published for item in self.items.values())

    @cached_property
    def lead(self) -> bool:
        """Whether the editor wants it first."""
        return any(item.lead for item in self.items.values())

    def in_language(self, languages: Iterable[str]) -> Item | None:
        """The first of `languages` that it exists in, else None."""
        return next((self.items[language] for language in languages if language in self.items), None)


def group_stories(items: Iterable[Item], now: datetime) -> dict[str, Story]:
    """Stories from the items that are out and not expired at `now`."""
    groups: dict[str, dict[str, Item]] = {}
    for item in items:
        if item.is_out(now) and not item.is_expired(now) and (item.out_at is None or item.out_at <= now):
            groups.setdefault(item.story, {})[item.language] = item
    return {key: Story(key, by_language) for key, by_language in groups.items()}


def is_note(story: Story) -> bool:
    """Whether it opens a digest instead of standing in it."""
    return NOTE in story.kinds


def select_stories(stories: Iterable[Story], rules: SelectRules, used: Collection[str]) -> list[Story]:
    """The stories of an edition: those that the rules want and that this schedule has not used; notes are apart.

    With `rules.stories` these and no others, used or not.
    """
    if rules.stories:
        wanted = set(rules.stories)
        return order_stories([story for story in stories if story.key in wanted and not is_note(story)], rules)
    return order_stories(
        [story for story in stories if story.key not in used and not is_note(story) and matches_rules(story, rules)],
        rules,
    )


def matches_rules(story: Story, rules: SelectRules) -> bool:
    """Whether kind, topics and languages are wanted; an empty rule wants all."""
    return (
        (not rules.kinds or not story.kinds.isdisjoint(rules.kinds))
        and (not rules.topics or not story.topics.isdisjoint(rules.topics))
        and (not rules.languages or not story.items.keys().isdisjoint(rules.languages))
    )


def order_stories(stories: Iterable[Story], rules: SelectRules) -> list[Story]:
    """In the order of the rules: `newest`, `oldest` or `kind`; a lead goes first."""
    by_date = sorted(
        stories, key=lambda story: (story.published, story.out_at, story.key), reverse=rules.order != "oldest"
    )
    if rules.order == "kind":
        ranks = {kind: rank for rank, kind in enumerate(rules.kinds)}
        by_date.sort(key=lambda story: min((ranks.get(kind, len(ranks)), kind) for kind in story.kinds))
    return sorted(by_date, key=lambda story: not story.lead)


def pick_first(stories: Iterable[Story], count: int) -> set[str]:
    """Keys of the stories that go where not all can: a lead, then what waits longest."""
    return {story.key for story in sorted(stories, key=lambda one: (not one.lead, one.out_at, one.key))[:count]}


@dataclass(frozen=True, slots=True)
class SegmentFilter:
    """What tells one set of readers from another."""

    language: str
    fallback: tuple[str, ...]
    topics: frozenset[str]
    outlet: str
    """Name of the list or channel, for `not_in`."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Tried in this order."""
        return (self.language, *self.fallback)


@dataclass(frozen=True, slots=True)
class SegmentSelection:
    """What a set of readers gets, and the stories that wait for their next edition."""

    selection: Selection
    waiting: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing left for this reader: a note alone is no reason to write."""
        return not (self.selection.stories or self.selection.corrections)


def select_items(
    stories: Iterable[Story], wish: SegmentFilter, had: Collection[str] = (), *, every_topic: bool = False
) -> list[Item]:
    """The items of `stories` for one wish, in their order: right topic, a language of theirs, not had."""
    found = []
    for story in stories:
        if story.key in had or wish.outlet in story.not_in:
            continue
        if wish.topics and not every_topic and wish.topics.isdisjoint(story.topics):
            continue
        item = story.in_language(wish.languages)
        if item is not None:
            found.append(item)
    return found


def select_for_segment(
    offered: Sequence[Story],
    wish: SegmentFilter,
    rules: SelectRules,
    *,
    had: Collection[str] = (),
    notes: Sequence[Story] = (),
    corrections: Sequence[Story] = (),
    every_topic: bool = False,
) -> SegmentSelection:
    """One reader's part of an edition. `offered` is in the edition's order; `had` holds story keys.

    Beyond `max_items` stories stand as titles, or wait: then the oldest go first, so that none waits for ever, but for
    a lead, which goes at once.
    """
    items = select_items(offered, wish, had, every_topic=every_topic)
    full, rest = items[: rules.max_items], items[rules.max_items :]
    waiting: tuple[str, ...] = ()
    if rest and rules.overflow == "wait":
        kept = pick_first((story for story in offered if story.key in {item.story for item in items}), rules.max_items)
        first = {item.id for item in items if item.story in kept}
        full = [item for item in items if item.id in first]
        waiting = tuple(item.story for item in items if item.id not in first)
        rest = []
    greetings = [story.items[wish.language] for story in notes if wish.language in story.items and story.key not in had]
    corrected = [item for item in select_items(corrections, wish, every_topic=True) if item.correction]
    return SegmentSelection(
        Selection(
            language=wish.language,
            lead=full[0] if full else None,
            items=tuple(full[1:]),
            titles=tuple(rest),
            notes=tuple(greetings),
            corrections=tuple(corrected),
        ),
        waiting,
    )
