"""`tidings preview` and `tidings test`: what would be sent, as files or as mail to a few addresses."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Connection

from tidings.channels.base import Card, Channel, HasCard
from tidings.config.schedule import ListDelivery, Schedule
from tidings.config.settings import Newsroom
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError, RefusedError
from tidings.model.item import Item
from tidings.model.text import shorten_slug, slugify
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup
from tidings.pipeline.compose.freeze import RenderResult
from tidings.pipeline.compose.mail import load_frozen_document
from tidings.pipeline.compose.posts import channel_languages, missing_translations, split_into_posts
from tidings.pipeline.compose.review import copy_renditions, mark_subject
from tidings.pipeline.compose.select import (
    SegmentFilter,
    Story,
    is_note,
    matches_rules,
    order_stories,
    select_for_segment,
)
from tidings.pipeline.deliver.thumbnails import Thumbnails
from tidings.pipeline.publish.site_files import feed_links, site_view
from tidings.render.mail.digest import MailLayout
from tidings.render.pages.pages import PageContext, Pages
from tidings.render.pages.post_previews import CardPreview, PostPreview, render_post_previews
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import look_ahead
from tidings.sources.base import SourceItem
from tidings.store.content import editions
from tidings.store.content.editions import ShownStory
from tidings.store.content.items import load_items, load_refused
from tidings.store.delivery import ledger

_PREVIEW_READER = 2**40
"""The subscriber's number in previews: no subscriber has it."""
_MAX_PICTURE = 400_000
"""Bytes of a picture file for the page."""


@dataclass(frozen=True, slots=True)
class PreviewedMessage:
    """One mail or post with its bytes and the gates that it fails."""

    name: str
    outlet: str
    language: str
    data: bytes
    is_mail: bool
    note: str = ""
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    post: PostPreview | None = None
    picture: bytes = b""
    """The picture of the post's card."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield (file name, content): .eml, .html and .txt of a mail; .json, .txt and perhaps .jpg of a post."""
        if not self.is_mail:
            yield f"{self.name}.json", self.data
            yield f"{self.name}.txt", self.note.encode() + b"\n"
            if self.picture:
                yield f"{self.name}.jpg", self.picture
            return
        yield f"{self.name}.eml", self.data
        message = email.message_from_bytes(self.data, policy=email.policy.default)
        for kind, ending in (("html", "html"), ("plain", "txt")):
            part = message.get_body((kind,))
            if part is not None:
                yield f"{self.name}.{ending}", part.get_content().encode()


def preview_schedule(
    runtime: Runtime, schedule: Schedule, now: datetime, language: str | None
) -> list[PreviewedMessage]:
    """Render what a reader of every topic would get now. If nothing is new, the newest stories are used."""
    with runtime.store.read() as connection:
        draft, edition = _make_draft(runtime, connection, schedule, now)
        views = _PostViews(runtime.newsroom, load_items(connection))
    messages: list[PreviewedMessage] = []
    for rendered in _render(runtime, draft, edition, language):
        part = max((group.part for group in rendered.groups.values()), default=0)
        messages += _preview(runtime, views, rendered, edition, part, _describe_waiting(runtime, draft, rendered))
    return messages


def _describe_waiting(runtime: Runtime, draft: EditionDraft, rendered: RenderResult) -> str:
    """Return a note about the stories of a post that wait for a translation."""
    kind, _, name = rendered.outlet.partition(":")
    if kind != "channel":
        return ""
    languages = channel_languages(runtime.newsroom, name)
    patience = runtime.newsroom.channels[name].wait_for_translations
    stories = dict.fromkeys(key for group in rendered.groups.values() for key in group.selection.stories)
    late = {key: missing_translations(draft.all_stories[key], languages, patience, draft.now) for key in stories}
    return "; ".join(
        f"{key} waits for its translation in {', '.join(missing)}" for key, missing in late.items() if missing
    )


