"""Copy a whole store into an empty database of either kind: one consistent snapshot, page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BLOB,
    JSON,
    Boolean,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    TableClause,
    bindparam,
    column,
    create_engine,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.types import NullType, TypeEngine

from tidings.model.errors import RefusedError
from tidings.store import migrate
from tidings.store.engine import Store

_PAGE = 2_000
"""Rows in memory at a time."""
_PAGES = 1_024
"""Pages of SQLite in one step: 4 MB."""
_OURS = "alembic_version"
_LARGE = frozenset({
    "deliveries", "deleted_deliveries", "past_readers", "journal", "renditions", "selections", "selection_stories",
    "subscribers", "suppressions", "consents", "consent_locks", "feedback", "published_files",
})  # fmt: skip
"""Tables that a look ahead only reads."""

Progress = Callable[[int, int], None]
"""Called with the number done and the total: rows, or pages of SQLite."""


def copy_store(source: Store, target: Store, progress: Progress | None = None) -> dict[str, int]:
    """Copy every table of `source` into the fresh `target`; returns the rows by table.

    The copy has the same schema version. Others may write to the source meanwhile, and memory use does not grow with
    its size. Raises RefusedError if the target has tables or the source has none. An error leaves the target empty.
    """
    revision = migrate.version(source) if source.path is None or source.path.exists() else None
    if revision is None:
        raise RefusedError("there is nothing to copy: the store has no tables yet")
    if (target.path is None or target.path.exists()) and not _is_fresh(target):
        raise RefusedError("the target database has tables already. Name an empty database.")
    report = progress or (lambda done, total: None)
    try:
        if source.path is not None and target.path is not None:
            target.close()
            _copy_file(source.path, target.path, report)
        else:
            with source.read() as reader, target.write() as writer:
                migrate.create(writer, revision)
                _copy_rows(reader, writer, report)
    except BaseException:
        _drop(target)
        raise
    return count_rows(target)


def make_scratch(source: Path, target: Path) -> None:
    """Copy the tables that a look ahead changes to a new SQLite file. The large ones stay in `source` (`Store.attach`).

    So the cost does not grow with the ledger and the readers.
    """
    with closing(sqlite3.connect(target, isolation_level=None, uri=True)) as made:
        made.execute("ATTACH ? AS origin", (f"{source.resolve().as_uri()}?mode=ro",))
        made.execute("PRAGMA main.journal_mode=OFF")
        made.execute("BEGIN")
        unmarked = "SELECT 1 FROM origin.mailings WHERE NOT marked AND edition IS NOT NULL"
        # Marks are only set after an edition was sent.
        large = _LARGE if made.execute(unmarked).fetchone() else _LARGE | {"subscriptions"}
        described = "SELECT name, tbl_name, sql FROM origin.sqlite_master WHERE sql <> '' ORDER BY type DESC"
        names = []
        for name, of, sql in made.execute(described).fetchall():
            if of not in large and not of.startswith("sqlite_"):
                made.execute(sql)
                names += [name] if name == of else []
        # With all indexes made before, SQLite copies the rows as they are.
        for name in (*names, "sqlite_sequence"):
            made.execute(f'INSERT INTO main."{name}" SELECT * FROM origin."{name}"')  # noqa: S608
        made.execute("COMMIT")


def is_empty_or_ours(store: Store) -> bool:
    """Whether a database is empty or holds a store of any version, not the tables of another program."""
    with store.read() as connection:
        names = set(inspect(connection).get_table_names())
    return not names or names >= {_OURS, "facts", "deliveries"}


def replace_store(source: Store, target: Store, progress: Progress | None = None) -> dict[str, int]:
    """Replace everything in the PostgreSQL database `target` by `source`, in one transaction."""
    revision = migrate.version(source)
    assert revision is not None
    assert target.path is None
    with source.read() as reader, target.write() as writer:
        _drop_tables(writer)
        migrate.create(writer, revision)
        _copy_rows(reader, writer, progress or (lambda done, total: None))
    return count_rows(target)


def dump_store(source: Store, target: Path) -> None:
    """Write the rows of every table to a SQLite file, for inspection; a newsroom cannot run on it."""
    engine = create_engine(f"sqlite:///{target}")
    try:
        with source.read() as reader, engine.begin() as writer:
            tables = _tables(reader)
            for name, original in tables.items():
                # BLOB leaves numbers and text as they are.
                columns = [Column(c.name, BLOB() if isinstance(c.type, NullType) else c.type) for c in original.c]
                Table(name, MetaData(), *columns).create(writer)
            _copy_tables(reader, writer, tables, lambda done, total: None)
    finally:
        engine.dispose()


def count_rows(store: Store) -> dict[str, int]:
    """Count the rows of every table, for any schema version."""
    with store.read() as connection:
        queries = {name: select(func.count()).select_from(rows) for name, rows in _tables(connection).items()}
        return {name: connection.execute(query).scalar_one() for name, query in queries.items()}


def _is_fresh(store: Store) -> bool:
    with store.read() as connection:
        return not inspect(connection).get_table_names()


def _copy_file(source: Path, target: Path, report: Progress) -> None:
    """Copy with SQLite's backup. An open read fixes the snapshot: else each commit of others restarts the copy."""
    with closing(sqlite3.connect(source, isolation_level=None)) as origin, closing(sqlite3.connect(target)) as made:
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
        origin.backup(made, pages=_PAGES, progress=lambda _, left, total: report(total - left, total))


