"""WordPress by its REST API (developer.wordpress.org/rest-api/reference): posts, pages and types of its own.

Translations come with the fields of Polylang Pro (polylang.pro/doc/rest-api), of the plugin `wp-rest-polylang` and of
`wpml-rest-api`, whichever the site has.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urljoin

from pydantic import Field

from tidings.config.types import Languages, Line, Name
from tidings.sources.base import SourceContext
from tidings.sources.cms.base import (
    MAX_ITEMS,
    OVERLAP,
    CmsCollection,
    CmsItem,
    CmsSettings,
    CmsSource,
    as_mapping,
    as_objects,
    as_text,
    build_article,
    front_page,
    parse_utc,
)
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import SourceError

PAGE = 100
"""Items of one answer: the most that WordPress gives."""
SMALL = 20
WIDEST = 1_600
"""Pixels of the picture that is taken where the site has several sizes."""
_FIELDS = (
    "id,date_gmt,modified_gmt,link,title,excerpt,content,author,featured_media,lang,translations,"
    "polylang_current_lang,polylang_translations,wpml_current_locale,wpml_translations"
)
_NO_TOPICS = {"post_format", "nav_menu", "language", "post_translations", "wp_theme", "wp_template_part_area"}
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_MORE = re.compile(r"<a\b[^>]*\bmore-link\b.*?</a>", re.DOTALL)
_CUT = re.compile(r"(\[\s*(…|\.\.\.)\s*\]|…|\.\.\.)\s*$")


class Settings(CmsSettings):
    """A WordPress site by its REST API."""

    types: Mapping[Line, Name] = Field(
        default_factory=dict,
        description="Which types are read, by their name in the API, and our kind for each: "
        "{posts: story, press: press-release}; default: posts.",
    )
    languages: Languages = Field(
        default=(),
        description="Asked for one after the other (`?lang=`), where the API tells one language at a time, as with "
        "WPML; default: all that it tells at once.",
    )


class WordPressSource(CmsSource):
    """Finds the API below the address, or where the site's front page says that it is."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._own = settings
        self.root = ""
        self.taxonomies: dict[str, str] = {}
        """The name of each taxonomy's items in the API, by its name in a type."""
        self.names: dict[tuple[str, int], str] = {}
        """Of terms and of authors, as far as they were asked for in this reading."""
        self.links: dict[tuple[str, int], str] = {}

    # -- the API ------------------------------------------------------------------------------------------------------

    def call(self, path: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, Mapping[str, str]]:
        """What a path of the API answers, and its headers."""
        url = self.root + path
        if parameters:
            url += ("&" if "?" in self.root else "?") + urlencode(parameters)
        found, reply = self.get(url)
        return found, reply.headers

    def listed(self, path: str, parameters: Mapping[str, Any], most: int = MAX_ITEMS) -> Iterator[dict[str, Any]]:
        """All objects of a listing, page by page."""
        count, page = min(PAGE, most), 0
        while page * count < most:
            page += 1
            try:
                found, headers = self.call(path, {**parameters, "per_page": count, "page": page})
            except SourceError as error:
                if error.status == 400 and page > 1:  # beyond the last, which shrank, or of which no header told
                    return
                if page == 1 and count > SMALL and (error.status is None or error.status >= 500):
                    count, page = SMALL, 0  # so many were too much for the site, or too large
                    continue
                raise
            yield from as_objects(found)[: most - (page - 1) * count]
            pages = headers.get("x-wp-totalpages", "")
            if not isinstance(found, list) or len(found) < count or (pages.isdigit() and page >= int(pages)):
                return

    def by_ids(self, path: str, ids: Sequence[int], parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """These objects; nothing where the site shows them to nobody."""
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            asked = {**parameters, "include": ",".join(map(str, some)), "per_page": PAGE}
            try:
                yield from as_objects(self.call(path, asked)[0])
            except SourceError as error:
                if error.status not in (400, 401, 403, 404):
                    raise

    # -- the source ---------------------------------------------------------------------------------------------------

    def collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> list[CmsCollection]:
        """One for each type, or for each type and language."""
        self.names, self.links = {}, {}
        types = self._types(as_text(state.get("api")))
        kept["api"] = self.root
        wanted = dict(self._own.types) or {"posts": self._own.kind}
        by_base = {as_text(one.get("rest_base")) or name: as_mapping(one) for name, one in types.items()}
        self.taxonomies = {}
        if any(one.get("taxonomies") for one in by_base.values()):
            told = as_mapping(self.call("wp/v2/taxonomies")[0])
            self.taxonomies = {name: as_text(as_mapping(one).get("rest_base")) or name for name, one in told.items()}
        found: list[CmsCollection] = []
        for name, kind in wanted.items():
            base = name if name in by_base else as_text(as_mapping(types.get(name)).get("rest_base"))
            if base not in by_base:
                shown = ", ".join(sorted(by_base))
                raise SourceError(f"{self.settings.url} has no type {name!r} in its API; it has {shown}")
            namespace = as_text(by_base[base].get("rest_namespace")) or "wp/v2"
            taxonomies = [one for one in by_base[base].get("taxonomies") or () if one not in _NO_TOPICS]
            bases = [self.taxonomies[one] for one in taxonomies if one in self.taxonomies]
            for language in self._own.languages or (None,):
                found.append(PostCollection(self, f"{namespace}/{base}", base, kind, bases, language))
        return found

    def _types(self, known: str) -> Mapping[str, Any]:
        """The types of the site. Looks for the API where it was, then where it usually is, then where the site says."""
        front = front_page(self.settings.url)
        refused: SourceError | None = None
        for root in dict.fromkeys(filter(None, (known, front + "wp-json/", front + "?rest_route=/"))):
            try:
                return self._types_at(root)
            except SourceError as error:
                if error.status is None or error.status == 429 or error.status >= 500:
                    raise
                refused = refused or error
        root = self._discovered(front)
        if root:
            return self._types_at(root)
        raise SourceError(
            f"{self.settings.url} shows nobody the REST API of a WordPress ({refused}); let `wp/v2` be read there, or"
            " read its feed (`type: feed`)"
        )

    def _types_at(self, root: str) -> Mapping[str, Any]:
        found, reply = self.get(root + "wp/v2/types")
        self.root = reply.moved.removesuffix("wp/v2/types") if reply.moved.endswith("wp/v2/types") else root
        found = as_mapping(found)
        types = {name: as_mapping(one) for name, one in found.items() if as_mapping(one).get("slug")}
        if not types:
            raise SourceError(f"{root} is no REST API of a WordPress", status=404)
        return types

    def _discovered(self, front: str) -> str:
        """As the front page says in its Link header (developer.wordpress.org/rest-api/using-the-rest-api/discovery)."""
        try:
            _, reply = self.get(front, "text/html")
        except SourceError:
            return ""
        match = re.search(r"<([^<>]+)>;\s*rel=\"https://api\.w\.org/\"", reply.headers.get("link", ""))
        return urljoin(front, match[1]) if match else ""

    def touched(self, state: Mapping[str, Any], kept: dict[str, Any]) -> set[str]:
        """Items whose picture was described anew: that is a change of the picture, and none of the post."""
        mark = parse_utc(state.get("media"))
        asked = {"_fields": "source_url,media_details,modified_gmt", "orderby": "modified", "order": "desc"}
        if mark is not None:
            asked["modified_after"] = _written(mark - OVERLAP)
        try:
            found = list(self.listed("wp/v2/media", asked, PAGE if mark else 1))
        except SourceError as error:
            if error.status not in (400, 401, 403, 404):
                raise
            return set()
        moments = [moment for one in found if (moment := parse_utc(one.get("modified_gmt")))]
        latest = max([*moments, *([mark] if mark else [])], default=None)
        kept["media"] = latest.isoformat() if latest else None
        shown = {src for one in found for src, _ in _sizes(one)} if mark else set()
        return {
            mark[0]
            for entry in self.cached.values()
            if shown & {image["src"] for image in entry.data["article"].get("images", ())}
            for mark in entry.data["marks"][-1:]
        }


class PostCollection(CmsCollection):
    """One type, in one language or in all."""

    def __init__(
        self, source: WordPressSource, path: str, base: str, kind: str, taxonomies: list[str], language: str | None
    ) -> None:
        self.name = f"{base}?lang={language}" if language else base
        self.prefix = f"{base}/"
        self._source = source
        self._path = path
        self._kind = kind
        self._taxonomies = taxonomies
        self._language = language
        self._always = {"lang": language} if language else {}
        self._fields = {"_fields": ",".join([_FIELDS, *taxonomies])}

    def newest(self, most: int, after: datetime | None) -> list[CmsItem]:
        """By date of publication."""
        asked = {**self._always, **self._fields, "orderby": "date", "order": "desc"}
        if after is not None:
            asked["after"] = _written(after)
        return self._told(list(self._source.listed(self._path, asked, most)))

    def since(self, changed: datetime, created: datetime | None) -> list[CmsItem]:
        """Two listings: a post that was written before and comes out when its time has come bears no change then."""
        asked = {**self._always, **self._fields, "orderby": "modified", "order": "asc"}
        found = list(self._source.listed(self._path, {**asked, "modified_after": _written(changed)}))
        if created is not None:
            asked |= {"orderby": "date", "after": _written(created)}
            seen = {one.get("id") for one in found}
            found += [one for one in self._source.listed(self._path, asked) if one.get("id") not in seen]
        return self._told(found)

    def keys(self, after: datetime | None) -> set[str]:
        """Their ids alone, a hundred in an answer."""
        asked = {**self._always, "_fields": "id,content.protected", "orderby": "id", "order": "asc"}
        if after is not None:
            asked["after"] = _written(after)
        found = self._source.listed(self._path, asked)
        return {f"{self.prefix}{one.get('id')}" for one in found if not _is_closed(one)}

    def these(self, keys: Sequence[str]) -> list[CmsItem]:
        """By `include`."""
        ids = [int(number) for key in keys if (number := key.removeprefix(self.prefix)).isdigit()]
        return self._told(list(self._source.by_ids(self._path, ids, {**self._always, **self._fields})))

    def stands(self, key: str) -> bool:
        """404 for one that was deleted, 401 or 403 for one that is in the trash or a draft again."""
        try:
            found, _ = self._source.call(
                f"{self._path}/{key.removeprefix(self.prefix)}", {"_fields": "id,content.protected"}
            )
        except SourceError as error:
            if error.status in (401, 403, 404, 410):
                return False
            raise
        return not _is_closed(as_mapping(found))

    def _told(self, posts: list[dict[str, Any]]) -> list[CmsItem]:
        open_ones = [one for one in posts if isinstance(one.get("id"), int) and not _is_closed(one)]
        pictures = self._pictures(open_ones)
        authors = self._named("wp/v2/users", [one.get("author") for one in open_ones])
        terms = {
            base: self._named(f"wp/v2/{base}", [term for one in open_ones for term in _numbers(one.get(base))])
            for base in self._taxonomies
        }
        items = []
        for one in open_ones:
            picture = pictures.get(one.get("featured_media", 0))
            topics = [terms[base].get(term, "") for base in self._taxonomies for term in _numbers(one.get(base))]
            kin = self._kin(one)
            article = build_article(
                {
                    "title": plain_text(as_mapping(one.get("title")).get("rendered")),
                    "url": urljoin(self._source.settings.url, as_text(one.get("link"))),
                    "language": self._spoken(one),
                    "kind": self._kind,
                    "summary": _excerpt(as_text(as_mapping(one.get("excerpt")).get("rendered"))),
                    "html": as_text(as_mapping(one.get("content")).get("rendered")),
                    "published": parse_utc(one.get("date_gmt")),
                    "topics": topics,
                    "authors": [authors.get(one.get("author", 0), "")],
                    "images": [picture] if picture else [],
                    "translations": _links(one),
                    "story": f"{self._source.context.name}-{min(kin)}" if kin else "",
                }
            )
            if article is not None:
                told = FetchedArticle(f"{self.prefix}{one['id']}", article)
                others = tuple(f"{self.prefix}{number}" for number in sorted(kin - {one["id"]}))
                items.append(CmsItem(told, parse_utc(one.get("date_gmt")), parse_utc(one.get("modified_gmt")), others))
        return items

    def _spoken(self, one: Mapping[str, Any]) -> str:
        said = (one.get(name) for name in ("lang", "polylang_current_lang", "wpml_current_locale"))
        return next((word.replace("_", "-") for word in map(as_text, said) if word), self._language or "")

    def _kin(self, one: Mapping[str, Any]) -> set[int]:
        """The ids of all its translations and its own; empty where the site says nothing of translations."""
        ids = set(_numbers(list(as_mapping(one.get("translations")).values())))
        for other in (*as_objects(one.get("polylang_translations")), *as_objects(one.get("wpml_translations"))):
            ids |= set(_numbers([other.get("id")]))
        said = ids or "translations" in one or "wpml_translations" in one or "polylang_translations" in one
        return ids | {one["id"]} if said else set()

    def _named(self, path: str, ids: Sequence[Any]) -> dict[int, str]:
        """Names by id, each asked for once in a reading. The word for 'no category' is none."""
        names = self._source.names
        wanted = sorted({one for one in ids if isinstance(one, int) and one > 0 and (path, one) not in names})
        names |= {(path, one): "" for one in wanted}
        for one in self._source.by_ids(path, wanted, {"_fields": "id,name,slug"}):
            if isinstance(one.get("id"), int) and one.get("slug") != "uncategorized":
                names[path, one["id"]] = plain_text(one.get("name"))
        return {number: name for (at, number), name in names.items() if at == path}

    def _pictures(self, posts: list[dict[str, Any]]) -> dict[int, dict[str, str]]:
        wanted = sorted({one["featured_media"] for one in posts if isinstance(one.get("featured_media"), int)} - {0})
        asked = {"_fields": "id,source_url,alt_text,caption,media_details"}
        found = {}
        for one in self._source.by_ids("wp/v2/media", wanted, asked):
            sizes = _sizes(one)
            if sizes and isinstance(one.get("id"), int):
                src = max((size for size in sizes if size[1] <= WIDEST), key=lambda size: size[1], default=sizes[0])[0]
                caption = plain_text(as_mapping(one.get("caption")).get("rendered"))
                found[one["id"]] = {"src": src, "alt": plain_text(one.get("alt_text")), "caption": caption}
        return found


def plain_text(rendered: Any) -> str:
    """Text of what WordPress renders: without tags, its entities as characters."""
    return html.unescape(_TAG.sub("", as_text(rendered))).strip()


def _excerpt(rendered: str) -> str:
    """What the editor wrote; empty where it is only the beginning of the text, cut by WordPress."""
    written = plain_text(_MORE.sub("", rendered))
    return "" if _CUT.search(written) else written


def _is_closed(post: Mapping[str, Any]) -> bool:
    """Only those who know its password can read it."""
    return bool(as_mapping(post.get("content")).get("protected"))


def _links(post: Mapping[str, Any]) -> dict[str, str]:
    """The addresses of its translations by language (`wpml_translations`)."""
    links = {
        as_text(one.get("locale")).replace("_", "-"): as_text(one.get("href"))
        for one in as_objects(post.get("wpml_translations"))
    }
    return {language: url for language, url in links.items() if language and url}


def _numbers(value: Any) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


def _sizes(media: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The addresses of a picture with their widths, the largest first."""
    details = as_mapping(media.get("media_details"))
    full = {"source_url": media.get("source_url"), "width": details.get("width")}
    found = [full, *as_objects(details.get("sizes"))]
    sizes = {as_text(one.get("source_url")): one["width"] for one in found if isinstance(one.get("width"), int)}
    if as_text(media.get("source_url")):
        sizes.setdefault(as_text(media.get("source_url")), WIDEST)
    return sorted(((src, width) for src, width in sizes.items() if src), key=lambda size: -size[1])


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make(settings: Settings, context: SourceContext) -> WordPressSource:
    """The source of one name."""
    return WordPressSource(settings, context)
