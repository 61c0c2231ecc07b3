"""What reading the API of a content system has in common: what changed, what is there at all, what is there no more.

Each reading asks for what changed after the last change that it saw, by the clock of the site. A few times a day it
looks at the ids alone: what was overlooked is read then, and what is missing is asked for by itself an hour later; only
what the site then refuses is gone. Once a week all is read anew: names of topics and texts of pictures change alone.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Collection as Some
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError

from tidings.config.types import Int
from tidings.sources.article import MAX_HTML_LENGTH, Article
from tidings.sources.base import SourceContext, Sweep
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import Response, SourceError, fetch_url
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource

MAX_ITEMS = 10_000
"""Of one type: beyond that nothing is read."""
LOOK = timedelta(hours=6)
REREAD = timedelta(days=7)
APART = timedelta(hours=1)
"""Between missing an item and believing that it is gone."""
OVERLAP = timedelta(minutes=10)
"""A change may be committed a while after the moment that it bears."""
CHECKED = 50
"""So many missing items are asked for by themselves at once."""
TRIED = 20
"""So many of each type a trial shows."""
MAX_SECONDS = 300
MAX_BYTES = 300_000_000
_SETTLED = timedelta(days=2)


class CmsSettings(WebsiteSettings):
    """Common to the content systems."""

    archive: Int = Field(
        default=1_000,
        ge=0,
        le=MAX_ITEMS,
        description="So many of the newest items of each type are taken at the first reading; the older ones stay on "
        "the website alone.",
    )


@dataclass(frozen=True, slots=True)
class CmsItem:
    """One item of a collection. Moments are those of the site, in UTC; None where it does not say."""

    told: FetchedArticle
    created: datetime | None
    changed: datetime | None
    kin: tuple[str, ...] = ()
    """Keys of its translations, as far as the site names them by their ids."""


class CmsCollection(ABC):
    """The items of one type, as the API lists them; `name` is for ever. Every method raises SourceError."""

    name: str
    prefix: str
    """What the keys of its items begin with."""

    @abstractmethod
    def newest(self, most: int, after: datetime | None) -> Sequence[CmsItem]:
        """The newest first, at most so many, and none that was published before `after` or with it."""

    @abstractmethod
    def since(self, changed: datetime, created: datetime | None) -> Sequence[CmsItem]:
        """What was changed after the one moment, or published after the other."""

    @abstractmethod
    def keys(self, after: datetime | None) -> Some[str]:
        """Of all that it holds."""

    @abstractmethod
    def these(self, keys: Sequence[str]) -> Sequence[CmsItem]:
        """Some of them; what is not there is left out."""

    @abstractmethod
    def stands(self, key: str) -> bool:
        """Whether readers can still see it."""


class CmsSource(WebSource, ABC):
    """A source that reads the API of a content system; a subclass says which collections it has."""

    by_title = False

    def __init__(self, settings: CmsSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._archive = self._most = settings.archive
        self._deadline = 0.0
        self._bytes = 0

    @abstractmethod
    def collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> Sequence[CmsCollection]:
        """What there is to read; what it notes in `kept` stands in the next `state`. Raises SourceError."""

    def touched(self, state: Mapping[str, Any], kept: dict[str, Any]) -> Some[str]:
        """Keys of items that changed though they do not say so."""
        return ()

    # -- asking -------------------------------------------------------------------------------------------------------

    def get(self, url: str, accept: str = "application/json") -> tuple[Any, Response]:
        """JSON, and the answer that it came with. Raises SourceError, never as gone for good: other parts may stand."""
        if time.monotonic() > self._deadline:
            raise SourceError(f"{self.settings.url} takes more than {MAX_SECONDS // 60} minutes to read")
        try:
            reply = fetch_url(self.session, url, accept, {}, datetime.now(UTC))
        except SourceError as error:
            raise SourceError(str(error), wait=error.wait, status=error.status) from None
        body = reply.body or b""
        self._bytes += len(body)
        if self._bytes > MAX_BYTES:
            raise SourceError(f"{self.settings.url} sends more than {MAX_BYTES // 1_000_000} MB")
        try:
            return json.loads(body), reply
        except (ValueError, RecursionError):
            raise SourceError(f"{self.settings.url} answers with something that is no JSON", status=200) from None

    # -- what every reading does --------------------------------------------------------------------------------------

    def try_fetch(self, now: datetime) -> Sweep:
        """The newest of each type."""
        self._most = min(TRIED, self._most)
        try:
            return super().try_fetch(now)
        finally:
            self._most = self._archive

    def bring(self, state: Mapping[str, Any]) -> SiteUpdate:
        """What changed, what was overlooked, and what is gone."""
        self._deadline, self._bytes = time.monotonic() + MAX_SECONDS, 0
        self.look()
        kept: dict[str, Any] = {name: state[name] for name in ("look", "reread", "missing", "refused") if name in state}
        collections = self.collections(state, kept)
        before: Mapping[str, Any] = state.get("collections", {})
        looking = "begun" in state and (self._is_due(state, "look") or "failures" in state)
        rereading = "begun" in state and self._is_due(state, "reread")
        if "begun" not in state or rereading:
            kept["reread"] = (self.asked_at + REREAD).isoformat()
        if "begun" not in state or looking:
            kept["look"] = (self.asked_at + LOOK).isoformat()
        known = self._known()
        found: dict[str, CmsItem] = {}
        there: set[str] = set()
        noted = {}
        again = self.touched(state, kept) if "begun" in state else ()
        for one in collections:
            was = before.get(one.name)
            if was is None:
                read, horizon = self._first(one, late="begun" in state)
                if read and all(item.told.key in found for item in read):
                    raise SourceError(
                        f"{self.settings.url} tells the same whatever language it is asked for; take `languages` out"
                    )
            else:
                horizon = was.get("horizon")
                read = self._later(one, was, known, rereading=rereading)
            for item in read:
                found.setdefault(item.told.key, item)
            noted[one.name] = _note(read, was, horizon)
            wanted = {key for key in again if key.startswith(one.prefix)}
            if looking and was is not None:
                keys = set(one.keys(_moment(horizon)))
                there |= keys
                wanted |= {key for key in keys if known.get(key, True)}
            overlooked = one.these(sorted(wanted - set(found)))
            found |= {item.told.key: self._overlooked(item) for item in overlooked}
            found |= {item.told.key: item for item in one.these(self._kin(one, found))}
        gone = self._gone(collections, there | set(found), kept, looking=looking)
        kept["collections"] = noted
        return SiteUpdate([item.told for item in found.values()], kept, gone=gone)

    def _first(self, one: CmsCollection, *, late: bool) -> tuple[list[CmsItem], str | None]:
        """The archive; of a type that is read later than the others it is no news."""
        read = list(one.newest(self._most, None)) if self._most else []
        horizon = None
        if len(read) >= self._most:
            horizon = min((item.created for item in read if item.created), default=self.asked_at).isoformat()
        if late:
            read = [replace(item, told=replace(item.told, old=True)) for item in read]
        return read, horizon

    def _later(
        self, one: CmsCollection, was: Mapping[str, Any], known: Mapping[str, bool], *, rereading: bool
    ) -> list[CmsItem]:
        horizon, mark = _moment(was.get("horizon")), _moment(was.get("changed"))
        if rereading or mark is None:
            return list(one.newest(MAX_ITEMS, horizon))
        read = one.since(mark - OVERLAP, _earlier(was.get("created")))
        # An edit of what was never taken, for it is too old, makes no news of it.
        return [
            item
            for item in read
            if item.told.key in known or horizon is None or item.created is None or item.created > horizon
        ]

    def _overlooked(self, item: CmsItem) -> CmsItem:
        """What neither was published nor changed of late came back or was passed over, and is no news."""
        early = self.asked_at - _SETTLED
        settled = all(moment is not None and moment < early for moment in (item.created, item.changed))
        return replace(item, told=replace(item.told, old=settled))

    def _kin(self, one: CmsCollection, found: Mapping[str, CmsItem]) -> list[str]:
        """Items that are a translation of what was told now, and do not say so yet: that is no change of theirs."""
        stories = {
            mark[0]: entry.data["article"].get("story")
            for entry in self.cached.values()
            for mark in entry.data["marks"]
        }
        return sorted(
            key
            for item in found.values()
            for key in item.kin
            if key.startswith(one.prefix)
            and key not in found
            and stories.get(key, item.told.article.story) != item.told.article.story
        )

    def _known(self) -> dict[str, bool]:
        """Every id that an item ever had here, and whether that item is gone."""
        return {mark[0]: entry.gone for entry in self.cached.values() for mark in entry.data["marks"]}

    def _gone(
        self, collections: Sequence[CmsCollection], there: Some[str], kept: dict[str, Any], *, looking: bool
    ) -> list[str]:
        """Refs of what the site has no longer: all that one look missed, once each was asked for.

        Told bit by bit, what vanishes in mass would never seem to do so (`pipeline/changes`).
        """
        missing: dict[str, str] = dict(kept.get("missing", {}))
        mine: dict[str, tuple[CmsCollection, str]] = {}
        for ref, entry in self.cached.items():
            keys = [
                (one, mark[0]) for mark in entry.data["marks"] for one in collections if mark[0].startswith(one.prefix)
            ]
            if keys and not entry.gone:
                if any(key in there for _, key in keys):
                    missing.pop(ref, None)
                elif looking:
                    missing.setdefault(ref, self.asked_at.isoformat())
                mine[ref] = keys[-1]
        missing = {ref: at for ref, at in missing.items() if ref in mine}
        eldest = min(missing.values(), default=self.asked_at.isoformat())
        due = [ref for ref, at in missing.items() if at == eldest]
        if self.asked_at - datetime.fromisoformat(eldest) < APART:
            due = []
        refused = [ref for ref in kept.pop("refused", ()) if ref in due]
        asked = [ref for ref in due if ref not in refused][:CHECKED]
        standing = [ref for ref in asked if mine[ref][0].stands(mine[ref][1])]
        gone = [*refused, *(ref for ref in asked if ref not in standing)]
        if len(gone) + len(standing) < len(due):
            kept["refused"], gone = gone, []
        kept["missing"] = {ref: at for ref, at in missing.items() if ref not in gone + standing}
        if gone:
            # If they come back, they are to be missed no longer than needed.
            kept["look"] = (self.asked_at + APART).isoformat()
        return gone

    def _is_due(self, state: Mapping[str, Any], name: str) -> bool:
        moment = _moment(state.get(name))
        return moment is None or moment <= self.asked_at


# -- what both systems need -------------------------------------------------------------------------------------------


def build_article(fields: Mapping[str, Any]) -> Article | None:
    """Within the limits of `Article`: what goes beyond them is cut. None where even so it cannot be taken."""
    most = {"url": 4_000, "language": 40, "kind": 60, "summary": 20_000, "html": MAX_HTML_LENGTH}
    made = {name: value[: most.get(name, 2_000)] if isinstance(value, str) else value for name, value in fields.items()}
    for name in ("topics", "authors"):
        made[name] = [one[:2_000] for one in fields.get(name, ()) if one][:100]
    for name in ("images", "attachments"):
        some = [one for one in fields.get(name, ()) if one["src"] and len(one["src"]) <= 4_000][:100]
        made[name] = [{key: text if key == "src" else text[:2_000] for key, text in one.items()} for one in some]
    try:
        article = Article.model_validate(made)
    except ValidationError:
        return None
    return article if article.title or article.html else None


def front_page(url: str) -> str:
    """The front page of a site, with the slash after which its paths begin."""
    site = urlsplit(url)
    return urlunsplit((site.scheme, site.netloc, site.path.rstrip("/") + "/", "", ""))


def as_text(value: Any) -> str:
    """A string, or nothing."""
    return value if isinstance(value, str) else ""


def as_mapping(value: Any) -> Mapping[str, Any]:
    """An object of JSON, or an empty one: PHP writes an empty one as a list."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, or of a map."""
    some: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in some if isinstance(one, dict)]


def parse_utc(value: Any) -> datetime | None:
    """A moment of the API, which is in UTC where it names no offset; None for one that no calendar has."""
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        return None
    if not 1900 <= moment.year <= 2200:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def _earlier(written: str | None) -> datetime | None:
    moment = _moment(written)
    return moment - OVERLAP if moment else None


def _note(read: Sequence[CmsItem], was: Mapping[str, Any] | None, horizon: str | None) -> dict[str, Any]:
    """The latest change and the latest publication that were seen so far."""
    before = was or {}
    changed = [moment for moment in (*(one.changed for one in read), _moment(before.get("changed"))) if moment]
    created = [moment for moment in (*(one.created for one in read), _moment(before.get("created"))) if moment]
    return {
        "changed": max(changed).isoformat() if changed else None,
        "created": max(created).isoformat() if created else None,
        "horizon": horizon,
    }
