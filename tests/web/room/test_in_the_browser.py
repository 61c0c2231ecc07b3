"""One task from the one-time link to the decision, in a real browser, by keyboard alone, with scripts off.

`TIDINGS_PICTURES=FOLDER` saves pictures of each screen, narrow and wide, light and dark, for a person to look at.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyotp
import pytest

from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import PASSWORD, RoomSite
from tidings.runtime.team import sign_in
from tidings.store.service.clock import real_now

SCREENS = (
    *("", "calendar", "stories", "stories/one", "stories/edit?file=content/one.en.md", "stories/new", "subscribers"),
    *(
        "subscribers/1",
        "channels",
        "results",
        "settings",
        "settings/edit?file=schedules/daily.yaml",
        "team",
        "log",
        "api",
    ),
    *("account", "editions/daily/1"),
)

_SMALL = """[...document.querySelectorAll("main a, main button, main summary")].filter(one => {
  const box = one.getBoundingClientRect();
  const words = [...one.parentElement.childNodes].filter(part => part.nodeType === 3).map(part => part.data).join("");
  const isInSentence = one.parentElement.matches("p, li:not(.entry)") && /\\p{L}/u.test(words);
  const isShown = one.getClientRects().length && !one.classList.contains("unseen");
  return isShown && !isInSentence && Math.min(box.width, box.height) < 24;
}).map(one => one.outerHTML)"""
"""Elements that are too small for a finger (WCAG 2.5.8), except links in a sentence."""


def _sees(tab: Tab, folder: Path, name: str, language: str) -> None:
    """Check a screen narrow and wide, light and dark."""
    assert tab.look("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")
    for width in (360, 1280):
        for scheme in ("light", "dark"):
            tab.screen(width, scheme=scheme)
            where = f"room-{name}-{language}-{width}-{scheme}"
            assert tab.overflow() <= 0, where
            assert tab.axe() == [], where
            assert width > 360 or tab.look(_SMALL) == [], where
            tab.picture(folder / f"{where}.png")


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "ar"])
def test_an_editor_joins_and_decides_by_keyboard_alone(room: RoomSite, tmp_path: Path, language: str) -> None:
    folder = Path(os.environ.get("TIDINGS_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    member = room.member("admin")
    with room.newsroom.runtime.store.write() as connection:
        link = sign_in.make_link(connection, member, real_now())
    with chromium(tmp_path / "profile", language) as tab:
        tab.open(f"{room.url}room/join/{link}")
        _sees(tab, folder, "join", language)
        secret = tab.look("document.querySelector('[name=secret]').value")
        tab.tab_to(name="password")
        tab.write(PASSWORD)
        tab.tab_to(name="code")
        tab.write(pyotp.TOTP(secret).at(real_now()))
        tab.key("Enter", leads_on=True)
        tab.tab_to(tag="a", href="/room/editions/daily/1")
        tab.key("Enter", leads_on=True)
        tab.tab_to(tag="button", value="release")
        tab.key("Enter", leads_on=True)
        assert tab.look("document.querySelector('[role=status]').innerText")
        assert room.newsroom.editions() == ["daily/1 sending"]
        for screen in SCREENS:
            tab.open(f"{room.url}room/{screen}")
            _sees(tab, folder, screen.partition("?")[0].replace("/", "-") or "today", language)
        tab.open(f"{room.url}room/account")
        tab.tab_to(tag="button")
        tab.key("Enter", leads_on=True)
        assert tab.look("location.pathname") == "/room/sign-in"
