"""Read a listing page and its linked pages, one at a time, for sites without a feed or an API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

from cssselect import SelectorError
from lxml.cssselect import CSSSelector
from pydantic import Field, field_validator

from tidings import __version__
from tidings.child_process import ChildError
from tidings.config.types import Duration, Int, Line
from tidings.sources.article import build_article, short_hash
from tidings.sources.base import SourceContext
from tidings.sources.web.cached_source import FetchedArticle
from tidings.sources.web.page_parser import Selectors, find_links_in_child, parse_page_in_child
from tidings.sources.web.polite_fetch import Response, Robots, SourceError, fetch_url
from tidings.sources.web.source import SiteUpdate, WebsiteSettings, WebSource

_ACCEPT = "text/html, application/xhtml+xml;q=0.9"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ROBOTS_LIFETIME = timedelta(days=1)
_REREAD = timedelta(days=1)
"""Time after which a known page is read again, while the listing links to it."""
MAX_PAGE = 5_000_000
MAX_POISONOUS = 3
"""Most pages of one reading that may exceed a limit. Each takes seconds, so further pages wait for the next reading."""


class Settings(WebsiteSettings):
    """A page of news without a feed. Most pages describe themselves well enough; selectors correct the rest."""

    items: Line = Field(
        default="", description="CSS of the links to the stories; default: links in headings, articles."
    )
    title: Line = Field(default="", description="CSS of the headline; default: the page's metadata, else `h1`.")
    summary: Line = Field(default="", description="CSS of the summary; default: the page's description.")
    body: Line = Field(default="", description="CSS of the text; default: `article`, else `main`.")
    published: Line = Field(default="", description="CSS of the date; default: the page's metadata.")
    image: Line = Field(default="", description="CSS of the picture; default: the page's metadata.")
    tags: Line = Field(default="", description="CSS of the words for topics; default: the page's metadata.")
    remove: Line = Field(default="", description="CSS of parts inside the text that do not belong to it.")
    most: Int = Field(default=30, ge=1, le=100, description="Most stories of one listing.")
    pause: Duration = Field(default=timedelta(seconds=1), description="The time between two requests.")

    @field_validator("items", "title", "summary", "body", "published", "image", "tags", "remove")
    @classmethod
    def _is_css(cls, value: str) -> str:
        if value:
            try:
                CSSSelector(value)
            except SelectorError as error:
                raise ValueError(f"{value!r} is not a CSS selector ({error})") from None
        return value


class PageSource(WebSource):
    """Reads a page once when it is new, and again once a day while the listing links to it."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._page = settings
        self._selectors = Selectors(
            settings.items, settings.title, settings.summary, settings.body, settings.published, settings.image,
            settings.tags, settings.remove,
        )  # fmt: skip
        self._parser_id = short_hash(f"{__version__} {context.zone} {self._selectors}")
        self._has_asked = False

    def read_site(self, state: Mapping[str, Any]) -> SiteUpdate:
        """Read the new and due pages that the listing links to. Other pages stay unchanged."""
        now = max(self.now, _LONG_AGO)
        self._has_asked = False
        robots, kept = self._fetch_robots(state, now)
        # New selectors or a new version of Tidings read all pages again, even if the site did not change them.
        is_same_parser = state.get("by") == self._parser_id
        listing = self._fetch(state.get("moved") or self.settings.url, robots, state if is_same_parser else {})
        moved = listing.moved or state.get("moved", "")
        if listing.body is None and is_same_parser:
            all_links = list(state.get("links", ()))
            kept |= {name: state[name] for name in ("etag", "modified") if state.get(name)}
        else:
            content_type = listing.headers.get("content-type", "")
            try:
                all_links = find_links_in_child(listing.body or b"", listing.url, self._selectors, content_type)
            except ChildError as error:
                raise SourceError(f"the page {self.settings.url} is not read: {error}") from None
            kept |= listing.validators
        links = all_links[: self._page.most]
        if not links:
            mend = "set `items` to the CSS of its links"
            if self._page.items:
                mend = f"`items: {self._page.items}` finds no link to a page of this site"
            raise SourceError(f"{self.settings.url} links to no stories; {mend}")
        read = {url: moment for url, moment in state.get("read", {}).items() if url in links}
        existed = [url for url in state.get("stood", links) if url in links]
        pages = {url: known for url, known in state.get("pages", {}).items() if is_same_parser and url in links}
        articles: list[FetchedArticle] = []
        notes: list[str] = []
        problem, wait = "", timedelta(0)
        poisonous: list[str] = []
        for url in links:
            if url in read and now - datetime.fromisoformat(read[url]) < _REREAD:
                continue
            try:
                response = self._fetch(url, robots, pages.get(url, {}))
            except SourceError as error:
                problem = problem or str(error)
                if error.status == 429 or error.wait:
                    wait = error.wait or timedelta(0)
                    break  # too many requests; most sites say how long to wait
                continue
            read[url] = now.isoformat()
            if response.body is None:
                continue
            pages.pop(url, None)
            content_type = response.headers.get("content-type", "")
            try:
                page = parse_page_in_child(
                    response.body, response.url, self._selectors, self.context.zone, content_type
                )
            except ChildError as error:
                poisonous.append(url)
                notes.append(f"{url}: left out, because {error}")
                if len(poisonous) == MAX_POISONOUS:
                    break
                continue
            notes.append(f"{url}: " + ", ".join(f"{name} by {by}" for name, by in sorted(page.found_by.items())))
            article = build_article(page.article)
            if article is not None and article.title and article.html:
                articles.append(FetchedArticle(url, article, is_old=url in existed))
                if response.validators:
                    pages[url] = response.validators
        self.notes = tuple(notes)
        if problem and not read:
            raise SourceError(problem, wait=wait)
        # Pages of the first listing that could not be read at once do not count as new later.
        kept |= {"read": read, "stood": [url for url in existed if url not in read]}
        kept |= {"by": self._parser_id, "links": all_links, "pages": pages} | ({"moved": moved} if moved else {})
        notice = ""
        if poisonous:
            pages_left = ", ".join(url[:200] for url in poisonous)
            notice = f"The source {self.context.name!r} leaves out pages that take too long to read: {pages_left}"
        return SiteUpdate(articles, kept, max(listing.fresh_for, wait), notice)

    def _fetch_robots(self, state: Mapping[str, Any], now: datetime) -> tuple[Robots, dict[str, Any]]:
        """Read robots.txt once a day (RFC 9309). A missing file allows everything; a server error, nothing."""
        known = state.get("robots")
        if known is None or now - datetime.fromisoformat(known["at"]) > _ROBOTS_LIFETIME:
            url = urljoin(self.settings.url, "/robots.txt")
            try:
                response = fetch_url(self.session, url, "text/plain", {}, datetime.now(UTC))
                text = (response.body or b"")[:500_000].decode("utf-8", "replace")
            except SourceError as error:
                if error.status is None or error.status >= 500:
                    raise
                text = ""
            known = {"at": now.isoformat(), "text": text}
        return Robots(known["text"]), {"robots": known}

    def may_fetch(self, url: str) -> bool:
        """Whether the last robots.txt allows it. Other sites count as allowed, because their robots.txt is not read."""
        robots = Robots(self.context.cache.state().get("robots", {}).get("text", ""))
        return urlsplit(url).netloc != urlsplit(self.settings.url).netloc or robots.allows(url)

    def _fetch(self, url: str, robots: Robots, validators: Mapping[str, Any]) -> Response:
        if not robots.allows(url):
            mend = "ask the site's administrator to allow `Tidings` there, or read its feed (`type: feed`)"
            raise SourceError(f"robots.txt of the site does not allow {url} to be read; {mend}")
        if self._has_asked:
            time.sleep(self._page.pause.total_seconds())
        self._has_asked = True
        response = fetch_url(self.session, url, _ACCEPT, validators, datetime.now(UTC))
        if len(response.body or b"") > MAX_PAGE:
            raise SourceError(f"{url} is larger than {MAX_PAGE // 1_000_000} MB")
        return response


def make(settings: Settings, context: SourceContext) -> PageSource:
    return PageSource(settings, context)
