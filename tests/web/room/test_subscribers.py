"""A reader is found, explained, added with a consent, changed, removed and erased; the calendar shows the future."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from tests.fixtures.newsroom import HOUR
from tests.web.room.conftest import BEFORE, RoomSite
from tidings.store.people import subscribers
from tidings.store.people.data_export import export_subscriber
from tidings.web.room.visit import PreviewStash, csrf_token


def _number(room: RoomSite, email: str = "anna@example.org") -> int:
    with room.newsroom.runtime.store.read() as connection:
        number = subscribers.find_id(connection, email)
    assert number is not None
    return number


def _state(room: RoomSite, email: str) -> dict[str, tuple[str, str, str]]:
    with room.newsroom.runtime.store.read() as connection:
        rows = subscribers.subscriptions(connection, address=email)
        return {row.list: (row.state, row.frequency, row.language) for row in rows}


def test_people_are_found_and_counted_by_their_choices(room: RoomSite) -> None:
    editor = room.browser("editor")
    page = editor.get("subscribers").text
    assert "2 subscriptions" in page and "anna@example.org" in page
    assert "boris@example.org" not in editor.get("subscribers", language="en").text
    listed = editor.get("subscribers", text="BORIS", list="digest", state="confirmed").text
    assert "1 subscription<" in listed and "anna@example.org" not in listed
    assert "Nobody matches" in editor.get("subscribers", list="press").text


def test_a_person_is_shown_with_what_they_got_and_why(room: RoomSite) -> None:
    editor = room.browser("editor")
    page = editor.get(f"subscribers/{_number(room)}").text
    assert "The edition is held. It waits for approval." in page
    assert '<a href="/room/editions/daily/1">' in page
    assert "prepared on" in editor.get(f"subscribers/{_number(room)}", story="one").text
    assert "There is no story of this name" in editor.get(f"subscribers/{_number(room)}", story="nothing").text
    answer = editor.get(f"subscribers/{_number(room)}", story="a well").text
    assert "Daily 1: prepared on Mon, 2 March 2026, 07:00, but the edition is held" in answer, "by words of the title"


def test_a_name_topics_and_a_note_are_kept(room: RoomSite) -> None:
    editor, number = room.browser("editor"), _number(room)
    fields = {
        "do": "save",
        "name": "Anna A.",
        "note": "Phoned on Monday:\nonly\0 water.",
        "topic.digest": ["", "water"],
    }
    page = editor.post(f"subscribers/{number}", **fields).text
    assert "only water." in page and "Anna A." in page
    with room.newsroom.runtime.store.read() as connection:
        (row,) = subscribers.subscriptions(connection, address="anna@example.org")
        copy = export_subscriber(connection, number)
    assert row.topics == ("water",) and row.name == "Anna A."
    assert copy["note"] == "Phoned on Monday:\nonly water.", "they may ask for it"
    editor.post(f"subscribers/{number}", do="save", language="ru")
    assert "only water." in editor.get(f"subscribers/{number}").text, "a form without the field leaves it alone"


def test_an_addition_names_the_consent_or_asks_for_it(room: RoomSite) -> None:
    editor = room.browser("editor")
    chosen = {"add_list": "digest", "add_language": "kk"}
    page = editor.post("subscribers/add", email="dana@example.org", how="at the forum", **chosen).text
    assert "Added." in page and "at the forum" in page
    assert _state(room, "dana@example.org")["digest"][0] == "confirmed"
    assert "asked by mail" in editor.post("subscribers/add", email="eli@example.org", how="", **chosen).text
    room.newsroom.runtime.answer_requests()
    room.newsroom.runtime.deliver()
    assert len(room.newsroom.mails("eli@example.org")) == 1
    again = editor.post("subscribers/add", email="dana@example.org", how="again", **chosen)
    assert again.status_code == 409 and "on this list already" in again.text
    assert editor.post("subscribers/add", email="nobody", how="x", **chosen).status_code == 422
    odd = editor.post("subscribers/add", email="anna\u200b@example.org", how="x", **chosen)
    assert odd.status_code == 422 and "U+200B ZERO WIDTH SPACE" in odd.text
    assert editor.post("subscribers/add", email="a@example.org", how="x", add_list="no").status_code == 422


def test_choices_change_and_a_list_is_left_for_good(room: RoomSite) -> None:
    editor, number = room.browser("editor"), _number(room)
    assert editor.post(f"subscribers/{number}", do="save", language="ru").status_code == 200
    assert _state(room, "anna@example.org")["digest"][2] == "ru"
    assert "Removed." in editor.post(f"subscribers/{number}", do="remove.digest").text
    assert _state(room, "anna@example.org")["digest"][0] == "unsubscribed"
    chosen = {"add_list": "digest", "add_language": "en", "how": "by phone"}
    back = editor.post("subscribers/add", email="anna@example.org", **chosen)
    assert back.status_code == 409 and "Only they can come back" in back.text
    assert "It has sent them nothing since." in editor.get(f"subscribers/{number}").text


def test_an_admin_erases_a_person_after_typing_the_address(room: RoomSite) -> None:
    number, admin = _number(room), room.browser("admin")
    assert (
        room.browser("editor").post(f"subscribers/{number}", do="erase", confirm="anna@example.org").status_code == 403
    )
    assert admin.post(f"subscribers/{number}", do="erase", confirm="anna").status_code == 422
    assert admin.post(f"subscribers/{number}", do="erase", confirm="Anna@example.org").status_code == 200
    assert admin.get(f"subscribers/{number}").status_code == 404
    assert [entry.about for entry in room.log()] == [f"subscriber {number}"], "the log names no address"


def test_an_editor_of_one_list_sees_its_people_only(room: RoomSite) -> None:
    editor = room.browser("editor", ("press",), "press-editor@example.org")
    assert "anna@example.org" not in editor.get("subscribers").text
    assert "anna@example.org" not in editor.get("subscribers", list="digest").text
    assert editor.get(f"subscribers/{_number(room)}").status_code == 404
    assert editor.post(f"subscribers/{_number(room)}", do="remove.digest").status_code == 404
    added = editor.post("subscribers/add", email="x@example.org", how="y", add_list="digest", add_language="en")
    assert added.status_code == 422


def test_a_table_is_tried_then_imported_without_those_who_left(room: RoomSite) -> None:
    editor = room.browser("editor")
    editor.post(f"subscribers/{_number(room)}", do="remove.digest")
    table = "email,name,language\r\ndana@example.org,Dana,kk\r\nanna@example.org,Anna,en\r\nnot an address,X,en\r\n"
    fields = {"list": "digest", "source": "the forum", "agreed": "yes", "table": table}
    tried = editor.post("subscribers/import", do="check", **fields).text
    assert "Nothing is changed yet" in tried and "added: 1" in tried and "left before, not added again: 1" in tried
    assert "Line 4" in tried and _state(room, "dana@example.org") == {}
    done = editor.post("subscribers/import", do="import", **fields).text
    assert "Imported" in done and _state(room, "dana@example.org")["digest"][0] == "confirmed"
    assert _state(room, "anna@example.org")["digest"][0] == "unsubscribed"
    assert editor.post("subscribers/import", do="import", **fields | {"source": ""}).status_code == 422
    exported = editor.post("subscribers/export", list="digest")
    assert exported.headers["content-disposition"] == 'attachment; filename="digest.csv"'
    assert "dana@example.org" in exported.text and "anna@example.org" not in exported.text
    assert [entry.action for entry in room.log()][:2] == ["subscriber.exported", "subscriber.imported"]
    other = room.browser("editor", ("press",), "press-editor@example.org")
    assert other.post("subscribers/export", list="digest").status_code == 404
    assert other.post("subscribers/import", do="import", **fields).status_code == 422


def test_a_csv_file_is_tried_then_imported_from_the_form(room: RoomSite) -> None:
    editor = room.browser("editor")
    fields = {"csrf": csrf_token(editor.cookie), "list": "digest", "source": "the forum", "agreed": "yes"}

    def send(data: bytes, **more: str) -> httpx.Response:
        files = {"file": ("people.csv", data, "text/csv")}
        return editor.client.post("room/subscribers/import", data=fields | more, files=files)

    tried = send("\ufeffemail,name\r\ndana@example.org,Дана\r\nno address,X\r\n".encode(), do="check").text
    assert "added: 1" in tried and "Line 3" in tried and _state(room, "dana@example.org") == {}
    table = html.unescape(tried.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0])
    assert "dana@example.org,Дана" in table, "the second step needs no file again"
    done = editor.client.post("room/subscribers/import", data=fields | {"do": "import", "table": table})
    assert "Imported" in done.text and _state(room, "dana@example.org")["digest"][0] == "confirmed"
    old = send("email,name\nx@example.org,Дана\n".encode("cp1251"), do="check")
    assert old.status_code == 422 and "not UTF-8" in old.text
    assert send(b"", do="check").status_code == 422


def test_a_large_table_is_kept_for_the_second_step(room: RoomSite) -> None:
    editor, other = room.browser("editor"), room.browser("editor", email="other@example.org")
    fields = {"list": "digest", "source": "the forum", "agreed": "yes"}
    people = "".join(f"person{number}@example.org,Name {number}\n" for number in range(1_000))
    tried = editor.post("subscribers/import", do="check", table="email,name\n" + people + "odd\n" * 300, **fields).text
    assert len(tried) < 30_000 and "person999@" not in tried and "added: 1,000" in tried
    assert "Line 1002" in tried and "And 200 more lines" in tried
    (kept,) = re.findall(r'name="kept" value="([^"]+)"', tried)
    stolen = other.post("subscribers/import", do="import", kept=kept, **fields)
    assert stolen.status_code == 422 and "no longer stored" in stolen.text
    without_source = editor.post("subscribers/import", do="import", kept=kept, list="digest", source="")
    assert without_source.status_code == 422
    (kept,) = re.findall(r'name="kept" value="([^"]+)"', without_source.text)
    done = editor.post("subscribers/import", do="import", kept=kept, table="", **fields).text
    assert "Imported" in done and _state(room, "person999@example.org")["digest"][0] == "confirmed"
    assert editor.post("subscribers/import", do="import", kept=kept, **fields).status_code == 422, "it is dropped"


def test_a_kept_table_is_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    stash, clock = PreviewStash(), [0.0]
    monkeypatch.setattr("tidings.web.room.visit.time.monotonic", lambda: clock[0])
    kept = stash.keep(1, {"table": b"email"})
    assert stash.find(1, kept, "table") == b"email" and stash.find(2, kept, "table") is None
    stash.drop(2, kept)
    clock[0] = 3_601.0
    assert stash.find(1, kept, "table") is None
    stash.keep(1, {})
    assert list(stash._kept) != [kept] and len(stash._kept) == 1


def test_the_calendar_shows_editions_slots_and_coming_stories(room: RoomSite) -> None:
    room.newsroom.item("soon", title="Out on Friday", published="2026-03-06T10:00")
    room.newsroom.tick(BEFORE + HOUR / 2)
    viewer = room.browser("viewer")
    page = viewer.get("calendar").text
    assert "March 2026" in page and "editions/daily/1" in page and "Out on Friday" in page
    assert page.count("<bdi>Daily</bdi>") == 29, "a slot for each day after the edition of Monday"
    assert "April 2026" in viewer.get("calendar", month="2026-04").text
    assert "March 2026" in viewer.get("calendar", month="nonsense").text
