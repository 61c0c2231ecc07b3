"""Read Drupal by JSON:API, a module of its core (drupal.org/docs/core-modules-and-themes/core-modules/jsonapi-module).

Translations are requested below the prefix of their language, `/ru/jsonapi`. For an item without that translation
Drupal returns another translation (EntityRepository::getTranslationFromContext), so only
items in the requested language are used. All translations of an item share its UUID and number. The documents follow
the core module (core/modules/jsonapi/src/Normalizer) and its format (jsonapi.org/format/1.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import Field

from tidings.config.types import Language, Line, Name, Url
from tidings.sources.article import Article, build_article
from tidings.sources.base import SourceContext
from tidings.sources.cms.base import (
    MAX_ITEMS,
    REFUSED,
    CmsCollection,
    CmsItem,
    CmsSettings,
    CmsSource,
    front_page,
    is_overload,
)
from tidings.sources.json_values import as_mapping, as_objects, as_text, parse_utc
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import SourceError

PAGE = 50
"""Items of one response: Drupal's maximum (OffsetPage::SIZE_MAX)."""
SMALL_PAGE = 10
SCHEDULER_DELAY = timedelta(hours=3)
"""The Scheduler module publishes when cron runs (default: every three hours), but dates the change to the due time."""
_ACCEPT = "application/vnd.api+json"
_TRIES = 6
"""Most requests for one page with all its related resources. Three are needed."""
MAX_RELATIONS = 40
"""Most relations that are requested for one type."""
_TERM, _FILE, _MEDIA = "taxonomy_term--", "file--", "media--"
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_UUID = re.compile(r"[0-9A-Fa-f-]{36}")
_NO_LANGUAGE = {"und", "zxx"}
"""Codes for no language and for an unknown language (Drupal\\Core\\Language\\LanguageInterface)."""
_OWN_FILE = re.compile(r"(\bsrc\s*=\s*[\"'])/(?!/)", re.IGNORECASE)
_OFFSET = re.compile(r"page(?:%5B|\[)offset(?:%5D|\])=(\d{1,9})(?!\d)", re.IGNORECASE)


class Settings(CmsSettings):
    """A Drupal site by its JSON:API."""

    types: Mapping[Line, Name] = Field(
        default_factory=dict,
        description="Which types of content are read, by their machine names, and our kind for each: "
        "{article: story, press_release: press-release}; default: article.",
    )
    prefixes: Mapping[Language, Line] = Field(
        default_factory=dict,
        description="The first part of the path of each language, if it is not the language itself: "
        "{ru: rus, kk: kaz}; default: the languages of the newsroom that the site has.",
    )
    api: Line = Field(default="jsonapi", description="The path of the API, if the site has moved it.")
    pages: Url | None = Field(
        default=None, description="Where readers see its pages, if another site shows them; default: `url`."
    )
    body: Line | None = Field(default=None, description="The field of the text; default: body, or else the longest.")
    summary: Line | None = Field(
        default=None, description="The field of the summary; default: the summary of the text."
    )


class JsonApiDocument:
    """A response: a listing, or one item."""

    def __init__(self, document: Any) -> None:
        root = as_mapping(document)
        data = root.get("data")
        resources = [data] if isinstance(data, dict) else as_objects(data)
        self.is_listing = isinstance(data, list)
        self.nodes = [resource for resource in resources if _UUID.fullmatch(as_text(resource.get("id")))]
        self._links = as_mapping(root.get("links"))
        self._included = {_identify(resource): resource for resource in as_objects(root.get("included"))}

    def next_offset(self) -> int | None:
        """Return the offset of the next page: None after the last page, -1 if the link names no offset.

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
        """Return the target of a relation. It is empty if it is not included or not public."""
        return self._included.get(_identify(link), {})


@dataclass(slots=True)
class _Related:
    """The related resources of one item. `changed`: when its media changed."""

    topics: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    changed: list[datetime] = field(default_factory=list)

    def add_file(self, attributes: Mapping[str, Any], link: Mapping[str, Any], front: str) -> None:
        """Add a file. The alt text belongs to the relation, not to the file."""
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
    """Yield the files of a media item, without its thumbnail, which is only a copy or a symbol."""
    for name, link in _list_links(media):
        if name != "thumbnail" and as_text(link.get("type")).startswith(_FILE):
            yield name, link


def _list_links(resource: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield relations with each target: one, several or none (jsonapi.org/format/1.0 §resource-linkage)."""
    for name, relation in as_mapping(resource.get("relationships")).items():
        data = as_mapping(relation).get("data")
        for link in [data] if isinstance(data, dict) else as_objects(data):
            yield name, link


