"""What feeds and pages know of the newsroom: small views in one language, so that nothing here depends on its YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tidings.model.item import Item

ALL = "all"
"""The feed that exists by itself."""

FORMATS: Mapping[str, str] = {
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "json": "application/feed+json",
}
"""File ending and media type of each feed, in the order in which pages name them."""


@dataclass(frozen=True, slots=True)
class SiteView:
    """The publisher in one language. `url` ends with a slash, `zone` is an IANA name, the logo's size is in pixels.

    `topics` maps a topic's key to its name; a key without a name is shown as it is.
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
    """Addresses of the WebSub hubs that are told of changed feeds."""
    can_subscribe: bool = False
    """Whether there is a list that anybody may join."""


@dataclass(frozen=True, slots=True)
class Translation:
    """The same story in another language: where it stands for readers (`url`) and its page here (`slug`)."""

    language: str
    title: str
    url: str
    slug: str


@dataclass(frozen=True, slots=True)
class FeedLink:
    """A feed as pages and OPML name it; `label` is its title without the site's."""

    name: str
    title: str
    language: str
    label: str


@dataclass(frozen=True, slots=True)
class FeedView:
    """A feed in one language.

    `id` is a URI that was minted once; `changed` the moment of the last significant change, deletions included; `items`
    are newest first, and more than a feed will carry; `translations` are by item id.
    """

    id: str
    name: str
    title: str
    items: tuple[Item, ...]
    changed: datetime
    translations: Mapping[str, tuple[Translation, ...]] = field(default_factory=dict)


def feed_path(language: str, name: str, ending: str) -> str:
    """The path of a feed below the site's address, without a slash in front."""
    return f"feeds/{language}/{name}.{ending}"


def page_path(language: str, slug: str = "") -> str:
    """The path of a language's front page or of an item's page, without a slash in front, with one at the end."""
    return f"{language}/{slug}/" if slug else f"{language}/"


def archive_path(list_name: str, number: int = 0, language: str = "", part: int = 0) -> str:
    """The path of a list's archive, or of one of its editions in a language; `part` counts mails of single stories."""
    if not number:
        return f"archive/{list_name}/{language}/" if language else f"archive/{list_name}/"
    return f"archive/{list_name}/{number}/{language}" + (f"/{part}" if part else "")
