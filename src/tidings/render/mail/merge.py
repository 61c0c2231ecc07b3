"""A mail of one selection, made once for all its readers: what is theirs is filled into the gaps.

Nothing in here looks twice at what is the same for everybody. Header fields that differ are To, Message-ID and
List-Unsubscribe; of the body, the slots.
"""

from __future__ import annotations

import hashlib
import html
import re
from binascii import b2a_base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tidings.render.mail.headers import (
    MailHeaders,
    fixed_headers,
    message_id_header,
    reader_header,
    unsubscribe_headers,
)
from tidings.render.mail.personal import READER_PARTS, PersonalValues, check_values

if TYPE_CHECKING:
    from tidings.render.mail.mime import Run

_LINE: Final = 57
"""Bytes of a line of base64 of 76 characters."""
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_SIMPLE: Final = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_MARKUP: Final = re.compile(r"[&<>\"']")
_SHORT_NAME: Final = 45
"""Bytes of UTF-8 that fit into one encoded-word behind `To: `."""

_GAP: Final = "-gap-"
"""Stands where a reader's token will, while the fields around it are made."""

Plan = Sequence["Run | str"]
"""Runs of literals, and names of slots."""
Values = tuple[bytes, ...]
Remainders = tuple[int, ...]


def encode_lines(data: bytes) -> bytes:
    """Base64 in lines of at most 76 characters, each ending in CRLF."""
    if 0 < len(data) <= _LINE:
        return b2a_base64(data, newline=False) + b"\r\n"
    encoded = b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[at : at + 76] for at in range(0, len(encoded), 76)]) + b"\r\n" if data else b""


class MergedMail:
    """`fill` it for each reader. For one thread: it remembers where the gaps are."""

    def __init__(self, text: Plan, page: Plan, headers: MailHeaders, *, way_out: str = "", domain: str = "") -> None:
        """Plans of the text and the HTML; of `headers` the reader's own fields do not count.

        `way_out` is what every reader's unsubscribe URL begins with: where it is given, the plans' slot holds the rest.
        """
        # Underscores: base64 has none, so the boundary cannot stand in a part.
        mark = hashlib.sha256(f"{headers.list_id} {headers.date} {headers.subject}".encode()).hexdigest()[:24]
        boundary = f"=_tidings_{mark}".encode()
        self._sender, self._middle, self._edition = fixed_headers(headers)
        self._mailto = headers.unsubscribe_mailto
        self._type = b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n' % boundary
        kind = b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        self._parts = ((kind % (boundary, b"plain"), text), (kind % (boundary, b"html"), page))
        self._end = b"--%b--\r\n" % boundary
        self._layouts: dict[Remainders, _Layout | None] = {}
        if way_out:
            # One URI is as good as another: what stands around the reader's part is the same for all.
            message_id_header(f"<x@{domain}>")
            self._before_id = self._middle + b"Message-ID: <"
            leave = unsubscribe_headers(f"{way_out}{_GAP}", self._mailto).split(_GAP.encode())
            self._after_id = b"@" + domain.encode("ascii") + b">\r\n" + self._edition + leave[0]
            self._leave, self._after_leave = leave[1:-1], leave[-1] + self._type

    def fill_quick(
        self, address: str, name: str, left: bytes, token: bytes, choices: bytes
    ) -> tuple[bytes, list[bytes]]:
        """`fill` where the beginnings of URLs and `domain` were given. `left`: the Message-ID's left part, hexadecimal.

        `token` is what the unsubscribe URL ends with, `choices` what the URL of preferences does, both in base64url.
        """
        leave = token.join([b"", *self._leave, b""]) if self._leave else token
        head = b"".join(
            (self._sender, _to(name, address), self._before_id, left, self._after_id, leave, self._after_leave)
        )
        if not name.isprintable():
            check_values({"name": name})
        raw = name.encode()
        escaped = html.escape(name).encode() if _MARKUP.search(name) else raw
        return head, self._body((raw, token, choices, b"", escaped, token, choices, b""))

    def fill(self, address: str, name: str, message_id: str, personal: PersonalValues) -> tuple[bytes, list[bytes]]:
        """The header, each field ending in CRLF, and the body in pieces, for one reader.

        Raises HeaderError, AddressError or PersonalError, all ValueError, for values that cannot be.
        """
        head = b"".join(
            (
                self._sender,
                _to(name, address),
                self._middle,
                message_id_header(message_id),
                self._edition,
                unsubscribe_headers(personal.unsubscribe_url, self._mailto),
                self._type,
            )
        )
        given = [check_values({part: getattr(personal, part)})[part] for part in READER_PARTS]
        return head, self._body((*[v.encode() for v in given], *[html.escape(v).encode() for v in given]))

    def _body(self, values: Values) -> list[bytes]:
        """`values` are the READER_PARTS for the text, and those for the HTML."""
        key = tuple([len(value) % 3 for value in values])
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._laid_out(key)
            # From the second reader on: it holds on to its pieces, and many a selection has but one reader.
            self._layouts[key] = layout if key in self._layouts else None
        pieces, gaps, odd = layout
        body = pieces.copy()
        for at, before, which, after in gaps:
            data = before + values[which] + after
            body[at] = b2a_base64(data, newline=False) + b"\r\n" if 0 < len(data) <= _LINE else encode_lines(data)
        for at, parts in odd:
            body[at] = encode_lines(b"".join([values[part] if isinstance(part, int) else part for part in parts]))
        return body

    def _laid_out(self, lengths: Remainders) -> _Layout:
        layout = _Layout([], [], [])
        for number, (head, plan) in enumerate(self._parts):
            layout.pieces.append(head)
            layout.add(plan, lengths, number * len(READER_PARTS))
        layout.pieces.append(self._end)
        return layout


