"""From the one-time link to the decision by keyboard alone, with scripts off; and every screen with long names.

`TIDINGS_PICTURES=FOLDER` saves pictures of each screen, narrow and wide, light and dark, for a person to look at.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pyotp
import pytest

from tests.fixtures.newsroom import DAY, HOUR, MONDAY
from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import APPROVED, BEFORE, PASSWORD, RoomSite, screens
from tidings.runtime.team import files, sign_in
from tidings.store.service.clock import real_now
from tidings.web.room.visit import COOKIE

_NO_PAGES = {
    *("room.css", "room.js", "passkey.js", "sign-in", "sign-in/openid", "sign-in/openid/back", "join/{token}"),
    *("editions/{schedule}/{number}/mails/{frame}", "stories/previews/{preview}/{frame}", "stories/thumbnail"),
    "editions/{schedule}/{number}/progress",
}
"""Files, frames, and pages that somebody who is signed in does not see. They are looked at before and in the states."""
_LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"

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


def _use_long_names(room: RoomSite) -> dict[str, str]:
    """Give everything that has a name a long one without spaces. Returns what stands in the addresses then."""
    newsroom, admin = room.newsroom, room.browser("admin")
    newsroom.configure("name: Digest", f"name: {_LONG}")
    newsroom.configure("water: Water", f"water: {_LONG}")
    newsroom.schedule("daily", f"title: {_LONG}\n{APPROVED}")
    newsroom.schedule("posts", f'title: {_LONG}\ncadence: {{daily: "10:00"}}\ndeliver: [{{channel: desk}}]\n')
    newsroom.reader(f"{'x' * 60}", language="ru", topics=["water"])
    newsroom.tick(MONDAY)
    for name in ("one", "two"):
        newsroom.item(name, title=_LONG, summary=_LONG, topics="[water]", place=_LONG)
    newsroom.item(f"{_LONG[:60].lower()}-set-aside", embago=_LONG)
    newsroom.tick(MONDAY + 2 * HOUR)
    newsroom.tick(BEFORE + DAY)
    assert newsroom.edition("daily/2").state == "held"
    admin.post("editions/daily/2/comment", comment=_LONG)
    writer = room.member("writer", email=f"{'w' * 60}@example.org")
    admin.post(f"team/{writer}", do="save", name=_LONG, role="writer")
    admin.post("subscribers/1", do="save", name=_LONG, note=_LONG)
    admin.post("api/keys/add", name="a-long-name" * 5, role="viewer")
    admin.post("pause", scope="schedule", name="press", reason=_LONG)
    root = newsroom.folder.root
    for name in ("content/one.en.md", "schedules/daily.yaml"):
        text = (root / name).read_text(encoding="utf-8")
        opened = files.open_file(root, name).digest
        files.save_file(root, name, f"{text}# {_LONG}\n", opened=opened, who="admin@example.org", now=newsroom.now)
    (post,) = [entry.id for entry in newsroom.entries_of("desk")][:1]
    return {"number": "2", "delivery": str(post)}


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
        tab.open(f"{room.url}room/account")
        tab.tab_to(tag="button")
        tab.key("Enter", leads_on=True)
        assert tab.look("location.pathname") == "/room/sign-in"
        _sees(tab, folder, "sign-in", language)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_screen_has_room_for_long_names(
    room: RoomSite, tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page of the permission table, so that a new one cannot be forgotten."""
    for key, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(key, value)
    folder = Path(os.environ.get("TIDINGS_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    values = _use_long_names(room)
    with chromium(tmp_path / "profile", language) as tab:
        cookie = room.browser("admin").cookie
        tab.ask("Network.setCookie", name=COOKIE, value=cookie, url=room.url, path="/room/")
        for page, path in screens(**values).items():
            if page in _NO_PAGES:
                continue
            if "version=none" in path:
                name = path.partition("file=")[2].partition("&")[0]
                path = path.replace("none", quote(files.list_versions(room.newsroom.folder.root, name)[0].id))
            tab.open(f"{room.url}room/{path}")
            assert tab.look("performance.getEntriesByType('navigation')[0].responseStatus") == 200, path
            _sees(tab, folder, f"long-{page.replace('/', '-') or 'today'}", language)