def preview_edition(runtime: Runtime, edition: Edition, language: str | None) -> list[PreviewedMessage]:
    """Return the frozen messages of an edition: for each outlet and language, the message with most stories."""
    messages: list[PreviewedMessage] = []
    with runtime.store.read() as connection:
        views = _PostViews(runtime.newsroom, load_items(connection))
        parts = editions.thread_parts(connection, edition.id)
        for rendition in editions.list_renditions(connection, edition.id):
            if language is not None and rendition.language != language:
                continue
            chosen = editions.rendition_arrangements(connection, rendition.id)
            rendered = RenderResult(
                rendition.outlet,
                rendition.language,
                rendition.story,
                rendition.raw if rendition.outlet.startswith("channel:") else rendition.document,
                {str(number): arrangement for number, arrangement in chosen.items()},
                {},
            )
            messages += _preview(runtime, views, rendered, edition, parts.get(rendition.id, 0))
    return messages


@dataclass(frozen=True, slots=True)
class StoryPreview:
    """A story that is not saved yet: its page, and its mails and posts by the schedules that would take it."""

    page: bytes
    messages: tuple[PreviewedMessage, ...]
    embed: Callable[[bytes], bytes]
    """Puts the story's pictures into HTML as data: their addresses are not served yet."""
    problem: str = ""
    """Why the mails and posts cannot be shown."""


def preview_story(runtime: Runtime, swept: SourceItem, now: datetime) -> StoryPreview:
    """Show a story as if it were out now. Reads the store, and changes nothing.

    Each list and channel is shown once, by the first schedule whose rules the story fits.
    """
    item = _as_item(runtime, swept, now)
    newsroom = runtime.newsroom
    languages = list(dict.fromkeys([*newsroom.site.languages, item.language]))
    feeds = tuple(feed for language in languages for feed in feed_links(newsroom, language))
    context = PageContext(site_view(newsroom, item.language, languages), feeds)
    page = Pages(newsroom.root / "templates").item_page(context, item, ())
    page = page.replace(b'="../../', b'="%s' % context.root_path.encode())
    story = Story(item.story, {item.language: item})
    messages: list[PreviewedMessage] = []
    shown: set[str] = set()
    problem = ""
    views = _PostViews(newsroom, [item])
    for schedule in newsroom.schedules.values():
        parts = [part for part in schedule.deliver if part.outlet not in shown]
        if not parts or not matches_rules(story, schedule.select):
            continue
        shown |= {part.outlet for part in parts}
        draft = EditionDraft(
            schedule.model_copy(update={"deliver": tuple(parts)}), 0, now, (story,), (), {story.key: story}
        )
        edition = Edition(0, schedule.name, 1, None, now, now, EditionState.HELD)
        try:
            for rendered in _render(runtime, draft, edition, item.language):
                messages += _preview(runtime, views, rendered, edition, 0)
        except (InputError, ValueError) as error:
            problem = str(error)
    show = make_picture_embedder(runtime, [item])
    return StoryPreview(show(page), tuple(messages), show, problem)


def _as_item(runtime: Runtime, swept: SourceItem, now: datetime) -> Item:
    """Return the item that readers would see if the text were saved, ready and out now."""
    moment = now.replace(microsecond=0)
    slug = shorten_slug(slugify(swept.name))
    published = min(swept.published or moment, moment)
    content = swept.content() | {"embargo": None, "expires": None, "draft": False, "withdrawn": ""}
    return Item(
        **content, id=swept.explicit_id or "preview", story=swept.story or slug, slug=slug,
        url=swept.url or f"{runtime.newsroom.site.url}{swept.language}/{slug}/", source="", published=published,
        first_seen=moment, changed=moment, out_at=moment, corrected_at=moment if swept.correction else None,
    )  # fmt: skip


