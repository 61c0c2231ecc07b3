"""The migrations make the tables that the program expects, on both databases; another version is refused."""

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
from sqlalchemy import Connection, inspect, text

from tidings.model.errors import StoreVersionError
from tidings.store import migrate
from tidings.store.delivery.journal import Journal
from tidings.store.engine import Store, side_folder
from tidings.store.migrations import versions
from tidings.store.migrations.versions.m0002_plain_names import RENAMED
from tidings.store.schema import metadata


@pytest.fixture
def empty(empty_database_url: str, tmp_path: Path) -> Iterator[Store]:
    store = Store(empty_database_url, tmp_path)
    yield store
    store.close()


def _shape(store: Store) -> set[str]:
    """Return every table, index and constraint, as the database itself writes it."""
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
    # SQLite keeps the order in which the constraints were written. The order has no meaning.
    return {", ".join(sorted(re.split(r", (?=CONSTRAINT)| \)$", line))) for line in lines}


def test_the_migrated_schema_matches_the_metadata(empty: Store) -> None:
    migrate.create_or_check(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
    assert differences == []
    migrated = _shape(empty)
    # Alembic does not compare the conditions of partial indexes, or AUTOINCREMENT. The database shows both.
    with empty.write() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert migrated == _shape(empty)
    assert any("uq_deliveries_post" in line and "cancelled" in line for line in migrated)


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_migrations_never_import_live_code() -> None:
    for path in Path(str(versions.__path__[0])).glob("*.py"):
        assert not re.search(r"^\s*(from|import) tidings", path.read_text(), flags=re.MULTILINE)


def test_renamed_tables_keep_rows_and_numbers(empty: Store) -> None:
    rows = {
        "addresses": {"hash": "a", "version": 3},
        "limits": {"scope": "ip", "key": "k", "since": 1, "count": 2},
        "paces": {"sender": "s", "domain": "d", "free_from": 1.5, "rate": 2.5, "refused_at": 0.5},
        "uses": {"schedule": "weekly", "story": "water", "edition": 1},
        "had": {"id": 7, "selection": 5, "subscribers": b"x"},
    }
    with empty.write() as connection:
        migrate.create(connection, "0001")
        for table, row in rows.items():
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)
        # The newest row is deleted: its id is not given again.
        if empty.is_sqlite:
            connection.execute(text("UPDATE sqlite_sequence SET seq = 9 WHERE name = 'had'"))
        else:
            connection.execute(text("SELECT setval('had_id_seq', 9)"))
    assert migrate.upgrade(empty)
    with empty.write() as connection:
        for table, row in rows.items():
            stored = connection.execute(text(f"SELECT * FROM {RENAMED[table]}")).mappings().one()
            assert {name: stored[name] for name in row} == row
        again = text("INSERT INTO past_readers (selection, subscribers) VALUES (6, :raw) RETURNING id")
        assert connection.execute(again, {"raw": b"y"}).scalar_one() == 10


def _insert(connection: Connection, table: str, **values: object) -> None:
    """Insert a row, with an empty value in every other column that needs one."""
    for column in inspect(connection).get_columns(table):
        if not column["nullable"] and column["name"] not in values:
            kind = str(column["type"])
            empty = "{}" if kind == "JSON" else False if kind == "BOOLEAN" else "" if kind in ("VARCHAR", "TEXT") else 0
            values[column["name"]] = empty
    names = ", ".join(values)
    connection.execute(
        text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values
    )


def test_former_names_and_stuck_mails_are_migrated(empty: Store) -> None:
    with empty.write() as connection:
        migrate.create(connection, "0003")
        _insert(connection, "mailings", id=1, key="confirmation:a:2026-01-01", kind="confirmation", open=False)
        _insert(connection, "mailings", id=2, key="edition:1", kind="edition", edition=1, open=False)
        for number, mailing, target, name, state in (
            (1, 1, "list:old:7", "new", "accepted"),
            (2, 1, "list:new:7", "new", "pending"),
            (3, 2, "list:older:7", "new", "pending"),
            (4, 2, "list::7", "", "accepted"),
            (5, 2, "channel:desk", "", "accepted"),
        ):
            _insert(connection, "deliveries", id=number, mailing=mailing, target=target, list=name, state=state)
    assert migrate.upgrade(empty)
    with empty.read() as connection:
        rows = connection.execute(text("SELECT former, name FROM former_lists ORDER BY former")).all()
        assert [tuple(row) for row in rows] == [("old", "new"), ("older", "new")]
        states = connection.execute(text("SELECT state, reason FROM deliveries ORDER BY id")).all()
        assert [row.state for row in states] == ["accepted", "skipped", "pending", "accepted", "accepted"]
        assert states[1].reason == "expired"


def test_the_journal_of_a_crashed_process_is_carried_over(empty: Store) -> None:
    """Otherwise nobody would know that its last message is in doubt."""
    lines = ['["B","boot"]', '["P",[[7,1]]]', '["M"]', '["I",7,1]', '["O",6,1,{"verdict":"accepted"}]', '["I",8']
    with empty.write() as connection:
        migrate.create(connection, "0005")
        if not empty.is_sqlite:
            for number, line in enumerate(lines[:-1], 1):
                _insert(connection, "journal", id=number, owner="gone-1-ff.3", entry=line)
    if empty.path is not None:
        folder = side_folder(empty.path) / "journal"
        folder.mkdir(parents=True)
        (folder / "gone-1-ff.3").write_text("\n".join(lines))
    assert migrate.upgrade(empty)
    record = Journal(empty).read("gone-1-ff")
    assert record.intents == {(7, 1)}
    assert record.outcomes.keys() == {(6, 1)}
    assert record.boots == {"boot"}
    assert Journal(empty).owners() == {"gone-1-ff"}


def test_creating_twice_changes_nothing(empty: Store) -> None:
    assert migrate.version(empty) is None
    migrate.create_or_check(empty)
    shape = _shape(empty)
    migrate.create_or_check(empty)
    assert migrate.version(empty) == migrate.HEAD
    assert _shape(empty) == shape
    assert migrate.upgrade(empty) is False


def test_two_processes_may_create_one_store(empty_database_url: str, tmp_path: Path) -> None:
    stores = [Store(empty_database_url, tmp_path) for _ in range(2)]
    errors: list[Exception] = []

    def create(store: Store) -> None:
        try:
            migrate.create_or_check(store)
        except Exception as error:
            errors.append(error)

    # Import it first: Python's import lock would make the processes run one after the other.
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


@pytest.mark.parametrize(("expected", "says"), [("0000", "tidings upgrade"), ("9999", "newer than this version")])
def test_another_version_is_refused_by_name(empty: Store, expected: str, says: str) -> None:
    migrate.create_or_check(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": expected})
    with pytest.raises(StoreVersionError, match=says):
        migrate.create_or_check(empty)


def test_a_newer_store_is_not_upgraded(empty: Store) -> None:
    migrate.create_or_check(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreVersionError, match="cannot go back"):
        migrate.upgrade(empty)
