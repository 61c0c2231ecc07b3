"""A reader's mail as bytes: fragments that were encoded beforehand, joined, with the personal parts spliced in.

Base64 takes three bytes at a time, so a fragment is encoded for each of the three places in a triple where it may
begin; what does not fill a triple is carried over to what follows. Lines at the joints are short, which RFC 2045 §6.8
allows (at most 76).
"""

from __future__ import annotations

import hashlib
import html
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tidings.render.mail.digest import MailLayout
from tidings.render.mail.fragments import MailDocument, wire
from tidings.render.mail.headers import HeaderError, MailHeaders, header_bytes
from tidings.render.mail.merge import MergedMail, encode_lines
from tidings.render.mail.personal import PersonalValues, PersonalError, Placeholder, find_conditions, split_placeholders

__all__ = ["Compiled", "HeaderError", "MailHeaders", "Personal", "PersonalError", "compile_document", "plain_message"]

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
    """Literals in a row. What they are joined to is kept from the second reader on who gets it at an alignment."""

    __slots__ = ("_forms", "_used", "literals")

    def __init__(self, literals: Sequence[Literal]) -> None:
        self.literals = literals
        self._forms: list[Form | None] = [None, None, None]
        self._used = [False, False, False]

    def at(self, carried: int) -> Form:
        """Its form after `carried` bytes (0 to 2) of an open triple."""
        form = self._forms[carried]
        if form is None:
            form = self._joined(carried)
            if self._used[carried]:
                self._forms[carried] = form
            self._used[carried] = True
        return form

    def _joined(self, carried: int) -> Form:
        first, body, carry = self.literals[0].at(carried)
        out = [body]
        for literal in self.literals[1:]:
            carry = _append(out, carry, literal.at(len(carry)))
        return first, b"".join(out), carry


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


class MailMerge:
    """A document ready to send: each fragment is encoded at most three times, however many readers there are."""

    def __init__(self, document: MailDocument) -> None:
        self.document = document
        self._conditions = frozenset(
            name
            for fragment in document.fragments.values()
            for name in find_conditions(fragment.html) | find_conditions(fragment.text)
        )
        self._fragments: dict[tuple[str, int, frozenset[str]], list[Literal | Placeholder]] = {}

    def message(self, arrangement: MailLayout, headers: MailHeaders, personal: PersonalValues) -> bytes:
        """The whole mail, with CRLF: headers, then text and HTML in base64.

        Raises HeaderError, AddressError or PersonalError, all ValueError, for values that cannot be.
        """
        head, body = self.stencil(arrangement, headers, personal).fill(
            headers.to_address, headers.to_name, headers.message_id, personal
        )
        return b"".join((head, b"\r\n", *body))

    def stencil(
        self,
        arrangement: MailLayout,
        headers: MailHeaders,
        personal: PersonalValues,
        *,
        way_out: str = "",
        choices: str = "",
        domain: str = "",
    ) -> MergedMail:
        """For all readers who have the same parts as `personal`.

        `way_out` is what every unsubscribe URL begins with, `choices` what every URL of preferences does, `domain` what
        every Message-ID ends with.
        """
        present = frozenset(name for name in self._conditions if getattr(personal, name, ""))
        if not headers.subject:
            headers = replace(headers, subject=arrangement.subject)
        text, page = self._prepare(arrangement, present, {"unsubscribe_url": way_out, "preferences_url": choices})
        return MergedMail(text, page, headers, way_out=way_out, domain=domain)

    def _prepare(self, arrangement: MailLayout, present: frozenset[str], begun: Mapping[str, str]) -> Prepared:
        shared = {"subject": arrangement.subject, "preheader": arrangement.preheader}
        plain = {name: wire(value) for name, value in shared.items()}
        escaped = {name: wire(html.escape(value)) for name, value in shared.items()}
        with_shared = present | {name for name, value in shared.items() if value}
        text = (piece for key in arrangement.keys for piece in self._pieces(key, 1, with_shared))
        page = (piece for key in arrangement.keys for piece in self._pieces(key, 0, with_shared))
        return (
            tuple(_runs(text, plain, {name: wire(url) for name, url in begun.items()})),
            tuple(_runs(page, escaped, {name: wire(html.escape(url)) for name, url in begun.items()})),
        )

    def _pieces(self, key: str, form: int, present: frozenset[str]) -> list[Literal | Placeholder]:
        """A fragment's literals and slots, the same objects each time."""
        found = self._fragments.get((key, form, present))
        if found is None:
            fragment = self.document.fragments[key]
            source = fragment.text if form else fragment.html
            found = [p if isinstance(p, Placeholder) else Literal(wire(p)) for p in split_placeholders(source, present)]
            self._fragments[(key, form, present)] = found
        return found


def compile_document(document: MailDocument) -> MailMerge:
    """Ready to make messages from `document`. Not for several threads at once."""
    return MailMerge(document)


def _runs(
    parts: Iterable[Literal | Placeholder], shared: Mapping[str, bytes], begun: Mapping[str, bytes]
) -> Iterable[Run | str]:
    """Literals in a row as runs. Slots that `shared` fills become literals; what is `begun` stands before its slot."""
    row: list[Literal] = []
    for part in parts:
        if isinstance(part, Placeholder) and part.name not in shared:
            if begun.get(part.name):
                row.append(Literal(begun[part.name]))
            if row:
                yield Run(_long_enough(row))
            row = []
            yield part.name
        else:
            literal = Literal(shared[part.name]) if isinstance(part, Placeholder) else part
            if literal.raw:
                row.append(literal)
    if row:
        yield Run(_long_enough(row))


def _long_enough(row: list[Literal]) -> list[Literal]:
    """A run begins with a literal that completes any open triple; one of a byte is merged with what follows."""
    while len(row) > 1 and len(row[0].raw) < 2:
        row = [Literal(row[0].raw + row[1].raw), *row[2:]]
    return row


def plain_message(headers: MailHeaders, text: str, page: str | None = None) -> bytes:
    """A mail of plain text, and HTML beside it if given: notices, confirmations, welcomes."""
    lines = [header_bytes(headers, headers.subject)]
    if page is None:
        lines.append(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
        lines.append(encode_lines(wire(text)))
        return b"".join(lines)
    boundary = b"=_tidings_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:24].encode()
    boundary = b"=_tidings_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:24].encode()
    lines.append(b'Content-Type: multipart/alternative;\r\n boundary="%s"\r\n\r\n' % boundary)
    kind = b"--%s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    lines += [kind % (boundary, b"plain"), encode_lines(wire(text))]
    lines += [kind % (boundary, b"html"), encode_lines(wire(page)), b"--%s--\r\n" % boundary]
    return b"".join(lines)
