"""Shared parts of sources with a fetch cache: the cached data, and building items from it."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import regex
from pydantic import Field, field_validator

from tidings.config.adapters import SourceSettings
from tidings.config.types import Bool, Language, Line, Name
from tidings.model.errors import Problem
from tidings.model.item import CachedItem
from tidings.model.plurals import count_noun
from tidings.model.text import shorten_slug, slugify
from tidings.sources.article import (
    Article,
    BuiltItem,
    PoisonousItemError,
    add_fingerprint,
    build_items_in_child,
    match_language,
    short_hash,
    warn_of_missing_alt,
)
from tidings.sources.base import SourceContext, SourceItem, StillPublished, Sweep, none_published
from tidings.sources.fetch_cache import CacheSnapshot
from tidings.sources.pictures import PictureCopies, PictureRecord, picture_urls
from tidings.sources.web.identity import IdentityKeys, normalise_link
from tidings.sources.web.overlay import Overlay, Overlays, overlay_names

_Stories = tuple[tuple[str, str, str, str], ...]
_SweepInput = tuple[Mapping[str, CachedItem], Mapping[str, Overlay], Mapping[str, PictureRecord], _Stories]
MAX_POISONOUS = 3
"""Most items of one sweep that may exceed a limit. Each takes seconds, so further items wait for the next sweep."""
_AT_ONCE = 100
_LETTERS_AT_ONCE = 200_000
"""Most items, and most characters of their texts, that one child process builds at once."""


class CachedSourceSettings(SourceSettings):
    """Settings of all sources with a fetch cache."""

    language: Language | None = Field(
        default=None, description="The language of all its items; default: each item's own."
    )
    kind: Line = Field(default="story", description="The kind of all its items that name none.")
    story: Line | None = Field(
        default=None,
        description="Which items are translations of one another: a regular expression whose first group, found in an "
        "item's address, is the same in each of them, such as `/news/(\\d+)-`.",
    )
    topics: Mapping[str, Name] = Field(
        default_factory=dict, description="The source's words for topics, and ours: {Education: sdg-4}."
    )
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )

    @field_validator("story")
    @classmethod
    def _has_group(cls, value: str | None) -> str | None:
        if value:
            try:
                groups = regex.compile(value).groups
            except regex.error as error:
                raise ValueError(f"{value!r} is not a regular expression ({error})") from None
            if not groups:
                raise ValueError(f"{value!r} has no group; put what all translations share in brackets: /news/(\\d+)-")
        return value


@dataclass(frozen=True, slots=True)
class FetchedArticle:
    """One item from the website, with the id that the website gives it."""

    key: str
    article: Article
    is_old: bool = False
    """The item existed before the first fetch, so it does not count as new."""
    faults: tuple[str, ...] = ()
    """Parts of the item that could not be read, for `check`."""


class CachedSource:
    """A source that keeps its items in a fetch cache, and copies of their pictures."""

    def __init__(self, settings: CachedSourceSettings, context: SourceContext) -> None:
        self.context = context
        self._defaults = settings
        self._snapshot = CacheSnapshot(context.cache)
        self._overlays = Overlays(context.root)
        self._last_sweep: tuple[_SweepInput, Sweep] | None = None
        self._built: dict[str, tuple[CachedItem, str | None, BuiltItem]] = {}
        self._building = threading.Lock()
        self._pictures = PictureCopies(context, allow_private=settings.allow_private)
        self._wanted: tuple[Mapping[str, CachedItem], Collection[str], Mapping[str, datetime]] = {}, (), {}

    @property
    def cached(self) -> Mapping[str, CachedItem]:
        """The cached items by ref at the last refresh. Never changed in place, because several threads read them."""
        return self._snapshot.items

    def watch_paths(self) -> tuple[()]:
        return ()

    def sweep(self, now: datetime) -> Sweep:
        """Build all items from the cache, without a request."""
        with self._building:
            cached = self._snapshot.refresh()
            overlays, problems = self._overlays.read()
            stories = self.context.story_index.rows() if overlays else ()
            current = cached, overlays, self._pictures.refresh(), stories
            if self._last_sweep is None or self._last_sweep[0] != current:
                self._last_sweep = current, self._finish(self.build_items(cached), overlays, stories)
            sweep = self._last_sweep[1]
        return replace(sweep, problems=(*sweep.problems, *problems)) if problems else sweep

    def fetch_pictures(
        self, now: datetime, seconds: float, *, force: bool = False, still_published: StillPublished = none_published
    ) -> int:
        with self._building:
            cached = self._snapshot.refresh()
            published = still_published([ref for ref, item in cached.items() if item.gone])
            if self._wanted[0] is not cached or self._wanted[1] != published:
                shown = {**cached, **{ref: replace(cached[ref], gone=False) for ref in published}}
                self._wanted = cached, published, _list_wanted(self.build_items(shown).items, cached)
            wanted = self._wanted[2]
        return self._pictures.fetch(wanted, now, seconds, force=force, may_fetch=self.may_fetch)

    def may_fetch(self, url: str) -> bool:
        """Whether the website allows a picture to be read."""
        return True

    def abort(self) -> None:
        self._pictures.abort()

    def _finish(self, sweep: Sweep, overlays: Mapping[str, Overlay], stories: _Stories) -> Sweep:
        """Apply the overlays and show our copies of pictures."""
        items: list[SourceItem] = []
        problems = list(sweep.problems)
        names = overlay_names(sweep.items, self.context.name, stories) if overlays else {}
        for item in sweep.items:
            finished = item
            overlay = next((overlays[name] for name in names.get(item.ref, ()) if name in overlays), None)
            if overlay is not None:
                described = {warn_of_missing_alt(item, src) for src, alt in overlay.alt.items() if alt}
                problems = [problem for problem in problems if problem not in described]
                finished = overlay.apply(item)
            finished, failed = self._pictures.show_copies(finished)
            problems += failed
            items.append(item if finished is item else add_fingerprint(finished))
        return replace(sweep, items=tuple(items), problems=tuple(problems))

    def build_items(self, cached: Mapping[str, CachedItem]) -> Sweep:
        """Build each item that is not gone. Unchanged items are reused."""
        groups = group_translations(cached, self._defaults.language, self.context.languages)
        built: dict[str, tuple[CachedItem, str | None, BuiltItem]] = {}
        pending: list[tuple[CachedItem, str | None]] = []
        for ref, item in sorted(cached.items()):
            if item.gone:
                continue
            story = self._find_story(item.data["article"], groups)
            before = self._built.get(ref)
            if before is not None and before[0] is item and before[1] == story:
                built[ref] = before
            else:
                pending.append((item, story))
        built |= self._build_new(pending)
        self._built = built
        if waiting := len(pending) - sum(item.ref in built for item, _ in pending):
            left = count_noun(waiting, "other item waits", "other items wait")
            message = f"{MAX_POISONOUS} items take too long to read, and {left} for the next attempt"
            return Sweep((), (Problem(f"source {self.context.name}", 0, 0, message),), is_readable=False)
        results = {ref: built[ref][2] for ref in sorted(built)}
        return Sweep(
            tuple(item for item, _ in results.values() if item is not None),
            tuple(
                problem for ref, (_, problems) in results.items() for problem in (*problems, *_list_faults(cached[ref]))
            ),
            tuple(ref for ref, (item, _) in results.items() if item is None),
        )

    def _build_new(
        self, pending: Sequence[tuple[CachedItem, str | None]]
    ) -> dict[str, tuple[CachedItem, str | None, BuiltItem]]:
        """Build items, many at once. After too many that exceed a limit, the rest is not built."""
        built: dict[str, tuple[CachedItem, str | None, BuiltItem]] = {}
        poisonous = 0
        for chunk in _chunks(pending):
            if poisonous >= MAX_POISONOUS:
                break
            try:
                results = build_items_in_child(chunk, self._defaults, self.context)
                built |= {item.ref: (item, story, each) for (item, story), each in zip(chunk, results, strict=True)}
                continue
            except PoisonousItemError:
                pass  # one of them exceeds a limit: each is built on its own
            for item, story in chunk:
                if poisonous >= MAX_POISONOUS:
                    break
                try:
                    [result] = build_items_in_child([(item, story)], self._defaults, self.context)
                except PoisonousItemError as error:
                    poisonous += 1
                    mend = "shorten it on the site; all other items are taken"
                    result = None, [Problem(item.ref, 1, 1, f"it is set aside: {error}", mend)]
                built[item.ref] = item, story, result
        return built

    def _find_story(self, article: Mapping[str, Any], groups: Mapping[str, str]) -> str | None:
        """Find the story key: the article's own, or by the source's rule, or by links to translations."""
        url: str = article.get("url", "")
        if article.get("story"):
            return str(article["story"])
        if self._defaults.story:
            try:
                match = regex.search(self._defaults.story, url, timeout=0.2)
            except TimeoutError:
                match = None
            if match and match[1]:
                return str(match[1])
        return groups.get(normalise_link(url))


def _list_faults(item: CachedItem) -> list[Problem]:
    mend = "correct it on the site"
    return [Problem(item.ref, 1, 1, fault, mend, "warning") for fault in item.data.get("faults", ())]


def _chunks(pending: Sequence[tuple[CachedItem, str | None]]) -> Iterator[list[tuple[CachedItem, str | None]]]:
    chunk: list[tuple[CachedItem, str | None]] = []
    letters = 0
    for item, story in pending:
        chunk.append((item, story))
        letters += len(item.data["article"].get("html", ""))
        if len(chunk) >= _AT_ONCE or letters >= _LETTERS_AT_ONCE:
            yield chunk
            chunk, letters = [], 0
    if chunk:
        yield chunk


def _list_wanted(items: Iterable[SourceItem], cached: Mapping[str, CachedItem]) -> Mapping[str, datetime]:
    """Return the pictures that readers may see, newest items first, with the time when the item was first seen."""
    wanted: dict[str, datetime] = {}
    for item in sorted(items, key=lambda item: item.published or cached[item.ref].seen, reverse=True):
        for url in () if item.withdrawn else picture_urls(item):
            wanted.setdefault(url, cached[item.ref].seen)
    return wanted


def update_cached_item(
    item: CachedItem, article: Article, keys: IdentityKeys, faults: Sequence[str] = ()
) -> CachedItem | None:
    """Return the cached item with the new article, or None if nothing changed."""
    known = [IdentityKeys(*former) for former in item.data["marks"]]
    if keys not in known:
        known = [*known, keys][-10:]
    data = cache_data(article, known, faults)
    return None if data == item.data and not item.gone else CachedItem(item.ref, data, item.seen, item.backlog)


def cache_data(article: Article, known: Sequence[IdentityKeys], faults: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON of a cached item: the article, all identity keys that it ever had, and what was unreadable."""
    fields = article.model_dump(mode="json", exclude_defaults=True)
    marks = [[keys.key, keys.link, keys.title, keys.day] for keys in known]
    return {"article": fields, "marks": marks} | ({"faults": list(faults)} if faults else {})


