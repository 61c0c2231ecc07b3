"""An edited cadence counts from the edit: no slot of the new rule before the edit fires."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.cadence import Cadence, Daily, OnNew, parse_rule
from tidings.pipeline.compose.baseline import cadence_key
from tidings.runtime.preview.plan import plan

__all__ = ["run_in"]
FRIDAY = MONDAY + 4 * DAY
LIST = "deliver: [{list: digest, frequency: all}]\n"


def _schedule(cadence: str) -> str:
    return f"cadence: {cadence}\n{LIST}"


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(
        tmp_path / "n", "sqlite:///tidings.db", {"news": _schedule("{weekly: fri 17:00}")}, public=False
    ) as opened:
        yield opened


def test_an_earlier_hour_waits_for_the_next_week(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    # Friday noon: 09:00 was three hours ago.
    newsroom.schedule("news", _schedule("{weekly: fri 09:00}"))
    result = newsroom.tick(FRIDAY + 3 * HOUR)
    assert newsroom.read(ada) == []
    assert "every Friday at 09:00" in result.edited["news"] and "2026-03-13 09:00" in result.edited["news"]
    newsroom.tick(FRIDAY + 3 * DAY)
    assert newsroom.read(ada) == []
    assert newsroom.tick(FRIDAY + 7 * DAY).edited == {}
    assert newsroom.read(ada) == [["one"]]


@pytest.mark.parametrize(
    ("cadence", "first"),
    [
        ("{daily: '09:00'}", FRIDAY + DAY),
        ("{cron: '0 9 * * *'}", FRIDAY + DAY),
        ("{daily: '13:00'}", FRIDAY + 4 * HOUR),
    ],
)
def test_another_rule_counts_from_the_edit(newsroom: RunningNewsroom, cadence: str, first: object) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    newsroom.schedule("news", _schedule(cadence))
    for hours in (3, 4, 24):
        newsroom.tick(FRIDAY + hours * HOUR)
        expected = [["one"]] if newsroom.now >= first else []  # type: ignore[operator]
        assert newsroom.read(ada) == expected


def test_a_corrected_time_zone_mails_nobody_at_once(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    # 17:00 in Tokyo was an hour before 13:00 in Almaty.
    newsroom.configure("timezone: Asia/Almaty", "timezone: Asia/Tokyo")
    newsroom.tick(FRIDAY + 5 * HOUR)
    newsroom.tick(FRIDAY + 9 * HOUR)
    assert newsroom.read(ada) == []
    newsroom.tick(FRIDAY + 7 * DAY + 4 * HOUR)
    assert newsroom.read(ada) == [["one"]]


@pytest.mark.parametrize("move", ["window: '13:00-18:00'", "skip_dates: [2026-03-06], on_holiday: after"])
def test_a_move_takes_no_older_slot_past_an_edit(newsroom: RunningNewsroom, move: str) -> None:
    """The slot of 09:00 was moved to 13:00, after the edit at 12:00, and was sent."""
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    newsroom.schedule("news", _schedule(f"{{weekly: fri 09:00, {move}}}"))
    newsroom.tick(FRIDAY + 3 * HOUR)
    [planned] = plan(newsroom.runtime, newsroom.now, runs=1)
    assert planned.slots[0].at >= FRIDAY + 7 * DAY
    for hours in (4, 5, 24, 72):
        newsroom.tick(FRIDAY + hours * HOUR)
        assert newsroom.read(ada) == []
    newsroom.tick(FRIDAY + 7 * DAY + 5 * HOUR)
    assert newsroom.read(ada) == [["one"]]


def test_a_slot_that_a_person_moved_outlives_other_edits(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.schedule("news", _schedule("{weekly: fri 09:00, moved: {2026-03-13: 2026-03-16T15:00}}"))
    newsroom.item("one")
    newsroom.tick(FRIDAY + HOUR)
    newsroom.tick(FRIDAY + 7 * DAY + HOUR)
    newsroom.schedule("news", _schedule("{weekly: fri 10:00, moved: {2026-03-13: 2026-03-16T15:00}}"))
    newsroom.tick(FRIDAY + 8 * DAY)
    assert newsroom.read(ada) == []
    newsroom.tick(FRIDAY + 10 * DAY + 6 * HOUR)
    assert newsroom.read(ada) == [["one"]]


def test_on_new_waits_for_the_next_story(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    newsroom.schedule("news", _schedule("{on: new, settle: 10m}"))
    newsroom.tick(FRIDAY + HOUR)
    assert newsroom.read(ada) == []
    newsroom.item("two")
    newsroom.tick(FRIDAY + 2 * HOUR)
    newsroom.tick(FRIDAY + 3 * HOUR)
    (mail,) = newsroom.read(ada)
    assert sorted(mail) == ["one", "two"]


def test_a_slot_missed_before_a_restart_still_fires(newsroom: RunningNewsroom) -> None:
    """Only an edit drops slots: the same cadence, loaded again, changes nothing."""
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    newsroom.schedule("news", "title: Other\n" + _schedule("{weekly: fri 17:00}"))
    newsroom.tick(FRIDAY + 9 * HOUR)
    assert newsroom.read(ada) == [["one"]]


def test_plan_and_check_say_that_an_edit_counts_from_now(
    newsroom: RunningNewsroom, run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsroom.tick(FRIDAY)
    newsroom.schedule("news", _schedule("{weekly: fri 09:00}"))
    newsroom.now = FRIDAY + 3 * HOUR
    newsroom.runtime.set_clock(newsroom.now)
    (planned,) = plan(newsroom.runtime, newsroom.now)
    assert "its cadence was changed" in planned.note
    assert planned.slots[0].at == FRIDAY + 7 * DAY
    for name, value in newsroom.folder.env.items():
        monkeypatch.setenv(name, value)
    checked = run_in(newsroom.folder.root, "check")
    assert "schedules/news.yaml:1:1: " in checked.out + checked.err and "it counts from" in checked.out + checked.err


def test_the_key_of_a_cadence_ignores_defaults() -> None:
    plain = Cadence(parse_rule("daily", "09:00"), "UTC")
    assert isinstance(plain.rule, Daily)
    assert cadence_key(plain) == cadence_key(Cadence(plain.rule, "UTC", max_late=timedelta(hours=1)))
    others = [
        Cadence(plain.rule, "Asia/Almaty"),
        Cadence(parse_rule("daily", "10:00"), "UTC"),
        Cadence(OnNew(), "UTC"),
        Cadence(OnNew(timedelta(0)), "UTC"),
    ]
    assert len({cadence_key(cadence) for cadence in [plain, *others]}) == 5


def test_a_renamed_schedule_keeps_its_cadence(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(FRIDAY)
    (newsroom.folder.root / "schedules/news.yaml").unlink()
    newsroom.schedule("weekly", "was: news\n" + _schedule("{weekly: fri 09:00}"))
    assert "weekly" in newsroom.tick(FRIDAY + 3 * HOUR).edited
    assert newsroom.read(ada) == []
