"""Extensions of Markdown: footnotes, callouts, highlights, small letters, bare URLs and task lists.

Obsidian, Hugo, Jekyll and GitHub use them. CommonMark has none of them: it shows a footnote as `[^1]`, and reads a
footnote of one word as a URL. Editors' comments (`%%to do%%`) are left out, and bare URLs become links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from tidings.sources.markdown.lines import prepare_lines

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_NOTE = re.compile(r"\[\^([^\]\s\[]{1,100})\]:[ \t]*")
_REFERENCE = re.compile(r"\[\^([^\]\s\[]{1,100})\]")
_CALLOUT = re.compile(r"(<blockquote>\n<p>)\[!([A-Za-z-]{1,40})(?:\|[^\]\n]{0,60})?\][+-]?([^\n]*)")
_TASK = re.compile(r"(<li>(?:\n?<p>)?)\[([ xX])\] ")
_COMMENT = re.compile(r"(?<![\w%])%%(?!%).{1,5000}?%%(?![\w%])", re.DOTALL)
_SMALL = re.compile(
    r"(?<=[^\W_])([~^])([+-]?[^\W_]{1,20}[+-]?)\1(?![~^])"
    r"|(?<![\w~])~(?=[^\s~])([^~\n]{1,300})(?<=[^\s~])~(?![\w~])"
)
_ADDRESS = re.compile(r"://[^\W_][^\s<>\"«»“”„‘’`|{}[\]]{1,2000}")
_SCHEME = re.compile(r"(?<![A-Za-z0-9_\"'=&;])https?$", re.IGNORECASE)
_OPEN_MARK = re.compile(r"(?:\{\{[^{}]*|!\[\[[^\[\]]*|\[[a-z][\w-]{2,40} [^\[\]]*)\Z")
"""The begin of a mark of another program, such as {{video https://...}} and [youtube https://...]."""
_AFTER_ADDRESS = ".,:;!?'*~…。，、；：！？）】」』]}"
_TEXTS, _ORDER = "footnote_texts", "footnote_order"


def add_marks(markdown: MarkdownIt) -> MarkdownIt:
    """Add these extensions to a parser, for `render_marked`."""
    markdown.block.ruler.before("reference", "footnote", _read_footnote, {"alt": ["paragraph", "reference"]})
    markdown.inline.ruler.before("link", "footnote_reference", _put_reference)
    markdown.inline.ruler.before("link", "footnote_inline", _put_inline_note)
    markdown.inline.ruler.before("strikethrough", "small", _put_small)
    markdown.inline.ruler.before("emphasis", "strong", _read_pair("**", "strong"))
    markdown.inline.ruler.before("emphasis", "highlight", _read_pair("==", "mark"))
    markdown.inline.ruler.before("emphasis", "address", _put_address)
    # People indent the first line of a paragraph, and nested HTML. Code stands in fences.
    markdown.disable("code")
    markdown.inline.ruler.before("emphasis", "comment", _leave_out_comment)
    return markdown


def render_marked(markdown: MarkdownIt, text: str) -> str:
    """Render a text, with its footnotes at the end, in the order of their first use."""
    env: MutableMapping[str, Any] = {_TEXTS: {}, _ORDER: []}
    html = _CALLOUT.sub(_write_callout, markdown.render(prepare_lines(text), env))
    html = _TASK.sub(lambda match: f"{match[1]}{'☐' if match[2] == ' ' else '☑'} ", html)
    texts: dict[str, str] = env[_TEXTS]
    order = [*env[_ORDER], *(name for name in texts if name not in env[_ORDER])]
    if not order:
        return html
    notes = "".join(f"<li>{markdown.renderInline(texts[name], env)}</li>\n" for name in order)
    return f"{html}<hr>\n<ol>\n{notes}</ol>\n"


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


def _put_inline_note(state: StateInline, silent: bool) -> bool:
    """Write `^[text]` as the number of a footnote with this text."""
    if not state.src.startswith("^[", state.pos):
        return False
    end = state.md.helpers.parseLinkLabel(state, state.pos + 1)
    if end < 0:
        return False
    if not silent:
        texts, order = state.env.setdefault(_TEXTS, {}), state.env.setdefault(_ORDER, [])
        name = f"^{len(order)}"
        texts[name] = state.src[state.pos + 2 : end]
        order.append(name)
        state.push("html_inline", "", 0).content = f"<sup>[{len(order)}]</sup>"
    state.pos = end + 1
    return True


def _read_pair(sign: str, tag: str) -> Callable[[StateInline, bool], bool]:
    """Return a rule for words between two signs, also where the sign is between a letter and a quotation mark.

    CommonMark shows `**«Water»**is` and Chinese texts like it with their stars (§6.2). Signs with a space inside them
    stay signs.
    """

    def read(state: StateInline, silent: bool) -> bool:
        start = state.pos + 2
        if not state.src.startswith(sign, state.pos) or state.src[start : start + 1] in ("", " ", sign[0], "\n"):
            return False
        end = state.src.find(sign, start, state.posMax)
        if end < 0 or state.src[end - 1].isspace() or state.src[end + 2 : end + 3] == sign[0]:
            return False
        if sign == "**" and any(each in state.src[start:end] for each in "`\\*"):
            return False
        if not silent:
            state.push("html_inline", "", 0).content = f"<{tag}>"
            most, state.pos, state.posMax = state.posMax, start, end
            state.md.inline.tokenize(state)
            state.posMax = most
            state.push("html_inline", "", 0).content = f"</{tag}>"
        state.pos = end + 2
        return True

    return read


def _put_small(state: StateInline, silent: bool) -> bool:
    """Write `H~2~O`, `x^2^` and `~taken back~` as Pandoc, Typora and GitHub do."""
    match = _SMALL.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    tag = "s" if match[3] else "sub" if match[1] == "~" else "sup"
    if not silent:
        state.push("html_inline", "", 0).content = f"<{tag}>"
        state.push("text", "", 0).content = match[2] or match[3]
        state.push("html_inline", "", 0).content = f"</{tag}>"
    state.pos = match.end()
    return True


def _put_address(state: StateInline, silent: bool) -> bool:
    """Write a bare URL as a link, except inside marks of programs, such as [video src="https://..."]."""
    if not state.src.startswith("://", state.pos) or state.linkLevel:
        return False
    match = _ADDRESS.match(state.src, state.pos, state.posMax)
    scheme = _SCHEME.search(state.pending[-6:])
    if match is None or scheme is None:
        return False
    if _OPEN_MARK.search(state.src, max(0, state.pos - 300), state.pos):
        return False
    rest = match[0].rstrip(_AFTER_ADDRESS)
    while rest.endswith(")") and rest.count(")") > rest.count("("):
        rest = rest[:-1].rstrip(_AFTER_ADDRESS)
    if not silent:
        state.pending = state.pending.removesuffix(scheme[0])
        state.push("link_open", "a", 1).attrs = {"href": state.md.normalizeLink(scheme[0] + rest)}
        state.push("text", "", 0).content = scheme[0] + rest
        state.push("link_close", "a", -1)
    state.pos += len(rest)
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
