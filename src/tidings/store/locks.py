"""Two locks that the system releases as soon as a process ends, even after a crash.

Liveness shows which processes are alive, so that others take over the deliveries of a dead one at once. The expiry of a
lease is only for a process that lives but hangs. Beside SQLite it is flock on a file of each process; on PostgreSQL a
session advisory lock on a connection of its own.

A hold shows who has the store open: the processes that work on it, or one that replaces or migrates it. Beside
SQLite it is flock on `<database>.d/occupied`, on PostgreSQL an advisory lock of the database.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tidings.model.errors import InputError, RefusedError
from tidings.store.engine import Store, restrict_files, side_folder

HOLD_FILE = "occupied"
"""The file that a hold locks, in the folder beside a SQLite database."""
_HOLD_KEY = 0x7469_6469_6E68
"""The advisory lock of a hold on PostgreSQL."""
_BUSY = (
    "another process works on this newsroom, and nothing was changed. Stop `tidings run` (systemctl stop tidings), "
    "wait until other commands have ended, and try again."
)
_REPLACED = "this newsroom is being restored or upgraded. Try again when that has ended."


class Liveness(Protocol):
    """The lock of this process, and a look at the locks of others."""

    owner: str

    def is_alive(self, owner: str) -> bool:
        """Whether the process of that name still holds its lock."""

    def refresh(self) -> None:
        """Take the lock again if the connection that held it was lost. Call it regularly."""

    def list_dead(self) -> list[str]:
        """Names of dead processes that left a lock file."""

    def forget(self, owner: str) -> None:
        """Remove the lock file of a dead process."""

    def release(self) -> None:
        """Release the lock: from now on this owner counts as dead."""


def acquire_liveness(store: Store) -> Liveness:
    """Lock a new owner name, which was never used before."""
    host = "".join(ch if ch.isalnum() else "-" for ch in socket.gethostname().split(".")[0])[:30] or "host"
    owner = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
    if store.path is not None:
        return FileLiveness(side_folder(store.path) / "owners", owner)
    return SessionLiveness(store, owner)


class _LockedFile:
    """An open file with flock. A forked child closes its copy, else it would keep the lock after its parent ends."""

    def __init__(self) -> None:
        self._fd = -1
        _LOCKED_FILES.add(self)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


_LOCKED_FILES: weakref.WeakSet[_LockedFile] = weakref.WeakSet()


def _close_after_fork() -> None:
    for locked in list(_LOCKED_FILES):
        locked.close()


os.register_at_fork(after_in_child=_close_after_fork)


class FileLiveness(_LockedFile):
    """flock on `<database>.d/owners/OWNER.lock`. It needs a local disk, as SQLite's WAL does."""

    def __init__(self, folder: Path, owner: str) -> None:
        super().__init__()
        self.owner = owner
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(owner)
        while self._fd < 0:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Another process may have found it unlocked and removed it: a lock on a removed file has no effect.
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                self._fd = fd
            else:
                os.close(fd)

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
            # Shared, so that two processes that check at once do not mistake each other for the owner.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def refresh(self) -> None:
        """Do nothing: the file is locked as long as the process lives."""

    def list_dead(self) -> list[str]:
        """Names of dead processes that left a lock file."""
        names = [path.stem for path in sorted(self._folder.glob("*.lock"))]
        return [name for name in names if not self.is_alive(name)]

    def forget(self, owner: str) -> None:
        """Remove the lock file of a dead process."""
        if owner != self.owner and not self.is_alive(owner):
            self._path(owner).unlink(missing_ok=True)

    def release(self) -> None:
        """Remove the file and release the lock."""
        if self._fd >= 0:
            self._path(self.owner).unlink(missing_ok=True)
            self.close()


