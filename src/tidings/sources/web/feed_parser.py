"""Parse RSS, Atom and JSON Feed in a child process, so that a hostile feed can crash only that process."""

from __future__ import annotations

import calendar
import codecs
import html
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import feedparser
from feedparser.urls import resolve_relative_uris
from lxml import etree

from tidings.child_process import ChildError, run_in_child
from tidings.model.dates import YEARS
from tidings.model.text import clean
from tidings.sources.encodings import decode_document, guess_codec, is_mostly_utf8, is_utf8
from tidings.sources.html_tags import is_element
from tidings.sources.json_values import as_objects, as_text
from tidings.sources.web.written_dates import is_standard, read_written_date

MAX_ENTRIES = 2_000
"""Most entries read from one feed: the first ones, because feeds begin with the newest."""
SECONDS = 20
"""Limit of processor time."""
_PICTURE = re.compile(r"\.(jpe?g|png|gif|webp|avif)$", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_DECLARED = re.compile(rb"^\s*<\?xml\b[^<>]{0,200}?\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_FILE = re.compile(r"\.[a-z0-9]{2,5}(?:[?#]|$)", re.IGNORECASE)
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)
_MEDIA = "http://search.yahoo.com/mrss/"
_TEXTS = (
    "description", "{http://purl.org/rss/1.0/modules/content/}encoded", "{http://www.w3.org/2005/Atom}content",
    "{http://www.w3.org/2005/Atom}summary",
)  # fmt: skip
_TITLE_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9-]{0,30})(?=[\s/>])[^<>]{0,200}>")
_ADDRESS = re.compile(r"https?://[^\s<>\"]{1,2000}")
_ROOT_END = re.compile(rb"</\s*(?:[\w.-]+:)?(?:rss|feed|rdf)\s*>", re.IGNORECASE)
_ENTRY_START = re.compile(rb"<(?:[\w.-]+:)?(?:item|entry)[\s>]", re.IGNORECASE)
_ENTRY_END = re.compile(rb"</(?:[\w.-]+:)?(?:item|entry)\s*>", re.IGNORECASE)
_STRAY_AMPERSAND = re.compile(rb"&(?!#\d{1,7};|#x[0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{0,30};)")
_MEDIA_NAMESPACE = re.compile(rb"[\"']https?://search\.yahoo\.com/mrss/?[\"']")
_PICTURE_ELEMENT = re.compile(
    rb"<(image|thumbnail|picture|photo)>\s{0,99}(?:<!\[CDATA\[\s{0,99})?(https?://[^<>\s\"\]]{1,2000})"
    rb"\s{0,99}(?:\]\]>\s{0,99})?</\1>",
    re.IGNORECASE,
)
_ONE_BYTE = re.compile(r"(?:windows-?125\d|cp-?125\d|iso-?8859-?\d+|latin-?\d|koi8-[ru])$")
_ESCAPED_TAG = re.compile(r"&lt;(?:p|div|br|a|img|strong|em|span|ul|h[1-6])\b[^<>]{0,500}?&gt;", re.IGNORECASE)
_FULL_TEXTS = ("yandex_full-text", "rambler_fulltext", "mailru_full-text", "turbo_content", "fulltext", "full-text")
"""The whole text where the description is short, for the news aggregators of Yandex, Rambler and Mail.ru."""
_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)


class FeedError(Exception):
    """The data is not a readable feed. The text says why."""


@dataclass(frozen=True, slots=True)
class ParsedFeedItem:
    """One entry: its id in the feed, and the fields of an `Article` as JSON, not yet cut to limits."""

    key: str
    article: dict[str, Any]
    faults: tuple[str, ...] = ()
    """Parts of the entry that could not be read."""


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """The entries of a feed. `more` counts the omitted ones. `hubs` and `topic` (its own address) are for WebSub."""

    items: tuple[ParsedFeedItem, ...]
    more: int = 0
    hubs: tuple[str, ...] = ()
    topic: str = ""
    is_cut: bool = False
    """Whether the data is incomplete. A partial entry is left out; the next reading gets it."""


