"""Today shows waiting work, an edition its recipients and the buttons for a decision, and the log who did it."""

from __future__ import annotations

import math
import re

import pytest
from PIL import Image

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY
from tests.web.room.conftest import BEFORE, Browser, RoomSite
from tidings.model.delivery import DeliveryState
from tidings.model.edition import EditionState, HoldReason
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.team import decisions
from tidings.store.delivery import ledger
from tidings.store.people import team
from tidings.web.room import edition_screen
from tidings.web.room.edition_screen import delivery_states, edition_states
from tidings.web.room.today import hold_texts


def _frozen(page: str) -> str:
    return page.partition('name="frozen" value="')[2][:32]


def test_today_shows_waiting_work(room: RoomSite) -> None:
    page = room.browser("editor").get("").text
    assert "Waits for a decision" in page and "It waits for approval." in page
    assert "waits for you" not in page
    assert "waits for you" in room.browser("editor", email="boss@example.org").get("").text


def test_every_reason_of_a_hold_and_every_state_has_words() -> None:
    words = RoomWords("en", "UTC")
    assert hold_texts(words).keys() == set(HoldReason)
    assert edition_states(words).keys() == set(EditionState)
    assert delivery_states(words).keys() == set(DeliveryState)


def test_a_pause_is_made_and_ended_by_buttons(room: RoomSite) -> None:
    editor = room.browser("editor")
    assert "The schedule daily is paused" in editor.post("pause", scope="schedule", name="daily").text
    assert "Resumed." in editor.post("resume", scope="schedule", name="daily").text
    assert [(entry.action, entry.who, entry.via) for entry in room.log()] == [
        ("pause.ended", "editor@example.org", "room"),
        ("pause.begun", "editor@example.org", "room"),
    ]


def test_all_sending_is_paused_until_a_chosen_time(room: RoomSite) -> None:
    """For a holiday week the room had only a button for each schedule, without an end."""
    editor = room.browser("editor")
    assert "Pause all sending" in editor.get("").text and "Pause all sending" not in room.browser("writer").get("").text
    assert editor.post("pause", scope="all", name="", until="2026-03-01T09:00").status_code == 422
    page = editor.post("pause", scope="all", name="", until="2026-03-09T09:00", reason="Nauryz").text
    assert "Everything is paused" in page and "Until Mon, 9 March 2026, 09:00." in page and "Nauryz" in page
    assert "Pause all sending" not in page
    room.newsroom.schedule("late", "cadence: {weekly: thu 09:00}\ndeliver: [{list: digest, frequency: all}]\n")
    room.newsroom.tick(BEFORE + HOUR)
    room.newsroom.item("later", title="Later")
    room.newsroom.tick(MONDAY + 5 * DAY)
    assert room.newsroom.editions() == ["daily/1 held"]
    room.newsroom.tick(MONDAY + 7 * DAY + HOUR)
    assert any(name.startswith("late/1") for name in room.newsroom.editions())


def test_markup_in_a_title_stays_text(room: RoomSite) -> None:
    admin, member = room.browser("admin"), room.member("admin")
    with room.newsroom.runtime.store.write() as connection:
        team.change_member(connection, member, name="<img src=x onerror=alert(1)>")
    for path in ("", "editions/daily/1", "team", "team/1", "log", "account"):
        text = admin.get(path).text
        assert "<script>" not in text and "<img src=x" not in text, path


def test_an_edition_shows_recipients_stories_and_each_mail(room: RoomSite) -> None:
    viewer = room.browser("viewer")
    page = viewer.get("editions/daily/1").text
    assert "2 recipients" in page and "A &lt;script&gt;alert(1)&lt;/script&gt; &amp; a well" in page
    assert "Колодец и дорога" in page
    assert "Release it" not in page, "a viewer changes nothing"
    mail = viewer.get("editions/daily/1/mails/0")
    assert mail.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert viewer.get("editions/daily/1/mails/99").status_code == 404
    assert viewer.get("editions/daily/99").status_code == viewer.get("editions/none/1").status_code == 404


def test_release_before_its_time_needs_no_number(room: RoomSite) -> None:
    editor = room.browser("editor")
    page = editor.get("editions/daily/1").text
    answer = editor.post("editions/daily/1", do="release", frozen=_frozen(page))
    assert "Released." in answer.text
    assert room.newsroom.editions() == ["daily/1 sending"]
    room.newsroom.tick(MONDAY)
    assert len(room.newsroom.mails("anna@example.org")) == 1
    assert [(entry.action, entry.about) for entry in room.log()] == [("edition.released", "daily/1")]


