"""Plan the files of public/ from items and configuration. Reads and writes no files."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from tidings.config.settings import FeedSettings, Newsroom
from tidings.model.item import MAIL_COPY, NOTE, Item, Media, needs_mail_copy
from tidings.model.text import one_line
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.render.feeds.json_opml import render_json, render_opml
from tidings.render.feeds.rss_atom import render_atom, render_rss
from tidings.render.i18n import kind_label, load_catalogue, topic_label
from tidings.render.pages.pages import STYLESHEET, PageContext, Pages, choose_front_items
from tidings.render.site_views import MAX_ITEMS, FeedLink, FeedView, SectionLink, SectionPage, SiteView, Translation
from tidings.render.urls import ALL, feed_path, page_path, section_slug
from tidings.store.content.site_files import NewsroomIdentity

MAIL_COPY_BYTES = 1_000_000
RENDERERS = {"rss": render_rss, "atom": render_atom, "json": render_json}


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A file of public/: either a media file to copy, or a function that renders the bytes (None if it cannot now).

    With the same configuration, an equal `basis` means equal bytes. With None, the file is always rendered. Items in a
    basis are compared by version.
    """

    path: str
    render: Callable[[], bytes | None] = bytes
    media: Media | None = None
    basis: object = None
    is_fixed: bool = False
    """Whether the path identifies the bytes, so that an existing file is never made again."""


@dataclass(frozen=True)
class PublicSite:
    """The public content at one moment: the input of every planner of files.

    `items` are all items of the store except notes, including deleted ones. `visible` are the public ones, newest
    first. Planning needs no texts: `add_texts` adds them when a file is rendered (`render_later`). `find_lengths`
    returns the number of characters of summary and body of items, by id.
    """

    newsroom: Newsroom
    items: Sequence[Item]
    visible: Sequence[Item]
    identity: NewsroomIdentity
    now: datetime
    views: Mapping[str, SiteView]
    feeds: tuple[FeedLink, ...]
    pages: Pages
    broken_pictures: set[str]
    """Digests of pictures that cannot be copied for mails. Planning adds to it."""
    add_texts: Callable[[Sequence[Item]], Sequence[Item]]
    find_lengths: Callable[[Sequence[Item]], Mapping[str, tuple[int, int]]]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the site, and those of its items."""
        return tuple(self.views)

    def context(self, language: str) -> PageContext:
        """Return the template context that all pages of a language share."""
        return PageContext(self.views[language], self.feeds)

    @cached_property
    def by_language(self) -> Mapping[str, list[Item]]:
        """The visible items of each language, newest first."""
        by_language: dict[str, list[Item]] = {language: [] for language in self.views}
        for item in self.visible:
            by_language[item.language].append(item)
        return by_language

    def translations_of(self, item: Item) -> tuple[Translation, ...]:
        """Return the other visible items of an item's story."""
        return tuple(
            Translation(other.language, other.title, other.url, other.slug)
            for other in self._stories.get(item.story, ())
            if other.id != item.id
        )

    @cached_property
    def _stories(self) -> Mapping[str, list[Item]]:
        """The visible items of each story, by language."""
        stories: dict[str, list[Item]] = {}
        for item in self.visible:
            stories.setdefault(item.story, []).append(item)
        for items in stories.values():
            items.sort(key=lambda each: each.language)
        return stories

    def render_later(self, render: Callable[..., bytes], *parts: object) -> Callable[[], bytes]:
        """Return a function that calls `render(*parts)`, with texts added to the items."""
        return lambda: render(*(self._with_texts(part) for part in parts))

    def _with_texts(self, part: object) -> object:
        match part:
            case Item():
                return self.add_texts([part])[0]
            case FeedView() | SectionPage():
                return replace(part, items=tuple(self.add_texts(part.items)))
            case [Item(), *_] as items:
                return self.add_texts([item for item in items if isinstance(item, Item)])
        return part

    def sections(self, language: str, group: str) -> list[SectionLink]:
        """Return the topics, organisations or kinds of a language, sorted by label."""
        if (language, group) not in self._sections:
            self._sections[language, group] = _list_sections(self, language, group)
        return self._sections[language, group]

    @cached_property
    def _sections(self) -> dict[tuple[str, str], list[SectionLink]]:
        return {}


