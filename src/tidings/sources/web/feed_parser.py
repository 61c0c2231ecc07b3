"""RSS, Atom and JSON Feed read, in a process of its own: a hostile feed can end that process and nothing else.

`python -m tidings.sources.web.feed_parser` takes a line of JSON (the address and headers) and the bytes of the feed on
standard input, and prints what it found as JSON.
"""

from __future__ import annotations

import calendar
import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import feedparser
from feedparser.urls import resolve_relative_uris

from tidings.model.text import clean
from tidings.sources.child_process import ChildError, run_child, run_in_child

MAX_ENTRIES = 2_000
"""Of one feed; the first of them, for feeds begin with the newest."""
SECONDS = 20
"""Of processor time."""
_PICTURE = re.compile(r"\.(jpe?g|png|gif|webp|avif)$", re.IGNORECASE)
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)


class FeedError(Exception):
    """What came is no feed that can be read; says why."""


@dataclass(frozen=True, slots=True)
class ParsedFeedItem:
    """One entry: the id that the feed gives it, and the fields of an `Article` as JSON."""

    key: str
    article: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """`more` says how many entries were left out. `hubs` and `itself` are what it names for WebSub."""

    items: tuple[ParsedFeedItem, ...]
    more: int = 0
    hubs: tuple[str, ...] = ()
    itself: str = ""


def parse_feed_in_child(body: bytes, url: str, headers: Mapping[str, str]) -> ParsedFeed:
    """As `read_feed`, in a child with limits of time and memory. Raises FeedError."""
    about = {"url": url, "type": headers.get("content-type", ""), "language": headers.get("content-language", "")}
    try:
        found = run_in_child(__name__, json.dumps(about).encode() + b"\n" + body, SECONDS)
    except ChildError as error:
        raise FeedError(str(error)) from None
    if "problem" in found:
        raise FeedError(found["problem"])
    items = tuple(ParsedFeedItem(one["key"], one["article"]) for one in found["items"])
    return ParsedFeed(items, found["more"], tuple(found["hubs"]), found["itself"])


def parse_feed(body: bytes, url: str, content_type: str = "", language: str = "") -> ParsedFeed:
    """The entries as the feed tells them. Raises FeedError for whatever is no feed; never anything else."""
    try:
        if "json" in content_type or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
            return _json_feed(json.loads(body))
        if _ENTITY.search(body[:100_000]):
            raise FeedError("it declares entities, which no feed needs and attacks are made of")
        return _xml_feed(body, url, content_type, language)
    except FeedError:
        raise
    except RecursionError:
        raise FeedError("it is nested too deep") from None
    except Exception as error:  # feedparser and json meet input that nobody has met before
        raise FeedError(f"it is damaged ({type(error).__name__})") from None


def _page_said(body: bytes, url: str) -> str:
    """What to do where a page of the web stands: it often names its feeds itself."""
    for tag in re.findall(r"<link\b[^>]{1,2000}>", body[:200_000].decode("utf-8", "replace"), re.IGNORECASE):
        pairs = re.findall(r"""\b(type|href)\s*=\s*["']([^"']+)""", tag, re.IGNORECASE)
        told = {name.lower(): value for name, value in pairs}
        if re.fullmatch(r"application/(rss\+xml|atom\+xml|feed\+json)", told.get("type", "")) and "href" in told:
            return f"it is a web page and no feed; it names the feed {urljoin(url, html.unescape(told['href']))[:500]}"
    return "it is a web page and no feed, and names none; `type: page` reads a page of news"


# -- RSS and Atom -----------------------------------------------------------------------------------------------------