def _copy_rows(reader: Connection, writer: Connection, report: Progress) -> None:
    tables = _tables(reader)
    _copy_tables(reader, writer, tables, report)
    numbered = _last_numbers(reader, tables)
    for name, last in numbered.items():
        _number_from(writer, name, last)


def _copy_tables(reader: Connection, writer: Connection, tables: dict[str, TableClause], report: Progress) -> None:
    total = sum(reader.execute(select(func.count()).select_from(original)).scalar_one() for original in tables.values())
    done = 0
    for original in tables.values():
        query = select(*original.c).execution_options(yield_per=_PAGE)
        for page in reader.execute(query).partitions():
            writer.execute(insert(original), [dict(row._mapping) for row in page])
            done += len(page)
            report(done, total)


def _tables(connection: Connection) -> dict[str, TableClause]:
    """Every table as the database describes it, so that an older schema version is copied unchanged."""
    inspector = inspect(connection)
    return {
        name: table(
            name, *(column(described["name"], _plain(described["type"])) for described in inspector.get_columns(name))
        )
        for name in sorted(inspector.get_table_names())
        if name != _OURS
    }


def _plain(written: TypeEngine[Any]) -> TypeEngine[Any]:
    """Keep only types that the databases convert differently; numbers and text need no conversion."""
    for kind in (JSON, Boolean, LargeBinary):
        if isinstance(written, kind):
            return kind()
    return NullType()


def _last_numbers(connection: Connection, tables: dict[str, TableClause]) -> dict[str, int]:
    """The last id that each table assigned, even to a deleted row, so that no id is used twice."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence WHERE seq > 0"))
        return {row.name: row.seq for row in rows if row.name in tables}
    numbers = {}
    for name in tables:
        if (sequence := _sequence(connection, name)) is not None:
            # The server returns the name, quoted if necessary.
            row = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
            if row.is_called:
                numbers[name] = int(row.last_value)
    return numbers


def _sequence(connection: Connection, name: str) -> str | None:
    keys = inspect(connection).get_pk_constraint(name)["constrained_columns"]
    if len(keys) != 1:
        return None
    query = text("SELECT pg_get_serial_sequence(:name, :key)")
    sequence = connection.execute(query, {"name": f'"{name}"', "key": keys[0]}).scalar_one()
    return None if sequence is None else str(sequence)


def _number_from(connection: Connection, name: str, last: int) -> None:
    if connection.dialect.name == "sqlite":
        arguments = {"name": name, "last": last}
        # SQLite allows no unique constraint there.
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), arguments)
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), arguments)
    elif (sequence := _sequence(connection, name)) is not None:
        query = text("SELECT setval(CAST(:sequence AS regclass), :last)").bindparams(bindparam("last", last))
        connection.execute(query, {"sequence": sequence})


def _drop(store: Store) -> None:
    """Delete the files of a failed copy. PostgreSQL rolls back the whole transaction, tables too."""
    if store.path is not None:
        store.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{store.path}{suffix}").unlink(missing_ok=True)


def _drop_tables(connection: Connection) -> None:
    for name in inspect(connection).get_table_names():
        connection.execute(text(f'DROP TABLE "{name}"'))
