"""The calendar by month, week and list. A story or a slot is moved after looking at the difference."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.fixtures.newsroom import HOUR
from tests.web.room.conftest import BEFORE, RoomSite
from tests.web.room.test_stories import read_story_file
from tidings.model.cadence import list_slots, load_zone

STORY = "content/later.en.md"


def _opened(page: str) -> list[str]:
    return re.findall(r'name="opened" value="(\w+)"', page)


def _with_story(room: RoomSite, key: str = "published") -> None:
    room.newsroom.folder.write(STORY, f"---\ntitle: Later\n{key}: 2026-03-05T12:00 # Thursday\n---\nText\n")
    room.newsroom.tick(BEFORE + HOUR / 2)


def test_a_week_and_a_list_show_the_same_entries(room: RoomSite) -> None:
    _with_story(room)
    viewer = room.browser("viewer")
    for query in ({"month": "2026-03"}, {"view": "week", "day": "2026-03-04"}, {"view": "list", "day": "2026-03-02"}):
        page = viewer.get("calendar", **query).text
        assert "Later" in page and "Daily 1" in page and "Move<" not in page, query
    week = viewer.get("calendar", view="week", day="2026-03-04").text
    assert re.findall(r'data-day="([\d-]+)"', week) == [f"2026-03-{day:02}" for day in range(2, 9)]
    assert "view=week&amp;day=2026-02-23" in week and "view=week&amp;day=2026-03-09" in week
    for query in ({"view": "x"}, {"day": "2026-02-30"}, {"month": "2026-13"}):
        assert viewer.get("calendar", **query).status_code == 200


def test_a_story_moves_after_its_difference_was_seen(room: RoomSite) -> None:
    for key in ("published", "embargo"):
        _with_story(room, key)
        editor = room.browser("editor")
        assert "calendar/move?story=later" in editor.get("calendar", month="2026-03").text
        dropped = editor.get("calendar/move", story="later", day="2026-03-06").text
        assert 'value="2026-03-06T12:00"' in dropped
        assert f"<ins>{key}: 2026-03-06T12:00 # Thursday</ins>" in dropped
        fields = {"story": "later", "at": "2026-03-06T15:30"}
        shown = editor.post("calendar/move", do="check", **fields).text
        assert f"<ins>{key}: 2026-03-06T15:30 # Thursday</ins>" in shown
        assert "T12:00" in read_story_file(room, STORY), "seeing it writes nothing"
        assert editor.post("calendar/move", do="save", opened="old", **fields).status_code == 422
        assert "Moved." in editor.post("calendar/move", do="save", opened=_opened(shown), **fields).text
        assert f"{key}: 2026-03-06T15:30 # Thursday" in read_story_file(room, STORY)
    wrong = editor.post("calendar/move", do="save", story="later", at="tomorrow")
    assert wrong.status_code == 422 and "Write day and time" in wrong.text
    assert [entry.action for entry in room.log()] == ["story.moved", "story.moved"]


def test_a_slot_moves_to_any_time_or_is_skipped(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    editor, name = room.browser("editor"), "schedules/daily.yaml"
    head, deliver = "# ours\ncadence:\n  daily: 09:00  # early\n", "deliver: [{list: digest, frequency: all}]\n"
    room.newsroom.schedule("daily", head + deliver)

    def save(**fields: str) -> str:
        """Look at the change first, as the form does; return the YAML between the rule and `deliver`."""
        shown = editor.post("calendar/move", do="check", schedule="daily", **fields).text
        assert "What it does to the plan" in shown and 'role="alert"' not in shown
        answer = editor.post("calendar/move", do="save", opened=_opened(shown), schedule="daily", **fields)
        assert "Moved." in answer.text
        room.newsroom.reload()
        written = read_story_file(room, name)
        assert written.startswith(head) and written.endswith(deliver)
        return written[len(head) : -len(deliver)]

    assert "schedule=daily&amp;slot=2026-03-14T09%3A00" in editor.get("calendar", view="list", day="2026-03-02").text
    dropped = editor.get("calendar/move", schedule="daily", slot="2026-03-14T09:00", day="2026-03-13").text
    assert 'value="2026-03-13T09:00"' in dropped and "Another edition of this schedule is due between" in dropped
    slot = "2026-03-14T09:00"
    assert save(slot=slot, how="at", at="2026-03-13T17:30") == f"  moved: {{{slot}: 2026-03-13T17:30}}\n"
    week = editor.get("calendar", view="week", day="2026-03-13").text
    friday = week[week.index('data-day="2026-03-13"') : week.index('data-day="2026-03-14"')]
    assert friday.count("calendar/move?") == 2 and "changed by a person" in friday
    assert save(slot="2026-03-14", how="skip") == f"  moved: {{{slot}: skip}}\n"
    week = editor.get("calendar", view="week", day="2026-03-13").text
    assert "left out by a person" in week and "calendar/move?schedule=daily&amp;slot=2026-03-14T09%3A00" in week
    assert save(slot=slot, how="at", at="2026-03-14T12:00") == f"  moved: {{{slot}: 2026-03-14T12:00}}\n"
    assert save(slot=slot, how="plan", at="2026-03-14T12:00") == ""
    refusals = {"2026-03-01T09:00": "has passed", "2026-03-19T09:00": "due between", "2026-02-30T09:00": "Write day"}
    for at, why in refusals.items():
        answer = editor.post("calendar/move", do="save", schedule="daily", slot=slot, how="at", at=at)
        assert answer.status_code == 422 and why in answer.text
    assert editor.get("calendar/move", schedule="none", slot="2026-03-10").status_code == 404
    assert editor.get("calendar/move", schedule="daily", slot="2026-03-10T10:00").status_code == 404
    assert editor.get("calendar/move", story="none").status_code == 404


@pytest.mark.parametrize(
    ("rule", "slot", "others"),
    [
        # The window puts it after midnight, and the next one is due on that day too.
        ('daily: "23:30"\n  window: "08:00-20:00"', "2026-03-09T23:30", ["2026-03-09T08:00", "2026-03-11T08:00"]),
        ('daily: ["07:30", "18:00"]', "2026-03-09T07:30", ["2026-03-08T18:00", "2026-03-09T18:00"]),
        # Holidays are moved, so a day in `skip_dates` would move it too.
        ("weekly: mon 09:00\n  on_holiday: before", "2026-03-09T09:00", ["2026-03-02T09:00", "2026-03-16T09:00"]),
    ],
)
def test_only_the_slot_that_is_meant_is_skipped(
    room: RoomSite, monkeypatch: pytest.MonkeyPatch, rule: str, slot: str, others: list[str]
) -> None:
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    editor = room.browser("editor")
    room.newsroom.schedule("daily", f"cadence:\n  {rule}\ndeliver: [{{list: digest, frequency: all}}]\n")
    fields = {"schedule": "daily", "slot": slot, "how": "skip"}
    shown = editor.post("calendar/move", do="check", **fields).text
    assert "Moved." in editor.post("calendar/move", do="save", opened=_opened(shown), **fields).text
    room.newsroom.reload()
    cadence = room.newsroom.runtime.newsroom.schedules["daily"].cadence
    zone = load_zone(cadence.zone)
    first, last = (datetime.fromisoformat(f"2026-03-{day}T00:00").replace(tzinfo=zone) for day in ("02", "20"))
    around = [other for other in list_slots(cadence, first, last) if not other.skip_reason]
    moments = [f"{other.at.astimezone(zone):%Y-%m-%dT%H:%M}" for other in around]
    where = moments.index(others[0])
    assert moments[where : where + 2] == others
    shown = editor.post("calendar/move", do="check", **fields | {"how": "plan"}).text
    assert "Moved." in editor.post("calendar/move", do="save", opened=_opened(shown), **fields | {"how": "plan"}).text
    assert "moved" not in read_story_file(room, "schedules/daily.yaml")


def test_a_whole_week_is_skipped_in_one_form(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    editor = room.browser("editor")
    room.newsroom.schedule("daily", "cadence: {daily: 09:00}\ndeliver: [{list: digest, frequency: all}]\n")
    fields = {"schedule": "daily", "slot": "2026-04-13T09:00", "how": "skip", "through": "2026-04-15"}
    shown = editor.post("calendar/move", do="check", **fields).text
    assert shown.count("<strong>Skipped: ") == 3
    saved = editor.post("calendar/move", do="save", opened=_opened(shown), **fields)
    assert "Moved." in saved.text and "April 2026" in saved.text, "back to the month that was open"
    room.newsroom.reload()
    cadence = room.newsroom.runtime.newsroom.schedules["daily"].cadence
    assert [move.slot for move in cadence.moved] == [f"2026-04-{day}T09:00" for day in (13, 14, 15)]


def test_one_edition_of_a_day_left_out_is_put_back_alone(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """All editions of the day came back."""
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    editor = room.browser("editor")
    rule = 'daily: ["09:00", "18:00"]\n  moved: {2026-03-14: skip}'
    room.newsroom.schedule("daily", f"cadence:\n  {rule}\ndeliver: [{{list: digest, frequency: all}}]\n")
    fields = {"schedule": "daily", "slot": "2026-03-14T09:00", "how": "plan"}
    shown = editor.post("calendar/move", do="check", **fields).text
    assert "Moved." in editor.post("calendar/move", do="save", opened=_opened(shown), **fields).text
    assert "2026-03-14T18:00: skip" in read_story_file(room, "schedules/daily.yaml")