class _Layout(NamedTuple):
    """A body for all whose values leave the same remainders by three: base64 takes three bytes at a time."""

    pieces: list[bytes]
    """Empty where a gap is."""
    gaps: list[tuple[int, bytes, int, bytes]]
    """Which of the pieces; what goes before a value; which value; what goes after it."""
    odd: list[tuple[int, list[bytes | int]]]
    """Gaps where values stand side by side."""

    def add(self, plan: Plan, lengths: Remainders, first: int) -> None:
        """What is not yet a whole triple of bytes is carried on to what follows. `first`: the first of its values."""
        open_: list[bytes | int] = []
        size = 0
        for part in plan:
            if isinstance(part, str):
                which = first + READER_PARTS.index(part)
                open_.append(which)
                size += lengths[which]
                continue
            head, body, tail = part.at(size % 3)
            open_.append(head)
            size += len(head)
            if size % 3:
                # A literal too short to complete the triple.
                open_.append(tail)
                size += len(tail)
                continue
            self._close(open_)
            if body:
                self.pieces.append(body)
            open_, size = [tail], len(tail)
        self._close(open_)

    def _close(self, open_: list[bytes | int]) -> None:
        values = [part for part in open_ if isinstance(part, int)]
        if len(values) == 1:
            at = open_.index(values[0])
            before, after = (b"".join([p for p in side if isinstance(p, bytes)]) for side in (open_[:at], open_[at:]))
            self.gaps.append((len(self.pieces), before, values[0], after))
            self.pieces.append(b"")
        elif values:
            self.odd.append((len(self.pieces), open_))
            self.pieces.append(b"")
        elif data := b"".join([part for part in open_ if isinstance(part, bytes)]):
            self.pieces.append(encode_lines(data))


def _to(name: str, address: str) -> bytes:
    """`To`; the usual ones without a detour."""
    if not _SIMPLE.fullmatch(address):
        return reader_header(name, address)
    if not name:
        return b"To: %s\r\n" % address.encode("ascii")
    raw = name.encode()
    if len(raw) > _SHORT_NAME or name.isascii() or not name.isprintable() or name != name.strip() or "  " in name:
        return reader_header(name, address)
    # RFC 2047 §2.
    word = b"To: =?utf-8?b?%s?=" % b2a_base64(raw, newline=False)
    # At most 76 characters a line where the words allow it.
    fold = b"\r\n <" if len(word) + len(address) + 3 > 76 else b" <"
    return word + fold + address.encode("ascii") + b">\r\n"
