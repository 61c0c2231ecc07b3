"""Write the header of a mail as bytes, and parse mail addresses.

We do not use Python's EmailMessage (3.8 to 3.13): it converts tokens of 78 characters or more, such as an unsubscribe
URL, to encoded-words, which mail programs cannot read there. It also takes 0.9 ms. Every value is checked for control
characters before it is written.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from operator import attrgetter
from typing import Final

import idna

ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{ATOM}(?:\.{ATOM})*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_URI: Final = re.compile(r"(?:https?://|mailto:)[!#-;=?-~]+")
_MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_PRINTABLE: Final = re.compile(r"[!-~]+(?: [!-~]+)*")
_LINE: Final = 76
_LONGEST: Final = 990
UNSUBSCRIBE_SUBJECT: Final = "unsubscribe"
"""The word before the token in the subject of an unsubscribe mail."""


class HeaderError(ValueError):
    """A value that is not allowed in `header`."""

    def __init__(self, header: str, detail: str) -> None:
        super().__init__(f"{header}: {detail}")
        self.header = header


class AddressError(ValueError):
    """A mail address that is not allowed in a header."""


class NeedsSmtputf8Error(AddressError):
    """The part before the @ is not ASCII. Only a server with SMTPUTF8 accepts such an address (RFC 6531)."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name, which may be '', and an address."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> Mailbox:
        """Parse `Name <address>` or `address`. Raises AddressError for anything else, also for several addresses."""
        match = re.fullmatch(r"(?P<name>[^<>]*)<\s*(?P<address>[^<>\s]+)\s*>\s*", text)
        if match is None:
            return cls("", ascii_address(text.strip()))
        name = match["name"].strip()
        if name.startswith('"') and name.endswith('"'):
            name = parseaddr(f"{name} <x@x>")[0]
        return cls(name, ascii_address(match["address"]))


