"""Create the tables of a fresh store, and upgrade an older one.

A migration that only adds what older programs need not know names the oldest schema whose program still works with
it: `compatible_from = "0010"`. The store keeps this as a value, which a program of that version reads. So the schema is
upgraded first, while everything runs, and then the processes are replaced one by one.

It also names its indexes of large tables: `indexes_first = ("NAME ON TABLE (COLUMN)",)`. PostgreSQL makes them before
the migration, without a lock that stops writers. The migration makes those that are missing (IF NOT EXISTS).
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from tidings.model.errors import RefusedError, StoreVersionError
from tidings.store.engine import Store
from tidings.store.key_values import find_value, set_value

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0016"
"""The schema version of this program; a test compares it with the newest migration."""

SCRIPTS = "tidings.store:migrations"
"""The package where Alembic finds the migrations."""
_COMPATIBLE_FROM = "schema_compatible_from"
"""The name of the stored value: a schema version, and the oldest version whose program works with it."""
_TRIES = 10
"""Times that a migration tries to lock its tables on PostgreSQL."""
_LOCK_TIMEOUT = "2s"
"""The longest wait for one lock: all other processes wait behind it."""
_CONTENTION = ("55P03", "40P01")
"""Errors of PostgreSQL: the lock was not available in time; a deadlock."""
_LOCK = 0x7469_6469_6E67
"""Advisory lock of PostgreSQL: only one of two processes creates the tables of a fresh database."""


def version(store: Store) -> str | None:
    """The schema version; None for an empty database. Raises StoreVersionError if another program uses it."""
    with store.read() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return None if revision is None else str(revision)
    if "deliveries" in tables:
        raise StoreVersionError(
            "this database has tables of another program. Give tidings a database of its own (`store:`)."
        )
    return None


def create_or_check(store: Store) -> None:
    """Create the tables of a fresh store. Raises StoreVersionError for a version that this program cannot use.

    The store may be newer, if its migrations say that this program works with it.
    """
    revision = version(store)
    if revision is None:
        _run(store, only_if_fresh=True)
        revision = version(store)
    if revision is None or revision < HEAD:
        raise StoreVersionError(
            f"the store has schema {revision}, this version of tidings needs {HEAD}. "
            "Run `tidings upgrade`: it makes a backup first."
        )
    if revision > HEAD and not _is_served(store, revision):
        raise _newer_error(revision)


def _is_served(store: Store, revision: str) -> bool:
    with store.read() as connection:
        written_for, _, oldest = (find_value(connection, _COMPATIBLE_FROM) or "").partition(" ")
    return written_for == revision and oldest <= HEAD


def _newer_error(revision: str) -> StoreVersionError:
    return StoreVersionError(
        f"the store has schema {revision}, which is newer than this version of tidings ({HEAD}). "
        "Use the version that wrote it, or a newer one; `tidings upgrade` cannot go back."
    )


def create(connection: Connection, revision: str) -> None:
    """Create the tables of an older schema version, to copy a store. Raises StoreVersionError for a newer one."""
    if revision > HEAD:
        raise _newer_error(revision)
    _steps(connection, revision)


def needs_upgrade(store: Store) -> bool:
    """Whether the store has an older schema. Raises StoreVersionError for a newer one."""
    before = version(store)
    if before is not None and before > HEAD:
        raise _newer_error(before)
    return before != HEAD


def upgrade(store: Store) -> bool:
    """Upgrade the store to the schema of this version. False if it is up to date."""
    if not needs_upgrade(store):
        return False
    if not store.is_sqlite:
        _make_indexes(store, version(store) or "")
    _run(store, only_if_fresh=False)
    return True


def may_run_meanwhile(before: str) -> bool:
    """Whether programs of the schema version `before` work on while and after the store is upgraded."""
    return _oldest_served() <= before


def _oldest_served() -> str:
    return max(str(getattr(module, "compatible_from", module.revision)) for module in _modules())


def _modules() -> list[Any]:
    """Return all migrations, the newest first."""
    from alembic.script import ScriptDirectory

    return [step.module for step in ScriptDirectory.from_config(_config()).walk_revisions()]


def _make_indexes(store: Store, before: str) -> None:
    """Make the `indexes_first` of the migrations after a version."""
    indexes = [index for module in _modules() if module.revision > before for index in _indexes_of(module)]
    with store.session_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for index in indexes:
            name = index.partition(" ")[0]
            broken = text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid")
            if connection.scalar(broken, {"name": name}):
                # An earlier try ended in the middle.
                connection.exec_driver_sql(f"DROP INDEX {name}")
            # A column may be made by a migration: then this one makes the index too.
            with suppress(ProgrammingError):
                connection.exec_driver_sql(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index}")


def _indexes_of(module: Any) -> tuple[str, ...]:
    return tuple(getattr(module, "indexes_first", ()))


def _run(store: Store, *, only_if_fresh: bool) -> None:
    for left in reversed(range(_TRIES)):
        try:
            with store.write() as connection:
                if not store.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                if only_if_fresh and _version(connection) is not None:
                    return
                _steps(connection, "head")
                set_value(connection, _COMPATIBLE_FROM, f"{HEAD} {_oldest_served()}")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _CONTENTION:
                raise
            if not left:
                raise RefusedError(
                    "Other processes use the tables without a pause, so nothing was changed. "
                    "Try again when less is sent."
                ) from None
            time.sleep(0.5)
        else:
            return


def _steps(connection: Connection, revision: str) -> None:
    # Imported here, because every other start of the program does not need Alembic.
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    return config
