"""The HTTP headers of a file of public/: its type, how long it may be cached, and which sites may read it."""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".rss": "application/rss+xml; charset=utf-8",
    ".atom": "application/atom+xml; charset=utf-8",
    ".json": "application/feed+json; charset=utf-8",
    ".opml": "text/x-opml; charset=utf-8",
    ".xml": "application/xml; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".ics": "text/calendar; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".png": "image/png",
}
_JSON = "application/json; charset=utf-8"
"""The type of JSON files that are no feeds."""
_FEED_ENDINGS = frozenset({".rss", ".atom", ".json", ".opml", ".ics"})
_ACTIVE = frozenset({"text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml"})
"""Media types that a browser could run as one of our pages."""
_FEED_AGE = 1800
_PAGE_AGE = 300
_STYLE_AGE = 86_400
_MEDIA_AGE = 31_536_000
ERROR_AGE = "public, max-age=60"
"""Cache-Control of an error answer, such as 404."""


def is_media(path: str) -> bool:
    """Whether this is a picture or file of an item. Its path contains its digest, so its bytes never change."""
    return path.startswith("media/")


def is_active_media(path: str) -> bool:
    """Whether a browser could run this file of an item as one of our pages."""
    return is_media(path) and find_media_type(path) in _ACTIVE


def is_feed(path: str) -> bool:
    """Whether programs request this file again and again."""
    return PurePosixPath(path).suffix in _FEED_ENDINGS and not is_media(path) and not path.startswith("search/")


def is_for_all_sites(path: str) -> bool:
    """Whether scripts of other sites may read this file (CORS)."""
    return not is_media(path) and PurePosixPath(path).suffix in _FEED_ENDINGS | {".xml"}


def find_media_type(path: str) -> str:
    """Return the Content-Type of a file of public/ (RFC 9110 §8.3)."""
    if path.startswith("search/"):
        return _JSON
    if is_media(path):
        return mimetypes.guess_type(path)[0] or "application/octet-stream"
    return _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")


def find_cache_control(path: str) -> str:
    """Return the Cache-Control of a file of public/ (RFC 9111 §5.2.2)."""
    if is_media(path):
        return f"public, max-age={_MEDIA_AGE}, immutable"
    # Never no-cache: FreshRSS would then use its shortest interval.
    if is_feed(path):
        return f"public, max-age={_FEED_AGE}"
    age = _STYLE_AGE if PurePosixPath(path).suffix in (".css", ".js", ".ico", ".png") else _PAGE_AGE
    return f"public, max-age={age}"
