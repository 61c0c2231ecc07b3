"""The port for sources: a source is swept, and tells what it holds now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from tidings.model.item import Attachment, Image, Media
from tidings.model.problem import Problem


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may know of the newsroom. `url` ends with a slash."""

    name: str
    root: Path
    url: str
    languages: tuple[str, ...]
    zone: ZoneInfo


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


class Source(Protocol):
    """A configured source."""

    def sweep(self, now: datetime) -> Sweep:
        """Read everything; never raises for bad content or an unreadable source."""

    def watch_paths(self) -> tuple[Path, ...]:
        """Folders whose changes should lead to a sweep at once; empty where there are none."""
