"""What a connection still has to write, and whether the end of the message on the way has been written."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

_MOST_BUFFERS = 512
_RECORD = 1 << 14
"""Octets of a record of TLS (RFC 8446 §5.1): less than a whole one the other side cannot read."""


class Outbox:
    """Bytes in order, written as the socket takes them."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._is_tls = isinstance(connection, ssl.SSLSocket)
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._to_end = 0
        """Bytes up to the end of the message on the way."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def put(self, piece: bytes) -> None:
        """Behind all that is there."""
        self._pieces.append(piece)
        self._size += len(piece)

    def put_message(self, pieces: Sequence[bytes], size: int, end: bytes = b"") -> None:
        """Behind all that is there; with `end`, of `size` bytes without it, that is where the message ends."""
        self._pieces += pieces
        self._size += size
        if end:
            self.put(end)
        self._to_end = self._size

    @property
    def is_end_written(self) -> bool:
        """Of the message on the way, all of it."""
        return self._to_end <= 0

    def write(self) -> bool:
        """As much as the socket takes at once; whether that wrote the end of a message. Raises OSError as it does."""
        pieces = self._pieces
        if self._is_tls:
            # OpenSSL wants the same bytes again after it could not write them: they are joined once and stay so. By
            # records, for it does not tell of whole ones that it wrote before it had to wait.
            if len(pieces) > 1:
                pieces[:] = [memoryview(b"".join(pieces))]
            sent = self._socket.send(pieces[0][:_RECORD])
        else:
            sent = self._socket.sendmsg(pieces if len(pieces) <= _MOST_BUFFERS else pieces[:_MOST_BUFFERS])
        self._size -= sent
        if self._size:
            self._drop(sent)
        else:
            pieces.clear()
        ends = 0 < self._to_end <= sent
        self._to_end -= sent
        return ends

    def _drop(self, sent: int) -> None:
        pieces = self._pieces
        done = 0
        for piece in pieces:
            if sent < len(piece):
                break
            sent -= len(piece)
            done += 1
        del pieces[:done]
        if sent:
            pieces[0] = memoryview(pieces[0])[sent:]

    def clear(self) -> None:
        """Nothing of it is written any more; how far the message came stays known."""
        self._pieces.clear()
        self._size = 0
