"""Parses documents of Drupal's JSON:API: items become articles, and relations lead to what belongs to them.

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

from tidings.sources.article import Article, build_article
from tidings.sources.json_values import as_mapping, as_objects, as_text, parse_utc

MAX_RELATIONS = 40
"""Requested for one type."""
_TERM, _FILE, _MEDIA = "taxonomy_term--", "file--", "media--"
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_UUID = re.compile(r"[0-9A-Fa-f-]{36}")
_NO_LANGUAGE = {"und", "zxx"}
"""Of an item without or with an unknown language (Drupal\\Core\\Language\\LanguageInterface)."""
_OWN_FILE = re.compile(r"(\bsrc\s*=\s*[\"'])/(?!/)", re.IGNORECASE)
_OFFSET = re.compile(r"page(?:%5B|\[)offset(?:%5D|\])=(\d{1,9})(?!\d)", re.IGNORECASE)


class JsonApiDocument:
    """A listing, or one item."""

    def __init__(self, document: Any) -> None:
        root = as_mapping(document)
        data = root.get("data")
        resources = [data] if isinstance(data, dict) else as_objects(data)
        self.is_listing = isinstance(data, list)
        self.nodes = [resource for resource in resources if _UUID.fullmatch(as_text(resource.get("id")))]
        self._links = as_mapping(root.get("links"))
        self._included = {_identify(resource): resource for resource in as_objects(root.get("included"))}

    def next_offset(self) -> int | None:
        """Return where the next page begins: None after the last, -1 if the link names no offset.

        Only the offset of the link is used: its host and language may differ from those of the request.
        """
        link = self._links.get("next")
        href = as_text(link) or as_text(as_mapping(link).get("href"))
        match = _OFFSET.search(href[:10_000])
        return (int(match[1]) if match else -1) if href else None

    def relations(self) -> set[str]:
        """Return the `include` paths to topics, pictures and files that this document shows."""
        paths: set[str] = set()
        for node in self.nodes:
            for name, link in _list_links(node):
                kind = as_text(link.get("type"))
                if kind.startswith((_TERM, _FILE, _MEDIA)):
                    paths.add(name)
                if kind.startswith(_MEDIA):
                    paths |= {f"{name}.{inner}" for inner, _ in _list_files(self.follow(link))}
        return {path for path in paths if all(_NAME.fullmatch(part) for part in path.split("."))}

    def follow(self, link: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the resource that a relation leads to; empty if it is not included, or not public."""
        return self._included.get(_identify(link), {})


@dataclass(frozen=True, slots=True)
class ArticleBuilder:
    """Builds the articles of one listing. `front` is the site; `pages` is where readers see it."""

    source: str
    kind: str
    front: str
    pages: str
    body: str | None
    summary: str | None

    def build(
        self, document: JsonApiDocument, node: Mapping[str, Any], prefix: str
    ) -> tuple[Article | None, list[datetime]]:
        """Return an item as readers see it, and the times when its media changed."""
        attributes = as_mapping(node.get("attributes"))
        related = _collect_related(document, node, self.front)
        number, path = attributes.get("drupal_internal__nid"), as_text(as_mapping(attributes.get("path")).get("alias"))
        path = path.lstrip("/")
        has_number = isinstance(number, int)  # a site may leave it out (JSON:API Extras)
        if not path and has_number:
            path = f"node/{number}"
        body, language = _formatted_field(attributes, self.body), as_text(attributes.get("langcode"))
        html = as_text(body.get("processed"))
        if self.pages != self.front:  # files of the text are on its own site, not where its page is
            site = urlsplit(self.front)
            html = _OWN_FILE.sub(lambda match: f"{match[1]}{site.scheme}://{site.netloc}/", html)
        if self.summary:
            summary = as_text(_formatted_field(attributes, self.summary).get("processed"))
        else:
            summary = as_text(body.get("summary"))
        fields = {
            "title": as_text(attributes.get("title")),
            "url": f"{self.pages}{prefix}{path}" if path else "",
            "language": "" if language in _NO_LANGUAGE else language,
            "kind": self.kind,
            "summary": summary,
            "html": html,
            # From the module Publication Date, if the site has it: core knows only when an item was created.
            "published": parse_utc(attributes.get("published_at")) or parse_utc(attributes.get("created")),
            "topics": related.topics,
            "images": related.images,
            "attachments": related.files,
            "story": f"{self.source}-{number if has_number else node['id']}",
        }
        return build_article(fields), related.changed


@dataclass(slots=True)
class _Related:
    """What the relations of one item lead to. `changed`: when its media changed."""

    topics: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    changed: list[datetime] = field(default_factory=list)

    def add_file(self, attributes: Mapping[str, Any], link: Mapping[str, Any], front: str) -> None:
        """Add a file. Its alt text belongs to the relation that leads to it, not to the file."""
        src, meta = as_text(as_mapping(attributes.get("uri")).get("url")), as_mapping(link.get("meta"))
        try:
            src = urljoin(front, src) if src else ""
        except ValueError:
            src = ""
        if as_text(attributes.get("filemime")).startswith("image/"):
            self.images.append({"src": src, "alt": as_text(meta.get("alt"))})
        else:
            title = as_text(meta.get("description")) or as_text(attributes.get("filename"))
            self.files.append({"src": src, "title": title})


def _collect_related(document: JsonApiDocument, node: Mapping[str, Any], front: str) -> _Related:
    related = _Related()
    for _, link in _list_links(node):
        kind = as_text(link.get("type"))
        target = document.follow(link)
        attributes = as_mapping(target.get("attributes"))
        if kind.startswith(_TERM):
            related.topics.append(as_text(attributes.get("name")))
        elif kind.startswith(_FILE):
            related.add_file(attributes, link, front)
        elif kind.startswith(_MEDIA):
            if changed := parse_utc(attributes.get("changed")):
                related.changed.append(changed)
            for _, inner in _list_files(target):
                related.add_file(as_mapping(document.follow(inner).get("attributes")), inner, front)
    return related


def _list_files(media: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the files of a medium, without its thumbnail, which is made of them or is a symbol."""
    for name, link in _list_links(media):
        if name != "thumbnail" and as_text(link.get("type")).startswith(_FILE):
            yield name, link


def _list_links(resource: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """List relations and their targets: one, several or none (jsonapi.org/format/1.0 §resource-linkage)."""
    for name, relation in as_mapping(resource.get("relationships")).items():
        data = as_mapping(relation).get("data")
        for link in [data] if isinstance(data, dict) else as_objects(data):
            yield name, link


def _identify(resource: Mapping[str, Any]) -> tuple[str, str]:
    return as_text(resource.get("type")), as_text(resource.get("id"))


def _formatted_field(attributes: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Return a text field, its HTML as `processed`. Without a name: `body`, else the longest formatted one."""
    value = attributes.get(name or "body")
    if isinstance(value, str):
        return {"processed": f"<p>{escape(value)}</p>"}
    if name or isinstance(value, dict):
        return as_mapping(value)
    formatted = [other for other in as_objects(attributes) if as_text(other.get("processed"))]
    return max(formatted, key=lambda other: len(other["processed"]), default={})
