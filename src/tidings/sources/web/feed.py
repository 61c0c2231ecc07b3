"""RSS, Atom and JSON Feed by address. What leaves its window stays: a feed says nothing of absence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from pydantic import ValidationError

from tidings.net import ConnectionLostError, NotSentError, is_public_host, parse_link_header
from tidings.sources.article import Article
from tidings.sources.base import SourceContext
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.feed_parser import FeedError, ParsedFeed, ParsedFeedItem, parse_feed_in_child
from tidings.sources.web.polite_fetch import AGENT, Response, SourceError, fetch_url
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource

_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.8, */*;q=0.5"


class Settings(WebsiteSettings):
    """A feed of the organisation's website, one language each as a rule."""


class FeedSource(WebSource):
    """Asks by the validators of the last answer, so that an unchanged feed costs the site nothing."""

    def bring(self, state: Mapping[str, Any]) -> SiteUpdate:
        """The entries of the feed; None where it has not changed."""
        url = state.get("moved") or self.settings.url
        reply = fetch_url(self.session, url, _ACCEPT, state, datetime.now(UTC))
        moved = reply.moved or state.get("moved", "")
        if reply.body is None:
            kept = {name: state[name] for name in ("etag", "modified", "hub", "topic") if state.get(name)}
            return SiteUpdate(None, kept | ({"moved": moved} if moved else {}), reply.fresh_for)
        try:
            feed = parse_feed_in_child(reply.body, reply.url, reply.headers)
        except FeedError as error:
            raise SourceError(f"what came from {self.settings.url} cannot be read: {error}") from None
        found = {
            "etag": reply.headers.get("etag", ""),
            "modified": reply.headers.get("last-modified", ""),
            "moved": moved,
            **_hub(reply, feed),
        }
        items = [told for item in feed.items if (told := _told(item)) is not None]
        remark = (
            f"The feed {self.context.name!r} has {feed.more} entries too many; they are left out." if feed.more else ""
        )
        return SiteUpdate(items, {name: value for name, value in found.items() if value}, reply.fresh_for, remark)

    # -- WebSub -------------------------------------------------------------------------------------------------------

    def hub(self) -> tuple[str, str] | None:
        """As the feed named it last; None while this newsroom stands where nobody outside can call it."""
        state = self.context.cache.state()
        if not state.get("hub") or state.get("gone"):
            return None
        host = urlsplit(self.context.url).hostname or ""
        return (state["hub"], state["topic"]) if self.settings.allow_private or is_public_host(host) else None

    def subscribe(self, hub: str, topic: str, callback: str, secret: str, lease: timedelta) -> str:
        """W3C WebSub §5.1. The secret goes to any hub, for it binds what is sent to this subscription."""
        said = {"mode": "subscribe", "topic": topic, "callback": callback, "secret": secret}
        said["lease_seconds"] = str(int(lease.total_seconds()))
        body = urlencode({f"hub.{name}": value for name, value in said.items()}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": AGENT}
        try:
            answer = self.session.post(hub, body, headers)
        except (NotSentError, ConnectionLostError) as error:
            return str(error)
        return "" if answer.status in (202, 204) else f"the hub answered {answer.status}"


def _hub(reply: Response, feed: ParsedFeed) -> dict[str, str]:
    """What the answer names in its head, or else in the feed (§4). The first of several hubs does."""
    links = [
        *parse_link_header(reply.headers.get("link", "")),
        *(("hub", url) for url in feed.hubs),
        ("self", feed.itself),
    ]
    hub, topic = (next((url for rel, url in links if rel == wanted and url), "") for wanted in ("hub", "self"))
    try:
        found = {"hub": urljoin(reply.url, hub), "topic": urljoin(reply.url, topic)}
    except ValueError:
        return {}
    fits = hub and topic and all(len(url) <= 2_000 and url.startswith(("http:", "https:")) for url in found.values())
    return found if fits else {}


def _told(item: ParsedFeedItem) -> FetchedArticle | None:
    """None for an entry that says nothing at all."""
    try:
        article = Article.model_validate(item.article)
    except ValidationError:
        return None
    return FetchedArticle(item.key[:4_000], article) if article.title or article.html else None


def make(settings: Settings, context: SourceContext) -> FeedSource:
    """The source of one name."""
    return FeedSource(settings, context)
