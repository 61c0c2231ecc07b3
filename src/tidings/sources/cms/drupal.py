"""Drupal by JSON:API, a module of its core (drupal.org/docs/core-modules-and-themes/core-modules/jsonapi-module).

A translation is asked for below the prefix of its language, `/ru/jsonapi`. Where an item has none Drupal answers with
another (EntityRepository::getTranslationFromContext), so what comes is taken only if it is in the language asked for.
All translations of an item have its UUID and its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from tidings.config.types import Language, Line, Name, Url
from tidings.sources.base import SourceContext
from tidings.sources.cms.base import (
    MAX_ITEMS,
    CmsCollection,
    CmsItem,
    CmsSettings,
    CmsSource,
    as_mapping,
    as_text,
    front_page,
    parse_utc,
)
from tidings.sources.cms.drupal_documents import MAX_RELATIONS, ArticleBuilder, JsonApiDocument
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import SourceError

PAGE = 50
"""Items of one answer: the most that Drupal gives (OffsetPage::SIZE_MAX)."""
SMALL = 10
LATE = timedelta(hours=3)
"""Scheduler publishes when cron runs, by default every three hours, and notes as the change when it was due."""
_ACCEPT = "application/vnd.api+json"
_TURNS = 6
"""So often a page is asked for until all that belongs to its items is with it; three are needed."""
_REFUSED = (400, 401, 403, 404)


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
    """Asks in each language of the newsroom that the site has, and for what it has in no language or another."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.own = settings
        self.front = front_page(settings.url)
        self.pages = front_page(settings.pages) if settings.pages else self.front
        self.relations: dict[str, list[str]] = {}
        """Of each type, those that lead to its topics, pictures and files: learned by reading."""

    def collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> list[CmsCollection]:
        """One for each type and language."""
        self.relations = {name: list(paths) for name, paths in as_mapping(state.get("relations")).items()}
        kept["relations"] = self.relations
        there = self._types("")
        wanted = dict(self.own.types) or {"article": self.own.kind}
        for name in wanted:
            if name not in there:
                shown = ", ".join(there)
                raise SourceError(f"{self.settings.url} has no type {name!r} in its API; it has {shown}")
        prefixes = self.own.prefixes or self._languages(state, kept)
        languages = [one.lower() for one in prefixes]
        return [
            NodeCollection(self, name, kind, language, prefix, languages)
            for name, kind in wanted.items()
            for language, prefix in [*prefixes.items(), (None, "")]
        ]

    def _languages(self, state: Mapping[str, Any], kept: dict[str, Any]) -> dict[str, str]:
        """Those whose prefix the site has. One that it had stays: if it fails, that is an outage and no absence."""
        known: list[str] = list(state.get("languages", ()))
        if "languages" not in state or self._is_due(state, "look"):
            known += [one for one in self.context.languages if one not in known and self._has(one)]
        kept["languages"] = known
        return {one: one.lower() for one in known}

    def _has(self, language: str) -> bool:
        try:
            self._types(f"{language.lower()}/")
        except SourceError as error:
            if error.status in (200, *_REFUSED):
                return False
            raise
        return True

    def _types(self, prefix: str) -> list[str]:
        """Machine names of the types of content."""
        try:
            found, _ = self.get(self.at(prefix), _ACCEPT)
        except SourceError as error:
            if error.status not in (200, *_REFUSED):
                raise
            raise SourceError(
                f"{self.settings.url} shows nobody the JSON:API of a Drupal ({error}); switch the module JSON:API on,"
                " say in `api` where it is, or read the site's feed (`type: feed`)",
                status=error.status,
            ) from None
        links = as_mapping(as_mapping(found).get("links"))
        return [name.removeprefix("node--") for name in links if name.startswith("node--")]

    def at(self, prefix: str, path: str = "") -> str:
        """An address of the API."""
        return f"{self.front}{prefix}{self.own.api.strip('/')}{path}"

    def document(self, address: str, parameters: Mapping[str, Any]) -> JsonApiDocument:
        """What it answers."""
        return JsonApiDocument(self.get(f"{address}?{urlencode(parameters)}", _ACCEPT)[0])


