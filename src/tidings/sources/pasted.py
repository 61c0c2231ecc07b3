"""Tidy the HTML that Word, Outlook, LibreOffice and Google Docs write into a story.

Word writes a list as paragraphs, and a heading as a paragraph with a style. Google Docs writes bold words as styles,
and puts the whole text into a <b> that is not bold. Both contain editors' comments, which readers must not see.
Controls of players ("0:00 / 12:34 1x") only work in the page of their own website. All steps take linear time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tidings.sources.html_tags import VOID, Tag
from tidings.sources.links import LinkProblem

_HIDDEN = re.compile(r"mso-hide\s*:\s*(?:all|screen)", re.IGNORECASE)
_LIST = re.compile(r"mso-list\s*:\s*l\d+\s+level(\d)", re.IGNORECASE)
_MARKER = re.compile(r"mso-list\s*:\s*ignore", re.IGNORECASE)
_OUTLINE = re.compile(r"mso-outline-level\s*:\s*([1-6])|mso-style-name\s*:\s*[\"']?heading ([1-6])", re.IGNORECASE)
_HEADING_CLASS = re.compile(r"(?:^|\s)Mso(?:Title|Heading([1-6]))(?:\s|$)")
_COMMENT = re.compile(r"mso-element\s*:\s*comment(?:-list)?\s*(?:;|$)", re.IGNORECASE)
_COMMENT_SIGN = re.compile(r"(?:^|\s)(?:MsoCommentReference|msocomanchor)(?:\s|$)")
_GOOGLE_COMMENT = re.compile(r"cmnt(?:_ref)?\d{1,4}")
_COMMENT_TEXT = re.compile(r"cmnt\d{1,4}")
_CONTROLS = re.compile(
    r"(?:^|\s)(?:kg-(?:audio|video)-(?:player|overlay)|mejs-(?:controls|layers|offscreen)|plyr__(?:controls|control)"
    r"|vjs-(?:control-bar|loading-spinner|modal-dialog|big-play-button)|jw-(?:controls|controlbar)|jp-(?:controls|interface)"
    r"|fp-(?:controls|header)|able-(?:controller|status-bar))(?:\s|$)"
)
_BULLETS = r"[·•▪▫◦‣§\uf0a7\uf0b7\uf0d8\uf076\uf0fc]"
_BULLET = re.compile(rf"\s*{_BULLETS}[\s\xa0]{{2,}}")
_MARKER_TEXT = re.compile(rf"[\s\xa0]*{_BULLETS}?[\s\xa0]*")
_NUMBER = re.compile(r"\s*\(?(\d{1,3}|[A-Za-z]|[ivxlcdmIVXLCDM]{1,6})[.)]")
_STYLES = (
    ("strong", re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE)),
    ("em", re.compile(r"font-style\s*:\s*(?:italic|oblique)", re.IGNORECASE)),
    ("s", re.compile(r"text-decoration(?:-line)?\s*:[^;]{0,60}line-through", re.IGNORECASE)),
    ("sup", re.compile(r"vertical-align\s*:\s*super", re.IGNORECASE)),
    ("sub", re.compile(r"vertical-align\s*:\s*sub(?!\w)", re.IGNORECASE)),
)
"""The elements for styles of a <span>. Without its line, struck-through text would mean the opposite."""
_NORMAL = re.compile(r"font-weight\s*:\s*(?:normal|400)", re.IGNORECASE)
_MEND_COMMENT = "delete the comments in the document, and paste it again"


@dataclass(slots=True)
class _ListItem:
    """A paragraph that is an item of a list. `number` is '' for a bullet."""

    level: int
    number: str


def tidy_pasted(tags: list[Tag], problems: list[LinkProblem]) -> list[Tag]:
    """Return the tags with lists, headings and emphasis as HTML elements. Removed comments are reported as problems."""
    kept = list(_keep_visible(tags, _match_ends(tags), problems))
    _rename_headings(kept)
    return list(_put_emphasis(list(_put_lists(kept))))


def _match_ends(tags: list[Tag]) -> dict[int, int]:
    """Return the position of the end tag of each element. A paragraph also ends where the next one begins."""
    stacks: dict[str, list[int]] = {}
    ends: dict[int, int] = {}
    for position, tag in enumerate(tags):
        if not tag.name or tag.name in VOID or tag.is_closed:
            continue
        stack = stacks.setdefault(tag.name, [])
        if stack and (tag.is_end or tag.name == "p"):
            ends[stack.pop()] = position if tag.is_end else position - 1
        if not tag.is_end:
            stack.append(position)
    return ends


def _text_of(tags: list[Tag]) -> str:
    return " ".join(html.unescape("".join(tag.raw for tag in tags if not tag.name)).split())


# -- what no reader may see -------------------------------------------------------------------------------------------


def _keep_visible(tags: list[Tag], ends: dict[int, int], problems: list[LinkProblem]) -> Iterator[Tag]:
    """Leave out settings of Word, comments of editors, hidden text and the controls of players."""
    comments = _find_google_comments(tags, ends)
    position, has_changes = 0, False
    while position < len(tags):
        tag = tags[position]
        if not tag.name or tag.is_end:
            yield tag
            position += 1
            continue
        style, classes = tag.attributes.get("style", ""), tag.attributes.get("class", "")
        end = ends.get(position)
        if end is not None and (position in comments or _COMMENT.search(style)):
            if text := _text_of(tags[position : end + 1]):
                message = f"a comment of an editor is left out: {text[:80]}"
                problems.append(LinkProblem(text[:80], message, _MEND_COMMENT, "warning"))
            position = end + 1
            continue
        is_note_sign = _COMMENT_SIGN.search(classes) or _GOOGLE_COMMENT.fullmatch(tag.attributes.get("id", ""))
        is_hidden = _HIDDEN.search(style) or _CONTROLS.search(classes) or is_note_sign
        if end is not None and (is_hidden or tag.name == "xml" or tag.name.startswith("w:")):
            position = end + 1
            continue
        if tag.name in ("ins", "del") and tag.attributes.get("cite", "").startswith("mailto:") and not has_changes:
            has_changes = True
            message = "the text holds tracked changes of Word, and readers see the deleted words struck through"
            problems.append(LinkProblem(tag.raw[:80], message, "accept or reject the changes in Word first", "warning"))
        yield tag
        position += 1


def _find_google_comments(tags: list[Tag], ends: dict[int, int]) -> set[int]:
    """Return the positions of the boxes with comments in an exported Google document: <a id="cmnt1">."""
    found: set[int] = set()
    before, box = -1, -1
    for position, tag in enumerate(tags):
        if not tag.name:
            continue
        if tag.name == "p" and not tag.is_end:
            box = before if before >= 0 and tags[before].name == "div" and not tags[before].is_end else position
        elif _COMMENT_TEXT.fullmatch(tag.attributes.get("id", "")) and ends.get(box, -1) > position:
            found.add(box)
        before = position
    return found


# -- headings, lists and emphasis -------------------------------------------------------------------------------------


def _rename_headings(tags: list[Tag]) -> None:
    """Write a paragraph with the style of a heading as a heading."""
    levels = {position: level for position, tag in enumerate(tags) if (level := _read_level(tag))}
    ends = _match_ends(tags) if levels else {}
    for position, level in levels.items():
        end = ends.get(position)
        if end is not None and tags[end].is_end:
            tags[position] = replace(tags[position], name=f"h{level}")
            tags[end] = replace(tags[end], name=f"h{level}")


def _read_level(tag: Tag) -> str:
    """Return the level of a paragraph that has the style of a heading, or ''."""
    level = ""
    if tag.name not in ("p", "div") or not tag.attributes:
        return level
    if tag.attributes.get("role") == "heading":
        level = tag.attributes.get("aria-level", "2")
    elif match := _HEADING_CLASS.search(tag.attributes.get("class", "")):
        level = match[1] or "1"
    elif match := _OUTLINE.search(tag.attributes.get("style", "")):
        level = match[1] or match[2]
    return level if re.fullmatch("[1-6]", level) else ""


def _put_lists(tags: list[Tag]) -> Iterator[Tag]:
    """Write paragraphs that are items of a list as a list."""
    ends = _match_ends(tags)
    open_levels: list[tuple[int, str]] = []
    position = 0
    while position < len(tags):
        tag = tags[position]
        end = ends.get(position)
        item = _read_item(tag, tags[position + 1 : end]) if tag.name == "p" and end is not None else None
        if item is None or end is None:
            if open_levels and (tag.name or tag.raw.strip()):
                yield from _close_lists(open_levels, 0)
            yield tag
            position += 1
            continue
        yield from _open_item(open_levels, item)
        # Without its own tag, the paragraph's last text would be left out.
        inner = tags[position + 1 : end if tags[end].is_end else end + 1]
        yield from _without_marker(inner)
        position = end + 1
    yield from _close_lists(open_levels, 0)


def _read_item(tag: Tag, inner: list[Tag]) -> _ListItem | None:
    """Return level and number of a paragraph that is an item of a list, else None."""
    match = _LIST.search(tag.attributes.get("style", ""))
    if match is not None:
        marker = next((place for place, each in enumerate(inner) if _is_marker(each)), None)
        if marker is None:
            return _ListItem(int(match[1]), "")
        number = _NUMBER.match(_text_of(inner[marker : marker + 4]))
        return _ListItem(int(match[1]), number[1] if number else "")
    first = next((each for each in inner[:6] if not each.name and html.unescape(each.raw).strip()), None)
    if first is not None and _BULLET.match(html.unescape("".join(each.raw for each in inner[:6] if not each.name))):
        return _ListItem(1, "")
    return None


def _is_marker(tag: Tag) -> bool:
    return bool(_MARKER.search(tag.attributes.get("style", "")))


def _without_marker(inner: list[Tag]) -> Iterator[Tag]:
    ends = _match_ends(inner)
    marker = next((place for place, each in enumerate(inner) if _is_marker(each)), None)
    if marker is not None and marker in ends:
        yield from inner[:marker]
        yield from inner[ends[marker] + 1 :]
        return
    is_open = True
    for each in inner:
        if is_open and not each.name:
            rest = _MARKER_TEXT.sub("", html.unescape(each.raw), count=1)
            is_open = not rest
            each = Tag(html.escape(rest, quote=False))
        yield each


def _open_item(open_levels: list[tuple[int, str]], item: _ListItem) -> Iterator[Tag]:
    kind = "ol" if item.number else "ul"
    yield from _close_lists(open_levels, item.level)
    if open_levels and open_levels[-1] == (item.level, kind):
        yield Tag("</li>", "li", is_end=True)
    else:
        if open_levels and open_levels[-1][0] == item.level:
            yield from _close_lists(open_levels, item.level - 1)
        open_levels.append((item.level, kind))
        yield Tag(f"<{kind}>", kind, attributes=_count_from(item.number))
    yield Tag("<li>", "li")


def _count_from(number: str) -> dict[str, str]:
    """Return the attributes of a list that begins with this number."""
    if number.isdigit():
        return {} if number == "1" else {"start": number}
    if not number:
        return {}
    if number.lower() in ("i", "ii", "iii", "iv", "v"):
        return {"type": "i" if number.islower() else "I"}
    return {"type": "a" if number.islower() else "A"}


def _close_lists(open_levels: list[tuple[int, str]], level: int) -> Iterator[Tag]:
    """Close all lists that are deeper than this level."""
    while open_levels and open_levels[-1][0] > level:
        _, kind = open_levels.pop()
        yield Tag("</li>", "li", is_end=True)
        yield Tag(f"</{kind}>", kind, is_end=True)


def _put_emphasis(tags: list[Tag]) -> Iterator[Tag]:
    """Write styles of <span> as elements, and leave out a <b> that is not bold."""
    is_styled = any(tag.name in ("b", "strong", "span") and "style" in tag.attributes for tag in tags)
    ends = _match_ends(tags) if is_styled else {}
    closing: dict[int, list[Tag]] = {}
    left_out: set[int] = set()
    for position, tag in enumerate(tags):
        if position in closing:
            yield from closing[position]
            continue
        if position in left_out:
            continue
        style = tag.attributes.get("style", "")
        if style and position in ends:
            if tag.name in ("b", "strong") and _NORMAL.search(style):
                left_out.add(ends[position])
                continue
            if tag.name == "span":
                names = [name for name, pattern in _STYLES if pattern.search(style)]
                yield from (Tag(f"<{name}>", name) for name in names)
                end = tags[ends[position]]
                closing[ends[position]] = [end, *(Tag(f"</{name}>", name, is_end=True) for name in reversed(names))]
        yield tag
