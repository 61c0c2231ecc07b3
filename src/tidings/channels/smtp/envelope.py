"""What is said before a message: MAIL and RCPT (RFC 5321 §3.3), and the message made ready to follow them."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from tidings.channels.smtp.login import words
from tidings.channels.smtp.port import Mail

_EOL = re.compile(rb"\r\n|\r|\n")
# A path of RFC 5321 §4.1.2: what ends it or the line stands in a quoted local part only, and there not either.
_PATH = re.compile(r"(?:[^\x00-\x20<>\"\x7f]+|\"(?:[^\x00-\x1f\"\\\x7f<>]|\\[\x20-;=?-~])*\")@[^\x00-\x20<>@\"\x7f]+|")
_USUAL = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+ ){2}")
"""Two paths in ASCII without anything odd, each with a space behind it."""


def envelope_of(mail: Mail, extensions: Container[str]) -> bytes | str:
    """MAIL and RCPT; or why a relay with these extensions cannot be asked to take it."""
    sender, recipient = mail.sender, mail.recipient
    if mail.is_plain and _USUAL.fullmatch(f"{sender} {recipient} "):
        return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\n".encode("ascii")
    if not recipient or not _PATH.fullmatch(recipient) or not _PATH.fullmatch(sender):
        wrong = recipient if _PATH.fullmatch(sender) else sender
        return f"was not asked: {words(repr(wrong))} cannot stand in an SMTP command"
    options = ""
    encoding = "ascii"
    if not (sender.isascii() and recipient.isascii()):
        if "smtputf8" not in extensions:
            return "does not offer SMTPUTF8 (RFC 6531), which this address needs"
        options = " SMTPUTF8"
        encoding = "utf-8"
    if not (mail.is_plain or all(piece.isascii() for piece in mail.wire)):
        if "8bitmime" not in extensions:
            return "does not offer 8BITMIME, which this message needs"
        options += " BODY=8BITMIME"
    return f"MAIL FROM:<{sender}>{options}\r\nRCPT TO:<{recipient}>\r\n".encode(encoding)


def after_data(mail: Mail) -> Sequence[bytes]:
    """The message as it follows DATA: leading dots are doubled (RFC 5321 §4.5.2)."""
    if mail.is_plain:
        return mail.wire
    data = b"".join(mail.wire)
    return b"." if data.startswith(b".") else b"", data.replace(b"\n.", b"\n..")


def lines_ended(data: bytes) -> bytes:
    """Every line ends in CRLF, also the last (RFC 5321 §2.3.8: a lone one of the two is a way to smuggle)."""
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        data = _EOL.sub(b"\r\n", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"
