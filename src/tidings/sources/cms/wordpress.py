"""Read WordPress by its REST API (developer.wordpress.org/rest-api/reference): posts, pages and custom types.

Translations come from the fields of Polylang Pro (polylang.pro/doc/rest-api), of the plugin `wp-rest-polylang` and of
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
from tidings.sources.article import build_article
from tidings.sources.base import SourceContext
from tidings.sources.cms.base import (
    MAX_ITEMS,
    OVERLAP,
    REFUSED,
    CmsCollection,
    CmsItem,
    CmsSettings,
    CmsSource,
    front_page,
    is_overload,
    keys_of,
)
from tidings.sources.json_values import as_mapping, as_objects, as_text, parse_utc
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import SourceError

PAGE = 100
"""Items of one response: WordPress's maximum."""
SMALL_PAGE = 20
MAX_WIDTH = 1_600
"""Width limit in pixels if the site has several sizes of a picture."""
_FIELDS = (
    "id,date_gmt,modified_gmt,link,title,excerpt,content,author,featured_media,lang,translations,"
    "polylang_current_lang,polylang_translations,wpml_current_locale,wpml_translations"
)
_NO_TOPICS = {"post_format", "nav_menu", "language", "post_translations", "wp_theme", "wp_template_part_area"}
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_MORE = re.compile(r"<a\b(?=[^<>]*\bmore-link\b)[^<>]*>(?:(?!<a\b).)*?</a>", re.DOTALL)
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
        description="Languages that are requested one after the other (`?lang=`), if the API returns one "
        "language at a time, as with WPML; default: all that it returns at once.",
    )


