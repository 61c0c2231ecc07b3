"""MIME bodies in base64, in pieces that can be joined without encoding them again.

Base64 encodes three bytes at a time. Each literal is therefore encoded once for each of the three places in a triple
where it may begin, and bytes that do not fill a triple are carried over to the next part. Lines at the joints are
short, which RFC 2045 §6.8 allows (at most 76 characters).
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Sequence
from typing import Final, NamedTuple

from tidings.render.mail.headers import MailHeaders, header_bytes

LINE_BYTES: Final = 57
"""Bytes that one line of base64 of 76 characters holds."""

Form = tuple[bytes, bytes, bytes]
"""The bytes that complete the open triple, the encoded whole lines, and the 0 to 2 bytes that are carried over."""


def encode_text(text: str) -> bytes:
    """Encode text in UTF-8 with CRLF: line ends must be canonical before base64 (RFC 2045 §6.8)."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode("utf-8")


def encode_lines(data: bytes) -> bytes:
    """Encode in base64, in lines of at most 76 characters, each ending in CRLF."""
    encoded = b2a_base64(data, newline=False)
    if len(data) <= LINE_BYTES:
        return encoded + b"\r\n" if data else b""
    if len(data) <= 2 * LINE_BYTES:
        # The fast path for a reader's link, of which each mail has several.
        return b"".join((encoded[:76], b"\r\n", encoded[76:], b"\r\n"))
    return b"\r\n".join([encoded[at : at + 76] for at in range(0, len(encoded), 76)]) + b"\r\n"


class Literal:
    """Bytes that are the same for all readers, encoded once for each alignment."""

    __slots__ = ("_forms", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._forms: list[Form | None] = [None, None, None]

    def at(self, carried: int) -> Form:
        """The form after `carried` bytes (0 to 2) of an open triple."""
        form = self._forms[carried]
        if form is None:
            need = -carried % 3
            if len(self.raw) < need:
                return self.raw, b"", b""
            end = need + (len(self.raw) - need) // 3 * 3
            form = (self.raw[:need], encode_lines(self.raw[need:end]), self.raw[end:])
            self._forms[carried] = form
        return form


class LiteralRun:
    """Adjacent literals. The joined form of an alignment is kept once a second reader needs it."""

    __slots__ = ("_forms", "_used", "literals")

    def __init__(self, literals: Sequence[Literal]) -> None:
        """Join short literals at the start: the first one must complete any open triple."""
        while len(literals) > 1 and len(literals[0].raw) < 2:
            literals = [Literal(literals[0].raw + literals[1].raw), *literals[2:]]
        self.literals = literals
        self._forms: list[Form | None] = [None, None, None]
        self._used = [False, False, False]

    def at(self, carried: int) -> Form:
        """The form after `carried` bytes (0 to 2) of an open triple."""
        form = self._forms[carried]
        if form is None:
            form = self._join(carried)
            if self._used[carried]:
                self._forms[carried] = form
            self._used[carried] = True
        return form

    def _join(self, carried: int) -> Form:
        first, body, carry = self.literals[0].at(carried)
        out = [body]
        for literal in self.literals[1:]:
            head, body, tail = literal.at(len(carry))
            if carry:
                carry += head
                if len(carry) < 3:
                    continue
                out.append(b2a_base64(carry, newline=False) + b"\r\n")
            out.append(body)
            carry = tail
        return first, b"".join(out), carry


BodyParts = Sequence[LiteralRun | int]
"""A body in order: fixed text, and for each gap the number of its value."""


class BodyLayout(NamedTuple):
    """An encoded body with gaps. It fits all values whose lengths leave the same remainders by three (base64)."""

    pieces: list[bytes]
    """Pieces of the body; empty at each gap."""
    gaps: list[tuple[int, bytes, int, bytes]]
    """Gaps with one value: the place in `pieces`, the bytes before the value, its number, the bytes after it."""
    joint_gaps: list[tuple[int, list[bytes | int]]]
    """Gaps with several values side by side: the place in `pieces`, and bytes and numbers of values in order."""

    def add(self, parts: BodyParts, remainders: Sequence[int]) -> None:
        """Append a part. Bytes that do not fill a triple are carried over to the next one."""
        open_: list[bytes | int] = []
        size = 0
        for part in parts:
            if isinstance(part, int):
                open_.append(part)
                size += remainders[part]
                continue
            head, body, tail = part.at(size % 3)
            open_.append(head)
            size += len(head)
            if size % 3:
                # The literal is too short to complete the triple.
                open_.append(tail)
                size += len(tail)
                continue
            self._close(open_)
            if body:
                self.pieces.append(body)
            open_, size = [tail], len(tail)
        self._close(open_)

    def _close(self, open_: list[bytes | int]) -> None:
        numbers = [part for part in open_ if isinstance(part, int)]
        if len(numbers) == 1:
            at = open_.index(numbers[0])
            before, after = (b"".join([p for p in side if isinstance(p, bytes)]) for side in (open_[:at], open_[at:]))
            self.gaps.append((len(self.pieces), before, numbers[0], after))
            self.pieces.append(b"")
        elif numbers:
            self.joint_gaps.append((len(self.pieces), open_))
            self.pieces.append(b"")
        elif data := b"".join([part for part in open_ if isinstance(part, bytes)]):
            self.pieces.append(encode_lines(data))

    def fill(self, values: Sequence[bytes]) -> list[bytes]:
        """Return the pieces with `values` in the gaps."""
        body = self.pieces.copy()
        for at, before, number, after in self.gaps:
            data = before + values[number] + after
            # One short line is the usual case, and the fast path.
            body[at] = b2a_base64(data, newline=False) + b"\r\n" if 0 < len(data) <= LINE_BYTES else encode_lines(data)
        for at, parts in self.joint_gaps:
            body[at] = encode_lines(b"".join([values[part] if isinstance(part, int) else part for part in parts]))
        return body


class MultipartAlternative:
    """Content-Type, the heads of the text and HTML parts, and the closing boundary of a multipart/alternative body."""

    def __init__(self, seed: str) -> None:
        # The boundary has underscores, which base64 does not have, so it cannot occur in a part.
        boundary = b"=_tidings_%b" % hashlib.sha256(seed.encode()).hexdigest()[:24].encode()
        self.content_type = b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n' % boundary
        head = b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        self.text_head, self.html_head = head % (boundary, b"plain"), head % (boundary, b"html")
        self.end = b"--%b--\r\n" % boundary


def plain_message(headers: MailHeaders, text: str, page: str | None = None) -> bytes:
    """Return a mail of plain text, with an HTML part if `page` is given: notices, confirmations, welcome mails."""
    head = header_bytes(headers, headers.subject)
    if page is None:
        kind = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        return head + kind + encode_lines(encode_text(text))
    multipart = MultipartAlternative(headers.message_id)
    parts = (multipart.text_head, encode_lines(encode_text(text)), multipart.html_head, encode_lines(encode_text(page)))
    return b"".join((head, multipart.content_type, b"\r\n", *parts, multipart.end))
