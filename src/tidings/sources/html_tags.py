"""Split HTML into tags and text like browsers, and distinguish tags from words in angle brackets."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# No svg, math, style or form: each has been used to bring scripts past a sanitiser, or breaks in mail (W3C validator,
# nh3).
TAGS = set(
    """
    a abbr address article aside b bdi blockquote br caption cite code col colgroup dd del details dfn div dl
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
    "details": {"open"},
    "colgroup": {"span"},
}
RENAMED = {
    "center": "div", "form": "div", "fieldset": "div", "dialog": "div", "search": "div", "hgroup": "div", "nav": "div",
    "bdo": "bdi", "menu": "ul", "dir": "ul", "strike": "s", "acronym": "abbr", "tt": "code", "listing": "pre",
}  # fmt: skip
_OTHER_TAGS = set(
    """
    html head body base link meta font big nobr blink marquee basefont bgsound label legend button input select option
    optgroup datalist output progress meter map area object param embed applet canvas slot data rb rtc frame frameset
    noembed noframes keygen menuitem isindex spacer multicol layer ilayer content shadow portal image math svg
    template script style iframe noscript textarea title xmp plaintext amp-img amp-anim
    """.split()  # noqa: SIM905
)
_KNOWN = TAGS | set(RENAMED) | _OTHER_TAGS
VOID = set(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split()  # noqa: SIM905
)
_PLACEHOLDERS = set(
    "time address title link map label data object image output caption legend search cite area base source".split()  # noqa: SIM905
)
"""Elements whose names people also write as placeholders in angle brackets. Without an end tag they are words."""
_WORDS = set(
    """
    html head body header footer main nav section article aside summary details menu form button select option input
    style script template textarea dialog figure table frame iframe picture video audio font progress meter param embed
    content canvas slot var
    """.split()  # noqa: SIM905
)
"""Elements that are words only within a sentence: "the <header> of a page". Cut-off HTML may also lack their end."""
_BARE_ATTRIBUTES = set(
    """
    allowfullscreen async autofocus autoplay checked compact controls default defer disabled download hidden inert ismap
    itemscope loop multiple muted nohref noshade novalidate nowrap open playsinline readonly required reversed selected
    alt class id style title lang dir name value type src href rel target width height border align valign clear role
    tabindex color size face content media sizes srcset cite datetime start span scope headers abbr
    """.split()  # noqa: SIM905
)
"""Attributes that may have no value."""
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in "script style iframe noscript textarea title xmp noembed noframes".split()  # noqa: SIM905
}
_ATTRIBUTE = re.compile(r"""[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)?))?""")
_NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
_TAG_END = re.compile(r"[\s/]*>")
_MAX_BROKEN = 3
"""Most unclosed tags in one text. Each costs a search through the rest, so after them all is shown as text."""


@dataclass(slots=True)
class Tag:
    """One piece of HTML. `name` is '' for text. `content` is the raw text of an element such as <script>."""

    raw: str
    name: str = ""
    is_end: bool = False
    is_closed: bool = False
    """Whether it ends with '/>'."""
    attributes: dict[str, str] = field(default_factory=dict)
    content: str = ""
    has_end: bool = False
    """Whether the end tag of such an element was found."""


def split_html(markup: str) -> Iterator[Tag]:
    """Split HTML into tags and text, as browsers do (HTML §13.2.5). Comments are left out.

    Browsers drop everything after an unclosed comment or tag. Here only its beginning is left out.
    """
    position, text_from, broken = 0, 0, 0
    has_comment_end = True
    unclosed: set[str] = set()
    while (start := markup.find("<", position)) >= 0:
        tag: Tag | None = None
        if match := _NAME.match(markup, start):
            read = _read_tag(markup, match, unclosed)
            if read is not None:
                tag, end = read
            elif match[1].lower() not in _KNOWN or broken > _MAX_BROKEN:
                position = start + 1
                if broken > _MAX_BROKEN:
                    break
                broken += 1
                continue
            else:
                broken += 1
                end = markup.find("<", start + 1)
                end = len(markup) if end < 0 else end
        elif markup.startswith("<!--", start):
            close = markup.find("-->", start + 2) if has_comment_end else -1
            has_comment_end = close >= 0
            end = close + 3 if has_comment_end else start + 4
        elif markup.startswith(("<!", "<?"), start):
            end = markup.find(">", start) + 1
            if not end:
                break
        else:
            position = start + 1
            continue
        if text_from < start:
            yield Tag(markup[text_from:start])
        if tag is not None:
            yield tag
        position = text_from = end
    if text_from < len(markup):
        yield Tag(markup[text_from:])


