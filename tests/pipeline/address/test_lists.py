"""Deliveries of an edition: one line for each recipient, with a reason if none is sent; equal mails share a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.pipeline.address.lists import plan_deliveries
from tidings.runtime.preview.outlets import count_planned
from tidings.store import schema as t
from tidings.store.content import edition_archive
from tidings.store.people import segments, subscribers


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as opened:
        yield opened


def test_every_confirmed_reader_of_the_frequency_has_one_line(newsroom: RunningNewsroom) -> None:
    for number in range(12):
        newsroom.reader(f"daily{number}", topics=["water"] if number % 3 else ["youth"])
        newsroom.reader(f"weekly{number}", frequency="weekly")
        newsroom.reader(f"pending{number}", confirmed=False)
    newsroom.item("one", topics="[water]")
    newsroom.tick(MONDAY)
    entries = newsroom.entries()
    assert Counter((entry.state, entry.reason) for entry in entries) == {
        ("accepted", ""): 8,
        ("skipped", "nothing_for_reader"): 4,
    }
    assert all(entry.target.startswith("list:digest:") and "@" not in entry.target for entry in entries)
    assert len({entry.target for entry in entries}) == 12


def test_readers_who_get_the_same_share_one_frozen_selection(newsroom: RunningNewsroom) -> None:
    for number in range(20):
        newsroom.reader(f"r{number}", topics=[["water"], ["youth"], ["water", "youth"], []][number % 4])
    newsroom.item("wet", topics="[water]")
    newsroom.item("young", topics="[youth]")
    newsroom.tick(MONDAY)
    with newsroom.runtime.store.read() as connection:
        kinds = connection.execute(
            select(func.count()).select_from(t.selections).where(t.selections.c.key != edition_archive.WHOLE)
        ).scalar_one()
        documents = connection.execute(select(func.count()).select_from(t.renditions)).scalar_one()
    assert (documents, kinds) == (1, 3)


def test_planning_changes_nothing_and_matches_sending(newsroom: RunningNewsroom) -> None:
    for number in range(6):
        newsroom.reader(f"r{number}", language=("en", "ru", "kk")[number % 3], topics=["water"] if number % 2 else [])
    newsroom.item("one", topics="[youth]")
    newsroom.item("two", "ru", topics="[water]")
    newsroom.tick(MONDAY - HOUR)
    settings, composer = newsroom.runtime.newsroom, newsroom.runtime.composer
    with newsroom.runtime.store.read() as connection:
        edit = composer.draft(connection, settings.schedules["daily"], MONDAY)
        (planned,) = count_planned(plan_deliveries(connection, settings, edit))
    assert newsroom.entries() == []
    newsroom.tick(MONDAY)
    states = Counter((entry.state, entry.reason) for entry in newsroom.entries())
    assert states.pop(("accepted", "")) == sum(planned.recipients.values())
    assert states == {("skipped", reason): count for reason, count in planned.skipped.items()}


def test_mark_moves_only_to_served_editions(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_MARKED", 1)
    served, picky = newsroom.reader("served"), newsroom.reader("picky", topics=["youth"])
    newsroom.item("one", topics="[water]")
    newsroom.tick(MONDAY)
    newsroom.item("two", topics="[water]")
    newsroom.tick(MONDAY + DAY)
    newsroom.tick(MONDAY + 2 * DAY)
    segments.update_marks(newsroom.runtime.store)
    with newsroom.runtime.store.read() as connection:
        marks = {reader.subscriber: reader.mark for reader in subscribers.readers(connection, "digest", "daily")}
        of = {who: subscribers.find_id(connection, who) for who in (served, picky)}
    assert marks[of[served] or 0] == newsroom.edition("daily/2").id
    assert marks[of[picky] or 0] == 0
