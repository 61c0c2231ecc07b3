"""What a connection, a relay and a queue exchange: messages, and the wire format of SMTP."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidings.channels.smtp.login import shorten_reply
from tidings.model.delivery import Outcome

MAX_REPLY = 1 << 16
"""Octets of one reply."""
_MAX_BUFFERS = 512
_TLS_RECORD = 1 << 14
"""Octets of a TLS record (RFC 8446 §5.1). The other side cannot read a record before it is whole."""
_EOL = re.compile(rb"\r\n|\r|\n")
# A path of RFC 5321 §4.1.2. Characters that would end the path or the line are refused, also in a quoted local part.
_PATH = re.compile(r"(?:[^\x00-\x20<>\"\x7f]+|\"(?:[^\x00-\x1f\"\\\x7f<>]|\\[\x20-;=?-~])*\")@[^\x00-\x20<>@\"\x7f]+|")
_PLAIN_PATHS = re.compile(r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+ ){2}")
"""Two paths in ASCII without special characters, each followed by a space."""


COMMAND_TIMEOUT = 60.0
"""Seconds for each reply and each write."""
DOT_TIMEOUT = 600.0
"""Seconds to wait for the reply to the final dot (RFC 5321 §4.5.3.2.6): giving up sooner makes duplicates."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a reply may take, in seconds."""

    command: float = COMMAND_TIMEOUT
    dot: float = DOT_TIMEOUT


class Mail(Protocol):
    """A message with its envelope."""

    @property
    def sender(self) -> str:
        """The return path; may be empty."""

    @property
    def recipient(self) -> str:
        """One recipient."""

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces. Every line ends in CRLF, also the last one (see `end_lines_with_crlf`)."""

    @property
    def is_plain(self) -> bool:
        """Whether the message is known to be ASCII with no line that begins with a dot. If not, it is searched."""


class MailQueue(Protocol):
    """The messages of one run. New ones may come while it runs. All calls come from one thread."""

    def take(self) -> Mail | None:
        """Return the next message, or None if there is none now."""

    def begin(self, mails: Sequence[Mail]) -> Sequence[bool]:
        """Announce messages whose first byte is sent next. False for one that may not begin: the queue has it back."""

    def record_accepted(self, mail: Mail, receipt: str, via: str) -> None:
        """Record that the relay `via` accepted a message, with its reply as the receipt."""

    def record_outcome(self, mail: Mail, outcome: Outcome) -> None:
        """Record any other outcome of a message."""

    def give_back(self, mail: Mail) -> None:
        """Take a message back of which nothing was sent, for no fault of its own."""

    def seconds_until_next(self) -> float | None:
        """Return the seconds until `take` may have more; None once nothing more comes. Called once a second or more."""

    def flush_outcomes(self) -> None:
        """Save what was recorded. Called before the relay waits for anything."""

    def stall(self, reason: str) -> None:
        """End the run because no connection can be had. The relay takes nothing more."""


def make_envelope(mail: Mail, extensions: Container[str]) -> bytes | str:
    """Return the MAIL and RCPT commands (RFC 5321 §3.3), or the reason why this relay cannot take the message."""
    sender, recipient = mail.sender, mail.recipient
    if mail.is_plain and _PLAIN_PATHS.fullmatch(f"{sender} {recipient} "):
        return f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\n".encode("ascii")
    if not recipient or not _PATH.fullmatch(recipient) or not _PATH.fullmatch(sender):
        invalid = recipient if _PATH.fullmatch(sender) else sender
        return f"was not asked: {shorten_reply(repr(invalid))} is not valid in an SMTP command"
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


def escape_dots(mail: Mail) -> Sequence[bytes]:
    """Return the message as it follows DATA: dots at the start of a line are doubled (RFC 5321 §4.5.2)."""
    if mail.is_plain:
        return mail.wire
    data = b"".join(mail.wire)
    return b"." if data.startswith(b".") else b"", data.replace(b"\n.", b"\n..")


def end_lines_with_crlf(data: bytes) -> bytes:
    """End every line with CRLF, also the last one. A lone CR or LF allows smuggling (RFC 5321 §2.3.8)."""
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        data = _EOL.sub(b"\r\n", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


class WriteBuffer:
    """Bytes that a connection still has to write, in order. It knows whether the dot of the message was written."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._to_dot = 0
        """Bytes up to the dot of the current message."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, piece: bytes) -> None:
        """Append bytes."""
        self._pieces.append(piece)
        self._size += len(piece)

    def put_message(self, pieces: Sequence[bytes], dot: bytes) -> None:
        """Append a message and its final dot."""
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        self.put(dot)
        self._to_dot = self._size

    @property
    def is_dot_written(self) -> bool:
        """Whether the current message was written up to its dot."""
        return self._to_dot <= 0

    def write(self) -> bool:
        """Write as much as the socket takes at once. Return whether that wrote the dot of a message.

        Raises OSError as the socket does.
        """
        pieces = self._pieces
        if self._is_tls:
            # After a write that failed, OpenSSL wants the same bytes again: they are joined once and stay so. They go
            # record by record, because OpenSSL does not report whole records that it wrote before it had to wait.
            if len(pieces) > 1:
                pieces[:] = [memoryview(b"".join(pieces))]
            sent = self._socket.send(pieces[0][:_TLS_RECORD])
        else:
            sent = self._socket.sendmsg(pieces if len(pieces) <= _MAX_BUFFERS else pieces[:_MAX_BUFFERS])
        self._size -= sent
        if self._size:
            self._drop(sent)
        else:
            pieces.clear()
        is_dot = 0 < self._to_dot <= sent
        self._to_dot -= sent
        return is_dot

    def _drop(self, sent: int) -> None:
        pieces = self._pieces
        count = 0
        for piece in pieces:
            if sent < len(piece):
                break
            sent -= len(piece)
            count += 1
        del pieces[:count]
        if sent:
            pieces[0] = memoryview(pieces[0])[sent:]

    def clear(self) -> None:
        """Drop all that is left. `is_dot_written` stays as it is."""
        self._pieces.clear()
        self._size = 0


class ReplyReader:
    """Cuts what a relay sends into replies (RFC 5321 §4.2.1), in whatever pieces it arrives."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        """Lines of a multi-line reply that has not ended."""

    def __bool__(self) -> bool:
        """Whether a reply has begun and not ended."""
        return bool(self._rest or self._lines)

    @property
    def is_too_long(self) -> bool:
        """Whether the unfinished reply is longer than `MAX_REPLY`."""
        return len(self._rest) + sum(map(len, self._lines)) > MAX_REPLY

    def feed(self, data: bytes) -> list[bytes]:
        """Return the replies that have ended, each on one line."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        replies = []
        for line in lines:
            if line[3:4] == b"-" or self._lines:
                self._lines.append(line)
                if line[3:4] == b"-":
                    continue
                line = b" ".join([line[:3], *[part[4:].strip() for part in self._lines]])
                self._lines = []
            replies.append(line)
        return replies
