"""Parts of a report as fields: what RFC 3464, RFC 5965 and RFC 6533 have in common."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from email.message import Message
from typing import Any

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})[ \t]*:[ \t]?(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[^\s<>@;,\"]{1,64}@[^\s<>@;,\"()]{1,253}")
_UTF8_XTEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_MOST_BLOCKS = 100


def raw_of(part: Message[Any, Any]) -> bytes:
    """The content of a part, decoded, also of a `message/...` that Python has parsed as one or several messages."""
    content = part.get_payload()
    if isinstance(content, list):
        raw = b"\n\n".join(_bytes(one) for one in content if isinstance(one, Message))
        return _decoded(raw, str(part.get("Content-Transfer-Encoding", "")))
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def _bytes(message: Message[Any, Any]) -> bytes:
    """As it was written: Python's own writer folds and encodes anew."""
    head = "".join(f"{name}: {value}\n" for name, value in message.raw_items()).encode("utf-8", "surrogateescape")
    body = None if message.is_multipart() else message.get_payload(decode=True)
    return head + (b"\n" if head else b"") + (body if isinstance(body, bytes) else b"")


def _decoded(raw: bytes, encoding: str) -> bytes:
    """RFC 6533 §4: `message/global-delivery-status` may be encoded."""
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
    """Groups of fields, each ended by an empty line; names in small letters, of one that comes twice the first."""
    text = decoded(raw).replace("\r\n", "\n")
    for number, block in enumerate(re.split(r"\n[ \t]*\n+", text)):
        if number > _MOST_BLOCKS:
            return
        fields: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", block.strip("\n")).split("\n"):
            match = _FIELD.match(line)
            if match:
                fields.setdefault(match[1].casefold(), match[2].strip())
        if fields:
            yield fields


def decoded(raw: bytes | str, charset: str | None = None) -> str:
    """Text of any bytes."""
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode(charset or "utf-8", "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")


def address_in(field: str) -> str:
    """The address in `rfc822; ada@example.org`, `utf-8; \\x{0430}@example.org` or `Ada <ada@example.org>`."""
    kind, semicolon, value = field.partition(";")
    if not semicolon:
        kind, value = "", field
    if kind.strip().casefold().startswith("utf-8"):
        value = _UTF8_XTEXT.sub(lambda match: chr(min(int(match[1], 16), 0x10FFFF)), value)
    found = _ADDRESS.search(value)
    return found[0].strip("'") if found else ""