class _SessionLock:
    """A session advisory lock of PostgreSQL, on a connection that nobody else uses.

    The server releases it as soon as the connection ends. `refresh` takes it again after the connection was lost.
    """

    def __init__(self, store: Store, key: int, *, shared: bool = False, refusal: str = "") -> None:
        """Take the lock. `refusal`: raise RefusedError with this text if another process has it."""
        self._store = store
        self._key = key
        self._try = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
        self._refusal = refusal
        self._mutex = threading.Lock()
        self._is_released = False
        self._connection: Connection | None = None
        self._take()

    @property
    def _parts(self) -> dict[str, int]:
        """The two halves of the key, as pg_locks shows them."""
        unsigned = self._key % 2**64
        return {"high": unsigned >> 32, "low": unsigned % 2**32}

    @property
    def is_wanted(self) -> bool:
        """Whether it was not released. Its connection may be lost until the next `refresh`."""
        return not self._is_released

    def _take(self) -> None:
        store = self._store
        connection = _own_session(store)
        try:
            if not connection.execute(text(f"SELECT {self._try}(:key)"), {"key": self._key}).scalar_one():
                if self._refusal:
                    raise RefusedError(self._refusal)
                self._replace(connection)
            if not self._is_seen(connection):
                pool, server = _place(store.engine), _place(store.session_engine)
                raise InputError(
                    f"{pool} and {server} (`direct`) do not lead to the same database of the same PostgreSQL server, "
                    "so locks would not hold. Correct the address in `store`, or the settings of the pool."
                )
        except BaseException:
            _close_quietly(connection)
            raise
        self._connection = connection

    def _replace(self, connection: Connection) -> None:
        """Take a lock that only this process can have: its lost session still has it, so the server ends that one.

        After a cut of the network, the server may not notice for hours that the other end is gone.
        """
        connection.execute(text(_END_HOLDER), self._parts)
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": self._key})

    def _is_seen(self, connection: Connection) -> bool:
        """Whether the lock of this session is seen through the pool, if there is one. A failover may move only one."""
        if self._store.session_engine is self._store.engine:
            return True
        values = self._parts | {"session": connection.exec_driver_sql(_SESSION).scalar_one()}
        with self._store.read() as pooled:
            return bool(pooled.execute(text(_COUNT), values).scalar_one())

    def refresh(self) -> None:
        """Take the lock again if its connection was lost. Raises SQLAlchemyError while the database does not answer."""
        with self._mutex:
            if self._is_released:
                return
            if self._connection is not None:
                try:
                    self._connection.exec_driver_sql("SELECT 1")
                    is_lost = False
                except SQLAlchemyError:
                    is_lost = True
                if not is_lost and self._is_seen(self._connection):
                    return
                connection, self._connection = self._connection, None
                _close_quietly(connection)
            self._take()

    def release(self) -> None:
        """Release the lock for good."""
        with self._mutex:
            self._is_released = True
            if self._connection is not None:
                # The server may notice the end of a connection later.
                with contextlib.suppress(SQLAlchemyError):
                    self._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                _close_quietly(self._connection)
                self._connection = None


_OF_KEY = """
    FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND CAST(classid AS bigint) = :high AND CAST(objid AS bigint) = :low AND objsubid = 1
"""
_END_HOLDER = f"SELECT pg_terminate_backend(pid) {_OF_KEY} AND mode = 'ExclusiveLock' AND pid <> pg_backend_pid()"
_COUNT = f"SELECT count(*) {_OF_KEY} AND pid = :session"
_KEEP_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
"""The server ends the session of a machine that is gone after a minute. Its own limit is two hours."""


def _close_quietly(connection: Connection) -> None:
    with contextlib.suppress(SQLAlchemyError):
        connection.close()


