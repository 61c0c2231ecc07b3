"""Prepare the lines of a Markdown text as Obsidian, Hugo, Jekyll, MyST and Word write them, before CommonMark reads it.

Layout attributes, comments of editors and lines that only a program reads are left out. Lists with other signs keep
their lines. Code in fences stays unchanged. All patterns have limits, so that the time grows with the text.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
# Attributes of kramdown, Pandoc and Hugo, after a link, a picture or a heading, or on a line of their own.
_SPAN = re.compile(r"(?<![\]!])\[([^\[\]\n]{1,300})\]\{\.[^{}\n]{1,100}\}")
_ATTRIBUTES_AFTER = re.compile(r"(?<=[)\]])\{(?:[.#:]|\w+=)[^{}\n]{0,200}\}")
_ATTRIBUTES_ALONE = re.compile(r" {0,3}\{(?::|[.#][\w-])[^{}\n]{0,200}\}[ \t]*$")
_HEADING_ATTRIBUTES = re.compile(
    r"^( {0,3}#{1,6}(?=[ \t])(?:[ \t]+[^ \t{}\n]+){0,100})[ \t]*\{[.#:][^{}\n]{0,200}\}[ \t]*$"
)
_GLUED_HEADING = re.compile(r"^( {0,3}#{2,6})(?=[^\s#])")
_BLOCK_ID = re.compile(r"[ \t]\^[a-z0-9]{6}$")
# Liquid writes the URL of the site before a path. Here paths begin at the newsroom's folder.
_SITE_ADDRESS = re.compile(r"\{\{-? {0,5}(?:site|page)\.(?:baseurl|url) {0,5}-?\}\}")
_PATH_FILTER = re.compile(
    r"\{\{-? {0,5}([\"'])([^\"'{}\n]{1,300})\1 {0,5}\| {0,5}"
    r"(?:relative_url|absolute_url|url|prepend: ?site\.baseurl) {0,5}-?\}\}"
)
# HackMD, Joplin and Obsidian write the size of a picture after its address or its text.
_PICTURE_SIZE = re.compile(
    r"(!\[[^\]\[\n]{0,300}?)(?:\|\d{1,4}(?:x\d{1,4})?)?(\]\([^()\s]{1,500})(?: =\d{0,4}%?(?:x\d{0,4}%?)?)?(?=[ )])"
)
# A space or wide brackets between the text of a link and its address, the wrong order, and links of Slack.
_LOOSE_LINK = re.compile(r"\[([^\]\[\n]{1,300})\] ?[(（] ?(https?://[^\s()（）]{1,2000}) ?[)）]")
_TURNED_LINK = re.compile(r"(?<!\])\(([^()\n]{1,300})\)\[(https?://[^\s\[\]]{1,2000})\]")
_SLACK_LINK = re.compile(r"<(https?://[^<>|\s]{1,2000})\|([^<>|\n]{1,300})>")
# People write file names and addresses without escapes. CommonMark requires <> around a URL with spaces (§6.3).
_SPACED_ADDRESS = re.compile(
    r"(\[[^\]\[\n`]{0,300}\])\(((?=[^()\n]{0,400}[^()\s] )"
    r"(?:https?://[^()<>\n\"'`]{1,400}|[^()<>\n\"'`]{1,400}\.[A-Za-z0-9]{2,5}))\)"
)
# Tags of Word, which are no HTML.
_OFFICE_TAG = re.compile(r"</?(?:o|w|v|m|st1):[A-Za-z]{1,30}(?:\s[^<>\n]{0,300})?/?>")
_COMMENTS = re.compile(
    r"\{\{?/\*(?:(?!/\*|\*/).){0,5000}\*/\}?\}"
    r"|\{%-? ?comment ?-?%\}(?:(?!\{%-? ?(?:end)?comment).){0,5000}\{%-? ?endcomment ?-?%\}"
    r"|\{::comment\}(?:(?!\{::comment\}|\{:/).){0,5000}\{:/(?:comment)?\}",
    re.DOTALL,
)
"""Comments of Hugo, MDX, Jekyll and kramdown. None is searched beyond the beginning of the next one."""
_PROGRAM_LINE = re.compile(
    r"(?:\[(?:TOC|toc)\]|\[\[_?(?:TOC|toc)_?\]\]|\+\+\+|\([\w-]{1,60}\)="
    r"|(?:id|collapsed|heading|logseq\.[\w.-]{1,60}):: \S{1,60}|(?:[-*] )?#\+(?:BEGIN|END)_[A-Z]{1,20}"
    r"|import (?:.{1,200} from )?[\"'][^\"']{1,200}[\"'];?|export (?:const|default) .{1,200}[;)}])$"
)
"""A place for a table of contents, a label of MyST, properties and marks of blocks of Logseq, and JavaScript of MDX."""
_TOC_ITEM = re.compile(r"(?:[*+-]|\d\.) [^\n]{1,60}$")
_DIRECTIVE = re.compile(
    r" {0,3}:{3,}[ \t]*(?:\{ ?[.#]?([\w-]{1,40})?[^{}\n]{0,200}\}|([\w-]{1,40}))?[ \t]*"
    r"(?:\[([^\]\n]{1,200})\]|([^\s:\[{][^\n]{0,200}))?$"
)
_MYST = re.compile(r" {0,3}(`{3,}|~{3,}|:{3,})[ \t]*\{([\w:-]{1,40})\}[ \t]*([^\n]{0,300})$")
_OPTION = re.compile(r":([\w-]{1,40}):[ \t]*(.{0,300})$")
_CALLOUTS = set(
    "note tip hint info important warning caution danger error attention seealso success question admonition".split()  # noqa: SIM905
)
_MARKDOWN_INSIDE = re.compile(r"<(?:aside|\w{1,20} [^<>\n]{0,200}\bmarkdown=[\"']?(?:1|block)[\"']?[^<>\n]{0,100})>$")
_BULLET = re.compile(r"^([ \t]*)[•●▪◦‣∙■□▸►➤➢·\uf0b7\uf0a7\uf0d8\uf076][ \t\u00a0]*(?=\S)")
_SIGNED = re.compile(
    r"[ \t]*(?:[–—] ?\S|[^\W\d_]{1,2}\) |[ivxIVX]{1,5}\. |\d{1,2}(?:\.\d{1,2}){1,3}\.? |\||[^|\n]{1,200} \| "
    r"|[^\t\n]{1,200}\t+\S|[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff])|: +\S"
)
"""Lines of a list, a dialogue or a table that CommonMark does not know, and so joins to one."""
_LONGEST_COMMENT = 500
"""Most lines between two lines `%%`. If they are further apart, they are not a comment."""


def prepare_lines(text: str) -> str:
    """Return a text that CommonMark reads as its author means it."""
    text = _without_comments(text)
    given = text.split("\n")
    lines: list[str] = []
    fence, position = "", 0
    while position < len(given):
        line = given[position]
        position += 1
        if fence:
            if line.strip().startswith(fence) and not line.strip(" \t" + fence[0]):
                fence = ""
        elif match := _MYST.match(line):
            directive, position = _read_directive(match, given, position)
            lines += directive
            continue
        elif match := _FENCE.match(line):
            fence = match[1]
        elif line.rstrip() == "%%" and (end := _find_comment_end(given, position - 1)):
            line, position = "", end
        elif _ATTRIBUTES_ALONE.match(line):
            if "toc" in line and lines and _TOC_ITEM.match(lines[-1]):
                lines.pop()
            continue
        elif _PROGRAM_LINE.match(line.strip()):
            continue
        elif match := _DIRECTIVE.match(line):
            line = _write_title(match[1] or match[2] or "", match[3] or match[4] or "")
        elif _MARKDOWN_INSIDE.match(line.strip()):
            line += "\n"
        else:
            line = _BULLET.sub(r"\1- ", line) if "`" in line else _tidy(line)
            if _SIGNED.match(line) and lines and lines[-1].strip() and (line[0] == ":" or _SIGNED.match(lines[-1])):
                lines[-1] += "  "
        lines.append(line)
    return "\n".join(lines)


def _without_comments(text: str) -> str:
    """Leave out comments, except in fences."""
    pieces: list[str] = []
    position = fences = 0
    for match in _COMMENTS.finditer(text):
        pieces.append(text[position : match.start()])
        fences += pieces[-1].count("```")
        position = match.end()
        if fences % 2:
            pieces.append(match[0])
        fences += match[0].count("```")
    return "".join([*pieces, text[position:]])


def _tidy(line: str) -> str:
    """Return a line without layout attributes, and with its links, pictures and bullets as CommonMark writes them."""
    if "[" in line:
        line = _SPAN.sub(r"\1", line)
        line = _TURNED_LINK.sub(r"[\1](\2)", _LOOSE_LINK.sub(r"[\1](\2)", _PICTURE_SIZE.sub(r"\1\2", line)))
        line = _SPACED_ADDRESS.sub(r"\1(<\2>)", line)
    if "<" in line:
        line = _OFFICE_TAG.sub("", _SLACK_LINK.sub(r"[\2](\1)", line))
    if "{" in line:
        line = _PATH_FILTER.sub(r"\2", _SITE_ADDRESS.sub("", line))
        line = _HEADING_ATTRIBUTES.sub(r"\1", _ATTRIBUTES_AFTER.sub("", line))
    return _BULLET.sub(r"\1- ", _BLOCK_ID.sub("", _GLUED_HEADING.sub(r"\1 ", line)))


def _find_comment_end(lines: list[str], start: int) -> int:
    """Return the number of the line after a comment that begins here, or 0 if it has no end."""
    following = range(start + 1, min(start + 2 + _LONGEST_COMMENT, len(lines)))
    return next((number + 1 for number in following if lines[number].rstrip() == "%%"), 0)


def _write_title(name: str, title: str) -> str:
    """Return the title of a callout in bold with an empty line, or '' for a part that is only layout."""
    name = name.removeprefix("callout-").lower()
    title = title or (name.capitalize() if name in _CALLOUTS else "")
    return f"**{title}**\n" if title else ""


def _read_directive(match: re.Match[str], lines: list[str], start: int) -> tuple[list[str], int]:
    """Return the lines of a directive of MyST as Markdown, and the position after it."""
    fence, name, argument = match[1], match[2], match[3].strip()
    end = next((number for number in range(start, len(lines)) if lines[number].strip() == fence), len(lines))
    options: dict[str, str] = {}
    while start < end and (option := _OPTION.match(lines[start].strip())):
        options[option[1]] = option[2]
        start += 1
    body = lines[start:end]
    if name in ("figure", "image") and argument:
        return [f"![{options.get('alt', '')}](<{argument}>)", "", *body, ""], end + 1
    if name in ("iframe", "youtube", "vimeo") and argument:
        address = {"youtube": "https://www.youtube.com/watch?v={}", "vimeo": "https://vimeo.com/{}"}.get(name, "{}")
        title = options.get("title", "").replace('"', "&quot;")
        return [f'<iframe src="{address.format(argument)}" title="{title}"></iframe>', ""], end + 1
    if name in _CALLOUTS:
        return ["", *(f"> {each}" for each in (*_write_title(name, argument).split("\n"), *body)), ""], end + 1
    if fence[0] == ":":
        return [*_write_title(name, argument).split("\n"), *body], end + 1
    language = argument if name in ("code", "code-block", "code-cell", "sourcecode") else f"{{{name}}}"
    return [f"{fence}{language}", *lines[start:end], fence], end + 1
