"""Parse RSS, Atom and JSON Feed in a child process, so that a hostile feed can crash only that process."""

from __future__ import annotations

import calendar
import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import feedparser
from feedparser.urls import resolve_relative_uris

from tidings.model.text import clean
from tidings.sources.child_process import ChildError, run_in_child
from tidings.sources.json_values import as_objects, as_text

MAX_ENTRIES = 2_000
"""Most entries read from one feed: the first ones, because feeds begin with the newest."""
SECONDS = 20
"""Limit of processor time."""
_PICTURE = re.compile(r"\.(jpe?g|png|gif|webp|avif)$", re.IGNORECASE)
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)


class FeedError(Exception):
    """The data is not a readable feed. The text says why."""


@dataclass(frozen=True, slots=True)
class ParsedFeedItem:
    """One entry: its id in the feed, and the fields of an `Article` as JSON, not yet cut to limits."""

    key: str
    article: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """The entries of a feed. `more` counts the omitted ones. `hubs` and `topic` (its own address) are for WebSub."""

    items: tuple[ParsedFeedItem, ...]
    more: int = 0
    hubs: tuple[str, ...] = ()
    topic: str = ""


def parse_feed_in_child(body: bytes, url: str, headers: Mapping[str, str]) -> ParsedFeed:
    """Run `parse_feed` in a child process with limits of time and memory. Raises FeedError."""
    about = {
        "url": url,
        "content_type": headers.get("content-type", ""),
        "language": headers.get("content-language", ""),
    }
    try:
        result = run_in_child(parse_request, json.dumps(about).encode() + b"\n" + body, SECONDS)
    except ChildError as error:
        raise FeedError(str(error)) from None
    if "problem" in result:
        raise FeedError(result["problem"])
    items = tuple(ParsedFeedItem(**item) for item in result["items"])
    return ParsedFeed(items, result["more"], tuple(result["hubs"]), result["topic"])


def parse_feed(body: bytes, url: str, content_type: str = "", language: str = "") -> ParsedFeed:
    """Parse a feed. Raises only FeedError for data that is not a feed."""
    try:
        if "json" in content_type or body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
            return _parse_json_feed(json.loads(body))
        if _ENTITY.search(body[:100_000]):
            raise FeedError("it declares XML entities, which feeds do not need and attacks use")
        return _parse_xml_feed(body, url, content_type, language)
    except FeedError:
        raise
    except RecursionError:
        raise FeedError("it is nested too deep") from None
    except Exception as error:  # feedparser and json may raise anything for unusual input
        raise FeedError(f"it is damaged ({type(error).__name__})") from None


def _describe_page(body: bytes, url: str) -> str:
    """Describe a web page at the address of a feed. Such a page often names its feeds."""
    for tag in re.findall(r"<link\b[^<>]{1,2000}>", body[:200_000].decode("utf-8", "replace"), re.IGNORECASE):
        pairs = re.findall(r"""\b(type|href)\s*=\s*["']([^"']+)""", tag, re.IGNORECASE)
        attributes = {name.lower(): value for name, value in pairs}
        is_feed = re.fullmatch(r"application/(rss\+xml|atom\+xml|feed\+json)", attributes.get("type", ""))
        if is_feed and "href" in attributes:
            feed = urljoin(url, html.unescape(attributes["href"]))[:500]
            return f"it is a web page, not a feed; it names the feed {feed}"
    return "it is a web page, not a feed, and names no feed; use `type: page` to read a page of news"


# -- RSS and Atom -----------------------------------------------------------------------------------------------------


def _parse_xml_feed(body: bytes, url: str, content_type: str, language: str) -> ParsedFeed:
    headers = {"content-location": url, "content-type": content_type, "content-language": language}
    parsed = feedparser.parse(
        io.BytesIO(body),
        response_headers={name: value for name, value in headers.items() if value},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    if not parsed.get("version"):
        is_page = re.search(rb"<html[\s>]", body[:2_000], re.IGNORECASE)
        raise FeedError(_describe_page(body, url) if is_page else "it is neither RSS nor Atom nor JSON Feed")
    feed_language = str(parsed.feed.get("language") or "")
    items = tuple(_parse_xml_item(entry, feed_language, url) for entry in parsed.entries[:MAX_ENTRIES])
    links = [link for link in parsed.feed.get("links", ()) if link.get("href")]
    hubs = tuple(link["href"] for link in links if link.get("rel") == "hub")
    topic = next((link["href"] for link in links if link.get("rel") == "self"), "")
    return ParsedFeed(items, max(0, len(parsed.entries) - MAX_ENTRIES), hubs, topic)


def _parse_xml_item(entry: Any, feed_language: str, feed_url: str) -> ParsedFeedItem:
    contents = [content for content in entry.get("content", ()) if content.get("value")]
    longest: Any = max(contents, key=lambda content: len(content["value"]), default={})
    full = str(longest.get("value", ""))
    if full and longest.get("base", feed_url) != feed_url:
        # xml:base applies (RFC 4287 §2). Without it, links are relative to the item's own page.
        full = resolve_relative_uris(full, longest["base"], "utf-8", longest.get("type", "text/html"))
    links = [link for link in entry.get("links", ()) if link.get("href")]
    pages = [link for link in links if link.get("rel") == "alternate"]
    languages = [entry.get("language"), *(content.get("language") for content in contents), feed_language]
    url = str(entry.get("link") or "")
    images, files = _parse_enclosures(entry, links)
    article: dict[str, Any] = {
        "title": _plain_title(str(entry.get("title") or "")),
        "url": url,
        "language": str(next(filter(None, languages), "")),
        "summary": str(entry.get("summary") or "") if full != entry.get("summary") else "",
        "html": full or str(entry.get("summary") or ""),
        "published": _format_date(entry.get("published_parsed") or entry.get("updated_parsed")),
        "topics": [str(tag.get("label") or tag.get("term") or "") for tag in entry.get("tags", ())],
        "authors": _list_authors(entry),
        "images": images,
        "attachments": files,
        "translations": {
            page["hreflang"]: page["href"] for page in pages if page.get("hreflang") and page["href"] != url
        },
    }
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _clean_all(article))


