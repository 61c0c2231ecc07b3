"""Which story each stored item belongs to, for those who name a story by its key."""

from __future__ import annotations

from sqlalchemy import select

from tidings.store import schema as t
from tidings.store.content.items import items_version
from tidings.store.engine import Store


class StoredStories:
    """Of the whole newsroom (`sources.base.StoryIndex`); read anew only when an item has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: tuple[int, tuple[tuple[str, str, str, str], ...]] | None = None

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """Source, ref, address and story key of every item, gone ones too."""
        i = t.items.c
        with self._store.read() as connection:
            version = items_version(connection)
            if self._read is None or self._read[0] != version:
                rows = connection.execute(select(i.source, i.ref, i.url, i.story).order_by(i.id))
                self._read = version, tuple((row.source, row.ref, row.url, row.story) for row in rows)
            return self._read[1]
