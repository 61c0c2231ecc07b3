"""What a document of Drupal's JSON:API says: its items as articles, and what leads to what belongs to them.

The shapes are those of core's module (core/modules/jsonapi/src/Normalizer) over the format (jsonapi.org/format/1.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import urljoin, urlsplit

from tidings.sources.article import Article
from tidings.sources.cms.base import as_mapping, as_objects, as_text, build_article, parse_utc

MAX_RELATIONS = 40
"""Of one type: more are not asked for."""
_TERM, _FILE, _MEDIA = "taxonomy_term--", "file--", "media--"
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_UUID = re.compile(r"[0-9A-Fa-f-]{36}")
_NO_LANGUAGE = {"und", "zxx"}
"""Of an item in no language or in one that nobody named (Drupal\\Core\\Language\\LanguageInterface)."""
_OWN_FILE = re.compile(r"(\bsrc\s*=\s*[\"'])/(?!/)", re.IGNORECASE)
_OFFSET = re.compile(r"page(?:%5B|\[)offset(?:%5D|\])=(\d{1,9})(?!\d)", re.IGNORECASE)


class JsonApiDocument:
    """A listing, or one item; `found` is what came."""

    def __init__(self, found: Any) -> None:
        data = as_mapping(found).get("data")
        some = [data] if isinstance(data, dict) else as_objects(data)
        self.is_listing = isinstance(data, list)
        self.nodes = [one for one in some if _UUID.fullmatch(as_text(one.get("id")))]
        self._links = as_mapping(as_mapping(found).get("links"))
        self._included = {_named(one): one for one in as_objects(as_mapping(found).get("included"))}

    def next(self) -> int | None:
        """Where its next page begins, None after the last; -1 where it leads on otherwise.

        Of the link the offset alone is taken: its host and its language need not be those that were asked.
        """
        link = self._links.get("next")
        href = as_text(link) or as_text(as_mapping(link).get("href"))
        match = _OFFSET.search(href[:10_000])
        return (int(match[1]) if match else -1) if href else None

    def relations(self) -> set[str]:
        """Paths for `include` that lead to topics, pictures and files, as far as this document shows them."""
        found: set[str] = set()
        for node in self.nodes:
            for name, link in _linked(node):
                if as_text(link.get("type")).startswith((_TERM, _FILE, _MEDIA)):
                    found.add(name)
                inside = self.linked(link) if as_text(link.get("type")).startswith(_MEDIA) else {}
                found |= {f"{name}.{inner}" for inner, _ in _files(inside)}
        return {path for path in found if all(_NAME.fullmatch(part) for part in path.split("."))}

    def linked(self, link: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a relation leads to; empty where it is not included, or not for readers."""
        return self._included.get(_named(link), {})


@dataclass(frozen=True, slots=True)
class ArticleBuilder:
    """What the source says of all items of one listing. `front` is the site; `pages` where readers see it."""

    source: str
    kind: str
    front: str
    pages: str
    body: str | None
    summary: str | None

    def article(
        self, document: JsonApiDocument, node: Mapping[str, Any], prefix: str
    ) -> tuple[Article | None, _RelatedContent]:
        """An item of the document as a reader sees it, and what belongs to it."""
        said = as_mapping(node.get("attributes"))
        belongs = _belongings(document, node, self.front)
        number, path = said.get("drupal_internal__nid"), as_text(as_mapping(said.get("path")).get("alias")).lstrip("/")
        known = isinstance(number, int)  # a site may leave it out (JSON:API Extras)
        if not path and known:
            path = f"node/{number}"
        body, language = _formatted(said, self.body), as_text(said.get("langcode"))
        html = as_text(body.get("processed"))
        if self.pages != self.front:  # what the text takes from its own site is there and not where its page is
            site = urlsplit(self.front)
            html = _OWN_FILE.sub(lambda match: f"{match[1]}{site.scheme}://{site.netloc}/", html)
        short = as_text(_formatted(said, self.summary).get("processed") if self.summary else body.get("summary"))
        made = {
            "title": as_text(said.get("title")),
            "url": f"{self.pages}{prefix}{path}" if path else "",
            "language": "" if language in _NO_LANGUAGE else language,
            "kind": self.kind,
            "summary": short,
            "html": html,
            # Of the module Publication Date, where the site has it: core knows only when an item was begun.
            "published": parse_utc(said.get("published_at")) or parse_utc(said.get("created")),
            "topics": belongs.topics,
            "images": belongs.images,
            "attachments": belongs.files,
            "story": f"{self.source}-{number if known else node['id']}",
        }
        return build_article(made), belongs


@dataclass(slots=True)
class _RelatedContent:
    """What the relations of one item lead to. `changed`: when its media were."""

    topics: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    changed: list[datetime] = field(default_factory=list)


def _belongings(document: JsonApiDocument, node: Mapping[str, Any], front: str) -> _RelatedContent:
    found = _RelatedContent()
    for _, link in _linked(node):
        kind = as_text(link.get("type"))
        target = document.linked(link)
        said = as_mapping(target.get("attributes"))
        if kind.startswith(_TERM):
            found.topics.append(as_text(said.get("name")))
        elif kind.startswith(_FILE):
            _add_file(found, said, link, front)
        elif kind.startswith(_MEDIA):
            found.changed += [moment for moment in [parse_utc(said.get("changed"))] if moment]
            for _, inner in _files(target):
                _add_file(found, as_mapping(document.linked(inner).get("attributes")), inner, front)
    return found


def _add_file(found: _RelatedContent, said: Mapping[str, Any], link: Mapping[str, Any], front: str) -> None:
    """What a file shows in words stands with the relation that leads to it, and not with the file."""
    src, meta = as_text(as_mapping(said.get("uri")).get("url")), as_mapping(link.get("meta"))
    try:
        src = urljoin(front, src) if src else ""
    except ValueError:
        src = ""
    if as_text(said.get("filemime")).startswith("image/"):
        found.images.append({"src": src, "alt": as_text(meta.get("alt"))})
    else:
        found.files.append({"src": src, "title": as_text(meta.get("description")) or as_text(said.get("filename"))})


def _files(media: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files of a medium; its thumbnail is made of them, or is a symbol."""
    for name, link in _linked(media):
        if name != "thumbnail" and as_text(link.get("type")).startswith(_FILE):
            yield name, link


def _linked(resource: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Its relations with what they lead to: one, several or none (jsonapi.org/format/1.0 §resource-linkage)."""
    for name, relation in as_mapping(resource.get("relationships")).items():
        data = as_mapping(relation).get("data")
        for link in [data] if isinstance(data, dict) else as_objects(data):
            yield name, link


def _named(resource: Mapping[str, Any]) -> tuple[str, str]:
    return as_text(resource.get("type")), as_text(resource.get("id"))


def _formatted(said: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """A field of text, its HTML as `processed`; where none is named, `body`, or else the longest that is formatted."""
    one = said.get(name or "body")
    if isinstance(one, str):
        return {"processed": f"<p>{escape(one)}</p>"}
    if name or isinstance(one, dict):
        return as_mapping(one)
    texts = [other for other in as_objects(said) if as_text(other.get("processed"))]
    return max(texts, key=lambda other: len(other["processed"]), default={})