@lru_cache(maxsize=4096)
def ascii_address(address: str) -> str:
    """`address` with its domain as A-labels (IDNA 2008, UTS 46 non-transitional: straße stays straße)."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise AddressError(f"{address!r} is not a mail address")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, transitional=False).decode("ascii")
        except idna.IDNAError as error:
            raise AddressError(f"{address!r}: the domain is not valid: {error}") from error
    if not _DOMAIN.fullmatch(domain):
        raise AddressError(f"{address!r}: the domain is not valid")
    if not local.isascii():
        if any(ord(character) < 32 or character in ' <>()[]\\,;:"\x7f' for character in local):
            raise AddressError(f"{address!r} is not a mail address")
        raise NeedsSmtputf8Error(f"{address!r}: needs SMTPUTF8, because the part before the @ is not ASCII")
    if len(local) > 64 or not _LOCAL.fullmatch(local):
        raise AddressError(f"{address!r} is not a mail address")
    return f"{local}@{domain}"


@dataclass(frozen=True, slots=True)
class MailHeaders:
    """The values of the header fields; '' leaves a field out. `date` is aware, URLs are ASCII.

    `sender` and `reply_to` are `Name <address>` or an address. `unsubscribe_url` is the reader's own.
    `unsubscribe_mailto` is an address or a mailto: URI; an address gets the token that ends the URL as subject.
    If `subject` is '', the layout's is used. `list_id` is `list.example.org`, with or without angle brackets.
    `cfbl_address` receives complaints. `bulk` is False for mail that one person asked for (a confirmation).
    """

    sender: str
    to_address: str
    date: datetime
    message_id: str
    to_name: str = ""
    subject: str = ""
    reply_to: str = ""
    language: str = ""
    list_id: str = ""
    list_title: str = ""
    unsubscribe_url: str = ""
    unsubscribe_mailto: str = ""
    archive: str = ""
    feedback_id: str = ""
    cfbl_address: str = ""
    bulk: bool = True


_EDITION_FIELDS: Final = attrgetter(
    "reply_to", "language", "list_id", "list_title", "archive", "feedback_id", "cfbl_address", "bulk"
)


def header_bytes(headers: MailHeaders, subject: str) -> bytes:
    """Return every field except Content-Type, each ending in CRLF. Raises HeaderError, which names the field."""
    before_to, after_to, after_id = fixed_headers(headers, subject)
    to = to_header(headers.to_name, headers.to_address)
    message_id = message_id_header(headers.message_id)
    unsubscribe = unsubscribe_headers(headers.unsubscribe_url, headers.unsubscribe_mailto)
    return b"".join((before_to, to, after_to, message_id, after_id, unsubscribe))


def fixed_headers(headers: MailHeaders, subject: str = "") -> tuple[bytes, bytes, bytes]:
    """Return the fields that are the same for every reader: before To, between To and Message-ID, and after it."""
    after_to = _text("Subject", subject or headers.subject) + _date(headers.date)
    return _mailbox("From", headers.sender), after_to, _edition_headers(*_EDITION_FIELDS(headers))


@lru_cache(maxsize=64)
def _edition_headers(
    reply_to: str,
    language: str,
    list_id: str,
    list_title: str,
    archive: str,
    feedback_id: str,
    cfbl_address: str,
    bulk: bool,
) -> bytes:
    """Return the fields that are the same for every reader of an edition in one language."""
    lines = [_mailbox("Reply-To", reply_to)] if reply_to else []
    if language:
        lines.append(_raw("Content-Language", language))
    if list_id:
        list_id = list_id.removeprefix("<").removesuffix(">")
        if not re.fullmatch(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+", list_id):
            raise HeaderError("List-Id", f"{list_id!r} is not of the form list.example.org (RFC 2919)")
        title = _phrase("List-Id", list_title) if list_title else ""
        lines.append(_fold("List-Id", [*title.split(" "), f"<{list_id}>"] if title else [f"<{list_id}>"]))
        lines.append(b"List-Post: NO\r\n")
    if archive:
        lines.append(_raw("List-Archive", f"<{_uri('List-Archive', archive)}>"))
    if feedback_id:
        if feedback_id.count(":") != 3 or not 5 <= len(feedback_id.rsplit(":", 1)[1]) <= 15:
            raise HeaderError("Feedback-ID", "needs four parts a:b:c:sender, the last with 5 to 15 characters")
        lines.append(_raw("Feedback-ID", feedback_id))
    if cfbl_address:
        # RFC 9477 §5.1.
        lines.append(_raw("CFBL-Address", f"{ascii_address(cfbl_address)}; report=arf"))
    if bulk:
        lines.append(b"Precedence: bulk\r\n")
    lines.append(b"Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n")
    return b"".join(lines)


def unsubscribe_headers(url: str, mailto: str) -> bytes:
    """Return the fields of RFC 2369 and RFC 8058: raw ASCII, folded only between the URIs, https first."""
    uris = []
    if url:
        uris.append(f"<{_uri('List-Unsubscribe', url)}>")
    if mailto:
        target = mailto if mailto.startswith("mailto:") else f"mailto:{mailto}"
        if url and target != mailto:
            target += f"?subject={UNSUBSCRIBE_SUBJECT}%20{url.rpartition('/')[2]}"
        uris.append(f"<{_uri('List-Unsubscribe', target)}>")
    if not uris:
        return b""
    value = "List-Unsubscribe: " + ",\r\n ".join(uris) + "\r\n"
    if url:
        value += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    return value.encode("ascii")


def message_id_header(value: str) -> bytes:
    """Return `Message-ID` with <left@domain>."""
    if not _MESSAGE_ID.fullmatch(value):
        raise HeaderError("Message-ID", f"{value!r} is not of the form <left@domain>")
    return f"Message-ID: {value}\r\n".encode("ascii")


def to_header(name: str, address: str) -> bytes:
    """Return `To`, in UTF-8 if the address is not ASCII (RFC 6532 §3.2). Such a mail needs SMTPUTF8."""
    try:
        return _named_address("To", name, _header_address("To", address))
    except NeedsSmtputf8Error:
        return _named_address("To", name, _clean("To", address), "utf-8")


@lru_cache(maxsize=64)
def _mailbox(header: str, text: str) -> bytes:
    _clean(header, text)
    try:
        mailbox = Mailbox.parse(text)
    except AddressError as error:
        raise HeaderError(header, str(error)) from error
    return _named_address(header, mailbox.name, mailbox.address)


def _named_address(header: str, name: str, address: str, encoding: str = "ascii") -> bytes:
    if not name or not _clean(header, name).strip():
        return f"{header}: {address}\r\n".encode(encoding)
    phrase = _phrase(header, name)
    words = [phrase] if phrase.startswith('"') else phrase.split(" ")
    return _fold(header, [*words, f"<{address}>"], encoding)


def _header_address(header: str, address: str) -> str:
    try:
        return ascii_address(address)
    except NeedsSmtputf8Error:
        raise
    except AddressError as error:
        raise HeaderError(header, str(error)) from error


def _uri(header: str, uri: str) -> str:
    if not _URI.fullmatch(uri) or len(uri) > _LONGEST - 30:
        raise HeaderError(header, f"{uri!r} is not an https, http or mailto URI in ASCII")
    return uri


def _raw(header: str, value: str) -> bytes:
    if not _PRINTABLE.fullmatch(value) or len(value) > _LONGEST - len(header):
        raise HeaderError(header, f"{value!r} is not one line of printable ASCII")
    return f"{header}: {value}\r\n".encode("ascii")


@lru_cache(maxsize=64)
def _date(moment: datetime) -> bytes:
    if moment.tzinfo is None:
        raise HeaderError("Date", "needs an aware datetime")
    return f"Date: {format_datetime(moment)}\r\n".encode("ascii")


def _phrase(header: str, name: str) -> str:
    """Encode a display name: atoms, a quoted string, or encoded-words separated by one space."""
    name = " ".join(_clean(header, name).split(" ")).strip()
    if _ATOMS.fullmatch(name) and "=?" not in name:
        return name
    if name.isascii() and "=?" not in name and len(name) <= 60:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return " ".join(encoded_words(name, _LINE - len(header) - 2))


@lru_cache(maxsize=1024)
def _text(header: str, value: str) -> bytes:
    """Encode unstructured text, such as a subject."""
    value = " ".join(part for part in _clean(header, value).split(" ") if part)
    if value.isascii() and "=?" not in value and all(len(word) <= _LINE - 10 for word in value.split(" ")):
        return _fold(header, value.split(" "))
    return _fold(header, encoded_words(value, _LINE - len(header) - 2))


def encoded_words(text: str, first: int) -> list[str]:
    """Encode by RFC 2047 §2: words of at most 75 characters, the first of at most `first`, each of whole characters."""
    chunks = [b""]
    room = (min(first, 75) - 12) // 4 * 3
    for character in text:
        encoded = character.encode("utf-8")
        if chunks[-1] and len(chunks[-1]) + len(encoded) > room:
            chunks.append(b"")
            room = (75 - 12) // 4 * 3
        chunks[-1] += encoded
    return [f"=?utf-8?b?{base64.b64encode(chunk).decode('ascii')}?=" for chunk in chunks]


def _fold(header: str, words: list[str], encoding: str = "ascii") -> bytes:
    """Fold into lines of at most 76 characters if the words allow it. The first line is never empty (spam filters)."""
    lines = [f"{header}: {words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    if any(len(line) > _LONGEST for line in lines):
        raise HeaderError(header, "a line would be longer than 998 characters (RFC 5322 §2.1.1)")
    return ("\r\n".join(lines) + "\r\n").encode(encoding)


def _clean(header: str, value: str) -> str:
    if match := _CONTROL.search(value):
        raise HeaderError(header, f"contains the control character {match[0]!r}")
    return value
