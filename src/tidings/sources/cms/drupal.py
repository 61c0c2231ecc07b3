"""Reads Drupal by JSON:API, a module of its core (drupal.org/docs/core-modules-and-themes/core-modules/jsonapi-module).

Translations are requested below the prefix of their language, `/ru/jsonapi`. For an item without that translation
Drupal returns another (EntityRepository::getTranslationFromContext), so only items in the requested language are used.
All translations of an item share its UUID and number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from tidings.config.types import Language, Line, Name, Url
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
from tidings.sources.cms.drupal_documents import MAX_RELATIONS, ArticleBuilder, JsonApiDocument
from tidings.sources.json_values import as_mapping, as_text, parse_utc
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import SourceError

PAGE = 50
"""Items of one response: Drupal's maximum (OffsetPage::SIZE_MAX)."""
SMALL_PAGE = 10
SCHEDULER_DELAY = timedelta(hours=3)
"""Scheduler publishes when cron runs, by default every three hours, and dates the change to when it was due."""
_ACCEPT = "application/vnd.api+json"
_TRIES = 6
"""Requests for a page until all related resources are with its items; three are needed."""


class Settings(CmsSettings):
    """A Drupal site by its JSON:API."""

    types: Mapping[Line, Name] = Field(
        default_factory=dict,
        description="Which types of content are read, by their machine names, and our kind for each: "
        "{article: story, press_release: press-release}; default: article.",
    )
    prefixes: Mapping[Language, Line] = Field(
        default_factory=dict,
        description="What stands first in the path of each language, where that is not the language itself: "
        "{ru: rus, kk: kaz}; default: the languages of the newsroom that the site has.",
    )
    api: Line = Field(default="jsonapi", description="Where its API is, if the site has moved it.")
    pages: Url | None = Field(
        default=None, description="Where readers see its pages, if another site shows them; default: `url`."
    )
    body: Line | None = Field(default=None, description="The field of the text; default: body, or else the longest.")
    summary: Line | None = Field(default=None, description="The field of the summary; default: that of the text.")


class DrupalSource(CmsSource):
    """Reads each language that both newsroom and site have, and then the items in none of them."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.drupal = settings
        self.front = front_page(settings.url)
        self.pages = front_page(settings.pages) if settings.pages else self.front
        self.relations: dict[str, list[str]] = {}
        """For each type, the relations to its topics, pictures and files, learned from what was read."""

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
        """Find the languages whose prefix the site has. A known one stays: its failure is an outage, not its end."""
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
                f"{self.settings.url} does not show the JSON:API of a Drupal ({error}); switch the module JSON:API on,"
                " set `api` to its path, or read the site's feed (`type: feed`)",
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
    """One type of content in one language, or, without a language, all items in none of the `others`."""

    def __init__(
        self, source: DrupalSource, bundle: str, kind: str, language: str | None, prefix: str, others: Sequence[str]
    ) -> None:
        self.name = f"{bundle}/{language or '-'}"
        self.prefix = f"{self.name}/"
        self._source = source
        self._type = f"node--{bundle}"
        self._path_prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._address = source.api_url(self._path_prefix, f"/node/{bundle}")
        settings = source.drupal
        self._builder = ArticleBuilder(
            source.context.name, kind, source.front, source.pages, settings.body, settings.summary
        )
        self._language = language.lower() if language else None
        self._others = others
        spoken = {"filter[langcode]": language.lower()} if language else _filter("langcode", "NOT IN", *others)
        # Drupal looks for both in one row, that is in one translation (Drupal\Core\Entity\Query\Sql\Tables).
        self._filters = {"filter[status]": "1", **spoken}

    def list_newest(self, most: int, after: datetime | None) -> list[CmsItem]:
        # Items of the same moment are sorted by id, as a page may end between them.
        return self._list_items({"sort": "-created,id", **_filter_after("created", after)}, most)

    def list_changed(self, changed: datetime, created: datetime | None) -> list[CmsItem]:
        """List by the date of change, and by that of the media.

        The newest come first. An item that changes meanwhile moves to the top: some may come twice, but none is lost,
        and the item itself is read next time, as it bears a later change.
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
        """Drupal answers 404 for a deleted item, 403 for a hidden one, another language for a lost translation."""
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
        article, media_changed = self._builder.build(document, node, self._path_prefix)
        if article is None:
            return None
        attributes = as_mapping(node.get("attributes"))
        # A new alt text counts as a change of the item, so that it is read once.
        moments = [moment for moment in (parse_utc(attributes.get("changed")), *media_changed) if moment]
        fetched = FetchedArticle(f"{self.prefix}{node['id']}", article)
        return CmsItem(fetched, parse_utc(attributes.get("created")), max(moments, default=None))

    def _list_pages(
        self, parameters: Mapping[str, str], get: Callable[[dict[str, str]], JsonApiDocument]
    ) -> Iterator[JsonApiDocument]:
        """Return one document after the other. Each may have fewer items than its page, as some are not public."""
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
                raise SourceError(f"{self._address} links its pages as no Drupal does", status=200)
            offset = following

    def _get_with_relations(self, parameters: dict[str, str]) -> JsonApiDocument:
        """Return a listing with all related resources. The relations to them are learned from the responses."""
        known = self._source.relations.setdefault(self._type, [])
        for _ in range(_TRIES):
            try:
                document = self._get_listing(parameters | ({"include": ",".join(known)} if known else {}))
            except SourceError as error:
                if error.status != 400 or not known:
                    raise
                # One of them is no longer a field of this type (FieldResolver::resolveInternalIncludePath).
                known.clear()
                continue
            more = sorted(document.relations() - set(known))[: MAX_RELATIONS - len(known)]
            if not more:
                return document
            known += more
        raise SourceError(f"{self._address} names, but does not return, what belongs to its items", status=200)

    def _get_listing(self, parameters: dict[str, str]) -> JsonApiDocument:
        document = self._source.get_document(self._address, parameters)
        if not document.is_listing:
            raise SourceError(f"{self._address} answers with something that is no listing of JSON:API", status=200)
        return document


def _filter(path: str, operator: str, *values: str) -> dict[str, str]:
    """Return a filter in its long form (Drupal\\jsonapi\\Query\\Filter); none without values."""
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
