"""The room's script improves pages: dropping, moving, live check, live preview, and a second clock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.newsroom import HOUR, MONDAY
from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import BEFORE, RoomSite, open_room
from tidings.web.room.visit import COOKIE

_ORDER = "[...document.querySelectorAll('[name=order]')].map(one => one.value)"
_NOTE_HIDDEN = "document.querySelector('[data-unsaved-note]').hidden"
_LONGEST = 60
"""Seconds that a busy machine may need for the script's requests."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RoomSite, Tab]]:
    """An admin who is signed in, in a browser with scripts."""
    with open_room(tmp_path / "n") as room, chromium(tmp_path / "profile", "en") as tab:
        for key, value in room.newsroom.folder.env.items():
            monkeypatch.setenv(key, value)
        cookie = room.browser("admin").cookie
        tab.ask("Network.setCookie", name=COOKIE, value=cookie, url=room.url, path="/room/")
        tab.scripts(on=True)
        tab.screen(1280)
        yield room, tab


def _until(tab: Tab, expression: str, wanted: Any = True) -> None:
    """Wait until an expression has a value."""
    end = time.monotonic() + _LONGEST
    while (value := tab.look(expression)) != wanted:
        assert time.monotonic() < end, (expression, value)
        time.sleep(0.1)


def _moves_stories(room: RoomSite, tab: Tab) -> None:
    """Move with the keys of a button, then by dragging. Nothing is saved before a person saves it."""
    room.newsroom.item("two", title="Second")
    room.newsroom.item("three", title="Third")
    tab.open(f"{room.url}room/editions/daily/1")
    tab.lead_on("document.querySelector('button[value=recompose]').click()")
    before = tab.look(_ORDER)
    assert len(before) == 3 and tab.look(_NOTE_HIDDEN)
    tab.tab_to(tag="button", value=f"up:{before[2]}")
    tab.key("Enter")
    assert tab.look(_ORDER) == [before[0], before[2], before[1]] and not tab.look(_NOTE_HIDDEN)
    assert tab.look("document.activeElement.value") == f"up:{before[2]}", "the button keeps the focus"
    tab.key("Enter")
    assert tab.look("document.activeElement.value") == f"down:{before[2]}", "it is the first now, and can only go down"
    tab.look(
        """(() => {
          const rows = [...document.querySelectorAll("[data-sort] > li")], data = new DataTransfer();
          const tell = (row, type, more = {}) =>
            row.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data, ...more }));
          tell(rows[2], "dragstart");
          tell(rows[0], "dragover", { clientY: rows[0].getBoundingClientRect().top + 1 });
          tell(rows[2], "dragend");
        })(); 0"""
    )
    assert tab.look(_ORDER) == [before[1], before[2], before[0]]
    tab.lead_on("document.querySelector('.save-bar button').click()")
    assert list(room.newsroom.edition("daily/1").stories) == [before[1], before[2], before[0]]


def _moves_a_slot(room: RoomSite, tab: Tab) -> None:
    """Dropping an entry on a day opens the same form as its link."""
    tab.open(f"{room.url}room/calendar?view=week&day=2026-03-04")
    tab.lead_on(
        """(() => {
          const link = document.querySelector("a[data-move]"), entry = link.closest("li"), data = new DataTransfer();
          const day = document.querySelector('[data-day="2026-03-06"]');
          const options = { bubbles: true, cancelable: true, dataTransfer: data };
          entry.dispatchEvent(new DragEvent("dragstart", options));
          day.dispatchEvent(new DragEvent("dragover", options));
          day.dispatchEvent(new DragEvent("drop", options));
        })()"""
    )
    assert tab.look("location.pathname") == "/room/calendar/move"
    assert tab.look("new URLSearchParams(location.search).get('day')") == "2026-03-06"


