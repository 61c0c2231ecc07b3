"""A store: one database, with read and write transactions."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from tidings.model.errors import InputError

T = TypeVar("T")

BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for another writer on SQLite."""


SYNCHRONOUS = "PRAGMA synchronous=FULL"
"""A setting of SQLite: with NORMAL a power loss rolls back commits, and a message would go out twice."""
_MAX_IDLE = 60
"""Seconds that a write transaction on PostgreSQL may be idle; far below a lease."""
_CONNECTION_LIMITS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Parameters of libpq. Without them, a thread waits for many minutes after the network was cut."""
POOLED = "tidings_pooled"
"""An execution option: a pool such as PgBouncer gives each transaction another session of the server."""


class LockTimeoutError(SQLAlchemyError):
    """Another process holds a lock for too long. Nothing was changed."""


class Store:
    """One database. Use `read()` and `write()`: nothing else begins a transaction.

    On SQLite a write takes the lock at its beginning (BEGIN IMMEDIATE): a deferred transaction fails when it upgrades,
    whatever the timeout, and check-then-act is not atomic in it. Keep each write under 100 ms.
    """

    def __init__(self, url: str, root: Path) -> None:
        """Take `url` as in tidings.yaml (`sqlite:///tidings.db` is relative to `root`). Nothing is opened yet."""
        parsed = _parse_address(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path: Path | None = None
        if self.is_sqlite:
            self.path = root / (parsed.database or "tidings.db")
            self.engine = _sqlite_engine(self.path)
            self.session_engine = self.engine
            """For what needs a session of its own: locks and journals. It leads to PostgreSQL itself, past a pool."""
        else:
            hosts = str(parsed.query.get("direct", ""))
            self.engine = _postgresql_engine(parsed, pool_size=8, max_overflow=8, is_pooled=bool(hosts))
            self.session_engine = (
                _postgresql_engine(_parse_address(url, hosts), poolclass=NullPool) if hosts else self.engine
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction with a consistent view. It ends with a rollback."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin() as transaction:
                yield connection
                transaction.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Begin a transaction that commits, or rolls back on an exception. SQLite has one writer at a time."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(tidings_write=True)
            with connection.begin():
                if not self.is_sqlite:
                    # A process or machine that hangs in a transaction must not lock its rows for ever.
                    connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_MAX_IDLE}s'")
                yield connection

    def attach(self, path: Path) -> None:
        """Read the tables that this SQLite file does not have from another one, which is never changed."""
        address = f"{path.resolve().as_uri()}?mode=ro"

        @event.listens_for(self.engine, "connect")
        def _attach(raw: Any, _record: Any) -> None:
            raw.execute("ATTACH ? AS attached", (address,))

        self.engine.dispose()

    def leave_connections(self) -> None:
        """Make new connections, after a fork in the new process. The parent uses those that are open."""
        self._left = self.engine.pool, self.session_engine.pool  # so that they are never closed here
        self.engine.dispose(close=False)
        self.session_engine.dispose(close=False)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self.session_engine.dispose()


def _parse_address(url: str, other_hosts: str = "") -> URL:
    """Read an address. PostgreSQL may have several hosts: `postgresql://a:5432,b/db?target_session_attrs=read-write`.

    libpq tries them in order, so that the next connection finds the server that took over. `other_hosts` replace those
    of the address.
    """
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    hosts = other_hosts or hosts
    if scheme.startswith("sqlite"):
        return make_url(url)
    if "," not in hosts:
        return make_url(f"{scheme}://{login}{at}{hosts}{slash}{path}")
    pairs = [("host", host) for host in hosts.split(",")]
    return make_url(f"{scheme}://{login}{at}{slash}{path}").update_query_pairs(pairs, append=True)


def _postgresql_engine(url: URL, *, is_pooled: bool = False, **pool: Any) -> Engine:
    """Make an engine. `is_pooled`: it leads to a pool such as PgBouncer in transaction mode."""
    arguments: dict[str, Any] = {name: value for name, value in _CONNECTION_LIMITS.items() if name not in url.query}
    if is_pooled:
        # A statement that was prepared in one session does not exist in the next one.
        arguments["prepare_threshold"] = None
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg").difference_update_query(["direct"]),
            pool_pre_ping=True,
            connect_args=arguments,
            **pool,
        )
    except ModuleNotFoundError:
        command = f'{sys.executable} -m pip install "tidings[postgresql]"'
        raise InputError(f"PostgreSQL needs its driver, psycopg. Install it: {command}") from None
    engine.update_execution_options(**{POOLED: is_pooled})
    return engine


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=8,
        # `uri` is for `attach`: the path itself is none.
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False, "isolation_level": None, "uri": True},
    )

    @event.listens_for(engine, "do_connect")
    def _close_to_others(*_: Any) -> None:
        # SQLite makes its other files with the rights of the database. A first process makes it for its user only.
        if not path.exists() and path.parent.is_dir():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        restrict_files(path)

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        cursor = raw.cursor()
        _write_ahead(cursor)
        cursor.execute(SYNCHRONOUS)
        cursor.execute("PRAGMA foreign_keys=ON")
        # Else deleted data, such as addresses in the journal, stays legible in free pages of the file.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("tidings_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switch to WAL. SQLite does not wait if another process switches the same new file, so retry."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def side_folder(database: Path) -> Path:
    """The folder for locks beside a SQLite file."""
    return database.with_name(database.name + ".d")


def restrict_files(database: Path) -> None:
    """Take the rights of other users from a SQLite store and its side folder: they hold all subscribers."""
    files = [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal"))]
    for path in (*files, side_folder(database)):
        with contextlib.suppress(OSError):  # it does not exist, or belongs to another user
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                path.chmod(mode & 0o700)


def lock_file(descriptor: int, how: int) -> None:
    """Lock a file with flock, waiting at most `BUSY_TIMEOUT` seconds. Raises LockTimeoutError."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise LockTimeoutError(
                    f"a lock beside the database was held for {BUSY_TIMEOUT:.0f} seconds; see who holds it: fuser"
                ) from None
            time.sleep(0.001)


