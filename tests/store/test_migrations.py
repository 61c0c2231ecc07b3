"""The steps make the very tables that the program expects, on both databases, and no version meets another unseen."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from tests.store import write_first_migration
from tidings.model.errors import StoreVersionError
from tidings.store import migrate
from tidings.store.engine import Store
from tidings.store.schema import metadata


@pytest.fixture
def empty(database_url: str, tmp_path: Path) -> Iterator[Store]:
    store = Store(database_url, tmp_path)
    yield store
    store.close()


def _shape(store: Store) -> set[str]:
    """Every table, index and constraint as the database itself writes it out."""
    if store.is_sqlite:
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    else:
        query = (
            "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' ||"
            " coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name <> 'alembic_version'"
            " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            " UNION ALL SELECT c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid)"
            " FROM pg_constraint c WHERE c.connamespace = 'public'::regnamespace"
            " AND c.conrelid::regclass::text <> 'alembic_version'"
        )
    with store.read() as connection:
        lines = [re.sub(r"\s+", " ", row[0]).replace('"', "") for row in connection.execute(text(query))]
    # SQLite keeps the order in which the constraints were written, which means nothing.
    return {", ".join(sorted(re.split(r", (?=CONSTRAINT)| \)$", line))) for line in lines}


def test_migrated_schema_is_the_metadata(empty: Store) -> None:
    migrate.create_or_check(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
    assert differences == []
    migrated = _shape(empty)
    # Alembic does not look at the conditions of partial indexes or at AUTOINCREMENT: the database does.
    with empty.write() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert migrated == _shape(empty)
    assert any("uq_deliveries_post" in line and "cancelled" in line for line in migrated)


def test_first_migration_is_what_the_tables_say() -> None:
    assert write_first_migration.PATH.read_text() == write_first_migration.source(), (
        "the tables have changed: python -m tests.store.write_first_migration"
    )


def test_head_is_the_newest_step() -> None:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_migrations_never_import_live_code() -> None:
    for path in write_first_migration.PATH.parent.glob("*.py"):
        assert not re.search(r"^\s*(from|import) tidings", path.read_text(), flags=re.MULTILINE)


def test_creating_twice_changes_nothing(empty: Store) -> None:
    assert migrate.version(empty) is None
    migrate.create_or_check(empty)
    shape = _shape(empty)
    migrate.create_or_check(empty)
    assert migrate.version(empty) == migrate.HEAD
    assert _shape(empty) == shape
    assert migrate.upgrade(empty) is False


def test_two_processes_that_find_a_fresh_store(database_url: str, tmp_path: Path) -> None:
    stores = [Store(database_url, tmp_path) for _ in range(2)]
    errors: list[Exception] = []

    def create(store: Store) -> None:
        try:
            migrate.create_or_check(store)
        except Exception as error:
            errors.append(error)

    # Imported before, else the import lock of Python would put them in a row.
    import alembic.command  # noqa: F401

    threads = [threading.Thread(target=create, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.version(stores[0]) == migrate.HEAD
    for store in stores:
        store.close()


@pytest.mark.parametrize(("found", "says"), [("0000", "tidings upgrade"), ("9999", "newer than this version")])
def test_another_version_is_refused_by_name(empty: Store, found: str, says: str) -> None:
    migrate.create_or_check(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    with pytest.raises(StoreVersionError, match=says):
        migrate.create_or_check(empty)


def test_a_newer_store_is_not_upgraded(empty: Store) -> None:
    migrate.create_or_check(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreVersionError, match="cannot go back"):
        migrate.upgrade(empty)