def _identify(resource: Mapping[str, Any]) -> tuple[str, str]:
    return as_text(resource.get("type")), as_text(resource.get("id"))


def _formatted_field(attributes: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """Return a text field with its HTML in `processed`. Without a name: `body`, else the longest formatted field."""
    value = attributes.get(name or "body")
    if isinstance(value, str):
        return {"processed": f"<p>{escape(value)}</p>"}
    if name or isinstance(value, dict):
        return as_mapping(value)
    formatted = [other for other in as_objects(attributes) if as_text(other.get("processed"))]
    return max(formatted, key=lambda other: len(other["processed"]), default={})


class DrupalSource(CmsSource):
    """Reads each language that the newsroom and the site share, then the items in other languages."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.drupal = settings
        self.front = front_page(settings.url)
        self.pages = front_page(settings.pages) if settings.pages else self.front
        self.relations: dict[str, list[str]] = {}
        """For each type, the relations to topics, pictures and files, learned from responses."""

    def list_collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> list[CmsCollection]:
        """Return one collection for each type and language."""
        self.relations = {name: list(paths) for name, paths in as_mapping(state.get("relations")).items()}
        kept["relations"] = self.relations
        types = dict(self.drupal.types) or {"article": self.drupal.kind}
        self.check_types(types, self._fetch_types(""))
        prefixes = self.drupal.prefixes or self._find_prefixes(state, kept)
        languages = [language.lower() for language in prefixes]
        return [
            NodeCollection(self, name, kind, language, prefix, languages)
            for name, kind in types.items()
            for language, prefix in [*prefixes.items(), (None, "")]
        ]

    def _find_prefixes(self, state: Mapping[str, Any], kept: dict[str, Any]) -> dict[str, str]:
        """Find the path prefixes that the site has. A known prefix stays: a failure is an outage, not a removal."""
        known: list[str] = list(state.get("languages", ()))
        if "languages" not in state or self._is_due(state, "look"):
            known += [name for name in self.context.languages if name not in known and self._has_language(name)]
        kept["languages"] = known
        return {language: language.lower() for language in known}

    def _has_language(self, language: str) -> bool:
        try:
            self._fetch_types(f"{language.lower()}/")
        except SourceError as error:
            if error.status in (200, *REFUSED):
                return False
            raise
        return True

    def _fetch_types(self, prefix: str) -> list[str]:
        """Return the machine names of the types of content."""
        try:
            index, _ = self.get(self.api_url(prefix), _ACCEPT)
        except SourceError as error:
            if error.status not in (200, *REFUSED):
                raise
            raise SourceError(
                f"{self.settings.url} does not show the JSON:API of a Drupal site ({error}). Switch on the module "
                "JSON:API, or set `api` to its path, or read the site's feed (`type: feed`)",
                status=error.status,
            ) from None
        links = as_mapping(as_mapping(index).get("links"))
        return [name.removeprefix("node--") for name in links if name.startswith("node--")]

    def api_url(self, prefix: str, path: str = "") -> str:
        """Return an address of the API."""
        return f"{self.front}{prefix}{self.drupal.api.strip('/')}{path}"

    def get_document(self, address: str, parameters: Mapping[str, Any]) -> JsonApiDocument:
        return JsonApiDocument(self.get(f"{address}?{urlencode(parameters)}", _ACCEPT)[0])


class NodeCollection(CmsCollection):
    """One type of content in one language. Without a language: all items that are in none of the `others`."""

    def __init__(
        self, source: DrupalSource, bundle: str, kind: str, language: str | None, prefix: str, others: Sequence[str]
    ) -> None:
        self.name = f"{bundle}/{language or '-'}"
        self.prefix = f"{self.name}/"
        self._source = source
        self._type = f"node--{bundle}"
        self._path_prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._address = source.api_url(self._path_prefix, f"/node/{bundle}")
        self._kind = kind
        self._language = language.lower() if language else None
        self._others = others
        language_filter = {"filter[langcode]": language.lower()} if language else _filter("langcode", "NOT IN", *others)
        # Drupal applies both filters to the same row, that is to one translation (Drupal\Core\Entity\Query\Sql\Tables).
        self._filters = {"filter[status]": "1", **language_filter}

    def list_newest(self, most: int, after: datetime | None) -> list[CmsItem]:
        # Items of the same moment are sorted by id, because a page may end between them.
        return self._list_items({"sort": "-created,id", **_filter_after("created", after)}, most)

    def list_changed(self, changed: datetime, created: datetime | None) -> list[CmsItem]:
        """List by the date of change of items and of media.

        The newest come first. An item that changes meanwhile moves to the top: other items may come twice, but none
        is lost. The changed item is read next time, because it has a later date.
        """
        items = self._list_items({"sort": "-changed,id", **_filter_after("changed", changed - SCHEDULER_DELAY)})
        paths = self._source.relations.get(self._type, ())
        for media in sorted({path.partition(".")[0] for path in paths if "." in path}):
            try:
                items += self._list_items({"sort": "-changed,id", **_filter_after(f"{media}.changed", changed)})
            except SourceError as error:
                if error.status not in REFUSED:
                    raise
        return items

    def list_keys(self, after: datetime | None) -> set[str]:
        parameters = {"sort": "id", f"fields[{self._type}]": "langcode", **_filter_after("created", after)}
        nodes = (node for document in self._list_pages(parameters, self._get_listing) for node in document.nodes)
        return {f"{self.prefix}{node['id']}" for node in nodes if self._is_in_language(node)}

    def get_items(self, keys: Sequence[str]) -> list[CmsItem]:
        items: list[CmsItem] = []
        for start in range(0, len(keys), PAGE):
            uuids = [key.removeprefix(self.prefix) for key in keys[start : start + PAGE]]
            items += self._list_items(_filter("id", "IN", *uuids))
        return items

    def check_item(self, key: str) -> bool:
        """Check one item. Drupal answers 404 if deleted, 403 if hidden, another language for a lost translation."""
        address = f"{self._address}/{key.removeprefix(self.prefix)}"
        document = self._source.get_document(address, {f"fields[{self._type}]": "langcode"})
        return any(self._is_in_language(node) for node in document.nodes)

    def _is_in_language(self, node: Mapping[str, Any]) -> bool:
        language = as_text(as_mapping(node.get("attributes")).get("langcode")).lower()
        return language == self._language if self._language else language not in self._others

    def _list_items(self, parameters: Mapping[str, str], most: int = MAX_ITEMS) -> list[CmsItem]:
        items: list[CmsItem] = []
        for document in self._list_pages(parameters, self._get_with_relations):
            for node in document.nodes:
                item = self._build_item(document, node) if self._is_in_language(node) else None
                if item is not None:
                    items.append(item)
            if len(items) >= most:
                break
        return items[:most]

    def _build_item(self, document: JsonApiDocument, node: Mapping[str, Any]) -> CmsItem | None:
        related = _collect_related(document, node, self._source.front)
        article = self._build_article(node, related)
        if article is None:
            return None
        attributes = as_mapping(node.get("attributes"))
        # A new alt text counts as a change of the item, so the item is read once.
        moments = [moment for moment in (parse_utc(attributes.get("changed")), *related.changed) if moment]
        fetched = FetchedArticle(f"{self.prefix}{node['id']}", article)
        return CmsItem(fetched, parse_utc(attributes.get("created")), max(moments, default=None))

    def _build_article(self, node: Mapping[str, Any], related: _Related) -> Article | None:
        source, settings, attributes = self._source, self._source.drupal, as_mapping(node.get("attributes"))
        number = attributes.get("drupal_internal__nid")
        path = as_text(as_mapping(attributes.get("path")).get("alias")).lstrip("/")
        has_number = isinstance(number, int)  # a site may leave it out (JSON:API Extras)
        if not path and has_number:
            path = f"node/{number}"
        body, language = _formatted_field(attributes, settings.body), as_text(attributes.get("langcode"))
        html = as_text(body.get("processed"))
        if source.pages != source.front:  # files of the text are on the Drupal site, not on the site of the page
            site = urlsplit(source.front)
            html = _OWN_FILE.sub(lambda match: f"{match[1]}{site.scheme}://{site.netloc}/", html)
        if settings.summary:
            summary = as_text(_formatted_field(attributes, settings.summary).get("processed"))
        else:
            summary = as_text(body.get("summary"))
        return build_article(
            {
                "title": as_text(attributes.get("title")),
                "url": f"{source.pages}{self._path_prefix}{path}" if path else "",
                "language": "" if language in _NO_LANGUAGE else language,
                "kind": self._kind,
                "summary": summary,
                "html": html,
                # From the module Publication Date, if installed. The core knows only the creation date.
                "published": parse_utc(attributes.get("published_at")) or parse_utc(attributes.get("created")),
                "topics": related.topics,
                "images": related.images,
                "attachments": related.files,
                "story": f"{source.context.name}-{number if has_number else node['id']}",
            }
        )

    def _list_pages(
        self, parameters: Mapping[str, str], get: Callable[[dict[str, str]], JsonApiDocument]
    ) -> Iterator[JsonApiDocument]:
        """Yield one document after the other. Each may have fewer items than its page, because some are not public."""
        offset: int | None = 0
        size = PAGE
        while offset is not None and offset < MAX_ITEMS:
            page = {**self._filters, **parameters, "page[offset]": str(offset), "page[limit]": str(size)}
            try:
                document = get(page)
            except SourceError as error:
                if size == SMALL_PAGE or not is_overload(error):
                    raise
                size = SMALL_PAGE
                continue
            yield document
            following = document.next_offset()
            if following is not None and following <= offset:
                raise SourceError(f"{self._address} links its pages in a way that Drupal does not", status=200)
            offset = following

    def _get_with_relations(self, parameters: dict[str, str]) -> JsonApiDocument:
        """Return a listing with all related resources. Learns the relations from the responses."""
        known = self._source.relations.setdefault(self._type, [])
        for _ in range(_TRIES):
            try:
                document = self._get_listing(parameters | ({"include": ",".join(known)} if known else {}))
            except SourceError as error:
                if error.status != 400 or not known:
                    raise
                # One relation is no longer a field of this type (FieldResolver::resolveInternalIncludePath).
                known.clear()
                continue
            more = sorted(document.relations() - set(known))[: MAX_RELATIONS - len(known)]
            if not more:
                return document
            known += more
        raise SourceError(f"{self._address} does not return the related resources that it names", status=200)

    def _get_listing(self, parameters: dict[str, str]) -> JsonApiDocument:
        document = self._source.get_document(self._address, parameters)
        if not document.is_listing:
            raise SourceError(f"{self._address} answers with something that is not a JSON:API listing", status=200)
        return document


def _filter(path: str, operator: str, *values: str) -> dict[str, str]:
    """Return a filter in its long form (Drupal\\jsonapi\\Query\\Filter), or nothing without values."""
    if not values:
        return {}
    name = f"filter[{path.replace('.', '-')}][condition]"
    several = {f"{name}[value][{number}]": value for number, value in enumerate(values)}
    single = {f"{name}[value]": values[0]}
    return {f"{name}[path]": path, f"{name}[operator]": operator} | (several if operator.endswith("IN") else single)


def _filter_after(path: str, moment: datetime | None) -> dict[str, str]:
    """Filter by a date, which Drupal stores and compares as seconds since 1970."""
    return _filter(path, ">", str(int(moment.timestamp()))) if moment else {}


def make(settings: Settings, context: SourceContext) -> DrupalSource:
    return DrupalSource(settings, context)
