"""Read RSS, Atom and JSON Feed. Items that leave the feed stay, because a feed shows only its newest items."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tidings.model.plurals import count_noun
from tidings.net import ConnectionLostError, NotSentError, is_public_host, parse_link_header
from tidings.sources.article import build_article
from tidings.sources.base import SourceContext
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.feed_parser import FeedError, ParsedFeed, parse_feed_in_child
from tidings.sources.web.polite_fetch import AGENT, Response, SourceError, fetch_url
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource

_ACCEPT = "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.8, */*;q=0.5"


class Settings(WebsiteSettings):
    """A feed of the organisation's website; most feeds have one language."""


class FeedSource(WebSource):
    """Reads a feed. Sends the validators of the last response, so that an unchanged feed costs the site nothing."""

    def read_site(self, state: Mapping[str, Any]) -> SiteUpdate:
        url = state.get("moved") or self.settings.url
        response = fetch_url(self.session, url, _ACCEPT, state, datetime.now(UTC))
        moved = response.moved or state.get("moved", "")
        if response.body is None:
            kept = {name: state[name] for name in ("etag", "modified", "hub", "topic") if state.get(name)}
            return SiteUpdate(None, kept | ({"moved": moved} if moved else {}), response.fresh_for)
        try:
            feed = parse_feed_in_child(response.body, response.url, response.headers, self.context.zone)
        except FeedError as error:
            raise SourceError(f"the data from {self.settings.url} cannot be read: {error}") from None
        # With validators, the site would not send the missing part again.
        notes = ({} if feed.is_cut else response.validators) | {"moved": moved} | _find_hub(response, feed)
        items = [
            FetchedArticle(item.key[:4_000], article, faults=item.faults)
            for item in feed.items
            if (article := build_article(item.article, may_be_empty=True)) is not None
        ]
        notice = ""
        if feed.more:
            too_many = count_noun(feed.more, "entry", "entries")
            notice = f"The feed {self.context.name!r} has {too_many} too many. They are left out."
        fresh_for = timedelta(0) if feed.is_cut else response.fresh_for
        return SiteUpdate(items, {name: note for name, note in notes.items() if note}, fresh_for, notice)

    # -- WebSub -------------------------------------------------------------------------------------------------------

    def hub(self) -> tuple[str, str] | None:
        """Return the hub and topic that the feed last named. None if no hub can reach this newsroom."""
        state = self.context.cache.state()
        if not state.get("hub") or state.get("gone"):
            return None
        host = urlsplit(self.context.url).hostname or ""
        return (state["hub"], state["topic"]) if self.settings.allow_private or is_public_host(host) else None

    def subscribe(self, hub: str, topic: str, callback: str, secret: str, lease: timedelta) -> str:
        """Subscribe (W3C WebSub §5.1). The secret signs only this subscription, so any hub may have it."""
        fields = {
            "hub.mode": "subscribe",
            "hub.topic": topic,
            "hub.callback": callback,
            "hub.secret": secret,
            "hub.lease_seconds": str(int(lease.total_seconds())),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": AGENT}
        try:
            answer = self.session.post(hub, urlencode(fields).encode(), headers)
        except (NotSentError, ConnectionLostError) as error:
            return str(error)
        return "" if answer.status in (202, 204) else f"the hub answered {answer.status}"


def _find_hub(response: Response, feed: ParsedFeed) -> dict[str, str]:
    """Find hub and topic in the response's headers, else in the feed (WebSub §4). The first of several hubs is used."""
    links = [
        *parse_link_header(response.headers.get("link", "")),
        *(("hub", url) for url in feed.hubs),
        ("self", feed.topic),
    ]
    hub, topic = (next((url for rel, url in links if rel == wanted and url), "") for wanted in ("hub", "self"))
    try:
        urls = {"hub": urljoin(response.url, hub), "topic": urljoin(response.url, topic)}
    except ValueError:
        return {}
    is_valid = all(len(url) <= 2_000 and url.startswith(("http:", "https:")) for url in urls.values())
    return urls if hub and topic and is_valid else {}


def make(settings: Settings, context: SourceContext) -> FeedSource:
    return FeedSource(settings, context)
