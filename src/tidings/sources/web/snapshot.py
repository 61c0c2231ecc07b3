"""What stands on a shelf, followed cheaply: a look reads only what changed since the last one."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from tidings.model.item import CachedItem
from tidings.sources.base import Shelf


class View:
    """Of one shelf; for any number of threads."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._version = 0
        self._looking = threading.Lock()
        self.entries: Mapping[str, CachedItem] = {}
        """By ref, as they stood at the last look; another mapping whenever something changed."""

    def look(self) -> Mapping[str, CachedItem]:
        """Take up what changed on the shelf, also by another process."""
        with self._looking:
            version = self._shelf.version()
            if version != self._version:
                changed = {entry.ref: entry for entry in self._shelf.entries(self._version)}
                if changed:
                    self.entries = {**self.entries, **changed}
                self._version = version
            return self.entries