def _xml_feed(body: bytes, url: str, content_type: str, language: str) -> ParsedFeed:
    headers = {"content-location": url}
    if content_type:
        headers["content-type"] = content_type
    if language:
        headers["content-language"] = language
    parsed = feedparser.parse(
        io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )
    if not parsed.get("version"):
        page = re.search(rb"<html[\s>]", body[:2_000], re.IGNORECASE)
        raise FeedError(_page_said(body, url) if page else "it is neither RSS nor Atom nor JSON Feed")
    said = str(parsed.feed.get("language") or "")
    items = tuple(_xml_item(entry, said, url) for entry in parsed.entries[:MAX_ENTRIES])
    links = [one for one in parsed.feed.get("links", ()) if one.get("href")]
    hubs = tuple(one["href"] for one in links if one.get("rel") == "hub")
    itself = next((one["href"] for one in links if one.get("rel") == "self"), "")
    return ParsedFeed(items, max(0, len(parsed.entries) - MAX_ENTRIES), hubs, itself)


def _xml_item(entry: Any, feed_language: str, feed_url: str) -> ParsedFeedItem:
    contents = [one for one in entry.get("content", ()) if one.get("value")]
    longest: Any = max(contents, key=lambda one: len(one["value"]), default={})
    full = str(longest.get("value", ""))
    if full and longest.get("base", feed_url) != feed_url:
        # xml:base holds (RFC 4287 §2); without it, links are those of the item's own page.
        full = resolve_relative_uris(full, longest["base"], "utf-8", longest.get("type", "text/html"))
    links = [one for one in entry.get("links", ()) if one.get("href")]
    pages = [one for one in links if one.get("rel") == "alternate"]
    languages = [entry.get("language"), *(one.get("language") for one in contents), feed_language]
    own = str(next(filter(None, languages), ""))
    url = str(entry.get("link") or "")
    translations = {one["hreflang"]: one["href"] for one in pages if one.get("hreflang") and one["href"] != url}
    images, files = _enclosed(entry, links)
    article: dict[str, Any] = {
        "title": _plain(str(entry.get("title") or "")),
        "url": url,
        "language": own,
        "summary": str(entry.get("summary") or "") if full != entry.get("summary") else "",
        "html": full or str(entry.get("summary") or ""),
        "published": _when(entry.get("published_parsed") or entry.get("updated_parsed")),
        "topics": [str(tag.get("label") or tag.get("term") or "") for tag in entry.get("tags", ())],
        "authors": _authors(entry),
        "images": images,
        "attachments": files,
        "translations": translations,
    }
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _cut(article))


def _plain(title: str) -> str:
    """Feeds escape titles twice, once or not at all; a tag or an entity in one is never meant to be seen."""
    return html.unescape(re.sub(r"</?[A-Za-z][^<>]{0,200}>", "", title))


def _authors(entry: Any) -> list[str]:
    named = [str(one.get("name") or "") for one in entry.get("authors", ())]
    return [name for name in named if name] or [str(entry["author"])] if entry.get("author") else []


