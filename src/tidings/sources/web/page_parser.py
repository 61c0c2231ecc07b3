"""A page of the web read for the story on it: what it says of itself first, then what selectors of the editor find.

JSON-LD (schema.org/NewsArticle), OpenGraph (ogp.me), `lang` and `hreflang` are what most sites have; a selector in YAML
goes before all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

from lxml import etree, html
from lxml.cssselect import CSSSelector

from tidings.model.dates import parse_moment
from tidings.model.text import clean, one_line

_TYPES = {"article", "newsarticle", "blogposting", "report", "event", "webpage", "pressrelease"}
_BODIES = ("[itemprop=articleBody]", "article .field--name-body", "article .entry-content", "article", "main")
_ASIDE = "script, style, nav, aside, form, header, footer, noscript, iframe, button, [hidden], [aria-hidden=true]"
_LINKS = "article a[href], h2 a[href], h3 a[href], h4 a[href]"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
_DOTTED = re.compile(r"\b(\d{1,2})[./](\d{1,2})[./](\d{4})\b")
MAX_LINKS = 100


@dataclass(frozen=True, slots=True)
class Selectors:
    """CSS of the editor; empty where the page speaks for itself."""

    items: str = ""
    title: str = ""
    summary: str = ""
    body: str = ""
    published: str = ""
    image: str = ""
    topics: str = ""
    remove: str = ""


@dataclass(slots=True)
class ParsedPage:
    """The fields of an `Article` as JSON, and by what each was found."""

    article: dict[str, Any] = field(default_factory=dict)
    found_by: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, by: str) -> None:
        """Unless it is known already."""
        if value and name not in self.found_by:
            self.article[name], self.found_by[name] = value, by


def find_links(body: bytes, url: str, selectors: Selectors) -> list[str]:
    """Addresses of the pages that a listing leads to, in its order: of the same site, each once."""
    root = _parsed(body)
    if root is None:
        return []
    found: dict[str, None] = {}
    for element in _select(root, selectors.items or _LINKS):
        anchor = element if element.tag == "a" else next(iter(element.iter("a")), None)
        target = _absolute(url, str(anchor.get("href") or "")) if anchor is not None else ""
        same = urlsplit(target).netloc == urlsplit(url).netloc
        if same and target.partition("#")[0].rstrip("/") != url.partition("#")[0].rstrip("/"):
            found[target.partition("#")[0]] = None
    return list(found)[:MAX_LINKS]


def parse_page(body: bytes, url: str, selectors: Selectors, zone: ZoneInfo) -> ParsedPage:
    """What stands on one page; an empty article where that is nothing. Dates without an offset are of `zone`."""
    page = ParsedPage()
    root = _parsed(body)
    if root is None:
        return page
    _by_selectors(page, root, url, selectors, zone)
    for one in _linked_data(root):
        _by_linked_data(page, one, url, zone)
    _by_open_graph(page, root, url, zone)
    _by_html(page, root, url, selectors)
    page.article["url"] = _canonical(root, url)
    return page


def _parsed(body: bytes) -> Any:
    """None for what is no HTML. Recovers from whatever is broken, and fetches nothing."""
    try:
        text = _decoded(body)
        return html.document_fromstring(clean(text), parser=html.HTMLParser(no_network=True, huge_tree=False))
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _decoded(body: bytes) -> str:
    """By the page's own word for its encoding (HTML §13.2.3.2), else UTF-8."""
    said = re.search(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{1,40})", body[:4_096], re.IGNORECASE)
    try:
        return body.decode(said[1].decode() if said else "utf-8", "replace").lstrip("\ufeff")
    except LookupError:
        return body.decode("utf-8", "replace")


def _by_selectors(page: ParsedPage, root: Any, url: str, selectors: Selectors, zone: ZoneInfo) -> None:
    for name in ("title", "summary"):
        if selector := getattr(selectors, name):
            page.put(name, _text_of(_first(root, selector)), selector)
    if selectors.body:
        page.put("html", _inside(root, selectors.body, selectors.remove), selectors.body)
    if selectors.published and (element := _first(root, selectors.published)) is not None:
        written = str(element.get("datetime") or element.get("content") or "") or _text_of(element)
        page.put("published", _moment(written, zone), selectors.published)
    if selectors.image and (element := _first(root, selectors.image)) is not None:
        image = element if element.tag == "img" else next(iter(element.iter("img")), None)
        if image is not None:
            page.put("images", _pictures(url, image.get("src"), image.get("alt")), selectors.image)
    if selectors.topics:
        page.put("topics", [_text_of(one) for one in _select(root, selectors.topics)], selectors.topics)


def _linked_data(root: Any) -> Iterator[Mapping[str, Any]]:
    """The JSON-LD nodes that may be the story, the likeliest first."""
    nodes: list[Mapping[str, Any]] = []
    for script in root.iter("script"):
        if str(script.get("type") or "").lower() == "application/ld+json":
            try:
                nodes += _nodes(json.loads(script.text or ""))
            except (ValueError, RecursionError):
                continue
    wanted = [one for one in nodes if _types(one) & _TYPES]
    yield from sorted(wanted, key=lambda one: not one.get("headline"))


def _nodes(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, list):
        return [node for one in value[:50] for node in _nodes(one)]
    if not isinstance(value, dict):
        return []
    graph = value.get("@graph")
    return _nodes(graph) if isinstance(graph, list) else [value]


