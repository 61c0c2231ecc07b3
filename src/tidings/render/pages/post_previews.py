"""Render posts as an HTML page for review before they are sent: text, length, and the expected card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tidings.render.i18n import format_count, language_name, text_direction
from tidings.render.palette import make_palette

_URL = re.compile(r"https?://[^\s<>\"]+[^\s<>\".,;:!?)\]»”’…']")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --muted: #566070; --line: #c9d0da; --paper: #ffffff;
  --ground: #eef1f5; --accent: %s; --bad: #a32040; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceff3; --muted: #aab4c1; --line: #4a5460; --paper: #1e2329;
  --ground: #12151a; --accent: %s; --bad: #ff9db0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 40rem; padding: 1.5rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 1.25rem; }
h2 { font-size: 1rem; margin: 0; }
a { color: var(--accent); overflow-wrap: anywhere; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
article { margin: 0 0 1.25rem; padding: 1rem 1.1rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: .6rem; }
article.answer { margin-inline-start: clamp(.75rem, 5vw, 2rem); }
p { margin: 0; }
.muted { color: var(--muted); font-size: .9rem; overflow-wrap: anywhere; }
.text { margin: .75rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.card { margin: .75rem 0; border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
.card img { display: block; width: 100%%; height: auto; aspect-ratio: 1.91; object-fit: cover;
  background: var(--ground); }
.card div { padding: .6rem .8rem; }
.card strong { display: block; overflow-wrap: anywhere; }
.about { margin: .5rem 0 0; padding-inline-start: 1.1rem; }
.about li { margin: .15rem 0; }
.count { display: flex; flex-wrap: wrap; gap: .1rem .6rem; align-items: center; font-variant-numeric: tabular-nums; }
.count meter { flex: 1 1 9rem; height: .8rem; }
.bad { color: var(--bad); font-weight: 600; }
@media print { body { max-width: none; background: none; } article { break-inside: avoid; } }
"""


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
    """Render the page, without scripts. It loads only pictures from its folder."""
    colours = make_palette(colour)
    return (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title[:60])}</title>\n<style>{_STYLE % (colours.accent, colours.accent_dark)}</style>\n"
        f"</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(_article(post) for post in posts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _article(post: PostPreview) -> str:
    about = [
        escape(post.kind),
        f"<span{_lang(post.language)}>{escape(language_name(post.language))}</span>",
        escape(f"story {post.story}" if post.story else "the whole edition"),
    ]
    if post.part:
        about.append(f"reply {post.part} to the first post")
    waits = f'<p class="bad">{escape(post.waits)}</p>\n' if post.waits else ""
    kind = ' class="answer"' if post.part else ""
    return (
        f"<article{kind}>\n<h2>{escape(post.channel)}</h2>\n"
        f'<p class="muted">{" · ".join(about)}</p>\n{waits}'
        f'<p class="text"{_lang(post.language)}>{_link_urls(post.text)}</p>\n'
        f"{_card(post.card, post.language) if post.card else ''}{_count(post)}</article>"
    )


def _count(post: PostPreview) -> str:
    length, limit = (format_count(count, "en") for count in (post.length, post.limit))
    kind = ' class="bad"' if post.length > post.limit else ""
    words = f"{length} of {limit}, as the network counts"
    failures = "".join(f'<p class="bad">{escape(failure)}</p>\n' for failure in post.failures)
    return (
        f'<div class="count"><meter aria-label="Length" min="0" max="{post.limit}" '
        f'value="{min(post.length, post.limit)}">{length}</meter>'
        f"<p{kind}>{words}</p></div>\n{failures}"
    )


def _card(card: CardPreview, language: str) -> str:
    parts = []
    if card.picture:
        parts.append(f'<img src="{escape(card.picture)}" alt="{escape(card.alt)}">')
    if card.title:
        parts.append(
            f'<div{_lang(language)}><p class="muted">{escape(card.site)}</p><strong>{escape(card.title)}</strong>'
            f"{f'<p>{escape(card.description)}</p>' if card.description else ''}</div>"
        )
    notes = (*([f"Alt text: {card.alt}"] if card.alt else []), *card.notes)
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    card_html = f'<div class="card">{"".join(parts)}</div>\n' if parts else ""
    return card_html + (f'<ul class="about muted">{items}</ul>\n' if items else "")


def _lang(language: str) -> str:
    return f' lang="{escape(language)}" dir="{text_direction(language)}"'


def _link_urls(text: str) -> str:
    """Return the text as HTML, with its URLs as links."""
    parts, end = [], 0
    for match in _URL.finditer(text):
        url = escape(match[0])
        parts += [escape(text[end : match.start()]), f'<a href="{url}" rel="noreferrer">{url}</a>']
        end = match.end()
    return "".join([*parts, escape(text[end:])])
