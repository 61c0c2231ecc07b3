"""What readers and channels are offered of an edition, and what each set of them chooses of it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from tidings.config.schedule import ChannelDelivery, ListDelivery
from tidings.model.edition import Selection
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup
from tidings.pipeline.compose.select import SegmentFilter, SegmentSelection, is_note, order_stories, select_for_segment
from tidings.store.content import schedules


class SelectionCache:
    """Chosen selections, worked out once for readers who want and had the same."""

    def __init__(self, edit: EditionDraft, part: ListDelivery | ChannelDelivery) -> None:
        self._edit = edit
        self._part = part
        self._outlet = f"list:{part.list}" if isinstance(part, ListDelivery) else f"channel:{part.channel}"
        self._chosen: dict[tuple[SegmentFilter, tuple[str, ...], frozenset[str], frozenset[str]], SegmentSelection] = {}
        self._groups: dict[int, list[tuple[str, MessageGroup]]] = {}
        self._known: dict[str, MessageGroup] = {}

    def select(
        self, wish: SegmentFilter, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]
    ) -> SegmentSelection:
        key = (wish, earlier, had, owed)
        if key not in self._chosen:
            self._chosen[key] = self._choose(*key)
        return self._chosen[key]

    def _choose(
        self, wish: SegmentFilter, earlier: tuple[str, ...], had: frozenset[str], owed: frozenset[str]
    ) -> SegmentSelection:
        edit = self._edit
        own = {story.key for story in edit.stories}
        offered = [edit.all_stories[key] for key in earlier if key not in own]
        older = [story for story in offered if not is_note(story)]
        notes = [*(story for story in offered if is_note(story)), *edit.notes]
        stories = order_stories([*edit.stories, *older], edit.schedule.select) if older else edit.stories
        per_item = self._part.per == "item"
        chosen = select_for_segment(
            stories,
            wish,
            edit.schedule.select,
            had=had,
            notes=() if per_item else notes,
            corrections=[edit.all_stories[key] for key in sorted(owed) if key not in own],
            every_topic=isinstance(self._part, ListDelivery) and self._part.everyone,
        )
        if per_item and chosen.selection.titles:
            # Each is a message of its own: there are no titles, what is too many waits.
            later = tuple(item.story for item in chosen.selection.titles)
            selection = Selection(wish.language, chosen.selection.lead, chosen.selection.items)
            return SegmentSelection(selection, (*chosen.waiting, *later))
        return chosen

    def groups(self, chosen: SegmentSelection) -> list[tuple[str, MessageGroup]]:
        """(story or empty, group) of each message that this choice means."""
        if id(chosen) not in self._groups:
            made = MessageGroup.split(self._outlet, chosen.selection, per_item=self._part.per == "item")
            self._groups[id(chosen)] = [(group.story, self._known.setdefault(group.key, group)) for group in made]
        return self._groups[id(chosen)]


def find_earlier_stories(connection: Connection, edit: EditionDraft) -> dict[str, int]:
    """Stories that this schedule used in earlier editions and that still may go out, each with its edition."""
    used = schedules.used_since(connection, edit.schedule.name, 0)
    return {key: used[key] for key in used if key in edit.all_stories and used[key] < edit.edition}


def stories_after(earlier: Mapping[str, int], mark: int) -> tuple[str, ...]:
    return tuple(sorted(key for key, edition in earlier.items() if edition > mark)) if earlier else ()


def next_mark(edit: EditionDraft, earlier: Mapping[str, int], chosen: SegmentSelection) -> int:
    """What the reader's mark becomes: this edition, or just before the oldest story that waits for them."""
    waiting = [earlier.get(key, edit.edition) for key in chosen.waiting]
    return min([edit.edition, *(edition - 1 for edition in waiting)])
