"""What every source that keeps its items on a shelf has in common: how it tells them, and what it keeps of each."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import regex
from pydantic import Field, field_validator

from tidings.config.adapters import SourceSettings
from tidings.config.types import Language, Line, Name
from tidings.model.problem import Problem
from tidings.model.shelf import Entry
from tidings.sources.article import Article, tell
from tidings.sources.base import Found, SourceContext, Sweep
from tidings.sources.fingerprint import with_fingerprint
from tidings.sources.identity import Marks, plain_link
from tidings.sources.overlay import Overlay, Overlays

One = tuple[Found | None, list[Problem]]
"""An entry as an item of ours, or what is wrong with it."""


class ShelvedSettings(SourceSettings):
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
class Told:
    """One item as the website told it, with the id that it gives it."""

    key: str
    article: Article
    old: bool = False
    """It stood there before anybody looked: no news."""


class ShelvedSource:
    """A source whose items stand on its shelf."""

    def __init__(self, settings: ShelvedSettings, context: SourceContext) -> None:
        self.context = context
        self._telling = settings
        self._version = 0
        self._looking = threading.Lock()
        self.entries: Mapping[str, Entry] = {}
        """As they stood at the last look; never changed in place, for several threads read them."""
        self._overlays = Overlays(context.root)
        self._swept: tuple[Mapping[str, Entry], Mapping[str, Overlay], Sweep] | None = None
        self._told: dict[str, tuple[Entry, str | None, One]] = {}

    def watch_paths(self) -> tuple[()]:
        """Nothing here tells of changes by itself."""
        return ()

    def sweep(self, now: datetime) -> Sweep:
        """What stands on the shelf; asks nobody. Not for two threads at once."""
        self.look()
        entries = self.entries
        overlays, problems = self._overlays.read()
        if self._swept is None or self._swept[0] is not entries or self._swept[1] != overlays:
            swept = self.tell(entries)
            found = tuple(_laid_over(one, overlays) for one in swept.found) if overlays else swept.found
            self._swept = entries, overlays, replace(swept, found=found)
        swept = self._swept[2]
        return replace(swept, problems=(*swept.problems, *problems)) if problems else swept

    def look(self) -> None:
        """Take up what changed on the shelf, also by another process."""
        with self._looking:
            version = self.context.shelf.version()
            if version != self._version:
                changed = {entry.ref: entry for entry in self.context.shelf.entries(self._version)}
                if changed:
                    self.entries = {**self.entries, **changed}
                self._version = version

    def tell(self, entries: Mapping[str, Entry]) -> Sweep:
        """Each entry that is not gone, as an item of ours, or what is wrong with it; unchanged ones cost nothing."""
        groups = _groups(entries)
        told: dict[str, tuple[Entry, str | None, One]] = {}
        for ref, entry in sorted(entries.items()):
            if entry.gone:
                continue
            story = self._story(entry.data["article"], groups)
            before = self._told.get(ref)
            if before is not None and before[0] is entry and before[1] == story:
                told[ref] = before
            else:
                article = Article.model_validate(entry.data["article"])
                told[ref] = entry, story, tell(article, entry, self._telling, self.context, story)
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
        return groups.get(plain_link(url))


def _laid_over(found: Found, overlays: Mapping[str, Overlay]) -> Found:
    overlay = overlays.get(found.story or found.name)
    return with_fingerprint(overlay.over(found)) if overlay is not None else found


def again(entry: Entry, article: Article, mark: Marks) -> Entry | None:
    """The entry with what is told of it now; None if nothing is new."""
    former = [Marks(*each) for each in entry.data["marks"]]
    if mark not in former:
        former = [*former, mark][-10:]
    data = data_of(article, former)
    return None if data == entry.data and not entry.gone else Entry(entry.ref, data, entry.seen, entry.backlog)


def data_of(article: Article, known: Sequence[Marks]) -> dict[str, Any]:
    """As it stands on the shelf: JSON."""
    told = article.model_dump(mode="json", exclude_defaults=True)
    return {"article": told, "marks": [[one.key, one.link, one.title, one.day] for one in known]}


def _groups(entries: Mapping[str, Entry]) -> dict[str, str]:
    """A key for each address whose item names its translations, the same for all that name one another."""
    parent: dict[str, str] = {}

    def root(link: str) -> str:
        while parent.setdefault(link, link) != link:
            parent[link] = parent[parent[link]]
            link = parent[link]
        return link

    for entry in entries.values():
        article = entry.data["article"]
        links = [plain_link(url) for url in (article.get("url", ""), *article.get("translations", {}).values())]
        if len(links) > 1 and links[0]:
            for link in filter(None, links[1:]):
                one, other = sorted((root(links[0]), root(link)))
                parent[other] = one
    return {link: root(link) for link in parent}