def make_public_site(
    newsroom: Newsroom,
    items: Sequence[Item],
    identity: NewsroomIdentity,
    now: datetime,
    *,
    logo_size: tuple[int, int] | None = None,
    broken_pictures: Collection[str] = (),
    add_texts: Callable[[Sequence[Item]], Sequence[Item]] = tuple,
    find_lengths: Callable[[Sequence[Item]], Mapping[str, tuple[int, int]]] | None = None,
) -> PublicSite:
    """Collect the public content at `now`. `items`: all items of the store, including deleted ones."""
    items = [item for item in items if item.kind != NOTE]
    visible = sorted(
        (item for item in items if item.is_out(now)),
        key=lambda item: (item.published, item.changed, item.id),
        reverse=True,
    )
    languages = list(dict.fromkeys([*newsroom.site.languages, *sorted({item.language for item in visible})]))
    return PublicSite(
        newsroom,
        items,
        visible,
        identity,
        now,
        views={language: site_view(newsroom, language, languages, logo_size) for language in languages},
        feeds=tuple(feed for language in languages for feed in feed_links(newsroom, language)),
        pages=Pages(newsroom.root / "templates"),
        broken_pictures=set(broken_pictures),
        add_texts=add_texts,
        find_lengths=find_lengths or (lambda some: {item.id: (len(item.summary), len(item.body)) for item in some}),
    )


def plan_site_files(public: PublicSite) -> Iterator[SiteFile]:
    """Yield the feeds, the pages of items, the front pages, the style sheet and the media."""
    newsroom, items, now, pages = public.newsroom, public.items, public.now, public.pages
    languages = public.languages
    for language in languages:
        frame = public.context(language)
        own = public.by_language[language]
        for name, feed in list_feeds(newsroom).items():
            shown = islice((item for item in own if is_selected(feed, item)), MAX_ITEMS)
            theirs = (item for item in items if item.language == language and is_selected(feed, item))
            yield from plan_feed(public, language, name, tuple(shown), feed_date(theirs, public.identity, now))
        topics, front = public.sections(language, "topics"), choose_front_items(own)
        yield SiteFile(
            page_path(language) + "index.html",
            public.render_later(pages.language_page, frame, front, topics),
            basis=(languages, front, topics),
        )
    # After all feeds, so that a new story is in the feeds before every page has been checked.
    for language in languages:
        frame = public.context(language)
        for item in public.by_language[language]:
            translations = public.translations_of(item)
            page = public.render_later(pages.item_page, frame, item, translations)
            basis = (languages, item, translations)
            yield SiteFile(page_path(language, item.slug) + "index.html", page, basis=basis)
        for item in items:
            if item.language == language and was_withdrawn(item, now):
                page = public.render_later(pages.withdrawn_page, frame, item)
                yield SiteFile(page_path(language, item.slug) + "index.html", page)

    first = public.views[languages[0]]
    frame = public.context(languages[0])
    titles = [(language, public.views[language].title) for language in languages]
    yield SiteFile("feeds.opml", partial(render_opml, first, public.feeds))
    yield SiteFile("index.html", partial(pages.root_page, frame, titles))
    yield SiteFile("404.html", partial(pages.not_found_page, frame))
    yield SiteFile(STYLESHEET, partial(pages.stylesheet, first))
    media = {f"media/{each.digest}/{each.name}": each for item in public.visible for each in item.media}
    if newsroom.logo is not None:
        media[f"media/{newsroom.logo.digest}/{newsroom.logo.name}"] = newsroom.logo
    for path, each in sorted(media.items()):
        yield SiteFile(path, media=each)
        if needs_mail_copy(each):
            if each.digest in public.broken_pictures:
                continue
            copy = partial(_mail_copy, each, public)
            yield SiteFile(path + MAIL_COPY, copy, is_fixed=True)


def plan_feed(
    public: PublicSite, language: str, name: str, items: tuple[Item, ...], changed: datetime
) -> Iterator[SiteFile]:
    """Yield one feed in each format. `changed` is the last significant change of all its items (`feed_date`)."""
    view = FeedView(
        id=uuid.uuid5(public.identity.id, f"{language}/{name}").urn,
        name=name,
        title=_feed_title(public.newsroom, list_feeds(public.newsroom)[name], language),
        items=items,
        changed=changed,
        translations={item.id: public.translations_of(item) for item in items},
    )
    for ending, render in RENDERERS.items():
        file = public.render_later(render, view, public.views[language])
        yield SiteFile(feed_path(language, name, ending), file, basis=view)


