"""Shared parts of sources that read the API of a content system: find changed, existing and deleted items.

Each reading asks for changes since the last known change, by the site's clock. A few times a day it lists all ids.
Then it reads overlooked items, and an hour later checks each missing item. An item is gone only if the site then
refuses it. Once a week everything is read again, because topic names and alt texts change without a sign.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from tidings.config.types import Int
from tidings.sources.base import SourceContext, Sweep
from tidings.sources.json_values import load_json
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.polite_fetch import Response, SourceError, fetch_url
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource, load_moment

MAX_ITEMS = 10_000
"""Most items of one type. No more are read."""
LIST_INTERVAL = timedelta(hours=6)
REREAD_INTERVAL = timedelta(days=7)
CHECK_DELAY = timedelta(hours=1)
"""Time between missing an item and checking whether it is gone."""
OVERLAP = timedelta(minutes=10)
"""A change may be committed some time after its own timestamp."""
MAX_CHECKS = 50
"""Most missing items that are checked in one reading."""
MAX_TRIED = 20
"""Most items of each type in a trial fetch."""
MAX_SECONDS = 300
MAX_BYTES = 300_000_000
REFUSED = (400, 401, 403, 404)
"""HTTP statuses for items that the site does not have or does not show."""
_SETTLED = timedelta(days=2)


class CmsSettings(WebsiteSettings):
    """Settings of all content systems."""

    archive: Int = Field(
        default=1_000,
        ge=0,
        le=MAX_ITEMS,
        description="How many of the newest items of each type are taken at the first reading; older ones stay on the "
        "website alone.",
    )


@dataclass(frozen=True, slots=True)
class CmsItem:
    """One item of a collection. Times are the site's, in UTC, or None if unknown."""

    fetched: FetchedArticle
    created: datetime | None
    changed: datetime | None
    translations: tuple[str, ...] = ()
    """Keys of its translations, if the site names them by id."""


class CmsCollection(ABC):
    """The items of one type, as the API lists them. Every method raises SourceError."""

    name: str
    """Never changes, because it is part of the stored state."""
    prefix: str
    """The start of all its items' keys."""

    @abstractmethod
    def list_newest(self, most: int, after: datetime | None) -> Sequence[CmsItem]:
        """Return at most `most` items, newest first, all published later than `after`."""

    @abstractmethod
    def list_changed(self, changed: datetime, created: datetime | None) -> Sequence[CmsItem]:
        """Return the items that changed after `changed` or were published after `created`."""

    @abstractmethod
    def list_keys(self, after: datetime | None) -> Collection[str]:
        """Return the keys of all items that were published after `after`."""

    @abstractmethod
    def get_items(self, keys: Sequence[str]) -> Sequence[CmsItem]:
        """Return these items, without those that do not exist."""

    @abstractmethod
    def check_item(self, key: str) -> bool:
        """Request one item. Returns whether readers can see it. Raises SourceError if it is gone."""

    def is_published(self, key: str) -> bool:
        try:
            return self.check_item(key)
        except SourceError as error:
            if error.status in (401, 403, 404, 410):
                return False
            raise