def _read_tag(markup: str, match: re.Match[str], unclosed: set[str]) -> tuple[Tag, int] | None:
    """Read one tag and the content of a raw element. Returns the tag and its end position, or None without a `>`.

    `unclosed` collects the names of raw elements that have no end tag from here on.
    """
    name, position = match[1].lower(), match.end()
    attributes: dict[str, str] = {}
    while (end := _TAG_END.match(markup, position)) is None:
        each = _ATTRIBUTE.match(markup, position)
        if each is None:
            return None
        value = next((each[group] for group in (2, 3, 4) if each[group] is not None), "")
        attributes.setdefault(each[1].lower(), html.unescape(value))
        position = each.end()
    raw = markup[match.start() : end.end()]
    tag = Tag(raw, name, raw.startswith("</"), end[0].rstrip(">").endswith("/"), attributes)
    position = end.end()
    if name in _RAW and name not in unclosed and not tag.is_end and not tag.is_closed:
        if close := _RAW[name].search(markup, position):
            tag.content, tag.has_end = markup[position : close.start()], True
            final = markup.find(">", close.end())
            position = len(markup) if final < 0 else final + 1
        else:
            unclosed.add(name)
    return tag, position


def write_tag(name: str, attributes: Mapping[str, str | None]) -> str:
    return (
        f"<{name}"
        + "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items() if value is not None)
        + ">"
    )


def is_element(name: str) -> bool:
    """Whether HTML has an element with this name. Other angle brackets often contain words."""
    return name.lower() in _KNOWN


def is_text(tag: Tag, ended: Collection[str], started: Collection[str]) -> bool:
    """Whether angle brackets contain words, not a tag: <Name Surname>, <office@un.example>, <https://un.example>."""
    if tag.name in _KNOWN:
        return _is_placeholder(tag, ended)
    if re.fullmatch(r"[a-z][a-z0-9]*:[a-z][a-z0-9-]*", tag.name):
        return False
    if re.search(r"[@.]|//", tag.name) or tag.raw[1:].lower().startswith(("http:", "https:", "mailto:")):
        return True
    is_written_as_tag = any(tag.attributes.values()) or tag.is_closed
    return not is_written_as_tag and (tag.name not in started if tag.is_end else tag.name not in ended)


def is_in_sentence(tags: Sequence[Tag], position: int, ended: Collection[str]) -> bool:
    """Whether the name of an element is a word of a sentence, with text before and after it in the same line."""
    tag = tags[position]
    if tag.name not in _WORDS or tag.is_end or tag.attributes or tag.has_end or tag.name in ended:
        return False
    before, after = tags[position - 1 : position], tags[position + 1 : position + 2]
    if not before or before[0].name or not re.search(r"\w\W{0,3}[ (\"'«“„]$", before[0].raw):
        return False
    return not after or after[0].is_end or re.match(r"[ \n.,;:!?)»”\"'…-]", after[0].raw) is not None


def _is_placeholder(tag: Tag, ended: Collection[str]) -> bool:
    """Whether a valid HTML tag is probably meant as words: "at <time>", "a <link to the report>", "if a<b and c>d"."""
    if tag.is_end or tag.is_closed or tag.has_end or tag.name in ended or any(tag.attributes.values()):
        return False
    if not tag.attributes:
        return tag.name in _PLACEHOLDERS or re.match("<[A-Z][a-z]{2}", tag.raw) is not None
    return not any(name in _BARE_ATTRIBUTES or not re.fullmatch(r"[^\W\d_]+", name) for name in tag.attributes)


def count_visible(markup: str) -> tuple[int, int, int]:
    """Count the visible characters, the pictures and the links of prepared or sanitised HTML."""
    text = html.unescape(re.sub(r"<[^<>]*>", "", markup))
    return len("".join(text.split())), markup.count("<img "), len(re.findall(r"<a [^<>]*href=", markup))


_COMPONENT_TEXTS = {"title", "label", "text", "caption", "href", "to", "src", "url", "videoid"}


def is_component(tag: Tag) -> bool:
    """Whether this is a component of MDX, such as <TabItem label="...">, that says more than its content."""
    name = RENAMED.get(tag.name, tag.name)
    kept = ATTRIBUTES["*"] | ATTRIBUTES.get(name, set()) if name in TAGS else set()
    says = any(tag.attributes.get(key) for key in _COMPONENT_TEXTS - kept)
    return bool(re.match("<[A-Z][a-z]", tag.raw)) and (says or (tag.is_closed and "id" in tag.attributes))


def match_ends(tags: list[Tag], names: Collection[str]) -> dict[int, int]:
    """Return the position of the end tag of each element with one of these names."""
    stacks: dict[str, list[int]] = {name: [] for name in names}
    ends: dict[int, int] = {}
    for position, tag in enumerate(tags):
        if tag.name in names:
            if not tag.is_end and not tag.is_closed:
                stacks[tag.name].append(position)
            elif tag.is_end and stacks[tag.name]:
                ends[stacks[tag.name].pop()] = position
    return ends
