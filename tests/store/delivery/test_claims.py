"""Claims take due deliveries in order, skip those that may not be sent, and fence every later write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, rows
from tidings.model.delivery import SkipReason
from tidings.store import schema as t
from tidings.store.delivery.claims import Claim, Claimant, SenderShare
from tidings.store.engine import Store
from tidings.store.people import consent
from tidings.store.service import pauses

REAL = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
UNTIL = REAL + timedelta(minutes=20)


def _claim(store: Store, limit: int = 9, **options: Any) -> Claim:
    with store.write() as connection:
        return Claimant("me", "", "relay", **options).claim(connection, limit, now=NOW, real_now=REAL, until=UNTIL)


def _mail(store: Store, *names: str, number: int = 1) -> dict[str, int]:
    """Return the ids of the deliveries by name."""
    readers = add_readers(store, names)
    mailing = add_mailing(store, readers, add_edition(store, number))
    with store.read() as connection:
        stored = connection.execute(t.deliveries.select().where(t.deliveries.c.mailing == mailing)).all()
    by_reader = {row.subscriber: row.id for row in stored}
    return {name: by_reader[reader] for name, reader in readers.items()}


def _set(store: Store, delivery: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).where(t.deliveries.c.id == delivery).values(**values))


def test_a_claim_hands_over_and_writes_the_row_once(store: Store) -> None:
    ids = _mail(store, "ada", "bob")
    (claimed,) = _claim(store, 1).deliveries
    with store.read() as connection:
        row = connection.execute(t.deliveries.select().where(t.deliveries.c.id == ids["ada"])).one()
    assert (claimed.id, claimed.fence, claimed.state, claimed.address) == (ids["ada"], 1, "handed", "ada@example.org")
    assert (row.state, row.owner, row.fence, row.sender) == ("handed", "me", 1, "relay")
    assert (row.lease_until, row.handed_at) == (UNTIL, REAL)
    assert [row["state"] for row in rows(store)] == ["handed", "pending"]


def test_the_claim_is_empty_only_when_nothing_waits(store: Store) -> None:
    _mail(store, "ada")
    assert not _claim(store).is_empty
    assert _claim(store).is_empty


def test_a_reader_who_has_left_is_skipped_with_the_reason(store: Store) -> None:
    ids = _mail(store, "ada", "bob", "cy")
    with store.write() as connection:
        consent.suppress(connection, consent.address_hash("bob@example.org"), "digest", "unsubscribed", NOW)
    claim = _claim(store)
    assert [delivery.id for delivery in claim.deliveries] == [ids["ada"], ids["cy"]]
    assert [(delivery.id, reason) for delivery, reason in claim.skipped] == [(ids["bob"], SkipReason.UNSUBSCRIBED)]
    assert [row["state"] for row in rows(store)] == ["handed", "skipped", "handed"]


@pytest.mark.parametrize(
    "values",
    [
        {"state": "deferred", "next_at": NOW},
        {"state": "in_doubt", "doubts": 1, "next_at": NOW},
        {"crashes": 1},
        {"not_before": REAL},
    ],
    ids=str,
)
def test_due_deliveries_are_claimed(store: Store, values: dict[str, Any]) -> None:
    ids = _mail(store, "ada")
    _set(store, ids["ada"], **values)
    assert [delivery.id for delivery in _claim(store).deliveries] == [ids["ada"]]


@pytest.mark.parametrize(
    "values",
    [
        {"state": "deferred", "next_at": NOW + timedelta(minutes=1)},
        {"state": "in_doubt", "next_at": None},
        {"not_before": REAL + timedelta(minutes=1)},
        {"state": "cancelled"},
        {"state": "handed", "owner": "another"},
        {"channel": "team"},
    ],
    ids=str,
)
def test_deliveries_that_are_not_due_stay(store: Store, values: dict[str, Any]) -> None:
    ids = _mail(store, "ada")
    _set(store, ids["ada"], **values)
    before = rows(store)
    assert _claim(store).is_empty
    assert rows(store) == before


def test_crash_suspects_come_last_and_alone(store: Store) -> None:
    ids = _mail(store, "ada", "bob", "cy")
    _set(store, ids["ada"], crashes=1)
    _set(store, ids["bob"], crashes=2)
    claimed = [[delivery.id for delivery in _claim(store).deliveries] for _ in range(3)]
    assert claimed == [[ids["cy"]], [ids["ada"]], [ids["bob"]]]


def test_the_first_hand_over_of_a_doubt_is_kept(store: Store) -> None:
    ids = _mail(store, "ada")
    first = REAL - timedelta(hours=1)
    _set(store, ids["ada"], state="in_doubt", doubts=1, next_at=NOW, handed_at=first)
    (claimed,) = _claim(store).deliveries
    assert claimed.handed_at == first
    with store.read() as connection:
        assert connection.execute(t.deliveries.select()).one().handed_at == first


def test_a_pause_stops_claims_until_it_ends(store: Store) -> None:
    _mail(store, "ada")
    with store.write() as connection:
        pauses.pause(connection, pauses.Scope.LIST, "digest", NOW, until=None, reason="", who="me")
    assert _claim(store).is_empty
    with store.write() as connection:
        pauses.resume(connection, pauses.Scope.LIST, "digest", NOW)
    assert not _claim(store).is_empty


def test_one_claimant_notices_a_pause_and_its_end(store: Store) -> None:
    _mail(store, "ada", "bob")
    claimant = Claimant("me", "")

    def claim() -> int:
        with store.write() as connection:
            return len(claimant.claim(connection, 1, now=NOW, real_now=REAL, until=UNTIL).deliveries)

    assert claim() == 1
    with store.write() as connection:
        pauses.pause(connection, pauses.Scope.ALL, "", NOW, until=None, reason="", who="me")
    assert claim() == 0
    with store.write() as connection:
        pauses.resume(connection, pauses.Scope.ALL, "", NOW)
    assert claim() == 1


def test_urgent_mail_goes_first_and_closed_mail_stays(store: Store) -> None:
    slow, alert, shut = (_mail(store, name, number=number) for number, name in enumerate(("ada", "bob", "cy"), 1))
    with store.write() as connection:
        connection.execute(update(t.mailings).where(t.mailings.c.id == 2).values(urgent=True))
        connection.execute(update(t.mailings).where(t.mailings.c.id == 3).values(closes=NOW))
    claimed = [_claim(store, 1).deliveries[0].id for _ in range(2)]
    assert claimed == [alert["bob"], slow["ada"]]
    assert _claim(store).is_empty
    assert [row["state"] for row in rows(store) if row["id"] == shut["cy"]] == ["pending"]


def test_a_claim_may_be_limited_to_one_mailing(store: Store) -> None:
    _mail(store, "ada")
    ids = _mail(store, "bob", number=2)
    assert [delivery.id for delivery in _claim(store, only=2).deliveries] == [ids["bob"]]
    assert _claim(store, only=2).is_empty


def test_names_with_quotes_colons_and_percent_signs_are_matched(store: Store) -> None:
    ids = _mail(store, "ada")
    odd = "o'neil :name 50%"
    _set(store, ids["ada"], list=odd, subscriber=None, details={"address": "ada@example.org"}, purpose="test")
    share = SenderShare("relay", ("relay", "other"), {odd: (0, 1, 1)}, (odd, ""))
    with store.write() as connection:
        pauses.pause(connection, pauses.Scope.CHANNEL, odd, NOW, until=None, reason="", who="me")
    (claimed,) = _claim(store, share=share).deliveries
    assert (claimed.id, claimed.address) == (ids["ada"], "ada@example.org")
