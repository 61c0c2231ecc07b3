"""Plan the files of public/ from items and configuration. Touches no file."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from tidings.config.settings import FeedSettings, Newsroom
from tidings.model.item import MAIL_COPY, NOTE, Item, Media, needs_mail_copy
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.render.feeds.json_opml import render_json, render_opml
from tidings.render.feeds.rss_atom import render_atom, render_rss
from tidings.render.i18n import load_catalogue
from tidings.render.pages.pages import STYLESHEET, PageContext, Pages
from tidings.render.site_views import FeedLink, FeedView, SiteView, Translation
from tidings.render.urls import ALL, feed_path, page_path
from tidings.store.content.site_files import NewsroomIdentity

MAIL_COPY_BYTES = 1_000_000
RENDERERS = {"rss": render_rss, "atom": render_atom, "json": render_json}


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A file of public/: the function that renders its bytes (None if it cannot now), or the media file to copy.

    With the same configuration, an equal `basis` gives equal bytes. With None, the file is always rendered.
    """

    path: str
    render: Callable[[], bytes | None] = bytes
    media: Media | None = None
    basis: object = None
    is_fixed: bool = False
    """Whether the path names the bytes: a file that is there is never made again."""


def plan_site_files(
    newsroom: Newsroom,
    items: Sequence[Item],
    identity: NewsroomIdentity,
    now: datetime,
    *,
    logo_size: tuple[int, int] | None = None,
) -> Iterator[SiteFile]:
    """Yield all files that readers may see at `now`. `items`: all items of the store, deleted ones too."""
    items = [item for item in items if item.kind != NOTE]
    visible = sorted(
        (item for item in items if item.is_out(now)),
        key=lambda item: (item.published, item.changed, item.id),
        reverse=True,
    )
    languages = list(dict.fromkeys([*newsroom.site.languages, *sorted({item.language for item in visible})]))
    sites = {language: site_view(newsroom, language, languages, logo_size) for language in languages}
    feeds = tuple(feed for language in languages for feed in feed_links(newsroom, language))
    translations = _translations(visible)
    pages = Pages(newsroom.root / "templates")
    first = sites[languages[0]]

    for language in languages:
        site, frame = sites[language], PageContext(sites[language], feeds)
        own = [item for item in visible if item.language == language]
        for name, feed in _feeds(newsroom).items():
            view = FeedView(
                id=uuid.uuid5(identity.id, f"{language}/{name}").urn,
                name=name,
                title=_feed_title(newsroom, feed, language),
                items=tuple(item for item in own if _selects(feed, item)),
                changed=_feed_date(feed, language, items, identity, now),
                translations=translations,
            )
            for ending, render in RENDERERS.items():
                yield SiteFile(feed_path(language, name, ending), partial(render, view, site))
        yield SiteFile(page_path(language) + "index.html", partial(pages.language_page, frame, own))
        for item in own:
            page = partial(pages.item_page, frame, item, translations[item.id])
            basis = (tuple(languages), item, translations[item.id])
            yield SiteFile(page_path(language, item.slug) + "index.html", page, basis=basis)
        for item in items:
            if item.language == language and _was_withdrawn(item, now):
                yield SiteFile(
                    page_path(language, item.slug) + "index.html", partial(pages.withdrawn_page, frame, item)
                )

    frame = PageContext(first, feeds)
    titles = [(language, sites[language].title) for language in languages]
    yield SiteFile("feeds.opml", partial(render_opml, first, feeds))
    yield SiteFile("index.html", partial(pages.root_page, frame, titles))
    yield SiteFile("404.html", partial(pages.not_found_page, frame))
    yield SiteFile(STYLESHEET, partial(pages.stylesheet, first))
    media = {f"media/{each.digest}/{each.name}": each for item in visible for each in item.media}
    if newsroom.logo is not None:
        media[f"media/{newsroom.logo.digest}/{newsroom.logo.name}"] = newsroom.logo
    for path, each in sorted(media.items()):
        yield SiteFile(path, media=each)
        if needs_mail_copy(each):
            copy = partial(make_mail_copy, media_path(each, newsroom.root))
            yield SiteFile(path + MAIL_COPY, copy, is_fixed=True)