def _types(node: Mapping[str, Any]) -> set[str]:
    kinds = node.get("@type")
    return {str(one).lower() for one in (kinds if isinstance(kinds, list) else [kinds])}


def _by_linked_data(page: ParsedPage, node: Mapping[str, Any], url: str, zone: ZoneInfo) -> None:
    by = "JSON-LD"
    page.put("title", _said(node.get("headline") or (node.get("name") if "webpage" not in _types(node) else "")), by)
    page.put("summary", _said(node.get("description")), by)
    page.put("published", _moment(_said(node.get("datePublished")), zone), by)
    page.put("language", _said(node.get("inLanguage")), by)
    authors = node.get("author")
    people = [one.get("name") for one in _many(authors) if isinstance(one, dict)]
    page.put("authors", [_said(name) for name in people if _said(name)], by)
    keywords = node.get("keywords")
    words = keywords.split(",") if isinstance(keywords, str) else _many(keywords)
    page.put("topics", [_said(one) for one in (*_many(node.get("articleSection")), *words) if _said(one)], by)
    for image in _many(node.get("image")):
        if isinstance(image, dict):
            page.put("images", _pictures(url, image.get("url"), image.get("caption")), by)
        else:
            page.put("images", _pictures(url, image, ""), by)


def _by_open_graph(page: ParsedPage, root: Any, url: str, zone: ZoneInfo) -> None:
    by = "OpenGraph"
    meta: dict[str, str] = {}
    tags = []
    for element in root.iter("meta"):
        name = str(element.get("property") or element.get("name") or "").lower()
        content = str(element.get("content") or "")
        if name == "article:tag":
            tags.append(one_line(content))
        meta.setdefault(name, content)
    page.put("title", one_line(meta.get("og:title", "")), by)
    page.put("summary", one_line(meta.get("og:description", "") or meta.get("description", "")), by)
    page.put("published", _moment(meta.get("article:published_time", ""), zone), by)
    page.put("topics", tags, by)
    page.put("images", _pictures(url, meta.get("og:image"), meta.get("og:image:alt")), by)
    page.put("language", meta.get("og:locale", "").replace("_", "-"), by)


def _by_html(page: ParsedPage, root: Any, url: str, selectors: Selectors) -> None:
    # `lang` goes before og:locale, which many sites never translate.
    lang = str(root.get("lang") or "")
    if lang and page.found_by.get("language") != "JSON-LD":
        page.article["language"], page.found_by["language"] = lang, "lang"
    page.put("title", _text_of(_first(root, "h1")) or _text_of(_first(root, "title")), "h1")
    for selector in _BODIES:
        if inside := _inside(root, selector, selectors.remove):
            page.put("html", inside, selector)
            break
    others = {}
    for link in root.iter("link"):
        language, target = str(link.get("hreflang") or ""), _absolute(url, str(link.get("href") or ""))
        if str(link.get("rel") or "").lower() == "alternate" and language not in ("", "x-default") and target:
            others[language[:40]] = target
    page.put("translations", others if len(others) > 1 else {}, "hreflang")


def _inside(root: Any, selector: str, remove: str) -> str:
    """The HTML of an element without what is no part of the text."""
    element = _first(root, selector)
    if element is None:
        return ""
    copy: Any = html.fromstring(etree.tostring(element, encoding="unicode", with_tail=False))
    for unwanted in _select(copy, f"{_ASIDE}, h1" + (f", {remove}" if remove else "")):
        if unwanted is not copy:
            unwanted.drop_tree()
    if not one_line(copy.text_content()):
        return ""
    return str(etree.tostring(copy, encoding="unicode", method="html", with_tail=False))


def _canonical(root: Any, url: str) -> str:
    """The page's own word for its address, if it is of the same site."""
    for link in root.iter("link"):
        target = _absolute(url, str(link.get("href") or ""))
        if str(link.get("rel") or "").lower() == "canonical" and urlsplit(target).netloc == urlsplit(url).netloc:
            return target
    return url


def _select(root: Any, selector: str) -> list[Any]:
    found: Any = CSSSelector(selector)(root)
    return list(found)


def _first(root: Any, selector: str) -> Any:
    return next(iter(_select(root, selector)), None)


def _text_of(element: Any) -> str:
    return "" if element is None else one_line(str(element.text_content()))


def _said(value: Any) -> str:
    return one_line(value) if isinstance(value, str) else ""


def _many(value: Any) -> list[Any]:
    return value[:50] if isinstance(value, list) else [] if value is None else [value]


def _pictures(url: str, src: Any, alt: Any) -> list[dict[str, str]]:
    target = _absolute(url, src) if isinstance(src, str) and src else ""
    return [{"src": target, "alt": _said(alt)[:2_000]}] if target and len(target) <= 4_000 else []


def _absolute(url: str, target: str) -> str:
    try:
        whole = urljoin(url, target.strip())
        return whole if target.strip() and urlsplit(whole).scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _moment(written: str, zone: ZoneInfo) -> str | None:
    """ISO 8601, or 24.11.2026 as people write it; in `zone` unless it carries an offset."""
    iso, dotted = _DAY.search(written), _DOTTED.search(written)
    try:
        if iso:
            moment = parse_moment(iso[0], zone).replace(microsecond=0)
        elif dotted:
            moment = datetime(int(dotted[3]), int(dotted[2]), int(dotted[1]), tzinfo=zone)
        else:
            return None
        return moment.astimezone(UTC).isoformat() if 1900 <= moment.year <= 2200 else None
    except (ValueError, OverflowError):
        return None
