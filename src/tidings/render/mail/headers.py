"""The header of a mail as bytes, by a writer of our own.

Python's EmailMessage turns any token of 78 characters or more, such as an unsubscribe URL, into encoded-words, which
no mail program reads there (3.8 to 3.13); it also takes 0.9 ms. Every value is checked for control characters before
it is written.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from tidings.render.mail.addresses import AddressError, Mailbox, NeedsSmtputf8Error, ascii_address

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_URI: Final = re.compile(r"(?:https?://|mailto:)[!#-;=?-~]+")
_MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_PRINTABLE: Final = re.compile(r"[!-~]+(?: [!-~]+)*")
_LINE: Final = 76
UNSUBSCRIBE_SUBJECT: Final = "unsubscribe"
"""The word before the token in the subject of a mail that leaves."""
_LONGEST: Final = 990


class HeaderError(ValueError):
    """A value that cannot stand in `header`."""

    def __init__(self, header: str, detail: str) -> None:
        super().__init__(f"{header}: {detail}")
        self.header = header


@dataclass(frozen=True, slots=True)
class MailHeaders:
    """What the header says; '' leaves a header out. `date` is aware, URLs are ASCII.

    `sender` and `reply_to` are `Name <address>` or an address. `unsubscribe_url` is this reader's,
    `unsubscribe_mailto` an address or a mailto: URI; an address is given the token that the URL ends with, as subject.
    `subject` '' takes the arrangement's. `list_id` is `list.example.org`, in angle brackets or not. `cfbl_address`
    takes complaints. `bulk` is False for mail that one person asked for (a confirmation).
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


def header_bytes(headers: MailHeaders, subject: str) -> bytes:
    """Every header but Content-Type, each ending in CRLF. HeaderError names the header that cannot be."""
    sender, middle, edition = fixed_headers(headers, subject)
    return b"".join(
        (
            sender,
            to_header(headers.to_name, headers.to_address),
            middle,
            message_id_header(headers.message_id),
            edition,
            unsubscribe_headers(headers.unsubscribe_url, headers.unsubscribe_mailto),
        )
    )


def fixed_headers(headers: MailHeaders, subject: str = "") -> tuple[bytes, bytes, bytes]:
    """What is the same for every reader: what stands before To, between To and Message-ID, and after that."""
    edition = _edition_headers(
        headers.reply_to,
        headers.language,
        headers.list_id,
        headers.list_title,
        headers.archive,
        headers.feedback_id,
        headers.cfbl_address,
        headers.bulk,
    )
    return _parsed("From", headers.sender), _text("Subject", subject or headers.subject) + _date(headers.date), edition


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
    """What is the same for every reader of an edition in one language."""
    lines = [_parsed("Reply-To", reply_to)] if reply_to else []
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
            raise HeaderError("Feedback-ID", "wants four parts a:b:c:sender, the last of 5 to 15 characters")
        lines.append(_raw("Feedback-ID", feedback_id))
    if cfbl_address:
        # RFC 9477 §5.1.
        lines.append(_raw("CFBL-Address", f"{ascii_address(cfbl_address)}; report=arf"))
    if bulk:
        lines.append(b"Precedence: bulk\r\n")
    lines.append(b"Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n")
    return b"".join(lines)


def unsubscribe_headers(url: str, mailto: str) -> bytes:
    """RFC 2369 and RFC 8058: raw ASCII, folded only between the URIs, https first."""
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


def _uri(header: str, uri: str) -> str:
    if not _URI.fullmatch(uri) or len(uri) > _LONGEST - 30:
        raise HeaderError(header, f"{uri!r} is no https, http or mailto URI in ASCII")
    return uri


def _raw(header: str, value: str) -> bytes:
    if not _PRINTABLE.fullmatch(value) or len(value) > _LONGEST - len(header):
        raise HeaderError(header, f"{value!r} is not one line of printable ASCII")
    return f"{header}: {value}\r\n".encode("ascii")


