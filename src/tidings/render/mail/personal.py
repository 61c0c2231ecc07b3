"""The personal parts of a mail: places in templates, and what is spliced into them for each reader.

A place is text that premailer, libxml2 and base64 leave alone (`@@...@@`; braces would be percent-encoded inside an
href).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

TOKEN: Final = "@@tidings."  # noqa: S105
SLOT: Final = re.compile(r"@@tidings\.((?:if|end)\.)?([a-z_]+)@@")
LEFTOVER: Final = re.compile(r"(?:@|%40){2}tidings\.", re.IGNORECASE)
READER_PARTS: Final = ("name", "unsubscribe_url", "preferences_url", "view_url")
SELECTION_PARTS: Final = ("subject", "preheader")
ARCHIVE_PARTS: Final = ("archive_url", "subscribe_url")
"""What only the page in the archive has, where nothing is any reader's."""
PARTS: Final = READER_PARTS + SELECTION_PARTS + ARCHIVE_PARTS
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class UnknownPartError(ValueError):
    """A template names a personal part that does not exist."""


class PersonalError(ValueError):
    """A reader's value cannot stand in a mail: it holds control characters."""


@dataclass(frozen=True, slots=True)
class PersonalValues:
    """What differs from reader to reader; '' leaves out what stands in `personal.when(...)`."""

    name: str = ""
    unsubscribe_url: str = ""
    preferences_url: str = ""
    view_url: str = ""


class PersonalPlaceholders:
    """`personal` in templates: every attribute is a place. `form` is Markup in HTML and str in text."""

    def __init__(self, form: type[str]) -> None:
        self._form = form

    def __getattr__(self, name: str) -> str:
        if name not in PARTS:
            raise AttributeError(f"there is no personal part {name!r}; there are {', '.join(PARTS)}")
        return self._form(f"{TOKEN}{name}@@")

    def when(self, name: str, caller: Any) -> str:
        """`{% call personal.when('view_url') %}...{% endcall %}`: only for readers who have that part."""
        if name not in PARTS:
            raise UnknownPartError(f"personal.when({name!r}): there is no such part; there are {', '.join(PARTS)}")
        return self._form(f"{TOKEN}if.{name}@@{caller()}{TOKEN}end.{name}@@")


def escape_placeholders(text: str) -> str:
    """`text` from outside, in which a place is only text."""
    return text.replace("@@", "@\u2060@") if TOKEN in text else text


def check_values(values: Mapping[str, str]) -> Mapping[str, str]:
    """`values` unchanged; PersonalError if one holds a control character."""
    for name, value in values.items():
        if _CONTROL.search(value):
            raise PersonalError(f"{name}: control characters are not allowed in a mail")
    return values


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The place of one part."""

    name: str


def split_placeholders(text: str, present: frozenset[str]) -> Iterator[str | Placeholder]:
    """`text` as literals and slots, without what is only for readers who have a part that is not in `present`."""
    start = 0
    hidden = ""
    for match in SLOT.finditer(text):
        mark, name = match[1], match[2]
        if not hidden and match.start() > start:
            yield text[start : match.start()]
        start = match.end()
        if mark == "if." and not hidden and name not in present:
            hidden = name
        elif mark == "end." and hidden == name:
            hidden = ""
        elif mark is None and not hidden:
            yield Placeholder(name)
    if not hidden and start < len(text):
        yield text[start:]


def find_conditions(text: str) -> frozenset[str]:
    """The parts whose presence changes `text`."""
    return frozenset(match[2] for match in SLOT.finditer(text) if match[1] == "if.")


def fill_placeholders(text: str, values: Mapping[str, str], *, escape: bool) -> str:
    """`text` with its slots filled; `escape` for HTML."""
    present = frozenset(name for name, value in values.items() if value)

    def value(name: str) -> str:
        found = values.get(name, "")
        return html.escape(found) if escape else found

    return "".join(
        piece if isinstance(piece, str) else value(piece.name) for piece in split_placeholders(text, present)
    )