def parse_feed_in_child(body: bytes, url: str, headers: Mapping[str, str], zone: ZoneInfo) -> ParsedFeed:
    """Run `parse_feed` in a child process with limits of time and memory. Raises FeedError."""
    about = {
        "url": url,
        "zone": str(zone),
        "content_type": headers.get("content-type", ""),
        "language": headers.get("content-language", ""),
    }
    try:
        result = run_in_child(parse_request, json.dumps(about).encode() + b"\n" + body, SECONDS)
    except ChildError as error:
        raise FeedError(str(error)) from None
    if "problem" in result:
        raise FeedError(result["problem"])
    items = tuple(ParsedFeedItem(each["key"], each["article"], tuple(each["faults"])) for each in result["items"])
    return ParsedFeed(items, result["more"], tuple(result["hubs"]), result["topic"], result["is_cut"])


def parse_feed(body: bytes, url: str, content_type: str = "", language: str = "", zone: str = "UTC") -> ParsedFeed:
    """Parse a feed. Raises only FeedError for data that is not a feed.

    `zone` is the time zone of written dates without one: `1 марта 2026, 10:00`.
    """
    try:
        begin = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if begin == b"{" or ("json" in content_type and begin != b"<"):
            try:
                feed = json.loads(body if _CHARSET.search(content_type) is None else _decode_json(body, content_type))
            except ValueError:
                raise FeedError("it is not JSON, or it broke off") from None
            return _parse_json_feed(feed, url, ZoneInfo(zone))
        if _ENTITY.search(body[:100_000]):
            raise FeedError("it declares XML entities, which feeds do not need and attacks use")
        return _parse_xml_feed(body, url, content_type, language, ZoneInfo(zone))
    except FeedError:
        raise
    except RecursionError:
        raise FeedError("it is nested too deep") from None
    except Exception:  # feedparser and json may raise anything for unusual input
        raise FeedError("it is damaged") from None


def _decode_json(body: bytes, content_type: str) -> str | bytes:
    """Return the text of JSON in the encoding that its header names, because JSON itself is always UTF-8 (RFC 8259)."""
    return body if is_utf8(body) or b"\0" in body[:4] else decode_document(body, content_type)


def _describe_page(body: bytes, url: str) -> str:
    """Describe a web page that is at the URL of a feed. Such a page often names its feeds."""
    for tag in re.findall(r"<link\b[^<>]{1,2000}>", body[:200_000].decode("utf-8", "replace"), re.IGNORECASE):
        pairs = re.findall(r"""\b(type|href)\s*=\s*["']([^"']+)""", tag, re.IGNORECASE)
        attributes = {name.lower(): value for name, value in pairs}
        is_feed = re.fullmatch(r"application/(rss\+xml|atom\+xml|feed\+json)", attributes.get("type", ""))
        if is_feed and "href" in attributes:
            feed = urljoin(url, html.unescape(attributes["href"]))[:500]
            return f"it is a web page, not a feed; it names the feed {feed}"
    return "it is a web page, not a feed, and names no feed; use `type: page` to read a page of news"


# -- RSS and Atom -----------------------------------------------------------------------------------------------------


def _parse_xml_feed(body: bytes, url: str, content_type: str, language: str, zone: ZoneInfo) -> ParsedFeed:
    if (text := _decode(body, content_type)) is not None:
        body, content_type = text.encode("utf-8", "replace"), "application/xml; charset=utf-8"
    body, content_type = _move_alt_texts(_repair(body), content_type)
    is_cut = _last_place(body, _ROOT_END) <= _last_place(body, _ENTRY_START)
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
    entries = parsed.entries
    if is_cut and _last_place(body, _ENTRY_START) > _last_place(body, _ENTRY_END):
        entries = entries[:-1]
    is_atom = str(parsed["version"]).startswith("atom")
    items = tuple(_parse_xml_item(entry, feed_language, url, zone, is_atom=is_atom) for entry in entries[:MAX_ENTRIES])
    links = [link for link in parsed.feed.get("links", ()) if link.get("href")]
    hubs = tuple(link["href"] for link in links if link.get("rel") == "hub")
    topic = next((link["href"] for link in links if link.get("rel") == "self"), "")
    return ParsedFeed(items, max(0, len(entries) - MAX_ENTRIES), hubs, topic, is_cut)


