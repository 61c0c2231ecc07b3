"""Which processes are alive: each holds a lock that the system takes away the moment it dies.

Beside SQLite that is flock on a file of its own; on PostgreSQL a session advisory lock on a connection of its own. So
what a dead process had in hand is free at once, and the expiry of a lease is only for one that lives but stands still.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import socket
import threading
import weakref
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tidings.store.engine import Store, side_folder


class Liveness(Protocol):
    """The lock of this process, and a look at the locks of others."""

    owner: str

    def is_alive(self, owner: str) -> bool:
        """Whether the process of that name still holds its lock."""

    def refresh(self) -> None:
        """Called now and then: takes the lock anew where the connection that held it was lost."""

    def list_dead(self) -> list[str]:
        """Processes that left a lock behind and live no more."""

    def forget(self, owner: str) -> None:
        """Nothing of a dead process is left: remove what is kept of it."""

    def release(self) -> None:
        """Let go; from here on this owner counts as dead."""


def acquire_liveness(store: Store) -> Liveness:
    """Begin to be alive, under a name that was never used before."""
    host = "".join(ch if ch.isalnum() else "-" for ch in socket.gethostname().split(".")[0])[:30] or "host"
    owner = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
    if store.path is not None:
        return FileLiveness(side_folder(store.path) / "owners", owner)
    return SessionLiveness(store, owner)


_HELD: weakref.WeakSet[FileLiveness] = weakref.WeakSet()


class FileLiveness:
    """flock on `<database>.d/owners/OWNER.lock`. Needs a local disk: so does SQLite's WAL."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.owner = owner
        self._folder = folder
        self._fd = -1
        folder.mkdir(parents=True, exist_ok=True)
        path = self._path(owner)
        while self._fd < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Somebody may have found it unlocked and removed it in between: a lock on a removed file is worth nothing.
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                self._fd = fd
            else:
                os.close(fd)
        _HELD.add(self)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.lock"

    def is_alive(self, owner: str) -> bool:
        """Whether the process of that name still holds its lock."""
        if owner == self.owner:
            return self._fd >= 0
        try:
            fd = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared: two who look at the same time do not take each other for the owner.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def refresh(self) -> None:
        """Nothing to do: the file is held as long as the process lives."""

    def list_dead(self) -> list[str]:
        """By their files."""
        names = [path.stem for path in sorted(self._folder.glob("*.lock"))]
        return [name for name in names if not self.is_alive(name)]

    def forget(self, owner: str) -> None:
        """Remove the file of a dead process."""
        if owner != self.owner and not self.is_alive(owner):
            self._path(owner).unlink(missing_ok=True)

    def release(self) -> None:
        """Let go, and leave no file."""
        if self._fd >= 0:
            self._path(self.owner).unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def drop_after_fork(self) -> None:
        """In a forked child: close our copy, else the child would keep a dead parent alive."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _after_fork() -> None:
    for liveness in list(_HELD):
        liveness.drop_after_fork()


os.register_at_fork(after_in_child=_after_fork)


class SessionLiveness:
    """A session advisory lock of PostgreSQL; the server lets go of it as soon as the connection ends."""

    def __init__(self, store: Store, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._mutex = threading.Lock()
        self._connection: Connection | None = None
        self._take()

    def _take(self) -> None:
        connection = self._store.engine.connect()
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key(self.owner)})
        # Out of the pool: nobody else may use, reset or recycle it.
        connection.detach()
        self._connection = connection

    def is_alive(self, owner: str) -> bool:
        """Whether the process of that name still holds its lock."""
        if owner == self.owner:
            return self._connection is not None
        with self._store.write() as connection:
            # Shared, and only until this transaction ends: two who look do not take each other for the owner.
            free = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
            return not connection.execute(free, {"key": _key(owner)}).scalar_one()

    def refresh(self) -> None:
        """Take the lock anew if the server lost the connection. What was in hand may have been taken: fences tell."""
        with self._mutex:
            if self._connection is None:
                return
            try:
                self._connection.execute(text("SELECT 1"))
            except DBAPIError:
                with contextlib.suppress(DBAPIError):
                    self._connection.close()
                self._take()

    def list_dead(self) -> list[str]:
        """None: a dead session leaves nothing."""
        return []

    def forget(self, owner: str) -> None:
        """Nothing to do: the server keeps nothing of a dead session."""

    def release(self) -> None:
        """Let go."""
        with self._mutex:
            if self._connection is not None:
                with contextlib.suppress(DBAPIError):
                    self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _key(self.owner)})
                    self._connection.close()
                self._connection = None


def _key(owner: str) -> int:
    """A signed 64-bit number: advisory locks have no names."""
    digest = hashlib.sha256(b"tidings owner " + owner.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
