"""The port for sources: each sweep of a source returns all items that it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from tidings.model.errors import Problem
from tidings.model.item import ItemContent
from tidings.sources.fetch_cache import FetchCache, NoFetchCache


class StoryIndex(Protocol):
    """Gives the story of each stored item."""

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """Return source, ref, address and story key of every item; the same tuple while no item changes."""


class NoStoryIndex:
    """An empty index, for use without a store."""

    def rows(self) -> tuple[()]:
        return ()


@dataclass(frozen=True, slots=True)
class SourceContext:
    """The settings of the newsroom that a source needs. `url` ends with a slash."""

    name: str
    root: Path
    url: str
    languages: tuple[str, ...]
    zone: ZoneInfo
    cache: FetchCache = field(default_factory=NoFetchCache)
    picture_cache: FetchCache = field(default_factory=NoFetchCache)
    """Records of the pictures that the source's items show."""
    story_index: StoryIndex = field(default_factory=NoStoryIndex)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem(ItemContent):
    """One item from a source, before Tidings gives it an id.

    `ref` may change (a path). `explicit_id` is the id from the editor, if any. Story key and slug are made from `name`.
    `fingerprint` is a hex SHA-256 of all that readers could see: an unchanged file costs one comparison, and a moved
    file is recognised.
    """

    name: str
    fingerprint: str = ""
    explicit_id: str | None = None
    story: str | None = None
    translations: tuple[str, ...] = ()
    """Pages of the same story in other languages, normalised (`identity.normalise_link`), from any source."""
    url: str | None = None
    published: datetime | None = None
    backlog: bool = False
    """The item was in the source at its first reading. Existing schedules treat it as sent."""
    original_urls: Mapping[str, str] = field(default_factory=dict)
    """The website's address of each picture that we keep a copy of, by our address."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The content of a source at one moment.

    `set_aside` has the refs of items that exist but cannot be used. Each has a problem with the ref as its `file`, and
    its last good version stays. If the source could not be read, `is_readable` is False: no item counts as absent.
    """

    items: tuple[SourceItem, ...]
    problems: tuple[Problem, ...] = ()
    set_aside: tuple[str, ...] = ()
    is_readable: bool = True
    notes: tuple[str, ...] = ()
    """After a trial fetch: how each part of an item was found."""


@dataclass(frozen=True)
class Listing:
    """The files of a source at one moment, without their content.

    A signature changes whenever somebody writes to the file. It is '' if the file was written so recently that a
    further write could leave it as it is. Paths are relative to the newsroom, with slashes.
    """

    settings: str
    """A hash of everything else that decides how a file is read: configuration and program."""
    documents: Mapping[str, str]
    """The signature of each file with an item, by ref."""
    files: Mapping[str, str]
    """The signature of every other file, by path."""
    others: Mapping[str, Problem]
    """The problem of each file that somebody probably means as an item, by path, unless an item shows the file."""
    unreadable: Problem | None = None
    """Why the files cannot be listed. Then nothing may count as absent."""

    @cached_property
    def digest(self) -> str:
        """A hash of all names and signatures; '' if a file must be read again in any case."""
        lines = sorted(f"{path}\0{signature}" for path, signature in (*self.documents.items(), *self.files.items()))
        if any(line.endswith("\0") for line in lines):
            return ""
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The result of reading one file. `item` is None if it was refused.

    `needs` has the signatures of the files that it shows, by path: '-' for a missing file, '' for a recent one.
    `is_settled` is False if the file must be read again.
    """

    item: SourceItem | None
    problems: tuple[Problem, ...]
    needs: Mapping[str, str]
    is_settled: bool


class Source(Protocol):
    """A configured source."""

    def sweep(self, now: datetime) -> Sweep:
        """Read everything. Never raises for bad content or an unreadable source."""

    def watch_paths(self) -> tuple[Path, ...]:
        """Return the folders whose changes should start a sweep at once."""


@runtime_checkable
class FileSource(Protocol):
    """A source of local files: a sweep needs to read only those that changed."""

    def list_files(self) -> Listing:
        """List all files without reading them. Never raises for an unreadable folder."""

    def read_files(self, refs: Collection[str]) -> dict[str, ReadFile]:
        """Read these files, by ref. Those that no longer exist are left out. Never raises for bad content."""

    def current_signature(self, path: str) -> str:
        """Return the signature of one file; '-' if there is none."""


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of a fetch. `due` is the time of the next fetch. After a `problem`, the cached items stay."""

    was_requested: bool
    """False if no fetch was due."""
    due: datetime | None
    new: int = 0
    changed: int = 0
    problem: str = ""
    notice: str = ""
    """A message for people about a successful fetch."""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """The state of a source on the network. Times are by the newsroom's clock, or None if nothing happened yet."""

    fetched: datetime | None
    """Time of the last successful fetch."""
    newest: datetime | None
    """Publication time of the newest item."""
    due: datetime | None
    problem: str
    failing_since: datetime | None
    is_silent: bool
    """Whether no new item came for much longer than usual."""


@runtime_checkable
class FetchingSource(Protocol):
    """A source on the network: `fetch` puts its items into the cache, `sweep` reads only the cache."""

    def fetch(self, now: datetime, *, force: bool = False, pinged_at: datetime | None = None) -> FetchResult:
        """Ask the website if a fetch is due, forced, or a hub pinged since the last one.

        Never raises for errors of the website. Not thread-safe.
        """

    def try_fetch(self, now: datetime) -> Sweep:
        """Fetch at once and return the result as if the cache were empty. Saves nothing and never raises."""

    def health(self, now: datetime) -> SourceHealth:
        """Report the state of the source."""

    def abort(self) -> None:
        """End running requests and start no more. Called from another thread."""


@runtime_checkable
class WebSubSource(Protocol):
    """A source with a feed that may name a hub (W3C WebSub §4). Not thread-safe."""

    def hub(self) -> tuple[str, str] | None:
        """Return the hub and the feed's own address (its topic). None without a hub, or if no hub can reach us."""

    def subscribe(self, hub: str, topic: str, callback: str, secret: str, lease: timedelta) -> str:
        """Ask the hub to report changes to `callback`. Returns the problem, or an empty text."""


StillPublished = Callable[[Collection[str]], Collection[str]]
"""Takes refs missing from a source. Returns the refs of items that are still published until absence is certain."""


def none_published(refs: Collection[str]) -> Collection[str]:
    """Implement `StillPublished` without a store of items."""
    return ()


@runtime_checkable
class PictureSource(Protocol):
    """A source of items with pictures from a website, which Tidings copies."""

    def fetch_pictures(
        self, now: datetime, seconds: float, *, force: bool = False, still_published: StillPublished = none_published
    ) -> int:
        """Fetch the pictures that are due, starting none after `seconds`. Returns the number of new pictures.

        `force` retries failed pictures. Pictures of items that are still published stay. Never raises for
        errors of the website. Not thread-safe.
        """

    def abort(self) -> None:
        """End running requests and start no more. Called from another thread."""