def group_translations(
    cached: Mapping[str, CachedItem], fallback: str | None, languages: tuple[str, ...]
) -> dict[str, str]:
    """Return a story key for each URL with named translations. Translations that name each other share a key.

    The key is made from the address in the first existing language of `languages`, so it does not depend on the order
    of reading or on the source. A stored story key never changes later (`collect.changes`). `fallback` is the language
    of items that name none.
    """
    parents: dict[str, str] = {}
    ranks: dict[str, int] = {}

    def find_root(link: str) -> str:
        while parents.setdefault(link, link) != link:
            parents[link] = parents[parents[link]]
            link = parents[link]
        return link

    for item in cached.values():
        article = item.data["article"]
        pages = [(fallback or article.get("language") or languages[0], article.get("url", ""))]
        pages += article.get("translations", {}).items()
        links = [(tag, normalise_link(url)) for tag, url in pages]
        if len(links) < 2 or not links[0][1]:
            continue
        for tag, link in links:
            language = match_language(tag, None, languages) if tag else None
            if language is not None:
                ranks[link] = min(languages.index(language), ranks.get(link, len(languages)))
            if link:
                first, second = sorted((find_root(links[0][1]), find_root(link)))
                parents[second] = first
    chosen: dict[str, str] = {}
    for link in sorted(parents, key=lambda link: (ranks.get(link, len(languages)), link)):
        chosen.setdefault(find_root(link), link)
    return {link: _story_key(chosen[find_root(link)]) for link in parents}


def _story_key(link: str) -> str:
    """Make a key as short as an item's name: the path from its last part with letters, and a hash."""
    path = link.partition("?")[0].partition("/")[2]
    parts = path.split("/")
    named = next((place for place in reversed(range(len(parts))) if re.search(r"[^\W\d_]", parts[place])), 0)
    words = re.sub(r"\.(html?|php|aspx?)$", "", "/".join(parts[named:]))
    return f"{shorten_slug(slugify(words or link))}-{short_hash(link)}"
