"""The port for sources: a source is swept, and tells what it holds now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from tidings.model.errors import Problem
from tidings.model.item import Attachment, CachedItem, Image, Media


class Shelf(Protocol):
    """What a source on the network keeps between two fetches; in the store, so that every process reads the same."""

    def version(self) -> int:
        """Grows with every change; 0 while nothing was ever kept."""

    def state(self) -> Mapping[str, Any]:
        """What the source noted for itself (validators, when to ask again), in JSON."""

    def entries(self, since: int = 0) -> tuple[CachedItem, ...]:
        """Those that changed after version `since`, by ref."""

    def entry(self, ref: str) -> CachedItem | None:
        """One of them."""

    def keep(self, version: int, state: Mapping[str, Any], entries: Sequence[CachedItem] = ()) -> bool:
        """Store the state, and the entries given. False, and nothing stored, if somebody kept anything since."""


class NoShelf:
    """Where there is no store: empty, and nothing can be kept."""

    def version(self) -> int:
        """Nothing was ever kept."""
        return 0

    def state(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def entries(self, since: int = 0) -> tuple[CachedItem, ...]:
        """None."""
        return ()

    def entry(self, ref: str) -> CachedItem | None:
        """None."""
        return None

    def keep(self, version: int, state: Mapping[str, Any], entries: Sequence[CachedItem] = ()) -> bool:
        """Cannot."""
        return False


class Stories(Protocol):
    """Which story each stored item belongs to."""

    def kept(self) -> tuple[tuple[str, str, str, str], ...]:
        """Source, ref, address and story key of every item; the same tuple while no item changes."""


class NoStories:
    """Where there is no store."""

    def kept(self) -> tuple[()]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may know of the newsroom. `url` ends with a slash."""

    name: str
    root: Path
    url: str
    languages: tuple[str, ...]
    zone: ZoneInfo
    shelf: Shelf = field(default_factory=NoShelf)
    pictures: Shelf = field(default_factory=NoShelf)
    """What a source knows of the pictures of its items."""
    stories: Stories = field(default_factory=NoStories)


@dataclass(frozen=True, slots=True)
class Found:
    """One item as its source tells it, before anything is minted.

    `ref` says where it stands in the source and may change (a path); `explicit_id` only where the editor wrote one.
    `name` is the basis of story key and slug. `body` is sanitised HTML, every link and image absolute. `fingerprint`
    is a hex SHA-256 over all that a reader could see, so that an unchanged file costs one comparison and a moved file
    is recognised.
    """

    ref: str
    name: str
    language: str
    title: str
    summary: str
    body: str
    kind: str
    fingerprint: str
    explicit_id: str | None = None
    story: str | None = None
    translations: tuple[str, ...] = ()
    """Pages of the same story in other languages, as `plain_link` writes them, in this source or another."""
    url: str | None = None
    published: datetime | None = None
    updated: datetime | None = None
    embargo: datetime | None = None
    expires: datetime | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    place: str = ""
    topics: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    media: tuple[Media, ...] = ()
    lead: bool = False
    not_in: tuple[str, ...] = ()
    draft: bool = False
    correction: str = ""
    withdrawn: str = ""
    post: Mapping[str, str] = field(default_factory=dict)
    """The editor's own words for posts, by channel; '' is for every other channel."""
    extra: Mapping[str, str] = field(default_factory=dict)
    backlog: bool = False
    """It stood in its source when that was first read: schedules that stand take it as sent."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where pictures of which we keep a copy stand on the website, by our address."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All that a source holds at one moment.

    `set_aside` are the refs that exist but could not be taken, each with its problem (whose `file` is the ref): an item
    that was taken before keeps its last good version. `readable` False means that the source could not be read at all,
    and says nothing of absence.
    """

    found: tuple[Found, ...]
    problems: tuple[Problem, ...] = ()
    set_aside: tuple[str, ...] = ()
    readable: bool = True
    notes: tuple[str, ...] = ()
    """Of a trial: by what each thing was found."""


class Source(Protocol):
    """A configured source."""

    def sweep(self, now: datetime) -> Sweep:
        """Read everything; never raises for bad content or an unreadable source."""

    def watch_paths(self) -> tuple[Path, ...]:
        """Folders whose changes should lead to a sweep at once; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought. `problem` says in words what went wrong; what is kept stays. `due`: when to ask again."""

    asked: bool
    due: datetime | None
    new: int = 0
    changed: int = 0
    problem: str = ""
    remark: str = ""
    """What a person should hear though all went well."""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source on the network fares. Moments are of the newsroom's clock; None where there was none yet."""

    fetched: datetime | None
    """When it last answered well."""
    newest: datetime | None
    """Of its newest item."""
    due: datetime | None
    problem: str
    failing_since: datetime | None
    silent: bool
    """Nothing new for much longer than its habit."""


@runtime_checkable
class Fetching(Protocol):
    """A source on the network: `fetch` brings what is there onto its shelf, `sweep` tells only what stands there."""

    def fetch(self, now: datetime, *, force: bool = False, called: datetime | None = None) -> Fetched:
        """Ask, if it is due, forced, or `called` since it was asked. Never raises for what the other side does.

        Not for two threads at once.
        """

    def trial(self, now: datetime) -> Sweep:
        """Ask at once, and tell what comes as if nothing had ever been kept; keeps nothing. Never raises."""

    def health(self, now: datetime) -> SourceHealth:
        """How it fares."""

    def abort(self) -> None:
        """From another thread: end what is on the wire, and begin nothing more."""


@runtime_checkable
class HubNaming(Protocol):
    """A source whose feed may name a hub (W3C WebSub §4). Not for two threads at once."""

    def hub(self) -> tuple[str, str] | None:
        """The hub, and the feed by the address that it names as its own; None where no hub could reach us."""

    def subscribe(self, hub: str, topic: str, callback: str, secret: str, lease: timedelta) -> str:
        """Ask the hub to tell of changes at `callback`; what went wrong, or nothing."""


Standing = Callable[[Collection[str]], Collection[str]]
"""Of refs that a source has no longer, those whose items stand all the same: nobody has believed it yet."""


def none_stands(refs: Collection[str]) -> Collection[str]:
    """Where there is no store of items."""
    return ()


@runtime_checkable
class Illustrated(Protocol):
    """A source whose items show pictures of a website, which are kept here."""

    def bring_pictures(
        self, now: datetime, seconds: float, *, force: bool = False, standing: Standing = none_stands
    ) -> int:
        """Ask for pictures that are due, and begin none after so many seconds; how many came.

        `force` tries again what could not be had. What items show that are `standing` stays. Never raises for what the
        other side does.

        Not for two threads at once.
        """

    def abort(self) -> None:
        """From another thread: end what is on the wire, and begin nothing more."""