def is_locked(error: DBAPIError) -> bool:
    """Whether SQLite refused because another connection holds the lock (SQLITE_BUSY or SQLITE_LOCKED, any variant)."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def describe_fault(error: Exception, redact: Callable[[str], str] = str) -> str:
    """Return the database's message in one short line. Any other error is a bug, so its type is named too.

    `redact` removes secrets. It gets the whole text: once the line is cut, a part of a secret is not recognised.
    """
    text = redact(str(getattr(error, "orig", None) or error)).strip()
    line = text.splitlines()[0] if text else ""
    return (line if isinstance(error, SQLAlchemyError) and line else f"{type(error).__name__}: {line}")[:300]


def ping(connection: Connection) -> None:
    """Check that the database answers. Raises SQLAlchemyError if it does not."""
    connection.exec_driver_sql("SELECT 1")


def split_chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield lists of at most 500 values: a statement has a limited number of parameters."""
    wanted = list(values)
    for start in range(0, len(wanted), 500):
        yield wanted[start : start + 500]


def insert_once(connection: Connection, table: Any) -> Any:
    """An INSERT that skips existing rows (ON CONFLICT DO NOTHING); `rowcount` counts the new ones."""
    made: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    # Without the option SQLAlchemy reports -1 for an INSERT on PostgreSQL.
    return made.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


_PARAMETER = re.compile(r"'[^']*'|(?<![:\w]):(\w+)")


@lru_cache(maxsize=256)
def driver_sql(dialect: str, sql: str) -> str:
    """Return SQL with parameters such as `:owner` in the form of the driver."""
    if dialect == "sqlite":
        return sql
    return _PARAMETER.sub(lambda found: f"%({found[1]})s" if found[1] else found[0], sql.replace("%", "%%"))


def run_sql(connection: Connection, sql: str, values: Mapping[str, Any] = MappingProxyType({})) -> list[Any]:
    """Run a statement with parameters such as `:owner` by the driver, in the transaction. Returns the rows.

    It is for statements that run for each batch: SQLAlchemy needs longer for one than the database. Moments are
    microseconds since 1970. Raises SQLAlchemyError.
    """
    dialect = connection.dialect
    cursor = connection.connection.cursor()
    try:
        cursor.execute(driver_sql(dialect.name, sql), dict(values))
        return list(cursor.fetchall()) if cursor.description else []
    except dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(sql, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
    finally:
        cursor.close()


@lru_cache(maxsize=64)
def json_rows(dialect: str, **fields: str) -> str:
    """SQL for a table from the JSON array of arrays `:rows`: one statement for a batch of any size."""
    if dialect == "sqlite":
        columns = [f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(fields)]
        return f"SELECT {', '.join(columns)} FROM json_each(:rows)"  # noqa: S608
    columns = [f"CAST(value->>{at} AS {kind}) AS {name}" for at, (name, kind) in enumerate(fields.items())]
    return f"SELECT {', '.join(columns)} FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS value"  # noqa: S608
