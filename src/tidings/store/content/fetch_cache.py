"""The fetch cache of each source on the network: its items as last fetched, and its own state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, update

from tidings.model.item import CachedItem
from tidings.store import schema as t
from tidings.store.engine import Store, insert_once


class StoredFetchCache:
    """The fetch cache of one source (`sources.base.FetchCache`)."""

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self._source = source

    def version(self) -> int:
        """The version of the cache, 0 before the first fetch."""
        with self._store.read() as connection:
            version = connection.scalar(select(t.fetch_caches.c.version).where(t.fetch_caches.c.source == self._source))
        return int(version or 0)

    def state(self) -> Mapping[str, Any]:
        """The state of the source, empty before the first fetch."""
        with self._store.read() as connection:
            state = connection.scalar(select(t.fetch_caches.c.state).where(t.fetch_caches.c.source == self._source))
        return dict(state or {})

    def items(self, since: int = 0) -> tuple[CachedItem, ...]:
        """Items in the order of ref; only those that changed after version `since`."""
        e = t.cached_items.c
        return self._select(e.version > since)

    def item(self, ref: str) -> CachedItem | None:
        return next(iter(self._select(t.cached_items.c.ref == ref)), None)

    def _select(self, wanted: ColumnElement[bool]) -> tuple[CachedItem, ...]:
        e = t.cached_items.c
        query = select(e.ref, e.data, e.seen, e.backlog, e.gone).where(e.source == self._source, wanted)
        with self._store.read() as connection:
            rows = connection.execute(query.order_by(e.ref))
            return tuple(CachedItem(row.ref, row.data, row.seen, row.backlog, row.gone) for row in rows)

    def save(self, version: int, state: Mapping[str, Any], items: Sequence[CachedItem] = ()) -> bool:
        """Save in one transaction. False if another process saved since `version` was read."""
        s, e = t.fetch_caches.c, t.cached_items.c
        with self._store.write() as connection:
            if version == 0:
                values = {"source": self._source, "version": 1, "state": dict(state)}
                done = connection.execute(insert_once(connection, t.fetch_caches).values(**values))
            else:
                mine = update(t.fetch_caches).where(s.source == self._source, s.version == version)
                done = connection.execute(mine.values(version=version + 1, state=dict(state)))
            if done.rowcount != 1:
                return False
            for item in items:
                row = {
                    "version": version + 1, "seen": item.seen, "backlog": item.backlog, "gone": item.gone,
                    "data": dict(item.data),
                }  # fmt: skip
                key = {"source": self._source, "ref": item.ref}
                there = update(t.cached_items).where(e.source == self._source, e.ref == item.ref).values(**row)
                if connection.execute(there).rowcount == 0:
                    connection.execute(insert_once(connection, t.cached_items).values(**key, **row))
        return True
