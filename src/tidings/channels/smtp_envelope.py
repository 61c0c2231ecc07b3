"""What is said before a message: MAIL, RCPT and DATA (RFC 5321 §3.3), and the message made ready to follow them."""

from __future__ import annotations

import re
from collections.abc import Container

from tidings.channels.smtp_login import words
from tidings.channels.smtp_work import Mail

_EOL = re.compile(rb"\r\n|\r|\n")
# A path of RFC 5321 §4.1.2: what ends it or the line stands in a quoted local part only, and there not either.
_PATH = re.compile(r"(?:[^\x00-\x20<>\"\x7f]+|\"(?:[^\x00-\x1f\"\\\x7f<>]|\\[\x20-;=?-~])*\")@[^\x00-\x20<>@\"\x7f]+|")


def envelope_of(mail: Mail, extensions: Container[str]) -> list[tuple[str, bytes]] | str:
    """The commands, each with its name; or why a relay with these extensions cannot be asked to take it."""
    sender, recipient = mail.sender, mail.recipient
    if not recipient or not _PATH.fullmatch(recipient) or not _PATH.fullmatch(sender):
        wrong = recipient if _PATH.fullmatch(sender) else sender
        return f"was not asked: {words(repr(wrong))} cannot stand in an SMTP command"
    options = b""
    encoding = "ascii"
    if not (sender.isascii() and recipient.isascii()):
        if "smtputf8" not in extensions:
            return "does not offer SMTPUTF8 (RFC 6531), which this address needs"
        options = b" SMTPUTF8"
        encoding = "utf-8"
    if not mail.is_ascii:
        if "8bitmime" not in extensions:
            return "does not offer 8BITMIME, which this message needs"
        options += b" BODY=8BITMIME"
    return [
        ("mail", b"MAIL FROM:<%s>%s\r\n" % (sender.encode(encoding), options)),
        ("rcpt", b"RCPT TO:<%s>\r\n" % recipient.encode(encoding)),
        ("data", b"DATA\r\n"),
    ]


def stuffed(data: bytes) -> bytes:
    """Ready for DATA: every line ends in CRLF (RFC 5321 §2.3.8: a lone one is a way to smuggle), dots doubled."""
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        data = _EOL.sub(b"\r\n", data)
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\n.", b"\n..")
