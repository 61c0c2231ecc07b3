"""Turn pasted HTML, as Word, Google Docs and browsers put it on the clipboard, into plain Markdown.

Only what an editor means is kept: paragraphs, headings, lists, tables, links, bold and italic. Fonts, colours,
comments, deleted text and pictures are left out: a picture is added by its own form, which asks for words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from urllib.parse import parse_qs, urlsplit

from lxml import html
from lxml.etree import ParserError

from tidings.model.text import clean

_SILENT = {
    *("script", "style", "head", "title", "meta", "link", "template", "noscript", "iframe", "object", "embed"),
    *("svg", "math", "form", "button", "select", "input", "textarea", "del", "s", "strike", "xml", "video", "audio"),
}
_BLOCKS = {
    *("p", "div", "section", "article", "main", "header", "footer", "aside", "nav", "figure", "figcaption", "center"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd", "table", "blockquote", "pre", "hr"),
    *("body", "html", "address", "details", "summary", "tbody", "thead", "tfoot", "tr", "td", "th"),
}
_HEADINGS = {"h1": "##", "h2": "##", "h3": "###", "h4": "####", "h5": "####", "h6": "####"}
_WORD_HEADING = re.compile(r"Mso(?:Title|Heading(\d))")
_WORD_LEVEL = re.compile(r"mso-list:[^;]{0,60}level(\d)")
_ORDERED = re.compile(r"\s*\(?(?:\d+|[a-zA-Z]|[ivx]{1,5})[.)]")
_STARTS = re.compile(r"^(\s*)(#{1,6}(?=\s)|[-+](?=\s)|\d{1,9}(?=[.)]\s)|>|=+$|-{2,}$|~{3})")
_SPECIAL = re.compile(r"[\\`*_\[\]<|]")
_SPACES = re.compile(r"[ \t\r\n\f\u00a0\u2007\u202f]+")
_BREAK = "\u2028"
"""Stands for a line break inside a paragraph until the text is written."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A piece of text with one look."""

    text: str = ""
    bold: bool = False
    italic: bool = False
    link: str = ""


def html_to_markdown(markup: str) -> str:
    """Return pasted HTML as Markdown. Text that is no HTML comes back as one or more paragraphs."""
    markup = clean(markup.replace("<![endif]>", "")).replace("\x00", "")
    try:
        tree = html.document_fromstring(markup)
    except (ParserError, ValueError):
        return ""
    body = tree.find("body")
    blocks = list(_join_lists(_blocks(body if body is not None else tree)))
    return "\n\n".join(block for block in blocks if block).strip() + ("\n" if blocks else "")


# -- blocks -----------------------------------------------------------------------------------------------------------

_Block = tuple[str, str]
"""(kind, text). The kind `item` is a line of a list; its neighbours become one block."""


def _join_lists(blocks: Iterable[_Block]) -> Iterator[str]:
    for kind, group in groupby(blocks, key=lambda block: block[0] == "item"):
        texts = [text for _, text in group if text.strip()]
        if kind:
            yield "\n".join(texts)
        else:
            yield from texts


def _blocks(element: html.HtmlElement) -> Iterator[_Block]:
    """Yield the blocks of an element: inline content between blocks is a paragraph of its own."""
    runs: list[_Run] = [_Run(element.text or "")]
    for child in element:
        if not isinstance(child.tag, str) or _is_silent(child):
            runs.append(_Run(child.tail or ""))
            continue
        if child.tag in _BLOCKS or any(_is_block(inner) for inner in child.iter()):
            yield from _paragraph(runs)
            runs = []
            yield from _block(child)
        else:
            runs += _runs(child, _Run())
        runs.append(_Run(child.tail or ""))
    yield from _paragraph(runs)


def _is_block(element: html.HtmlElement) -> bool:
    return isinstance(element.tag, str) and element.tag in _BLOCKS


def _block(element: html.HtmlElement) -> Iterator[_Block]:
    tag, style = element.tag, _style(element)
    word = _WORD_HEADING.match(element.get("class") or "")
    level = _WORD_LEVEL.search(style)
    if tag == "hr":
        return  # Word and Docs put rules between pages
    if tag in _HEADINGS or (word is not None and tag == "p"):
        mark = _HEADINGS.get(tag) or _HEADINGS[f"h{min(6, max(1, int((word and word[1]) or 1)))}"]
        text = _write(_runs(element, _Run(), plain=True)).replace("\n", " ")
        yield "heading", f"{mark} {text}" if text else ""
    elif level is not None:
        yield _word_item(element, int(level[1]))
    elif tag in ("ul", "ol"):
        for line in _list(element, 0):
            yield "item", line
        yield "end", ""
    elif tag == "table":
        yield "table", _table(element)
    elif tag == "blockquote":
        inner = "\n\n".join(_join_lists(_blocks(element)))
        yield "quote", "\n".join(f"> {line}".rstrip() for line in inner.split("\n")) if inner else ""
    elif tag == "pre":
        yield "code", "\n".join(f"    {line}" for line in element.text_content().strip("\n").split("\n"))
    else:
        yield from _blocks(element)


def _paragraph(runs: list[_Run]) -> Iterator[_Block]:
    text = _write(runs)
    if text:
        lines = [_STARTS.sub(_escape_start, line) for line in text.split("\n")]
        yield "paragraph", "  \n".join(line.strip() for line in lines)


def _escape_start(match: re.Match[str]) -> str:
    marker = match[2]
    return f"{match[1]}{marker}\\" if marker.isdigit() else f"{match[1]}\\{marker}"