def _repair(body: bytes) -> bytes:
    """Correct what many systems write wrongly: a single `&`, the namespace of Media RSS, and a picture as bare text.

    feedparser would read `R&D` as an entity without its end.
    """
    pieces = body.split(b"<![CDATA[")
    repaired = [_STRAY_AMPERSAND.sub(b"&amp;", pieces[0])]
    for piece in pieces[1:]:
        inside, end, after = piece.partition(b"]]>")
        repaired.append(inside + end + _STRAY_AMPERSAND.sub(b"&amp;", after))
    body = _MEDIA_NAMESPACE.sub(f'"{_MEDIA}"'.encode(), b"<![CDATA[".join(repaired))
    return _PICTURE_ELEMENT.sub(rb'<enclosure type="image/jpeg" url="\2"/>', body)


def _decode(body: bytes, content_type: str) -> str | None:
    """Return the decoded text of a feed whose encoding feedparser would guess wrongly, else None.

    A byte order mark has priority over the header and the declaration (WHATWG Encoding §6.1). If a UTF-8 feed has one
    broken letter, feedparser reads all of it as Western European.
    """
    is_marked = body.startswith((*_BOMS, b"<\0", b"\0<"))
    if not is_marked:
        labels = [each[1].lower() for each in (_CHARSET.search(content_type),) if each]
        labels += [each[1].decode("ascii").lower() for each in (_DECLARED.search(body[:1024]),) if each]
        others = [label for label in labels if label not in ("utf-8", "utf8")]
        if others and is_utf8(body) and not body.isascii() and all(_ONE_BYTE.match(label) for label in others):
            # Nobody writes valid UTF-8 by chance: the label is left from an older system.
            return _without_declaration(body.decode())
        if others or is_utf8(body):
            return None
    if body.startswith((b"<\0", b"\0<")):
        codec = "utf-16-le" if body[1:2] == b"\0" else "utf-16-be"
        return _without_declaration(body.decode(codec, "replace"))
    return decode_document(body, "" if is_marked or is_mostly_utf8(body) else f"charset={guess_codec(body)}")


def _without_declaration(text: str) -> str:
    return re.sub(r"^\s*<\?xml\b[^<>]*>", "", text)


def _last_place(body: bytes, pattern: re.Pattern[bytes]) -> int:
    return max((match.start() for match in pattern.finditer(body)), default=-1)


