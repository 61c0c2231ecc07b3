"""A comms officer's week in the room, as one story: by keyboard or by touch, with scripts on or off.

`TIDINGS_PICTURES=FOLDER` saves pictures of each stage, for a person to look at.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.newsroom import HOUR, MONDAY
from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import BEFORE, RoomSite
from tidings.web.room.visit import COOKIE

_LONGEST = 60
"""Seconds that a busy machine may need."""


def _make_list(count: int) -> str:
    """A list of people with wrong lines."""
    rows = [f"r{number}@example.org,R {number},{('en', 'ru')[number % 2]},,daily" for number in range(count)]
    odd = ["no address here", "r1@example.org,Twice,en,,daily", ";;;", "R9@EXAMPLE.ORG,Same,kk,,weekly"]
    return "\n".join(["email,name,language,topics,frequency", *rows, *odd, ""])


@dataclass
class Week:
    """The newsroom, and the browser of the member who works now."""

    room: RoomSite
    tab: Tab
    folder: Path | None
    language: str
    is_touch: bool
    has_scripts: bool
    stage: int = 0

    def work_as(self, role: str) -> None:
        """Sign a member in."""
        cookie = self.room.browser(role).cookie
        self.tab.ask("Network.setCookie", name=COOKIE, value=cookie, url=self.room.url, path="/room/")

    def open(self, path: str) -> None:
        self.tab.open(f"{self.room.url}room/{path}")

    def press(self, tag: str, *, leads_on: bool = True, **wanted: str) -> None:
        """Tap a button or link, or reach it with Tab and press Enter."""
        if self.is_touch:
            end = "".join(f"[{key}{'$' if key == 'href' else ''}={json.dumps(value)}]" for key, value in wanted.items())
            self.tab.tap(f"main {tag}{end}:not(.unseen)", leads_on=leads_on)
        else:
            self.tab.tab_to(tag=tag, **wanted)
            self.tab.key("Enter", leads_on=leads_on)

    def fill(self, name: str, text: str) -> None:
        """Tap a field, or reach it with Tab, and type in place of what is there."""
        self.go_to(name)
        self.tab.look("document.activeElement.select(); 0")
        self.tab.write(text)

    def go_to(self, name: str) -> None:
        """Put the focus on a field."""
        if self.is_touch:
            self.tab.tap(f"main [name={json.dumps(name)}]")
            self.until(f"document.activeElement.name === {json.dumps(name)}")
        else:
            self.tab.tab_to(name=name)

    def until(self, expression: str) -> None:
        """Wait for the effect of a tap or a script."""
        end = time.monotonic() + _LONGEST
        while not self.tab.look(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.05)

    def choose(self, name: str, value: str) -> None:
        """Choose one of several, by its label or with arrow keys."""
        if self.is_touch:
            choice = f"[name={json.dumps(name)}][value={json.dumps(value)}]"
            self.tab.tap(f"label:has(> {choice})")
            self.until(f"document.querySelector({json.dumps(choice)}).checked")
        else:
            self.tab.choose(name, value)

    def use(self) -> None:
        """Use the screen and the input of this week."""
        self.tab.screen(*(360, 740) if self.is_touch else (1280, 900))
        self.tab.ask("Emulation.setTouchEmulationEnabled", enabled=self.is_touch)
        self.tab.scripts(self.has_scripts)

    def said(self) -> str:
        """Return the message of the page after a button. Fails if it is an error."""
        assert self.tab.look("document.querySelectorAll('[role=alert]').length") == 0, self.tab.words
        return str(self.tab.look("(document.querySelector('[role=status]') || {}).innerText || ''"))

    def see(self, name: str) -> None:
        """Check the page on a phone and on a computer, and keep pictures."""
        self.stage += 1
        for width, scheme in ((360, "light"), (1280, "dark")):
            self.tab.screen(width, scheme=scheme)
            hand = f"{'touch' if self.is_touch else 'keys'}{'-scripts' if self.has_scripts else ''}"
            where = f"week-{self.stage:02}-{name}-{self.language}-{hand}-{width}-{scheme}"
            assert self.tab.overflow() <= 0, where
            assert self.tab.axe() == [], where
            self.keep(where)
        self.use()

    def keep(self, name: str) -> None:
        """Keep a picture of the page, if somebody asked for pictures."""
        if self.folder is not None:
            self.tab.picture(self.folder / f"{name}.png")


def _write_story(week: Week, picture: Path) -> None:
    """A writer writes a story in two languages, with a picture."""
    week.work_as("writer")
    week.open("stories/new")
    week.fill("title", "A bridge opens")
    week.tab.key("Enter", leads_on=True)
    week.fill("body", "The bridge is open.")
    if not week.is_touch:
        week.go_to("picture")
    # The dialog that opens here belongs to the system.
    week.tab.choose_file("#picture", picture)
    week.fill("alt", "A bridge over a river")
    week.press(tag="button", value="picture")
    assert week.said()
    week.see("picture")
    week.press(tag="button", value="save")
    assert week.said()
    week.press(tag="button", value="preview")
    assert week.tab.look("document.querySelectorAll('#preview iframe').length") >= 6
    week.see("preview")
    week.open("stories/edit?file=content/a-bridge-opens.en.md")
    week.press(tag="a", href="stories/new?story=a-bridge-opens&language=ru")
    week.fill("title", "Мост открыт")
    week.tab.key("Enter", leads_on=True)
    week.fill("body", "Мост открыт.")
    week.press(tag="button", value="save")
    assert week.said()
    week.see("translation")


def _make_ready(week: Week) -> None:
    """An editor makes both languages ready, and sees the story in the edition."""
    week.work_as("editor")
    for language in ("en", "ru"):
        week.open(f"stories/edit?file=content/a-bridge-opens.{language}.md")
        week.choose("state", "ready")
        week.press(tag="button", value="save")
        assert week.said()
    week.room.newsroom.tick(BEFORE + HOUR / 4)
    week.open("editions/daily/1")
    week.press(tag="button", value="recompose")
    assert week.said() and "A bridge opens" in week.tab.words.replace("Мост открыт", "A bridge opens")


def _arrange(week: Week) -> None:
    """She moves it to the lead, changes the Russian subject, and sends herself a test."""
    before = week.room.newsroom.edition("daily/1").stories
    last = before[-1] if before[0] == "a-bridge-opens" else "a-bridge-opens"
    for key in dict.fromkeys([last, "a-bridge-opens"]):
        week.press(tag="button", value=f"first:{key}", leads_on=not week.has_scripts)
        week.until(f"document.querySelector('[name=order]').value === {json.dumps(key)}")
    week.see("order")
    week.fill("subject.ru", "Мост: наконец")
    week.tab.key("Enter", leads_on=True)
    assert week.said()
    assert week.room.newsroom.edition("daily/1").stories[0] == "a-bridge-opens"
    week.press(tag="button", value="test")
    assert week.said()
    week.see("edition")
    week.room.newsroom.tick(BEFORE + HOUR / 2)
    assert any("Мост" in mail.text for mail in week.room.newsroom.mails("editor@example.org"))


def _approve_on_a_phone(week: Week) -> None:
    """The boss opens the link of the mail on a phone, without an account, and taps."""
    texts = [mail.text for mail in week.room.newsroom.mails("boss@example.org") if "/review/" in mail.text]
    link = re.search(r"https://news\.example\.org/(review/\S+)", texts[-1])
    assert link is not None
    week.tab.ask("Network.clearBrowserCookies")
    week.tab.screen(360, 740)
    week.tab.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    week.tab.open(week.room.url + link[1])
    assert week.tab.overflow() <= 0
    week.keep(f"week-review-{week.language}")
    week.tab.tap("button[value=release]", leads_on=True)
    week.use()
    assert week.room.newsroom.editions() == ["daily/1 sending"]
    week.room.newsroom.tick(MONDAY)
    assert len(week.room.newsroom.mails("anna@example.org")) == 1
    (mail,) = week.room.newsroom.mails("boris@example.org")
    assert "Мост открыт" in mail.text and mail.message["Subject"] == "Мост: наконец"


def _look_a_reader_up(week: Week) -> None:
    """Find out why Anna got it."""
    week.work_as("editor")
    week.open("subscribers")
    week.fill("text", "anna")
    week.tab.key("Enter", leads_on=True)
    week.press(tag="a", href="/room/subscribers/1")
    assert "anna@example.org" in week.tab.words
    assert week.tab.look("document.querySelectorAll('a[href$=\"editions/daily/1\"]').length") == 1
    week.see("reader")


def _correct(week: Week) -> None:
    """A mistake is corrected everywhere."""
    week.open("stories/edit?file=content/a-bridge-opens.en.md")
    week.fill("correction", "It has 66 lamps, not 60")
    week.press(tag="button", value="save")
    assert week.said()
    week.room.newsroom.tick(MONDAY + HOUR)
    page = week.room.newsroom.folder.root / "public" / "en" / "a-bridge-opens" / "index.html"
    assert "66 lamps, not 60" in page.read_text(encoding="utf-8")
    week.open("stories/a-bridge-opens")
    week.see("story")


def _change_the_schedule(week: Week) -> None:
    """A day is skipped, after looking at the plan."""
    week.work_as("admin")
    week.open("settings/schedule?file=schedules/daily.yaml")
    week.fill("skip_dates", "2026-03-03")
    week.press(tag="button", value="check")
    assert week.said() == "" and week.tab.look("document.querySelectorAll('#checked del').length") > 0
    week.see("schedule")
    week.press(tag="button", value="save")
    assert week.said()
    written = (week.room.newsroom.folder.root / "schedules" / "daily.yaml").read_text(encoding="utf-8")
    assert "skip_dates: [2026-03-03]" in written
    week.open("calendar?view=list&day=2026-03-02")
    week.see("calendar")
    week.press(tag="a", href="slot=2026-03-05T09%3A00")
    assert week.tab.look("document.querySelectorAll('main [name=at]').length") == 1


def _import_people(week: Week) -> None:
    """A list of 5,000 with wrong lines is tried first, then imported."""
    week.work_as("editor")
    week.open("subscribers/import")
    week.fill("source", "A fair")
    week.choose("agreed", "yes")
    week.go_to("table")
    # Pasted in one step: typing it would take two minutes.
    week.tab.look(f"document.activeElement.value = {json.dumps(_make_list(5_000))}; 0")
    week.press(tag="button", value="check")
    week.see("import")
    week.press(tag="button", value="import")
    with week.room.newsroom.runtime.store.read() as connection:
        assert connection.exec_driver_sql("select count(*) from subscribers").scalar_one() == 5_000 + 2
    week.see("imported")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("hand", ["keys", "touch"])
@pytest.mark.parametrize("scripts", ["off", "on"])
def test_a_comms_officers_week(
    room: RoomSite, tmp_path: Path, language: str, hand: str, scripts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    wanted = os.environ.get("TIDINGS_PICTURES")
    folder = Path(wanted) if wanted else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2600, 1400), (40, 110, 150)).save(tmp_path / "bridge.jpg")
    with chromium(tmp_path / "profile", language) as tab:
        week = Week(room, tab, folder, language, hand == "touch", scripts == "on")
        week.use()
        _write_story(week, tmp_path / "bridge.jpg")
        _make_ready(week)
        _arrange(week)
        _approve_on_a_phone(week)
        _look_a_reader_up(week)
        _correct(week)
        _change_the_schedule(week)
        _import_people(week)
