"""A strict reader of YAML: every scalar is its source text, and every node has its line and column.

Standard YAML turns 12:30 into 750, no into False and 010 into 8. It keeps the last of two equal keys, and nine lines of
aliases can fill the memory. Here scalars stay text, and the schema converts them. Anchors, aliases, merges, tags and
directives are refused.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tidings.model.errors import Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_PROBLEMS = 100
"""Most problems to report in one file. More do not help a person who pasted something that is not YAML."""

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")
_LEADING_INVISIBLE = re.compile(rf"\A{INVISIBLE.pattern}+")
"""Unusual spaces and invisible characters. Texts for readers may need them, YAML syntax never does."""
_DAYS_AND_TIMES = re.compile(
    r"(?<=[\s{,])(?:weekly|monthly|daily):[ \t]+"
    r"(\[[^][{}\n]*\][ \t]+(?:\[[^][{}\n]*\]|[0-9]{1,2}:[0-9]{2}(?:[ \t]*,[ \t]*[0-9]{1,2}:[0-9]{2})*))"
    r"(?=[ \t]*(?:[,}\n]|$)|[ \t]+#)"
)
"""`weekly: [mon, thu] 09:00`: a list followed by a text, which YAML does not allow."""
_LINE = re.compile(
    r"(?P<indent>[ \t]*(?:-[ \t]+)*)(?P<dash>-(?=[^\W\d]|[\"'\u200b\u00a0\u2028\u00ad\ufeff]))?"
    r"(?P<key>[A-Za-z_][\w-]*)?(?P<colon>:)?(?P<value>.*)"
)
_LINE_SEPARATOR = re.compile("[\x85\u2028\u2029]")
"""Characters that the library counts as line breaks and editors do not."""
# git, Syncthing and editors mark conflicts like this (git-merge(1), "How conflicts are presented").
MERGE_MARK = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: .*)?$", re.MULTILINE)
_WIDE_COLONS = "\ufe55\uff1a\u2236"
_OUT_OF_PLACE = "begin this line in the same column as the lines that it belongs to"
BULLETS = "*\u2022\u00b7\u2013\u2014\u2012\u2212\u25aa\u25cf"
_GLUED_COMMENT = re.compile(r"[ \t]*(?<=\s)(#[^\W_][^\n]*)")
_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#.*)?\n)*(?=%)")
_FAULTS = (
    ("'\\t'", "there is a tab here", "write spaces instead of the tab"),
    ("mapping values are not allowed", "there is one colon too many here", "put a text that has a colon in quotes"),
    ("that cannot start any token", "a text cannot begin with {sign} here", "put the text in quotes"),
    ("could not find expected ':'", "this line has no colon", "write `key: value`, with a space after the colon"),
    ("sequence entries are not allowed", "a list cannot begin here", "begin a new line before the `-`"),
    ("unexpected end of stream", "the quotes that are opened here are never closed", "close them"),
    ("unexpected document separator", "the quotes that are opened here are never closed", "close them"),
    ("unknown escape character", "a backslash has a meaning in double quotes", "double it, or use single quotes"),
    ("hexdecimal", "a backslash has a meaning in double quotes", "double it, or use single quotes"),
    ("<stream end>", "the bracket that is opened here is never closed", "close it"),
    ("but found '}'", "there is one } too many here", "take it out"),
    ("but found ']'", "there is one ] too many here", "take it out"),
    ("but found ','", "there is one comma too many here", "take it out"),
    ("expected <block end>", "this line is not in its column", _OUT_OF_PLACE),
    ("but got ']'", "a brace is closed with ] here", "close { with }, and [ with ]"),
    ("but got '}'", "a list is closed with } here", "close { with }, and [ with ]"),
    ("expected ',' or", "a comma or the closing bracket is missing before this", "write it, or put the text in quotes"),
    ("expected the node content", "a value is missing before this", "write the value, or take this out"),
    ("block scalar", "after > or | the text begins in the next line", "write it there, or put the text in quotes"),
    ("while scanning an anchor", "a text cannot begin with & here", "put the text in quotes"),
    ("while scanning an alias", "a text cannot begin with * here", "put the text in quotes"),
    (" tag", "a text cannot begin with ! here", "put the text in quotes"),
    ("<document start>", "the part before this has ended already", "take this out, or put the part before it in order"),
    ("document end marker", "the lines after `...` are not read", "take out the line with `...`"),
    ("mapping keys are not allowed", "a text cannot begin with ? here", "put the text in quotes"),
)
"""Words in the library's errors, with a plain message and the remedy."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar's source text, or its value if it was quoted. Lines and columns count from 1."""

    text: str
    line: int
    column: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the file; keys are unique."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None."""
        return next((value for name, value in self.entries if name.text == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Values in order."""

    items: tuple[Node, ...]
    line: int
    column: int


Node = Scalar | Mapping | Sequence


class _RefusedError(Exception):
    """The rest cannot be read; the problem is noted."""


def read_text(raw: bytes, file: str) -> tuple[str | None, list[Problem]]:
    """Return the UTF-8 text of a file without a byte order mark, or None and the problem."""
    if len(raw) > MAX_BYTES:
        return None, [Problem(file, 0, 0, f"the file has {len(raw):,} bytes", f"keep it under {MAX_BYTES:,}")]
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = len(raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8")) + 1
        return None, [Problem(file, line, column, "this is not UTF-8 text", "save the file as UTF-8 in your editor")]


def read_yaml(text: str, file: str, first_line: int = 1, *, warns: bool = False) -> tuple[Node | None, list[Problem]]:
    """Return the document in `text` and its problems. The document is None if it is empty or not YAML at all.

    With `warns`, also returns warnings about texts that a # cuts off.

    A document with problems is returned too, so that the schema can report its other mistakes in the same run.
    """
    if len(text) > MAX_BYTES:
        return None, [Problem(file, 0, 0, f"the YAML has {len(text):,} characters", f"keep it under {MAX_BYTES:,}")]
    reader = _Reader(text, file, first_line, warns)
    try:
        try:
            return reader.document(), reader.problems
        except MarkedYAMLError:
            again = _Reader(text, file, first_line, warns)
            if not again.take_days_as_text():
                raise
            reader = again
            return reader.document(), reader.problems
    except _RefusedError:
        pass
    except MarkedYAMLError as error:
        reader.invalid(error)
    except (YAMLError, ValueError, RecursionError):
        reader.note(0, *_describe(""))
    return None, reader.problems


def _describe(error: str) -> tuple[str, str]:
    """Return a plain message and the remedy for an error of the library."""
    for words, message, mend in _FAULTS:
        if words in error:
            sign = re.search(r"character '(.)'", error)
            return message.replace("{sign}", sign[1] if sign is not None else "this sign"), mend
    return "this is not valid YAML", "check quotes, colons and indentation here"


def describe_invisible(character: str) -> tuple[str, str]:
    """Return the message and the remedy for an unexpected invisible character."""
    name = unicodedata.name(character, "").lower()
    return f"there is an invisible character here (U+{ord(character):04X}{', ' if name else ''}{name})", (
        "take it out, or type the line again"
    )


def describe_key_without_space(text: str) -> tuple[str, str] | None:
    """Return the message and the remedy for `weekly:fri 09:00`, also with a full-width colon. None for other texts."""
    match = re.match(rf"([A-Za-z_][\w-]*)[ \t]*(?:(:)(?=[^\s/:])|([={_WIDE_COLONS}]))[ \t]*", text)
    if match is None:
        return None
    mend = f"write `{match[1]}: {text[match.end() :].strip()[:60]}`"
    if match[2] and unicodedata.category(text[match.end()]) in ("Cf", "Zs"):
        return describe_invisible(text[match.end()])
    if match[3]:
        name = unicodedata.name(match[3]).lower()
        return f"after {match[1]!r} is {'an' if name[0] in 'aeiou' else 'a'} {name} (U+{ord(match[3]):04X})", mend
    return f"a space is missing after '{match[1]}:'", mend


def mask_days_and_times(text: str) -> str:
    """Return a text of the same length in which a word replaces each `[mon, thu] 09:00`, which is not valid YAML."""
    return _DAYS_AND_TIMES.sub(lambda match: f"{match[0][: -len(match[1])]}{'x' * len(match[1])}", text)


class _Reader:
    """The reader of one text. It counts lines itself: for the library U+2028 is a line break, for editors it is not."""

    def __init__(self, text: str, file: str, first_line: int, warns: bool) -> None:
        self._warns = warns
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self._file = file
        self._first = first_line
        self._starts = [0, *(match.end() for match in re.finditer("\n", self._text))]
        self._last: tuple[int, int, str] | None = None
        """Begin, end and opening character of the last value in quotes or brackets, if nothing was read after it."""
        self._taken: dict[int, str] = {}
        """The source text of scalars that a placeholder replaces, by index."""
        self.problems: list[Problem] = []

    def take_days_as_text(self) -> bool:
        """Replace `[mon, thu] 09:00` by a placeholder of the same length. Returns False if there is none."""
        for match in _DAYS_AND_TIMES.finditer(self._text):
            self._taken[match.start(1)] = match[1]
        for index, text in self._taken.items():
            self._text = f"{self._text[:index]}{'x' * len(text)}{self._text[index + len(text) :]}"
        return bool(self._taken)

    def document(self) -> Node | None:
        if (mark := MERGE_MARK.search(self._text)) is not None:
            mend = "keep one of the two versions, and delete the lines with <<<<<<<, ======= and >>>>>>>"
            self._refuse(mark.start(), "two versions of this file were not merged", mend)
        self._characters()
        self._directives()
        events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(self._text))
        node: Node | None = None
        begun = False
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if begun:
                    mend = "keep one document in a file; take out '---'"
                    self.note(event.start_mark.index, "a second document begins here", mend)
                    break
                begun = True
            elif isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent, AliasEvent)):
                node = self._node(event, events, 0)
        if isinstance(node, Scalar) and not node.text and not node.quoted:
            return None
        return node

    def note(self, index: int, message: str, mend: str) -> None:
        """Note a problem. Raises _RefusedError if there are too many."""
        self.problems.append(Problem(self._file, *self._place(index), message, mend))
        if len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem(self._file, 0, 0, f"more than {MAX_PROBLEMS} mistakes; the rest is not read"))
            raise _RefusedError

    def invalid(self, error: MarkedYAMLError) -> None:
        """Note an error of the library at the place of the mistake: the opening bracket or quote, not the end."""
        message = " ".join(str(error.problem or error.context or error).split())
        fault, mend = _describe(f"{message} {error.context or ''}")
        mark = error.problem_mark or error.context_mark
        begun = error.context_mark
        if begun is not None and mark is not None:
            if "expected ',' or" in message and begun.line != mark.line:
                line_end = self._text.find("\n", begun.index)
                comment = re.search(r"(?<=\s)#", self._text[begun.index : line_end if line_end >= 0 else None])
                if comment is not None:
                    cut = "a # begins a comment, which takes the rest of the line with the bracket that closes"
                    self.note(begun.index + comment.start(), cut, "put the text with the # in quotes")
                    return
                (fault, mend), mark = _describe("<stream end>"), begun
            elif "end of stream" in message or "<stream end>" in message:
                mark = begun
        index = mark.index if mark is not None else 0
        if self._note_text_after_value(index) or ("but got ':'" in message and self._note_colon(index)):
            return
        if "could not find expected ':'" in message and begun is not None:
            index = begun.index
        if not self._note_slip(index, message) and not self._note_rest_after_bracket(index):
            self.note(index, fault, mend)

    def _note_rest_after_bracket(self, index: int) -> bool:
        """Note `{weekly: fri 09:00};`, where text follows the closing bracket."""
        rest = self._text[index:].partition("\n")[0].strip()
        if not rest or rest.startswith("#") or not self._text[:index].rstrip(" \t").endswith(("}", "]")):
            return False
        if len(rest) == 1 and rest in ";.,)]}":
            self.note(index, f"there is one {rest!r} too many after the bracket", "take it out")
        else:
            self.note(
                index, "the line continues after its bracket", "begin a new line, or put the whole text in quotes"
            )
        return True

    def _note_text_after_value(self, index: int) -> bool:
        """Note `title: "News" of the week` and `title: [News] of the week`, where text follows the value."""
        if self._last is None or self._text[self._last[1] : index].strip(" \t"):
            return False
        start, end, opening = self._last
        if "\n" in self._text[start:end]:
            if opening not in "\"'":
                return False
            self.note(start, "the quotes that are opened here are closed in a later line", "close them in this line")
            return True
        line_end = self._text.find("\n", index)
        rest = self._text[end : line_end if line_end >= 0 else None]
        rest = re.split(r"[ \t]#", rest)[0]
        if not rest.strip():
            return False
        if self._in_braces(start):
            rest = re.split(r"[,}\]]", rest)[0]
        whole = self._text[start:end] + rest.rstrip()
        if opening in "\"'" and whole.endswith(opening):
            whole = whole[1:-1]
        quote = "'" if '"' in whole else '"'
        name = "brackets" if opening in "[{" else "quotes"
        shown = whole[:60].replace("'", "''") if quote == "'" else whole[:60]
        mend = f"put the whole text in quotes: `{quote}{shown}{quote}`"
        self.note(start, f"the text continues after its {name}", mend)
        return True

    def _in_braces(self, index: int) -> bool:
        before = self._text[self._text.rfind("\n", 0, index) + 1 : index]
        return before.count("{") + before.count("[") > before.count("}") + before.count("]")

    def _note_colon(self, index: int) -> bool:
        """Note `{en: News: today}`: inside braces, a colon ends a text."""
        match = re.search(r"[{,][ \t]*([\w-]+):[ \t]+([^{}\[\],:\n]*)$", self._text[:index][-500:])
        if match is None:
            return False
        rest = re.match(r"[^{},\n]*", self._text[index:])
        text = match[2] + (rest[0].strip() if rest is not None else "")
        start = index - len(match[0]) + match.start(1) - match.start()
        if wrong := re.search(r"([;،，、])[ \t]*[\w-]+$", match[2]):
            self.note(
                index - len(match[2]) + wrong.start(),
                f"values in braces are not separated by {wrong[1]!r}",
                "write a comma",
            )
            return True
        self.note(start, f"the text of {match[1]!r} has a colon", f'put it in quotes: `{match[1]}: "{text[:60]}"`')
        return True

    def _note_slip(self, index: int, message: str) -> bool:
        """Note a typing mistake that explains an error at `index`, in its line or shortly before."""
        current = bisect_right(self._starts, index) - 1
        is_out_of_place = False
        for number in range(current, max(current - 10, -1), -1):
            start = self._starts[number]
            line = self._text[start : self._text.find("\n", start) if "\n" in self._text[start:] else None]
            match = _LINE.match(line)
            assert match is not None
            key, value = match["key"] or "", match["value"]
            hidden = INVISIBLE.search(line, 0, len(line) - len(_LEADING_INVISIBLE.sub("", value)))
            if hidden is None and number == current:
                hidden = _LINE_SEPARATOR.search(line, 0, index - start + 1)
            if hidden is not None:
                self.note(start + hidden.start(), *describe_invisible(hidden[0]))
                return True
            if match["dash"]:
                shown = f"-{key}{match['colon'] or ''}"
                self.note(start + match.start("dash"), f"a space is missing in {shown!r}", f"write `- {shown[1:]}`")
                return True
            missing = describe_key_without_space(line[match.end("indent") :])
            if missing is not None:
                self.note(start + match.end("key"), *missing)
                return True
            if match["value"].lstrip()[:1] in BULLETS and match["value"].lstrip()[1:2] in (" ", "\t") and not key:
                bullet = match["value"].lstrip()[0]
                mend = f"write `- {match['value'].lstrip()[1:].strip()[:60]}`"
                self.note(start + line.index(bullet), f"for YAML {bullet} begins no entry of a list", mend)
                return True
            if number == current and index == start + match.end("key") and "mapping values" in message:
                is_out_of_place = True
                continue
            if number == current and match["colon"] and "mapping values are not allowed" in message and ": " in value:
                text = value.strip()[:60].replace("\\", "\\\\").replace('"', '\\"')
                mend = f'put it in quotes: `{key}: "{text}"`'
                self.note(index, f"the text of {key!r} has a colon", mend)
                return True
        if is_out_of_place:
            start, before = self._starts[current], self._text[: self._starts[current]].rstrip()
            begin = before.rfind("\n") + 1
            words = before[begin:].lstrip(" -")
            indent = index - start - len(self._text[start:index].lstrip())
            if ":" not in words and indent <= len(before) - begin - len(words):
                self.note(len(before) - len(words), "this line has no colon", "write `key: value`")
            else:
                self.note(start, "this line is further to the right than the line before it", _OUT_OF_PLACE)
        return is_out_of_place

    def _place(self, index: int) -> tuple[int, int]:
        line = bisect_right(self._starts, index)
        return line - 1 + self._first, index - self._starts[line - 1] + 1

    def _characters(self) -> None:
        for match in _UNSEEN.finditer(self._text):
            self.note(match.start(), *describe_invisible(match[0]))
        self._text = _UNSEEN.sub(" ", self._text)

    def _directives(self) -> None:
        """Note directives before the document. They become comments, so that every index stays the same."""
        while (match := _DIRECTIVE.match(self._text)) is not None:
            self.note(match.end(), "directives (%YAML, %TAG) are not used here", "take the line out")
            self._text = f"{self._text[: match.end()]}#{self._text[match.end() + 1 :]}"

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        index = event.start_mark.index
        line, column = self._place(index)
        if isinstance(event, AliasEvent):
            self.note(index, f"'*{event.anchor[:40]}' is an alias", "write the value out, or put it in quotes")
            return Scalar("", line, column, quoted=True)
        if event.anchor:
            self.note(index, f"'&{event.anchor[:40]}' is an anchor", "take it out, or put the text in quotes")
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.note(index, f"'{tag[:40]}' is a tag", "take it out, or put the text in quotes")
        self._last = None
        if isinstance(event, ScalarEvent):
            if event.style in ("'", '"'):
                self._last = index, event.end_mark.index, event.style
            if index in self._taken and event.style is None:
                return Scalar(self._taken[index], line, column)
            if event.style is None and event.value:
                self._note_comment(event.end_mark.index)
            return Scalar(event.value, line, column, quoted=event.style is not None)
        if depth >= MAX_DEPTH:
            self._refuse(index, f"nested deeper than {MAX_DEPTH}", "make it flatter")
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(following := next(events), SequenceEndEvent):
                items.append(self._node(following, events, depth + 1))
            if event.flow_style:
                self._last = index, following.end_mark.index, "["
            return Sequence(tuple(items), line, column)
        if self._text.startswith("{{", index):
            return self._template(events, index)
        return Mapping(self._entries(events, depth, is_flow=bool(event.flow_style)), line, column)

    def _template(self, events: Iterator[Any], index: int) -> Scalar:
        """Note `subject: {{ lead.title }}`, which YAML reads as a map, and replace it by the intended text."""
        depth = 1
        while depth:
            event = next(events)
            depth += isinstance(event, (MappingStartEvent, SequenceStartEvent))
            depth -= isinstance(event, (MappingEndEvent, SequenceEndEvent))
            if depth > MAX_DEPTH:
                self._refuse(index, f"nested deeper than {MAX_DEPTH}", "make it flatter")
        text = self._text[index : event.end_mark.index]
        self._last = index, event.end_mark.index, "{"
        self.note(index, "a text that begins with {{ needs quotes", f'write `"{text[:60]}"`')
        return Scalar(text, *self._place(index), quoted=True)

    def _note_comment(self, end: int) -> None:
        """Warn about `title: News #1`: a # after a space begins a comment. Real comments mostly have a space after
        it."""
        match = _GLUED_COMMENT.match(self._text, end) if self._warns else None
        if match is not None:
            message = f"the text from {match[1][:40]!r} on is a comment, so it is ignored"
            mend = "put the whole text in quotes, or write a space after the # of a comment"
            place = self._place(match.start(1))
            self.problems.append(Problem(self._file, *place, message, mend, "warning"))

    def _entries(self, events: Iterator[Any], depth: int, *, is_flow: bool) -> tuple[tuple[Scalar, Node], ...]:
        entries: list[tuple[Scalar, Node]] = []
        seen: dict[str, int] = {}
        while not isinstance(following := next(events), MappingEndEvent):
            index = following.start_mark.index
            key = self._node(following, events, depth + 1)
            begin = next(events)
            value = self._node(begin, events, depth + 1)
            is_empty = isinstance(value, Scalar) and not (value.text or value.quoted)
            is_lone = is_flow and is_empty
            if is_empty and not is_lone:
                self._note_comment(self._text.find(":", following.end_mark.index) + 1)
            if is_lone and entries and ":" not in self._text[following.end_mark.index : begin.start_mark.index + 1]:
                self._join(entries, key)
            elif not isinstance(key, Scalar):
                self.note(index, "a key must be one word", "write `key: value`")
            elif isinstance(following, AliasEvent):
                continue
            elif key.text == "<<" and not key.quoted:
                self.note(index, "'<<' merges are not used here", "write the keys out")
            elif key.text in seen:
                message = f"the key {key.text[:40]!r} is here twice, first in line {seen[key.text]}"
                self.note(index, message, "keep one of them")
            else:
                seen[key.text] = key.line
                entries.append((key, value))
        return tuple(entries)

    def _join(self, entries: list[tuple[Scalar, Node]], rest: Node) -> None:
        """Note `{weekly: mon,thu 09:00}`, where YAML splits the text at the comma, and join the parts again."""
        name, before = entries[-1]
        if not isinstance(before, Scalar) or not isinstance(rest, Scalar) or before.quoted:
            return
        if describe_key_without_space(name.text) is not None:
            return  # `{host:localhost, port:25}` is reported with its key
        text = f"{before.text}, {rest.text}"
        message = f"the text of {name.text[:40]!r} has a comma, which ends it inside {{ }}"
        if self.problems and self.problems[-1].message == message and self.problems[-1].line == name.line:
            self.problems.pop()
        mend = f'put it in quotes: `{name.text}: "{text}"`'
        if name.text not in ("weekly", "daily", "monthly"):  # a time follows these lists
            mend += f", or write a list: `[{text}]`"
        self.problems.append(Problem(self._file, name.line, name.column, message, mend))
        entries[-1] = name, Scalar(text, before.line, before.column)

    def _refuse(self, index: int, message: str, mend: str) -> NoReturn:
        self.note(index, message, mend)
        raise _RefusedError