class WordPressSource(CmsSource):
    """Finds the API below the address, or at the address that the site's front page names."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._wordpress = settings
        self.root = ""
        self.names: dict[tuple[str, int], str] = {}
        """Names of terms and authors that this reading requested, by path and id."""

    # -- the API ------------------------------------------------------------------------------------------------------

    def call(self, path: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, Mapping[str, str]]:
        """Return the JSON and the headers of a path of the API."""
        url = self.root + path
        if parameters:
            url += ("&" if "?" in self.root else "?") + urlencode(parameters)
        answer, response = self.get(url)
        return answer, response.headers

    def list_objects(self, path: str, parameters: Mapping[str, Any], most: int = MAX_ITEMS) -> Iterator[dict[str, Any]]:
        """Yield all objects of a listing, page by page."""
        count, page = min(PAGE, most), 0
        while page * count < most:
            page += 1
            try:
                answer, headers = self.call(path, {**parameters, "per_page": count, "page": page})
            except SourceError as error:
                if error.status == 400 and page > 1:  # beyond the last page, which shrank or was not announced
                    return
                if page == 1 and count > SMALL_PAGE and is_overload(error):
                    count, page = SMALL_PAGE, 0
                    continue
                raise
            yield from as_objects(answer)[: most - (page - 1) * count]
            pages = headers.get("x-wp-totalpages", "")
            if not isinstance(answer, list) or len(answer) < count or (pages.isdigit() and page >= int(pages)):
                return

    def get_by_ids(self, path: str, ids: Sequence[int], parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield these objects, or nothing if they are not public."""
        for start in range(0, len(ids), PAGE):
            include = ",".join(map(str, ids[start : start + PAGE]))
            try:
                yield from as_objects(self.call(path, {**parameters, "include": include, "per_page": PAGE})[0])
            except SourceError as error:
                if error.status not in REFUSED:
                    raise

    # -- the source ---------------------------------------------------------------------------------------------------

    def list_collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> list[CmsCollection]:
        """Return one collection for each type, or for each type and language."""
        self.names = {}
        types = self._fetch_types(as_text(state.get("api")))
        kept["api"] = self.root
        wanted = dict(self._wordpress.types) or {"posts": self._wordpress.kind}
        by_base = {as_text(entry.get("rest_base")) or name: as_mapping(entry) for name, entry in types.items()}
        taxonomies: dict[str, str] = {}
        if any(entry.get("taxonomies") for entry in by_base.values()):
            answer = as_mapping(self.call("wp/v2/taxonomies")[0])
            taxonomies = {name: as_text(as_mapping(entry).get("rest_base")) or name for name, entry in answer.items()}
        bases = {
            name: name if name in by_base else as_text(as_mapping(types.get(name)).get("rest_base")) for name in wanted
        }
        self.check_types([name for name in wanted if bases[name] not in by_base], sorted(by_base))
        collections: list[CmsCollection] = []
        for name, kind in wanted.items():
            base = bases[name]
            namespace = as_text(by_base[base].get("rest_namespace")) or "wp/v2"
            own = [taxonomy for taxonomy in by_base[base].get("taxonomies") or () if taxonomy not in _NO_TOPICS]
            topic_bases = [taxonomies[taxonomy] for taxonomy in own if taxonomy in taxonomies]
            for language in self._wordpress.languages or (None,):
                collections.append(PostCollection(self, f"{namespace}/{base}", base, kind, topic_bases, language))
        return collections

    def _fetch_types(self, known: str) -> Mapping[str, Any]:
        """Return the types. Tries the known address of the API, the usual ones, then the one that the site names."""
        front = front_page(self.settings.url)
        refusal: SourceError | None = None
        for root in dict.fromkeys(filter(None, (known, front + "wp-json/", front + "?rest_route=/"))):
            try:
                return self._fetch_types_at(root)
            except SourceError as error:
                if error.status == 429 or is_overload(error):
                    raise
                refusal = refusal or error
        root = self._discover(front)
        if root:
            return self._fetch_types_at(root)
        raise SourceError(
            f"{self.settings.url} does not show the REST API of a WordPress site ({refusal}). Allow `wp/v2` to be "
            "read, or read the site's feed (`type: feed`)"
        )

    def _fetch_types_at(self, root: str) -> Mapping[str, Any]:
        answer, response = self.get(root + "wp/v2/types")
        has_moved = response.moved.endswith("wp/v2/types")
        self.root = response.moved.removesuffix("wp/v2/types") if has_moved else root
        types = {name: as_mapping(entry) for name, entry in as_mapping(answer).items() if as_mapping(entry).get("slug")}
        if not types:
            raise SourceError(f"{root} is not the REST API of a WordPress site", status=404)
        return types

    def _discover(self, front: str) -> str:
        """Return the API address in the Link header (developer.wordpress.org/rest-api/using-the-rest-api/discovery)."""
        try:
            _, response = self.get(front, "text/html")
        except SourceError:
            return ""
        match = re.search(r"<([^<>]+)>;\s*rel=\"https://api\.w\.org/\"", response.headers.get("link", ""))
        return urljoin(front, match[1]) if match else ""

    def list_silent_changes(self, state: Mapping[str, Any], kept: dict[str, Any]) -> set[str]:
        """Return the items with a new alt text of a picture: it changes the picture, but not the post."""
        since = parse_utc(state.get("media"))
        parameters = {"_fields": "source_url,media_details,modified_gmt", "orderby": "modified", "order": "desc"}
        if since is not None:
            parameters["modified_after"] = _format(since - OVERLAP)
        try:
            media = list(self.list_objects("wp/v2/media", parameters, PAGE if since else 1))
        except SourceError as error:
            if error.status not in REFUSED:
                raise
            return set()
        moments = [moment for entry in media if (moment := parse_utc(entry.get("modified_gmt")))]
        latest = max([*moments, *([since] if since else [])], default=None)
        kept["media"] = latest.isoformat() if latest else None
        changed = {src for entry in media for src, _ in _list_sizes(entry)} if since else set()
        return {
            [*keys_of(item.data)][-1]
            for item in self.cached.values()
            if changed & {image["src"] for image in item.data["article"].get("images", ())}
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
        self._filter = {"lang": language} if language else {}
        self._parameters = {**self._filter, "_fields": ",".join([_FIELDS, *taxonomies])}

    def list_newest(self, most: int, after: datetime | None) -> list[CmsItem]:
        parameters = {**self._parameters, "orderby": "date", "order": "desc", **_published_after(after)}
        return self._build_items(list(self._source.list_objects(self._path, parameters, most)))

    def list_changed(self, changed: datetime, created: datetime | None) -> list[CmsItem]:
        """Read two listings, because publishing a scheduled post does not change its modification date."""
        parameters = {**self._parameters, "orderby": "modified", "order": "asc", "modified_after": _format(changed)}
        posts = list(self._source.list_objects(self._path, parameters))
        if created is not None:
            parameters = {**self._parameters, "orderby": "date", "order": "asc", **_published_after(created)}
            seen = {post.get("id") for post in posts}
            posts += [post for post in self._source.list_objects(self._path, parameters) if post.get("id") not in seen]
        return self._build_items(posts)

    def list_keys(self, after: datetime | None) -> set[str]:
        fields = {"_fields": "id,content.protected", "orderby": "id", "order": "asc"}
        posts = self._source.list_objects(self._path, {**self._filter, **fields, **_published_after(after)})
        return {f"{self.prefix}{post.get('id')}" for post in posts if not _is_protected(post)}

    def get_items(self, keys: Sequence[str]) -> list[CmsItem]:
        ids = [int(number) for key in keys if (number := key.removeprefix(self.prefix)).isdigit()]
        return self._build_items(list(self._source.get_by_ids(self._path, ids, self._parameters)))

    def check_item(self, key: str) -> bool:
        """Check one post. WordPress answers 404 if deleted, 401 or 403 for a draft or a post in the trash."""
        number = key.removeprefix(self.prefix)
        post, _ = self._source.call(f"{self._path}/{number}", {"_fields": "id,content.protected"})
        return not _is_protected(as_mapping(post))

    def _build_items(self, posts: list[dict[str, Any]]) -> list[CmsItem]:
        posts = [post for post in posts if isinstance(post.get("id"), int) and not _is_protected(post)]
        pictures = self._fetch_pictures(posts)
        authors = self._fetch_names("wp/v2/users", [_number(post, "author") for post in posts])
        terms = {
            base: self._fetch_names(f"wp/v2/{base}", [term for post in posts for term in _integers(post.get(base))])
            for base in self._taxonomies
        }
        items = []
        for post in posts:
            picture = pictures.get(_number(post, "featured_media"))
            group = _translation_group(post)
            published = parse_utc(post.get("date_gmt"))
            article = build_article(
                {
                    "title": plain_text(_rendered(post.get("title"))),
                    "url": urljoin(self._source.settings.url, as_text(post.get("link"))),
                    "language": self._find_language(post),
                    "kind": self._kind,
                    "summary": _written_excerpt(_rendered(post.get("excerpt"))),
                    "html": _rendered(post.get("content")),
                    "published": published,
                    "topics": [
                        terms[base].get(term, "") for base in self._taxonomies for term in _integers(post.get(base))
                    ],
                    "authors": [
                        authors.get(_number(post, "author")) or plain_text(as_mapping(post.get("author")).get("name"))
                    ],
                    "images": [picture] if picture else [],
                    "translations": _translation_links(post),
                    "story": f"{self._source.context.name}-{min(group)}" if group else "",
                }
            )
            if article is not None:
                fetched = FetchedArticle(f"{self.prefix}{post['id']}", article)
                translations = tuple(f"{self.prefix}{number}" for number in sorted(group - {post["id"]}))
                items.append(CmsItem(fetched, published, parse_utc(post.get("modified_gmt")), translations))
        return items

    def _find_language(self, post: Mapping[str, Any]) -> str:
        tags = (as_text(post.get(name)) for name in ("lang", "polylang_current_lang", "wpml_current_locale"))
        return next((tag.replace("_", "-") for tag in tags if tag), self._language or "")

    def _fetch_names(self, path: str, ids: Sequence[Any]) -> dict[int, str]:
        """Return names by id. Requests each name once in a reading. The term for 'no category' has no name."""
        names = self._source.names
        numbers = {number for number in ids if isinstance(number, int) and number > 0}
        wanted = sorted(number for number in numbers if (path, number) not in names)
        names |= {(path, number): "" for number in wanted}
        for entry in self._source.get_by_ids(path, wanted, {"_fields": "id,name,slug"}):
            if isinstance(entry.get("id"), int) and entry.get("slug") != "uncategorized":
                names[path, entry["id"]] = plain_text(entry.get("name"))
        return {number: name for (at, number), name in names.items() if at == path}

    def _fetch_pictures(self, posts: list[dict[str, Any]]) -> dict[int, dict[str, str]]:
        wanted = sorted({_number(post, "featured_media") for post in posts} - {0})
        fields = {"_fields": "id,source_url,alt_text,caption,media_details"}
        pictures = {}
        for media in self._source.get_by_ids("wp/v2/media", wanted, fields):
            sizes = _list_sizes(media)
            if sizes and isinstance(media.get("id"), int):
                src = next((src for src, width in sizes if width <= MAX_WIDTH), sizes[0][0])
                caption = plain_text(_rendered(media.get("caption")))
                pictures[media["id"]] = {"src": src, "alt": plain_text(media.get("alt_text")), "caption": caption}
        return pictures


def _rendered(value: Any) -> str:
    """Return the text of a field. Some plugins give the text alone instead of an object."""
    return as_text(value) or as_text(as_mapping(value).get("rendered"))


def plain_text(rendered: Any) -> str:
    """Return rendered HTML as text, without tags and entities."""
    return html.unescape(_TAG.sub("", as_text(rendered))).strip()


def _written_excerpt(rendered: str) -> str:
    """Return the editor's excerpt, or '' if WordPress only cut off the beginning of the text."""
    excerpt = plain_text(_MORE.sub("", rendered))
    return "" if _CUT.search(excerpt) else excerpt


def _is_protected(post: Mapping[str, Any]) -> bool:
    """Whether only people with a password can read the post."""
    return bool(as_mapping(post.get("content")).get("protected"))


def _translation_group(post: Mapping[str, Any]) -> set[int]:
    """Return the ids of a post and all its translations. Empty if the site names no translations."""
    ids = set(_integers(list(as_mapping(post.get("translations")).values())))
    plugins = ("polylang_translations", "wpml_translations")
    ids |= set(_integers([other.get("id") for name in plugins for other in as_objects(post.get(name))]))
    is_known = ids or any(name in post for name in ("translations", *plugins))
    return ids | {post["id"]} if is_known else set()


def _translation_links(post: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses of its translations by language (`wpml_translations`)."""
    links = {
        as_text(other.get("locale")).replace("_", "-"): as_text(other.get("href"))
        for other in as_objects(post.get("wpml_translations"))
    }
    return {language: url for language, url in links.items() if language and url}


def _number(post: Mapping[str, Any], name: str) -> int:
    """Return the number of a post's field, 0 if it is anything else: plugins write what they like."""
    value = post.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _integers(value: Any) -> list[int]:
    return [number for number in value if isinstance(number, int)] if isinstance(value, list) else []


def _list_sizes(media: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the addresses of a picture with their widths, the largest first."""
    details = as_mapping(media.get("media_details"))
    full = {"source_url": media.get("source_url"), "width": details.get("width")}
    entries = [full, *as_objects(details.get("sizes"))]
    sizes = {
        as_text(entry.get("source_url")): entry["width"] for entry in entries if isinstance(entry.get("width"), int)
    }
    if as_text(media.get("source_url")):
        sizes.setdefault(as_text(media.get("source_url")), MAX_WIDTH)
    return sorted(((src, width) for src, width in sizes.items() if src), key=lambda size: -size[1])


def _published_after(moment: datetime | None) -> dict[str, str]:
    return {"after": _format(moment)} if moment is not None else {}


def _format(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make(settings: Settings, context: SourceContext) -> WordPressSource:
    return WordPressSource(settings, context)
