"""RSS 2.0 and Atom by feedgen 1.0.0. Only this module works around feedgen's bugs.

All defaults of feedgen are replaced: order, links, dates, types and namespaces. Otherwise links of entries lose rel,
type and length (lkiesow/python-feedgen#135), entries are reversed, dates are the current time, and RSS dates change the
locale of the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from html import escape
from typing import Any, Final, Literal

# `feedgen.feed` is imported first: importing feedgen.ext before it fails.
import feedgen.entry
import feedgen.feed
from lxml import etree

from tidings.model.item import Image
from tidings.model.text import one_line
from tidings.render.feeds.entries import FeedEntry, build_entries, feed_date
from tidings.render.site_views import FeedView, SiteView
from tidings.render.urls import FORMATS, ascii_url, feed_path, page_path

_ATOM: Final = "http://www.w3.org/2005/Atom"
_DC: Final = "http://purl.org/dc/elements/1.1/"
_MEDIA: Final = "http://search.yahoo.com/mrss/"
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_MAX_LOGO: Final = (144, 400)
"""Most pixels of width and height that RSS 2.0 allows for a channel's image."""
_ARCHIVE_LENGTH: Final = 30
"""Most editions in the feed of an archive."""

# feedgen's own function changes LC_ALL of the whole process, while other threads format dates.
feedgen.feed.formatRFC2822 = feedgen.entry.formatRFC2822 = format_datetime

_Format = Literal["rss", "atom"]


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One edition in one language, or one mail of it. `path` is below the site's address."""

    path: str
    language: str
    title: str
    summary: str
    at: datetime


def render_rss(feed: FeedView, site: SiteView) -> bytes:
    """Return RSS 2.0 in UTF-8. Equal views give equal bytes."""
    return _write(_build(feed, site, "rss").rss_str(pretty=True))


def render_atom(feed: FeedView, site: SiteView) -> bytes:
    """Return Atom (RFC 4287) in UTF-8. Equal views give equal bytes."""
    return _write(_build(feed, site, "atom").atom_str(pretty=True))


def render_archive_feed(site: SiteView, title: str, path: str, home: str, entries: Sequence[ArchiveEntry]) -> bytes:
    """Return the feed of a list's archive as Atom. `path` is the path of the feed, `home` that of the archive.

    `entries` are newest first. There must be at least one.
    """
    url = ascii_url(site.url + path)
    builder = _begin(url, one_line(title), site, max(entry.at for entry in entries))
    builder.link(href=url, rel="self", type=FORMATS["atom"])
    builder.link(href=ascii_url(site.url + home), rel="alternate", type="text/html", hreflang=site.language)
    for entry in entries[:_ARCHIVE_LENGTH]:
        own = ascii_url(site.url + entry.path)
        title = one_line(entry.title)
        # An entry without any text is a warning of the W3C validator.
        summary = one_line(entry.summary) or title
        feed_entry = FeedEntry(own, own, title, summary, "", entry.language, entry.at, entry.at)
        builder.add_entry(_build_node(feed_entry, "atom"), order="append")
    return _write(builder.atom_str(pretty=True))


def _write(document: bytes) -> bytes:
    """Show a letter that was broken before us as ?, because the W3C validator warns of U+FFFD."""
    return document.replace("\ufffd".encode(), b"?")


class _FeedExtension:
    """A feedgen extension for a feed: only the namespaces that its entries use, and the hubs in RSS."""

    def __init__(self, namespaces: dict[str, str], hubs: Sequence[str]) -> None:
        self._namespaces = namespaces
        self._hubs = hubs

    def extend_ns(self) -> dict[str, str]:
        return self._namespaces

    def extend_rss(self, feed: Any) -> Any:
        # feedgen writes only the feed's own link into RSS.
        own = feed.find(f"channel/{{{_ATOM}}}link")
        for hub in reversed(self._hubs):
            own.addnext(etree.Element(f"{{{_ATOM}}}link", href=ascii_url(hub), rel="hub"))
        return feed

    def extend_atom(self, feed: Any) -> Any:
        return feed


class _EntryExtension:
    """A feedgen extension for an entry: language, authors in RSS, atom:updated and pictures."""

    def __init__(self, entry: FeedEntry) -> None:
        self._entry = entry

    def extend_ns(self) -> dict[str, str]:
        return {}

    def extend_rss(self, item: Any) -> Any:
        # dc:creator: RSS's own author must be an e-mail address.
        for author in self._entry.authors:
            etree.SubElement(item, f"{{{_DC}}}creator").text = author
        etree.SubElement(item, f"{{{_DC}}}language").text = self._entry.language
        etree.SubElement(item, f"{{{_ATOM}}}updated").text = self._entry.updated.isoformat()
        _add_media(item, self._entry.images)
        return item

    def extend_atom(self, entry: Any) -> Any:
        _add_media(entry, self._entry.images)
        return entry


class _RepairedEntry(feedgen.entry.FeedEntry):  # type: ignore[misc]
    """An entry that writes all attributes of Atom links and xml:lang. feedgen 1.0.0 writes only href (#135)."""

    language = ""

    def atom_entry(self, extensions: bool = True) -> Any:
        node = super().atom_entry(extensions)
        for element, link in zip(node.iterchildren("link"), self.link() or (), strict=True):
            for name in ("rel", "type", "hreflang", "title", "length"):
                if link.get(name):
                    element.set(name, link[name])
        node.set(_XML_LANG, self.language)
        return node


