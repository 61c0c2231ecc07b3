"""A network cable for tests: a TCP proxy on loopback that can be cut.

While it is cut, no byte passes in either direction and no connection is refused, as when a switch loses its power.
After the repair, the old connections are closed: their ends have given up.
"""

from __future__ import annotations

import contextlib
import socket
import threading

_CHUNK = 65_536


class Cable:
    """A proxy that forwards connections to `port` on loopback; `self.port` is its own end."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._mutex = threading.Lock()
        self._whole = threading.Event()
        self._whole.set()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """Return how many connections pass through it."""
        with self._mutex:
            return len(self._sockets) // 2

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._whole.clear()

    def mend(self) -> None:
        """Close the old connections, and let new ones pass."""
        self._drop()
        self._whole.set()

    def close(self) -> None:
        """Remove the proxy."""
        self._listener.close()
        self.mend()

    def _drop(self) -> None:
        with self._mutex:
            dropped, self._sockets = self._sockets, set()
        for end in dropped:
            # `shutdown` wakes the threads that read from it; they close it.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was removed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            self._whole.wait()
            with socket.create_connection(("127.0.0.1", self._far)) as far:
                with self._mutex:
                    self._sockets |= {near, far}
                back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
                back.start()
                self._pump(near, far)
                back.join()
                with self._mutex:
                    self._sockets -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._whole.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
