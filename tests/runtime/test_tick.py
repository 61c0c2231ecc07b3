"""Ticks in a row, and by several processes: a slot fires once, and all due work is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import RefusedError
from tidings.runtime.check import check_clock_override
from tidings.runtime.tick import TickResult, tick
from tidings.store.locks import acquire_liveness
from tidings.store.service.heartbeat import Heartbeat, record_heartbeat


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as opened:
        yield opened


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as opened:
        yield opened


def test_nothing_leaves_while_another_process_catches(newsroom: RunningNewsroom) -> None:
    store = newsroom.runtime.store
    newsroom.reader("ada")
    newsroom.item("one")
    catching = acquire_liveness(store)
    with store.write() as connection:
        record_heartbeat(connection, Heartbeat(catching.owner, started=MONDAY, beat=MONDAY, catches=True))
    newsroom.tick(MONDAY)
    assert (newsroom.editions(), newsroom.mails("ada@example.org")) == (["daily/1 sending"], [])
    # After it has ended, mail is sent again.
    catching.release()
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.editions() == ["daily/1 done"]
    assert len(newsroom.mails("ada@example.org")) == 1


def test_two_processes_fire_a_slot_once(newsroom: RunningNewsroom) -> None:
    for number in range(6):
        newsroom.reader(f"r{number}")
    newsroom.item("one")
    done: list[TickResult] = []
    errors: list[BaseException] = []
    start = threading.Barrier(2)

    def beat() -> None:
        try:
            with newsroom.folder.runtime() as other:
                other.set_clock(MONDAY)
                start.wait(120)
                done.append(tick(other, MONDAY))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=beat) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert sum(len(one.composed) for one in done) == 1
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.editions() == ["daily/1 done"]
    assert sorted(mail.recipient for mail in newsroom.folder.mails.received) == [f"r{n}@example.org" for n in range(6)]


def test_the_clock_never_goes_back(newsroom: RunningNewsroom) -> None:
    newsroom.item("one")
    newsroom.tick(MONDAY)
    with pytest.raises(RefusedError, match="never goes back"):
        newsroom.tick(MONDAY - timedelta(seconds=1))
    newsroom.tick(MONDAY)


def test_a_clock_far_from_real_time_needs_local_senders(small: RunningNewsroom) -> None:
    settings = small.runtime.newsroom
    check_clock_override(settings, MONDAY, MONDAY + DAY)
    [here] = settings.mail
    away = settings.model_copy(update={"mail": (here, here.model_copy(update={"host": "mx.example.org"}))})
    check_clock_override(away, MONDAY, MONDAY + HOUR)
    for distance in (2 * HOUR, -2 * HOUR):
        with pytest.raises(RefusedError, match=r"mail mx\.example\.org would send to other machines"):
            check_clock_override(away, MONDAY, MONDAY + distance)


def test_new_schedule_begins_at_its_first_tick(small: RunningNewsroom) -> None:
    small.item("one")
    small.tick(MONDAY)
    small.schedule("late", 'cadence: {daily: "09:00"}\ndeliver: [{channel: desk}]\n')
    assert not small.tick(MONDAY).composed
    small.item("two")
    small.tick(MONDAY + DAY)
    assert small.edition("late/1").stories == ("two",)


def test_on_new_waits_until_stories_settle(small: RunningNewsroom) -> None:
    small.schedule("news", "cadence: {on: new, settle: 10m}\ndeliver: [{channel: desk}]\n")
    small.tick(MONDAY - 10 * HOUR)
    minute = HOUR / 60
    small.item("one")
    small.tick(MONDAY - 9 * HOUR)
    small.item("two")
    assert not small.tick(MONDAY - 9 * HOUR + 9 * minute).composed
    small.tick(MONDAY - 9 * HOUR + 10 * minute)
    assert sorted(small.edition("news/1").stories) == ["one", "two"]
    assert not small.tick(MONDAY - 8 * HOUR).composed


def test_on_new_goes_by_the_embargo_not_by_the_date(small: RunningNewsroom) -> None:
    small.schedule("news", "cadence: {on: new, settle: 10m}\ndeliver: [{channel: desk}]\n")
    small.tick(MONDAY - 10 * HOUR)
    small.item("one", published="2026-03-01", embargo="2026-03-02T01:00")
    small.tick(MONDAY - 9 * HOUR)
    assert not small.tick(MONDAY - 8 * HOUR).composed
    assert [result.edition and result.edition.name for result in small.tick(MONDAY - 8 * HOUR + HOUR / 6).composed] == [
        "news/1"
    ]


def test_skipped_days_and_holidays_are_visible(small: RunningNewsroom) -> None:
    small.schedule("daily", DAILY.replace('"09:00"', '"09:00", skip_dates: [2026-03-02]'))
    small.reader("r")
    small.item("one")
    assert not small.tick(MONDAY).composed
    assert [state for state, _ in small.slots("daily")] == ["skipped"]
    assert small.slots("daily")[0][1]
    small.tick(MONDAY + DAY)
    assert small.read("r@example.org") == [["one"]]


def test_a_second_edition_has_the_next_number(small: RunningNewsroom) -> None:
    small.reader("r")
    for day in range(3):
        small.item(f"d{day}")
        small.tick(MONDAY + day * DAY)
    assert small.editions() == ["daily/1 done", "daily/2 done", "daily/3 done"]


def test_each_problem_gives_one_notice(small: RunningNewsroom) -> None:
    small.folder.write("content/odd.en.md", "---\ntitle: x\nembago: 2026-01-01\n---\n")
    small.item("one", images="[{src: https://example.org/a.png}]")
    small.reader("r")
    for _ in range(3):
        small.tick(MONDAY)
    small.tick(MONDAY + HOUR)
    notices = "\n".join(small.notices())
    assert notices.count("daily/1 is held") == 1 and notices.count("embago") == 1
