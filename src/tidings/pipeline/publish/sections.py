"""Plan the pages and feeds of sections: each topic, organisation and kind, in each language.

A file depends only on the items of its section. Older pages are counted from the oldest, so that a new item changes
only the newest page and the feeds of its sections.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from tidings.model.item import Item
from tidings.pipeline.publish.site_files import (
    RENDERERS,
    PublicSite,
    SiteFile,
    feed_date,
    section_keys,
)
from tidings.render.site_views import FeedView, SectionLink, SectionPage
from tidings.render.urls import GROUPS, feed_path, section_path, section_slug

PAGE_ITEMS = 30
"""Number of items on an older page. The newest page has between one and two times as many."""
FEED_ITEMS = 20


def plan_sections(public: PublicSite) -> Iterator[SiteFile]:
    """Yield the pages and feeds of all sections, and the page that lists all sections."""
    for group in GROUPS:
        links = {language: public.sections(language, group) for language in public.languages}
        there: dict[str, list[str]] = {}
        for language, sections in links.items():
            for each in sections:
                there.setdefault(each.slug, []).append(language)
        for language, sections in links.items():
            context = public.context(language)
            index = partial(public.pages.sections_page, context, group, sections)
            yield SiteFile(f"{language}/{group}/index.html", index, basis=(public.languages, tuple(sections)))
            by_slug = _by_section(public, language, group)
            for each in sections:
                items = by_slug[each.slug]
                yield from _plan_pages(public, language, each, items, tuple(there[each.slug]))
                yield from _plan_feeds(public, language, each, items)


def split_pages(count: int, size: int) -> list[tuple[int, slice]]:
    """Split `count` items, newest first, into pages. Returns the number and the range of each page.

    Page 0 has the newest items. The older pages are full, and are counted from the oldest.
    """
    older = max(0, count // size - 1)
    pages = [(0, slice(0, count - older * size))]
    return pages + [
        (number, slice(count - number * size, count - (number - 1) * size)) for number in range(1, older + 1)
    ]


def _by_section(public: PublicSite, language: str, group: str) -> dict[str, list[Item]]:
    """Return all items of each section, newest first, including those that are not public now."""
    own = sorted(
        (item for item in public.items if item.language == language),
        key=lambda item: (item.published, item.changed, item.id),
        reverse=True,
    )
    pairs = [(slug, item) for item in own for slug in {section_slug(key) for key in section_keys(item, group)}]
    pairs.sort(key=lambda pair: pair[0])
    return {slug: [item for _, item in same] for slug, same in groupby(pairs, key=lambda pair: pair[0])}


def _plan_pages(
    public: PublicSite, language: str, link: SectionLink, items: Sequence[Item], languages: tuple[str, ...]
) -> Iterator[SiteFile]:
    shown = [item for item in items if item.is_out(public.now)]
    pages = split_pages(len(shown), PAGE_ITEMS)
    for number, part in pages:
        view = SectionPage(
            link.group, link.slug, link.label, tuple(shown[part]), number, older=len(pages) - 1, languages=languages
        )
        yield SiteFile(
            section_path(language, link.group, link.slug, number) + "index.html",
            public.render_later(public.pages.section_page, public.context(language), view),
            basis=(public.languages, view),
        )


def _plan_feeds(public: PublicSite, language: str, link: SectionLink, items: Sequence[Item]) -> Iterator[SiteFile]:
    site = public.views[language]
    shown = tuple(item for item in items if item.is_out(public.now))[:FEED_ITEMS]
    view = FeedView(
        id=uuid.uuid5(public.identity.id, f"{language}/{link.group}/{link.slug}").urn,
        name=f"{link.group}/{link.slug}",
        title=f"{site.title} – {link.label}",
        items=shown,
        changed=feed_date(items, public.identity, public.now),
        translations={item.id: public.translations_of(item) for item in shown},
        home=section_path(language, link.group, link.slug),
        limit=FEED_ITEMS,
    )
    # Hubs are only notified of the configured feeds: there are too many feeds of sections.
    site = replace(site, hubs=())
    for ending, render in RENDERERS.items():
        yield SiteFile(feed_path(language, view.name, ending), public.render_later(render, view, site), basis=view)
