"""`keep` deletes unconfirmed people, people who left long ago, old addresses and feedback. Everybody else stays."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from tests.fixtures.ledger import NOW
from tidings.config.retention import Retention
from tidings.pipeline.retention import delete_expired
from tidings.store import schema as t
from tidings.store.engine import Store
from tidings.store.people import consent, subscribers

DAY = timedelta(days=1)


def add(store: Store, name: str, now: datetime, *, list_name: str = "digest", confirmed: bool = False) -> int:
    with store.write() as connection:
        chosen = {"language": "en", "frequency": "daily", "now": now, "confirmed": confirmed, "bring_back": True}
        subscribers.add(connection, f"{name}@example.org", list_name, **chosen)  # type: ignore[arg-type]
        subscriber = subscribers.find_id(connection, f"{name}@example.org")
        assert subscriber is not None
        return subscriber


def leave(store: Store, subscriber: int, now: datetime, list_name: str = "digest") -> None:
    with store.write() as connection:
        assert subscribers.unsubscribe(connection, subscriber, list_name, source="x", now=now)


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return sorted(
            address.partition("@")[0] for address in connection.execute(select(t.subscribers.c.address)).scalars()
        )


def test_unconfirmed_people_are_deleted_and_may_return(store: Store) -> None:
    add(store, "old", NOW)
    add(store, "both", NOW, confirmed=True)
    add(store, "both", NOW, list_name="press")
    add(store, "confirmed", NOW, confirmed=True)
    add(store, "asked", NOW)
    with store.write() as connection:
        consent.record(connection, consent.address_hash("asked@example.org"), "digest", "joined", "", NOW + 29 * DAY)
    add(store, "new", NOW + 2 * DAY)
    assert delete_expired(store, Retention(), NOW + 31 * DAY, budget=math.inf) == 2
    assert names(store) == ["asked", "both", "confirmed", "new"]
    with store.read() as connection:
        (both,) = [
            subscription
            for subscription in subscribers.subscriptions(connection)
            if subscription.address.startswith("both")
        ]
        assert both.list == "digest"
        hashes = set(connection.execute(select(t.consents.c.address_hash)).scalars())
        assert consent.address_hash("old@example.org") not in hashes and len(hashes) == 4
        assert connection.execute(select(t.suppressions)).all() == []
    # It runs once a day.
    assert delete_expired(store, Retention(), NOW + 31 * DAY, budget=math.inf) == 0
    assert delete_expired(store, Retention(pending=timedelta(days=5)), NOW + 32 * DAY, budget=math.inf) == 1
    add(store, "old", NOW + 40 * DAY)
    assert "old" in names(store)


def test_unsubscribed_people_are_deleted_but_suppressed(store: Store) -> None:
    for name in ("gone", "other", "late"):
        add(store, name, NOW, confirmed=True)
    other = add(store, "other", NOW, list_name="press", confirmed=True)
    for name, days in (("gone", 0), ("other", 0), ("late", 100)):
        leave(store, add_known(store, name), NOW + days * DAY)
    with store.write() as connection:
        connection.execute(
            insert(t.consents).values(
                address_hash="elsewhere", list="digest", what="unsubscribed", source="", wording="", ip="", at=NOW
            )
        )
    assert delete_expired(store, Retention(left=timedelta(days=365)), NOW + 366 * DAY, budget=math.inf) == 3
    assert names(store) == ["late", "other"]
    with store.read() as connection:
        assert {
            subscription.list
            for subscription in subscribers.subscriptions(connection)
            if subscription.subscriber == other
        } == {"press"}
        assert consent.suppression(connection, consent.address_hash("gone@example.org"), "digest")
        assert "elsewhere" not in connection.execute(select(t.consents.c.address_hash)).scalars().all()


def add_known(store: Store, name: str) -> int:
    with store.read() as connection:
        subscriber = subscribers.find_id(connection, f"{name}@example.org")
        assert subscriber is not None
        return subscriber


def test_old_ip_addresses_feedback_and_counters_go(store: Store) -> None:
    add(store, "ada", NOW, confirmed=True)
    add(store, "new", NOW + 300 * DAY, confirmed=True)
    with store.write() as connection:
        connection.execute(update(t.consents).values(ip="192.0.2.1"))
        for key, at in (("1", NOW), ("2", NOW + 300 * DAY)):
            connection.execute(
                insert(t.feedback).values(
                    key=key, address_hash=key, list="", kind="hard", code="", text="t", via="lmtp", at=at
                )
            )
            connection.execute(insert(t.request_counts).values(scope="ip", key=key, since=at, count=1))
    assert delete_expired(store, Retention(returns=timedelta(days=200)), NOW + 301 * DAY, budget=math.inf) == 3
    with store.read() as connection:
        assert connection.execute(select(t.consents.c.ip).order_by(t.consents.c.at)).scalars().all() == [
            "",
            "192.0.2.1",
        ]
        for table in (t.feedback, t.request_counts):
            assert connection.execute(select(table.c.key)).scalars().all() == ["2"], table.name


@pytest.mark.slow
def test_many_rows_are_deleted_in_pages_within_the_budget(store: Store) -> None:
    for number in range(230):
        add(store, f"p{number}", NOW)
    assert delete_expired(store, Retention(), NOW + 40 * DAY, budget=-1) == 0
    assert delete_expired(store, Retention(), NOW + 40 * DAY, budget=math.inf) == 230
    assert names(store) == []


@pytest.mark.parametrize("field", ["ledger", "returns", "pending", "left", "ip"])
def test_no_period_is_too_short(field: str) -> None:
    with pytest.raises(ValueError, match="days at least"):
        Retention.model_validate({field: "12h"})
