"""`sitemap.xml` (sitemaps.org 0.9) with Google's news part and languages, and `robots.txt` (RFC 9309)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from lxml import etree

from tidings.model.text import one_line
from tidings.render.urls import ascii_url

MAX_URLS = 1_000
"""Most URLs in one file. The protocol allows 50,000 and Google News 1,000. Smaller files change less often."""
_SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
_NEWS = "http://www.google.com/schemas/sitemap-news/0.9"
_XHTML = "http://www.w3.org/1999/xhtml"
_ROOT: Any = {None: _SITEMAP}
_PRIVATE = ("api", "confirm", "hooks", "preferences", "review", "room", "unsubscribe")
"""Folders with pages for one person."""


@dataclass(frozen=True, slots=True)
class SitemapNews:
    """A story for Google News: the publication's name, and the story's language, date and title."""

    name: str
    language: str
    published: datetime
    title: str


@dataclass(frozen=True, slots=True)
class SitemapUrl:
    """A page. `alternates` are its URLs by language, including its own; empty if there is only one language."""

    url: str
    changed: datetime | None = None
    alternates: Mapping[str, str] = field(default_factory=dict)
    news: SitemapNews | None = None


def render_sitemap(urls: Sequence[SitemapUrl]) -> bytes:
    """Return the sitemap in UTF-8. Equal URLs give equal bytes."""
    namespaces: dict[Any, str] = {None: _SITEMAP}
    if any(each.news for each in urls):
        namespaces["news"] = _NEWS
    if any(each.alternates for each in urls):
        namespaces["xhtml"] = _XHTML
    root = etree.Element(f"{{{_SITEMAP}}}urlset", nsmap=namespaces)
    for each in urls:
        entry = etree.SubElement(root, f"{{{_SITEMAP}}}url")
        _add(entry, _SITEMAP, "loc", ascii_url(each.url))
        if each.changed is not None:
            _add(entry, _SITEMAP, "lastmod", _date(each.changed))
        if each.news is not None:
            news = etree.SubElement(entry, f"{{{_NEWS}}}news")
            publication = etree.SubElement(news, f"{{{_NEWS}}}publication")
            _add(publication, _NEWS, "name", one_line(each.news.name))
            _add(publication, _NEWS, "language", _news_language(each.news.language))
            _add(news, _NEWS, "publication_date", _date(each.news.published))
            _add(news, _NEWS, "title", one_line(each.news.title))
        for language, url in each.alternates.items():
            etree.SubElement(entry, f"{{{_XHTML}}}link", rel="alternate", hreflang=language, href=ascii_url(url))
    return _write(root)


def render_sitemap_index(urls: Sequence[str]) -> bytes:
    """Return the list of all sitemaps of a large site."""
    root = etree.Element(f"{{{_SITEMAP}}}sitemapindex", nsmap=_ROOT)
    for url in urls:
        _add(etree.SubElement(root, f"{{{_SITEMAP}}}sitemap"), _SITEMAP, "loc", ascii_url(url))
    return _write(root)


def render_robots(site_url: str) -> bytes:
    """Render robots.txt, which allows everything except pages for one person, and names the sitemap."""
    base = urlsplit(ascii_url(site_url)).path or "/"
    rules = [f"Disallow: {base}{name}/" for name in _PRIVATE]
    return "\n".join(["User-agent: *", *rules, "", f"Sitemap: {ascii_url(site_url)}sitemap.xml", ""]).encode()


def _add(parent: etree._Element, namespace: str, name: str, text: str) -> None:
    etree.SubElement(parent, f"{{{namespace}}}{name}").text = text


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()


def _news_language(language: str) -> str:
    """Return the language as ISO 639. Google requires `zh-cn` and `zh-tw` for Chinese."""
    if language.partition("-")[0] != "zh":
        return language.partition("-")[0]
    return "zh-tw" if language.lower() in ("zh-tw", "zh-hk", "zh-hant") else "zh-cn"


def _write(root: etree._Element) -> bytes:
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))