class CmsSource(WebSource, ABC):
    """A source that reads the API of a content system. A subclass lists its collections."""

    matches_by_title = False

    def __init__(self, settings: CmsSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._archive = self._most = settings.archive
        self._deadline = 0.0
        self._bytes = 0

    @abstractmethod
    def list_collections(self, state: Mapping[str, Any], kept: dict[str, Any]) -> Sequence[CmsCollection]:
        """Return the collections to read. Notes in `kept` are in the next `state`. Raises SourceError."""

    def list_silent_changes(self, state: Mapping[str, Any], kept: dict[str, Any]) -> Collection[str]:
        """Return the keys of items that changed without a change of their dates."""
        return ()

    # -- requests -----------------------------------------------------------------------------------------------------

    def get(self, url: str, accept: str = "application/json") -> tuple[Any, Response]:
        """Return JSON and its response. Raises SourceError, but never with `gone`, because other parts may exist."""
        if time.monotonic() > self._deadline:
            raise SourceError(f"{self.settings.url} takes more than {MAX_SECONDS // 60} minutes to read")
        try:
            response = fetch_url(self.session, url, accept, {}, datetime.now(UTC))
        except SourceError as error:
            raise SourceError(str(error), wait=error.wait, status=error.status) from None
        body = response.body or b""
        self._bytes += len(body)
        if self._bytes > MAX_BYTES:
            raise SourceError(f"{self.settings.url} sends more than {MAX_BYTES // 1_000_000} MB")
        try:
            return load_json(body), response
        except ValueError as error:
            raise SourceError(f"{self.settings.url} answers with {error}", status=200) from None

    def check_types(self, wanted: Collection[str], existing: Collection[str]) -> None:
        """Raise SourceError if the site lacks a type that the settings name."""
        for name in wanted:
            if name not in existing:
                shown = ", ".join(existing)
                raise SourceError(f"{self.settings.url} has no type {name!r} in its API; it has {shown}")

    # -- reading ------------------------------------------------------------------------------------------------------

    def try_fetch(self, now: datetime) -> Sweep:
        """Show the newest items of each type."""
        self._most = min(MAX_TRIED, self._most)
        try:
            return super().try_fetch(now)
        finally:
            self._most = self._archive

    def read_site(self, state: Mapping[str, Any]) -> SiteUpdate:
        """Read changed and overlooked items, and find deleted ones."""
        self._deadline, self._bytes = time.monotonic() + MAX_SECONDS, 0
        self._snapshot.refresh()
        kept: dict[str, Any] = {name: state[name] for name in ("look", "reread", "missing", "refused") if name in state}
        collections = self.list_collections(state, kept)
        before: Mapping[str, Any] = state.get("collections", {})
        has_begun = "begun" in state
        is_listing = has_begun and (self._is_due(state, "look") or "failures" in state)
        is_rereading = has_begun and self._is_due(state, "reread")
        if not has_begun or is_rereading:
            kept["reread"] = (self.now + REREAD_INTERVAL).isoformat()
        if not has_begun or is_listing:
            kept["look"] = (self.now + LIST_INTERVAL).isoformat()
        known = {key: item.gone for item in self.cached.values() for key in keys_of(item.data)}
        items: dict[str, CmsItem] = {}
        existing: set[str] = set()
        notes = {}
        silent = self.list_silent_changes(state, kept) if has_begun else ()
        for collection in collections:
            note = before.get(collection.name)
            if note is None:
                read, horizon = self._read_archive(collection, is_late=has_begun)
                if read and all(item.fetched.key in items for item in read):
                    raise SourceError(
                        f"{self.settings.url} returns the same items for each language; remove `languages`"
                    )
            else:
                horizon = note.get("horizon")
                read = self._read_changes(collection, note, known, is_rereading=is_rereading)
            for item in read:
                items.setdefault(item.fetched.key, item)
            notes[collection.name] = _make_note(read, note or {}, horizon)
            wanted = {key for key in silent if key.startswith(collection.prefix)}
            if is_listing and note is not None:
                keys = set(collection.list_keys(load_moment(horizon)))
                existing |= keys
                wanted |= {key for key in keys if known.get(key, True)}
            overlooked = collection.get_items(sorted(wanted - set(items)))
            items |= {item.fetched.key: self._mark_if_settled(item) for item in overlooked}
            regrouped = collection.get_items(self._list_regrouped(collection, items))
            items |= {item.fetched.key: item for item in regrouped}
        gone = self._find_gone(collections, existing | set(items), kept, is_listing=is_listing)
        kept["collections"] = notes
        return SiteUpdate([item.fetched for item in items.values()], kept, gone=gone)

    def _read_archive(self, collection: CmsCollection, *, is_late: bool) -> tuple[list[CmsItem], str | None]:
        """Read the newest items. If this type is added later than the others, its items do not count as new."""
        read = list(collection.list_newest(self._most, None)) if self._most else []
        horizon = None
        if len(read) >= self._most:
            horizon = min((item.created for item in read if item.created), default=self.now).isoformat()
        if is_late:
            read = [replace(item, fetched=replace(item.fetched, is_old=True)) for item in read]
        return read, horizon

    def _read_changes(
        self, collection: CmsCollection, note: Mapping[str, Any], known: Collection[str], *, is_rereading: bool
    ) -> list[CmsItem]:
        horizon, changed = load_moment(note.get("horizon")), load_moment(note.get("changed"))
        if is_rereading or changed is None:
            return list(collection.list_newest(MAX_ITEMS, horizon))
        created = load_moment(note.get("created"))
        read = collection.list_changed(changed - OVERLAP, created and created - OVERLAP)
        # An edit does not make an item new that was too old to be taken.
        return [
            item
            for item in read
            if item.fetched.key in known or horizon is None or item.created is None or item.created > horizon
        ]

    def _mark_if_settled(self, item: CmsItem) -> CmsItem:
        """Mark an overlooked item as old if it was neither published nor changed recently."""
        limit = self.now - _SETTLED
        is_settled = all(moment is not None and moment < limit for moment in (item.created, item.changed))
        return replace(item, fetched=replace(item.fetched, is_old=is_settled))

    def _list_regrouped(self, collection: CmsCollection, items: Mapping[str, CmsItem]) -> list[str]:
        """Return keys of these items' translations with another story key: the site reports no change of them."""
        stories = {
            key: item.data["article"].get("story") for item in self.cached.values() for key in keys_of(item.data)
        }
        return sorted(
            key
            for item in items.values()
            for key in item.translations
            if key.startswith(collection.prefix)
            and key not in items
            and stories.get(key, item.fetched.article.story) != item.fetched.article.story
        )

    def _find_gone(
        self, collections: Sequence[CmsCollection], existing: Collection[str], kept: dict[str, Any], *, is_listing: bool
    ) -> list[str]:
        """Return the refs missing from one listing, once all of them are checked.

        Partial reports would hide a mass disappearance (`pipeline.collect.changes`).
        """
        missing: dict[str, str] = dict(kept.get("missing", {}))
        own: dict[str, tuple[CmsCollection, str]] = {}
        for ref, item in self.cached.items():
            keys = [
                (collection, key)
                for key in keys_of(item.data)
                for collection in collections
                if key.startswith(collection.prefix)
            ]
            if keys and not item.gone:
                if any(key in existing for _, key in keys):
                    missing.pop(ref, None)
                elif is_listing:
                    missing.setdefault(ref, self.now.isoformat())
                own[ref] = keys[-1]
        missing = {ref: at for ref, at in missing.items() if ref in own}
        first = min(missing.values(), default=self.now.isoformat())
        is_time = self.now - datetime.fromisoformat(first) >= CHECK_DELAY
        due = [ref for ref, at in missing.items() if at == first and is_time]
        refused = [ref for ref in kept.pop("refused", ()) if ref in due]
        checked = [ref for ref in due if ref not in refused][:MAX_CHECKS]
        published = [ref for ref in checked if own[ref][0].is_published(own[ref][1])]
        gone = [*refused, *(ref for ref in checked if ref not in published)]
        if len(gone) + len(published) < len(due):
            kept["refused"], gone = gone, []
        kept["missing"] = {ref: at for ref, at in missing.items() if ref not in gone + published}
        if gone:
            # Check again soon, so that items that come back are not missing longer than necessary.
            kept["look"] = (self.now + CHECK_DELAY).isoformat()
        return gone

    def _is_due(self, state: Mapping[str, Any], name: str) -> bool:
        moment = load_moment(state.get(name))
        return moment is None or moment <= self.now


def keys_of(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield every id that a cached item ever had on the site."""
    return (keys[0] for keys in data["marks"])


def is_overload(error: SourceError) -> bool:
    """Whether a smaller page may succeed: the answer was too large or too much work for the site."""
    return error.status is None or error.status >= 500


def front_page(url: str) -> str:
    """Return the address of a site's front page, with the slash after which its paths begin."""
    site = urlsplit(url)
    return urlunsplit((site.scheme, site.netloc, site.path.rstrip("/") + "/", "", ""))


def _make_note(read: Sequence[CmsItem], before: Mapping[str, Any], horizon: str | None) -> dict[str, Any]:
    """Return a note with the latest change and the latest publication so far."""
    changed = [moment for moment in (*(item.changed for item in read), load_moment(before.get("changed"))) if moment]
    created = [moment for moment in (*(item.created for item in read), load_moment(before.get("created"))) if moment]
    return {
        "changed": max(changed).isoformat() if changed else None,
        "created": max(created).isoformat() if created else None,
        "horizon": horizon,
    }
