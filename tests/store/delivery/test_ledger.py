"""The ledger has every delivery once, in one state."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers, rows
from tidings.model.delivery import Delivery
from tidings.model.errors import InputError, RefusedError
from tidings.store import schema as t
from tidings.store.delivery import claims, ledger, settling
from tidings.store.engine import Store
from tidings.store.people import consent

FIELDS = (
    "id schedule edition list channel story purpose target address state reason attempts doubts receipt via returned at"
)


def _set(store: Store, delivery: int, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(update(t.deliveries).where(t.deliveries.c.id == delivery).values(**values))


def _claim(store: Store, owner: str = "me", limit: int = 50, **options: Any) -> list[Delivery]:
    moments = {"now": NOW, "real_now": NOW, "until": NOW + timedelta(minutes=20)}
    moments |= {name: options.pop(name) for name in moments.keys() & options.keys()}
    claimant = claims.Claimant(owner, options.pop("channel", ""), **options)
    with store.write() as connection:
        return list(claimant.claim(connection, limit, **moments).deliveries)


def test_a_line_has_the_fields_of_the_contract_in_order(store: Store) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store, 12))
    with store.read() as connection:
        (entry,) = ledger.entries(connection)
    line = entry.as_json()
    assert list(line) == FIELDS.split()
    assert line["edition"] == "friday/12"
    assert line["address"] == "ada@example.org"
    assert line["at"] == "2026-11-20T09:00:00Z"
    assert "ada" not in line["target"]


def test_adding_twice_adds_nothing(store: Store) -> None:
    readers = add_readers(store, ["ada", "grace"])
    row = {"target": "list:digest:1", "purpose": "edition", "list": "digest", "at": NOW}
    mailing = add_mailing(store, readers, add_edition(store))
    with store.write() as connection:
        assert ledger.add_deliveries(connection, [{**row, "mailing": mailing, "subscriber": readers["ada"]}]) == 0
        assert ledger.add_deliveries(connection, [{**row, "mailing": mailing, "part": 1}]) == 1
        assert ledger.get_or_create_mailing(connection, "edition:1", "edition", now=NOW) == mailing
    assert len(rows(store)) == 3


def test_a_row_in_a_closed_mailing_does_not_wait_for_ever(store: Store) -> None:
    with store.write() as connection:
        mailing = ledger.get_or_create_mailing(connection, "notice:1", "notice", now=NOW)
        row = {"mailing": mailing, "target": "notify:1", "purpose": "notice", "at": NOW}
        ledger.add_deliveries(connection, [{**row, "details": {"address": "editor@example.org"}}])
    assert [delivery.address for delivery in _claim(store)] == ["editor@example.org"]


def test_a_story_is_posted_once_in_any_mailing(store: Store) -> None:
    with store.write() as connection:
        for key in ("a", "b"):
            mailing = ledger.get_or_create_mailing(connection, key, "edition", now=NOW, open=True)
            row = {"mailing": mailing, "target": "channel:team", "channel": "team", "story": "youth", "at": NOW}
            added = ledger.add_deliveries(connection, [{**row, "purpose": "story"}])
            assert added == (1 if key == "a" else 0)
        assert ledger.add_deliveries(connection, [{**row, "purpose": "again-7"}]) == 1


def test_lines_are_filtered(store: Store) -> None:
    readers = add_readers(store, ["ada", "grace"])
    add_mailing(store, readers, add_edition(store, 1))
    add_mailing(store, readers, add_edition(store, 2))
    _set(store, 1, state="accepted", at=NOW + timedelta(days=1))

    def found(**filters: Any) -> list[int]:
        with store.read() as connection:
            return [entry.id for entry in ledger.entries(connection, **filters)]

    assert found() == [1, 2, 3, 4]
    assert found(edition="friday/2") == [3, 4]
    assert found(schedule="monday") == []
    assert found(target=f"list:digest:{readers['ada']}") == [1, 3]
    assert found(subscriber=readers["grace"]) == [2, 4]
    assert found(state="accepted") == [1]
    assert found(since=NOW + timedelta(hours=1)) == [1]
    for wrong in ({"state": "sent"}, {"edition": "friday"}, {"edition": "friday/x"}):
        with pytest.raises(InputError):
            found(**wrong)


def test_more_than_a_page_is_read_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PAGE", 7)
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(21)]), add_edition(store))
    with store.read() as connection:
        assert [entry.id for entry in ledger.entries(connection)] == list(range(1, 22))
        assert ledger.count_by_state(connection) == {"pending": 21}


def test_two_processes_claim_different_deliveries(store: Store) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(5)]), add_edition(store))
    mine, theirs = _claim(store, "me", 3), _claim(store, "they", 3)
    assert [row.id for row in mine] == [1, 2, 3]
    assert [row.id for row in theirs] == [4, 5]
    assert {row.fence for row in mine} == {1}
    assert _claim(store, "third") == []


def test_only_due_and_open_deliveries_are_claimed(store: Store) -> None:
    readers = add_readers(store, [f"r{number}" for number in range(6)])
    edition = add_edition(store)
    add_mailing(store, readers, edition)
    soon = NOW + timedelta(minutes=1)
    _set(store, 1, state="deferred", next_at=soon)
    _set(store, 2, state="deferred", next_at=NOW, not_before=soon)
    _set(store, 3, state="in_doubt", next_at=None)
    _set(store, 4, state="in_doubt", next_at=NOW)
    _set(store, 5, state="accepted")
    with store.read() as connection:
        assert ledger.count_by_state(connection)["in_doubt"] == 2
        assert claims.count_due(connection, NOW, NOW) == {"": 2}
        assert claims.count_due(connection, soon, soon) == {"": 4}
    with store.write() as connection:
        ledger.close_edition(connection, edition)
    assert _claim(store) == []
    with store.write() as connection:
        ledger.open_edition(connection, edition, NOW)
    # Deliveries without an attempt go first. Retries use the newsroom's clock; Retry-After uses real time.
    assert [row.id for row in _claim(store)] == [6, 4]
    assert [row.id for row in _claim(store, now=soon)] == [1]
    assert [row.id for row in _claim(store, real_now=soon)] == [2]


@pytest.mark.parametrize("state", ["held", "cancelled", "superseded", "composing"])
def test_only_editions_in_sending_are_claimed(store: Store, state: str) -> None:
    edition = add_edition(store)
    add_mailing(store, add_readers(store, ["ada"]), edition)
    with store.write() as connection:
        connection.execute(update(t.editions).values(state=state))
    assert _claim(store) == []


def test_crash_suspects_are_sent_last_and_alone(store: Store) -> None:
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(4)]), add_edition(store))
    _set(store, 1, crashes=1)
    _set(store, 2, crashes=1)
    assert [[row.id for row in _claim(store)] for _ in range(4)] == [[3, 4], [1], [2], []]


def test_a_confirmation_overtakes_an_edition(store: Store) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    with store.write() as connection:
        mailing = ledger.get_or_create_mailing(connection, "confirmation:1", "confirmation", now=NOW, open=True)
        row = {"mailing": mailing, "target": "list:digest:9", "purpose": "confirmation", "at": NOW}
        ledger.add_deliveries(connection, [{**row, "details": {"address": "new@example.org"}}])
    (first,) = _claim(store, limit=1)
    assert first.purpose == "confirmation"
    assert first.address == "new@example.org"
    assert first.address_hash


def test_the_fence_makes_a_late_write_void(store: Store) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    (stale,) = _claim(store, "me")
    with store.write() as connection:
        settling.settle(connection, "me", [(stale, settling.requeued(stale))])
    (fresh,) = _claim(store, "me")
    assert fresh.fence == stale.fence + 1
    with store.write() as connection:
        assert settling.settle(connection, "me", [(stale, {"state": "accepted"})]) == [stale]
        assert settling.settle(connection, "they", [(fresh, {"state": "accepted"})]) == [fresh]
        assert claims.recheck(connection, "me", [stale])[0] == set()
        assert settling.settle(connection, "me", [(fresh, {"state": "rejected", "at": NOW})]) == []
        # A terminal row never changes.
        assert settling.settle(connection, "me", [(fresh, {"state": "accepted"})]) == [fresh]
    assert [row["state"] for row in rows(store)] == ["rejected"]


def test_an_address_that_changed_meanwhile_goes_back(store: Store) -> None:
    readers = add_readers(store, ["ada"])
    add_mailing(store, readers, add_edition(store))
    group = _claim(store)
    with store.write() as connection:
        connection.execute(update(t.subscribers).values(address="new@example.org", address_hash="f" * 64))
        consent.advance_version(connection)
    with store.write() as connection:
        assert claims.recheck(connection, "me", group) == (set(), 1)
        settling.settle(connection, "me", [(delivery, settling.requeued(delivery)) for delivery in group])
    (again,) = _claim(store)
    assert again.address == "new@example.org"


def test_cancelling_leaves_sent_messages_in_doubt(store: Store) -> None:
    edition = add_edition(store)
    readers = add_readers(store, [f"r{number}" for number in range(7)])
    add_mailing(store, readers, edition)
    _set(store, 2, state="deferred", next_at=NOW)
    _set(store, 3, state="in_doubt", doubts=1, next_at=NOW)
    _set(store, 4, state="pending", doubts=1)
    _set(store, 5, state="accepted")
    _set(store, 6, state="handed", owner="me", fence=1)
    _set(store, 7, state="leased", owner="me", fence=1)
    with store.write() as connection:
        assert ledger.has_unfinished(connection, edition)
        ledger.cancel_edition(connection, edition, NOW)
        connection.execute(update(t.editions).values(state="cancelled"))
    assert ledger.cancel_leftovers(store, NOW) == 3
    expected = "cancelled cancelled in_doubt in_doubt accepted handed cancelled"
    assert " ".join(row["state"] for row in rows(store)) == expected
    # A delivery that was handed over and came back unsent is cancelled too.
    _set(store, 6, state="pending", owner="")
    assert ledger.cancel_leftovers(store, NOW) == 1
    assert [row["next_at"] for row in rows(store)] == [None] * 7


def test_cancelling_continues_after_a_crash(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction cancels only some: it would lock the deliveries of 200,000 readers for seconds."""
    edition = add_edition(store)
    add_mailing(store, add_readers(store, [f"r{number}" for number in range(7)]), edition)
    with store.write() as connection:
        ledger.cancel_edition(connection, edition, NOW)
        connection.execute(update(t.editions).values(state="cancelled"))
    assert not _claim(store)
    cancel, pages = ledger._cancel, iter([True, True, False])

    def cancel_twice(*arguments: Any) -> int:
        if not next(pages):
            raise KeyboardInterrupt
        return cancel(*arguments)

    monkeypatch.setattr(ledger, "_CANCELLED_AT_ONCE", 2)
    with monkeypatch.context() as dying:
        dying.setattr(ledger, "_cancel", cancel_twice)
        with pytest.raises(KeyboardInterrupt):
            ledger.cancel_leftovers(store, NOW)
    assert Counter(row["state"] for row in rows(store)) == {"cancelled": 4, "pending": 3}
    assert ledger.cancel_leftovers(store, NOW) == 3


