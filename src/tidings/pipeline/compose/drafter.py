"""Draft editions: choose the stories for a schedule. Drafting renders nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import ListDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.item import Item
from tidings.model.plurals import count_noun
from tidings.pipeline.address.channels import describe_untranslated
from tidings.pipeline.address.lists import has_waiting_readers
from tidings.pipeline.compose.draft import EditionDraft
from tidings.pipeline.compose.freeze import correction_version
from tidings.pipeline.compose.select import group_stories, is_note, select_stories
from tidings.store.content import editions, schedules
from tidings.store.content.items import items_version, load_items
from tidings.store.engine import Store


class Drafter:
    """Drafts editions, for the composer and for the commands `plan` and `status`."""

    def __init__(self, store: Store, newsroom: Newsroom) -> None:
        self.store = store
        self.newsroom = newsroom
        self._items_cache: tuple[int, Sequence[Item]] | None = None

    def draft(
        self,
        connection: Connection,
        schedule: Schedule,
        now: datetime,
        *,
        edition: int | None = None,
        stories: Sequence[str] = (),
        only: str = "",
        freed: frozenset[str] = frozenset(),
        every: bool = False,
    ) -> EditionDraft:
        """Return the draft of an edition of `schedule` at `now`.

        `stories`: keys that a person named. `only`: the one outlet that a person named. `freed`: stories of held
        editions that this one would supersede. `every`: include stories that were used before, for a preview when
        nothing is new.
        """
        schedule = schedule.for_outlet(only)
        if stories:
            schedule = schedule.model_copy(update={"select": schedule.select.model_copy(update={"stories": stories})})
        all_stories = group_stories(self._items(connection), now)
        rules = schedule.select
        unknown = [key for key in rules.stories if key not in all_stories]
        if unknown and stories:
            raise InputError(
                f"There is no published story {unknown[0]!r}. The name of a story is the name of its file without the "
                "language. `tidings plan` lists the stories."
            )
        used = set[str]() if every else schedules.used_stories(connection, schedule.name) - freed
        has_notes = any(isinstance(part, ListDelivery) and part.per == "edition" for part in schedule.deliver)
        notes = [story for story in all_stories.values() if is_note(story) and story.key not in used]
        corrected = {
            key: {
                language: (item.corrected_at, correction_version(item.correction))
                for language, item in story.items.items()
                if item.correction and item.corrected_at is not None
            }
            for key, story in all_stories.items()
        }
        return EditionDraft(
            schedule=schedule,
            edition=edition if edition is not None else editions.newest_edition_id(connection) + 1,
            now=now,
            stories=tuple(select_stories(all_stories.values(), rules, used, None if every else now)),
            notes=tuple(notes) if has_notes else (),
            all_stories=all_stories,
            explicit=bool(rules.stories),
            to_one_outlet=bool(only),
            corrected={key: versions for key, versions in corrected.items() if versions},
        )

    def _items(self, connection: Connection) -> Sequence[Item]:
        """Return all items. Reads them again only after a change."""
        version = items_version(connection)
        if self._items_cache is None or self._items_cache[0] != version:
            self._items_cache = (version, load_items(connection))
        return self._items_cache[1]

    def explain_skip(self, connection: Connection, draft: EditionDraft) -> str:
        """Return why no edition is made, or '' if there are enough stories (new, or waiting since earlier)."""
        count, needed = len(draft.stories), draft.schedule.select.min_items
        if count >= max(needed, 1):
            return ""
        if count == 0 and needed <= 1 and has_waiting_readers(connection, self.newsroom, draft):
            return ""
        if count == 0:
            return "; ".join(filter(None, ["nothing new", describe_untranslated(connection, self.newsroom, draft)]))
        return f"{count} of at least {count_noun(needed, 'story', 'stories')} (min_items); they wait"
