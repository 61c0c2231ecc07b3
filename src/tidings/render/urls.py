"""Paths and ASCII URLs of pages and feeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

import idna

from tidings.model.text import clean, shorten_slug, slugify

ALL = "all"
"""The name of the feed that always exists."""

GROUPS = ("topics", "organisations", "kinds")
"""The groups of sections: each topic, organisation and kind has a page and a feed in each language."""

SEARCH = "search"
RESERVED_SLUGS = frozenset({*GROUPS, SEARCH})
"""Folders below a language that are reserved, so that no story has such a slug."""

FORMATS: Mapping[str, str] = {
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "json": "application/feed+json",
}
"""File ending and media type of each feed format, in the order of links on pages."""

_SAFE = "@/:=?;#%&,+-_.!~*'()[]"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def feed_path(language: str, name: str, ending: str) -> str:
    """Return the path of a feed below the site's address, without a leading slash."""
    return f"feeds/{language}/{name}.{ending}"


def page_path(language: str, slug: str = "") -> str:
    """Return the path of a language's front page or of an item's page, without a leading slash, with one at the end."""
    return f"{language}/{slug}/" if slug else f"{language}/"


@lru_cache(maxsize=8192)
def section_slug(key: str) -> str:
    """Return the name of a section in URLs. Spellings that differ only in case or accents share it."""
    return shorten_slug(slugify(key))


def section_path(language: str, group: str, slug: str, number: int = 0) -> str:
    """Return the path of a section's page. `number` counts older pages from the oldest."""
    return f"{language}/{group}/{slug}/" + (f"{number}/" if number else "")


def calendar_path(language: str, slug: str = "") -> str:
    """Return the path of the calendar file of an event, or of all events of a language."""
    return f"{language}/{slug}/event.ics" if slug else f"feeds/{language}/events.ics"


def search_path(language: str, number: int = 0) -> str:
    """Return the path of the search page of a language. `number` counts older pages with titles from the oldest."""
    return f"{language}/{SEARCH}/" + (f"{number}/" if number else "")


def archive_path(list_name: str, number: int = 0, language: str = "", part: int = 0) -> str:
    """Return the path of a list's archive, or of an edition in a language. `part` counts mails of single stories."""
    if not number:
        return f"archive/{list_name}/{language}/" if language else f"archive/{list_name}/"
    return f"archive/{list_name}/{number}/{language}" + (f"/{part}" if part else "")


@lru_cache(maxsize=8192)
def ascii_url(url: str) -> str:
    """Return `url` percent-encoded (RFC 3987 §3.1), with its host as A-labels. Encoded parts stay unchanged."""
    url = clean(url).replace("\n", "").strip()
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return quote(url, safe=_SAFE.replace("[]", ""))
    netloc = parts.netloc
    if not host.isascii():
        try:
            label = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            label = quote(host)
        start = netloc.lower().find(host)
        netloc = netloc[:start] + label + netloc[start + len(host) :]
    rest = [_STRAY_PERCENT.sub("%25", quote(part, safe=_SAFE)) for part in parts[2:]]
    # Brackets belong to IPv6 hosts and queries only (RFC 3986 §3.2.2).
    rest[0] = rest[0].replace("[", "%5B").replace("]", "%5D")
    return urlunsplit((parts.scheme, netloc, *rest))
