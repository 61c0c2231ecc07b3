"""Read the fields of a report, as RFC 3464, RFC 5965 and RFC 6533 define them."""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import quopri
import re
from collections.abc import Iterable, Iterator
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from typing import Any

PARSER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MessageError, RecursionError, TypeError, ValueError,
)  # fmt: skip
"""Errors that the standard library's parsers raise for unexpected messages."""

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]?(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[^\s<>@;,\"]{1,64}@[^\s<>@;,\"()]{1,253}")
_UTF8_XTEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_MAX_BLOCKS = 100
_MAX_WORDS = 4_000
"""Most characters to read of a field with encoded words."""
_MAX_ADDRESSES = 1_000
"""Most characters to read of a field with addresses."""
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"}
"""Codecs of Python that are no charsets of mail. Punycode takes quadratic time."""


def raw_of(part: Message[Any, Any]) -> bytes:
    """Return the decoded content of a part, also of a `message/...` that Python parsed as messages."""
    content = part.get_payload()
    if isinstance(content, list):
        raw = b"\n\n".join(_bytes(message) for message in content if isinstance(message, Message))
        return _decoded(raw, str(part.get("Content-Transfer-Encoding", "")))
    decoded_content = part.get_payload(decode=True)
    return decoded_content if isinstance(decoded_content, bytes) else b""


def _bytes(message: Message[Any, Any]) -> bytes:
    """Return the original bytes of a message. Python's generator would fold and encode it again."""
    head = "".join(f"{name}: {value}\n" for name, value in message.raw_items()).encode("utf-8", "surrogateescape")
    body = None if message.is_multipart() else message.get_payload(decode=True)
    return head + (b"\n" if head else b"") + (body if isinstance(body, bytes) else b"")


def _decoded(raw: bytes, encoding: str) -> bytes:
    """Decode a part. `message/global-delivery-status` may be encoded (RFC 6533 §4)."""
    try:
        match encoding.strip().casefold():
            case "base64":
                return base64.b64decode(raw)
            case "quoted-printable":
                return quopri.decodestring(raw)
    except (binascii.Error, ValueError):
        pass
    return raw


def blocks(raw: bytes) -> Iterator[dict[str, str]]:
    """Yield the groups of fields between empty lines. Names are in lower case; the first field of a name counts."""
    text = decoded(raw).replace("\r\n", "\n")
    for number, block in enumerate(re.split(r"\n[ \t]*\n+", text)):
        if number > _MAX_BLOCKS:
            return
        fields: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", block.strip("\n")).split("\n"):
            match = _FIELD.match(line)
            if match:
                fields.setdefault(match[1].casefold(), words(match[2].strip()))
        if fields:
            yield fields


def decoded(raw: bytes | str, charset: str | None = None) -> str:
    """Decode bytes. Unknown characters become replacement characters."""
    if isinstance(raw, str):
        return raw
    try:
        if charset and codecs.lookup(charset).name.replace("-", "_") not in _NO_CHARSETS:
            return raw.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    return raw.decode("utf-8", "replace")


def words(field: str) -> str:
    """Decode the encoded words (RFC 2047) of a field. What cannot be decoded stays as it is."""
    if "=?" not in field:
        return field
    with contextlib.suppress(*PARSER_ERRORS):
        return str(make_header(decode_header(field[:_MAX_WORDS])))
    return field


def mailboxes(fields: Iterable[object]) -> list[str]:
    """Return the addresses in header fields, such as From. Empty if the fields cannot be read."""
    try:
        return [address for _, address in getaddresses([str(value)[:_MAX_ADDRESSES] for value in fields])]
    except PARSER_ERRORS:
        return []


def printable(text: str) -> str:
    """Replace what no text of a mail should have (control and direction characters) with spaces."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()


def address_in(field: str) -> str:
    """Return the address in `rfc822; ada@example.org`, `utf-8; \\x{0430}@example.org` or `Ada <ada@example.org>`."""
    kind, semicolon, value = field.partition(";")
    if not semicolon:
        kind, value = "", field
    if kind.strip().casefold().startswith("utf-8"):
        value = _UTF8_XTEXT.sub(lambda match: chr(min(int(match[1], 16), 0x10FFFF)), value)
    match = _ADDRESS.search(value)
    return match[0].strip("'") if match else ""


def is_same_mailbox(one: str, other: str) -> bool:
    """Whether two addresses certainly mean the same mailbox, even if one has the server's name as its domain."""
    (local, _, domain), (other_local, _, other_domain) = (
        address.casefold().strip().rpartition("@") for address in (one, other)
    )
    names = [_ascii(domain), _ascii(other_domain)]
    return local == other_local and (names[0] == names[1] or any(a.endswith(f".{b}") for a, b in (names, names[::-1])))


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain
