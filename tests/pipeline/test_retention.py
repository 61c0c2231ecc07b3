"""`keep` deletes old deliveries without sending a story twice. Counts and unfinished deliveries stay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.fixtures.ledger import NOW, add_edition, add_mailing, add_readers
from tests.fixtures.newsroom import DAY, MONDAY, RunningNewsroom, open_newsroom
from tidings.config.retention import Retention
from tidings.pipeline import notices
from tidings.pipeline.retention import delete_expired
from tidings.runtime.explain import explain
from tidings.store import schema as t
from tidings.store.delivery import ledger, retention
from tidings.store.engine import Store
from tidings.store.people import doubted

KEEP = Retention(ledger=timedelta(days=400))
LATER = MONDAY + timedelta(days=500)
POSTS = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}, {channel: desk, per: item}]\n'
SECOND = 'cadence: {daily: "10:00"}\ndeliver: [{list: digest, frequency: daily}]\nbackfill: 50\n'


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": POSTS}, public=False) as opened:
        yield opened


def rows(store: Store, table: str = "deliveries") -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(t.metadata.tables[table])).scalar_one())


def test_a_deleted_row_makes_no_story_go_twice(newsroom: RunningNewsroom) -> None:
    """A schedule that never used a story finds it years later. Only the list `had` prevents a second mail."""
    ada, grace = newsroom.reader("ada"), newsroom.reader("grace", language="ru")
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY)
    assert [len(newsroom.mails(reader)) for reader in (ada, grace)] == [1, 1]
    newsroom.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    newsroom.tick(LATER)
    mails = [entry for entry in newsroom.entries() if entry.list]
    assert mails == []
    # Posts stay, because each is unique in its channel for ever.
    assert {entry.story for entry in newsroom.entries()} == {"one", "two"}

    new = newsroom.reader("new")
    newsroom.schedule("second", SECOND)
    newsroom.tick(LATER + timedelta(minutes=1))
    newsroom.tick(LATER + timedelta(hours=1))
    assert [sorted(stories) for stories in newsroom.read(new)] == [["one", "two"]]
    assert [len(newsroom.mails(reader)) for reader in (ada, grace)] == [1, 1]


def test_a_correction_reaches_readers_of_deleted_rows_once(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    newsroom.tick(LATER)
    assert [entry for entry in newsroom.entries() if entry.list] == []
    newsroom.item("one", correction="Six, not sixty.")
    newsroom.item("three")
    newsroom.tick(LATER + DAY)
    assert "Six, not sixty." in newsroom.mails(ada)[-1].text
    # The same holds when the record of the correction is deleted too.
    newsroom.tick(LATER + timedelta(days=900))
    newsroom.item("four")
    newsroom.tick(LATER + timedelta(days=901))
    assert newsroom.read(ada)[-1] == ["four"]
    assert "Six, not sixty." not in newsroom.mails(ada)[-1].text


@pytest.mark.slow
def test_counts_stay_after_deletion(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.reader("topics", topics=["water"])
    newsroom.item("one", topics="[youth]")
    newsroom.tick(MONDAY)
    first = newsroom.edition("daily/1")
    with newsroom.runtime.store.read() as connection:
        before = ledger.count_by_state(connection, edition=first.id)
    assert before["skipped"] == 1
    newsroom.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    newsroom.tick(LATER)
    with newsroom.runtime.store.read() as connection:
        assert ledger.count_by_state(connection, edition=first.id) == before
        lines = explain(connection, newsroom.runtime.newsroom, ada, "one", lambda at: str(at.date()))
        assert any("no longer has the details" in line for line in lines)


def test_nothing_is_deleted_without_keep_or_too_early(newsroom: RunningNewsroom) -> None:
    newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    held = rows(newsroom.runtime.store)
    newsroom.tick(LATER)
    assert rows(newsroom.runtime.store) == held
    assert (
        delete_expired(newsroom.runtime.store, Retention(ledger=timedelta(days=502)), LATER + DAY, budget=math.inf) == 0
    )
    assert rows(newsroom.runtime.store) == held


def test_unfinished_mailings_stay(store: Store) -> None:
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
        # A story of this edition waits for its reader, as the row says.
        connection.execute(update(d).where(d.c.id == 2).values(mark=0))
    assert delete_expired(store, KEEP, NOW + timedelta(days=500), budget=math.inf) == 2
    with store.read() as connection:
        left = list(connection.execute(select(d.c.id, d.c.state).order_by(d.c.id)))
    assert [tuple(row) for row in left] == [
        (1, "in_doubt"), (2, "accepted"), (5, "accepted"), (6, "accepted"), (7, "accepted"), (8, "accepted"),
    ]  # fmt: skip


@pytest.mark.slow
def test_old_slots_notices_and_tests_are_deleted(newsroom: RunningNewsroom) -> None:
    newsroom.reader("ada")
    for day in range(4):
        newsroom.item(f"story{day}")
        newsroom.tick(MONDAY + day * DAY)
    with newsroom.runtime.store.write() as connection:
        notices.add(connection, "old", "failed", "Something.", MONDAY)
    newsroom.tick(MONDAY + 4 * DAY)
    assert rows(newsroom.runtime.store, "mailings") > 4
    slots = rows(newsroom.runtime.store, "slots")
    delete_expired(newsroom.runtime.store, KEEP, LATER, budget=math.inf)
    assert rows(newsroom.runtime.store, "slots") == 1 < slots
    assert rows(newsroom.runtime.store, "notices") == 0
    with newsroom.runtime.store.read() as connection:
        kinds = set(connection.execute(select(t.mailings.c.kind)).scalars())
    assert kinds == {"edition"}
    # The last slot is remembered, so no slot fires again.
    before = newsroom.editions()
    newsroom.tick(MONDAY + 4 * DAY)
    assert newsroom.editions() == before


def test_counts_of_bounces_are_deleted_with_their_rows(store: Store) -> None:
    """The breaker's counts were never deleted: one for each mailing, sender and domain."""
    old = add_mailing(store, add_readers(store, ["ada"]), add_edition(store, 1))
    new = add_mailing(store, add_readers(store, ["bob"]), add_edition(store, 2))
    with store.write() as connection:
        for mailing in (old, new, 999):
            doubted.count_bounce(connection, mailing, "relay")
            doubted.count_bounce(connection, mailing, "relay/example.org")
        connection.execute(update(t.editions).values(state="done"))
        connection.execute(update(t.mailings).values(open=False, marked=True))
        connection.execute(update(t.deliveries).values(state="accepted"))
        later = {"at": NOW + timedelta(days=450)}
        connection.execute(update(t.mailings).where(t.mailings.c.id == new).values(**later))
        connection.execute(update(t.deliveries).where(t.deliveries.c.mailing == new).values(**later))
    delete_expired(store, KEEP, NOW + timedelta(days=500), budget=math.inf)
    with store.read() as connection:
        names = connection.execute(select(t.facts.c.name).where(t.facts.c.name.startswith("bounced:"))).scalars().all()
    assert sorted(names) == [f"bounced:{new}:relay", f"bounced:{new}:relay/example.org"]


@pytest.mark.slow
def test_deletion_runs_once_a_day_in_pages(store: Store) -> None:
    """A transaction deletes one page of 20,000 old rows, so a tick is not held up."""
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
        assert retention.delete_old_deliveries(connection, mailing, now - timedelta(days=400)) == retention.PAGE
    assert rows(store) == 20_001 - retention.PAGE
    taken = delete_expired(store, KEEP, now, budget=60)
    assert rows(store) == 0
    assert taken > 0
    assert delete_expired(store, KEEP, now, budget=math.inf) == 0
    with store.read() as connection:
        assert ledger.count_by_state(connection, mailing=mailing) == {"accepted": 20_001}
        packed = [
            number
            for raw in connection.execute(select(t.past_readers.c.subscribers)).scalars()
            for number in retention.unpack_readers(raw)
        ]
        size = connection.execute(select(func.sum(func.length(t.past_readers.c.subscribers)))).scalar_one()
    assert sorted(packed) == [readers["ada"], *range(10, 20_010)]
    assert size < 20_000  # less than a byte for a delivery
