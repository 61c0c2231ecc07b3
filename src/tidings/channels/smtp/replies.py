"""What a relay says, cut into replies (RFC 5321 §4.2.1), however it arrives."""

from __future__ import annotations

MOST = 1 << 16
"""Octets of one reply."""


class Replies:
    """Of one connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        """Of a reply of several lines that has not ended."""

    def __bool__(self) -> bool:
        """Whether one has begun and not ended."""
        return bool(self._rest or self._lines)

    @property
    def is_endless(self) -> bool:
        """Whether one has grown beyond all measure."""
        return len(self._rest) + sum(map(len, self._lines)) > MOST

    def take_in(self, data: bytes) -> list[bytes]:
        """Replies that have ended, each on one line."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        found = []
        for line in lines:
            if line[3:4] == b"-" or self._lines:
                self._lines.append(line)
                if line[3:4] == b"-":
                    continue
                line = b" ".join([line[:3], *[part[4:].strip() for part in self._lines]])
                self._lines = []
            found.append(line)
        return found