def _plain_title(title: str) -> str:
    """Remove tags and entities, which are never meant to be seen. Feeds escape titles twice, once or never."""
    return html.unescape(re.sub(r"</?[A-Za-z][^<>]{0,200}>", "", title))


def _list_authors(entry: Any) -> list[str]:
    names = [str(author.get("name") or "") for author in entry.get("authors", ())]
    return [name for name in names if name] or [str(entry["author"])] if entry.get("author") else []


def _parse_enclosures(entry: Any, links: list[Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return pictures and other files. A thumbnail counts only if there is no picture."""
    images: dict[str, dict[str, str]] = {}
    files: dict[str, dict[str, str]] = {}
    for media in entry.get("media_content", ()):
        is_picture = media.get("medium") == "image" or str(media.get("type", "")).startswith("image/")
        if media.get("url") and (is_picture or _PICTURE.search(media["url"].partition("?")[0])):
            images.setdefault(media["url"], {"src": media["url"]})
    for link in links:
        if link.get("rel") != "enclosure":
            continue
        if str(link.get("type", "")).startswith("image/") or _PICTURE.search(link["href"].partition("?")[0]):
            images.setdefault(link["href"], {"src": link["href"]})
        else:
            files.setdefault(link["href"], {"src": link["href"], "title": str(link.get("title") or "")})
    if not images:
        for thumbnail in entry.get("media_thumbnail", ()):
            if thumbnail.get("url"):
                images.setdefault(thumbnail["url"], {"src": thumbnail["url"]})
    return list(images.values()), list(files.values())


def _format_date(parsed: Any) -> str | None:
    """Return ISO 8601 in UTC, or None for a date that does not exist."""
    if not parsed:
        return None
    try:
        return _format_moment(datetime.fromtimestamp(calendar.timegm(parsed), UTC))
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _format_moment(moment: datetime) -> str | None:
    return moment.isoformat() if 1900 <= moment.year <= 2200 else None


# -- JSON Feed 1.1 (jsonfeed.org/version/1.1) -------------------------------------------------------------------------


def _parse_json_feed(feed: Any) -> ParsedFeed:
    if not isinstance(feed, dict) or "jsonfeed.org/version/" not in str(feed.get("version", "")):
        raise FeedError("it is JSON, but not a JSON Feed")
    entries = feed.get("items")
    if not isinstance(entries, list):
        raise FeedError("it is a JSON Feed without items")
    language = as_text(feed.get("language"))
    items = tuple(_parse_json_item(entry, language) for entry in as_objects(entries[:MAX_ENTRIES]))
    hubs = [hub for hub in _list_objects(feed, "hubs") if as_text(hub.get("type")).lower() == "websub"]
    urls = tuple(url for hub in hubs if (url := as_text(hub.get("url"))))
    more = max(0, len(entries) - MAX_ENTRIES)
    return ParsedFeed(items, more, urls, as_text(feed.get("feed_url")))


def _parse_json_item(entry: dict[str, Any], feed_language: str) -> ParsedFeedItem:
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    paragraphs = texts.get("content_text", "").split("\n\n")
    as_html = "".join(f"<p>{_escape(part)}</p>" for part in paragraphs if part.strip())
    images = [{"src": texts.get("image", "")}]
    files = []
    for file in _list_objects(entry, "attachments"):
        src, title = as_text(file.get("url")), as_text(file.get("title"))
        if as_text(file.get("mime_type")).startswith("image/"):
            images.append({"src": src, "alt": title})
        else:
            files.append({"src": src, "title": title})
    tags = entry.get("tags")
    article = {
        "title": _plain_title(texts.get("title", "")),
        "url": texts.get("url") or texts.get("external_url", ""),
        "language": texts.get("language") or feed_language,
        "summary": texts.get("summary", ""),
        "html": texts.get("content_html") or as_html,
        "published": _parse_iso(texts.get("date_published") or texts.get("date_modified", "")),
        "topics": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        "authors": [as_text(author.get("name")) for author in _list_objects(entry, "authors")],
        "images": [image for image in images if image["src"]],
        "attachments": [file for file in files if file["src"]],
    }
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _clean_all(article))


def _list_objects(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = value.get(name)
    return as_objects(entries) if isinstance(entries, list) else []


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")


def _parse_iso(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _format_moment(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


# -- both -------------------------------------------------------------------------------------------------------------


def _clean_all(value: Any) -> Any:
    """Remove characters that neither feeds nor databases can hold, such as lone surrogates."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_clean_all(entry) for entry in value]
    if isinstance(value, dict):
        return {clean(key): _clean_all(entry) for key, entry in value.items()}
    return value


def parse_request(data: bytes) -> dict[str, Any]:
    """Parse a line of JSON (address and headers) and the bytes of a feed. Returns the entries as JSON."""
    line, _, body = data.partition(b"\n")
    try:
        return asdict(parse_feed(body, **json.loads(line)))
    except FeedError as error:
        return {"problem": str(error)}