def section_keys(item: Item, group: str) -> tuple[str, ...]:
    """Return the sections of a group that an item belongs to."""
    if group == "kinds":
        return (item.kind,)
    return tuple(filter(None, map(one_line, item.topics if group == "topics" else item.organisations)))


def _list_sections(public: PublicSite, language: str, group: str) -> list[SectionLink]:
    names: dict[str, Counter[str]] = {}
    for item in public.by_language[language]:
        found = {section_slug(key): key for key in section_keys(item, group)}
        for slug, key in found.items():
            names.setdefault(slug, Counter())[key] += 1
    sections = []
    for slug, spellings in names.items():
        # The most frequent spelling is used.
        key = min(spellings, key=lambda each: (-spellings[each], each))
        view = public.views[language]
        labels = {"kinds": kind_label(key, language), "topics": one_line(topic_label(key, view.topics))}
        label = labels.get(group) or one_line(key)
        sections.append(SectionLink(group, slug, label, spellings.total()))
    return sorted(sections, key=lambda each: (each.label.casefold(), each.slug))


def site_view(
    newsroom: Newsroom, language: str, languages: Sequence[str], logo_size: tuple[int, int] | None = None
) -> SiteView:
    """Return the site in one language, for templates."""
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
        has_archive=any(settings.public for settings in newsroom.lists.values()),
    )


def feed_links(newsroom: Newsroom, language: str) -> list[FeedLink]:
    """Return the links to all feeds of a language, `all` first."""
    return [
        FeedLink(name, _feed_title(newsroom, feed, language), language, _feed_label(newsroom, feed, language))
        for name, feed in list_feeds(newsroom).items()
    ]


def list_feeds(newsroom: Newsroom) -> Mapping[str, FeedSettings | None]:
    """Return the settings of each feed by name. `all` has no settings."""
    return {ALL: None} | dict(newsroom.feeds)


def _feed_title(newsroom: Newsroom, feed: FeedSettings | None, language: str) -> str:
    site = newsroom.site
    return f"{site.title.get(language, site.languages[0])} – {_feed_label(newsroom, feed, language)}"


def _feed_label(newsroom: Newsroom, feed: FeedSettings | None, language: str) -> str:
    if feed is None:
        return load_catalogue(language).gettext("All news")
    return feed.title.get(language, newsroom.site.languages[0])


def is_selected(feed: FeedSettings | None, item: Item) -> bool:
    """Whether an item belongs to a feed."""
    if feed is None:
        return True
    kinds, topics = feed.select.kinds, feed.select.topics
    return (not kinds or item.kind in kinds) and (not topics or bool(set(topics) & set(item.topics)))


def feed_date(items: Iterable[Item], identity: NewsroomIdentity, now: datetime) -> datetime:
    """Return the last significant change of a feed's items, deletions included, never the build time."""
    moments = []
    for item in items:
        if item.is_out(now):
            moments.append(item.changed)
        elif item.gone_at is not None:
            # An item that was never public changes no date, even if it is deleted.
            if _was_out(item, item.gone_at):
                moments.append(item.gone_at.replace(microsecond=0))
        elif was_withdrawn(item, now):
            moments.append(item.changed)
    return max(moments, default=identity.since)


def _was_out(item: Item, moment: datetime) -> bool:
    return item.out_at is not None and item.out_at <= moment and not item.draft


def was_withdrawn(item: Item, now: datetime) -> bool:
    """Whether a page says that the item was withdrawn."""
    return bool(item.withdrawn) and item.gone_at is None and _was_out(item, now)


def _mail_copy(media: Media, public: PublicSite) -> bytes | None:
    """Make the copy of a picture. If the bytes are intact but are not a picture, it is never tried again."""
    path = media_path(media, public.newsroom.root)
    made = make_mail_copy(path)
    if made is None and _has_digest(path, media.digest):
        public.broken_pictures.add(media.digest)
        return b""
    return made


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest().startswith(digest)
    except OSError:
        return False


def make_mail_copy(path: Path) -> bytes | None:
    """Make the JPEG copy of a picture for mails. Returns None if the file is not a readable picture now."""
    return Thumbnails(path.parent, "").from_file(path, MAIL_COPY_BYTES)


def media_path(media: Media, root: Path) -> Path:
    return root / media.path
