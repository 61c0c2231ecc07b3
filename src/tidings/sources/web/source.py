"""Shared parts of sources that read a website: times of requests, new items, and health."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from pydantic import Field, field_validator

from tidings.config.types import Duration, Int, Url
from tidings.model.errors import Problem
from tidings.model.item import CachedItem
from tidings.net import GuardedSession
from tidings.sources.article import Article, short_hash
from tidings.sources.base import FetchResult, SourceContext, SourceHealth, Sweep
from tidings.sources.web.cached_source import (
    CachedSource,
    CachedSourceSettings,
    FetchedArticle,
    cache_data,
    update_cached_item,
)
from tidings.sources.web.identity import IdentityKeys, identity_keys, match_items
from tidings.sources.web.polite_fetch import SourceError

log = logging.getLogger("tidings.sources")
FLOOD = 10
"""If more old items than this appear at once, they do not count as new: the site was rebuilt, or opened its archive."""
_DAY = timedelta(days=1)
_OLD = timedelta(days=2)
_MIN_INTERVAL = timedelta(minutes=1)
"""Shortest time between two fetches, even if a hub pings more often."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class WebsiteSettings(CachedSourceSettings):
    """Settings of all sources that read a website."""

    url: Url = Field(description="Its address.")
    every: Duration = Field(default=timedelta(minutes=15), description="How often the website is asked; at least 1m.")
    backfill: Int = Field(
        default=0,
        ge=0,
        description="How many of the newest items of the first reading are sent; the others count as sent.",
    )

    @field_validator("every")
    @classmethod
    def _is_polite(cls, value: timedelta) -> timedelta:
        if value < _MIN_INTERVAL:
            raise ValueError("a website is asked at most once a minute; write 1m or more")
        return value


@dataclass(slots=True)
class SiteUpdate:
    """The result of one reading: the items (None if nothing changed), and the notes for the next reading."""

    items: Sequence[FetchedArticle] | None
    state: dict[str, Any] = field(default_factory=dict)
    fresh_for: timedelta = timedelta(0)
    notice: str = ""
    gone: Collection[str] = ()
    """Refs of items that the website no longer has."""


