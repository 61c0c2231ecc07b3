"""The usual step on SQLite does what the long way does, and leaves to it whatever is not usual."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, open_store, rows
from tidings.store import schema as t
from tidings.store.delivery import claims, permission, settling
from tidings.store.delivery.sqlite_fast_path import GrantedBatch, SqliteFastPath
from tidings.store.engine import Store
from tidings.store.people import consent
from tidings.store.service import pauses

REAL = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
UNTIL = REAL + timedelta(minutes=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store("sqlite:///tidings.db", tmp_path)
    yield made
    made.close()


@pytest.fixture
def quick(store: Store) -> Iterator[SqliteFastPath]:
    assert store.path is not None
    made = SqliteFastPath(store.path)
    yield made
    made.close()


def _step(quick: SqliteFastPath, room: int, taken: Any = (), **options: Any) -> GrantedBatch | None:
    return quick.step("me", taken, room, now=NOW, real_now=REAL, until=UNTIL, sender="relay", **options)


def _mail(store: Store, *names: str, number: int = 1) -> dict[str, int]:
    """Ids of the deliveries by name."""
    readers = add_readers(store, names)
    mailing = add_mailing(store, readers, add_edition(store, number))
    with store.read() as connection:
        found = connection.execute(t.deliveries.select().where(t.deliveries.c.mailing == mailing)).all()
    by_reader = {row.subscriber: row.id for row in found}
    return {name: by_reader[reader] for name, reader in readers.items()}


def _set(store: Store, delivery: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).where(t.deliveries.c.id == delivery).values(**values))


def _whole(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(t.deliveries.select().order_by(t.deliveries.c.id)).all())


def test_it_leaves_the_ledger_as_the_long_way_does(store: Store, quick: SqliteFastPath, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = open_store("sqlite:///tidings.db", tmp_path / "other")
    for one in (store, other):
        _mail(one, "ada", "bob", "cy", "dan")
    granted = _step(quick, 3)
    assert granted is not None
    with other.write() as connection:
        options = {"channel": "", "limit": 3, "now": NOW, "real_now": REAL, "until": UNTIL}
        lease = claims.claim(connection, owner="me", **options)
        permitted = permission.hand_over(
            connection, lease.deliveries, owner="me", version=lease.version, now=NOW, real_now=REAL, sender="relay"
        )
    assert _whole(store) == _whole(other)
    # As the messages are made from: but for the moment of the permission, which the lease could not know.
    assert [one._replace(state="", handed=None) for one in granted.deliveries] == [
        one._replace(state="", handed=None) for one in permitted.handed
    ]
    assert granted.version == permitted.version
    taken = [(one.id, one.fence, f"queued as {one.id}", "mx") for one in granted.deliveries]
    assert _step(quick, 9, taken) is not None
    with other.write() as connection:
        assert settling.record_accepted(connection, "me", taken, NOW) == {one[0] for one in taken}
        lease = claims.claim(connection, owner="me", **options)
        permission.hand_over(
            connection, lease.deliveries, owner="me", version=lease.version, now=NOW, real_now=REAL, sender="relay"
        )
    assert _whole(store) == _whole(other)
    assert [row["state"] for row in rows(store)] == ["accepted", "accepted", "accepted", "handed"]
    other.close()


def test_it_is_over_only_when_nothing_waits(store: Store, quick: SqliteFastPath) -> None:
    _mail(store, "ada")
    first = _step(quick, 9)
    assert first is not None
    assert not first.is_over
    assert _step(quick, 9) == GrantedBatch((), 0, True)


def test_who_has_left_is_no_usual_case(store: Store, quick: SqliteFastPath) -> None:
    ids = _mail(store, "ada", "bob", "cy")
    with store.write() as connection:
        consent.suppress(connection, consent.address_hash("bob@example.org"), "digest", "unsubscribed", NOW)
    granted = _step(quick, 9)
    assert granted is not None
    assert [one.id for one in granted.deliveries] == [ids["ada"], ids["cy"]]
    # Bob still waits, to be skipped with his reason by the long way.
    assert _step(quick, 9) is None
    assert [row["state"] for row in rows(store)] == ["handed", "pending", "handed"]


@pytest.mark.parametrize(
    "values",
    [
        {"crashes": 1},
        {"details": {"address": "x@example.org"}},
        {"selection": None},
        {"state": "deferred", "next_at": NOW},
        {"state": "in_doubt", "doubts": 1, "next_at": NOW},
    ],
    ids=str,
)
def test_what_is_not_usual_is_left_alone(store: Store, quick: SqliteFastPath, values: dict[str, Any]) -> None:
    ids = _mail(store, "ada")
    _set(store, ids["ada"], **values)
    before = _whole(store)
    assert _step(quick, 9) is None
    assert _whole(store) == before


@pytest.mark.parametrize(
    "values",
    [
        {"state": "deferred", "next_at": NOW + timedelta(minutes=1)},
        {"state": "in_doubt", "next_at": None},
        {"not_before": REAL + timedelta(minutes=1)},
        {"state": "cancelled"},
    ],
    ids=str,
)
def test_what_is_not_due_is_not_waited_for(store: Store, quick: SqliteFastPath, values: dict[str, Any]) -> None:
    ids = _mail(store, "ada")
    _set(store, ids["ada"], **values)
    assert _step(quick, 9) == GrantedBatch((), 0, True)


def test_a_void_acceptance_changes_nothing(store: Store, quick: SqliteFastPath) -> None:
    _mail(store, "ada", "bob")
    granted = _step(quick, 1)
    assert granted is not None
    (one,) = granted.deliveries
    _set(store, one.id, owner="another", fence=one.fence + 1)
    before = _whole(store)
    assert _step(quick, 1, [(one.id, one.fence, "queued", "mx")]) is None
    assert _whole(store) == before


def test_a_pause_is_no_usual_case(store: Store, quick: SqliteFastPath) -> None:
    _mail(store, "ada")
    with store.write() as connection:
        pauses.pause(connection, pauses.Scope.LIST, "digest", NOW, until=None, reason="", who="me")
    assert _step(quick, 1) is None
    with store.write() as connection:
        pauses.resume(connection, pauses.Scope.LIST, "digest", NOW)
    assert _step(quick, 1) is not None


def test_what_is_urgent_goes_first_and_what_is_shut_not_at_all(store: Store, quick: SqliteFastPath) -> None:
    slow, alert, shut = (_mail(store, name, number=number) for number, name in enumerate(("ada", "bob", "cy"), 1))
    with store.write() as connection:
        connection.execute(update(t.mailings).where(t.mailings.c.id == 2).values(urgent=True))
        connection.execute(update(t.mailings).where(t.mailings.c.id == 3).values(closes=NOW))
    found = [granted.deliveries[0].id for _ in range(2) if (granted := _step(quick, 9)) is not None]
    assert found == [alert["bob"], slow["ada"]]
    assert _step(quick, 9) == GrantedBatch((), 0, True)
    assert [row["state"] for row in rows(store) if row["id"] == shut["cy"]] == ["pending"]


def test_those_in_between_are_left_out_of_a_range(store: Store, quick: SqliteFastPath) -> None:
    ids = _mail(store, "ada", "bob", "cy")
    _set(store, ids["bob"], state="cancelled")
    granted = _step(quick, 9)
    assert granted is not None
    assert [one.id for one in granted.deliveries] == [ids["ada"], ids["cy"]]
    assert [row["state"] for row in rows(store)] == ["handed", "cancelled", "handed"]


def test_it_keeps_to_one_mailing_if_told(store: Store, quick: SqliteFastPath) -> None:
    _mail(store, "ada")
    ids = _mail(store, "bob", number=2)
    granted = _step(quick, 9, only=2)
    assert granted is not None
    assert [one.id for one in granted.deliveries] == [ids["bob"]]
    assert _step(quick, 9, only=2) == GrantedBatch((), 0, True)
