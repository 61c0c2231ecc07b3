"""A fetch cache in memory and configured sources, for the tests of all sources on the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from tidings.model.item import CachedItem
from tidings.sources.base import SourceContext, Sweep
from tidings.sources.web.source import WebSource


class MemoryFetchCache:
    """A fetch cache in memory."""

    def __init__(self) -> None:
        self._version = 0
        self._state: dict[str, Any] = {}
        self.kept: dict[str, tuple[int, CachedItem]] = {}

    def version(self) -> int:
        return self._version

    def state(self) -> Mapping[str, Any]:
        return dict(self._state)

    def items(self, since: int = 0) -> tuple[CachedItem, ...]:
        return tuple(entry for _, (version, entry) in sorted(self.kept.items()) if version > since)

    def item(self, ref: str) -> CachedItem | None:
        return self.kept[ref][1] if ref in self.kept else None

    def save(self, version: int, state: Mapping[str, Any], items: Sequence[CachedItem] = ()) -> bool:
        if version != self._version:
            return False
        self._version += 1
        self._state = dict(state)
        self.kept |= {entry.ref: (self._version, entry) for entry in items}
        return True


class FreshSource:
    """A source that fetches before each sweep, as a due run does."""

    def __init__(self, source: WebSource) -> None:
        self._source = source

    def sweep(self, now: datetime) -> Sweep:
        self._source.fetch(now, force=True)
        return self._source.sweep(now)

    def watch_paths(self) -> tuple[Path, ...]:
        return self._source.watch_paths()


def make_source(
    module: ModuleType,
    url: str,
    cache: MemoryFetchCache | None = None,
    *,
    newsroom_languages: tuple[str, ...] = ("en", "ru", "kk"),
    **settings: Any,
) -> Any:
    """Make a source of a module for the newsroom https://news.example/ in Almaty."""
    cache = cache or MemoryFetchCache()
    context = SourceContext("site", Path(), "https://news.example/", newsroom_languages, ZoneInfo("Asia/Almaty"), cache)
    kind = module.__name__.rpartition(".")[2]
    return module.make(
        module.Settings.model_validate({"type": kind, "url": url, "allow_private": True} | settings), context
    )
