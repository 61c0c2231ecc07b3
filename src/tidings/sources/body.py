"""An item's body: Markdown or HTML in, HTML out that is safe and whole wherever it is shown."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser

import nh3
from markdown_it import MarkdownIt

from tidings.model.text import clean, one_line
from tidings.sources.links import LinkProblem, LinkResolver

_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# No svg, math, style or form: each has carried script past a sanitiser, or breaks in mail (facts: W3C validator, nh3).
TAGS = set(
    """
    a abbr address article aside b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl
    dt em figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark ol p picture pre q rp rt
    ruby s samp section small source span strong sub summary sup table tbody td tfoot th thead time tr track u ul
    var video audio wbr
    """.split()  # noqa: SIM905
)
ATTRIBUTES: dict[str, set[str]] = {
    "*": {"lang", "dir", "title"},
    "a": {"href", "hreflang"},
    "img": {"src", "srcset", "sizes", "alt", "width", "height"},
    "source": {"src", "srcset", "sizes", "type", "media"},
    "video": {"src", "poster", "controls", "width", "height", "preload"},
    "audio": {"src", "controls", "preload"},
    "track": {"src", "kind", "srclang", "label"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"},
    "ol": {"start", "reversed", "type"},
    "li": {"value"},
    "time": {"datetime"},
    "blockquote": {"cite"},
    "q": {"cite"},
    "del": {"datetime"},
    "ins": {"datetime"},
    "col": {"span"},
    "colgroup": {"span"},
}
_ADDRESSES = {"href", "src", "poster", "cite"}
_SCHEMES = {"http", "https", "mailto", "tel"}
# nh3 judges only what looks like an address; the rest passes through our filter, which knows the newsroom.
_DROPPED_WHOLE = {
    "script",
    "style",
    "iframe",
    "object",
    "embed",
    "svg",
    "math",
    "template",
    "noscript",
    "title",
    "textarea",
}


MAX_DEPTH = 500
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)[^<>]*?(/?)>")
_CLOSED_BY_ITSELF = {
    "area",
    "br",
    "col",
    "dd",
    "dt",
    "hr",
    "img",
    "input",
    "li",
    "link",
    "meta",
    "option",
    "p",
    "source",
}
_CLOSED_BY_ITSELF |= {"tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr"}


@dataclass(frozen=True, slots=True)
class Body:
    """`html` as it is stored; `opening` is the plain text of its first paragraph."""

    html: str
    opening: str


def render_body(text: str, links: LinkResolver) -> Body:
    """Markdown, with HTML in it. Media and faults are gathered in `links`; never raises for any text."""
    return sanitise(_MARKDOWN.render(clean(text)), links)


def sanitise(rendered: str, links: LinkResolver) -> Body:
    """HTML made safe and whole once, for every use; never raises for any text."""
    rendered = clean(rendered)
    deep = _too_deep(rendered)
    if deep:
        links.faults.append(
            LinkProblem(f"<{deep}", f"<{deep}> is opened {MAX_DEPTH} times and never closed", "close each tag")
        )
        return Body("", "")

    def filter_attribute(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "srcset":
            return _srcset(value, links)
        if attribute in _ADDRESSES:
            return links.absolute(value, picture=attribute == "poster" or (tag == "img" and attribute == "src"))
        if attribute == "dir" and value.lower() not in ("ltr", "rtl", "auto"):
            return None
        return value

    safe = nh3.clean(
        rendered,
        tags=TAGS,
        clean_content_tags=_DROPPED_WHOLE,
        attributes=ATTRIBUTES,
        attribute_filter=filter_attribute,
        link_rel=None,
        url_schemes=_SCHEMES,
    )
    finisher = _Finisher(links, _heading_shift(safe))
    finisher.feed(safe)
    finisher.close()
    opening = finisher.paragraph if finisher.paragraph else one_line(finisher.text)
    return Body(clean("".join(finisher.out)).strip(), opening)


def missing_alt_message(src: str) -> str:
    """What is said of a picture that nobody put into words."""
    return f"the picture {src.rsplit('/', 1)[-1]} has no alt text"


def _too_deep(rendered: str) -> str:
    """The tag that leads too deep: a sanitiser's time grows with the square of the depth (100,000 <div>: 35 s)."""
    depth = 0
    for match in _TAG.finditer(rendered):
        name = match[2].lower()
        if name not in _CLOSED_BY_ITSELF and not match[3]:
            depth = max(0, depth - 1) if match[1] else depth + 1
            if depth > MAX_DEPTH:
                return name
    return ""


def _srcset(value: str, links: LinkResolver) -> str | None:
    candidates = []
    for candidate in re.split(r",\s+|,$", value.strip()):
        address, _, descriptor = candidate.strip().partition(" ")
        absolute = links.absolute(address, picture=True) if address else None
        if absolute is not None:
            # A comma would end the candidate (HTML, srcset attribute).
            candidates.append(f"{absolute.replace(',', '%2C')} {descriptor.strip()}".strip())
    return ", ".join(candidates) or None


def _heading_shift(safe: str) -> int:
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", safe)]
    return 2 - min(levels) if levels else 0


class _Finisher(HTMLParser):
    """Goes over sanitised HTML once: headings start at h2, pictures get their size, the first paragraph is noted."""

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
            raw = self._picture(dict(attrs))
        elif re.fullmatch("h[1-6]", tag):
            raw = f"<{self._level(tag)}{raw[3:]}"
        elif tag == "p" and not self.paragraph:
            self._words = []
        if tag in ("br", "li", "td", "th"):
            self._say(" ")
        self.out.append(raw)

    def handle_endtag(self, tag: str) -> None:
        if re.fullmatch("h[1-6]", tag):
            tag = self._level(tag)
        elif tag == "p" and self._words is not None:
            self.paragraph = one_line("".join(self._words))
            self._words = None
        self.out.append(f"</{tag}>")
        self._say(" " if tag in ("p", "div", "li", "h2", "h3", "h4", "h5", "h6", "td", "th") else "")

    def handle_data(self, data: str) -> None:
        self.out.append(data)
        self._say(data)

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")
        self._say(html.unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")
        self._say(html.unescape(f"&#{name};"))

    def _say(self, text: str) -> None:
        if len(self.text) < 2000:
            self.text += text
        if self._words is not None:
            self._words.append(text)

    def _level(self, tag: str) -> str:
        return f"h{min(6, int(tag[1]) + self.shift)}"

    def _picture(self, attributes: dict[str, str | None]) -> str:
        src = attributes.get("src")
        if not src:
            return ""
        if not (attributes.get("alt") or "").strip():
            mend = 'say in words what it shows: ![A girl reads in a library](media/a.jpg), or alt="..." in HTML'
            self.links.faults.append(LinkProblem(src, missing_alt_message(src), mend, "warning"))
            attributes["alt"] = ""
        size = self.links.sizes.get(src)
        if size is not None and size.width and not (attributes.get("width") or attributes.get("height")):
            attributes |= {"width": str(size.width), "height": str(size.height)}
        return "<img" + "".join(f' {name}="{html.escape(value or "")}"' for name, value in attributes.items()) + ">"
