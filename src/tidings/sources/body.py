"""Convert the body of an item from Markdown or HTML to safe HTML with absolute links."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import nh3

from tidings.model.text import clean, one_line
from tidings.sources.html_input import prepare_html
from tidings.sources.html_tags import ATTRIBUTES, TAGS, count_visible
from tidings.sources.links import LinkProblem, LinkResolver
from tidings.sources.markdown.marks import add_marks, render_marked

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_URL_ATTRIBUTES = {"href", "src", "poster", "cite"}
# nh3 checks the scheme only of values that look like an address. Our filter, which knows the newsroom, checks the rest.
_SCHEMES = {"http", "https", "mailto", "tel"}
_SAFE_ADDRESS = re.compile(r"https?://|mailto:|tel:")
_DROPPED_WITH_CONTENT = set(
    "script style iframe object embed svg math template noscript title textarea".split()  # noqa: SIM905
)
# These work on sanitised bodies only: `sanitise` escapes attribute values, so that none contains "<" or ">".
_IMG = re.compile(r"<img\b[^<>]*>")
_ATTRIBUTE = re.compile(r'\b([a-z]+)="([^"]*)"')
_PICTURE = re.compile(r"<picture\b[^<>]*>(?:(?!<picture\b).)*?</picture>", re.DOTALL)
_SOURCE = re.compile(r"<source\b[^<>]*>(?:</source>)?")


@dataclass(frozen=True, slots=True)
class Body:
    """`html` as it is stored; `opening` is the plain text of its first paragraph."""

    html: str
    opening: str


@cache
def _markdown() -> MarkdownIt:
    # Imported late, because many commands read no item.
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    # By default an address such as file: stays as raw text. Ours reports it (`links`).
    markdown.validateLink = lambda url: True  # type: ignore[method-assign]
    return add_marks(markdown)


def render_body(text: str, links: LinkResolver) -> Body:
    """Render Markdown that may contain HTML. `links` collects media and problems. Never raises."""
    return sanitise(render_marked(_markdown(), clean(text)), links)


def sanitise(rendered: str, links: LinkResolver) -> Body:
    """Make HTML safe and its links absolute. Never raises."""
    prepared = prepare_html(clean(rendered), links)

    def filter_attribute(tag: str, attribute: str, value: str) -> str | None:
        if attribute in _URL_ATTRIBUTES:
            # `prepare_html` has made it absolute. This only holds if the sanitiser reads the HTML differently.
            return value if _SAFE_ADDRESS.match(value) else None
        if attribute == "dir" and value.lower() not in ("ltr", "rtl", "auto"):
            return None
        return value

    safe = nh3.clean(
        prepared,
        tags=TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=filter_attribute,
        link_rel=None,
        url_schemes=_SCHEMES,
    )
    _report_losses(prepared, safe, links)
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", safe)]
    finisher = _Finisher(links, 2 - min(levels, default=2))
    finisher.feed(safe)
    finisher.close()
    return Body(clean("".join(finisher.out)).strip(), finisher.paragraph or one_line(finisher.text))


def _report_losses(prepared: str, safe: str, links: LinkResolver) -> None:
    """Compare the original HTML with the sanitised result, and report losses that a reader would notice."""
    came, left = count_visible(prepared), count_visible(safe)
    lost = [
        what for what, before, after in zip(("text", "pictures", "links"), came, left, strict=True) if after < before
    ]
    if lost:
        words = set(re.sub(r"<[^<>]*>", " ", safe).split())
        first = next((word for word in re.sub(r"<[^<>]*>", " ", prepared).split() if word not in words), "")
        message = f"the HTML is broken, and some of its {' and '.join(lost)} cannot be shown"
        links.problems.append(LinkProblem(html.unescape(first), message, "correct the HTML of this part", "warning"))


def missing_alt_message(src: str) -> str:
    """Return the message about a picture without alt text."""
    return f"the picture {src.rsplit('/', 1)[-1]} has no alt text"


def list_pictures(body: str) -> Iterator[dict[str, str]]:
    """Yield the attributes of each picture in a sanitised body."""
    return (_parse_attributes(tag) for tag in _IMG.findall(body))


def change_pictures(body: str, change: Callable[[Mapping[str, str]], Mapping[str, str] | None]) -> str:
    """Replace the attributes of each picture by the result of `change`. None leaves the picture unchanged."""

    def replace_tag(match: re.Match[str]) -> str:
        attributes = change(_parse_attributes(match[0]))
        return match[0] if attributes is None else _format_img(attributes)

    return _IMG.sub(replace_tag, body)


def drop_picture_sources(body: str, matches: Callable[[Mapping[str, str]], bool]) -> str:
    """Remove the sources of each <picture> whose <img> matches, because browsers prefer sources (HTML 4.8.4.3.5)."""

    def drop(match: re.Match[str]) -> str:
        return _SOURCE.sub("", match[0]) if any(map(matches, list_pictures(match[0]))) else match[0]

    return _PICTURE.sub(drop, body)


def _parse_attributes(tag: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag)}


def _format_img(attributes: Mapping[str, str | None]) -> str:
    return "<img" + "".join(f' {name}="{html.escape(value or "")}"' for name, value in attributes.items()) + ">"


class _Finisher(HTMLParser):
    """Finishes sanitised HTML in one pass: headings start at h2, pictures get sizes, the first paragraph is kept."""

    def __init__(self, links: LinkResolver, shift: int) -> None:
        super().__init__(convert_charrefs=False)
        self.links = links
        self.shift = shift
        self.out: list[str] = []
        self.text = ""
        self.paragraph = ""
        self._words: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text() or ""
        if tag == "img":
            raw = self._finish_picture(dict(attrs))
        elif re.fullmatch("h[1-6]", tag):
            raw = f"<{self._shift_heading(tag)}{raw[3:]}"
        elif tag == "p" and not self.paragraph:
            self._words = []
        if tag in ("br", "li", "td", "th"):
            self._add_text(" ")
        self.out.append(raw)

    def handle_endtag(self, tag: str) -> None:
        if re.fullmatch("h[1-6]", tag):
            tag = self._shift_heading(tag)
        elif tag == "p" and self._words is not None:
            self.paragraph = one_line("".join(self._words))
            self._words = None
        self.out.append(f"</{tag}>")
        self._add_text(" " if tag in ("p", "div", "li", "h2", "h3", "h4", "h5", "h6", "td", "th") else "")

    def handle_data(self, data: str) -> None:
        self.out.append(data)
        self._add_text(data)

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")
        self._add_text(html.unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.handle_entityref(f"#{name}")

    def _add_text(self, text: str) -> None:
        if len(self.text) < 2000:
            self.text += text
        if self._words is not None:
            self._words.append(text)

    def _shift_heading(self, tag: str) -> str:
        return f"h{min(6, int(tag[1]) + self.shift)}"

    def _finish_picture(self, attributes: dict[str, str | None]) -> str:
        src = attributes.get("src")
        if not src:
            return ""
        if not (attributes.get("alt") or "").strip():
            mend = 'describe the picture: ![A girl reads in a library](media/a.jpg), or alt="..." in HTML'
            self.links.problems.append(LinkProblem(src, missing_alt_message(src), mend, "warning"))
            attributes["alt"] = ""
        size = self.links.sizes.get(src)
        if size is not None and size.width and not (attributes.get("width") or attributes.get("height")):
            attributes |= {"width": str(size.width), "height": str(size.height)}
        return _format_img(attributes)
