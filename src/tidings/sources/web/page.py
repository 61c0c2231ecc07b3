"""A listing page and the pages that it leads to, for sites that offer nothing else; politely, one at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

from cssselect import SelectorError
from lxml.cssselect import CSSSelector
from pydantic import Field, ValidationError, field_validator

from tidings import __version__
from tidings.config.types import Duration, Int, Line
from tidings.sources.article import Article, short_hash
from tidings.sources.base import SourceContext
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.page_parser import Selectors, find_links, parse_page
from tidings.sources.web.polite_fetch import AGENT, Response, SourceError, fetch_url
from tidings.sources.web.robots import Robots
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource

_ACCEPT = "text/html, application/xhtml+xml;q=0.9"
_TOKEN = AGENT.partition(" ")[0]
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ROBOTS = timedelta(days=1)
_AGAIN = timedelta(days=1)
"""A page that is known is read again so often, while the listing leads to it."""
_CUT = {"title": 2_000, "summary": 20_000, "html": 1_000_000, "url": 4_000, "language": 40}
MAX_PAGE = 5_000_000


class Settings(WebsiteSettings):
    """A page of news without a feed. What a page says of itself is enough for most; selectors mend the rest."""

    items: Line = Field(
        default="", description="CSS of the links to the stories; default: links in headings, articles."
    )
    title: Line = Field(default="", description="CSS of the headline; default: as the page says itself, else `h1`.")
    summary: Line = Field(default="", description="CSS of the summary; default: the page's description.")
    body: Line = Field(default="", description="CSS of the text; default: `article`, else `main`.")
    published: Line = Field(default="", description="CSS of the date; default: as the page says itself.")
    image: Line = Field(default="", description="CSS of the picture; default: as the page says itself.")
    tags: Line = Field(default="", description="CSS of the words for topics; default: as the page says itself.")
    remove: Line = Field(default="", description="CSS of what stands in the text and is no part of it.")
    most: Int = Field(default=30, ge=1, le=100, description="Most stories of one listing.")
    pause: Duration = Field(default=timedelta(seconds=1), description="Between two requests.")

    @field_validator("items", "title", "summary", "body", "published", "image", "tags", "remove")
    @classmethod
    def _is_css(cls, value: str) -> str:
        if value:
            try:
                CSSSelector(value)
            except SelectorError as error:
                raise ValueError(f"{value!r} is no CSS selector ({error})") from None
        return value


class PageSource(WebSource):
    """Pages are read once when they are new, and again once a day while the listing leads to them."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._page = settings
        self._selectors = Selectors(
            settings.items, settings.title, settings.summary, settings.body, settings.published, settings.image,
            settings.tags, settings.remove,
        )  # fmt: skip
        self._by = short_hash(f"{__version__} {context.zone} {self._selectors}")
        self._asked = False

    def bring(self, state: Mapping[str, Any]) -> SiteUpdate:
        """The stories that the listing leads to and that are due to be read; the others stand as they are."""
        now = max(self.asked_at, _LONG_AGO)
        self._asked = False
        robots, kept = self._robots(state, now)
        # What was read by other selectors, or by another Tidings, is read anew though the site did not change it.
        same = state.get("by") == self._by
        listing = self._get(state.get("moved") or self.settings.url, robots, state if same else {})
        moved = listing.moved or state.get("moved", "")
        if listing.body is None and same:
            every = list(state.get("links", ()))
            kept |= {name: state[name] for name in ("etag", "modified") if state.get(name)}
        else:
            every = find_links(listing.body or b"", listing.url, self._selectors)
            kept |= _validators(listing)
        links = every[: self._page.most]
        if not links:
            mend = "set `items` to the CSS of its links"
            if self._page.items:
                mend = f"by `items: {self._page.items}` no link to a page of this site is found"
            raise SourceError(f"{self.settings.url} leads to no stories; {mend}")
        read = {url: moment for url, moment in state.get("read", {}).items() if url in links}
        stood = [url for url in state.get("stood", links) if url in links]
        pages = {url: known for url, known in state.get("pages", {}).items() if same and url in links}
        told: list[FetchedArticle] = []
        notes: list[str] = []
        trouble, wait = "", timedelta(0)
        for url in links:
            if url in read and now - datetime.fromisoformat(read[url]) < _AGAIN:
                continue
            try:
                reply = self._get(url, robots, pages.get(url, {}))
            except SourceError as error:
                trouble = trouble or str(error)
                if error.status == 429 or error.wait:
                    wait = error.wait or timedelta(0)
                    break  # it is asked too much, and says for how long as a rule
                continue
            read[url] = now.isoformat()
            if reply.body is None:
                continue
            pages.pop(url, None)
            page = parse_page(reply.body, reply.url, self._selectors, self.context.zone)
            cut = {name: page.article[name][:most] for name, most in _CUT.items() if page.article.get(name)}
            try:
                article = Article.model_validate(page.article | cut)
            except ValidationError:
                trouble = trouble or f"{url} cannot be taken"
                continue
            notes.append(f"{url}: " + ", ".join(f"{name} by {by}" for name, by in sorted(page.found_by.items())))
            if article.title and article.html:
                told.append(FetchedArticle(url, article, old=url in stood))
                if known := _validators(reply):
                    pages[url] = known
        self.notes = tuple(notes)
        if trouble and not read:
            raise SourceError(trouble, wait=wait)
        # What the first listing led to and could not be read then is no news when it can.
        kept |= {"read": read, "stood": [url for url in stood if url not in read]} | ({"moved": moved} if moved else {})
        kept |= {"by": self._by, "links": every, "pages": pages}
        return SiteUpdate(told, kept, max(listing.fresh_for, wait))

    def _robots(self, state: Mapping[str, Any], now: datetime) -> tuple[Robots, dict[str, Any]]:
        """What the site allows (RFC 9309): nothing said is everything allowed, an error of the server is nothing."""
        known = state.get("robots")
        if known is None or now - datetime.fromisoformat(known["at"]) > _ROBOTS:
            try:
                reply = fetch_url(
                    self.session, urljoin(self.settings.url, "/robots.txt"), "text/plain", {}, datetime.now(UTC)
                )
                text = (reply.body or b"")[:500_000].decode("utf-8", "replace")
            except SourceError as error:
                if error.status is None or error.status >= 500:
                    raise
                text = ""
            known = {"at": now.isoformat(), "text": text}
        return Robots(known["text"], _TOKEN), {"robots": known}

    def may_ask(self, url: str) -> bool:
        """As robots.txt was read last; another site's is not known."""
        robots = Robots(self.context.cache.state().get("robots", {}).get("text", ""), _TOKEN)
        return urlsplit(url).netloc != urlsplit(self.settings.url).netloc or robots.allows(url)

    def _get(self, url: str, robots: Robots, known: Mapping[str, Any]) -> Response:
        if not robots.allows(url):
            mend = "whoever keeps the site can let `Tidings` in there, or read its feed (`type: feed`)"
            raise SourceError(f"robots.txt of the site does not allow {url} to be read; {mend}")
        if self._asked:
            time.sleep(self._page.pause.total_seconds())
        self._asked = True
        reply = fetch_url(self.session, url, _ACCEPT, known, datetime.now(UTC))
        if len(reply.body or b"") > MAX_PAGE:
            raise SourceError(f"{url} is larger than {MAX_PAGE // 1_000_000} MB")
        return reply


def _validators(reply: Response) -> dict[str, str]:
    """By which an answer is asked for again (RFC 9110 §13.1), as `ask` takes them."""
    said = {"etag": reply.headers.get("etag", ""), "modified": reply.headers.get("last-modified", "")}
    return {name: value for name, value in said.items() if value}


def make(settings: Settings, context: SourceContext) -> PageSource:
    """The source of one name."""
    return PageSource(settings, context)
