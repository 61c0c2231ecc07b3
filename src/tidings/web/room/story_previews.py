"""Panels beside the story editor: a preview of the unsaved text, and the same story in other languages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.render.i18n import language_name
from tidings.render.pages.post_previews import PostPreview
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.preview.preview import preview_story
from tidings.runtime.team import stories
from tidings.runtime.team.stories import StoryForm, TranslationGap
from tidings.sources.base import SourceItem
from tidings.web.room.visit import Visit
from tidings.web.site.review import MAIL_HEADERS, message_html

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
        markup = preview.embed(message_html(message))
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
                "gaps": [describe_gap(words, gap) for gap in each.gaps],
                "is_shown": each is chosen,
            }
            for each in found
        ],
        "behind": [
            {"text": text, "language": each.language, "file": quote(each.name), "field": key}
            for key, text in notices.items()
            for each in found
            if form.texts[key] and not each.form.texts[key] and not each.form.draft
        ],
        "missing": [language for language in visit.newsroom.site.languages if language not in have],
        "story": quote(stem.rpartition("/")[2], safe=""),
    }


def describe_gap(words: RoomWords, gap: TranslationGap) -> str:
    """Describe what a translation lacks."""
    counts = {"own": words.count(gap.own), "other": words.count(gap.other)}
    texts = {
        "correction": words.gettext("no correction"),
        "withdrawn": words.gettext("not withdrawn"),
        "summary": words.gettext("no summary"),
        "text": words.gettext("no text"),
        "paragraphs": words.gettext("%(own)s of %(other)s paragraphs", **counts),
        "pictures": words.gettext("%(own)s of %(other)s pictures", **counts),
        "files": words.gettext("%(own)s of %(other)s files", **counts),
        "topics": words.gettext("%(own)s of %(other)s topics", **counts),
    }
    return texts[gap.what]


def describe_gaps(visit: Visit, name: str) -> list[str]:
    """Return what a file of a story lacks compared to each other language."""
    try:
        form = stories.read_story((visit.runtime.root / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []
    if form is None:
        return []
    return [
        f"{describe_gap(visit.words, gap)} ({language_name(each.language, visit.language)})"
        for each in stories.find_translations(visit.runtime, name, form)
        for gap in each.gaps
    ]
