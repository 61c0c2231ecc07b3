"""A mail of one selection, made once for all its readers: what is theirs is filled into the gaps.

Nothing in here looks twice at what is the same for everybody. Header fields that differ are To, Message-ID and
List-Unsubscribe; of the body, the slots.
"""

from __future__ import annotations

import hashlib
import html
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tidings.render.headers import MailHeaders, fixed_headers, message_id_header, reader_header, unsubscribe_headers
from tidings.render.personal import READER_PARTS, Personal, checked

if TYPE_CHECKING:
    from tidings.render.mime import Run

_LINE: Final = 57
"""Bytes of a line of base64 of 76 characters."""
_SIMPLE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_SHORT_NAME: Final = 45
"""Bytes of UTF-8 that fit into one encoded-word behind `To: `."""

_GAP: Final = "-gap-"
"""Stands where a reader's token will, while the fields around it are made."""

Plan = Sequence["Run | str"]
"""Runs of literals, and names of slots."""


def encode_lines(data: bytes) -> bytes:
    """Base64 in lines of at most 76 characters, each ending in CRLF."""
    if len(data) <= _LINE:
        return b2a_base64(data, newline=False) + b"\r\n" if data else b""
    encoded = b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[at : at + 76] for at in range(0, len(encoded), 76)]) + b"\r\n"


class Stencil:
    """`fill` it for each reader. Not for several threads at once: runs remember what they joined."""

    def __init__(self, text: Plan, page: Plan, headers: MailHeaders, *, way_out: str = "", domain: str = "") -> None:
        """Plans of the text and the HTML; of `headers` the reader's own fields do not count.

        `way_out` is what every reader's unsubscribe URL begins with: where it is given, the plans' slot holds the rest.
        """
        # Underscores: base64 has none, so the boundary cannot stand in a part.
        mark = hashlib.sha256(f"{headers.list_id} {headers.date} {headers.subject}".encode()).hexdigest()[:24]
        boundary = f"=_tidings_{mark}".encode()
        self._sender, self._middle, self._edition = fixed_headers(headers)
        self._mailto = headers.unsubscribe_mailto
        self._way_out = way_out
        self._type = b'Content-Type: multipart/alternative;\r\n boundary="%s"\r\n' % boundary
        kind = b"--%s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        self._text_head = kind % (boundary, b"plain")
        self._page_head = kind % (boundary, b"html")
        self._end = b"--%s--\r\n" % boundary
        self._text = text
        self._page = page
        if way_out:
            # One URI is as good as another: what stands around the reader's part is the same for all.
            message_id_header(f"<x@{domain}>")
            self._before_id = self._middle + b"Message-ID: <"
            self._after_id = b"@" + domain.encode("ascii") + b">\r\n" + self._edition
            self._leave = unsubscribe_headers(f"{way_out}{_GAP}", self._mailto).split(_GAP.encode())

    def fill_quick(
        self, address: str, name: str, left: bytes, token: bytes, choices: bytes
    ) -> tuple[bytes, list[bytes]]:
        """`fill` where the beginnings of URLs and `domain` were given. `left`: the Message-ID's left part, hexadecimal.

        `token` is what the unsubscribe URL ends with, `choices` what the URL of preferences does, both in base64url.
        """
        leave = token.join(self._leave)
        head = b"".join((self._sender, _to(name, address), self._before_id, left, self._after_id, leave, self._type))
        if not name.isprintable():
            checked({"name": name})
        raw = name.encode()
        values = {"name": raw, "unsubscribe_url": token, "preferences_url": choices, "view_url": b""}
        body = [self._text_head]
        _splice(body, self._text, values)
        body.append(self._page_head)
        if name and not name.isalnum():
            values["name"] = html.escape(name).encode()
        _splice(body, self._page, values)
        body.append(self._end)
        return head, body

    def fill(self, address: str, name: str, message_id: str, personal: Personal) -> tuple[bytes, list[bytes]]:
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
        given = checked({part: getattr(personal, part) for part in READER_PARTS})
        body = [self._text_head]
        _splice(body, self._text, {part: value.encode() for part, value in given.items()})
        body.append(self._page_head)
        _splice(body, self._page, {part: html.escape(value).encode() for part, value in given.items()})
        body.append(self._end)
        return head, body


def _to(name: str, address: str) -> bytes:
    """`To`; the usual ones without a detour."""
    if not _SIMPLE.fullmatch(address) or ".." in address or ".@" in address or address[0] == ".":
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


def _splice(out: list[bytes], plan: Plan, values: Mapping[str, bytes]) -> None:
    """Add a part: what is not yet a whole triple of bytes is carried on to what follows."""
    open_ = b""
    for part in plan:
        if part.__class__ is str:
            open_ += values[part]
            continue
        head, body, tail = part.at(len(open_) % 3)  # type: ignore[union-attr]
        open_ += head
        if len(open_) % 3:
            # A literal too short to complete the triple.
            open_ += tail
            continue
        if open_:
            out.append(encode_lines(open_))
        if body:
            out.append(body)
        open_ = tail
    if open_:
        out.append(encode_lines(open_))