def test_many_open_pages_follow_a_send_for_one_count(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the edition stays open in many tabs. Each asked for the whole page again, every three seconds."""
    newsroom, counts = room.newsroom, []
    count = ledger.count_by_state
    monkeypatch.setattr(ledger, "count_by_state", lambda *args, **values: counts.append(1) or count(*args, **values))
    monkeypatch.setattr(edition_screen, "_SHARED_SECONDS", math.inf)
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "ann")
    viewers = [room.browser(role) for role in ("viewer", "editor", "writer")]
    parts = [viewer.get("editions/daily/1/progress").text for viewer in viewers * 5]
    assert len(counts) == 1
    for part in parts:
        assert part.startswith('<div id="progress" data-refresh="/room/editions/daily/1/progress">')
        assert "0 of 2" in part and "<html" not in part
        assert part.strip() in viewers[0].get("editions/daily/1").text


def test_release_at_once_needs_the_number_typed(room: RoomSite) -> None:
    editor = room.browser("editor")
    room.newsroom.runtime.set_clock(MONDAY)
    frozen = _frozen(editor.get("editions/daily/1").text)
    for total in ("", "3"):
        assert editor.post("editions/daily/1", do="release", frozen=frozen, total=total).status_code == 422
    assert room.newsroom.editions() == ["daily/1 held"]
    assert editor.post("editions/daily/1", do="release", frozen=frozen, total="2").status_code == 200
    assert room.newsroom.editions() == ["daily/1 sending"]


def test_a_page_that_is_out_of_date_decides_nothing(room: RoomSite) -> None:
    editor, other = room.browser("editor"), room.browser("admin")
    frozen = _frozen(editor.get("editions/daily/1").text)
    assert "Built again" in other.post("editions/daily/1", do="recompose", frozen=frozen).text
    answer = editor.post("editions/daily/1", do="release", frozen=frozen)
    assert answer.status_code == 409 and "changed in the meantime" in answer.text
    assert other.post("editions/daily/1", do="cancel", frozen="").status_code == 200
    assert room.newsroom.editions() == ["daily/1 cancelled"]
    assert editor.post("editions/daily/1", do="cancel", frozen="").status_code == 409


def test_no_button_builds_an_edition_while_the_service_does(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads of one process froze the same edition: one mistook the other for a crash."""
    monkeypatch.setattr(decisions, "_PATIENCE", 0.01)
    editor = room.browser("editor")
    frozen = _frozen(editor.get("editions/daily/1").text)
    with room.newsroom.runtime.composing:
        answer = editor.post("editions/daily/1", do="recompose", frozen=frozen)
    assert answer.status_code == 409 and "being built now" in answer.text
    assert room.newsroom.editions() == ["daily/1 held"]


def test_an_editor_changes_the_subject_and_drops_a_story(room: RoomSite) -> None:
    room.newsroom.item("two", title="Second")
    editor = room.browser("editor")
    frozen = _frozen(editor.get("editions/daily/1").text)
    editor.post("editions/daily/1", do="recompose", frozen=frozen)
    page = editor.get("editions/daily/1").text
    fields = {"frozen": _frozen(page), "lead": "two", "subject.ru": "Другая тема", "note.en": "Read this"}
    after = editor.post("editions/daily/1/change", **fields)
    assert "Changed. Check it again." in after.text and "Другая тема" in after.text
    assert room.newsroom.edition("daily/1").stories[0] == "two"
    again = editor.post("editions/daily/1/change", **{**fields, "frozen": _frozen(after.text), "drop": "one"})
    assert again.status_code == 200
    assert room.newsroom.edition("daily/1").stories == ("two",)
    assert editor.post("editions/daily/1/change", **fields).status_code == 409
    assert {entry.action for entry in room.log()} == {"edition.changed", "edition.recomposed"}


def _with_two_stories(room: RoomSite) -> Browser:
    room.newsroom.item("two", title="Second")
    room.newsroom.item("three", title="Third")
    editor = room.browser("editor")
    editor.post("editions/daily/1", do="recompose", frozen=_frozen(editor.get("editions/daily/1").text))
    return editor


def test_stories_are_ordered_by_buttons_and_saved_once(room: RoomSite) -> None:
    editor = _with_two_stories(room)
    page = editor.get("editions/daily/1").text
    before = room.newsroom.edition("daily/1").stories
    order = re.findall(r'name="order" value="(\w+)"', page)
    assert tuple(order) == before
    fields = {"frozen": _frozen(page), "order": order, "subject.en": "Mine", "drop": order[1]}
    shown = editor.post("editions/daily/1/change", move=f"up:{order[2]}", **fields).text
    moved = re.findall(r'name="order" value="(\w+)"', shown)
    assert moved == [order[0], order[2], order[1]]
    assert "data-unsaved-note>Not saved yet." in shown and 'value="Mine"' in shown
    assert f'value="{order[1]}" checked' in shown
    assert room.newsroom.edition("daily/1").stories == before, "a move alone freezes nothing"
    shown = editor.post("editions/daily/1/change", move=f"first:{order[2]}", **fields | {"order": moved}).text
    moved = re.findall(r'name="order" value="(\w+)"', shown)
    assert "Changed." in editor.post("editions/daily/1/change", do="save", **fields | {"order": moved}).text
    assert room.newsroom.edition("daily/1").stories == (order[2], order[0])
    history = room.newsroom.edition("daily/1")
    assert history.state is EditionState.HELD


def test_an_edition_is_taken_back_and_sent_at_another_time(room: RoomSite) -> None:
    editor, edition = room.browser("editor"), "editions/daily/1"

    def decide(do: str, **fields: str) -> str:
        return editor.post(edition, do=do, frozen=_frozen(editor.get(edition).text), **fields).text

    assert "Released." in decide("release")
    assert "Send it at another time" not in editor.get(edition).text
    assert "Taken back. It waits for a decision again." in decide("take_back")
    room.newsroom.tick(MONDAY)
    assert room.newsroom.editions() == ["daily/1 held"] and not room.newsroom.mails("anna@example.org")
    room.newsroom.runtime.set_clock(BEFORE)
    refusals = {
        "": "Write day and time",
        "2026-03-01T09:00": "This time has passed",
        "2026-03-03T07:00": "The next edition of this schedule is built on Tue, 3 March 2026, 06:00 (Asia/Almaty)",
    }
    for starts, why in refusals.items():
        page = decide("postpone", starts=starts)
        assert why in page and "<details open>\n<summary>Send it at another time" in page, starts
    assert "It is sent at the other time" in decide("postpone", starts="2026-03-02T17:30")
    assert "moved to Mon, 2 March 2026, 17:30" in editor.get(edition).text
    assert room.newsroom.edition("daily/1").starts == MONDAY + 8.5 * HOUR
    assert [hold.reason.value for hold in room.newsroom.edition("daily/1").holds] == ["approval"]
    assert "Released." in decide("release")
    for later, mails in ((8, 0), (9, 1)):
        room.newsroom.tick(MONDAY + later * HOUR)
        assert len(room.newsroom.mails("anna@example.org")) == mails
    assert "Take it back" not in editor.get(edition).text
    actions = [entry.action for entry in reversed(room.log())]
    assert actions == ["edition.released", "edition.taken_back", "edition.postponed", "edition.released"]


def test_a_failed_check_leads_to_the_story_at_fault(room: RoomSite) -> None:
    editor, folder = room.browser("editor"), room.newsroom.folder
    (folder.root / "content" / "media").mkdir(exist_ok=True)
    Image.new("RGB", (90, 50), (40, 110, 150)).save(folder.root / "content" / "media" / "bridge.jpg")
    folder.write("content/bridge.en.md", "---\ntitle: A bridge\nimages: [{src: media/bridge.jpg}]\n---\nIt is open.\n")
    room.newsroom.tick(BEFORE + HOUR / 4)
    frozen = _frozen(editor.get("editions/daily/1").text)
    page = editor.post("editions/daily/1", do="recompose", frozen=frozen).text
    assert "has no alt text" in page
    assert 'stories/edit?file=content/bridge.en.md">Mend the story: <bdi>A bridge</bdi></a>' in page
    assert 'stories/bridge">Mend the story' in room.browser("viewer").get("editions/daily/1").text


TWO = DAILY + "approval: {by: [Boss@example.org, deputy@example.org], ahead: 3h, needed: 2}\n"


def test_two_people_approve_in_the_room_and_each_counts_once(room: RoomSite) -> None:
    """The room released an edition that two people had to approve, after the first approval."""
    room.newsroom.schedule("daily", TWO)
    editor = room.browser("editor")
    frozen = _frozen(editor.get("editions/daily/1").text)
    refused = editor.post("editions/daily/1", do="release", frozen=frozen)
    assert refused.status_code == 409 and "approval of several people" in refused.text
    boss = room.browser("editor", email="boss@example.org")
    assert "Approved. It is sent once" in boss.post("editions/daily/1/approve", do="approve", frozen=frozen).text
    again = boss.post("editions/daily/1", do="release", frozen=frozen)
    assert again.status_code == 200 and "So far: Boss@example.org" in again.text
    assert room.newsroom.editions() == ["daily/1 held"]
    deputy = room.browser("viewer", email="deputy@example.org")
    assert "Released." in deputy.post("editions/daily/1/approve", do="approve", frozen=frozen).text
    assert room.newsroom.editions() == ["daily/1 sending"]
    assert [entry.action for entry in room.log()] == ["edition.released", "edition.approved", "edition.approved"]


def test_an_approver_sends_an_edition_back_with_a_comment(room: RoomSite) -> None:
    boss, editor = room.browser("viewer", email="boss@example.org"), room.browser("editor")
    frozen = _frozen(boss.get("editions/daily/1").text)
    assert editor.post("editions/daily/1/approve", do="send_back", frozen=frozen, comment="x").status_code == 403
    assert boss.post("editions/daily/1/approve", do="send_back", frozen=frozen, comment=" ").status_code == 422
    page = boss.post("editions/daily/1/approve", do="send_back", frozen=frozen, comment="The lead is wrong.").text
    assert "Sent back." in page and "boss@example.org sent it back: The lead is wrong." in page
    assert 'value="approve"' not in page
    assert editor.post("editions/daily/1", do="release", frozen=frozen).status_code == 409
    room.newsroom.tick(BEFORE)
    notice = "boss@example.org sent edition daily/1 back: The lead is wrong."
    assert any(notice in text for text in room.newsroom.notices())
    fields = {"frozen": frozen, "subject.en": "Better"}
    assert "Changed." in editor.post("editions/daily/1/change", **fields).text
    frozen = _frozen(boss.get("editions/daily/1").text)
    assert "Released." in boss.post("editions/daily/1/approve", do="approve", frozen=frozen).text


def test_a_comment_is_shown_on_the_edition(room: RoomSite) -> None:
    writer = room.browser("writer")
    page = writer.post("editions/daily/1/comment", comment="<b>Too</b> long?").text
    assert "&lt;b&gt;Too&lt;/b&gt; long?" in page and "writer@example.org" in page
    assert "Nothing was changed." in writer.post("editions/daily/1/comment", comment=" ").text
    assert room.browser("viewer").post("editions/daily/1/comment", comment="x").status_code == 403
    assert [entry.action for entry in room.log()] == ["edition.commented"]


def test_a_test_goes_to_the_member_alone(room: RoomSite) -> None:
    writer = room.browser("writer")
    assert "A test is on its way" in writer.post("editions/daily/1/test").text
    room.newsroom.runtime.deliver()
    assert len(room.newsroom.mails("writer@example.org")) == 2
    assert room.newsroom.mails("anna@example.org") == []
    assert room.newsroom.editions() == ["daily/1 held"]


def test_the_room_speaks_the_members_language(room: RoomSite) -> None:
    editor = room.browser("editor")
    for language in ("ru", "kk", "ar"):
        editor.post("language", language=language)
        page = editor.get("").text
        assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page
        assert "Waits for a decision" not in page


def test_the_log_comes_in_pages_and_by_person(room: RoomSite) -> None:
    with room.newsroom.runtime.store.write() as connection:
        for number in range(60):
            who = "ann@example.org" if number % 2 else "ben@example.org"
            team.record_action(connection, "story.saved", f"s{number}", who=who, via="command", now=room.newsroom.now)
    editor = room.browser("editor")
    page = editor.get("log").text
    assert "s59" in page and "s10<" in page and "s9<" not in page
    assert "s9<" in editor.get("log", before="11").text
    assert "s58<" not in editor.get("log", who="ann@example.org").text
    assert "s58<" not in editor.get("log", kind="team").text