def make_picture_embedder(runtime: Runtime, items: Sequence[Item]) -> Callable[[bytes], bytes]:
    """Return a function that puts the pictures of `items` into HTML as data: their addresses are not served yet."""
    root, site = runtime.newsroom.root, urlsplit(runtime.newsroom.site.url)
    path = site.path or "/"
    files = {file.digest: root / file.path for item in items for file in item.media}
    small = Thumbnails(runtime.newsroom.public, runtime.newsroom.site.url)

    def embed(match: re.Match[bytes]) -> bytes:
        file = files.get(match[1].decode())
        data = small.from_file(file, _MAX_PICTURE) if file is not None else None
        return match[0] if not data else b'src="data:image/jpeg;base64,%s"' % base64.b64encode(data)

    address = b'src="(?:%s)?%smedia/([0-9a-f]{16})/[^"/]+"' % (
        re.escape(f"{site.scheme}://{site.netloc}".encode()),
        re.escape(path.encode()),
    )
    return lambda page: re.sub(address, embed, page)


def make_post_pages(messages: Sequence[PreviewedMessage], colour: str) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, content) of a page for each post, and of a page with all posts."""
    posts = {message.name: message.post for message in messages if message.post is not None}
    for name, post in posts.items():
        yield f"{name}.html", render_post_previews(name, [post], colour).encode()
    if posts:
        yield "posts.html", render_post_previews("Posts", list(posts.values()), colour).encode()


def make_picture_localiser(runtime: Runtime) -> Callable[[bytes], bytes]:
    """Return a function that makes a mail's HTML show pictures from local files: their URLs may not be served yet."""
    site = runtime.newsroom.site.url
    with runtime.store.read() as connection:
        paths = {
            f"{site}media/{file.digest}/{quote(file.name, safe='')}": runtime.root / file.path
            for item in load_items(connection)
            for file in item.media
        }
    if runtime.newsroom.logo is not None:
        paths[runtime.newsroom.logo_url] = Path(runtime.newsroom.logo.path)

    def replace_url(match: re.Match[bytes]) -> bytes:
        url = unescape(match[1].decode())
        path = paths.get(url, runtime.newsroom.public / unquote(url.removeprefix(site)))
        return b'src="%s"' % escape(path.resolve().as_uri()).encode() if path.is_file() else match[0]

    return lambda page: re.sub(rb'src="(%smedia/[0-9a-f]{16}/[^"/]+)"' % re.escape(site.encode()), replace_url, page)


def queue_test_mails(
    runtime: Runtime,
    scratch: Runtime,
    schedule: Schedule,
    addresses: Sequence[str],
    now: datetime,
    language: str | None,
    at: datetime | None = None,
) -> tuple[int, int]:
    """Queue the mails of a schedule for these addresses only. Returns the mailing's id and the number of mails.

    They are as at the moment `at`, by default now. Only `scratch` is read for them: the command gives a copy of the
    store, in which it collects first.
    """
    with scratch.store.read() as connection:
        draft, edition = _make_draft(scratch, connection, schedule, at or now)
    rendered = [mail for mail in _render(scratch, draft, edition, language) if mail.outlet.startswith("list:")]
    if not rendered:
        raise RefusedError(f"{schedule.name} delivers to no list, so it has no mail to test. See `tidings preview`.")
    with runtime.store.write() as connection:
        key = f"test:{now.isoformat()}:{editions.newest_rendition_id(connection)}"
        mailing = ledger.get_or_create_mailing(connection, key, "test", schedule=schedule.name, now=now, open=True)
        rows = []
        for number, mail in enumerate(rendered):
            outlet = f"test:{mailing}:{number}"
            rendition = editions.freeze_document(connection, 0, outlet, mail.language, mail.story, mail.raw())
            (arrangement,) = mail.layouts.values()
            arrangement = mark_subject(arrangement, "[Test]", mail.language)
            selection = editions.freeze_selection(connection, rendition, "test", arrangement, list[ShownStory]())
            for index, address in enumerate(addresses):
                rows.append(
                    {
                        "mailing": mailing,
                        "target": f"test:{number}:{index}",
                        "story": mail.story,
                        "purpose": "test",
                        "list": mail.outlet.partition(":")[2],
                        "rendition": rendition,
                        "selection": selection,
                        "at": now,
                        "details": {"address": address, "language": mail.language},
                    }
                )
        return mailing, ledger.add_deliveries(connection, rows)


