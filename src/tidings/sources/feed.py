"""RSS, Atom and JSON Feed by address. What leaves its window stays: a feed says nothing of absence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from tidings.sources.article import Article
from tidings.sources.asking import SourceError, ask
from tidings.sources.base import SourceContext
from tidings.sources.feed_reading import FeedError, FeedItem, read_apart
from tidings.sources.shelved import Told
from tidings.sources.website import Brought, WebsiteSettings, WebSource

_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.8, */*;q=0.5"


class Settings(WebsiteSettings):
    """A feed of the organisation's website, one language each as a rule."""


class FeedSource(WebSource):
    """Asks by the validators of the last answer, so that an unchanged feed costs the site nothing."""

    def bring(self, state: Mapping[str, Any]) -> Brought:
        """The entries of the feed; None where it has not changed."""
        url = state.get("moved") or self.settings.url
        reply = ask(self.session, url, _ACCEPT, state, datetime.now(UTC))
        moved = reply.moved or state.get("moved", "")
        if reply.body is None:
            kept = {name: state[name] for name in ("etag", "modified") if state.get(name)}
            return Brought(None, kept | ({"moved": moved} if moved else {}), reply.fresh_for)
        try:
            feed = read_apart(reply.body, reply.url, reply.headers)
        except FeedError as error:
            raise SourceError(f"what came from {self.settings.url} cannot be read: {error}") from None
        found = {
            "etag": reply.headers.get("etag", ""),
            "modified": reply.headers.get("last-modified", ""),
            "moved": moved,
        }
        items = [told for item in feed.items if (told := _told(item)) is not None]
        remark = (
            f"The feed {self.context.name!r} has {feed.more} entries too many; they are left out." if feed.more else ""
        )
        return Brought(items, {name: value for name, value in found.items() if value}, reply.fresh_for, remark)


def _told(item: FeedItem) -> Told | None:
    """None for an entry that says nothing at all."""
    try:
        article = Article.model_validate(item.article)
    except ValidationError:
        return None
    return Told(item.key[:4_000], article) if article.title or article.html else None


def make(settings: Settings, context: SourceContext) -> FeedSource:
    """The source of one name."""
    return FeedSource(settings, context)
