"""Mail addresses as they stand in headers and on the wire."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parseaddr
from functools import lru_cache
from typing import Final

import idna

_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


class AddressError(ValueError):
    """No mail address that a header can hold."""


class NeedsSmtputf8Error(AddressError):
    """The part before the @ is not ASCII: only a server that offers SMTPUTF8 can take it (RFC 6531)."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name, which may be '', and an address."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Mailbox:
        """From `Name <address>` or `address`; AddressError for anything else, several addresses too."""
        match = re.fullmatch(r"\s*(?P<name>[^<>]*?)\s*<\s*(?P<address>[^<>\s]+)\s*>\s*", text)
        if match is None:
            return cls("", ascii_address(text.strip()))
        name = match["name"]
        if name.startswith('"') and name.endswith('"'):
            name = parseaddr(f"{name} <x@x>")[0]
        return cls(name, ascii_address(match["address"]))


@lru_cache(maxsize=4096)
def ascii_address(address: str) -> str:
    """`address` with its domain as A-labels (IDNA 2008, UTS 46 non-transitional: straße stays straße)."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise AddressError(f"{address!r} is no mail address")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, transitional=False).decode("ascii")
        except idna.IDNAError as error:
            raise AddressError(f"{address!r}: the domain is not valid: {error}") from error
    if not _DOMAIN.fullmatch(domain):
        raise AddressError(f"{address!r}: the domain is not valid")
    if not local.isascii():
        if any(ord(character) < 32 or character in ' <>()[]\\,;:"\x7f' for character in local):
            raise AddressError(f"{address!r} is no mail address")
        raise NeedsSmtputf8Error(f"{address!r}: needs SMTPUTF8, since the part before the @ is not ASCII")
    if len(local) > 64 or not _LOCAL.fullmatch(local):
        raise AddressError(f"{address!r} is no mail address")
    return f"{local}@{domain}"
