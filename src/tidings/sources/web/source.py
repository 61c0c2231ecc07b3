"""What every source on the network has in common: when it asks, what it keeps, how it tells, and how it fares."""

from __future__ import annotations

import hashlib
import json
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

_DAY = timedelta(days=1)
FLOOD = 10
"""More old items than this at once are no news: a site was rebuilt, or opened its archive."""
_OLD = timedelta(days=2)
_SELDOM = timedelta(minutes=1)
"""The least time between two askings, whoever wishes them."""


class WebsiteSettings(CachedSourceSettings):
    """Common to the sources on the network."""

    url: Url = Field(description="Where it is.")
    every: Duration = Field(default=timedelta(minutes=15), description="How often it is asked; a minute at the least.")
    backfill: Int = Field(
        default=0,
        ge=0,
        description="So many of the newest items of the first reading go out; the others are taken as sent.",
    )

    @field_validator("every")
    @classmethod
    def _is_polite(cls, value: timedelta) -> timedelta:
        if value < _SELDOM:
            raise ValueError("a website is asked once a minute at the most; write 1m or more")
        return value


@dataclass(slots=True)
class SiteUpdate:
    """What one asking brought: items, None where nothing changed; and what to remember for the next."""

    items: Sequence[FetchedArticle] | None
    state: dict[str, Any] = field(default_factory=dict)
    fresh_for: timedelta = timedelta(0)
    notice: str = ""
    gone: Collection[str] = ()
    """Refs of what the website has no longer."""


