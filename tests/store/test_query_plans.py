"""The queries of each tick and of the report use an index, because a ledger has millions of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench.growth import LANGUAGES, add_ledger
from sqlalchemy import Connection, event, func, select, update

from tidings.store import migrate
from tidings.store import schema as t
from tidings.store.content import editions, items, source_files
from tidings.store.delivery import ledger, report
from tidings.store.engine import Store
from tidings.store.people import segments, subscribers

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)

QUERIES: dict[str, tuple[str, Callable[[Connection], Any]]] = {
    "expired questions": ("subscriptions", lambda one: subscribers.expire_reconfirmations(one, NOW)),
    "posts": ("deliveries", lambda one: report.list_posts(one, list(range(1, 21)))),
    "counts": ("deliveries", lambda one: report.count_mails(one, list(range(1, 21)))),
    "what waits": ("mailings", lambda one: editions.has_postponed_stories(one, "weekly", 1_000_000)),
    "posts of a channel": ("deliveries", lambda one: editions.first_edition_of_channel(one, "weekly", "room")),
    "pauses": ("subscriptions", lambda one: subscribers.paused_subscribers(one, "digest", NOW)),
    "newest items": ("items", lambda one: list(items.read_newest(one, "en", NOW))),
    "changed items": ("items", lambda one: list(items.read_changed(one, "en"))),
    "deleted items": ("items", lambda one: list(items.read_gone(one, "en"))),
    "outlines of 500": ("items", lambda one: source_files.load_outlines(one, "newsroom", map(str, range(500)))),
    "changed languages": ("items", lambda one: items.find_changed_languages(one, 1)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root: Path = tmp_path_factory.mktemp("plans")
    opened = Store(f"sqlite:///{root}/tidings.db", root)
    migrate.create_or_check(opened)
    add_ledger(root / "tidings.db", 2_000)
    return opened


@pytest.mark.parametrize("name", QUERIES)
def test_queries_that_run_often_read_no_whole_table(store: Store, name: str) -> None:
    """The report read each delivery to find the posts, and each tick read all subscriptions."""
    table, call = QUERIES[name]
    asked: list[tuple[str, Any]] = []

    def note(conn: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    with store.read() as connection:
        call(connection)
    event.remove(store.engine, "before_cursor_execute", note)
    with store.read() as connection:
        plans = [
            "\n".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))
            for statement, parameters in asked
        ]
    assert any(table in plan for plan in plans)
    assert not [plan for plan in plans if re.search(r"^SCAN (?!CONSTANT)", plan, flags=re.MULTILINE)]
    used = {
        "posts": ["ix_deliveries_subscriber"],
        "posts of a channel": ["ix_deliveries_subscriber"],
        # The index of the selections is enough: no accepted mail is read.
        "counts": [
            "COVERING INDEX ix_deliveries_selection",
            "ix_deliveries_state (state=? AND mailing",
            "ix_deliveries_returned",
        ],
        "outlines of 500": ["(source=? AND ref=?)"],
        "pauses": ["ix_subscriptions_paused"],
    }
    assert not [index for index in used.get(name, ()) if index not in "".join(plans)]
    assert (name == "what waits") == ("deliveries" not in "".join(plans) and table == "mailings")


ENDINGS: dict[str, Callable[[Store], Any]] = {
    "finished editions": lambda store: _read(store, ledger.finished_editions),
    "finished mailings": lambda store: _read(store, ledger.close_finished_mailings),
    "marks": segments.update_marks,
    "leftovers": lambda store: ledger.cancel_leftovers(store, NOW),
}


def _read(store: Store, call: Callable[[Connection], Any]) -> None:
    with store.write() as connection:
        call(connection)


@pytest.mark.parametrize("name", ENDINGS)
def test_the_end_of_an_edition_reads_no_mail_twice(tmp_path: Path, name: str) -> None:
    """Each page of marks read all mails of the edition, and so did each question whether an edition has ended."""
    store = Store(f"sqlite:///{tmp_path}/tidings.db", tmp_path)
    migrate.create_or_check(store)
    add_ledger(tmp_path / "tidings.db", 2_000)
    with store.write() as connection:
        is_over = name == "leftovers"
        connection.execute(update(t.mailings).values(open=not is_over, marked=False))
        connection.execute(update(t.editions).values(state="cancelled" if is_over else "sending"))
    asked: list[tuple[str, Any]] = []
    event.listen(store.engine, "before_cursor_execute", lambda _conn, _cursor, *call: asked.append((call[0], call[1])))
    ENDINGS[name](store)
    statements = [(statement, values) for statement, values in asked if re.search(r"\bdeliveries\b", statement)]
    with store.read() as connection:
        plans = [
            row[-1]
            for statement, values in statements
            if "min(deliveries.id)" not in statement
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    searches = [line for line in plans if " deliveries " in line]
    wanted = "next_at=? AND id>? AND id<?" if name == "marks" else "ix_deliveries_state (state=? AND mailing=?"
    assert any(wanted in line for line in searches)
    assert {line for line in searches if "ix_deliveries_state (state=? AND mailing=?" not in line} == set()
    store.close()


def test_the_ledger_of_the_benchmark_is_one_of_ours(store: Store) -> None:
    with store.read() as connection:
        counts = report.count_mails(connection, list(range(1, 21)))
        count = connection.scalar(select(func.count()).select_from(t.subscriptions))
    assert (sum(counts.values()), {key.state for key in counts}, count) == (2_000, {"accepted"}, 100)
    assert {key.language for key in counts} == set(LANGUAGES)
