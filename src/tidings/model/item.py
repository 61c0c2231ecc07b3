"""An item: one stored piece of content in one language; a story groups an item and its translations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

NOTE = "note"
"""The kind of notes, which come first in the next digest and are in no feed or page."""

EVENT = "event"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture of an item. `src` is an absolute URL; sizes are pixels and bytes, None if unknown."""

    src: str
    alt: str
    caption: str = ""
    credit: str = ""
    width: int | None = None
    height: int | None = None
    media_type: str = ""
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that belongs to an item. `src` is an absolute URL, `length` its true size in bytes."""

    src: str
    title: str
    media_type: str = ""
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A local file that an item uses; served as `/media/{digest}/{name}` after the item is published."""

    digest: str
    name: str
    path: str
    media_type: str
    length: int


EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
PHONE = re.compile(r"[+(]?\d[\d ().\u00a0/-]{4,30}\d(?: ?(?:ext|доб)\.? ?\d{1,6})?")
"""Patterns of an e-mail address and a phone number of a press contact."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A press contact for an item: a person or an office."""

    name: str = ""
    role: str = ""
    email: str = ""
    phone: str = ""


MAIL_COPY = ".jpg"
"""Suffix of the file name of a picture's JPEG copy for mails."""


def needs_mail_copy(media: Media) -> bool:
    """Whether some mail programs, such as classic Outlook, cannot show a picture, so that mails get a JPEG copy."""
    return media.media_type in ("image/webp", "image/avif")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContent:
    """The fields of an item that its source gives and the store keeps.

    `ref` is the item's place in its source. Text is plain, except `body`, which is sanitised HTML with absolute links.
    `updated` is the editor's significant change.
    """

    ref: str
    language: str
    kind: str
    title: str
    body: str
    summary: str = ""
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
    contacts: tuple[Contact, ...] = ()
    lead: bool = False
    not_in: tuple[str, ...] = ()
    draft: bool = False
    correction: str = ""
    withdrawn: str = ""
    post: Mapping[str, str] = field(default_factory=dict)
    """The editor's own text for posts, by channel; '' is for every other channel."""
    extra: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """Return these fields by name, to make an item of another class."""
        return {each.name: getattr(self, each.name) for each in fields(ItemContent)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(ItemContent):
    """One item as the store holds it.

    `published` is the editor's date, `first_seen` the moment of the first read, `out_at` the first moment it was new to
    schedules (None before), `changed` the feed date: the last significant change of any sort, different for all items
    of one language (W3C validator: DuplicateUpdated).
    """

    id: str
    story: str
    slug: str
    url: str
    source: str
    published: datetime
    first_seen: datetime
    changed: datetime
    out_at: datetime | None = None
    corrected_at: datetime | None = None
    gone_at: datetime | None = None
    version: int = field(default=0, compare=False, repr=False)
    """Grows with each change of the stored item."""

    def is_out(self, now: datetime) -> bool:
        """Whether readers may see the item: its dates have passed, and it is not a draft, withdrawn or gone."""
        return not (
            self.draft
            or self.withdrawn
            or self.gone_at is not None
            or self.published > now
            or (self.embargo is not None and self.embargo > now)
        )

    def is_expired(self, now: datetime) -> bool:
        """Whether no further edition may include the item."""
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class CachedItem:
    """One item in the cache of a source on the network. `ref` never changes; `data` is JSON in the source's own shape.

    `backlog`: it existed when the source was first read, so no schedule sends it as new. `gone`: it was removed.
    """

    ref: str
    data: Mapping[str, Any]
    seen: datetime
    backlog: bool = False
    gone: bool = False