class WebSource(CachedSource, ABC):
    """A source that asks a website; a subclass says how."""

    by_title = True
    """Whether an item whose id and address are new may be known by its title and day."""

    def __init__(self, settings: WebsiteSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.settings = settings
        self.session = GuardedSession(allow_private=settings.allow_private)
        self.notes: tuple[str, ...] = ()
        """Of the last asking: what a person who sets the source up should see."""
        self.asked_at = datetime.min.replace(tzinfo=UTC)
        """When it is asked, by the newsroom's clock."""

    @abstractmethod
    def bring(self, state: Mapping[str, Any]) -> SiteUpdate:
        """Ask the website. `state` is what the last asking remembered. Raises SourceError."""

    # -- the port -----------------------------------------------------------------------------------------------------

    def fetch(self, now: datetime, *, force: bool = False, pinged_at: datetime | None = None) -> FetchResult:
        """Ask if it is due, and put what is new onto the shelf."""
        shelf = self.context.cache
        version, state = shelf.version(), dict(shelf.state())
        if state.get("url") != self.settings.url:
            # Another address is another site as far as anybody knows: what stands there now is no news.
            state = {"url": self.settings.url}
        if not force and not _is_due(state, now) and not _is_called(state, now, pinged_at):
            return FetchResult(False, _moment(state, "due"))
        # Said before it is asked: of two processes one asks, and one that dies in asking does not ask at once again.
        claimed = state | {"due": (now + self.settings.every).isoformat(), "asked": now.isoformat()}
        if not shelf.save(version, claimed):
            return FetchResult(False, _moment(claimed, "due"))
        version += 1
        self.asked_at = now
        try:
            brought = self.bring(state)
        except SourceError as error:
            return self._failed(version, state, now, error)
        self.look()
        first = "begun" not in state
        changed, new, remark = self._sorted_in(brought, state, now)
        due = now + max(self.settings.every, brought.fresh_for)
        kept = {"url": self.settings.url, "begun": state.get("begun") or now.isoformat(), "fetched": now.isoformat()}
        shelf.save(version, kept | brought.state | {"due": due.isoformat()}, changed)
        said = brought.notice or ("" if first else remark)
        return FetchResult(True, due, new=new, changed=len(changed) - new, notice=said)

    def try_fetch(self, now: datetime) -> Sweep:
        """What the website tells at this moment."""
        self.asked_at = now
        try:
            items = self.bring({}).items or ()
        except SourceError as error:
            return Sweep((), (Problem(f"source {self.context.name}", 0, 0, str(error)),), is_readable=False)
        taken: set[str] = set()
        entries = {}
        for one in items:
            mark = self._marks(one)
            ref = _ref(one, mark, taken)
            taken.add(ref)
            entries[ref] = CachedItem(ref, cache_data(one.article, [mark]), now)
        return replace(self.tell(entries), notes=self.notes)

    def health(self, now: datetime) -> SourceHealth:
        """As the shelf has it."""
        self.look()
        state = self.context.cache.state()
        dates = [one.data["article"].get("published") for one in self.cached.values()]
        days = sorted(day for date in dates if date and (day := datetime.fromisoformat(date)) <= now)
        newest = days[-1] if days else None
        return SourceHealth(
            fetched=_moment(state, "fetched"),
            newest=newest,
            due=_moment(state, "due"),
            problem=str(state.get("problem", "")),
            failing_since=_moment(state, "failing_since"),
            is_silent=newest is not None and now - newest > _habit(days),
        )

    def abort(self) -> None:
        """End what is on the wire, and begin nothing more."""
        super().abort()
        self.session.abort()

    def _sorted_in(
        self, brought: SiteUpdate, state: Mapping[str, Any], now: datetime
    ) -> tuple[list[CachedItem], int, str]:
        """Entries to keep, how many of them are new, and what a person should hear."""
        items = brought.items or ()
        told = [self._marks(one) for one in items]
        known = {ref: [IdentityKeys(*each) for each in entry.data["marks"]] for ref, entry in self.cached.items()}
        refs = match_items(told, known)
        changed: list[CachedItem] = []
        new: list[tuple[FetchedArticle, IdentityKeys]] = []
        for one, mark, ref in zip(items, told, refs, strict=True):
            if ref is None:
                new.append((one, mark))
                continue
            entry = update_cached_item(self.cached[ref], _dated(one.article, self.cached[ref]), mark)
            if entry is not None:
                changed.append(entry)
        since = _moment(state, "fetched")
        stood = {id(one) for one, _ in new if one.old}
        old = {id(one) for one, _ in new if since and (one.article.published or now) < since - _OLD} - stood
        if "begun" not in state:
            backlog = _backlog(new, now, self.settings.backfill)
        elif len(old) > FLOOD:
            backlog = stood | old
        else:
            backlog = stood
        taken = set(self.cached)
        for one, mark in new:
            ref = _ref(one, mark, taken)
            taken.add(ref)
            changed.append(CachedItem(ref, cache_data(one.article, [mark]), now, backlog=id(one) in backlog))
        still = {entry.ref for entry in changed}
        lost = (self.cached[ref] for ref in brought.gone if ref in self.cached and ref not in still)
        changed += [replace(entry, gone=True) for entry in lost if not entry.gone]
        remark = ""
        if since and len(old) > FLOOD:
            remark = (
                f"The source {self.context.name!r} shows {len(old)} items at once that are older than its last reading."
                " They are on pages and in feeds, and no edition takes them. A rebuilt site does this."
            )
        return changed, len(new), remark

    def _marks(self, one: FetchedArticle) -> IdentityKeys:
        title = one.article.title if self.by_title or not one.key else ""
        return identity_keys(one.key, one.article.url, title, one.article.published)

    def _failed(self, version: int, state: dict[str, Any], now: datetime, error: SourceError) -> FetchResult:
        """Later each time, a day at the most; what stands on the shelf stays."""
        failures = int(state.get("failures", 0)) + 1
        wait = min(self.settings.every * 2 ** min(failures - 1, 16), max(_DAY, self.settings.every))
        due = now + max(wait, error.wait or timedelta(0))
        state |= {
            "failures": failures,
            "problem": str(error),
            "failing_since": state.get("failing_since") or now.isoformat(),
        }
        state["due"] = None if error.gone else due.isoformat()
        if error.gone:
            state["gone"] = True
        self.context.cache.save(version, state)
        return FetchResult(True, None if error.gone else due, problem=str(error))


def _dated(article: Article, entry: CachedItem) -> Article:
    """With the earliest date that it ever had: dates get bumped, and nothing is new by that."""
    before = Article.model_validate(entry.data["article"])
    dates = [one for one in (before.published, article.published) if one is not None]
    return article.model_copy(update={"published": min(dates, default=None)})


def _is_due(state: Mapping[str, Any], now: datetime) -> bool:
    if state.get("gone"):
        return False
    due = _moment(state, "due")
    return due is None or due <= now


def _is_called(state: Mapping[str, Any], now: datetime, pinged_at: datetime | None) -> bool:
    """Whether a hub has called since; a site that is down, or that is called too often, is left in peace."""
    asked = _moment(state, "asked") or _moment(state, "fetched")
    well = not (state.get("gone") or state.get("failures"))
    return well and pinged_at is not None and asked is not None and pinged_at > asked and now - asked >= _SELDOM


def _moment(state: Mapping[str, Any], name: str) -> datetime | None:
    value = state.get(name)
    return datetime.fromisoformat(value).astimezone(UTC) if value else None


def _ref(one: FetchedArticle, mark: IdentityKeys, taken: set[str]) -> str:
    """Minted once: the item's address as it was first told, for people to recognise."""
    wanted = one.article.url or one.key or mark.title or short_hash(json.dumps(cache_data(one.article, [mark])))
    wanted = wanted[:400]
    if wanted not in taken:
        return wanted
    digest = hashlib.sha256(f"{one.key} {mark.named} {one.article.title}".encode()).hexdigest()
    return next(ref for size in range(6, 65) if (ref := f"{wanted}#{digest[:size]}") not in taken or size == 64)


def _backlog(new: Sequence[tuple[FetchedArticle, IdentityKeys]], now: datetime, backfill: int) -> set[int]:
    """What stood there already, but for the newest `backfill` and what is yet to come out."""
    earliest = datetime.min.replace(tzinfo=UTC)
    out = [one for one, _ in new if (one.article.published or earliest) <= now]
    out.sort(key=lambda one: one.article.published or earliest, reverse=True)
    return {id(one) for one in out[backfill:]}


def _habit(days: Sequence[datetime]) -> timedelta:
    """How long nothing new is no sign of trouble: thrice the longest of its last usual gaps, two days or more."""
    recent = days[-30:]
    gaps = sorted(later - earlier for earlier, later in pairwise(recent))
    if len(gaps) < 5:
        return timedelta(days=90)
    return max(3 * gaps[int(len(gaps) * 0.9)], timedelta(days=2))
