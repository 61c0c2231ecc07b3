"""Lists come in pages from the database, and everything that the room shows can be read."""

from __future__ import annotations

import httpx
import pytest

from tests.fixtures.newsroom import HOUR
from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import BEFORE, RoomSite
from tidings.web.api.v1 import overview


def _walk(client: httpx.Client, path: str, **query: str) -> list[dict[str, object]]:
    """Return all entries of a list, in pages of two."""
    found: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(path, params={**query, "limit": "2", "cursor": cursor}).json()
        assert len(page["items"]) <= 2
        found += page["items"]
        cursor = page["next"]
    return found


def test_a_cursor_of_another_list_is_refused(program: Program) -> None:
    admin = program("admin")
    for path in ("stories", "subscribers", "deliveries", "log", "editions"):
        for cursor in ("x", "bnVsbA", "WzFd" if path in ("stories", "subscribers") else "WyJhIiwgImIiXQ"):
            answer = admin.get(path, params={"cursor": cursor})
            assert answer.status_code == 422 and "cursor" in answer.json()["detail"], (path, cursor)


def test_an_edition_is_read_with_its_recipients_and_mails(program: Program) -> None:
    viewer = program("viewer")
    edition = viewer.get("editions/daily/1").json()
    assert edition["state"] == "held" and edition["total"] == 2
    assert edition["holds"][0]["reason"] == "approval"
    messages = viewer.get("editions/daily/1/messages", params={"language": "ru"}).json()
    assert [message["subject"] for message in messages] == ["Колодец и дорога"]
    assert "Колодец" in messages[0]["html"] and "Колодец" in messages[0]["text"]
    assert viewer.get("editions/daily/2").status_code == 404


def test_a_story_is_read_with_its_file_and_its_problems(program: Program) -> None:
    writer = program("writer")
    story = writer.get("stories/one").json()
    assert story["missing"] == ["kk"] and story["editions"] == ["daily/1"]
    text = writer.get("stories/one/ru").json()
    assert text["title"] == "Колодец и дорога" and text["file"] == "content/one.ru.md" and not text["draft"]
    assert writer.get("stories/one/kk").status_code == 404
    assert writer.get("stories/none").status_code == 404


def test_a_person_is_read_and_explained_by_number(program: Program) -> None:
    editor = program("editor")
    row = editor.get("subscribers", params={"text": "anna"}).json()["items"][0]
    person = editor.get(f"subscribers/{row['subscriber']}").json()
    assert person["address"] == "anna@example.org" and person["lists"][0]["list"] == "digest"
    lines = editor.get(f"subscribers/{row['subscriber']}/explain", params={"story": "one"}).json()["lines"]
    assert any("daily/1" in line for line in lines)
    wrong = editor.get(f"subscribers/{row['subscriber']}/explain", params={"story": "none"})
    assert wrong.status_code == 422 and wrong.json()["detail"].startswith("There is no story 'none'")


def test_pages_of_each_list_hold_every_entry_once(room: RoomSite, program: Program) -> None:
    newsroom, admin = room.newsroom, program("admin")
    for number in range(5):
        newsroom.reader(f"reader{number}")
        newsroom.item(f"story{number}")
    newsroom.tick(BEFORE + HOUR)
    stories = _walk(admin, "stories")
    assert len(stories) == 6 and len({str(row["story"]) for row in stories}) == 6
    assert [row["story"] for row in _walk(admin, "stories", language="ru")] == ["one"]
    people = _walk(admin, "subscribers", list="digest")
    assert len(people) == 7 and len({str(row["address"]) for row in people}) == 7
    deliveries = _walk(admin, "deliveries")
    ids = [row["id"] for row in deliveries]
    assert ids == sorted(set(ids), key=lambda number: int(str(number))) and len(ids) > 2
    for list_name in ("digest", "press", "digest"):
        admin.get("subscribers/export", params={"list": list_name})
    log = _walk(admin, "log")
    assert [row["action"] for row in log] == ["subscriber.exported"] * 3
    assert {(row["who"], row["via"]) for row in log} == {("key admin", "api")}
    assert [row["edition"] for row in _walk(admin, "editions")] == ["daily/1"]


def test_a_plan_for_a_large_list_counts_nobody(
    room: RoomSite, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting who gets what reads each subscriber."""
    room.newsroom.item("fresh")
    room.newsroom.tick(room.newsroom.runtime.now(), deliver=False)
    monkeypatch.setattr(overview, "MOST_COUNTED", 1)
    [daily] = [row for row in program("viewer").get("plan").json() if row["schedule"] == "daily"]
    slot = next(each for each in daily["slots"] if not each["skipped"])
    assert slot["outlets"] == []
    assert slot["at_most"] >= 2