def _move_alt_texts(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Move descriptions and credits of pictures into attributes `alt` and `credit` of their elements (Media RSS).

    feedparser keeps these attributes, but would use a description as the text of the entry. If an entry has no
    other text, as in feeds of videos, the description stays.
    """
    if _MEDIA.encode() not in body or not re.search(rb":(?:description|credit|group|title)\b", body):
        return body, content_type
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    charset = re.search(r"charset\s*=\s*[\"']?([\w-]+)", content_type)
    try:
        root = etree.fromstring(body, parser)
    except (etree.LxmlError, ValueError):
        return body, content_type
    if charset and charset[1].lower() not in ("utf-8", (root.getroottree().docinfo.encoding or "").lower()):
        return body, content_type
    for group in root.iter(f"{{{_MEDIA}}}group"):
        _keep_largest(group, "image")
        _keep_largest(group, "video")
    for element in list(root.iter(f"{{{_MEDIA}}}description")):
        parent = element.getparent()
        entry = next(
            (each for each in element.iterancestors() if etree.QName(each).localname in ("item", "entry")), None
        )
        if parent is None or entry is None:
            continue
        written = "".join(element.itertext())
        has_text = any((entry.findtext(name) or "").strip() or entry.find(f"{name}/*") is not None for name in _TEXTS)
        is_alt = has_text or parent.tag in (f"{{{_MEDIA}}}content", f"{{{_MEDIA}}}thumbnail")
        title = next((each.text or "" for each in entry.iterchildren("{*}title")), "")
        for each in (parent, *parent.iter(f"{{{_MEDIA}}}content", f"{{{_MEDIA}}}thumbnail")):
            if each.get("url") and each.get("alt") is None:
                each.set("alt", _plain_title(" ".join((written if is_alt else title).split())))
        if is_alt:
            element.tail = None if element.tail is None or not element.tail.strip() else element.tail
            parent.remove(element)
        elif element.get("type", "plain") == "plain":
            element[:], element.text = [], _as_paragraphs(written)
    for media in root.iter(f"{{{_MEDIA}}}content", f"{{{_MEDIA}}}thumbnail"):
        if media.get("alt") is None and (title := (media.findtext(f"{{{_MEDIA}}}title") or "").strip()):
            media.set("alt", _plain_title(" ".join(title.split())))
    for credit in root.iter(f"{{{_MEDIA}}}credit"):
        parent = credit.getparent()
        role, name = credit.get("role", "photographer"), " ".join("".join(map(str, credit.itertext())).split())
        if parent is not None and name and role in ("photographer", "author", "owner", "copyright holder", "artist"):
            for each in (parent, *parent.iterchildren(f"{{{_MEDIA}}}content")):
                each.set("credit", each.get("credit", name))
    return etree.tostring(root, encoding="utf-8"), "application/xml; charset=utf-8"


def _keep_largest(group: Any, medium: str) -> None:
    """Keep only the largest picture or film of a group, because the others are smaller forms of it (Media RSS)."""
    files = [
        each
        for each in group.iterchildren(f"{{{_MEDIA}}}content")
        if each.get("medium") == medium or each.get("type", "").startswith(f"{medium}/")
    ]
    if len(files) > 1:
        files.sort(key=lambda each: (each.get("isDefault") == "true", _size_of(each)), reverse=True)
        for each in files[1:]:
            group.remove(each)


def _size_of(element: Any) -> int:
    sizes = (element.get(name) or "" for name in ("width", "height", "bitrate"))
    return next((int(size) for size in sizes if re.fullmatch(r"[0-9]{1,6}", size)), 0)


def _parse_xml_item(entry: Any, feed_language: str, feed_url: str, zone: ZoneInfo, *, is_atom: bool) -> ParsedFeedItem:
    contents = [content for content in entry.get("content", ()) if content.get("value")]
    longest: Any = max(contents, key=lambda content: len(content["value"]), default={})
    full = _as_html(longest, is_atom)
    short = entry.get("summary_detail") or {"value": entry.get("summary") or entry.get("subtitle")}
    # Without a summary, feedparser gives the content again, but not its type.
    summary = _as_html(longest if short["value"] == longest.get("value") else short, is_atom)
    whole = max((str(entry.get(name) or "") for name in _FULL_TEXTS), key=len)
    if len(whole) > len(full or summary):
        full = whole if "<" in whole else _as_paragraphs("\n\n".join(filter(None, map(str.strip, whole.split("\n")))))
    if full and longest.get("base", feed_url) != feed_url:
        # xml:base applies (RFC 4287 §2). Without it, links are relative to the item's own page.
        full = resolve_relative_uris(full, longest["base"], "utf-8", longest.get("type", "text/html"))
    if (player := str((entry.get("media_player") or {}).get("url") or "")) and player not in full:
        full = f'{full or summary}<iframe src="{html.escape(player)}"></iframe>'
    links = [link for link in entry.get("links", ()) if link.get("href")]
    pages = [link for link in links if link.get("rel") == "alternate"]
    languages = [entry.get("language"), *(content.get("language") for content in contents), feed_language]
    url = _join(feed_url, str(entry.get("link") or ""))
    images, files = _parse_enclosures(entry, links, feed_url)
    title = str(entry.get("title") or "")
    article: dict[str, Any] = {
        "title": title if _is_plain(entry.get("title_detail") or {}, is_atom) else _plain_title(title),
        "url": url,
        "base": "" if url else feed_url,
        "language": str(next(filter(None, languages), "")),
        "summary": summary if full != summary else "",
        "html": full or summary,
        "published": _format_date(entry.get("published_parsed") or dict.get(entry, "updated_parsed")),
        "topics": [str(tag.get("label") or tag.get("term") or "") for tag in entry.get("tags", ())],
        "authors": _list_authors(entry),
        "images": images,
        "attachments": files,
        "translations": {
            page["hreflang"]: _join(feed_url, page["href"])
            for page in pages
            if page.get("hreflang") and page["href"] != url
        },
    }
    faults = _read_date_in_words(article, str(entry.get("published") or dict.get(entry, "updated") or ""), zone)
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _clean_all(article), faults)


def _read_date_in_words(article: dict[str, Any], written: str, zone: ZoneInfo) -> tuple[str, ...]:
    """Read a date in a non-standard format. Returns a problem if it cannot be read, or is the one that means none.

    feedparser misreads some of them, so that the story would get a wrong date.
    """
    if not written.strip():
        return ()
    if (article["published"] or "")[:10] in ("1970-01-01", "1969-12-31"):
        article["published"] = None
        return (f"its date {clean(written.strip()[:60])!r} is what systems write for none",)
    if article["published"] and is_standard(written):
        return ()
    moment = read_written_date(written, zone, article["language"])
    if moment is not None:
        article["published"] = moment.isoformat()
    if article["published"]:
        return ()
    return (f"its date {clean(written.strip()[:60])!r} cannot be read",)


def _plain_title(title: str) -> str:
    """Remove tags and entities from a title. Feeds escape titles twice, once or never."""
    return html.unescape(_TITLE_TAG.sub(lambda match: "" if is_element(match[1]) else match[0], title))


def _list_authors(entry: Any) -> list[str]:
    names = [_restore_name(author) for author in entry.get("authors", ())]
    return [name for name in names if name] or [str(entry["author"])] if entry.get("author") else []


def _restore_name(author: Mapping[str, Any]) -> str:
    """Return an author's name without rests of an address: feedparser does not know domain endings of five letters."""
    name, email = str(author.get("name") or ""), str(author.get("email") or "")
    if re.search(r"\.[a-zA-Z]{4}$", email):
        name = re.sub(r"^[a-z0-9.-]{1,60}(?: \(|$)| ?\([a-z0-9.-]{1,60}$| ?<[a-z0-9.-]{1,60}>$", "", name)
    return name


def _is_plain(detail: Mapping[str, Any], is_atom: bool) -> bool:
    """Whether an Atom feed marks this as plain text, in which angle brackets are not tags (RFC 4287 §3.1.1)."""
    kind = str(detail.get("type") or "")
    return is_atom and kind.startswith("text/") and kind != "text/html"


def _as_html(detail: Mapping[str, Any], is_atom: bool) -> str:
    """Return a text of an entry as HTML."""
    value = str(detail.get("value") or "")
    if _is_plain(detail, is_atom):
        return _as_paragraphs(value)
    if value.lstrip().startswith("<![CDATA["):
        value = value.strip().removeprefix("<![CDATA[").removesuffix("]]>")  # escaped with all around it
    if "<" not in value and _ESCAPED_TAG.search(value):
        value = html.unescape(value)  # escaped twice
    is_plain = "<" not in value
    if is_plain:
        value = _link_addresses(value)
    if is_plain and re.search(r"\n[ \t]*\n", value.strip()):
        # Plain text, in which only empty lines separate paragraphs.
        return "".join(f"<p>{part}</p>" for part in re.split(r"\n[ \t]*\n", value) if part.strip())
    return value


def _as_paragraphs(text: str) -> str:
    """Return plain text as HTML, with paragraphs, line breaks, and links for URLs."""
    parts = (part for part in re.split(r"\r?\n[ \t]*\r?\n", text) if part.strip())
    return "".join(f"<p>{_link_addresses(_escape(part.strip()))}</p>" for part in parts)


def _link_addresses(escaped: str) -> str:
    def link(match: re.Match[str]) -> str:
        address = match[0].rstrip(".,:;!?)»”’'")
        return f'<a href="{address}">{address}</a>{match[0][len(address) :]}'

    return _ADDRESS.sub(link, escaped)


def _join(base: str, target: str) -> str:
    """Make a URL absolute, relative to its document (RFC 3986 §5.1)."""
    try:
        return urljoin(base, target.strip()) if target.strip() else ""
    except ValueError:
        return target


def _is_tiny(media: Mapping[str, Any]) -> bool:
    """Whether a picture is a tracking pixel."""
    return any(re.fullmatch(r"\s*[01](?:px)?\s*", str(media.get(name, ""))) for name in ("width", "height"))


def _parse_enclosures(entry: Any, links: list[Any], feed_url: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return pictures and other files. A thumbnail or an episode's picture is used only if there is no other."""
    images: dict[str, dict[str, Any]] = {}
    files: dict[str, dict[str, Any]] = {}

    media_files = [*entry.get("media_content", ()), *entry.get("media_thumbnail", ()), *links]
    alts = {str(each.get("url") or each.get("href")): str(each["alt"]) for each in media_files if "alt" in each}
    credits = {str(each.get("url")): {"credit": str(each["credit"])} for each in media_files if "credit" in each}

    def add_image(written: str) -> None:
        image = {"src": _join(feed_url, written), "alt": alts.get(written, "")}
        images.setdefault(written, image | credits.get(written, {}))

    def add_file(about: Mapping[str, Any], written: str, title: str, size: Any) -> None:
        length = str(size or "").strip()
        files[written] = {
            "src": _join(feed_url, written),
            "title": title,
            "type": str(about.get("type") or "")[:100],
            # Many systems write 0 for "unknown".
            "length": int(length) if re.fullmatch(r"[1-9]\d{0,14}", length) else None,
        }

    for media in entry.get("media_content", ()):
        if _is_tiny(media):
            continue
        is_unknown = not media.get("medium") and not media.get("type") and not _FILE.search(str(media.get("url", "")))
        is_picture = is_unknown or media.get("medium") == "image" or str(media.get("type", "")).startswith("image/")
        if media.get("url") and (is_picture or _PICTURE.search(media["url"].partition("?")[0])):
            add_image(media["url"])
        elif media.get("url") and re.match(r"(?:audio|video)/(?!x-shockwave)", str(media.get("type", ""))):
            add_file(media, media["url"], alts.get(media["url"], ""), media.get("filesize"))
    for link in links:
        if link.get("rel") != "enclosure":
            continue
        if str(link.get("type", "")).startswith("image/") or _PICTURE.search(link["href"].partition("?")[0]):
            add_image(link["href"])
        else:
            add_file(link, link["href"], str(link.get("title") or ""), link.get("length"))
    transcript = entry.get("podcast_transcript")
    if isinstance(transcript, Mapping) and transcript.get("url"):
        add_file(transcript, str(transcript["url"]), "", None)
    for content in entry.get("content", ()):
        if content.get("src"):
            # The text is elsewhere (RFC 4287 §4.1.3.2).
            add_file(content, str(content["src"]), "", None)
    if not images:
        texts = [entry.get("summary"), *(content.get("value") for content in entry.get("content", ()))]
        has_picture = any("<img" in str(text) for text in texts)
        for thumbnail in entry.get("media_thumbnail", ()):
            # Blogger repeats the picture of the text with 72 pixels.
            is_small = has_picture and re.fullmatch(r"\d{1,2}|1[0-5]\d", str(thumbnail.get("width", "")))
            if thumbnail.get("url") and not _is_tiny(thumbnail) and not is_small:
                add_image(thumbnail["url"])
    if not images and _PICTURE.search(str(entry.get("href") or "").partition("?")[0]):
        add_image(str(entry["href"]))  # <image><url>
    if not images and isinstance(entry.get("image"), Mapping) and entry["image"].get("href"):
        # The picture of an episode (iTunes) has no alt text.
        alts.setdefault(str(entry["image"]["href"]), _plain_title(str(entry.get("title") or "")))
        add_image(str(entry["image"]["href"]))
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
    return moment.isoformat() if moment.year in YEARS else None


# -- JSON Feed 1.1 (jsonfeed.org/version/1.1) -------------------------------------------------------------------------


def _parse_json_feed(feed: Any, url: str, zone: ZoneInfo) -> ParsedFeed:
    if not isinstance(feed, dict) or "jsonfeed.org/version/" not in str(feed.get("version", "")):
        raise FeedError("it is JSON, but not a JSON Feed")
    entries = feed.get("items")
    if not isinstance(entries, list):
        raise FeedError("it is a JSON Feed without items")
    language = as_text(feed.get("language"))
    authors = _list_objects(feed, "authors") or as_objects([feed.get("author")])
    items = tuple(_parse_json_item(entry, language, url, zone, authors) for entry in as_objects(entries[:MAX_ENTRIES]))
    hubs = [hub for hub in _list_objects(feed, "hubs") if as_text(hub.get("type")).lower() == "websub"]
    urls = tuple(url for hub in hubs if (url := as_text(hub.get("url"))))
    more = max(0, len(entries) - MAX_ENTRIES)
    return ParsedFeed(items, more, urls, as_text(feed.get("feed_url")))


def _parse_json_item(
    entry: dict[str, Any], feed_language: str, feed_url: str, zone: ZoneInfo, feed_authors: list[dict[str, Any]]
) -> ParsedFeedItem:
    texts = {name: value for name, value in entry.items() if isinstance(value, str)}
    as_html = _as_paragraphs(texts.get("content_text") or texts.get("summary", ""))
    images = [{"src": _join(feed_url, texts.get("image") or texts.get("banner_image", ""))}]
    files: list[dict[str, Any]] = []
    for file in _list_objects(entry, "attachments"):
        src, title = _join(feed_url, as_text(file.get("url"))), as_text(file.get("title"))
        if as_text(file.get("mime_type")).startswith("image/"):
            images.append({"src": src, "alt": title})
        else:
            size = file.get("size_in_bytes")
            length = size if isinstance(size, int) and 0 < size < 2**53 else None
            files.append({"src": src, "title": title, "type": as_text(file.get("mime_type"))[:100], "length": length})
    # Version 1.0 has one `author`. Without authors of its own, an item has those of the feed.
    authors = _list_objects(entry, "authors") or as_objects([entry.get("author")]) or feed_authors
    tags = entry.get("tags")
    article = {
        "title": _plain_title(texts.get("title", "")),
        "url": _join(feed_url, texts.get("url") or texts.get("external_url", "")),
        "language": texts.get("language") or feed_language,
        "summary": texts.get("summary", ""),
        "base": feed_url,
        "html": texts.get("content_html") or as_html,
        "published": _parse_iso(texts.get("date_published") or texts.get("date_modified", "")),
        "topics": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        "authors": [as_text(author.get("name")) for author in authors],
        "images": [image for image in images if image["src"]],
        "attachments": [file for file in files if file["src"]],
    }
    faults = _read_date_in_words(article, texts.get("date_published") or texts.get("date_modified", ""), zone)
    return ParsedFeedItem(clean(str(entry.get("id") or "")), _clean_all(article), faults)


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
    """Remove characters that feeds and databases cannot contain, such as lone surrogates."""
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
