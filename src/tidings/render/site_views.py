"""Views of the newsroom for feeds and pages: small, in one language, and independent of the YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tidings.model.item import Item

MAX_ITEMS = 50
"""Most items in one feed."""


@dataclass(frozen=True, slots=True)
class SiteView:
    """The publisher in one language. `url` ends with a slash, `zone` is an IANA name, the logo's size is in pixels.

    `topics` maps a topic's key to its name; `topic_label` names the others.
    """

    title: str
    url: str
    language: str
    languages: tuple[str, ...]
    zone: str = "UTC"
    colour: str = "#0b5c8a"
    logo_url: str = ""
    logo_width: int | None = None
    logo_height: int | None = None
    address: str = ""
    topics: Mapping[str, str] = field(default_factory=dict)
    hubs: tuple[str, ...] = ()
    """URLs of the WebSub hubs that are notified of changed feeds."""
    can_subscribe: bool = False
    """Whether there is a public list to subscribe to."""
    has_archive: bool = False
    """Whether there is a list with a public archive."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The same story in another language: its public `url`, and the `slug` of its page here."""

    language: str
    title: str
    url: str
    slug: str


@dataclass(frozen=True, slots=True)
class FeedLink:
    """A feed in the lists of pages and OPML; `label` is its title without the site's."""

    name: str
    title: str
    language: str
    label: str


@dataclass(frozen=True, slots=True)
class FeedView:
    """A feed in one language.

    `id` is a URI that never changes. `changed` is the time of the last significant change, including deletions. `items`
    are newest first, and may be more than the feed shows. `translations` are by item id.
    """

    id: str
    name: str
    title: str
    items: tuple[Item, ...]
    changed: datetime
    translations: Mapping[str, tuple[Translation, ...]] = field(default_factory=dict)
    home: str = ""
    """The path of the page with the same items; '' means the front page of the language."""
    limit: int = MAX_ITEMS
    """The most items that the feed shows."""


@dataclass(frozen=True, slots=True)
class SectionLink:
    """A link to the page of a topic, an organisation or a kind, with the number of its items."""

    group: str
    slug: str
    label: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class SectionPage:
    """A page of a section in one language. `items` are newest first.

    `number` is 0 for the page with the newest items. Older pages are counted from the oldest, up to `older`, so that a
    new item changes no older page and no URL. `languages` are the languages with this section.
    """

    group: str
    slug: str
    label: str
    items: tuple[Item, ...]
    number: int = 0
    older: int = 0
    languages: tuple[str, ...] = ()
