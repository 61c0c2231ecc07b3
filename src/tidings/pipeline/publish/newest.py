"""Plan the feeds that may contain changed items, from the newest items alone, before all items are read.

`plan_site_files` plans the same files again from all items. By then these feeds are unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, tee

from sqlalchemy import Connection

from tidings.config.settings import FeedSettings, Newsroom
from tidings.model.item import Item
from tidings.pipeline.publish.site_files import (
    SiteFile,
    feed_date,
    is_selected,
    list_feeds,
    make_public_site,
    plan_feed,
    was_withdrawn,
)
from tidings.render.site_views import MAX_ITEMS
from tidings.store.content.items import find_changed_languages, load_items, read_changed, read_gone, read_newest
from tidings.store.content.site_files import NewsroomIdentity

LOOKED = 500
"""Number of items to search for one feed. A feed with too few of its items among them is left to the whole plan."""


def plan_newest_feeds(
    connection: Connection,
    newsroom: Newsroom,
    identity: NewsroomIdentity,
    now: datetime,
    since: int | None,
    logo_size: tuple[int, int] | None,
) -> list[SiteFile]:
    """Plan the feeds in the languages of the stories that changed after this version of the items, or in all (None)."""
    languages = set(newsroom.site.languages) if since is None else find_changed_languages(connection, since)
    found = {
        (language, name): feed
        for language in sorted(languages)
        for name, feed in _find_feeds(connection, language, list_feeds(newsroom), identity, now)
    }
    stories = {item.story for items, _ in found.values() for item in items}
    public = make_public_site(newsroom, load_items(connection, stories=stories), identity, now, logo_size=logo_size)
    planned = (
        plan_feed(public, language, name, items, changed)
        for (language, name), (items, changed) in found.items()
        if language in public.views
    )
    return list(chain.from_iterable(planned))


def _find_feeds(
    connection: Connection,
    language: str,
    feeds: Mapping[str, FeedSettings | None],
    identity: NewsroomIdentity,
    now: datetime,
) -> Iterator[tuple[str, tuple[tuple[Item, ...], datetime]]]:
    """Yield the items and the date of each feed of a language, except feeds whose items take too long to find."""
    seen = (item for item in read_changed(connection, language) if item.is_out(now) or was_withdrawn(item, now))
    # Each item is read once for all feeds, and only while a feed needs more items.
    streams = (
        tee(items, len(feeds))
        for items in (read_newest(connection, language, now), seen, read_gone(connection, language))
    )
    for (name, feed), newest, changed, gone in zip(feeds.items(), *streams, strict=True):
        shown = _take(newest, feed, MAX_ITEMS)
        last = _take(changed, feed, 1)
        deleted = _take(gone, feed, 1)
        if shown is not None and last is not None and deleted is not None:
            yield name, (shown, feed_date([*last, *deleted], identity, now))


def _take(items: Iterable[Item], feed: FeedSettings | None, most: int) -> tuple[Item, ...] | None:
    """Return the first items of a feed, at most `most`, or None if the searched items may not be enough."""
    found: list[Item] = []
    for number, item in enumerate(items, 1):
        if is_selected(feed, item):
            found.append(item)
        if len(found) == most:
            break
        if number == LOOKED:
            return None
    return tuple(found)