def queue_edition_test(connection: Connection, edition: Edition, address: str, now: datetime) -> tuple[int, int]:
    """Queue the fullest frozen mail of each list and language of an edition for one address.

    Returns the mailing's id and the number of mails. Nothing counts as sent.
    """
    key = f"test:{edition.id}:{now.isoformat()}:{editions.newest_rendition_id(connection)}"
    mailing = ledger.get_or_create_mailing(connection, key, "test", schedule=edition.schedule, now=now, open=True)
    rows = [
        {
            "mailing": mailing,
            "target": f"test:{number}:0",
            "purpose": "test",
            "list": list_name,
            "rendition": rendition,
            "selection": selection,
            "at": now,
            "details": {"address": address, "language": language},
        }
        for number, (list_name, language, rendition, selection) in enumerate(
            copy_renditions(connection, edition, "test", mailing)
        )
    ]
    return mailing, ledger.add_deliveries(connection, rows)


def _make_draft(
    runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime
) -> tuple[EditionDraft, Edition]:
    """Return the draft to show, with the newest stories if nothing is new, and its edition."""
    draft = look_ahead(runtime, connection, schedule, now)
    if not draft.stories:
        draft = runtime.composer.draft(connection, schedule, now, every=True)
        rules = schedule.select
        stories = [story for story in draft.stories if not is_note(story)]
        newest = sorted(stories, key=lambda story: story.published, reverse=True)[: rules.max_items]
        if not newest:
            refused = load_refused(connection)
            mend = f"{refused[0].ref} has a mistake: see tidings check." if refused else "Add one to content/."
            raise InputError(f"No item that fits {schedule.name} is out yet. {mend}")
        draft = draft.with_stories({story.key for story in order_stories(newest, rules)})
    known = editions.list_editions(connection, schedule=schedule.name)
    number = 1 + max((edition.number for edition in known), default=0)
    return draft, Edition(draft.edition, schedule.name, number, None, now, now, EditionState.HELD)


def _render(runtime: Runtime, draft: EditionDraft, edition: Edition, language: str | None) -> list[RenderResult]:
    """Render as for a new reader of every topic, in each language of the site."""
    newsroom = runtime.newsroom
    groups: list[MessageGroup] = []
    for part in draft.schedule.deliver:
        per_item, notes = part.per == "item", draft.notes if part.per == "edition" else ()
        if isinstance(part, ListDelivery):
            for code in newsroom.site.languages:
                if language not in (None, code):
                    continue
                segment = SegmentFilter(code, tuple(newsroom.lists[part.list].fallback), frozenset(), part.list)
                selection = select_for_segment(draft.stories, segment, draft.schedule.select, notes=notes).selection
                if selection.stories:
                    groups += MessageGroup.split(f"list:{part.list}", selection, per_item=per_item)
            continue
        languages = channel_languages(newsroom, part.channel)
        thread = newsroom.channels[part.channel].translations == "thread"
        segment = SegmentFilter(languages[0], languages[1:], frozenset(), part.channel)
        selection = select_for_segment(draft.stories, segment, draft.schedule.select, notes=notes).selection
        if selection.stories:
            post_groups = split_into_posts(
                f"channel:{part.channel}", selection, draft.all_stories, languages, per_item=per_item, thread=thread
            )
            groups += [group for group in post_groups if language in (None, group.selection.language)]
    return runtime.composer.gates.judge(runtime.composer.render_groups(draft, groups, edition))


