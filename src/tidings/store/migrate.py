"""Create the tables of a fresh store, and upgrade an older one."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from tidings.model.errors import StoreVersionError
from tidings.store.engine import Store

HEAD = "0011"
"""The schema version of this program; a test compares it with the newest migration."""

SCRIPTS = "tidings.store:migrations"
"""The package where Alembic finds the migrations."""
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
    """Create the tables of a fresh store. Raises StoreVersionError for another version, with the command to run."""
    revision = version(store)
    if revision is None:
        _run(store, only_if_fresh=True)
        revision = version(store)
    if revision != HEAD:
        raise StoreVersionError(
            f"the store has schema {revision}, this version of tidings needs {HEAD}. "
            "Run `tidings upgrade`: it makes a backup first."
            if revision is not None and revision < HEAD
            else f"the store has schema {revision}, which is newer than this version of tidings ({HEAD}). "
            "Use the version that wrote it, or a newer one; `tidings upgrade` cannot go back."
        )


def create(connection: Connection, revision: str) -> None:
    """Create the tables of an older schema version, to copy a store of that version."""
    _steps(connection, revision)


def upgrade(store: Store) -> bool:
    """Upgrade the store to the schema of this version. False if it is up to date."""
    before = version(store)
    if before == HEAD:
        return False
    if before is not None and before > HEAD:
        create_or_check(store)
    _run(store, only_if_fresh=False)
    return True


def _run(store: Store, *, only_if_fresh: bool) -> None:
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if only_if_fresh and _version(connection) is not None:
            return
        _steps(connection, "head")


def _steps(connection: Connection, revision: str) -> None:
    # Imported here, because every other start of the program does not need Alembic.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
