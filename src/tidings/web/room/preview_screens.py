"""Previews: the next edition of a schedule, with what an editor chooses for it, and a story that is not saved yet.

The editor of a story shows the same story in other languages beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.model.errors import InputError
from tidings.pipeline.compose.edit import EditionChanges
from tidings.render.i18n import language_name
from tidings.render.pages.post_previews import PostPreview
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.preview.preview import PreviewedMessage, preview_schedule, preview_story, queue_test_mails
from tidings.runtime.team import stories
from tidings.runtime.team.next_edition import describe_choices, find_next_edition, save_choices
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.runtime.team.stories import StoryForm
from tidings.sources.base import SourceItem
from tidings.store.people.team import Role
from tidings.web.room.edition_screen import read_subject
from tidings.web.room.today import schedule_title, story_title
from tidings.web.room.visit import Visit
from tidings.web.site.review import MAIL_HEADERS, describe_messages, frame_html

_PAGE_HEADERS = {
    **MAIL_HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' https:"
    " http: data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
}
_MOST_MAILS = 3
_DARK = re.compile(rb"@media[ \t\n]*\([ \t]*prefers-color-scheme[ \t]*:[ \t]*dark[ \t]*\)")


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """One frame of the preview. `width` is narrow or wide."""

    name: str
    title: str
    width: str


def make_preview(visit: Visit, item: SourceItem) -> dict[str, Any]:
    """Render the item as page, mails and posts, and return the frames for the template."""
    words = visit.words
    preview = preview_story(visit.runtime, item, visit.runtime.now())
    frames = {"page": preview.page}
    shown: list[dict[str, Any]] = [
        {"title": words.gettext("As a page"), "frames": _frames(words, "page", words.gettext("As a page"))}
    ]
    mails = [message for message in preview.messages if message.is_mail]
    for number, message in enumerate(mails[:_MOST_MAILS]):
        markup = preview.embed(frame_html(message, visit.newsroom))
        for scheme in ("light", "dark"):
            name = f"mail-{number}-{scheme}"
            frames[name] = _in_colours(markup, scheme)
            list_name = message.outlet.partition(":")[2]
            title = (
                words.gettext("As a mail to %(list)s, light", list=list_name)
                if scheme == "light"
                else words.gettext("As a mail to %(list)s, dark", list=list_name)
            )
            shown.append({"title": title, "frames": _frames(words, name, title)})
    token = visit.previews.keep(visit.person.id, frames)
    posts = [message.post for message in preview.messages if message.post is not None]
    return {
        "path": f"{visit.root}stories/previews/{token}",
        "shown": shown,
        "posts": [_shown_post(post) for post in posts],
        "has_mail": bool(mails),
        "more": len(mails) - _MOST_MAILS if len(mails) > _MOST_MAILS else 0,
        "failures": [failure for message in mails for failure in message.failures],
        "problem": preview.problem,
    }


def _frames(words: RoomWords, name: str, title: str) -> list[ShownFrame]:
    return [
        ShownFrame(name, f"{title}: {words.gettext('On a phone')}", "narrow"),
        ShownFrame(name, f"{title}: {words.gettext('On a computer')}", "wide"),
    ]


def _in_colours(markup: bytes, scheme: str) -> bytes:
    """Make a mail show its light or dark colours, regardless of the setting of the member's browser."""
    return _DARK.sub(b"@media all" if scheme == "dark" else b"@media not all", markup)


def _shown_post(post: PostPreview) -> dict[str, Any]:
    return {
        "post": post,
        "is_long": post.length > post.limit,
        "card": post.card if post.card is not None and (post.card.title or post.card.alt) else None,
    }


def show_frame(visit: Visit) -> Response:
    """Return a sandboxed frame of a preview, in which no script runs and no link works."""
    frame = visit.params["frame"]
    body = visit.previews.find(visit.person.id, visit.params["preview"], frame)
    if body is None:
        return visit.not_found()
    headers = _PAGE_HEADERS if frame == "page" else MAIL_HEADERS
    return Response(body, headers=headers, media_type="text/html; charset=utf-8")


# -- the next edition --------------------------------------------------------------------------------------------------


def show_coming(visit: Visit) -> Response:
    """Show the next edition of a schedule as it would be now, and what an editor may choose for it."""
    name = visit.params["schedule"]
    schedule = visit.newsroom.schedules.get(name)
    if schedule is None or not may_see_schedule(visit, name):
        return visit.not_found()
    runtime, words, now = visit.runtime, visit.words, visit.runtime.now()
    coming = find_next_edition(runtime, schedule, now)
    slot, changes = coming.slot, coming.changes
    wrong, messages = "", list[PreviewedMessage]()
    try:
        messages = preview_schedule(runtime, schedule, coming.built_at(now), None)
    except (InputError, ValueError) as error:
        wrong = str(error)
    shown = describe_messages(visit.newsroom, messages, visit.language)
    frames = {str(each.number): frame_html(messages[each.number], visit.newsroom) for each in shown if each.is_mail}
    subjects = {each.language: each.subject for each in reversed(shown) if each.is_mail}
    with runtime.store.read() as connection:
        stories = [(key, story_title(visit, connection, key)) for key, _ in (slot and slot.stories) or ()]
    return visit.page(
        "coming.html.j2",
        words.gettext("Next: %(title)s", title=schedule_title(visit, name)),
        422 if wrong and stories else 200,
        wrong=wrong if stories else "",
        slot=slot,
        version=coming.version,
        total=sum(outlet.recipients.total() for outlet in slot.outlets) if slot is not None else 0,
        outlets=slot.outlets if slot is not None else [],
        stories=stories,
        lead=changes.lead,
        may_change=visit.may(Role.EDITOR) and may_decide(visit, name) and bool(stories),
        changes=[
            {
                "language": language,
                "subject": changes.subject.get(language, ""),
                "shown": subjects[language],
                "note": changes.note.get(language, ""),
            }
            for language in visit.newsroom.site.languages
            if language in subjects
        ],
        shown=shown,
        has_mail=bool(frames),
        failures=list(dict.fromkeys(failure for message in messages for failure in message.failures)),
        frames=f"{visit.root}stories/previews/{visit.previews.keep(visit.person.id, frames)}",
        path=f"{visit.root}coming/{quote(name, safe='')}",
    )


