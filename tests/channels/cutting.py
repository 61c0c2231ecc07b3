"""A proxy that loses one connection after the server has answered."""

from __future__ import annotations

import socket
import threading


class Cutting:
    """Closes the connection instead of passing the first answer to a request that contains `word`."""

    def __init__(self, port: int, word: bytes) -> None:
        self._port, self._word = port, word
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(ours,), daemon=True).start()

    def _carry(self, ours: socket.socket) -> None:
        with ours, socket.create_connection(("127.0.0.1", self._port)) as theirs:
            while (asked := _message(ours)) is not None:
                theirs.sendall(asked)
                message = _message(theirs)
                if message is None or (self._word in asked and not self.cuts):
                    self.cuts += message is not None
                    return
                ours.sendall(message)


def _message(line: socket.socket) -> bytes | None:
    """Read one HTTP message with a length or in chunks, or None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (one.partition(b":") for one in head.split(b"\r\n"))
    }
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        while not body.endswith(b"0\r\n\r\n"):
            body += line.recv(65536)
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body
