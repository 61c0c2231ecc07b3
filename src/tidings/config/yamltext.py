"""A strict reader of YAML: every scalar is its source text, and everything has its place in the file.

Plain YAML turns 12:30 into 750, no into False and 010 into 8, keeps the last of two equal keys, and lets nine lines of
aliases fill the memory. Here scalars stay text and the schema types them; anchors, aliases, merges, tags and directives
are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from tidings.model.problem import Problem

MAX_BYTES = 1_000_000
MAX_DEPTH = 32


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
        """The value of a key."""
        return next((value for name, value in self.entries if name.text == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Values in order."""

    items: tuple[Node, ...]
    line: int
    column: int


Node = Scalar | Mapping | Sequence


class _RefusedError(Exception):
    def __init__(self, problem: Problem) -> None:
        self.problem = problem


def read_text(raw: bytes, file: str) -> tuple[str | None, list[Problem]]:
    """UTF-8 text of a file, a byte order mark taken off; or the problem."""
    if len(raw) > MAX_BYTES:
        return None, [Problem(file, 0, 0, f"the file has {len(raw):,} bytes", f"keep it under {MAX_BYTES:,}")]
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return None, [Problem(file, line, 0, "this is not UTF-8 text", "save the file as UTF-8 in your editor")]


def read_yaml(text: str, file: str, first_line: int = 1) -> tuple[Node | None, list[Problem]]:
    """The one document in `text`, and everything that is refused in it. None where it is empty or no YAML at all.

    A document with problems is returned too, so that the schema can name its other mistakes in the same run.
    """
    if len(text) > MAX_BYTES:
        return None, [Problem(file, 0, 0, f"the YAML has {len(text):,} characters", f"keep it under {MAX_BYTES:,}")]
    reader = _Reader(file, first_line)
    try:
        return reader.document(text.replace("\r\n", "\n")), reader.problems
    except _RefusedError as refused:
        return None, [*reader.problems, refused.problem]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + first_line if mark else 0
        said = " ".join(str(error.problem or error.context or error).split())
        mend = "indent with spaces, not tabs" if "\\t" in said else "check quotes, colons and indentation here"
        return None, [
            *reader.problems,
            Problem(file, line, mark.column + 1 if mark else 0, f"not valid YAML: {said}", mend),
        ]
    except (YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        mend = "take out characters that cannot be seen" if "special characters" in said else "check the YAML"
        return None, [*reader.problems, Problem(file, first_line, 0, f"not valid YAML: {said}", mend)]


class _Reader:
    def __init__(self, file: str, first_line: int) -> None:
        self._file = file
        self._first = first_line
        self.problems: list[Problem] = []

    def document(self, text: str) -> Node | None:
        events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        node: Node | None = None
        for event in events:
            if isinstance(event, DocumentStartEvent):
                if event.version or event.tags:
                    self._refuse(event, "directives (%YAML, %TAG) are not used here", "take the line out")
                if node is not None:
                    self._refuse(event, "a second document begins here", "keep one document in a file; take out '---'")
            elif isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent, AliasEvent)):
                node = self._node(event, events, 0)
        if isinstance(node, Scalar) and not node.text and not node.quoted:
            return None
        return node

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        line, column = event.start_mark.line + self._first, event.start_mark.column + 1
        if isinstance(event, AliasEvent):
            self._note(event, f"'*{event.anchor}' is an alias", "write the value out, or put it in quotes")
            return Scalar("", line, column)
        if getattr(event, "anchor", None):
            self._note(event, f"'&{event.anchor}' is an anchor", "take it out, or put the text in quotes")
        tag = getattr(event, "ctag", None) or getattr(event, "tag", None)
        if tag is not None and str(tag) not in ("", "None"):
            self._note(event, f"'{tag}' is a tag", "take it out, or put the text in quotes")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH}", "make it flatter")
        if isinstance(event, ScalarEvent):
            return Scalar(event.value, line, column, quoted=event.style is not None)
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(following := next(events), SequenceEndEvent):
                items.append(self._node(following, events, depth + 1))
            return Sequence(tuple(items), line, column)
        entries: list[tuple[Scalar, Node]] = []
        seen: dict[str, int] = {}
        while not isinstance(following := next(events), MappingEndEvent):
            key = self._node(following, events, depth + 1)
            if not isinstance(key, Scalar):
                self._refuse(following, "a key must be one word", "write `key: value`")
            value = self._node(next(events), events, depth + 1)
            assert isinstance(key, Scalar)
            if key.text == "<<" and not key.quoted:
                self._note(following, "'<<' merges are not used here", "write the keys out")
            elif key.text in seen:
                first = seen[key.text]
                self._note(following, f"the key {key.text!r} stands twice, first in line {first}", "keep one of them")
            else:
                seen[key.text] = key.line
                entries.append((key, value))
        return Mapping(tuple(entries), line, column)

    def _problem(self, event: Event, message: str, mend: str) -> Problem:
        mark = event.start_mark
        return Problem(self._file, mark.line + self._first, mark.column + 1, message, mend)

    def _note(self, event: Event, message: str, mend: str) -> None:
        self.problems.append(self._problem(event, message, mend))

    def _refuse(self, event: Event, message: str, mend: str) -> None:
        raise _RefusedError(self._problem(event, message, mend))
