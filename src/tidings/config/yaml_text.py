"""A strict reader of YAML: every scalar is its source text, and every node has its line and column.

Plain YAML turns 12:30 into 750, no into False and 010 into 8, keeps the last of two equal keys, and lets nine lines of
aliases fill the memory. Here scalars stay text and the schema types them; anchors, aliases, merges, tags and directives
are refused.
"""

from __future__ import annotations

import re
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
"""In one file. More would not help a person who has pasted something that is not YAML."""

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#.*)?\n)*(?=%)")
_MENDS = (
    ("'\\t'", "write spaces instead of the tab"),
    ("mapping values are not allowed", "put a text that has a colon in quotes"),
    ("that cannot start any token", "put the text in quotes"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("sequence entries are not allowed", "begin a new line before the `-`"),
    ("unexpected end of stream", "close the quotes that are opened here"),
    ("unknown escape character", "double the backslash, or use single quotes"),
    ("<stream end>", "close the bracket that is opened here"),
    ("expected <block end>", "begin the lines that belong together in the same column"),
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar's source text, or its value where it was quoted. Lines and columns count from 1."""

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


def read_yaml(text: str, file: str, first_line: int = 1) -> tuple[Node | None, list[Problem]]:
    """Return the document in `text` and its problems. The document is None if it is empty or no YAML at all.

    A document with problems is returned too, so that the schema can name its other mistakes in the same run.
    """
    if len(text) > MAX_BYTES:
        return None, [Problem(file, 0, 0, f"the YAML has {len(text):,} characters", f"keep it under {MAX_BYTES:,}")]
    reader = _Reader(text, file, first_line)
    try:
        return reader.document(), reader.problems
    except _RefusedError:
        pass
    except MarkedYAMLError as error:
        reader.invalid(error)
    except (YAMLError, ValueError, RecursionError) as error:
        reader.note(0, f"not valid YAML: {' '.join(str(error).split())[:200]}", "check the YAML")
    return None, reader.problems


class _Reader:
    """The reader of one text. It computes lines itself: for the library U+2028 begins a line, for editors not."""

    def __init__(self, text: str, file: str, first_line: int) -> None:
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self._file = file
        self._first = first_line
        self._starts = [0, *(match.end() for match in re.finditer("\n", self._text))]
        self.problems: list[Problem] = []

    def document(self) -> Node | None:
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
        """Note an error of the library where the mistake is: at the opening bracket or quote, not at the end."""
        message = " ".join(str(error.problem or error.context or error).split())
        mend = next((mend for words, mend in _MENDS if words in message), "check quotes, colons and indentation here")
        mark = error.problem_mark or error.context_mark
        begun = error.context_mark
        if begun is not None and mark is not None:
            if "expected ',' or" in message and begun.line != mark.line:
                mend, mark = "close the bracket that is opened here", begun
            elif "end of stream" in message or "<stream end>" in message:
                mark = begun
        self.note(mark.index if mark is not None else 0, f"not valid YAML: {message[:200]}", mend)

    def _place(self, index: int) -> tuple[int, int]:
        line = bisect_right(self._starts, index)
        return line - 1 + self._first, index - self._starts[line - 1] + 1

    def _characters(self) -> None:
        for match in _UNSEEN.finditer(self._text):
            message = f"there is an invisible character here (U+{ord(match[0]):04X})"
            self.note(match.start(), message, "take it out, or type the line again")
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
        if isinstance(event, ScalarEvent):
            return Scalar(event.value, line, column, quoted=event.style is not None)
        if depth >= MAX_DEPTH:
            self._refuse(index, f"nested deeper than {MAX_DEPTH}", "make it flatter")
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(following := next(events), SequenceEndEvent):
                items.append(self._node(following, events, depth + 1))
            return Sequence(tuple(items), line, column)
        return Mapping(self._entries(events, depth), line, column)

    def _entries(self, events: Iterator[Any], depth: int) -> tuple[tuple[Scalar, Node], ...]:
        entries: list[tuple[Scalar, Node]] = []
        seen: dict[str, int] = {}
        while not isinstance(following := next(events), MappingEndEvent):
            index = following.start_mark.index
            key = self._node(following, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, Scalar):
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

    def _refuse(self, index: int, message: str, mend: str) -> NoReturn:
        self.note(index, message, mend)
        raise _RefusedError
