"""Extensions of Markdown: footnotes, callouts, highlights and task lists.

Obsidian, Hugo, Jekyll and GitHub use them. CommonMark has none of them: it shows a footnote as `[^1]`, and reads a
footnote of one word as a URL. Layout attributes (`{: .lead }`) and editors' comments (`%%to do%%`) are left out.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_NOTE = re.compile(r"\[\^([^\]\s\[]{1,100})\]:[ \t]*")
_REFERENCE = re.compile(r"\[\^([^\]\s\[]{1,100})\]")
_CALLOUT = re.compile(r"(<blockquote>\n<p>)\[!([A-Za-z-]{1,40})\][+-]?([^\n]*)")
_TASK = re.compile(r"(<li>(?:\n?<p>)?)\[([ xX])\] ")
_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})")
# Attributes of kramdown, Pandoc and Hugo, after a link, a picture or a heading, or on a line of their own.
_ATTRIBUTES_AFTER = re.compile(r"(?<=[)\]])\{(?:[.#:]|\w+=)[^{}\n]{0,200}\}")
_ATTRIBUTES_ALONE = re.compile(r" {0,3}\{(?::|[.#][\w-])[^{}\n]{0,200}\}[ \t]*$")
_HEADING_ATTRIBUTES = re.compile(
    r"^( {0,3}#{1,6}(?=[ \t])(?:[ \t]+[^ \t{}\n]+){0,100})[ \t]*\{[.#:][^{}\n]{0,200}\}[ \t]*$"
)
_BLOCK_ID = re.compile(r"[ \t]\^[a-z0-9]{6}$")
# Liquid writes the URL of the site before a path. Here paths begin at the newsroom's folder.
_SITE_ADDRESS = re.compile(r"\{\{-? {0,5}(?:site|page)\.(?:baseurl|url) {0,5}-?\}\}")
_PATH_FILTER = re.compile(
    r"\{\{-? {0,5}([\"'])([^\"'{}\n]{1,300})\1 {0,5}\| {0,5}"
    r"(?:relative_url|absolute_url|url|prepend: ?site\.baseurl) {0,5}-?\}\}"
)
# People write file names without escapes. CommonMark requires <> around a URL with spaces (§6.3).
_SPACED_FILE = re.compile(r"(\[[^\]\[\n`]{0,300}\])\(([^()<>\n\"'`]{1,200} [^()<>\n\"'`]{0,200}\.[A-Za-z0-9]{2,5})\)")
_LONGEST_COMMENT = 500
"""Most lines between two lines `%%`. If they are further apart, they are not a comment."""
_COMMENT = re.compile(r"(?<![\w%])%%(?!%).{1,5000}?%%(?![\w%])", re.DOTALL)
_TEXTS, _ORDER = "footnote_texts", "footnote_order"


def add_marks(markdown: MarkdownIt) -> MarkdownIt:
    """Add these extensions to a parser, for `render_marked`."""
    markdown.block.ruler.before("reference", "footnote", _read_footnote, {"alt": ["paragraph", "reference"]})
    markdown.inline.ruler.before("link", "footnote_reference", _put_reference)
    markdown.inline.ruler.before("emphasis", "highlight", _put_highlight)
    markdown.inline.ruler.before("emphasis", "comment", _leave_out_comment)
    return markdown


def render_marked(markdown: MarkdownIt, text: str) -> str:
    """Render a text, with its footnotes at the end, in the order of their first use."""
    env: MutableMapping[str, Any] = {_TEXTS: {}, _ORDER: []}
    html = _CALLOUT.sub(_write_callout, markdown.render(_leave_out_layout(text), env))
    html = _TASK.sub(lambda match: f"{match[1]}{'☐' if match[2] == ' ' else '☑'} ", html)
    texts: dict[str, str] = env[_TEXTS]
    order = [*env[_ORDER], *(name for name in texts if name not in env[_ORDER])]
    if not order:
        return html
    notes = "".join(f"<li>{markdown.renderInline(texts[name], env)}</li>\n" for name in order)
    return f"{html}<hr>\n<ol>\n{notes}</ol>\n"


def _leave_out_layout(text: str) -> str:
    """Remove layout attributes, and put file names with spaces into <>. Code stays unchanged."""
    if not any(sign in text for sign in ("{", "^", "%%", "](")):
        return text
    given, lines, fence, hidden_until = text.split("\n"), [], "", 0
    for number, line in enumerate(given):
        if number < hidden_until:
            continue
        if not fence and line.rstrip() == "%%" and (end := _find_comment_end(given, number)):
            hidden_until = end
            line = ""
        elif match := _FENCE.match(line):
            sign = match[0].strip()[0]
            fence = "" if fence == sign else fence or sign
        elif not fence and not line.startswith(("    ", "\t")):
            if _ATTRIBUTES_ALONE.match(line):
                continue
            if "`" not in line:
                line = _SPACED_FILE.sub(r"\1(<\2>)", line)
            line = _PATH_FILTER.sub(r"\2", _SITE_ADDRESS.sub("", line))
            line = _BLOCK_ID.sub("", _HEADING_ATTRIBUTES.sub(r"\1", _ATTRIBUTES_AFTER.sub("", line)))
        lines.append(line)
    return "\n".join(lines)


def _find_comment_end(lines: list[str], start: int) -> int:
    """Return the number of the line after a comment that begins here, or 0 if it has no end."""
    following = range(start + 1, min(start + 2 + _LONGEST_COMMENT, len(lines)))
    return next((number + 1 for number in following if lines[number].rstrip() == "%%"), 0)


def _read_footnote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read `[^1]: text`. The next lines belong to it until an empty line, and after that only if they are indented."""
    if state.is_code_block(start):
        return False
    match = _NOTE.match(state.src, state.bMarks[start] + state.tShift[start], state.eMarks[start])
    if match is None:
        return False
    if silent:
        return True
    lines = [state.src[match.end() : state.eMarks[start]]]
    line = start + 1
    while line < end:
        place = state.bMarks[line] + state.tShift[line]
        is_after_gap = state.isEmpty(line - 1)
        is_indented = state.sCount[line] - state.blkIndent >= 2
        if not state.isEmpty(line) and (_NOTE.match(state.src, place) or (is_after_gap and not is_indented)):
            break
        lines.append(state.src[place : state.eMarks[line]])
        line += 1
    state.env.setdefault(_TEXTS, {}).setdefault(match[1], "\n".join(lines).strip())
    state.line = line
    return True


