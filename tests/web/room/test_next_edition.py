"""The next edition of a schedule: seen before it is built, sent as a test, and changed for this one time."""

from __future__ import annotations

import re

from tests.fixtures.newsroom import DAY, HOUR, MONDAY, REQUEST
from tests.web.room.conftest import BEFORE, Browser, RoomSite
from tidings.store.content import schedules

FRIDAY = "cadence:\n  weekly: fri 09:00\n{}deliver: [{{list: digest, frequency: all}}]\n"
SLOT = MONDAY + 4 * DAY


def _with_stories(room: RoomSite) -> Browser:
    """Two stories wait for Friday. The newer one would come first."""
    room.newsroom.schedule("daily", REQUEST)
    room.newsroom.schedule("friday", FRIDAY.format(""))
    room.newsroom.tick(BEFORE + HOUR / 4)
    for language, titles in {"en": ("Vaccines", "Bridge"), "ru": ("Вакцины", "Мост")}.items():
        room.newsroom.item("vaccines", language, title=titles[0], published="2026-03-02T07:20")
        room.newsroom.item("bridge", language, title=titles[1])
    room.newsroom.tick(BEFORE + HOUR / 2)
    return room.browser("editor")


def _subjects(room: RoomSite, address: str) -> list[str]:
    return [str(mail.message["Subject"]) for mail in room.newsroom.mails(address)]


def _version(editor: Browser) -> str:
    found = re.search(r'name="version" value="(\w+)"', editor.get("coming/friday").text)
    assert found is not None
    return found[1]


def _choose(editor: Browser, **fields: str) -> str:
    answer = editor.post("coming/friday", version=_version(editor), lead="vaccines", **fields)
    assert "Saved. The edition is built with this at its time." in answer.text
    return answer.text


def test_an_editor_chooses_the_lead_and_one_subject(room: RoomSite) -> None:
    editor = _with_stories(room)
    assert 'href="/room/coming/friday"' in editor.get("").text
    page = editor.get("coming/friday").text
    assert "to 2 recipients" in page and page.index("Bridge") < page.index("Vaccines")
    chosen = {"subject.en": "Bridge", "shown.en": "Bridge", "subject.ru": "Министерство: вакцины", "shown.ru": "Мост"}
    page = _choose(editor, **chosen)
    assert page.index("Vaccines") < page.index("Bridge") and "Министерство: вакцины" in page
    assert [entry.action for entry in room.log()] == ["edition.planned"]
    room.newsroom.tick(SLOT)
    assert room.newsroom.edition("friday/1").stories[0] == "vaccines"
    assert _subjects(room, "anna@example.org")[-1] == "Vaccines"
    assert _subjects(room, "boris@example.org")[-1] == "Министерство: вакцины"
    with room.newsroom.runtime.store.read() as connection:
        assert schedules.find_planned_changes(connection, "friday") is None, "it counts once"


def test_choices_of_a_skipped_edition_are_forgotten(room: RoomSite) -> None:
    editor = _with_stories(room)
    _choose(editor, **{"subject.en": "Only this Friday"})
    room.newsroom.schedule("friday", FRIDAY.format("  moved: {2026-03-06T09:00: skip}\n"))
    room.newsroom.tick(MONDAY + HOUR)
    room.newsroom.tick(SLOT + HOUR)
    room.newsroom.tick(SLOT + 7 * DAY)
    assert _subjects(room, "anna@example.org")[-1] == "Bridge"


def test_a_test_of_the_next_edition_goes_to_the_member_alone(room: RoomSite) -> None:
    _choose(_with_stories(room), **{"subject.en": "A better subject"})
    writer = room.browser("writer")
    assert "A test is on its way" in writer.post("coming/friday/test").text
    room.newsroom.runtime.deliver()
    assert any("A better subject" in subject for subject in _subjects(room, "writer@example.org"))
    assert room.newsroom.mails("anna@example.org") == []
    assert room.newsroom.editions() == ["daily/1 held"]


def test_choices_need_the_slot_and_the_stories_that_were_seen(room: RoomSite) -> None:
    editor = _with_stories(room)
    first = _version(editor)
    assert editor.post("coming/friday", version="", lead="vaccines").status_code == 409
    assert editor.post("coming/friday", version=first, lead="none").status_code == 409
    assert editor.post("coming/none", version=first).status_code == 404
    assert editor.get("coming/none").status_code == 404
    _choose(editor, **{"subject.en": "Other"})
    assert editor.post("coming/friday", version=first, lead="").status_code == 409, "another editor saved since"
    editor.post("coming/friday", version=_version(editor), lead="")
    with room.newsroom.runtime.store.read() as connection:
        assert schedules.find_planned_changes(connection, "friday") is None


def test_today_says_that_nobody_gets_an_edition(room: RoomSite) -> None:
    room.newsroom.schedule("friday", FRIDAY.format("").replace("frequency: all", "frequency: weekly"))
    room.newsroom.tick(BEFORE + HOUR / 4)
    room.newsroom.item("two", title="Second")
    room.newsroom.tick(BEFORE + HOUR / 2)
    assert "nobody on its lists gets it yet" in room.browser("viewer").get("").text
