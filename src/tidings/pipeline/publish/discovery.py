"""Plan the files that help people and machines find pages: the search, the sitemap, robots.txt and icons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, islice

from tidings.model.item import Item
from tidings.pipeline.publish.sections import split_pages
from tidings.pipeline.publish.site_files import PublicSite, SiteFile, media_path
from tidings.render.feeds.calendar import MAX_EVENTS, render_calendar
from tidings.render.feeds.sitemap import (
    MAX_URLS,
    SitemapNews,
    SitemapUrl,
    render_robots,
    render_sitemap,
    render_sitemap_index,
)
from tidings.render.i18n import kind_label, to_zone
from tidings.render.icons import ICONS, render_icon
from tidings.render.pages.pages import SCRIPT
from tidings.render.search_index import render_entries, render_index, split_items
from tidings.render.urls import GROUPS, SEARCH, calendar_path, page_path, search_path, section_path

PAGE_TITLES = 200
"""Number of titles on an older page of the search."""
NEWS_AGE = timedelta(days=2)
"""The greatest age of stories in Google News."""


def plan_discovery(public: PublicSite) -> Iterator[SiteFile]:
    """Yield the search, the sitemap, robots.txt and the icons."""
    for language in public.languages:
        yield from _plan_search(public, language)
        yield from _plan_calendar(public, language)
    yield SiteFile(SCRIPT, public.pages.script, basis="script")
    yield from _plan_sitemap(public)
    yield SiteFile("robots.txt", partial(render_robots, public.newsroom.site.url), basis="robots")
    logo = public.newsroom.logo
    path = media_path(logo, public.newsroom.root) if logo is not None else None
    for name in ICONS:
        yield SiteFile(name, partial(render_icon, name, public.newsroom.site.colour, path), basis="icon")


def _plan_sitemap(public: PublicSite) -> Iterator[SiteFile]:
    """Yield the sitemap, in parts and with an index if it has too many URLs for one file."""
    urls = _urls(public)
    part, following = list(islice(urls, MAX_URLS)), list(islice(urls, MAX_URLS))
    if not following:
        yield SiteFile("sitemap.xml", partial(render_sitemap, part), basis=part)
        return
    addresses: list[str] = []
    while part:
        name = f"sitemap-{len(addresses) + 1}.xml"
        addresses.append(public.newsroom.site.url + name)
        yield SiteFile(name, partial(render_sitemap, part), basis=part)
        part, following = following, list(islice(urls, MAX_URLS))
    yield SiteFile("sitemap.xml", partial(render_sitemap_index, addresses), basis=addresses)


def _plan_search(public: PublicSite, language: str) -> Iterator[SiteFile]:
    """Yield the search page, the older pages with titles, and the index by years."""
    items, site = public.by_language[language], public.views[language]
    pages = split_pages(len(items), PAGE_TITLES)
    for number, part in pages:
        shown = [(item.slug, item.title, item.kind, item.published) for item in items[part]]
        page = public.render_later(
            public.pages.search_page, public.context(language), items[part], number, len(pages) - 1
        )
        basis = (public.languages, shown, len(pages))
        yield SiteFile(search_path(language, number) + "index.html", page, basis=basis)
    names = []
    # From the oldest, so that a new item changes only the last file of its year.
    for year, same in groupby(reversed(items), key=lambda item: to_zone(item.published, site.zone).year):
        in_year = list(same)
        for number, some in enumerate(split_items(in_year, public.find_lengths(in_year)), 1):
            names.append(f"{year}-{number}.json")
            file = f"{SEARCH}/{language}/{names[-1]}"
            yield SiteFile(file, public.render_later(render_entries, some, site), basis=some)
    names.reverse()
    yield SiteFile(f"{SEARCH}/{language}/index.json", partial(render_index, language, names), basis=names)


def _plan_calendar(public: PublicSite, language: str) -> Iterator[SiteFile]:
    """Yield a calendar file for each event, and one for all events of a language. An empty calendar is not valid."""
    site = public.views[language]
    events = [item for item in public.by_language[language] if item.starts is not None]
    for item in events:
        yield SiteFile(
            calendar_path(language, item.slug), public.render_later(render_calendar, [item], site), basis=item
        )
    if events:
        newest = sorted(events, key=lambda item: (item.starts or item.published, item.id))[-MAX_EVENTS:]
        name = f"{site.title} – {kind_label('event', language)}"
        file = public.render_later(partial(render_calendar, name=name), newest, site)
        yield SiteFile(calendar_path(language), file, basis=newest)


def find_news_end(public: PublicSite) -> datetime | None:
    """Return when the next story becomes too old for the news part of the sitemap, or None if it has no stories."""
    return min((item.published + NEWS_AGE for item in public.visible if _is_news(public, item)), default=None)


def _is_news(public: PublicSite, item: Item) -> bool:
    return item.published > public.now - NEWS_AGE and item.url.startswith(public.newsroom.site.url)


def _urls(public: PublicSite) -> Iterator[SitemapUrl]:
    """Yield the pages: first the lists, then the items from the oldest, so that new items change only the end."""
    site = public.newsroom.site.url
    for path in (page_path, *(lambda language, group=group: f"{language}/{group}/" for group in GROUPS), search_path):
        paths = {language: site + path(language) for language in public.languages}
        yield from _in_all_languages(paths)
    for group in GROUPS:
        sections: dict[str, dict[str, str]] = {}
        for language in public.languages:
            for each in public.sections(language, group):
                sections.setdefault(each.slug, {})[language] = site + section_path(language, group, each.slug)
        for _, paths in sorted(sections.items()):
            yield from _in_all_languages(paths)
    for item in reversed(public.visible):
        # The page of an item from another site is a copy. That site's own sitemap lists the original.
        if not item.url.startswith(site):
            continue
        others = public.translations_of(item)
        alternates = {item.language: item.url, **{each.language: each.url for each in others}} if others else {}
        name = public.views[item.language].title
        news = SitemapNews(name, item.language, item.published, item.title) if _is_news(public, item) else None
        yield SitemapUrl(item.url, item.changed, dict(sorted(alternates.items())), news)


def _in_all_languages(paths: dict[str, str]) -> Iterator[SitemapUrl]:
    for url in paths.values():
        yield SitemapUrl(url, alternates=paths if len(paths) > 1 else {})
