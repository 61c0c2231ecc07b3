"""Extract the story from a web page: first by the page's metadata, then by general selectors.

Most sites have JSON-LD (schema.org/NewsArticle), OpenGraph (ogp.me), `lang` and `hreflang`. The editor's selectors have
priority over all of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

from lxml import etree, html
from lxml.cssselect import CSSSelector

from tidings.child_process import run_in_child
from tidings.model.text import clean, one_line
from tidings.sources.encodings import decode_document
from tidings.sources.web.written_dates import read_written_date

_TYPES = {"article", "newsarticle", "blogposting", "report", "event", "webpage", "pressrelease"}
_BODIES = ("[itemprop=articleBody]", "article .field--name-body", "article .entry-content", "article", "main")
_NOT_TEXT = "script, style, nav, aside, form, header, footer, button, [hidden], [aria-hidden=true]"
_LINKS = "article a[href], h2 a[href], h3 a[href], h4 a[href]"
MAX_LINKS = 100
SECONDS = 5
"""Limit of processor time for one page."""


@dataclass(frozen=True, slots=True)
class Selectors:
    """The editor's CSS selectors. Empty if the page's own data is enough."""

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
    """The fields of an `Article` as JSON, and the method that found each field."""

    article: dict[str, Any] = field(default_factory=dict)
    found_by: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, by: str) -> None:
        """Set a field, unless it is set already."""
        if value and name not in self.found_by:
            self.article[name], self.found_by[name] = value, by


def find_links_in_child(body: bytes, url: str, selectors: Selectors, content_type: str = "") -> list[str]:
    """Run `find_links` in a child process with limits of time and memory. Raises ChildError."""
    links: list[str] = _run("links", body, url, selectors, "", content_type)
    return links


def parse_page_in_child(
    body: bytes, url: str, selectors: Selectors, zone: ZoneInfo, content_type: str = ""
) -> ParsedPage:
    """Run `parse_page` in a child process with limits of time and memory. Raises ChildError."""
    return ParsedPage(**_run("page", body, url, selectors, str(zone), content_type))


def _run(what: str, body: bytes, url: str, selectors: Selectors, zone: str, content_type: str) -> Any:
    about = {"what": what, "url": url, "selectors": asdict(selectors), "zone": zone, "type": content_type}
    return run_in_child(parse_request, json.dumps(about).encode() + b"\n" + body, SECONDS)


def parse_request(data: bytes) -> Any:
    """Parse a line of JSON and the bytes of a page. Returns JSON."""
    line, _, body = data.partition(b"\n")
    about = json.loads(line)
    selectors = Selectors(**about["selectors"])
    if about["what"] == "links":
        return find_links(body, about["url"], selectors, about["type"])
    return asdict(parse_page(body, about["url"], selectors, ZoneInfo(about["zone"]), about["type"]))


def find_links(body: bytes, url: str, selectors: Selectors, content_type: str = "") -> list[str]:
    """Return the links of a listing to pages of the same site, in order and without repeats."""
    root = _parse_html(body, content_type)
    if root is None:
        return []
    base = _base_url(root, url)
    links: dict[str, None] = {}
    for element in _select(root, selectors.items or _LINKS):
        anchor = element if element.tag == "a" else next(iter(element.iter("a")), None)
        target = _absolute(base, str(anchor.get("href") or "")) if anchor is not None else ""
        target = target.partition("#")[0]
        is_same_site = urlsplit(target).netloc == urlsplit(url).netloc
        if is_same_site and target.rstrip("/") != url.partition("#")[0].rstrip("/"):
            links[target] = None
    return list(links)[:MAX_LINKS]


def parse_page(body: bytes, url: str, selectors: Selectors, zone: ZoneInfo, content_type: str = "") -> ParsedPage:
    """Parse one page. Its article is empty if there is no HTML. Dates without an offset are in `zone`."""
    page = ParsedPage()
    root = _parse_html(body, content_type)
    if root is None:
        return page
    base = _base_url(root, url)
    _read_selectors(page, root, base, selectors, zone)
    for node in _list_linked_data(root):
        _read_linked_data(page, root, node, base, zone)
    _read_open_graph(page, root, base, zone)
    _read_html(page, root, base, selectors)
    page.article["url"] = _canonical_url(root, url)
    page.article["base"] = base
    return page


def _parse_html(body: bytes, content_type: str) -> Any:
    """Parse even broken HTML, without fetching anything. None if it is not HTML."""
    try:
        text = decode_document(body, content_type)
        return html.document_fromstring(clean(text), parser=html.HTMLParser(no_network=True, huge_tree=False))
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _read_selectors(page: ParsedPage, root: Any, url: str, selectors: Selectors, zone: ZoneInfo) -> None:
    for name in ("title", "summary"):
        if selector := getattr(selectors, name):
            page.put(name, _text_of(_first(root, selector)), selector)
    if selectors.body:
        page.put("html", _inner_html(root, selectors.body, selectors.remove), selectors.body)
    if selectors.published and (element := _first(root, selectors.published)) is not None:
        written = str(element.get("datetime") or element.get("content") or "") or _text_of(element)
        page.put("published", _parse_date(written, zone, root), selectors.published)
    if selectors.image and (element := _first(root, selectors.image)) is not None:
        image = element if element.tag == "img" else next(iter(element.iter("img")), None)
        if image is not None:
            page.put("images", _pictures(url, image.get("src"), image.get("alt")), selectors.image)
    if selectors.topics:
        page.put("topics", [_text_of(element) for element in _select(root, selectors.topics)], selectors.topics)


def _list_linked_data(root: Any) -> Iterator[Mapping[str, Any]]:
    """Return the JSON-LD nodes that may be the story, nodes with a headline first."""
    nodes: list[Mapping[str, Any]] = []
    for script in root.iter("script"):
        if str(script.get("type") or "").lower() == "application/ld+json":
            try:
                nodes += _flatten(json.loads(script.text or ""))
            except (ValueError, RecursionError):
                continue
    stories = [node for node in nodes if _types_of(node) & _TYPES]
    yield from sorted(stories, key=lambda node: not node.get("headline"))


def _flatten(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, list):
        return [node for entry in value[:50] for node in _flatten(entry)]
    if not isinstance(value, dict):
        return []
    graph = value.get("@graph")
    return _flatten(graph) if isinstance(graph, list) else [value]


def _types_of(node: Mapping[str, Any]) -> set[str]:
    types = node.get("@type")
    return {str(name).lower() for name in (types if isinstance(types, list) else [types])}


def _read_linked_data(page: ParsedPage, root: Any, node: Mapping[str, Any], url: str, zone: ZoneInfo) -> None:
    by = "JSON-LD"
    page.put("title", _line(node.get("headline") or (node.get("name") if "webpage" not in _types_of(node) else "")), by)
    page.put("summary", _line(node.get("description")), by)
    page.put("published", _parse_date(_line(node.get("datePublished")), zone, root), by)
    page.put("language", _line(node.get("inLanguage")), by)
    authors = [_line(author.get("name")) for author in _as_list(node.get("author")) if isinstance(author, dict)]
    page.put("authors", [name for name in authors if name], by)
    keywords = node.get("keywords")
    words = keywords.split(",") if isinstance(keywords, str) else _as_list(keywords)
    page.put("topics", [_line(word) for word in (*_as_list(node.get("articleSection")), *words) if _line(word)], by)
    for image in _as_list(node.get("image")):
        src, caption = (image.get("url"), image.get("caption")) if isinstance(image, dict) else (image, "")
        page.put("images", _pictures(url, src, caption), by)


def _read_open_graph(page: ParsedPage, root: Any, url: str, zone: ZoneInfo) -> None:
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
    page.put("published", _parse_date(meta.get("article:published_time", ""), zone, root), by)
    page.put("topics", tags, by)
    page.put("images", _pictures(url, meta.get("og:image"), meta.get("og:image:alt")), by)
    page.put("language", meta.get("og:locale", "").replace("_", "-"), by)


def _read_html(page: ParsedPage, root: Any, url: str, selectors: Selectors) -> None:
    # `lang` has priority over og:locale, which many sites never translate.
    lang = str(root.get("lang") or "")
    if lang and page.found_by.get("language") != "JSON-LD":
        page.article["language"], page.found_by["language"] = lang, "lang"
    page.put("title", _text_of(_first(root, "h1")) or _text_of(_first(root, "title")), "h1")
    for selector in _BODIES:
        if inner := _inner_html(root, selector, selectors.remove):
            page.put("html", inner, selector)
            break
    translations = {}
    for link in root.iter("link"):
        language, target = str(link.get("hreflang") or ""), _absolute(url, str(link.get("href") or ""))
        if str(link.get("rel") or "").lower() == "alternate" and language not in ("", "x-default") and target:
            translations[language[:40]] = target
    page.put("translations", translations if len(translations) > 1 else {}, "hreflang")


def _inner_html(root: Any, selector: str, remove: str) -> str:
    """Return the HTML of an element, without parts that are not article text."""
    element = _first(root, selector)
    if element is None:
        return ""
    copy: Any = html.fromstring(etree.tostring(element, encoding="unicode", with_tail=False))
    for unwanted in _select(copy, f"{_NOT_TEXT}, h1" + (f", {remove}" if remove else "")):
        if unwanted is not copy:
            unwanted.drop_tree()
    if not one_line(copy.text_content()):
        return ""
    return str(etree.tostring(copy, encoding="unicode", method="html", with_tail=False))


def _base_url(root: Any, url: str) -> str:
    """Return the base URL of the page's relative links (HTML §4.2.3)."""
    base = next((str(each.get("href")) for each in root.iter("base") if each.get("href")), "")
    return _absolute(url, base) or url