def _preview(
    runtime: Runtime, views: _PostViews, rendered: RenderResult, edition: Edition, part: int, waits: str = ""
) -> Iterator[PreviewedMessage]:
    kind, _, name = rendered.outlet.partition(":")
    words = (edition.schedule, str(edition.number), name, rendered.language, rendered.story)
    base = "-".join(filter(None, words))
    if kind == "channel":
        channel = runtime.channels.get(name)
        assert isinstance(rendered.document, bytes)
        if channel is None:
            raise InputError(f"The channel {name!r} no longer exists. Add it to tidings.yaml again to see its posts.")
        length, limit = channel.length(rendered.document), channel.capabilities.max_length
        lines = [channel.text(rendered.document), "", *([f"[{waits}]"] if waits else [])]
        note = "\n".join([*lines, f"[{length} of {limit} characters]"])
        body, language, failures = rendered.document, rendered.language, rendered.failures
        post, picture = views.make(channel, body, name=base, language=language, story=rendered.story)
        post = replace(post, part=part, waits=waits, failures=failures)
        yield PreviewedMessage(
            base, rendered.outlet, language, body, False, note, failures, rendered.warnings, post, picture
        )
        return
    assert not isinstance(rendered.document, bytes)
    compiled = load_frozen_document(rendered.raw())
    fullest = max(rendered.layouts.values(), key=lambda arrangement: len(arrangement["keys"]))
    data = runtime.mail.message(
        compiled,
        MailLayout.from_json(fullest),
        list_name=name,
        schedule=edition.schedule,
        date=edition.starts,
        message_key=f"preview:{edition.name}",
        subscriber=_PREVIEW_READER,
        address="reader@example.org",
        name="A. Reader",
    )
    yield PreviewedMessage(
        base, rendered.outlet, rendered.language, data, True, failures=rendered.failures, warnings=rendered.warnings
    )


class _PostViews:
    """Shows posts as their network will show them. The network may make a card from the page of one of `items`."""

    def __init__(self, newsroom: Newsroom, items: Sequence[Item]) -> None:
        self._newsroom = newsroom
        self._items = {item.url: item for item in items}
        site = newsroom.site.url
        self._media: Mapping[str, Path] = {
            f"{site}media/{file.digest}/{file.name}": newsroom.root / file.path for item in items for file in item.media
        }
        self._pictures = Thumbnails(newsroom.public, site)

    def make(self, channel: Channel, body: bytes, *, name: str, language: str, story: str) -> tuple[PostPreview, bytes]:
        """Return a post and the picture of its card, which is written as `name`.jpg, or b"" if it has none."""
        text = channel.text(body)
        card = channel.card(body) if isinstance(channel, HasCard) else None
        shown, picture = None, b""
        if card is not None:
            if card.title:
                # The text form of a post ends with its card.
                text = text.removesuffix(f"\n\n{card.title}\n\n{card.url}")
            shown, picture = self._card(card, f"{name}.jpg")
        post = PostPreview(
            channel=channel.name,
            kind=self._newsroom.channels[channel.name].type,
            language=language,
            story=story,
            text=text,
            length=channel.length(body),
            limit=channel.capabilities.max_length,
            card=shown,
        )
        return post, picture

    def _card(self, card: Card, file: str) -> tuple[CardPreview, bytes]:
        notes = []
        title, description, image, alt = card.title, card.description, card.image, card.alt
        site = urlsplit(card.url).hostname or ""
        if card.url and not title:
            item = self._items.get(card.url)
            if item is None:
                notes.append(f"The network makes the card of {card.url}")
            else:
                notes.append("The network makes this card of our page, soon after the page is published")
                title, description = item.title, item.summary
                image, alt = (item.images[0].src, item.images[0].alt) if item.images else ("", "")
        picture = self._picture(image) if image else b""
        if picture and not alt:
            notes.append(
                "The network shows no alt text for this picture" if card.title else "The picture has no alt text"
            )
        if image and not picture:
            notes.append("The picture is on another site and is not shown here")
        return CardPreview(site, title, description, file if picture else "", alt, tuple(notes)), picture

    def _picture(self, url: str) -> bytes:
        path = self._media.get(unquote(url))
        return (
            self._pictures.from_file(path, _MAX_PICTURE) if path is not None else self._pictures(url, _MAX_PICTURE)
        ) or b""
