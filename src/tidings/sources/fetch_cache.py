"""The data that a source on the network keeps between two fetches."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tidings.model.item import CachedItem


class FetchCache(Protocol):
    """The cached items and notes of one source. They are in the store, so all processes see the same."""

    def version(self) -> int:
        """Return a number that grows with every change. It is 0 before the first change."""

    def state(self) -> Mapping[str, Any]:
        """Return the source's own notes in JSON: validators, the time of the next request."""

    def items(self, since: int = 0) -> tuple[CachedItem, ...]:
        """Return the items that changed after version `since`, sorted by ref."""

    def item(self, ref: str) -> CachedItem | None:
        """Return one item, or None."""

    def save(self, version: int, state: Mapping[str, Any], items: Sequence[CachedItem] = ()) -> bool:
        """Store the state and these items. Returns False, unchanged, if the cache is no longer at `version`."""


class NoFetchCache:
    """An empty cache that saves nothing, for use without a store."""

    def version(self) -> int:
        return 0

    def state(self) -> Mapping[str, Any]:
        return {}

    def items(self, since: int = 0) -> tuple[CachedItem, ...]:
        return ()

    def item(self, ref: str) -> CachedItem | None:
        return None

    def save(self, version: int, state: Mapping[str, Any], items: Sequence[CachedItem] = ()) -> bool:
        return False


class CacheSnapshot:
    """The items of a cache in memory. A refresh reads only changed items. Safe for several threads."""

    def __init__(self, cache: FetchCache) -> None:
        self._cache = cache
        self._version = 0
        self._refreshing = threading.Lock()
        self.items: Mapping[str, CachedItem] = {}
        """Items by ref at the last refresh. A change makes a new mapping."""

    def refresh(self) -> Mapping[str, CachedItem]:
        """Load the changes of all processes, and return all items by ref."""
        with self._refreshing:
            version = self._cache.version()
            if version != self._version:
                changed = {item.ref: item for item in self._cache.items(self._version)}
                if changed:
                    self.items = {**self.items, **changed}
                self._version = version
            return self.items