def _put_reference(state: StateInline, silent: bool) -> bool:
    """Write `[^1]` as a superscript number, if there is such a footnote."""
    match = _REFERENCE.match(state.src, state.pos, state.posMax)
    if match is None or match[1] not in state.env.get(_TEXTS, {}):
        return False
    if not silent:
        order: list[str] = state.env.setdefault(_ORDER, [])
        if match[1] not in order:
            order.append(match[1])
        state.push("html_inline", "", 0).content = f"<sup>[{order.index(match[1]) + 1}]</sup>"
    state.pos = match.end()
    return True


def _put_highlight(state: StateInline, silent: bool) -> bool:
    """Write `==words==` as highlighted. Signs with a space inside them stay signs."""
    start = state.pos + 2
    if not state.src.startswith("==", state.pos) or state.src[start : start + 1] in ("", " ", "=", "\n"):
        return False
    end = state.src.find("==", start, state.posMax)
    if end < 0 or state.src[end - 1].isspace() or state.src[end + 2 : end + 3] == "=":
        return False
    if not silent:
        state.push("html_inline", "", 0).content = "<mark>"
        most, state.pos, state.posMax = state.posMax, start, end
        state.md.inline.tokenize(state)
        state.posMax = most
        state.push("html_inline", "", 0).content = "</mark>"
    state.pos = end + 2
    return True


def _leave_out_comment(state: StateInline, silent: bool) -> bool:
    """Leave out `%%a note of the editors%%`, which Obsidian does not show."""
    match = _COMMENT.match(state.src, state.pos, state.posMax) if state.src.startswith("%%", state.pos) else None
    if match is None:
        return False
    state.pos = match.end()
    return True


def _write_callout(match: re.Match[str]) -> str:
    """Write `> [!note] Title` with its title, or else with its kind, in bold."""
    title, end = match[3].strip(), ""
    if title.endswith("</p>"):
        title, end = title.removesuffix("</p>"), "</p>"
    return f"{match[1]}<strong>{title or match[2].replace('-', ' ').capitalize()}</strong>{end or '<br>'}"