def _enclosed(entry: Any, links: list[Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Pictures, and other files; a thumbnail only where no picture is named."""
    images: dict[str, dict[str, str]] = {}
    files: dict[str, dict[str, str]] = {}
    for one in entry.get("media_content", ()):
        picture = one.get("medium") == "image" or str(one.get("type", "")).startswith("image/")
        if one.get("url") and (picture or _PICTURE.search(one["url"].partition("?")[0])):
            images.setdefault(one["url"], {"src": one["url"]})
    for one in links:
        if one.get("rel") != "enclosure":
            continue
        if str(one.get("type", "")).startswith("image/") or _PICTURE.search(one["href"].partition("?")[0]):
            images.setdefault(one["href"], {"src": one["href"]})
        else:
            files.setdefault(one["href"], {"src": one["href"], "title": str(one.get("title") or "")})
    if not images:
        for one in entry.get("media_thumbnail", ()):
            if one.get("url"):
                images.setdefault(one["url"], {"src": one["url"]})
    return list(images.values()), list(files.values())


def _when(parsed: Any) -> str | None:
    """In UTC; None for a date that no calendar has."""
    if not parsed:
        return None
    try:
        return _sane(datetime.fromtimestamp(calendar.timegm(parsed), UTC))
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _sane(moment: datetime) -> str | None:
    return moment.isoformat() if 1900 <= moment.year <= 2200 else None


# -- JSON Feed 1.1 (jsonfeed.org/version/1.1) -------------------------------------------------------------------------


def _json_feed(found: Any) -> ParsedFeed:
    if not isinstance(found, dict) or "jsonfeed.org/version/" not in str(found.get("version", "")):
        raise FeedError("it is JSON, but no JSON Feed")
    entries = found.get("items")
    if not isinstance(entries, list):
        raise FeedError("it is a JSON Feed without items")
    said = _text(found, "language")
    items = tuple(_json_item(one, said) for one in entries[:MAX_ENTRIES] if isinstance(one, dict))
    hubs = [_text(one, "url") for one in _dicts(found, "hubs") if _text(one, "type").lower() == "websub"]
    return ParsedFeed(items, max(0, len(entries) - MAX_ENTRIES), tuple(filter(None, hubs)), _text(found, "feed_url"))


def _json_item(entry: dict[str, Any], feed_language: str) -> ParsedFeedItem:
    text = _text(entry, "content_text")
    as_html = "".join(f"<p>{_escaped(part)}</p>" for part in text.split("\n\n") if part.strip())
    images = [{"src": _text(entry, "image")}] if _text(entry, "image") else []
    files = []
    for one in _dicts(entry, "attachments"):
        if _text(one, "mime_type").startswith("image/"):
            images.append({"src": _text(one, "url"), "alt": _text(one, "title")})
        elif _text(one, "url"):
            files.append({"src": _text(one, "url"), "title": _text(one, "title")})
    authors = [_text(one, "name") for one in _dicts(entry, "authors")]
    tags = entry.get("tags")
    article = {
        "title": _plain(_text(entry, "title")),
        "url": _text(entry, "url") or _text(entry, "external_url"),
        "language": _text(entry, "language") or feed_language,
        "summary": _text(entry, "summary"),
        "html": _text(entry, "content_html") or as_html,
        "published": _iso(_text(entry, "date_published") or _text(entry, "date_modified")),
        "topics": [one for one in tags if isinstance(one, str)] if isinstance(tags, list) else [],
        "authors": [name for name in authors if name],
        "images": [one for one in images if one["src"]],
        "attachments": files,
    }
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _cut(article))


def _text(found: Any, name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _dicts(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = found.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")


def _iso(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _sane(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


# -- both -------------------------------------------------------------------------------------------------------------

_MOST = {"title": 2_000, "url": 4_000, "language": 40, "summary": 20_000, "html": 1_000_000}


def _cut(article: dict[str, Any]) -> dict[str, Any]:
    """Within the limits of `Article`: an entry that goes beyond them is cut, and the others are not lost with it."""
    article = _cleaned(article)
    for name, most in _MOST.items():
        article[name] = article[name][:most]
    for name in ("topics", "authors"):
        article[name] = [one[:2_000] for one in article[name] if one][:100]
    for name in ("images", "attachments"):
        fits = [one for one in article[name] if len(one["src"]) <= 4_000]
        article[name] = [one | {key: one[key][:2_000] for key in one if key != "src"} for one in fits][:100]
    translations = article.get("translations", {})
    article["translations"] = {key: url for key, url in translations.items() if len(key) <= 40 and len(url) <= 4_000}
    return article


def _cleaned(value: Any) -> Any:
    """Without characters that neither a feed nor a database can hold, lone surrogates among them."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(one) for key, one in value.items()}
    return value


def _main(given: bytes) -> dict[str, Any]:
    line, _, body = given.partition(b"\n")
    about = json.loads(line)
    try:
        feed = parse_feed(body, about["url"], about["type"], about["language"])
    except FeedError as error:
        return {"problem": str(error)}
    items = [{"key": one.key, "article": one.article} for one in feed.items]
    return {"items": items, "more": feed.more, "hubs": feed.hubs, "itself": feed.itself}


if __name__ == "__main__":
    run_child(_main)
