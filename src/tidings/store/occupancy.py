"""Who has a store open: every process that works on it, or one alone that replaces or migrates it.

Beside SQLite that is flock on `<database>.d/occupied`, on PostgreSQL an advisory lock of the database: the system takes
either away when a process dies, however it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tidings.model.errors import InputError, RefusedError
from tidings.store.engine import Store, side_folder

NAME = "occupied"
"""The file that is locked, in the folder beside a SQLite database."""
_KEY = 0x7469_6469_6E68
"""The advisory lock on PostgreSQL."""
_BUSY = (
    "something works on this newsroom: stop `tidings run` (systemctl stop tidings) and wait until other commands have "
    "ended, then try again. Nothing was changed."
)
_REPLACED = "this newsroom is being restored or upgraded just now: try again when that has ended."


class SharedHold:
    """A hold on a store, shared with others. Raises RefusedError while one process is alone with it."""

    def __init__(self, store: Store) -> None:
        self._fd = -1
        self._connection: Connection | None = None
        if store.path is not None:
            self._fd = _open(store, fcntl.LOCK_SH, _REPLACED)
            _HELD.add(self)
        else:
            self._connection = _session(store, "pg_try_advisory_lock_shared", _REPLACED)

    def release(self) -> None:
        """Give it back."""
        self.drop_after_fork()
        if self._connection is not None:
            with contextlib.suppress(DBAPIError):
                self._connection.close()
            self._connection = None

    def drop_after_fork(self) -> None:
        """In a forked child: close our copy, else the child would keep the store occupied after its parent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_HELD: weakref.WeakSet[SharedHold] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_HELD):
        one.drop_after_fork()


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def exclusive_hold(store: Store) -> Iterator[None]:
    """Nobody else works on the store meanwhile. Raises RefusedError if somebody does."""
    if store.path is not None:
        fd = _open(store, fcntl.LOCK_EX, _BUSY)
        try:
            yield
        finally:
            os.close(fd)
        return
    connection = _session(store, "pg_try_advisory_lock", _BUSY)
    try:
        yield
    finally:
        with contextlib.suppress(DBAPIError):
            connection.close()


def _open(store: Store, how: int, refusal: str) -> int:
    assert store.path is not None
    folder = side_folder(store.path)
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        said = f"the store's folder {folder.parent} does not exist"
        raise InputError(f"{said}: make it, or see `store:` in tidings.yaml and TIDINGS_STORE.") from None
    fd = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RefusedError(refusal) from None
    return fd


def _session(store: Store, function: str, refusal: str) -> Connection:
    connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    # Out of the pool: closing it ends the session, and with it the lock.
    connection.detach()
    if not connection.execute(text(f"SELECT {function}(:key)"), {"key": _KEY}).scalar_one():
        connection.close()
        raise RefusedError(refusal)
    return connection
