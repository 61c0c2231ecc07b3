"""A changed YAML file is planned with before it is saved, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.newsroom import DAILY, MONDAY, open_newsroom
from tidings.runtime.team.settings_files import check_settings

ALL = DAILY.replace("frequency: daily", "frequency: all")


def test_the_plan_of_a_change_is_made_on_postgresql_too(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL, the room showed no plan for a changed schedule."""
    with open_newsroom(tmp_path, database_url, {"daily": ALL}, public=False) as newsroom:
        for key, value in newsroom.folder.env.items():
            monkeypatch.setenv(key, value)
        newsroom.tick(MONDAY)
        runtime = newsroom.runtime
        before = runtime.newsroom
        checked = check_settings(runtime, "schedules/daily.yaml", ALL.replace("09:00", "11:00"))
        assert not checked.has_error and checked.before is not None and checked.after is not None
        hours = [[slot.at.hour for slot in plan[0].slots] for plan in (checked.before, checked.after)]
        assert hours == [[4, 4], [6, 6]]
        assert runtime.newsroom is before, "nothing of the newsroom changed"
        assert check_settings(runtime, "schedules/daily.yaml", "cadence: 3").has_error


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_newsroom_with_a_logo_can_save_its_settings(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check looked for the logo in a folder of links, and refused every change."""
    with open_newsroom(tmp_path, database_url, {"daily": ALL}, public=False) as newsroom:
        for key, value in newsroom.folder.env.items():
            monkeypatch.setenv(key, value)
        (newsroom.folder.root / "content" / "media").mkdir(parents=True)
        Image.new("RGB", (96, 96), (0, 90, 120)).save(newsroom.folder.root / "content" / "media" / "mark.png")
        newsroom.configure("site:\n", "site:\n  logo: media/mark.png\n")
        changed = ALL.replace("09:00", "11:00")
        assert check_settings(newsroom.runtime, "schedules/daily.yaml", changed).problems == []
        assert (newsroom.folder.root / "schedules" / "daily.yaml").read_text(encoding="utf-8") == ALL