def _begin(id: str, title: str, site: SiteView, updated: datetime) -> Any:
    builder = feedgen.feed.FeedGenerator()
    builder.id(id)
    builder.title(title)
    builder.language(site.language)
    builder.author({"name": one_line(site.title)})
    builder.generator("Tidings")
    builder.updated(updated)
    return builder


def _build(feed: FeedView, site: SiteView, ending: _Format) -> Any:
    entries = build_entries(feed, site)
    title = one_line(feed.title)
    home = ascii_url(site.url + (feed.home or page_path(site.language)))
    builder = _begin(feed.id, title, site, feed_date(feed.changed, site.zone))
    builder.description(title)
    builder.docs("https://www.rssboard.org/rss-specification")
    url = ascii_url(site.url + feed_path(site.language, feed.name, ending))
    builder.link(href=url, rel="self", type=FORMATS[ending])
    for hub in site.hubs if ending == "atom" else ():
        builder.link(href=ascii_url(hub), rel="hub")
    # Added last: in RSS, feedgen uses the last link of any rel as the channel's link.
    builder.link(href=home, rel="alternate", type="text/html", hreflang=site.language)
    if site.logo_url and ending == "atom":
        builder.logo(ascii_url(site.logo_url))
    elif _fits_channel(site):
        size = {"width": str(site.logo_width), "height": str(site.logo_height)}
        builder.image(ascii_url(site.logo_url), title=title, link=home, **size)
    namespaces = {"media": _MEDIA} if any(entry.images for entry in entries) else {}
    if ending == "rss":
        namespaces["dc"] = _DC
    builder.register_extension("tidings", lambda: _FeedExtension(namespaces, site.hubs))
    for entry in entries:
        # feedgen prepends by default. Elsewhere this caused old newsletters to be mailed again.
        builder.add_entry(_build_node(entry, ending), order="append")
    return builder


def _build_node(entry: FeedEntry, ending: _Format) -> _RepairedEntry:
    node = _RepairedEntry()
    node.language = entry.language
    node.id(entry.id)
    node.title(entry.title or entry.url)
    node.published(entry.published)
    node.updated(entry.updated)
    if entry.summary:
        # RSS's description is HTML, Atom's summary plain text by default.
        node.summary(escape(entry.summary, quote=False) if ending == "rss" else entry.summary)
    if entry.content:
        node.content(entry.content, type="html")
    for link in _links(entry, ending):
        node.link(link)
    for category in entry.categories:
        node.category({"term": category.term, "scheme": category.scheme, "label": category.label})
    if ending == "atom":
        for author in entry.authors:
            node.author({"name": author})
    extension: Callable[[], _EntryExtension] = lambda: _EntryExtension(entry)  # noqa: E731
    node.register_extension("tidings", extension)
    return node


def _links(entry: FeedEntry, ending: _Format) -> list[dict[str, str]]:
    """Return the links in new dictionaries, because feedgen changes them."""
    files = [
        {
            "href": file.src,
            "rel": "enclosure",
            "type": file.media_type,
            "title": file.title,
            "length": str(file.length or 0),
        }
        for file in entry.attachments
    ]
    own = {"href": entry.url, "rel": "alternate", "type": "text/html", "hreflang": entry.language}
    if ending == "rss":
        # A second enclosure is a warning, and readers would take a translation for the item's own link.
        return [*files[:1], own]
    if not entry.translations:
        return [own, *files]
    # Readers differ in which alternate they take for the item: Miniflux and SimplePie the first, newsboat and
    # feedparser the last. So the item's own comes first and last; RFC 4287 §4.1.2 wants type and hreflang to differ.
    others = [
        {"href": each.url, "rel": "alternate", "type": "text/html", "hreflang": each.language, "title": each.title}
        for each in entry.translations
    ]
    return [own, *others, {"href": entry.url, "rel": "alternate", "type": "text/html"}, *files]


def _fits_channel(site: SiteView) -> bool:
    width, height = site.logo_width or 0, site.logo_height or 0
    svg = site.logo_url.lower().endswith(".svg")
    return bool(site.logo_url) and not svg and 0 < width <= _MAX_LOGO[0] and 0 < height <= _MAX_LOGO[1]


def _add_media(parent: Any, images: Sequence[Image]) -> None:
    """Add pictures directly to the entry. The W3C validator rejects a media:group with one picture."""
    for image in images:
        element = etree.SubElement(parent, f"{{{_MEDIA}}}content", url=image.src, medium="image", type=image.media_type)
        if image.length:
            element.set("fileSize", str(image.length))
        _set_size(element, image)
        if image.alt:
            etree.SubElement(element, f"{{{_MEDIA}}}description", type="plain").text = image.alt
    if images:
        _set_size(etree.SubElement(parent, f"{{{_MEDIA}}}thumbnail", url=images[0].src), images[0])


def _set_size(element: Any, image: Image) -> None:
    if image.width and image.height:
        element.set("width", str(image.width))
        element.set("height", str(image.height))
