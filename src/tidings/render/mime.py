"""A reader's mail as bytes: fragments that were encoded beforehand, joined, with the personal parts spliced in.

Base64 takes three bytes at a time, so a fragment is encoded for each of the three places in a triple where it may
begin; what does not fill a triple is carried over to what follows. Lines at the joints are short, which RFC 2045 §6.8
allows (at most 76).
"""

from __future__ import annotations

import hashlib
import html
from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tidings.render.digest import Arrangement
from tidings.render.fragments import Document, wire
from tidings.render.headers import HeaderError, MailHeaders, header_bytes
from tidings.render.personal import READER_PARTS, Personal, PersonalError, Slot, checked, conditions, pieces

__all__ = ["Compiled", "HeaderError", "MailHeaders", "Personal", "PersonalError", "compile_document", "plain_message"]

_PREPARED: Final = 64
"""Arrangements kept ready, about 150 KB each."""

Form = tuple[bytes, bytes, bytes]
"""What completes the open triple, encoded whole lines, and the 0 to 2 bytes carried over."""


class Literal:
    """Bytes, encoded once for each alignment."""

    __slots__ = ("_forms", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._forms: list[Form | None] = [None, None, None]

    def at(self, carried: int) -> Form:
        """Its form after `carried` bytes (0 to 2) of an open triple."""
        form = self._forms[carried]
        if form is None:
            need = -carried % 3
            if len(self.raw) < need:
                return self.raw, b"", b""
            end = need + (len(self.raw) - need) // 3 * 3
            form = (self.raw[:need], encode_lines(self.raw[need:end]), self.raw[end:])
            self._forms[carried] = form
        return form


class Run:
    """Literals in a row. They are made into one when a second reader gets them at the same alignment."""

    __slots__ = ("_forms", "_used", "literals")

    def __init__(self, literals: Sequence[Literal]) -> None:
        self.literals = literals
        self._forms: list[Form | None] = [None, None, None]
        self._used = [False, False, False]

    def append_to(self, out: list[bytes], carry: bytes) -> bytes:
        """Adds all literals after `carry`; returns what is carried on."""
        place = len(carry)
        if not self._used[place]:
            self._used[place] = True
            for literal in self.literals:
                carry = _append(out, carry, literal.at(len(carry)))
            return carry
        form = self._forms[place]
        if form is None:
            form = self._forms[place] = self._joined(place)
        return _append(out, carry, form)

    def _joined(self, carried: int) -> Form:
        first, body, carry = self.literals[0].at(carried)
        out = [body]
        for literal in self.literals[1:]:
            carry = _append(out, carry, literal.at(len(carry)))
        return first, b"".join(out), carry


def encode_lines(data: bytes) -> bytes:
    """Base64 in lines of at most 76 characters, each ending in CRLF."""
    if not data:
        return b""
    encoded = b2a_base64(data, newline=False)
    return b"\r\n".join([encoded[at : at + 76] for at in range(0, len(encoded), 76)]) + b"\r\n"


def _append(out: list[bytes], carry: bytes, form: Form) -> bytes:
    """Adds a form after `carry`; returns what is carried on."""
    head, body, tail = form
    if carry:
        carry += head
        if len(carry) < 3:
            return carry
        out.append(b2a_base64(carry, newline=False) + b"\r\n")
    out.append(body)
    return tail


Prepared = tuple[tuple["Run | str", ...], tuple["Run | str", ...]]
"""The text part and the HTML part, as runs and names of personal parts."""


class Compiled:
    """A document ready to send: each fragment is encoded at most three times, however many readers there are."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._conditions = frozenset(
            name
            for fragment in document.fragments.values()
            for name in conditions(fragment.html) | conditions(fragment.text)
        )
        self._fragments: dict[tuple[str, int, frozenset[str]], list[Literal | Slot]] = {}
        self._prepared: OrderedDict[tuple[Arrangement, frozenset[str]], Prepared] = OrderedDict()

    def message(self, arrangement: Arrangement, headers: MailHeaders, personal: Personal) -> bytes:
        """The whole mail, with CRLF: headers, then text and HTML in base64.

        Raises HeaderError, AddressError or PersonalError, all ValueError, for values that cannot be.
        """
        values = checked({name: getattr(personal, name) for name in READER_PARTS})
        text, page = self._prepare(arrangement, frozenset(name for name in self._conditions if values.get(name)))
        boundary = b"=_tidings_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:24].encode()
        out = [
            header_bytes(headers, headers.subject or arrangement.subject),
            b'Content-Type: multipart/alternative;\r\n boundary="%s"\r\n\r\n' % boundary,
            _part_head(boundary, b"plain"),
        ]
        _splice(out, text, {name: value.encode() for name, value in values.items()})
        out.append(_part_head(boundary, b"html"))
        _splice(out, page, {name: html.escape(value).encode() for name, value in values.items()})
        out.append(b"--%s--\r\n" % boundary)
        return b"".join(out)

    def _prepare(self, arrangement: Arrangement, present: frozenset[str]) -> Prepared:
        found = self._prepared.get((arrangement, present))
        if found is None:
            shared = {"subject": arrangement.subject, "preheader": arrangement.preheader}
            plain = {name: wire(value) for name, value in shared.items()}
            escaped = {name: wire(html.escape(value)) for name, value in shared.items()}
            with_shared = present | {name for name, value in shared.items() if value}
            found = (
                tuple(_runs((p for key in arrangement.keys for p in self._pieces(key, 1, with_shared)), plain)),
                tuple(_runs((p for key in arrangement.keys for p in self._pieces(key, 0, with_shared)), escaped)),
            )
            self._prepared[(arrangement, present)] = found
            if len(self._prepared) > _PREPARED:
                self._prepared.popitem(last=False)
        return found

    def _pieces(self, key: str, form: int, present: frozenset[str]) -> list[Literal | Slot]:
        """A fragment's literals and slots, the same objects each time."""
        found = self._fragments.get((key, form, present))
        if found is None:
            fragment = self.document.fragments[key]
            source = fragment.text if form else fragment.html
            found = [p if isinstance(p, Slot) else Literal(wire(p)) for p in pieces(source, present)]
            self._fragments[(key, form, present)] = found
        return found


def compile_document(document: Document) -> Compiled:
    """Ready to make messages from `document`. Not for several threads at once."""
    return Compiled(document)


def _part_head(boundary: bytes, subtype: bytes) -> bytes:
    # The boundary holds `_`, which base64 never does: it cannot occur in a part.
    kind = b"Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" % subtype
    return b"--%s\r\n" % boundary + kind


def _runs(parts: Iterable[Literal | Slot], shared: Mapping[str, bytes]) -> Iterable[Run | str]:
    """Literals in a row as runs; slots that `shared` fills become literals."""
    row: list[Literal] = []
    for part in parts:
        if isinstance(part, Slot) and part.name not in shared:
            if row:
                yield Run(_long_enough(row))
            row = []
            yield part.name
        else:
            literal = Literal(shared[part.name]) if isinstance(part, Slot) else part
            if literal.raw:
                row.append(literal)
    if row:
        yield Run(_long_enough(row))


def _long_enough(row: list[Literal]) -> list[Literal]:
    """A run begins with a literal that completes any open triple; one of a byte is merged with what follows."""
    while len(row) > 1 and len(row[0].raw) < 2:
        row = [Literal(row[0].raw + row[1].raw), *row[2:]]
    return row


def _splice(out: list[bytes], parts: Iterable[Run | str], values: Mapping[str, bytes]) -> None:
    carry = b""
    for part in parts:
        if isinstance(part, str):
            data = carry + values[part]
            end = len(data) // 3 * 3
            if end:
                out.append(encode_lines(data[:end]))
            carry = data[end:]
        else:
            carry = part.append_to(out, carry)
    if carry:
        out.append(b2a_base64(carry, newline=False) + b"\r\n")


def plain_message(headers: MailHeaders, text: str, page: str | None = None) -> bytes:
    """A mail of plain text, and HTML beside it if given: notices, confirmations, welcomes."""
    lines = [header_bytes(headers, headers.subject)]
    if page is None:
        lines.append(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
        lines.append(encode_lines(wire(text)))
        return b"".join(lines)
    boundary = b"=_tidings_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:24].encode()
    lines.append(b'Content-Type: multipart/alternative;\r\n boundary="%s"\r\n\r\n' % boundary)
    lines += [_part_head(boundary, b"plain"), encode_lines(wire(text))]
    lines += [_part_head(boundary, b"html"), encode_lines(wire(page)), b"--%s--\r\n" % boundary]
    return b"".join(lines)
