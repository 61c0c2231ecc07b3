"""Decide which stories of an edition a segment or channel may get, and select from them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery, ListDelivery
from tidings.model.edition import Selection
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup
from tidings.pipeline.compose.select import SegmentFilter, SegmentSelection, is_note, select_for_segment
from tidings.store.content import schedules


class SelectionCache:
    """Selections of one part of a schedule, computed once for all readers with the same filter and history."""

    def __init__(self, draft: EditionDraft, part: ListDelivery | ChannelDelivery) -> None:
        self._draft = draft
        self._part = part
        self._outlet = part.outlet
        self._chosen: dict[tuple[SegmentFilter, tuple[str, ...], frozenset[str], frozenset[str]], SegmentSelection] = {}
        self._groups: dict[int, list[tuple[str, MessageGroup]]] = {}
        self._known: dict[str, MessageGroup] = {}

    def select(
        self, segment_filter: SegmentFilter, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]
    ) -> SegmentSelection:
        """Return the selection for these readers.

        `earlier`: keys of older stories that still wait for these readers. `had`: stories that they already got.
        `owed`: stories with a correction that they must get.
        """
        key = (segment_filter, earlier, had, owed)
        if key not in self._chosen:
            self._chosen[key] = self._compute(*key)
        return self._chosen[key]

    def _compute(
        self, segment_filter: SegmentFilter, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]
    ) -> SegmentSelection:
        draft = self._draft
        own = {story.key for story in draft.stories}
        offered = [draft.all_stories[key] for key in earlier if key not in own]
        older = [story for story in offered if not is_note(story)]
        notes = [*(story for story in offered if is_note(story)), *draft.notes]
        stories = draft.arrange([*draft.stories, *older]) if older else draft.stories
        per_item = self._part.per == "item"
        chosen = select_for_segment(
            stories,
            segment_filter,
            draft.schedule.select,
            had=had,
            notes=() if per_item else notes,
            corrections=[draft.all_stories[key] for key in sorted(owed) if key not in own],
            every_topic=isinstance(self._part, ListDelivery) and self._part.everyone,
        )
        if per_item and chosen.selection.titles:
            # Each story is its own message, without a list of titles. So stories over the limit wait.
            later = tuple(item.story for item in chosen.selection.titles)
            selection = Selection(segment_filter.language, chosen.selection.lead, chosen.selection.items)
            return SegmentSelection(selection, (*chosen.waiting, *later))
        return chosen

    def groups(self, chosen: SegmentSelection) -> list[tuple[str, MessageGroup]]:
        """Return (story or '', group) for each message of a selection."""
        if id(chosen) not in self._groups:
            groups = MessageGroup.split(self._outlet, chosen.selection, per_item=self._part.per == "item")
            self._groups[id(chosen)] = [(group.story, self._known.setdefault(group.key, group)) for group in groups]
        return self._groups[id(chosen)]


def find_earlier_stories(connection: Connection, draft: EditionDraft) -> dict[str, int]:
    """Return the stories of earlier editions of this schedule that may still go out: {story key: edition id}."""
    used = schedules.find_editions_of_stories(connection, draft.schedule.name)
    return {key: used[key] for key in used if key in draft.all_stories and used[key] < draft.edition}


def find_stories_after(earlier: Mapping[str, int], mark: int) -> tuple[str, ...]:
    return tuple(sorted(key for key, edition in earlier.items() if edition > mark)) if earlier else ()


def next_mark(draft: EditionDraft, earlier: Mapping[str, int], chosen: SegmentSelection) -> int:
    """Return the readers' new mark: this edition, or just before the oldest story that waits for them."""
    waiting = [earlier.get(key, draft.edition) for key in chosen.waiting]
    return min([draft.edition, *(edition - 1 for edition in waiting)])