@lru_cache(maxsize=64)
def _date(moment: datetime) -> bytes:
    if moment.tzinfo is None:
        raise HeaderError("Date", "wants an aware datetime")
    return f"Date: {format_datetime(moment)}\r\n".encode("ascii")


def message_id_header(value: str) -> bytes:
    """`Message-ID`, of the form <left@domain>."""
    if not _MESSAGE_ID.fullmatch(value):
        raise HeaderError("Message-ID", f"{value!r} is not of the form <left@domain>")
    return f"Message-ID: {value}\r\n".encode("ascii")


@lru_cache(maxsize=64)
def _parsed(header: str, text: str) -> bytes:
    _clean(header, text)
    try:
        mailbox = Mailbox.parse(text)
    except AddressError as error:
        raise HeaderError(header, str(error)) from error
    return _mailbox(header, mailbox.name, mailbox.address)


def to_header(name: str, address: str) -> bytes:
    """`To`. Without a name there is nothing to encode or fold: the usual case, and the fast one.

    In UTF-8 where the address cannot do without (RFC 6532 §3.2): it goes by SMTPUTF8 or not at all.
    """
    try:
        return _mailbox("To", name, address) if name else f"To: {_address('To', address)}\r\n".encode("ascii")
    except NeedsSmtputf8Error:
        address = _clean("To", address)
        if not name.strip():
            return f"To: {address}\r\n".encode()
        phrase = _phrase("To", name)
        words = [phrase] if phrase.startswith('"') else phrase.split(" ")
        return _fold("To", [*words, f"<{address}>"], "utf-8")


def _mailbox(header: str, name: str, address: str) -> bytes:
    address = _address(header, address)
    if not _clean(header, name).strip():
        return f"{header}: {address}\r\n".encode("ascii")
    phrase = _phrase(header, name)
    words = [phrase] if phrase.startswith('"') else phrase.split(" ")
    return _fold(header, [*words, f"<{address}>"])


def _address(header: str, address: str) -> str:
    try:
        return ascii_address(address)
    except AddressError as error:
        if type(error) is AddressError:
            raise HeaderError(header, str(error)) from error
        raise


def _phrase(header: str, name: str) -> str:
    """A display name: atoms, a quoted string, or encoded-words apart by one space."""
    name = " ".join(_clean(header, name).split(" ")).strip()
    if _ATOMS.fullmatch(name) and "=?" not in name:
        return name
    if name.isascii() and "=?" not in name and len(name) <= 60:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return " ".join(encoded_words(name, _LINE - len(header) - 2))


@lru_cache(maxsize=1024)
def _text(header: str, value: str) -> bytes:
    """Unstructured text, such as a subject."""
    value = " ".join(part for part in _clean(header, value).split(" ") if part)
    if value.isascii() and "=?" not in value and all(len(word) <= _LINE - 10 for word in value.split(" ")):
        return _fold(header, value.split(" "))
    return _fold(header, encoded_words(value, _LINE - len(header) - 2))


def encoded_words(text: str, first: int) -> list[str]:
    """RFC 2047 §2: words of at most 75 characters, the first of at most `first`, each of whole characters."""
    words: list[str] = []
    chunk = b""
    room = _room(first)
    for character in text:
        encoded = character.encode("utf-8")
        if chunk and len(chunk) + len(encoded) > room:
            words.append(_word(chunk))
            chunk, room = b"", _room(75)
        chunk += encoded
    return [*words, _word(chunk)]


def _room(width: int) -> int:
    return (min(width, 75) - 12) // 4 * 3


def _word(chunk: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(chunk).decode('ascii')}?="


def _fold(header: str, words: list[str], encoding: str = "ascii") -> bytes:
    """Lines of at most 76 where the words allow it; the first line is never empty (filters take that ill)."""
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
        raise HeaderError(header, f"holds the control character {match[0]!r}")
    return value
