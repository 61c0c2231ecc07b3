"""Copying a store: every row, the next ids, one moment, and nothing left after a failed copy."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, LargeBinary, String, Table, Text, insert, inspect, select, text

from tests.conftest import missing
from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers
from tidings.model.errors import RefusedError
from tidings.store import copying, migrate
from tidings.store import schema as t
from tidings.store.engine import Store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A fresh, empty store as the target."""
    if request.param == "sqlite":
        made = Store(f"sqlite:///{tmp_path / 'copy.db'}", tmp_path)
        yield made
        made.close()
        return
    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    url = server.empty_database()
    made = Store(url, tmp_path)
    yield made
    made.close()
    server.drop(url)


_NUMBER = count(1)


def _row(table: Table) -> dict[str, Any]:
    """Make a row that has a difficult value in every column."""
    number = next(_NUMBER)
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.name == "id" and column.primary_key and not isinstance(column.type, String):
            continue
        if isinstance(column.type, t.Moment):
            row[column.name] = None if column.nullable and number % 2 else NOW + timedelta(microseconds=number)
        elif isinstance(column.type, JSON):
            row[column.name] = {"әр": ["\u2028 ñ 😀", None, number, {"deep": "'\"\\"}]}
        elif isinstance(column.type, Boolean):
            row[column.name] = bool(number % 2)
        elif isinstance(column.type, LargeBinary):
            row[column.name] = bytes(range(256)) + os.urandom(4)
        elif isinstance(column.type, (String, Text)):
            row[column.name] = f"Қазақстан 😀 100% :name {number}"
        else:
            row[column.name] = 2**40 + number if column.name in ("edition", "mark", "subscriber") else number
    return row


def _fill(store: Store, rows: int) -> None:
    with store.write() as connection:
        for table in t.metadata.sorted_tables:
            for _ in range(rows):
                connection.execute(insert(table).values(**_row(table)))


def _all(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in t.metadata.sorted_tables
        }


def test_every_row_of_every_table_is_copied(store: Store, target: Store) -> None:
    _fill(store, 3)
    told: list[tuple[int, int]] = []
    counts = copying.copy_store(store, target, lambda done, total: told.append((done, total)))
    assert set(counts) == set(t.metadata.tables)
    assert all(number >= 3 for number in counts.values())
    assert _all(target) == _all(store)
    assert migrate.version(target) == migrate.HEAD
    migrate.create_or_check(target)
    assert told and told[-1][0] == told[-1][1]


@pytest.mark.slow
def test_no_id_is_used_twice_after_a_copy(store: Store, target: Store) -> None:
    """The id of a deleted row is not reused either: a mark or a target may still contain it."""
    add_edition(store, 1)
    last = add_edition(store, 2)
    with store.write() as connection:
        connection.execute(t.editions.delete().where(t.editions.c.id == last))
    copying.copy_store(store, target)
    assert add_edition(target, 2) == last + 1
    assert add_readers(target, ["ada"])["ada"] == 1


@pytest.mark.slow
def test_a_copy_of_a_copy_equals_the_original(store: Store, target: Store, tmp_path: Path) -> None:
    _fill(store, 2)
    copying.copy_store(store, target)
    home = Store(f"sqlite:///{tmp_path / 'home.db'}", tmp_path)
    copying.copy_store(target, home)
    assert _all(home) == _all(store)
    home.close()


def test_a_target_with_rows_is_refused(store: Store, target: Store) -> None:
    with target.write() as connection:
        connection.execute(text("CREATE TABLE mine (x INTEGER)"))
    with pytest.raises(RefusedError, match="Name an empty database"):
        copying.copy_store(store, target)
    with target.read() as connection:
        assert inspect(connection).get_table_names() == ["mine"]


def test_a_source_without_tables_is_refused(target: Store, tmp_path: Path) -> None:
    empty = Store("sqlite:///nothing.db", tmp_path)
    with pytest.raises(RefusedError, match="no tables"):
        copying.copy_store(empty, target)
    assert not (tmp_path / "nothing.db").exists()


def test_a_failed_copy_leaves_nothing(store: Store, target: Store) -> None:
    _fill(store, 1)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copying.copy_store(store, target, stop)
    if target.path is not None:
        assert not target.path.exists()
    else:
        with target.read() as connection:
            assert inspect(connection).get_table_names() == []


@pytest.mark.slow
def test_a_copy_has_one_moment_while_others_write(store: Store, target: Store) -> None:
    """Each write adds a reader and a subscription. A copy of two moments would have one without the other."""
    add_readers(store, [f"first{number}" for number in range(50)])
    stop = threading.Event()
    wrote = threading.Event()

    def write() -> None:
        for number in count():
            if stop.is_set():
                return
            with store.write() as connection:
                connection.execute(
                    insert(t.consents).values(
                        address_hash=f"{number}", list="digest", what="x", source="", wording="", ip="", at=NOW
                    )
                )
                connection.execute(insert(t.consent_locks).values(hash=f"{number}", version=number))
            wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(120)
        counts = copying.copy_store(store, target)
    finally:
        stop.set()
        writer.join()
    assert counts["consents"] == counts["consent_locks"] > 0
    assert copying.count_rows(store)["consents"] >= counts["consents"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(store: Store, target: Store) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    with store.write() as connection:
        rows = [{"hash": f"{number:064}", "version": number} for number in range(20_000)]
        connection.execute(insert(t.consent_locks), rows)
    del rows
    tracemalloc.start()
    copying.copy_store(store, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Reading all rows at once takes more than 12 MB.
    assert peak < 7_000_000
