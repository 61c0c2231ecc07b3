"""The personal parts of a mail: placeholders in templates, and each reader's values for them.

A placeholder is text that premailer, libxml2 and base64 leave unchanged (`@@...@@`; braces would be percent-encoded
inside an href).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_START: Final = "@@tidings."
_PLACEHOLDER: Final = re.compile(r"@@tidings\.((?:if|end)\.)?([a-z_]+)@@")
LEFTOVER: Final = re.compile(r"(?:@|%40){2}tidings\.", re.IGNORECASE)
READER_PARTS: Final = ("name", "unsubscribe_url", "preferences_url", "view_url")
SELECTION_PARTS: Final = ("subject", "preheader")
ARCHIVE_PARTS: Final = ("archive_url", "subscribe_url")
"""Values for the archive page, which has no single reader."""
PARTS: Final = READER_PARTS + SELECTION_PARTS + ARCHIVE_PARTS


class UnknownPartError(ValueError):
    """A template uses a personal part that does not exist."""


class PersonalPlaceholders:
    """`personal` in templates: every attribute is a placeholder. `form` is Markup in HTML and str in text."""

    def __init__(self, form: type[str]) -> None:
        self._form = form

    def __getattr__(self, name: str) -> str:
        if name not in PARTS:
            raise AttributeError(f"there is no personal part {name!r}; the parts are {', '.join(PARTS)}")
        return self._form(f"{_START}{name}@@")

    def when(self, name: str, caller: Any) -> str:
        """Show a block only to readers who have a part: `{% call personal.when('view_url') %}...{% endcall %}`."""
        if name not in PARTS:
            raise UnknownPartError(f"personal.when({name!r}): there is no such part; the parts are {', '.join(PARTS)}")
        return self._form(f"{_START}if.{name}@@{caller()}{_START}end.{name}@@")


def escape_placeholders(text: str) -> str:
    """Make external text safe: a placeholder in it stays text."""
    return text.replace("@@", "@\u2060@") if _START in text else text


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The place of a personal part in a text."""

    name: str


def split_placeholders(text: str, present: frozenset[str]) -> Iterator[str | Placeholder]:
    """Split `text` into literals and placeholders, without the blocks for parts that are not in `present`."""
    start = 0
    hidden = ""
    for match in _PLACEHOLDER.finditer(text):
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
    """Return the parts for which `text` has blocks."""
    return frozenset(match[2] for match in _PLACEHOLDER.finditer(text) if match[1] == "if.")
