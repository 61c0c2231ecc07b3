"""`keep`: old deliveries go, and nobody gets a story twice for it; counts and what is open stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.pipeline.desk import DAY, MONDAY, Desk, open_desk
from tests.pipeline.ledger_world import NOW, add_edition, add_mailing, add_readers, open_store
from tidings.config.retention import Retention
from tidings.pipeline import notices
from tidings.pipeline.retention import retain
from tidings.runtime.explain import explain
from tidings.store import schema as t
from tidings.store.delivery import ledger, retention
from tidings.store.engine import Store

KEEP = Retention(ledger=timedelta(days=400))
LATER = MONDAY + timedelta(days=500)
POSTS = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}, {channel: desk, per: item}]\n'
SECOND = 'cadence: {daily: "10:00"}\ndeliver: [{list: digest, frequency: daily}]\nbackfill: 50\n'


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url, {"daily": POSTS}) as found:
        yield found


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    made = open_store(database_url, tmp_path)
    yield made
    made.close()


def rows(store: Store, table: str = "deliveries") -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(t.metadata.tables[table])).scalar_one())


def test_no_story_goes_twice_because_its_row_is_gone(desk: Desk) -> None:
    """A schedule that never used a story finds it years later: `had` alone stands between it and the reader."""
    ada, grace = desk.reader("ada"), desk.reader("grace", language="ru")
    desk.item("one")
    desk.item("two")
    desk.tick(MONDAY)
    assert [len(desk.mails(reader)) for reader in (ada, grace)] == [1, 1]
    desk.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    desk.tick(LATER)
    mails = [entry for entry in desk.entries() if entry.list]
    assert mails == []
    # The posts stay: each is unique in its channel for good.
    assert {entry.story for entry in desk.entries()} == {"one", "two"}

    new = desk.reader("new")
    desk.schedule("second", SECOND)
    desk.tick(LATER + timedelta(minutes=1))
    desk.tick(LATER + timedelta(hours=1))
    assert [sorted(stories) for stories in desk.read(new)] == [["one", "two"]]
    assert [len(desk.mails(reader)) for reader in (ada, grace)] == [1, 1]


def test_a_correction_reaches_those_whose_row_is_gone_and_once(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY)
    desk.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    desk.tick(LATER)
    assert [entry for entry in desk.entries() if entry.list] == []
    desk.item("one", correction="Six, not sixty.")
    desk.item("three")
    desk.tick(LATER + DAY)
    assert "Six, not sixty." in desk.mails(ada)[-1].text
    # And once more, when what told of it is gone too.
    desk.tick(LATER + timedelta(days=900))
    desk.item("four")
    desk.tick(LATER + timedelta(days=901))
    assert desk.read(ada)[-1] == ["four"]
    assert "Six, not sixty." not in desk.mails(ada)[-1].text


def test_counts_stay_and_explain_says_so(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.reader("topics", topics=["water"])
    desk.item("one", topics="[youth]")
    desk.tick(MONDAY)
    first = desk.edition("daily/1")
    with desk.runtime.store.read() as connection:
        before = ledger.counts(connection, edition=first.id), ledger.reasons(connection, edition=first.id)
    assert before[0]["skipped"] == 1
    desk.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    desk.tick(LATER)
    with desk.runtime.store.read() as connection:
        assert (ledger.counts(connection, edition=first.id), ledger.reasons(connection, edition=first.id)) == before
        lines = explain(connection, desk.runtime.newsroom, ada, "one", lambda at: str(at.date()))
        assert any("longer ago than the ledger goes back" in line for line in lines)


def test_without_keep_and_before_its_time_nothing_goes(desk: Desk) -> None:
    desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY)
    held = rows(desk.runtime.store)
    desk.tick(LATER)
    assert rows(desk.runtime.store) == held
    assert retain(desk.runtime.store, Retention(ledger=timedelta(days=501)), LATER + DAY) == 0
    assert rows(desk.runtime.store) == held


def test_what_is_not_over_stays(store: Store) -> None:
    readers = add_readers(store, ["ada", "bob", "eve", "kim"])
    done, open_ = add_edition(store, 1), add_edition(store, 2)
    for edition in (done, open_):
        add_mailing(store, readers, edition)
    d = t.deliveries
    with store.write() as connection:
        connection.execute(update(t.editions).where(t.editions.c.id == done).values(state="done"))
        connection.execute(update(t.mailings).values(open=False, marked=True))
        connection.execute(update(d).values(state="accepted"))
        first = select(func.min(d.c.id)).scalar_subquery()
        connection.execute(update(d).where(d.c.id == first).values(state="in_doubt"))
        # Something of this edition waits for its reader: the row says so.
        connection.execute(update(d).where(d.c.id == 2).values(mark=0))
    assert retain(store, KEEP, NOW + timedelta(days=500)) == 2
    with store.read() as connection:
        left = list(connection.execute(select(d.c.id, d.c.state).order_by(d.c.id)))
    assert [tuple(row) for row in left] == [
        (1, "in_doubt"), (2, "accepted"), (5, "accepted"), (6, "accepted"), (7, "accepted"), (8, "accepted"),
    ]  # fmt: skip


def test_slots_notices_and_old_tests_go_too(desk: Desk) -> None:
    desk.reader("ada")
    for day in range(4):
        desk.item(f"story{day}")
        desk.tick(MONDAY + day * DAY)
    with desk.runtime.store.write() as connection:
        notices.tell(connection, "old", "failed", "Something.", MONDAY)
    desk.tick(MONDAY + 4 * DAY)
    assert rows(desk.runtime.store, "mailings") > 4
    slots = rows(desk.runtime.store, "slots")
    retain(desk.runtime.store, KEEP, LATER)
    assert rows(desk.runtime.store, "slots") == 1 < slots
    assert rows(desk.runtime.store, "notices") == 0
    with desk.runtime.store.read() as connection:
        kinds = set(connection.execute(select(t.mailings.c.kind)).scalars())
    assert kinds == {"edition"}
    # The last slot is remembered: none of them fires again.
    before = desk.editions()
    desk.tick(MONDAY + 4 * DAY)
    assert desk.editions() == before


def test_once_a_day_in_pages(store: Store) -> None:
    """Of 20,000 old rows a transaction takes one page: a beat is not held up."""
    readers = add_readers(store, ["ada"])
    edition = add_edition(store)
    mailing = add_mailing(store, readers, edition)
    with store.write() as connection:
        connection.execute(update(t.editions).values(state="done"))
        connection.execute(update(t.mailings).values(open=False, marked=True))
        connection.execute(update(t.deliveries).values(state="accepted"))
        row = {"mailing": mailing, "purpose": "edition", "list": "digest", "state": "accepted", "at": NOW}
        for start in range(0, 20_000, 5_000):
            more = [
                {**row, "target": f"list:digest:{number}", "subscriber": number, "selection": 1 + number % 3}
                for number in range(start + 10, start + 5_010)
            ]
            ledger.add_deliveries(connection, more)
    now = NOW + timedelta(days=500)
    with store.write() as connection:
        assert retention.take_page(connection, mailing, now - timedelta(days=400)) == retention.PAGE
    assert rows(store) == 20_001 - retention.PAGE
    taken = retain(store, KEEP, now, budget=60)
    assert rows(store) == 0
    assert taken > 0
    assert retain(store, KEEP, now) == 0
    with store.read() as connection:
        assert ledger.counts(connection, mailing=mailing) == {"accepted": 20_001}
        packed = [
            number
            for raw in connection.execute(select(t.had.c.subscribers)).scalars()
            for number in retention.readers_of(raw)
        ]
        size = connection.execute(select(func.sum(func.length(t.had.c.subscribers)))).scalar_one()
    assert sorted(packed) == [readers["ada"], *range(10, 20_010)]
    assert size < 20_000  # less than a byte for a delivery
