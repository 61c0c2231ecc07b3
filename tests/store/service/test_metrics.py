"""The figures for status and Prometheus, asked every few seconds, are right and come from indexes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import event, text, update

from tidings.model.delivery import DeliveryState
from tidings.store import schema as t
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.service import heartbeat
from tidings.store.service.metrics import load_metrics

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def fill(store: Store, counts: dict[tuple[str, str], int], *, closes: datetime | None = None) -> None:
    """Add deliveries by (key of the mailing, state)."""
    with store.write() as connection:
        number = 0
        for (key, state), count in counts.items():
            mailing = ledger.get_or_create_mailing(
                connection, key, "notice", now=NOW - timedelta(hours=1), open=key == "open"
            )
            rows = []
            for _ in range(count):
                number += 1
                later = {"next_at": NOW - timedelta(minutes=number)} if state == "deferred" else {}
                rows.append(
                    {"mailing": mailing, "target": f"t:{number}", "purpose": "notice", "state": state}
                    | {"at": NOW - timedelta(minutes=number), **later}
                )
            for row in rows:
                # One statement has the columns of its first row.
                ledger.add_deliveries(connection, [row])
            if key != "open":
                connection.execute(update(t.mailings).where(t.mailings.c.id == mailing).values(open=False))


def test_every_state_has_the_count_of_the_ledger(store: Store) -> None:
    fill(store, {("open", state.value): n for n, state in enumerate(DeliveryState, 1)} | {("shut", "pending"): 2})
    with store.read() as connection:
        metrics = load_metrics(connection, NOW)
        assert metrics.deliveries == ledger.count_by_state(connection)
    assert metrics.deliveries["accepted"] == list(DeliveryState).index(DeliveryState.ACCEPTED) + 1
    assert metrics.queued == 1, "what is pending in a mailing that is shut may not go"
    assert metrics.queued_since == NOW - timedelta(hours=1)
    assert metrics.overdue == metrics.deliveries["deferred"]
    assert metrics.doubtful == metrics.deliveries["in_doubt"]
    assert metrics.quarantined == metrics.deliveries["quarantined"]


def test_an_empty_store_has_no_figures(store: Store) -> None:
    with store.read() as connection:
        metrics = load_metrics(connection, NOW)
    assert (metrics.queued, metrics.queued_since, metrics.accepted_at, metrics.doubtful_since) == (0, None, None, None)
    assert metrics.deliveries == {} and metrics.held == [] and not any(metrics.held_by_reason.values())


def test_the_last_acceptance_is_that_of_the_newest_mailings(store: Store) -> None:
    fill(store, {("old", "accepted"): 3, ("open", "accepted"): 4})
    with store.read() as connection:
        # The third delivery of the older mailing, minute 3, is newer than any of the newer mailing. Both count.
        assert load_metrics(connection, NOW).accepted_at == NOW - timedelta(minutes=1)


def test_no_query_scans_the_deliveries(store: Store) -> None:
    """Each query on deliveries uses an index: with a million rows it takes milliseconds."""
    fill(store, {("open", "accepted"): 200, ("open", "pending"): 50, ("open", "deferred"): 5, ("shut", "in_doubt"): 5})
    asked: list[tuple[str, object]] = []
    with store.write() as connection:
        connection.execute(text("ANALYZE"))
        if not store.is_sqlite:
            # A table of a few pages is read as a whole, with any indexes.
            connection.execute(
                text("ALTER DATABASE " + str(connection.engine.url.database) + " SET enable_seqscan = off")
            )
    store.close()

    def note(conn: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if re.search(r"\bdeliveries\b", statement) and not statement.startswith("EXPLAIN"):
            asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    with store.read() as connection:
        load_metrics(connection, NOW)
    event.remove(store.engine, "before_cursor_execute", note)
    assert len(asked) >= 6
    with store.read() as connection:
        for statement, parameters in asked:
            explain = "EXPLAIN QUERY PLAN " if store.is_sqlite else "EXPLAIN "
            plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))  # type: ignore[arg-type]
            if store.is_sqlite:
                lines = [line for line in plan.splitlines() if re.search(r"\bdeliveries\b", line)]
                assert lines and all("INDEX" in line or "PRIMARY KEY" in line for line in lines), plan
            else:
                assert "Seq Scan on deliveries" not in plan, plan


def test_heartbeats_are_stored_and_deleted(store: Store) -> None:
    one = heartbeat.Heartbeat(
        "a-1", NOW, NOW, refused="x" * 9_000, faults={"beat": "OperationalError"}, stalled={"": "no host"}
    )
    with store.write() as connection:
        assert heartbeat.last_tick(connection) is None and heartbeat.load_heartbeats(connection) == []
        heartbeat.record_heartbeat(connection, one)
        heartbeat.record_heartbeat(connection, one)
        heartbeat.record_tick(connection, NOW, ["a", "b"], {}, "")
        heartbeat.record_tick(
            connection, NOW + timedelta(minutes=1), ["a", "b", "c"], {"b": "gone", "c": "never seen"}, "p"
        )
    with store.read() as connection:
        (stored,) = heartbeat.load_heartbeats(connection)
        assert (stored.owner, stored.beat, len(stored.refused)) == ("a-1", NOW, 500)
        assert stored.stalled == {"": "no host"} and stored.faults == {"beat": "OperationalError"}
        tick = heartbeat.last_tick(connection)
    assert tick is not None and tick.read == {"a": NOW + timedelta(minutes=1), "b": NOW}
    assert tick.unread == {"b": "gone", "c": "never seen"} and tick.unpublished == "p"
    with store.write() as connection:
        heartbeat.delete_heartbeat(connection, "a-1")
        assert heartbeat.load_heartbeats(connection) == []