def site_view(
    newsroom: Newsroom, language: str, languages: Sequence[str], logo_size: tuple[int, int] | None = None
) -> SiteView:
    """Return the site in one language, as templates see it."""
    site = newsroom.site
    default = site.languages[0]
    return SiteView(
        title=site.title.get(language, default),
        url=site.url,
        language=language,
        languages=tuple(languages),
        zone=site.timezone,
        colour=site.colour,
        logo_url=newsroom.logo_url,
        logo_width=logo_size[0] if logo_size else None,
        logo_height=logo_size[1] if logo_size else None,
        address=site.address.get(language, default),
        topics={key: name.get(language, default) for key, name in newsroom.topics.items()},
        hubs=tuple(str(getattr(settings, "url", "")) for settings in newsroom.channels.values() if not settings.POSTS),
        can_subscribe=bool(newsroom.mail) and any(settings.public for settings in newsroom.lists.values()),
    )


def feed_links(newsroom: Newsroom, language: str) -> list[FeedLink]:
    """Return the links to all feeds of a language, `all` first."""
    return [
        FeedLink(name, _feed_title(newsroom, feed, language), language, _feed_label(newsroom, feed, language))
        for name, feed in _feeds(newsroom).items()
    ]


def _feeds(newsroom: Newsroom) -> Mapping[str, FeedSettings | None]:
    return {ALL: None} | dict(newsroom.feeds)


def _feed_title(newsroom: Newsroom, feed: FeedSettings | None, language: str) -> str:
    site = newsroom.site
    return f"{site.title.get(language, site.languages[0])} – {_feed_label(newsroom, feed, language)}"


def _feed_label(newsroom: Newsroom, feed: FeedSettings | None, language: str) -> str:
    if feed is None:
        return load_catalogue(language).gettext("All news")
    return feed.title.get(language, newsroom.site.languages[0])


def _selects(feed: FeedSettings | None, item: Item) -> bool:
    if feed is None:
        return True
    kinds, topics = feed.select.kinds, feed.select.topics
    return (not kinds or item.kind in kinds) and (not topics or bool(set(topics) & set(item.topics)))


def _feed_date(
    feed: FeedSettings | None, language: str, items: Sequence[Item], identity: NewsroomIdentity, now: datetime
) -> datetime:
    """Return the last significant change of the feed's items, deletions included, never the build time."""
    moments = []
    for item in items:
        if item.language != language or not _selects(feed, item):
            continue
        if item.is_out(now):
            moments.append(item.changed)
        elif item.gone_at is not None:
            # An item that was never out leaves no trace, not even when it is deleted.
            if _was_out(item, item.gone_at):
                moments.append(item.gone_at.replace(microsecond=0))
        elif _was_withdrawn(item, now):
            moments.append(item.changed)
    return max(moments, default=identity.since)


def _was_out(item: Item, moment: datetime) -> bool:
    return item.out_at is not None and item.out_at <= moment and not item.draft


def _was_withdrawn(item: Item, now: datetime) -> bool:
    return bool(item.withdrawn) and item.gone_at is None and _was_out(item, now)


def _translations(visible: Sequence[Item]) -> dict[str, tuple[Translation, ...]]:
    """Return the other visible items of each item's story, by item id."""
    stories: dict[str, list[Item]] = {}
    for item in visible:
        stories.setdefault(item.story, []).append(item)
    return {
        item.id: tuple(
            Translation(other.language, other.title, other.url, other.slug)
            for other in sorted(stories[item.story], key=lambda each: each.language)
            if other.id != item.id
        )
        for item in visible
    }


def make_mail_copy(path: Path) -> bytes | None:
    """Make the JPEG copy of a picture for mails. None if the file is not a readable picture now."""
    return Thumbnails(path.parent, "").from_file(path, MAIL_COPY_BYTES)


def media_path(media: Media, root: Path) -> Path:
    """Return the path of a media file."""
    return root / media.path