def _writes(room: RoomSite, tab: Tab) -> None:
    """Drop a picture, paste text of Word, and watch the preview follow the text."""
    tab.open(f"{room.url}room/stories/edit?file=content/one.en.md")
    tab.look(
        """(() => {
          const data = new DataTransfer(), form = document.querySelector("form[data-editor]");
          data.items.add(new File(["x"], "bridge.png", { type: "image/png" }));
          form.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
        })(); 0"""
    )
    assert tab.look("document.querySelector('#picture').files[0].name") == "bridge.png"
    assert tab.look("document.activeElement.id") == "alt", "now its words are asked for"
    assert tab.look("document.querySelector('#alt').required")
    tab.open(f"{room.url}room/stories/edit?file=content/one.en.md")
    tab.look(
        """(() => {
          const data = new DataTransfer(), text = document.querySelector("#body");
          data.setData("text/html", "<p>A <b>bold</b> word</p>");
          data.setData("text/plain", "A bold word");
          text.focus();
          text.select();
          text.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data }));
        })(); 0"""
    )
    _until(tab, "document.querySelector('#body').value.trim()", "A **bold** word")
    tab.lead_on("document.querySelector('button[value=preview]').click()")
    frame = "document.querySelector('#preview iframe').getAttribute('src')"
    first = tab.look(frame)
    tab.look("document.querySelector('#title').focus(); document.querySelector('#title').select(); 0")
    tab.write("A live title")
    _until(tab, f"{frame} !== {json.dumps(first)}")
    tab.look(
        """(() => {
          const title = document.querySelector("#title");
          title.value = "";
          title.dispatchEvent(new Event("input", { bubbles: true }));
        })(); 0"""
    )
    _until(tab, "document.querySelector('#problems-now').innerText.includes('there is no title')")
    leave = "window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert tab.look(leave) is False, "the browser asks before words are lost"
    tab.look("document.querySelector('form[data-editor]').dataset.unsaved = 'sent'; 0")
    assert tab.look(leave) is True


def _checks(room: RoomSite, tab: Tab) -> None:
    """At a pause of typing, a change of the settings is checked and its plan is shown."""
    tab.open(f"{room.url}room/settings/schedule?file=schedules/daily.yaml")
    tab.look("document.querySelector('#when').focus(); document.querySelector('#when').select(); 0")
    tab.write('"11:00"')
    _until(tab, "document.querySelector('#checked').innerText.includes('11:00')")
    assert tab.look("document.activeElement.id") == "when", "who types goes on typing"


def _follows_a_send(room: RoomSite, tab: Tab) -> None:
    """The progress of a send is shown while the page stays open, and after it is opened again."""
    newsroom = room.newsroom
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "ann")
    tab.open(f"{room.url}room/editions/daily/1")
    assert tab.look("document.querySelector('progress').value") == 0
    tab.open("about:blank")
    tab.open(f"{room.url}room/editions/daily/1")
    assert tab.look("document.querySelector('progress').max") == 2
    newsroom.tick(MONDAY + HOUR)
    _until(tab, "document.querySelector('progress') === null")
    assert "accepted: 2" in tab.look("document.querySelector('#progress').innerText")


@pytest.mark.slow
def test_the_script_makes_the_room_nicer(site: tuple[RoomSite, Tab]) -> None:
    room, tab = site
    _moves_stories(room, tab)
    _moves_a_slot(room, tab)
    _writes(room, tab)
    _checks(room, tab)
    _follows_a_send(room, tab)
    assert room.newsroom.now > BEFORE
    tab.open(f"{room.url}room/team/{room.member('writer')}")
    tab.lead_on("document.querySelector('button[value=link]').click()")
    assert not tab.look("document.querySelector('[data-copy]').hidden")
    for zone, is_same in (("Asia/Almaty", True), ("America/New_York", False)):
        tab.ask("Emulation.setTimezoneOverride", timezoneId=zone)
        tab.open(f"{room.url}room/calendar")
        assert tab.look("document.querySelector('[data-zone]').hidden") is is_same
