"""Signed tokens: purpose-bound, with key rotation, and no address inside.

Layout before hex: one byte of key number, one of purpose, eight of subscriber (big endian), the list's name in UTF-8,
then 16 bytes of HMAC-SHA256 over these bytes. 128 bits of signature, compared in constant time. An unsubscribe token
never expires and works any number of times (RFC 8058). Hex is used because some mail programs change the case of links.
Tokens of older versions in base64url (RFC 4648 §5, no padding) still work.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

RETURN_TOKEN_LENGTH = 24
"""Characters of the token in a return path."""
_SIGNATURE = 16
_HEAD = 10
_LONGEST = 2_000
_TOKEN = re.compile(r"[^\w-]*([A-Za-z0-9_-]+)")
_BREAKS = re.compile(r"[\s=\u00ad\u200b-\u200f\u2060\ufeff]+")
_HEX = re.compile(r"[0-9a-f]+")
_BLOCK = 64
"""The block size of SHA-256 in octets."""
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_TWO_OF_BASE32 = [first + second for first in _BASE32 for second in _BASE32]
"""Ten bits as two lower-case letters of base32 (RFC 4648 §6)."""
_TENS = range(8 * 15 - 10, -1, -10)


class TokenPurpose(IntEnum):
    """What a token permits. A token is refused for any other purpose."""

    UNSUBSCRIBE = 1
    PREFERENCES = 2
    CONFIRM = 3
    RETURN_PATH = 4
    REVIEW = 5
    ERASE = 6
    PASSKEY = 7


@dataclass(frozen=True, slots=True)
class TokenContents:
    """The contents of a valid token."""

    subscriber: int
    list: str


class TokenKeys:
    """Signing keys by number, 0 to 255. The highest signs; all verify, so that rotation breaks no link."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys or any(len(key) < 32 for key in keys.values()) or any(not 0 <= n <= 255 for n in keys):
            raise ValueError("at least one key of 32 bytes or more, numbered 0 to 255")
        self._keys = dict(keys)
        self._current = max(keys)
        # The key is hashed once: each signature starts from a copy.
        self._begun = {number: _hmac_sha256(key, b"tidings-token") for number, key in keys.items()}

    @classmethod
    def generate(cls) -> TokenKeys:
        """Make one new random key."""
        return cls({1: secrets.token_bytes(32)})

    @classmethod
    def from_json(cls, text: str) -> TokenKeys:
        """Read keys.json: `{"keys": {"1": "<hex>"}}`. Raises ValueError for anything else."""
        try:
            return cls({int(number): bytes.fromhex(key) for number, key in json.loads(text)["keys"].items()})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a keys file: {error}") from error

    def to_json(self) -> str:
        """Return the text of keys.json."""
        return json.dumps({"keys": {str(number): key.hex() for number, key in self._keys.items()}}, indent=1) + "\n"

    def sign(self, purpose: TokenPurpose, subscriber: int, list_name: str) -> str:
        """Return a token for a link. Equal arguments give equal tokens, so that frozen mail stays the same."""
        return self.make_signer(purpose, list_name)(subscriber).decode()

    def make_signer(self, purpose: TokenPurpose, list_name: str) -> Callable[[int], bytes]:
        """Return a function that signs for many subscribers of a list and returns bytes."""
        signature = self._begun[self._current]
        head, tail = bytes((self._current, purpose)), list_name.encode()

        def sign(subscriber: int) -> bytes:
            body = head + subscriber.to_bytes(8, "big") + tail
            return binascii.hexlify(body + signature(body)[:_SIGNATURE])

        return sign

    def verify(self, purpose: TokenPurpose, token: str) -> TokenContents | None:
        """Return the contents of a token, or None if it is not ours, was changed or has another purpose."""
        if len(token) > _LONGEST or not token.isascii():
            return None
        raw = _decode(token)
        body, signature = raw[:-_SIGNATURE], raw[-_SIGNATURE:]
        if len(body) < _HEAD:
            return None
        if body[0] not in self._keys or not hmac.compare_digest(signature, self._signature(body[0], body)):
            return None
        if body[1] != purpose:
            return None
        try:
            return TokenContents(int.from_bytes(body[2:_HEAD], "big"), body[_HEAD:].decode())
        except UnicodeDecodeError:
            return None

    def verify_link(self, purpose: TokenPurpose, text: str) -> TokenContents | None:
        """Like `verify`, for the end of a link that a mail program has changed.

        Such a link is in capitals, has a character before or after it (`<`, a full stop, `=20`), or is broken by a line
        end, an invisible character or the `=` of quoted-printable. The signature still decides.
        """
        for changed in (text, _BREAKS.sub("", text)):
            if match := _TOKEN.match(changed[:_LONGEST]):
                for token in dict.fromkeys((match[1], match[1].rstrip("_-"))):
                    contents = self.verify(purpose, token.lower() if token == token.upper() else token)
                    if contents is not None:
                        return contents
        return None

    def make_return_path_signer(self, address: str) -> Callable[[int], str]:
        """Return a function that makes `bounces+TOKEN@example.org` from a delivery's id below 2^40 (VERP).

        TOKEN is base32 in lower case, because servers may change the case of a local part: a byte of key number, five
        of id, nine of HMAC-SHA256. 24 letters, so that a local part of 39 stays within 64 (RFC 5321 §4.5.3.1.1).
        """
        signature = self._begun[self._current]
        head = bytes((self._current, TokenPurpose.RETURN_PATH))
        local, _, domain = address.rpartition("@")
        before, after = f"{local}+", f"@{domain}"

        def sign(delivery: int) -> str:
            written = delivery.to_bytes(5, "big")
            token = int.from_bytes(head[:1] + written + signature(head + written)[:9], "big")
            return before + "".join([_TWO_OF_BASE32[token >> bits & 1023] for bits in _TENS]) + after

        return sign

    def read_return_path(self, token: str) -> int | None:
        """Return the delivery of a return path's token, or None if it is not ours or was changed."""
        if len(token) != RETURN_TOKEN_LENGTH or not token.isascii():
            return None
        try:
            raw = base64.b32decode(token.upper())
        except binascii.Error:
            return None
        body = raw[:1] + bytes((TokenPurpose.RETURN_PATH,)) + raw[1:6]
        if raw[0] not in self._keys or not hmac.compare_digest(raw[6:], self._signature(raw[0], body)[:9]):
            return None
        return int.from_bytes(raw[1:6], "big")

    def _signature(self, number: int, body: bytes) -> bytes:
        return self._begun[number](body)[:_SIGNATURE]


def _decode(token: str) -> bytes:
    """Return the bytes of a token in hex or base64url, in one spelling only (RFC 4648 §3.5), else b''."""
    if len(token) % 2 == 0 and _HEX.fullmatch(token):
        return bytes.fromhex(token)
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == token else b""


def _hmac_sha256(key: bytes, begun: bytes) -> Callable[[bytes], bytes]:
    """Return HMAC-SHA256 (RFC 2104 §2) of `begun` and a message. The key is hashed once and its state copied."""
    block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in block]) + begun).copy
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in block])).copy

    def digest(message: bytes) -> bytes:
        within, around = inner(), outer()
        within.update(message)
        around.update(within.digest())
        return around.digest()

    return digest
