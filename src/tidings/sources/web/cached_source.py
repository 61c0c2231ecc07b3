"""What every source that keeps its items on a shelf has in common: how it tells them, and what it keeps of each."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import regex
from pydantic import Field, field_validator

from tidings.config.adapters import SourceSettings
from tidings.config.types import Bool, Language, Line, Name
from tidings.model.errors import Problem
from tidings.model.item import CachedItem
from tidings.sources.article import Article, build_item, warn_of_missing_alt
from tidings.sources.base import SourceContext, SourceItem, StillPublished, Sweep, none_published
from tidings.sources.fetch_cache import CacheSnapshot
from tidings.sources.pictures.copies import PictureCopies, picture_urls
from tidings.sources.pictures.selection import PictureRecord
from tidings.sources.web.fingerprint import add_fingerprint
from tidings.sources.web.identity import IdentityKeys, normalise_link
from tidings.sources.web.overlay import Overlay, Overlays
from tidings.sources.web.overlay_names import overlay_names
from tidings.sources.web.story_groups import group_translations

_NONE = Overlay()
_Stories = tuple[tuple[str, str, str, str], ...]
_Basis = tuple[Mapping[str, CachedItem], Mapping[str, Overlay], Mapping[str, PictureRecord], _Stories]
BuiltItem = tuple[SourceItem | None, list[Problem]]
"""An entry as an item of ours, or what is wrong with it."""


class CachedSourceSettings(SourceSettings):
    """Common to the sources that are told their items, by asking or by being pushed to."""

    language: Language | None = Field(default=None, description="Of all its items; default: what each says of itself.")
    kind: Line = Field(default="story", description="Of all its items that say none themselves.")
    story: Line | None = Field(
        default=None,
        description="Which items are translations of one another: a regular expression whose first group, found in an "
        "item's address, is the same in each of them, such as `/news/(\\d+)-`.",
    )
    topics: Mapping[str, Name] = Field(
        default_factory=dict, description="Its words for topics, and ours: {Education: sdg-4}."
    )
    allow_private: Bool = Field(
        default=False, description="Permits an address of the intranet or of this machine; others are refused."
    )

    @field_validator("story")
    @classmethod
    def _has_a_group(cls, value: str | None) -> str | None:
        if value:
            try:
                groups = regex.compile(value).groups
            except regex.error as error:
                raise ValueError(f"{value!r} is no regular expression ({error})") from None
            if not groups:
                raise ValueError(f"{value!r} has no group; put what all translations share in brackets: /news/(\\d+)-")
        return value


@dataclass(frozen=True, slots=True)
class FetchedArticle:
    """One item as the website told it, with the id that it gives it."""

    key: str
    article: Article
    old: bool = False
    """It stood there before anybody looked: no news."""


class CachedSource:
    """A source whose items stand on its shelf, and their pictures beside it."""

    def __init__(self, settings: CachedSourceSettings, context: SourceContext) -> None:
        self.context = context
        self._telling = settings
        self._view = CacheSnapshot(context.cache)
        self._overlays = Overlays(context.root)
        self._swept: tuple[_Basis, Sweep] | None = None
        self._told: dict[str, tuple[CachedItem, str | None, BuiltItem]] = {}
        self._telling_now = threading.Lock()
        self._pictures = PictureCopies(context, allow_private=settings.allow_private)
        self._shown: tuple[Mapping[str, CachedItem], Collection[str], Mapping[str, datetime]] = {}, (), {}

    @property
    def cached(self) -> Mapping[str, CachedItem]:
        """As they stood at the last look; never changed in place, for several threads read them."""
        return self._view.items

    def watch_paths(self) -> tuple[()]:
        """Nothing here tells of changes by itself."""
        return ()

    def sweep(self, now: datetime) -> Sweep:
        """What stands on the shelf; asks nobody."""
        with self._telling_now:
            entries = self.look()
            overlays, problems = self._overlays.read()
            stories = self.context.story_index.rows() if overlays else ()
            basis = entries, overlays, self._pictures.look(), stories
            if self._swept is None or self._swept[0] != basis:
                self._swept = basis, self._finished(self.tell(entries), overlays, stories)
            swept = self._swept[1]
        return replace(swept, problems=(*swept.problems, *problems)) if problems else swept

    def look(self) -> Mapping[str, CachedItem]:
        """Take up what changed on the shelf, also by another process."""
        return self._view.refresh()

    def fetch_pictures(
        self, now: datetime, seconds: float, *, force: bool = False, still_published: StillPublished = none_published
    ) -> int:
        """Ask for pictures of what stands on the shelf, or in the newsroom (`sources.base.PictureSource`)."""
        with self._telling_now:
            entries = self.look()
            held = still_published([ref for ref, entry in entries.items() if entry.gone])
            if self._shown[0] is not entries or self._shown[1] != held:
                there = {**entries, **{ref: replace(entries[ref], gone=False) for ref in held}}
                self._shown = entries, held, _shown(self.tell(there).items, entries)
            wanted = self._shown[2]
        return self._pictures.bring(wanted, now, seconds, force=force, allowed=self.may_ask)

    def may_ask(self, url: str) -> bool:
        """Whether the website lets a picture be read."""
        return True

    def abort(self) -> None:
        """End what is on the wire, and begin nothing more."""
        self._pictures.abort()

    def _finished(self, swept: Sweep, overlays: Mapping[str, Overlay], stories: _Stories) -> Sweep:
        """With the editor's hand over it, and our copies of its pictures."""
        found: list[SourceItem] = []
        problems = list(swept.problems)
        names = overlay_names(swept.items, self.context.name, stories) if overlays else {}
        for one in swept.items:
            overlay = next((overlays[name] for name in names.get(one.ref, ()) if name in overlays), _NONE)
            described = {warn_of_missing_alt(one, src) for src, alt in overlay.alt.items() if alt}
            problems = [problem for problem in problems if problem not in described] if described else problems
            finished, missed = self._pictures.placed(one if overlay is _NONE else overlay.over(one))
            problems += missed
            found.append(one if finished is one else add_fingerprint(finished))
        return replace(swept, items=tuple(found), problems=tuple(problems))

    def tell(self, entries: Mapping[str, CachedItem]) -> Sweep:
        """Each entry that is not gone, as an item of ours, or what is wrong with it; unchanged ones cost nothing."""
        groups = group_translations(entries, self._telling.language, self.context.languages)
        told: dict[str, tuple[CachedItem, str | None, BuiltItem]] = {}
        for ref, entry in sorted(entries.items()):
            if entry.gone:
                continue
            story = self._story(entry.data["article"], groups)
            before = self._told.get(ref)
            if before is not None and before[0] is entry and before[1] == story:
                told[ref] = before
            else:
                article = Article.model_validate(entry.data["article"])
                told[ref] = entry, story, build_item(article, entry, self._telling, self.context, story)
        self._told = told
        ones = {ref: one for ref, (_, _, one) in told.items()}
        return Sweep(
            tuple(found for found, _ in ones.values() if found is not None),
            tuple(problem for _, problems in ones.values() for problem in problems),
            tuple(ref for ref, (found, _) in ones.items() if found is None),
        )

    def _story(self, article: Mapping[str, Any], groups: Mapping[str, str]) -> str | None:
        """The key of its story: as it says itself, by the source's rule, or by its links to its translations."""
        url: str = article.get("url", "")
        if article.get("story"):
            return str(article["story"])
        if self._telling.story:
            try:
                match = regex.search(self._telling.story, url, timeout=0.2)
            except TimeoutError:
                match = None
            if match and match[1]:
                return str(match[1])
        return groups.get(normalise_link(url))


def _shown(found: Iterable[SourceItem], entries: Mapping[str, CachedItem]) -> Mapping[str, datetime]:
    """The pictures of what readers may come to see, the newest first; and when the item of each was first met."""
    wanted: dict[str, datetime] = {}
    for one in sorted(found, key=lambda one: one.published or entries[one.ref].seen, reverse=True):
        for url in () if one.withdrawn else picture_urls(one):
            wanted.setdefault(url, entries[one.ref].seen)
    return wanted


def update_cached_item(entry: CachedItem, article: Article, mark: IdentityKeys) -> CachedItem | None:
    """The entry with what is told of it now; None if nothing is new."""
    former = [IdentityKeys(*each) for each in entry.data["marks"]]
    if mark not in former:
        former = [*former, mark][-10:]
    data = cache_data(article, former)
    return None if data == entry.data and not entry.gone else CachedItem(entry.ref, data, entry.seen, entry.backlog)


def cache_data(article: Article, known: Sequence[IdentityKeys]) -> dict[str, Any]:
    """As it stands on the shelf: JSON."""
    told = article.model_dump(mode="json", exclude_defaults=True)
    return {"article": told, "marks": [[one.key, one.link, one.title, one.day] for one in known]}