class SessionLiveness:
    """A session advisory lock of PostgreSQL; the server releases it as soon as the connection ends."""

    def __init__(self, store: Store, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._lock = _SessionLock(store, _owner_key(owner))

    def is_alive(self, owner: str) -> bool:
        """Whether the process of that name still holds its lock."""
        if owner == self.owner:
            return self._lock.is_wanted
        with self._store.write() as connection:
            # Shared, until this transaction ends, so that two checkers do not mistake each other for the owner.
            is_free = text("SELECT pg_try_advisory_xact_lock_shared(:key)")
            return not connection.execute(is_free, {"key": _owner_key(owner)}).scalar_one()

    def refresh(self) -> None:
        """Take the lock again if the server lost the connection. Fences show which deliveries others took."""
        self._lock.refresh()

    def list_dead(self) -> list[str]:
        """Return an empty list: the server keeps nothing of a dead session."""
        return []

    def forget(self, owner: str) -> None:
        """Do nothing: the server keeps nothing of a dead session."""

    def release(self) -> None:
        self._lock.release()


def _own_session(store: Store) -> Connection:
    """Open a connection outside the pool, so that nothing else uses, resets or recycles it. Closing it ends the
    session.

    Raises InputError if the server gives no session of our own, because locks would not hold.
    """
    try:
        connection = store.session_engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except DBAPIError as error:
        # PgBouncer with `pool_mode = statement` allows no transaction at all.
        if "statement pooling" in str(error.orig):
            raise _pool_error(store) from None
        raise
    try:
        _refuse_pooled_transactions(store, connection)
        connection.detach()
        connection.exec_driver_sql(_KEEP_ALIVE)
    except BaseException:
        _close_quietly(connection)
        raise
    return connection


def _refuse_pooled_transactions(store: Store, connection: Connection) -> None:
    """Raise InputError if a pool such as PgBouncer gives each transaction another session of the server.

    Such a pool answers with a process id of its own when a client connects. Only then is it asked further: while
    `connection` is idle, another client gets its session.
    """
    raw: Any = connection.connection.driver_connection
    session = connection.exec_driver_sql(_SESSION).scalar_one()
    if session == raw.info.backend_pid:
        return
    with contextlib.ExitStack() as stack:
        for _ in range(_PROBES):
            other = stack.enter_context(store.session_engine.connect())
            other.begin()
            if other.exec_driver_sql(_SESSION).scalar_one() == session:
                raise _pool_error(store)


def _pool_error(store: Store) -> InputError:
    return InputError(
        f"{_place(store.session_engine)} is a pool that gives each transaction another session of PostgreSQL. Locks "
        "would not hold there, and mails could go out twice. Name PostgreSQL itself at the end of the address in "
        "`store`, for locks and journals: ?direct=HOST:5432"
    )


def _place(engine: Engine) -> str:
    url = engine.url
    return f"{url.host}:{url.port}" if url.host and url.port else "the address in `store`"


_SESSION = "SELECT pg_backend_pid()"
_PROBES = 3
"""Transactions at the same time that look for the session of an idle client: others may use the pool meanwhile."""


def _owner_key(owner: str) -> int:
    """A signed 64-bit number: advisory locks have no names."""
    digest = hashlib.sha256(b"tidings owner " + owner.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class SharedHold(_LockedFile):
    """A hold on a store that many processes share. Raises RefusedError while one process has the exclusive hold.

    As a context manager, it is released at the end.
    """

    def __enter__(self) -> SharedHold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._lock: _SessionLock | None = None
        if store.path is not None:
            self._fd = _lock_file(store, fcntl.LOCK_SH, _REPLACED)
        else:
            self._lock = _SessionLock(store, _HOLD_KEY, shared=True, refusal=_REPLACED)

    def refresh(self) -> None:
        """Take the hold again if the server lost the connection. Raises RefusedError if the store is being replaced."""
        if self._lock is not None:
            self._lock.refresh()

    def release(self) -> None:
        self.close()
        if self._lock is not None:
            self._lock.release()


@contextmanager
def exclusive_work(store: Store, name: str) -> Iterator[bool]:
    """Yield whether this process alone does the work of that name. Always True on SQLite, which has no fleet."""
    if store.path is not None:
        yield True
        return
    try:
        lock = _SessionLock(store, _owner_key(f"work {name}"), refusal=_BUSY)
    except RefusedError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def exclusive_hold(store: Store) -> Iterator[None]:
    """Keep all other processes away from the store. Raises RefusedError if one works on it."""
    if store.path is not None:
        fd = _lock_file(store, fcntl.LOCK_EX, _BUSY)
        try:
            yield
        finally:
            os.close(fd)
        return
    lock = _SessionLock(store, _HOLD_KEY, refusal=_BUSY)
    try:
        yield
    finally:
        lock.release()


def _lock_file(store: Store, how: int, refusal: str) -> int:
    assert store.path is not None
    folder = side_folder(store.path)
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
    except FileNotFoundError:
        raise InputError(
            f"the store's folder {folder.parent} does not exist. Make it, or change `store:` in tidings.yaml or "
            "TIDINGS_STORE."
        ) from None
    restrict_files(store.path)  # a stranger must not open the lock
    fd = os.open(folder / HOLD_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise RefusedError(refusal) from None
    return fd