class NodeCollection(CmsCollection):
    """One type of content in one language; without one, all that is in none of the others."""

    def __init__(
        self, source: DrupalSource, bundle: str, kind: str, language: str | None, prefix: str, others: Sequence[str]
    ) -> None:
        self.name = f"{bundle}/{language or '-'}"
        self.prefix = f"{self.name}/"
        self._source = source
        self._type = f"node--{bundle}"
        self._before = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._address = source.at(self._before, f"/node/{bundle}")
        own = source.own
        self._telling = ArticleBuilder(source.context.name, kind, source.front, source.pages, own.body, own.summary)
        self._language = language.lower() if language else None
        self._others = others
        spoken = {"filter[langcode]": language.lower()} if language else _condition("langcode", "NOT IN", *others)
        # Both are looked for in one row, that is in one translation (Drupal\Core\Entity\Query\Sql\Tables).
        self._always = {"filter[status]": "1", **spoken}

    def newest(self, most: int, after: datetime | None) -> list[CmsItem]:
        """By the moment of their creation; equal ones by their ids, for a page is cut between them."""
        return self._told({"sort": "-created,id", **_after("created", after)}, most)

    def since(self, changed: datetime, created: datetime | None) -> list[CmsItem]:
        """By the moment of their change, and by that of their pictures.

        The newest first: what changes while it is read goes to the top, so that of the rest something may come twice
        and nothing is passed over; what went to the top bears a later change, and is read next time.
        """
        found = self._told({"sort": "-changed,id", **_after("changed", changed - LATE)})
        paths = self._source.relations.get(self._type, ())
        for media in sorted({path.partition(".")[0] for path in paths if "." in path}):
            try:
                found += self._told({"sort": "-changed,id", **_after(f"{media}.changed", changed)})
            except SourceError as error:
                if error.status not in _REFUSED:
                    raise
        return found

    def keys(self, after: datetime | None) -> set[str]:
        """Without their texts."""
        asked = {"sort": "id", f"fields[{self._type}]": "langcode", **_after("created", after)}
        found = (node for document in self._pages(asked, whole=False) for node in document.nodes)
        return {f"{self.prefix}{node['id']}" for node in found if self._is_mine(node)}

    def these(self, keys: Sequence[str]) -> list[CmsItem]:
        """By their UUIDs."""
        found: list[CmsItem] = []
        for start in range(0, len(keys), PAGE):
            some = [key.removeprefix(self.prefix) for key in keys[start : start + PAGE]]
            found += self._told(_condition("id", "IN", *some))
        return found

    def stands(self, key: str) -> bool:
        """404 for one that was deleted, 403 for one that is not published; another language for a lost translation."""
        try:
            found = self._source.document(
                f"{self._address}/{key.removeprefix(self.prefix)}", {f"fields[{self._type}]": "langcode"}
            )
        except SourceError as error:
            if error.status in (401, 403, 404, 410):
                return False
            raise
        return any(self._is_mine(node) for node in found.nodes)

    def _is_mine(self, node: Mapping[str, Any]) -> bool:
        said = as_text(as_mapping(node.get("attributes")).get("langcode")).lower()
        return said == self._language if self._language else said not in self._others

    def _told(self, asked: Mapping[str, str], most: int = MAX_ITEMS) -> list[CmsItem]:
        found: list[CmsItem] = []
        for document in self._pages(asked, whole=True):
            for node in document.nodes:
                item = self._item(document, node) if self._is_mine(node) else None
                if item is not None:
                    found.append(item)
            if len(found) >= most:
                break
        return found[:most]

    def _item(self, document: JsonApiDocument, node: Mapping[str, Any]) -> CmsItem | None:
        article, belongs = self._telling.article(document, node, self._before)
        if article is None:
            return None
        said = as_mapping(node.get("attributes"))
        # With that of its pictures, so that what was described anew is read once.
        moments = [moment for moment in (parse_utc(said.get("changed")), *belongs.changed) if moment]
        told = FetchedArticle(f"{self.prefix}{node['id']}", article)
        return CmsItem(told, parse_utc(said.get("created")), max(moments, default=None))

    def _pages(self, asked: Mapping[str, str], *, whole: bool) -> Iterator[JsonApiDocument]:
        """One document after the other. One may hold fewer items than there were, for some are not for readers."""
        offset: int | None = 0
        size = PAGE
        while offset is not None and offset < MAX_ITEMS:
            page = {**self._always, **asked, "page[offset]": str(offset), "page[limit]": str(size)}
            try:
                document = self._whole(page) if whole else self._listing(page)
            except SourceError as error:
                if size == SMALL or not (error.status is None or error.status >= 500):
                    raise
                size = SMALL  # so many were too much for the site, or too large
                continue
            yield document
            further = document.next()
            if further is not None and further <= offset:
                raise SourceError(f"{self._address} leads from one page to the next as no Drupal does", status=200)
            offset = further

    def _whole(self, asked: dict[str, str]) -> JsonApiDocument:
        """With what belongs to its items; which relations lead there is learned from what comes."""
        known = self._source.relations.setdefault(self._type, [])
        for _ in range(_TURNS):
            try:
                document = self._listing(asked | ({"include": ",".join(known)} if known else {}))
            except SourceError as error:
                if error.status != 400 or not known:
                    raise
                # One of them is a field of this type no longer (FieldResolver::resolveInternalIncludePath).
                known.clear()
                continue
            more = sorted(document.relations() - set(known))[: MAX_RELATIONS - len(known)]
            if not more:
                return document
            known += more
        raise SourceError(f"{self._address} does not tell what belongs to its items, though it shows them", status=200)

    def _listing(self, asked: Mapping[str, str]) -> JsonApiDocument:
        document = self._source.document(self._address, asked)
        if not document.is_listing:
            raise SourceError(f"{self._address} answers with something that is no listing of JSON:API", status=200)
        return document


def _condition(path: str, operator: str, *values: str) -> dict[str, str]:
    """A filter in its long form (Drupal\\jsonapi\\Query\\Filter); none without values."""
    if not values:
        return {}
    name = f"filter[{path.replace('.', '-')}][condition]"
    several = {f"{name}[value][{number}]": value for number, value in enumerate(values)}
    one = {f"{name}[value]": values[0]}
    return {f"{name}[path]": path, f"{name}[operator]": operator} | (several if operator.endswith("IN") else one)


def _after(path: str, moment: datetime | None) -> dict[str, str]:
    """Drupal keeps its moments as seconds since 1970, and compares what is asked for with these."""
    return _condition(path, ">", str(int(moment.timestamp()))) if moment else {}


def make(settings: Settings, context: SourceContext) -> DrupalSource:
    """The source of one name."""
    return DrupalSource(settings, context)