def change_coming(visit: Visit) -> Response:
    """Save the first story, the subjects and the notes of the next edition. It is built with them at its time."""
    name, runtime, now = visit.params["schedule"], visit.runtime, visit.runtime.now()
    schedule = visit.newsroom.schedules.get(name)
    if schedule is None or not may_decide(visit, name):
        return visit.not_found()
    seen = find_next_edition(runtime, schedule, now)
    if seen.slot is None or visit.field("version") != seen.version:
        text = visit.words.gettext("It has changed in the meantime. Please look at it again.")
        return visit.message(visit.words.gettext("This cannot be done now"), text, status=409)
    languages = visit.newsroom.site.languages
    changes = EditionChanges(
        lead=visit.field("lead"),
        subject={language: read_subject(visit, language, seen.changes) for language in languages},
        note={language: visit.field(f"note.{language}", 5_000).replace("\r\n", "\n") for language in languages},
    )
    with runtime.store.write() as connection:
        kept = save_choices(connection, runtime, name, seen, changes)
        visit.record(connection, "edition.planned", name, describe_choices(kept))
    return visit.redirect(f"coming/{name}", "planned_edition")


def test_coming(visit: Visit) -> Response:
    """Send the next edition, as it would be now, to the member's own address."""
    name, runtime, now = visit.params["schedule"], visit.runtime, visit.runtime.now()
    schedule = visit.newsroom.schedules.get(name)
    if schedule is None or not may_see_schedule(visit, name):
        return visit.not_found()
    at = find_next_edition(runtime, schedule, now).built_at(now)
    _, count = queue_test_mails(runtime, runtime, schedule, [visit.person.email], now, None, at)
    with runtime.store.write() as connection:
        visit.record(connection, "edition.tested", name)
    return visit.redirect(f"coming/{name}", "tested" if count else "unchanged")


# -- the other languages ----------------------------------------------------------------------------------------------


def show_translations(visit: Visit, name: str, form: StoryForm, beside: str) -> dict[str, Any]:
    """Return the other languages with what this text lacks compared to each, and the language shown in full.

    `behind` has the languages in which readers do not know of a correction or a withdrawal yet.
    """
    words = visit.words
    found = stories.find_translations(visit.runtime, name, form)
    stem, _, own = name.removesuffix(".md").rpartition(".")
    have = {own, *(translation.language for translation in found)}
    notices = {
        "correction": words.gettext("The correction is not in this language yet:"),
        "withdrawn": words.gettext("The story is not withdrawn in this language:"),
    }
    chosen = next((each for each in found if each.language == beside), found[0] if found else None)
    return {
        "beside": chosen,
        "others": [
            {
                "language": each.language,
                "file": quote(each.name),
                "is_draft": each.form.draft,
                "gaps": _name_gaps(words, each.gaps),
                "is_shown": each is chosen,
            }
            for each in found
        ],
        "behind": [
            {"text": text, "language": each.language, "file": quote(each.name), "field": key}
            for key, text in notices.items()
            for each in found
            if form.texts[key] and not each.form.texts[key] and not each.form.draft
        ]
        + [
            {
                "text": words.gettext("Another picture is in this language:"),
                "language": each.language,
                "file": quote(each.name),
                "field": "picture.0.alt",
            }
            for each in found
            if form.own_pictures and each.form.own_pictures and set(form.own_pictures) != set(each.form.own_pictures)
        ],
        "missing": [language for language in visit.newsroom.site.languages if language not in have],
        "story": quote(stem.rpartition("/")[2], safe=""),
    }


def _name_gaps(words: RoomWords, gaps: Sequence[str]) -> str:
    """Name what a translation lacks."""
    texts = {
        "correction": words.gettext("the correction"),
        "withdrawn": words.gettext("the withdrawal"),
        "summary": words.gettext("the summary"),
        "text": words.gettext("the text"),
        "paragraphs": words.gettext("a part of the text"),
        "pictures": words.gettext("pictures"),
        "files": words.gettext("files"),
        "topics": words.gettext("topics"),
    }
    return ", ".join(texts[gap] for gap in gaps)


def describe_gaps(visit: Visit, name: str) -> list[str]:
    """Return what a file of a story lacks compared to each other language."""
    try:
        form = stories.read_story((visit.runtime.root / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    if form is None:
        return []
    return [
        visit.words.gettext(
            "Missing, compared with %(language)s: %(what)s",
            language=language_name(each.language, visit.language),
            what=_name_gaps(visit.words, each.gaps),
        )
        for each in stories.find_translations(visit.runtime, name, form)
        if each.gaps
    ]
