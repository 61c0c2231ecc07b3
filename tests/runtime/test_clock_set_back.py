"""A clock that was ahead is set back by a person. Slots that came due in between are held for a person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import RefusedError
from tidings.pipeline.compose.due import find_next_moment
from tidings.store.service.clock import read_clock
from tidings.store.service.set_back import SetBack, set_back

__all__ = ["run_in"]


@pytest.fixture
def newsroom(database_url: str, tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}) as opened:
        yield opened


def _set_back(newsroom: RunningNewsroom, now: datetime) -> SetBack:
    newsroom.now = now
    newsroom.runtime.set_clock(now)
    with newsroom.runtime.store.write() as connection:
        done = set_back(connection, now, "ada")
        assert read_clock(connection) == now
    assert done is not None
    return done


def test_a_clock_that_was_ahead_is_set_back(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    # The clock is six days ahead for a moment: "two" is sent, and the slots until then are settled.
    newsroom.tick(MONDAY + 6 * DAY)
    assert newsroom.read(ada) == [["one"], ["two"]]
    with pytest.raises(RefusedError, match="tidings clock --set now"):
        newsroom.tick(MONDAY + DAY + HOUR)
    done = _set_back(newsroom, MONDAY + DAY + HOUR)
    assert done.schedules == ("daily",)
    newsroom.item("three")
    # The slot that came due in between makes an edition, which waits for a person.
    newsroom.tick(MONDAY + DAY + 2 * HOUR)
    edition = newsroom.edition("daily/3")
    assert edition.state == "held" and "clock was ahead" in edition.holds[0].detail
    assert newsroom.read(ada) == [["one"], ["two"]]
    newsroom.runtime.editions.release(edition, newsroom.now, "ada")
    newsroom.tick(MONDAY + DAY + 3 * HOUR)
    assert newsroom.read(ada) == [["one"], ["two"], ["three"]]
    # The days that the clock had already passed are ordinary days again.
    newsroom.item("four")
    newsroom.tick(MONDAY + 2 * DAY)
    assert newsroom.read(ada)[-1] == ["four"]


def test_a_schedule_without_news_is_not_held_later(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.tick(MONDAY + 6 * DAY)
    _set_back(newsroom, MONDAY + HOUR)
    newsroom.tick(MONDAY + HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == [["one"]]


def test_a_story_found_ahead_stays_out_and_an_embargo_holds(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    newsroom.item("one")
    newsroom.item("two", embargo="2026-03-05T10:00")
    newsroom.tick(MONDAY + 6 * DAY)
    page = newsroom.folder.root / "public/en/two/index.html"
    assert page.exists()
    _set_back(newsroom, MONDAY + HOUR)
    newsroom.tick(MONDAY + HOUR)
    assert (newsroom.folder.root / "public/en/one/index.html").exists()
    assert not page.exists()
    assert find_next_moment(newsroom.runtime.composer, newsroom.now) == MONDAY + DAY


def test_an_unfinished_edition_from_ahead_is_held(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY + 6 * DAY, deliver=False)
    assert _set_back(newsroom, MONDAY + HOUR).held == ("daily/1",)
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.read(ada) == []
    assert newsroom.edition("daily/1").state in ("held", "superseded")


def test_a_clock_that_is_right_is_not_changed(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    with newsroom.runtime.store.write() as connection:
        assert set_back(connection, MONDAY + HOUR, "ada") is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_shows_and_sets_the_clock(
    newsroom: RunningNewsroom, run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in newsroom.folder.env.items():
        monkeypatch.setenv(name, value)
    root = newsroom.folder.root
    assert "--set now" not in run_in(root, "clock").ok().out
    newsroom.tick(MONDAY + 9_000 * DAY)
    assert "tidings clock --set now" in run_in(root, "clock").ok().out
    assert run_in(root, "clock", "--json").ok().json["ahead"] > 86_400
    assert run_in(root, "clock", "--set", "2027-01-01").code == 2
    assert run_in(root, "tick").code == 2
    assert "set back" in run_in(root, "clock", "--set", "now").ok().out
    assert run_in(root, "tick").code == 0
    assert run_in(root, "clock", "--json").ok().json["ahead"] == 0