class WebSource(CachedSource, ABC):
    """A source that reads a website. A subclass implements `read_site`."""

    matches_by_title = True
    """Whether title and day identify an item with a new id and a new address."""

    def __init__(self, settings: WebsiteSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.settings = settings
        self.session = GuardedSession(allow_private=settings.allow_private)
        self.notes: tuple[str, ...] = ()
        """Notes on the last reading, for a person who sets up the source."""
        self.now = _LONG_AGO
        """The newsroom's time of the current reading."""

    @abstractmethod
    def read_site(self, state: Mapping[str, Any]) -> SiteUpdate:
        """Read the website. `state` has the notes of the last reading. Raises SourceError."""

    # -- the port -----------------------------------------------------------------------------------------------------

    def fetch(self, now: datetime, *, force: bool = False, pinged_at: datetime | None = None) -> FetchResult:
        cache = self.context.cache
        version, state = cache.version(), dict(cache.state())
        if state.get("url") != self.settings.url:
            # Another address counts as another site: its current items do not count as new.
            state = {"url": self.settings.url}
        if not force and not _is_due(state, now) and not _is_pinged(state, now, pinged_at):
            return FetchResult(False, load_moment(state.get("due")))
        # Saved before the request: only one of two processes asks, and after a crash the next request waits.
        claimed = state | {"due": (now + self.settings.every).isoformat(), "asked": now.isoformat()}
        if not cache.save(version, claimed):
            return FetchResult(False, load_moment(claimed["due"]))
        version += 1
        self.now = now
        try:
            update = self.read_site(state)
            self._snapshot.refresh()
            changed, new, notice = self._merge(update, state)
        except SourceError as error:
            return self._record_failure(version, state, error)
        except Exception as error:
            # A website may answer anything. This must not stop the other sources, or the mail.
            return self._record_failure(version, state, _misunderstood(error))
        due = now + max(self.settings.every, update.fresh_for)
        kept = {"url": self.settings.url, "begun": state.get("begun") or now.isoformat(), "fetched": now.isoformat()}
        cache.save(version, kept | update.state | {"due": due.isoformat()}, changed)
        if "begun" not in state:
            notice = ""
        return FetchResult(True, due, new=new, changed=len(changed) - new, notice=update.notice or notice)

    def try_fetch(self, now: datetime) -> Sweep:
        self.now = now
        try:
            items = self.read_site({}).items or ()
        except Exception as raised:
            error = raised if isinstance(raised, SourceError) else _misunderstood(raised)
            return Sweep((), (Problem(f"source {self.context.name}", 0, 0, str(error)),), is_readable=False)
        cached: dict[str, CachedItem] = {}
        for item in items:
            keys = self._keys_of(item)
            ref = _make_ref(item, keys, cached)
            cached[ref] = CachedItem(ref, cache_data(item.article, [keys], item.faults), now)
        return replace(self.build_items(cached), notes=self.notes)

    def health(self, now: datetime) -> SourceHealth:
        dates = [item.data["article"].get("published") for item in self._snapshot.refresh().values()]
        days = sorted(day for date in dates if date and (day := datetime.fromisoformat(date)) <= now)
        newest = days[-1] if days else None
        state = self.context.cache.state()
        return SourceHealth(
            fetched=load_moment(state.get("fetched")),
            newest=newest,
            due=load_moment(state.get("due")),
            problem=str(state.get("problem", "")),
            failing_since=load_moment(state.get("failing_since")),
            is_silent=newest is not None and now - newest > _usual_silence(days),
        )

    def abort(self) -> None:
        super().abort()
        self.session.abort()

    def _merge(self, update: SiteUpdate, state: Mapping[str, Any]) -> tuple[list[CachedItem], int, str]:
        """Return the cached items to save, how many of them are new, and a notice for people."""
        items = update.items or ()
        item_keys = [self._keys_of(item) for item in items]
        known = {ref: [IdentityKeys(*keys) for keys in cached.data["marks"]] for ref, cached in self.cached.items()}
        changed: list[CachedItem] = []
        new: list[tuple[FetchedArticle, IdentityKeys]] = []
        for item, keys, ref in zip(items, item_keys, match_items(item_keys, known), strict=True):
            if ref is None:
                new.append((item, keys))
                continue
            cached = self.cached[ref]
            updated = update_cached_item(cached, _keep_earliest_date(item.article, cached), keys, item.faults)
            if updated is not None:
                changed.append(updated)
        since = load_moment(state.get("fetched"))
        existed = {id(item) for item, _ in new if item.is_old}
        old = {id(item) for item, _ in new if since and (item.article.published or self.now) < since - _OLD} - existed
        if "begun" not in state:
            backlog = _choose_backlog(new, self.now, self.settings.backfill)
        else:
            backlog = existed | old if len(old) > FLOOD else existed
        taken = set(self.cached)
        for item, keys in new:
            ref = _make_ref(item, keys, taken)
            taken.add(ref)
            changed.append(
                CachedItem(ref, cache_data(item.article, [keys], item.faults), self.now, backlog=id(item) in backlog)
            )
        present = {item.ref for item in changed}
        lost = (self.cached[ref] for ref in update.gone if ref in self.cached and ref not in present)
        changed += [replace(item, gone=True) for item in lost if not item.gone]
        notice = ""
        if since and len(old) > FLOOD:
            notice = (
                f"The source {self.context.name!r} shows {len(old)} new items that are older than its last reading, as"
                " after a rebuild of the site. They appear on pages and in feeds, but no edition takes them."
            )
        return changed, len(new), notice

    def _keys_of(self, item: FetchedArticle) -> IdentityKeys:
        title = item.article.title if self.matches_by_title or not item.key else ""
        return identity_keys(item.key, item.article.url, title, item.article.published)

    def _record_failure(self, version: int, state: dict[str, Any], error: SourceError) -> FetchResult:
        """Wait longer after each failure, at most a day. The cached items stay."""
        failures = int(state.get("failures", 0)) + 1
        wait = min(self.settings.every * 2 ** min(failures - 1, 16), max(_DAY, self.settings.every))
        due = None if error.gone else self.now + max(wait, error.wait or timedelta(0))
        state |= {
            "failures": failures,
            "problem": str(error),
            "failing_since": state.get("failing_since") or self.now.isoformat(),
            "due": due and due.isoformat(),
        }
        if error.gone:
            state["gone"] = True
        self.context.cache.save(version, state)
        return FetchResult(True, due, problem=str(error))


def _misunderstood(error: Exception) -> SourceError:
    """Return the failure for an answer in an unexpected format. The log has the details for developers."""
    log.warning("the answer of a website could not be understood", exc_info=error)
    return SourceError("the answer does not have the form that this type of source needs")


def _keep_earliest_date(article: Article, cached: CachedItem) -> Article:
    """Use the earliest date that the item ever had, because a newer date does not make the item new."""
    before = Article.model_validate(cached.data["article"])
    dates = [date for date in (before.published, article.published) if date is not None]
    return article.model_copy(update={"published": min(dates, default=None)})


def _is_due(state: Mapping[str, Any], now: datetime) -> bool:
    due = load_moment(state.get("due"))
    return not state.get("gone") and (due is None or due <= now)


def _is_pinged(state: Mapping[str, Any], now: datetime, pinged_at: datetime | None) -> bool:
    """Whether a hub pinged since the last fetch. Failing sites and too frequent pings have to wait."""
    asked = load_moment(state.get("asked") or state.get("fetched"))
    works = not (state.get("gone") or state.get("failures"))
    return works and pinged_at is not None and asked is not None and pinged_at > asked and now - asked >= _MIN_INTERVAL


def load_moment(written: str | None) -> datetime | None:
    """Read a time that a source noted in its state."""
    return datetime.fromisoformat(written).astimezone(UTC) if written else None


def _make_ref(item: FetchedArticle, keys: IdentityKeys, taken: Collection[str]) -> str:
    """Make the permanent ref from the first address of the item, so that people recognise it."""
    ref = item.article.url or item.key or keys.title or short_hash(json.dumps(cache_data(item.article, [keys])))
    ref = ref[:400]
    if ref not in taken:
        return ref
    digest = hashlib.sha256(f"{item.key} {keys.titled_day} {item.article.title}".encode()).hexdigest()
    candidates = (f"{ref}#{digest[:size]}" for size in range(6, 65))
    return next((candidate for candidate in candidates if candidate not in taken), f"{ref}#{digest}")


def _choose_backlog(new: Sequence[tuple[FetchedArticle, IdentityKeys]], now: datetime, backfill: int) -> set[int]:
    """Return the items that already existed, except the newest `backfill` and those not yet published."""
    published = [item for item, _ in new if (item.article.published or _LONG_AGO) <= now]
    published.sort(key=lambda item: item.article.published or _LONG_AGO, reverse=True)
    return {id(item) for item in published[backfill:]}


def _usual_silence(days: Sequence[datetime]) -> timedelta:
    """Return the longest normal silence: three times the longest usual gap, at least two days."""
    recent = days[-30:]
    gaps = sorted(later - earlier for earlier, later in pairwise(recent))
    if len(gaps) < 5:
        return timedelta(days=90)
    return max(3 * gaps[int(len(gaps) * 0.9)], timedelta(days=2))
