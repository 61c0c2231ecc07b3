"""Sanitised HTML as plain text: wrapped paragraphs, lists, and each URL after the text of its link."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from lxml import etree
from lxml import html as lxml_html

WIDTH: Final = 72
_BLOCKS: Final = frozenset(
    """address article aside blockquote dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr
    li main nav ol p pre section summary table tbody td tfoot th thead tr ul""".split()  # noqa: SIM905
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_VOID = re.compile(r"<(source|track|wbr)\b([^<>]*)>")
_VOID_END = re.compile(r"</(?:source|track|wbr)>")
_SPACE = re.compile(r"[ \t\r\n\f]+")


def wrap(text: str, width: int = WIDTH, indent: str = "", first: str | None = None) -> str:
    """Wrap at `width` columns, only at spaces, so that URLs are never cut. `first` indents the first line."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = (first if first is not None and not lines else indent) or ""
        empty = True
        for word in paragraph.split():
            if not empty and len(line) + 1 + len(word) > width:
                lines.append(line)
                line, empty = indent, True
            line = line + word if empty else f"{line} {word}"
            empty = False
        lines.append(line.rstrip())
    return "\n".join(lines)


def parse_body(markup: str) -> lxml_html.HtmlElement:
    """Parse a sanitised body into a <div>.

    libxml2 does not know that <source>, <track> and <wbr> have no content. It would put a picture into its <source>.
    """
    return lxml_html.fragment_fromstring(_VOID.sub(r"<\1\2></\1>", markup), create_parent="div")


def write_element(element: lxml_html.HtmlElement) -> str:
    """Return an element of a parsed body and the text after it as HTML."""
    return _VOID_END.sub("", str(etree.tostring(element, method="html", encoding="unicode")))


def html_to_text(markup: str) -> str:
    """Return the text of an item's body, with empty lines between paragraphs, and links as `words <URL>`."""
    if not markup.strip():
        return ""
    root = parse_body(markup)
    blocks: list[str] = []
    _walk(root, blocks, "", WIDTH)
    return "\n\n".join(block for block in blocks if block.strip())


def fit_headings(markup: str, first: int) -> str:
    """Return the HTML without ids, and with headings that start at level `first` and skip no level.

    Two bodies in one mail may have the same id, and headings must not skip levels (WCAG 2.2, technique H42).
    """
    if not markup.strip():
        return ""
    root = parse_body(markup)
    levels = sorted({str(element.tag) for element in root.iter(*_HEADINGS)})
    for element in root.iter(etree.Element):
        if element.tag in levels:
            element.tag = f"h{min(first + levels.index(element.tag), 6)}"
        element.attrib.pop("id", None)
    return "".join([escape(root.text or "", quote=False), *map(write_element, root)])


def _walk(element: lxml_html.HtmlElement, blocks: list[str], indent: str, width: int, first: str | None = None) -> None:
    """Append the blocks below `element`; inline content between blocks becomes its own paragraph."""
    run: list[str] = []
    marker = first

    def flush() -> None:
        nonlocal marker
        text = "\n".join(_SPACE.sub(" ", line).strip() for line in "".join(run).split("\v"))
        run.clear()
        if text.strip():
            blocks.append(wrap(text.strip("\n"), width, indent, marker))
            marker = None

    run.append(element.text or "")
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else ""
        if tag == "hr":
            flush()
            blocks.append(f"{indent}* * *")
        elif tag == "pre":
            flush()
            blocks.append("\n".join(f"{indent}{line}" for line in child.text_content().rstrip().splitlines()))
        elif tag in ("ul", "ol"):
            flush()
            items: list[str] = []
            start = child.get("start", "")
            first_number = int(start) if re.fullmatch(r"[0-9]{1,9}", start) else 1
            for place, entry in enumerate(child.iterchildren("li"), start=first_number):
                bullet = f"{place}. " if tag == "ol" else "- "
                inner: list[str] = []
                _walk(entry, inner, indent + " " * len(bullet), width, indent + bullet)
                items.append("\n".join(inner))
            blocks.append("\n".join(items))
        elif tag == "tr":
            flush()
            cells = [" ".join(_inline(cell).replace("\v", " ").split()) for cell in child.iterchildren("td", "th")]
            blocks.append(wrap(" | ".join(cells), width, indent))
        elif tag in _BLOCKS:
            flush()
            _walk(child, blocks, indent + ("> " if tag == "blockquote" else ""), width, marker)
            marker = None
        elif tag:
            run.append(_inline(child))
        run.append(child.tail or "")
    flush()


def _inline(element: lxml_html.HtmlElement) -> str:
    tag = element.tag
    if tag == "br":
        return "\v"
    if tag == "img":
        alt = element.get("alt", "")
        return f"[{alt}]" if alt else ""
    inner = element.text or ""
    for child in element:
        if isinstance(child.tag, str):
            inner += _inline(child)
        inner += child.tail or ""
    href = element.get("href", "") if tag == "a" else ""
    if not href or href.startswith("#"):
        return inner
    target = href.removeprefix("mailto:")
    return f"<{href}>" if inner.strip() == href else inner if inner.strip() == target else f"{inner} <{href}>"