@pytest.mark.parametrize(("how", "state"), [("accepted", "accepted"), ("resend", "pending"), ("cancel", "cancelled")])
def test_a_person_settles_a_delivery_in_doubt(store: Store, how: Any, state: str) -> None:
    edition = add_edition(store)
    mailing = add_mailing(store, add_readers(store, ["ada"]), edition)
    _set(store, 1, state="in_doubt", doubts=2)
    with store.write() as connection:
        ledger.close_finished_mailings(connection)
        assert ledger.finished_editions(connection) == [edition]
        connection.execute(update(t.editions).values(state="done"))
        ledger.resolve(connection, 1, how, NOW, url="https://social.example/1" if how == "accepted" else "")
    (row,) = rows(store)
    assert row["state"] == state
    assert row["via"] == ("https://social.example/1" if how == "accepted" else "")
    assert len(_claim(store)) == (1 if how == "resend" else 0)
    with store.read() as connection:
        is_open = connection.execute(select(t.mailings.c.open).where(t.mailings.c.id == mailing)).scalar_one()
    assert is_open == (how == "resend")


def test_a_delivery_without_doubt_is_not_resolved(store: Store) -> None:
    add_mailing(store, add_readers(store, ["ada"]), add_edition(store))
    with store.write() as connection, pytest.raises(RefusedError, match="pending"):
        ledger.resolve(connection, 1, "cancel", NOW)
    with store.write() as connection, pytest.raises(InputError, match="no delivery 99"):
        ledger.resolve(connection, 99, "cancel", NOW)


def test_an_edition_ends_when_no_delivery_is_active(store: Store) -> None:
    edition = add_edition(store)
    add_mailing(store, add_readers(store, ["ada", "grace"]), edition)
    _set(store, 1, state="accepted")

    def finished() -> list[int]:
        with store.read() as connection:
            return ledger.finished_editions(connection)

    for state in ("pending", "leased", "handed", "deferred"):
        _set(store, 2, state=state)
        assert finished() == []
    _set(store, 2, state="in_doubt", next_at=NOW)
    assert finished() == []
    _set(store, 2, state="in_doubt", next_at=None)
    assert finished() == [edition]