def _canonical_url(root: Any, url: str) -> str:
    """Return the canonical address that the page names, if it is on the same site."""
    for link in root.iter("link"):
        target = _absolute(url, str(link.get("href") or ""))
        if str(link.get("rel") or "").lower() == "canonical" and urlsplit(target).netloc == urlsplit(url).netloc:
            return target
    return url


def _select(root: Any, selector: str) -> list[Any]:
    elements: Any = CSSSelector(selector)(root)
    return list(elements)


def _first(root: Any, selector: str) -> Any:
    return next(iter(_select(root, selector)), None)


def _text_of(element: Any) -> str:
    return "" if element is None else one_line(str(element.text_content()))


def _line(value: Any) -> str:
    return one_line(value) if isinstance(value, str) else ""


def _as_list(value: Any) -> list[Any]:
    return value[:50] if isinstance(value, list) else [] if value is None else [value]


def _pictures(url: str, src: Any, alt: Any) -> list[dict[str, str]]:
    target = _absolute(url, src) if isinstance(src, str) and src else ""
    return [{"src": target, "alt": _line(alt)}] if target and len(target) <= 4_000 else []


def _absolute(url: str, target: str) -> str:
    try:
        absolute = urljoin(url, target.strip())
        return absolute if target.strip() and urlsplit(absolute).scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _parse_date(written: str, zone: ZoneInfo, root: Any) -> str | None:
    """Return the date in a text, in UTC. The page's language resolves ambiguous names of months."""
    moment = read_written_date(written, zone, str(root.get("lang") or "")[:40])
    return None if moment is None else moment.isoformat()
