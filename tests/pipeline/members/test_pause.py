"""A reader's pause: they get nothing during it, miss nothing by it, and nobody else waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, flat, open_newsroom
from tidings.pipeline.members import preferences, subscribe
from tidings.runtime.explain import explain
from tidings.store.people import subscribers


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as opened:
        yield opened


def pause(newsroom: RunningNewsroom, address: str, until: datetime | None) -> None:
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, address)
        assert number is not None
        subscribe.save_preferences(
            connection, number, language="en", choices={"digest": ((), "daily")}, paused_until=until
        )


def test_stories_during_a_pause_wait_for_the_reader(newsroom: RunningNewsroom) -> None:
    ada, eve = newsroom.reader("ada"), newsroom.reader("eve")
    newsroom.tick(MONDAY - HOUR)
    pause(newsroom, ada, MONDAY + 2 * DAY - HOUR)
    for day in range(2):
        newsroom.item(f"day-{day}")
        newsroom.tick(MONDAY + day * DAY)
    assert newsroom.read(ada) == []
    assert flat(newsroom.read(eve)) == ["day-0", "day-1"]
    assert {entry.reason for entry in newsroom.entries(state="skipped")} == {"paused"}
    with newsroom.runtime.store.read() as connection:
        lines = explain(connection, newsroom.runtime.newsroom, ada, "day-0", str)
    assert any("asked for a pause" in line for line in lines)
    newsroom.item("day-2")
    newsroom.tick(MONDAY + 2 * DAY)
    assert sorted(flat(newsroom.read(ada))) == ["day-0", "day-1", "day-2"]
    assert flat(newsroom.read(eve)) == ["day-0", "day-1", "day-2"]


def test_pause_can_end_and_never_delays_mail_for_everyone(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    everyone = 'cadence: {daily: "12:00"}\nselect: {kinds: [alert]}\ndeliver: [{list: digest, everyone: true}]\n'
    newsroom.schedule("alerts", everyone)
    newsroom.tick(MONDAY - HOUR)
    pause(newsroom, ada, MONDAY + 30 * DAY)
    newsroom.item("flood", kind="alert")
    newsroom.tick(MONDAY)
    assert newsroom.read(ada) == []
    newsroom.tick(MONDAY + 3 * HOUR)
    assert flat(newsroom.read(ada)) == ["flood"]
    pause(newsroom, ada, None)
    newsroom.item("news")
    newsroom.tick(MONDAY + DAY)
    assert flat(newsroom.read(ada)) == ["flood", "news"]


def test_a_reader_who_left_in_a_pause_returns_without_it(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    pause(newsroom, ada, MONDAY + 30 * DAY)
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, ada)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="link", now=MONDAY)
        left = preferences.load_profile(connection, number)
        assert left is not None and left.subscriptions == () and left.paused_until is None
        subscribers.add(connection, ada, "digest", language="en", frequency="daily", now=MONDAY, bring_back=True)
        subscribers.confirm(connection, number, "digest", now=MONDAY)
        back = preferences.load_profile(connection, number)
    assert (
        back is not None
        and [subscription.list for subscription in back.subscriptions] == ["digest"]
        and back.paused_until is None
    )


def test_the_offered_pauses_are_in_order_and_unique(newsroom: RunningNewsroom) -> None:
    def offered(until: datetime | None) -> list[tuple[str, bool]]:
        choices = preferences.pause_choices(newsroom.runtime.newsroom, until, MONDAY, "en")
        return [(one["name"], one["checked"]) for one in choices]

    none = [("0", True), ("14", False), ("30", False), ("90", False)]
    assert offered(None) == offered(MONDAY - DAY) == none
    assert offered(MONDAY + 30 * DAY) == [("0", False), ("14", False), ("keep", True), ("90", False)]
    assert offered(MONDAY + 20 * DAY) == [("0", False), ("14", False), ("keep", True), ("30", False), ("90", False)]
