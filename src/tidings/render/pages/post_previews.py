"""Render posts as an HTML page for review before they are sent: text, length, and the expected card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import FileSystemLoader
from markupsafe import Markup, escape

from tidings.render.i18n import format_count, language_name, text_direction
from tidings.render.palette import make_palette
from tidings.render.templates import make_environment

_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]»”’…']")


@dataclass(frozen=True, slots=True)
class CardPreview:
    """The card below the text. `picture` is the name of a file in the page's folder, or ''."""

    site: str
    title: str = ""
    description: str = ""
    picture: str = ""
    alt: str = ""
    notes: tuple[str, ...] = ()
    """Remarks for the reviewer."""


@dataclass(frozen=True, slots=True)
class PostPreview:
    """One post. `length` and `limit` use the network's own counting; a `part` above 0 is a reply to the first post."""

    channel: str
    kind: str
    language: str
    story: str
    text: str
    length: int
    limit: int
    card: CardPreview | None = None
    part: int = 0
    waits: str = ""
    """The reason why the post is not sent yet."""
    failures: tuple[str, ...] = ()


def render_post_previews(title: str, posts: Sequence[PostPreview], colour: str) -> str:
    """Render the page (`post_previews.html.j2`), without scripts. It loads only pictures from its folder."""
    environment = make_environment(FileSystemLoader(Path(__file__).parent), keep_trailing_newline=True)
    environment.filters |= {
        "direction": text_direction,
        "language": language_name,
        "links": link_urls,
        "number": lambda count: format_count(count, "en"),
    }
    page = environment.get_template("post_previews.html.j2")
    return page.render(title=title, posts=posts, colours=make_palette(colour))


def link_urls(text: str) -> Markup:
    """Return the text as HTML, with its URLs as links."""
    parts, end = [], 0
    for match in _URL.finditer(text):
        parts += [escape(text[end : match.start()]), Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(match[0])]
        end = match.end()
    return Markup().join([*parts, escape(text[end:])])