def _word_item(element: html.HtmlElement, level: int) -> _Block:
    """A list in Word is a row of paragraphs, each with its own bullet or number as text."""
    marks = [inner for inner in element.iter("span") if "mso-list:ignore" in _style(inner).lower()]
    is_ordered = bool(marks) and _ORDERED.match(marks[0].text_content()) is not None
    for mark in marks:
        mark.text, kept = "", list(mark)
        for inner in kept:
            mark.remove(inner)
    text = _write(_runs(element, _Run())).replace("\n", " ").strip()
    indent = ("   " if is_ordered else "  ") * (level - 1)
    return "item", f"{indent}{'1.' if is_ordered else '-'} {text}"


def _list(element: html.HtmlElement, depth: int) -> Iterator[str]:
    number = 0
    for item in element:
        if item.tag in ("ul", "ol"):  # Docs and Word put an inner list beside its item
            yield from _list(item, depth + 1)
        if item.tag != "li":
            continue
        number += 1
        mark = f"{number}." if element.tag == "ol" else "-"
        inner = [each for each in item.iter("ul", "ol") if each is not item]
        lists = [each for each in inner if not any(parent in inner for parent in each.iterancestors())]
        text = _write(_runs(item, _Run(), skip=lists)).replace("\n", " ").strip()
        yield f"{'   ' * depth}{mark} {text}"
        for each in lists:
            yield from _list(each, depth + 1)


def _table(element: html.HtmlElement) -> str:
    rows = [
        [_write(_runs(cell, _Run())).replace("\n", " ").strip() for cell in row if cell.tag in ("td", "th")]
        for row in element.iter("tr")
    ]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    width = max(map(len, rows))
    if width == 1:  # a box around text
        return "\n\n".join(row[0] for row in rows)
    full = [row + [""] * (width - len(row)) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in full]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


# -- text inside a block ----------------------------------------------------------------------------------------------


def _runs(
    element: html.HtmlElement, look: _Run, *, plain: bool = False, skip: Iterable[html.HtmlElement] = ()
) -> list[_Run]:
    """Return the text of an element with its look. `plain`: without bold and italic, for a heading."""
    if element in skip or _is_silent(element):
        return []
    tag, style = element.tag, _style(element).lower().replace(" ", "")
    if not plain:
        if tag in ("b", "strong") or re.search(r"font-weight:(?:bold|[6-9]00)", style):
            look = replace(look, bold=True)
        if tag in ("i", "em", "cite") or "font-style:italic" in style:
            look = replace(look, italic=True)
        # Docs wraps the whole clipboard into <b style="font-weight:normal">.
        if re.search(r"font-weight:(?:normal|[1-5]00)", style):
            look = replace(look, bold=False)
        if "font-style:normal" in style:
            look = replace(look, italic=False)
    if tag == "a":
        look = replace(look, link=_address(element.get("href") or ""))
    runs = [replace(look, text=element.text or "")]
    if tag == "br":
        runs = [replace(look, text=_BREAK)]
    for child in element:
        if isinstance(child.tag, str):
            before = [_Run(" ")] if child.tag in _BLOCKS else []
            runs += before + _runs(child, look, plain=plain, skip=skip)
        runs.append(replace(look, text=child.tail or ""))
    return runs


def _write(runs: Iterable[_Run]) -> str:
    """Write runs as Markdown; neighbours of one look become one."""
    parts = []
    spaced = _split_spaces(runs)
    for look, group in groupby(spaced, key=lambda run: replace(run, text="")):
        text = "".join(run.text for run in group)
        core = text.strip(f" {_BREAK}")
        if not core:
            parts.append(text)
            continue
        start = text[: text.index(core)]
        written = _escape(core)
        mark = "***" if look.bold and look.italic else "**" if look.bold else "*" if look.italic else ""
        written = f"{mark}{written}{mark}"
        if look.link:
            written = f"[{written}]({look.link})"
        parts.append(f"{start}{written}{text[len(start) + len(core) :]}")
    lines = "".join(parts).split(_BREAK)
    return "\n".join(line for line in (re.sub(r" {2,}", " ", line).strip() for line in lines) if line)


def _split_spaces(runs: Iterable[_Run]) -> Iterator[_Run]:
    """Yield the runs with plain spaces. A run of spaces has the look of the text before it."""
    last = _Run()
    for run in runs:
        text = _SPACES.sub(" ", run.text)
        if not text:
            continue
        if not text.strip():
            yield replace(last, text=text)
            continue
        last = replace(run, text="")
        yield replace(run, text=text)


def _escape(text: str) -> str:
    """Escape what Markdown would read as a sign."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", text)


def _address(url: str) -> str:
    """Return a web or mail address; empty for scripts, files and places in the document. Google's redirect is cut."""
    url = "".join(url.split())
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.hostname in ("www.google.com", "google.com") and parts.path == "/url":
        url = next(iter(parse_qs(parts.query).get("q", [])), "")
        parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https", "mailto"):
        return ""
    return url.replace("(", "%28").replace(")", "%29").replace("<", "%3C").replace(">", "%3E").replace("\\", "%5C")


def _style(element: html.HtmlElement) -> str:
    return element.get("style") or ""


def _is_silent(element: html.HtmlElement) -> bool:
    style = _style(element).lower().replace(" ", "")
    return (
        element.tag in _SILENT
        or "display:none" in style
        or "mso-hide:all" in style
        or "mso-element:comment" in style
        or "mso-element:footnote-list" in style
        or (element.get("class") or "").startswith(("MsoComment", "msocom"))
    )
