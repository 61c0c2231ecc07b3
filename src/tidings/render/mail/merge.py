"""Mail merge: a digest is encoded once for all its readers, and each reader's values are filled into the gaps.

Only the header fields To, Message-ID and List-Unsubscribe and the placeholders in the body differ between readers. All
other parts are processed once.
"""

from __future__ import annotations

import html
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tidings.render.mail.digest import MailLayout
from tidings.render.mail.dkim import DkimIdentity, SignatureTemplate, relax
from tidings.render.mail.fragments import MailDocument
from tidings.render.mail.headers import (
    ATOM,
    MailHeaders,
    fixed_headers,
    message_id_header,
    to_header,
    unsubscribe_headers,
)
from tidings.render.mail.mime import BodyLayout, BodyParts, Literal, LiteralRun, MultipartAlternative, encode_text
from tidings.render.mail.personal import (
    READER_PARTS,
    Placeholder,
    find_conditions,
    split_placeholders,
)

_SIMPLE_ADDRESS: Final = re.compile(rf"(?=.{{1,64}}@){ATOM}(?:\.{ATOM})*@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_MARKUP: Final = re.compile(r"[&<>\"']")
_SHORT_NAME: Final = 45
"""Most bytes of UTF-8 in one encoded-word after `To: `."""
_TO_MARK, _ID_MARK, _TOKEN_MARK = b"\x01", b"\x02", b"\x03"
"""Marks for a reader's values in the signed header."""
_GAP: Final = "-gap-"
"""Placeholder for a reader's token while the header fields are made."""


class MergedMail:
    """One mail for all readers with the same layout. `render` makes it for one reader. Safe for several threads."""

    def __init__(
        self,
        text: BodyParts,
        page: BodyParts,
        headers: MailHeaders,
        unsubscribe_prefix: str,
        domain: str,
        identities: Sequence[DkimIdentity] = (),
    ) -> None:
        """Prepare the parts of the text and the HTML. Fields in `headers` that differ between readers are ignored.

        `unsubscribe_prefix` begins every reader's unsubscribe URL, and `domain` ends every Message-ID. `identities`
        sign each mail at the moment of its Date.
        """
        multipart = MultipartAlternative(f"{headers.list_id} {headers.date} {headers.subject}")
        self._multipart = multipart
        self._parts = ((multipart.text_head, text), (multipart.html_head, page))
        self._layouts: dict[tuple[int, ...], BodyLayout | None] = {}
        self._before_to, after_to, after_id = fixed_headers(headers)
        message_id_header(f"<x@{domain}>")
        self._before_id = after_to + b"Message-ID: <"
        # The fields around a reader's token are the same for all tokens.
        leave = unsubscribe_headers(f"{unsubscribe_prefix}{_GAP}", headers.unsubscribe_mailto).split(_GAP.encode())
        self._before_token = b"@" + domain.encode("ascii") + b">\r\n" + after_id + leave[0]
        self._between_tokens, self._after_token = leave[1:-1], leave[-1] + multipart.content_type

        head = self._head(b"To: %b\r\n" % _TO_MARK, _ID_MARK, _TOKEN_MARK)
        moment = int(headers.date.timestamp())
        marks = (_TO_MARK, _ID_MARK, _TOKEN_MARK)
        self._signature = SignatureTemplate(identities, head, moment, marks) if identities else None

    def _head(self, to: bytes, id_left: bytes, token: bytes) -> bytes:
        between = self._between_tokens
        tokens = token.join([b"", *between, b""]) if between else token
        return b"".join((self._before_to, to, self._before_id, id_left, self._before_token, tokens, self._after_token))

    def render(
        self, address: str, name: str, id_left: bytes, unsubscribe_token: bytes, preferences_token: bytes
    ) -> list[bytes]:
        """Return the mail for one reader in pieces, with CRLF at line ends.

        `id_left` is the left part of the Message-ID, in hexadecimal. The tokens are appended to the URLs and need no
        escaping. Raises HeaderError or AddressError, both ValueError, for invalid values.
        """
        # This refuses control characters in the name, which is used in the body too.
        to = _format_to(name, address)
        raw = name.encode()
        escaped = html.escape(name).encode() if _MARKUP.search(name) else raw
        urls = (unsubscribe_token, preferences_token, b"")
        body = self._body((raw, *urls, escaped, *urls))
        wire = [self._head(to, id_left, unsubscribe_token), b"\r\n", *body]
        if self._signature is not None:
            values = {_TO_MARK: relax(to[4:]), _ID_MARK: id_left, _TOKEN_MARK: unsubscribe_token}
            wire.insert(0, self._signature.sign(body, values))
        return wire

    def _body(self, values: tuple[bytes, ...]) -> list[bytes]:
        """Return the body. `values` are the READER_PARTS for the text, then those for the HTML."""
        remainders = tuple([len(value) % 3 for value in values])
        layout = self._layouts.get(remainders)
        if layout is None:
            layout = BodyLayout([], [], [])
            for head, parts in self._parts:
                layout.pieces.append(head)
                layout.add(parts, remainders)
            layout.pieces.append(self._multipart.end)
            # Kept only from the second reader on, because a layout keeps its pieces in memory and many mails have one
            # reader.
            self._layouts[remainders] = layout if remainders in self._layouts else None
        return layout.fill(values)


class MailMerge:
    """A document ready to send. Each fragment is encoded at most three times. Safe for several threads."""

    def __init__(self, document: MailDocument) -> None:
        self.document = document
        self._conditions = frozenset(
            name
            for fragment in document.fragments.values()
            for name in find_conditions(fragment.html) | find_conditions(fragment.text)
        )
        self._fragments: dict[tuple[str, bool, frozenset[str]], list[Literal | Placeholder]] = {}

    def prepare(
        self,
        layout: MailLayout,
        headers: MailHeaders,
        *,
        unsubscribe_prefix: str,
        preferences_prefix: str,
        domain: str,
        named: bool = True,
        identities: Sequence[DkimIdentity] = (),
    ) -> MergedMail:
        """Prepare the mail for all readers of a layout, separately for readers with and without a name.

        The prefixes begin every unsubscribe URL and every preferences URL; `domain` ends every Message-ID.
        `identities` sign each mail.
        """
        if not headers.subject:
            headers = replace(headers, subject=layout.subject)
        shared = {"subject": layout.subject, "preheader": layout.preheader}
        prefixes = {"unsubscribe_url": unsubscribe_prefix, "preferences_url": preferences_prefix}
        values = {**shared, **prefixes, "name": "x" if named else ""}
        present = frozenset(name for name in self._conditions if values.get(name))

        def parts(is_html: bool) -> BodyParts:
            pieces = (piece for key in layout.keys for piece in self._split(key, is_html, present))
            escape: Callable[[str], str] = html.escape if is_html else str
            fixed, beginnings = ({n: encode_text(escape(value)) for n, value in v.items()} for v in (shared, prefixes))
            return tuple(_join_literals(pieces, fixed, beginnings, len(READER_PARTS) if is_html else 0))

        return MergedMail(parts(False), parts(True), headers, unsubscribe_prefix, domain, identities)

    def _split(self, key: str, is_html: bool, present: frozenset[str]) -> list[Literal | Placeholder]:
        """Return a fragment's literals and placeholders, as the same objects each time."""
        pieces = self._fragments.get((key, is_html, present))
        if pieces is None:
            fragment = self.document.fragments[key]
            source = fragment.html if is_html else fragment.text
            pieces = [
                piece if isinstance(piece, Placeholder) else Literal(encode_text(piece))
                for piece in split_placeholders(source, present)
            ]
            self._fragments[(key, is_html, present)] = pieces
        return pieces


def _join_literals(
    pieces: Iterable[Literal | Placeholder], fixed: Mapping[str, bytes], prefixes: Mapping[str, bytes], first: int
) -> Iterator[LiteralRun | int]:
    """Join adjacent literals to runs, and number the readers' values from `first`.

    Placeholders that `fixed` fills become literals; a prefix goes before its placeholder.
    """
    row: list[Literal] = []
    for piece in pieces:
        if isinstance(piece, Placeholder) and piece.name not in fixed:
            if prefixes.get(piece.name):
                row.append(Literal(prefixes[piece.name]))
            if row:
                yield LiteralRun(row)
            row = []
            yield first + READER_PARTS.index(piece.name)
        else:
            literal = Literal(fixed[piece.name]) if isinstance(piece, Placeholder) else piece
            if literal.raw:
                row.append(literal)
    if row:
        yield LiteralRun(row)


def _format_to(name: str, address: str) -> bytes:
    """Format `To`, with a fast path for the usual names and addresses."""
    if not _SIMPLE_ADDRESS.fullmatch(address):
        return to_header(name, address)
    if not name:
        return b"To: %s\r\n" % address.encode("ascii")
    raw = name.encode()
    if len(raw) > _SHORT_NAME or name.isascii() or not name.isprintable() or name != name.strip() or "  " in name:
        return to_header(name, address)
    # RFC 2047 §2.
    word = b"To: =?utf-8?b?%s?=" % b2a_base64(raw, newline=False)
    # At most 76 characters a line, if the words allow it.
    fold = b"\r\n <" if len(word) + len(address) + 3 > 76 else b" <"
    return word + fold + address.encode("ascii") + b">\r\n"
