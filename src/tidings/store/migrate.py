"""Making the tables of a fresh store, and bringing an older one up to date."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from tidings.model.errors import StoreVersionError
from tidings.store.engine import Store

HEAD = "0002"
"""The schema of this version of the program; a test compares it with the newest migration."""

SCRIPTS = "tidings.store:migrations"
"""Where the steps stand."""
_LOCK = 0x7469_6469_6E67
"""Advisory lock of PostgreSQL: of two processes that find a fresh database, one makes the tables."""


def version(store: Store) -> str | None:
    """The schema's version; None for a fresh, empty database. Raises StoreVersionError for a database of others."""
    with store.read() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return None if found is None else str(found)
    if "deliveries" in tables:
        raise StoreVersionError("this database has tables of another program; give tidings one of its own (`store:`).")
    return None


def create_or_check(store: Store) -> None:
    """Make the tables of a fresh store. Raises StoreVersionError, naming `tidings upgrade`, for another version."""
    found = version(store)
    if found is None:
        _run(store, only_if_fresh=True)
        found = version(store)
    if found != HEAD:
        raise StoreVersionError(
            f"the store has schema {found}, this version of tidings needs {HEAD}. "
            "Run `tidings upgrade`: it makes a backup first."
            if found is not None and found < HEAD
            else f"the store has schema {found}, which is newer than this version of tidings ({HEAD}). "
            "Use the version that wrote it, or a newer one; `tidings upgrade` cannot go back."
        )


def create(connection: Connection, revision: str) -> None:
    """Make the tables of a fresh store as an older version of the schema had them, to copy a store of that version."""
    _steps(connection, revision)


def upgrade(store: Store) -> bool:
    """Bring the store to the schema of this version; False if it was there already."""
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
    # Imported here: every other start of the program does without.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
