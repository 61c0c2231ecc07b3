"""`tidings preview` and `tidings test`: what would be sent, as files or to a few addresses."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import Connection

from tidings.config.schedule import ListDelivery, Schedule
from tidings.model.edition import Edition, EditionState
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose.draft import EditionDraft, MessageGroup
from tidings.pipeline.compose.mail import load_frozen_document
from tidings.pipeline.compose.rendered import RenderResult
from tidings.pipeline.compose.select import SegmentFilter, is_note, order_stories, select_for_segment
from tidings.pipeline.compose.translations import channel_languages, missing_translations, split_into_posts
from tidings.render.mail.digest import MailLayout
from tidings.render.pages.post_previews import PostPreview, render_post_previews
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.plan import look_ahead
from tidings.runtime.preview.posts import PostViews
from tidings.store.content import editions
from tidings.store.content.editions import ShownStory
from tidings.store.content.items import load_items
from tidings.store.delivery import ledger

_READER = 2**40


@dataclass(frozen=True, slots=True)
class PreviewedMessage:
    """One mail or post: its bytes, and what the gates say of it."""

    name: str
    outlet: str
    language: str
    data: bytes
    is_mail: bool
    note: str = ""
    failures: tuple[str, ...] = ()
    post: PostPreview | None = None
    picture: bytes = b""
    """Of its card."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        """(file name, content): .eml, .html and .txt of a mail; .json, .txt and maybe .jpg (its card's) of a post."""
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
    """What a reader of every topic would get now; where nothing is new, the newest stories stand in."""
    with runtime.store.read() as connection:
        edit = _edit_to_show(runtime, connection, schedule, now)
        edition = Edition(
            edit.edition, schedule.name, _next_number(connection, schedule), None, now, now, EditionState.HELD
        )
        views = PostViews(runtime.newsroom, load_items(connection))
    found: list[PreviewedMessage] = []
    for rendered in _render(runtime, edit, edition, language):
        part = max((group.part for group in rendered.groups.values()), default=0)
        found += _shown(runtime, views, rendered, edition, part, _waits(runtime, edit, rendered))
    return found


def _waits(runtime: Runtime, edit: EditionDraft, rendered: RenderResult) -> str:
    """Which stories of a post wait for a translation, in words."""
    kind, _, name = rendered.outlet.partition(":")
    if kind != "channel":
        return ""
    languages, patience = (
        channel_languages(runtime.newsroom, name),
        runtime.newsroom.channels[name].wait_for_translations,
    )
    stories = dict.fromkeys(key for group in rendered.groups.values() for key in group.selection.stories)
    late = {key: missing_translations(edit.all_stories[key], languages, patience, edit.now) for key in stories}
    return "; ".join(
        f"{key} waits for its translation in {', '.join(missing)}" for key, missing in late.items() if missing
    )


def preview_edition(runtime: Runtime, edition: Edition, language: str | None) -> list[PreviewedMessage]:
    """The frozen bytes of an edition: of each outlet and language the fullest."""
    found: list[PreviewedMessage] = []
    with runtime.store.read() as connection:
        views = PostViews(runtime.newsroom, load_items(connection))
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
            found += _shown(runtime, views, rendered, edition, parts.get(rendition.id, 0))
    return found


def make_post_pages(found: Sequence[PreviewedMessage], colour: str) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of a page for each post, and of one with all of them."""
    shown = [one for one in found if one.post is not None]
    for one in shown:
        yield f"{one.name}.html", render_post_previews(one.name, [one.post] if one.post else [], colour).encode()
    if shown:
        yield "posts.html", render_post_previews("Posts", [one.post for one in shown if one.post], colour).encode()


def make_picture_localiser(runtime: Runtime) -> Callable[[bytes], bytes]:
    """What makes the HTML of a mail show this newsroom's pictures from its own files: their address may not be served
    yet. The .eml stays as it is sent."""
    site = runtime.newsroom.site.url
    with runtime.store.read() as connection:
        paths = {
            f"{site}media/{one.digest}/{quote(one.name, safe='')}": runtime.root / one.path
            for item in load_items(connection)
            for one in item.media
        }
    if runtime.newsroom.logo is not None:
        paths[runtime.newsroom.logo_url] = Path(runtime.newsroom.logo.path)

    def changed(match: re.Match[bytes]) -> bytes:
        url = unescape(match[1].decode())
        path = paths.get(url, runtime.newsroom.public / unquote(url.removeprefix(site)))
        return b'src="%s"' % escape(path.resolve().as_uri()).encode() if path.is_file() else match[0]

    return lambda page: re.sub(rb'src="(%smedia/[0-9a-f]{16}/[^"/]+)"' % re.escape(site.encode()), changed, page)


def queue_test_mails(
    runtime: Runtime, look: Runtime, schedule: Schedule, addresses: Sequence[str], now: datetime, language: str | None
) -> tuple[int, int]:
    """Queue the mails of a schedule for these addresses alone; returns the mailing, and how many they are.

    What they show is worked out on `look`, a scratch copy: no mark, no use, no other effect.
    """
    with look.store.read() as connection:
        edit = _edit_to_show(look, connection, schedule, now)
        edition = Edition(
            edit.edition, schedule.name, _next_number(connection, schedule), None, now, now, EditionState.HELD
        )
    rendered = [one for one in _render(look, edit, edition, language) if one.outlet.startswith("list:")]
    if not rendered:
        raise RefusedError(f"{schedule.name} delivers to no list, so there is no mail to test; see `tidings preview`")
    with runtime.store.write() as connection:
        key = f"test:{now.isoformat()}:{editions.newest_rendition_id(connection)}"
        mailing = ledger.get_or_create_mailing(connection, key, "test", schedule=schedule.name, now=now, open=True)
        rows = []
        for number, one in enumerate(rendered):
            outlet = f"test:{mailing}:{number}"
            rendition = editions.freeze_document(connection, 0, outlet, one.language, one.story, one.raw())
            (arrangement,) = one.arrangements.values()
            selection = editions.freeze_selection(connection, rendition, "test", arrangement, list[ShownStory]())
            for who, address in enumerate(addresses):
                rows.append(
                    {
                        "mailing": mailing,
                        "target": f"test:{number}:{who}",
                        "story": one.story,
                        "purpose": "test",
                        "list": one.outlet.partition(":")[2],
                        "rendition": rendition,
                        "selection": selection,
                        "at": now,
                        "details": {"address": address, "language": one.language},
                    }
                )
        return mailing, ledger.add_deliveries(connection, rows)


def _edit_to_show(runtime: Runtime, connection: Connection, schedule: Schedule, now: datetime) -> EditionDraft:
    edit = look_ahead(runtime, connection, schedule, now)
    if edit.stories:
        return edit
    everything = runtime.composer.draft(connection, schedule, now, every=True)
    rules = schedule.select
    stories = [story for story in everything.stories if not is_note(story)]
    newest = sorted(stories, key=lambda story: story.published, reverse=True)[: rules.max_items]
    if not newest:
        raise InputError(f"nothing that {schedule.name} would take is out yet; add an item to content/")
    return everything.with_stories({story.key for story in order_stories(newest, rules)})


def _next_number(connection: Connection, schedule: Schedule) -> int:
    return 1 + max(
        (edition.number for edition in editions.list_editions(connection, schedule=schedule.name)), default=0
    )


def _render(runtime: Runtime, edit: EditionDraft, edition: Edition, language: str | None) -> list[RenderResult]:
    """As for a reader who chose every topic and has had nothing, in each language of the site."""
    newsroom = runtime.newsroom
    groups: list[MessageGroup] = []
    for part in edit.schedule.deliver:
        per_item, notes = part.per == "item", edit.notes if part.per == "edition" else ()
        if isinstance(part, ListDelivery):
            for each in newsroom.site.languages:
                if language not in (None, each):
                    continue
                wish = SegmentFilter(each, tuple(newsroom.lists[part.list].fallback), frozenset(), part.list)
                selection = select_for_segment(edit.stories, wish, edit.schedule.select, notes=notes).selection
                if selection.stories:
                    groups += MessageGroup.split(f"list:{part.list}", selection, per_item=per_item)
            continue
        languages, thread = (
            channel_languages(newsroom, part.channel),
            newsroom.channels[part.channel].translations == "thread",
        )
        wish = SegmentFilter(languages[0], languages[1:], frozenset(), part.channel)
        selection = select_for_segment(edit.stories, wish, edit.schedule.select, notes=notes).selection
        if selection.stories:
            found = split_into_posts(
                f"channel:{part.channel}", selection, edit.all_stories, languages, per_item=per_item, thread=thread
            )
            groups += [group for group in found if language in (None, group.selection.language)]
    return runtime.composer.render_groups(edit, groups, edition)


def _shown(
    runtime: Runtime, views: PostViews, rendered: RenderResult, edition: Edition, part: int, waits: str = ""
) -> Iterator[PreviewedMessage]:
    kind, _, name = rendered.outlet.partition(":")
    words = (edition.schedule, str(edition.number), name, rendered.language, rendered.story)
    base = "-".join(filter(None, words))
    if kind == "channel":
        channel = runtime.channels.get(name)
        assert isinstance(rendered.document, bytes)
        if channel is None:
            raise InputError(f"there is no channel {name!r} any more; write it back into tidings.yaml to see its posts")
        length, limit = channel.length(rendered.document), channel.capabilities.max_length
        said = [channel.text(rendered.document), "", *([f"[{waits}]"] if waits else [])]
        note = "\n".join([*said, f"[{length} of {limit} characters]"])
        body, language, failures = rendered.document, rendered.language, rendered.failures
        post, picture = views.of(channel, body, name=base, language=language, story=rendered.story)
        post = replace(post, part=part, waits=waits, failures=failures)
        yield PreviewedMessage(base, rendered.outlet, language, body, False, note, failures, post, picture)
        return
    assert not isinstance(rendered.document, bytes)
    compiled = load_frozen_document(rendered.raw())
    fullest = max(rendered.arrangements.values(), key=lambda one: len(one["keys"]))
    data = runtime.mail.message(
        compiled,
        MailLayout.from_json(fullest),
        list_name=name,
        schedule=edition.schedule,
        date=edition.starts,
        message_key=f"preview:{edition.name}",
        subscriber=_READER,
        address="reader@example.org",
        name="A. Reader",
    )
    yield PreviewedMessage(base, rendered.outlet, rendered.language, data, True, failures=rendered.failures)
