"""A rendered edition in one language, as fragments. Each reader's digest is an ordered selection of them.

premailer inlines all fragments in one run, on one page with marker comments. The page is then cut at the markers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any, Final

from tidings.model.errors import InputError
from tidings.render.mail.mime import encode_text

_INDENT: Final = re.compile(r"(?<!\s)\s*\n\s*")
FORMAT: Final = 1
_VOID: Final = frozenset({"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})


class FragmentError(InputError):
    """A part of a template has unbalanced HTML elements, so it cannot be combined into mails."""


@dataclass(frozen=True, slots=True)
class MailFragment:
    """One part as HTML and as text; either may be empty."""

    html: str
    text: str


@dataclass(frozen=True)
class MailDocument:
    """All parts of one edition in one language. Equal input gives equal bytes.

    Keys: `head`, `foot`, `section:KIND` (also `titles`, `corrections`), and for an item `lead:ID`, `item:ID`,
    `short:ID`, `title:ID`, `note:ID`, `correction:ID`. The subject and the preheader are rendered from `briefs` and
    `context`.
    """

    template: str
    subject: str
    language: str
    fragments: Mapping[str, MailFragment]
    briefs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    context: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Values that every layout needs, computed once."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The size of each fragment's HTML in a mail, in bytes (UTF-8, CRLF)."""
        return {key: len(encode_text(fragment.html)) for key, fragment in self.fragments.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data for the store; `from_json` reads it back."""
        return {
            "format": FORMAT,
            "template": self.template,
            "subject": self.subject,
            "language": self.language,
            "fragments": {key: [fragment.html, fragment.text] for key, fragment in self.fragments.items()},
            "briefs": {key: dict(brief) for key, brief in self.briefs.items()},
            "context": {key: dict(values) for key, values in self.context.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MailDocument:
        """Read a stored document. Raises ValueError for another format."""
        if data.get("format") != FORMAT:
            raise ValueError(f"a frozen document has format {data.get('format')!r}; this version reads format {FORMAT}")
        return cls(
            template=data["template"],
            subject=data["subject"],
            language=data["language"],
            fragments={key: MailFragment(*pair) for key, pair in data["fragments"].items()},
            briefs=data["briefs"],
            context=data["context"],
        )


def inline_fragments(head: str, parts: Sequence[tuple[str, str]], foot: str) -> dict[str, str]:
    """Inline the CSS of all fragments in one run. Returns them by key. `foot` closes the elements that `head` opens.

    Raises FragmentError for a part with unbalanced elements.
    """
    keys = [key for key, _ in parts]
    # The markers contain a hash of all content, so nobody can write one into a story, and equal input gives equal
    # bytes.
    everything = "\0".join([head, *(html for _, html in parts), foot])
    secret = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).hexdigest()
    page = head + "".join(f"<!--{secret}:{number}-->{html}" for number, (_, html) in enumerate(parts))
    page += f"<!--{secret}:{len(parts)}-->{foot}"
    for key, html in (("head and foot", head + foot), *parts):
        _check_whole(key, html)
    from tidings.render.inline import inline  # premailer is slow to import, and most commands do not need it

    cut = re.split(rf"<!--{secret}:([0-9]+)-->", inline(page))
    if cut[1::2] != [str(number) for number in range(len(parts) + 1)]:
        raise FragmentError("the template's HTML is broken: its parts cannot be separated")
    pieces = [cut[0], *cut[2::2]]
    return {key: _slim(html) for key, html in zip(["head", *keys, "foot"], pieces, strict=True)}


class _Balance(HTMLParser):
    """The elements that a piece of HTML leaves open, and those that it closes without opening them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.stray.append(tag)


def _check_whole(key: str, html: str) -> None:
    """Refuse unbalanced HTML, because a parser would repair it and move elements to a wrong place."""
    balance = _Balance()
    balance.feed(html)
    balance.close()
    if balance.stray:
        raise FragmentError(f"{key}: closes <{balance.stray[0]}>, which is not its last open element")
    if balance.open:
        raise FragmentError(f"{key}: does not close <{balance.open[-1]}>")


def _slim(html: str) -> str:
    """Remove indentation, which is a tenth of a mail, except where it is visible."""
    return html if "<pre" in html or "<textarea" in html else _INDENT.sub("\n", html)
