"""axe finds nothing in any state of the room: after a mistake, before a save, in doubt, stopped, held, empty.

`TIDINGS_PICTURES=FOLDER` saves a picture of each state, for a person to look at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import delete, update

from tests.fixtures.newsroom import HOUR, MONDAY
from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import PASSWORD, RoomSite, open_room
from tests.web.room.test_channels_and_settings import Editable
from tidings.runtime.team import sign_in
from tidings.store import schema as t
from tidings.store.people import consent, team
from tidings.store.service.clock import real_now
from tidings.web.room.visit import COOKIE

_SUBMIT = """(() => {
  const wanted = %s, button = document.querySelector(%s);
  for (const [name, value] of Object.entries(wanted)) {
    const fields = [...button.form.elements].filter(one => one.name === name);
    const chosen = fields.find(one => one.value === value && ["radio", "checkbox"].includes(one.type));
    if (chosen) chosen.checked = true; else fields[0].value = value;
  }
  button.form.noValidate = true;
  button.click();
})()"""
TABLE = "email,language\nnew@example.org,en\nno address\nnew@example.org,ru\n"


@dataclass
class Looker:
    """Brings pages into a state, and checks each."""

    room: RoomSite
    tab: Tab
    folder: Path
    language: str
    seen: list[str] = field(default_factory=list)

    def work_as(self, role: str, email: str = "") -> None:
        cookie, member = self.room.browser(role, email=email).cookie, self.room.member(role, email=email)
        with self.room.newsroom.runtime.store.write() as connection:
            team.change_member(connection, member, language=self.language)
        self.tab.ask("Network.setCookie", name=COOKIE, value=cookie, url=self.room.url, path="/room/")

    def see(self, name: str, path: str | None = None) -> None:
        """Check this page or another one, narrow and wide: nothing is too wide, and axe finds nothing."""
        if path is not None:
            self.tab.open(f"{self.room.url}room/{path}")
        self.seen.append(name)
        assert "cannot be done now" not in self.tab.words, name
        schemes = ("light", "dark") if self.language == "ar" else ("dark", "light")
        for width, scheme in zip((360, 1280), schemes, strict=True):
            self.tab.screen(width, scheme=scheme)
            where = f"state-{len(self.seen):02}-{name}-{self.language}-{width}-{scheme}"
            assert self.tab.overflow() <= 0, where
            assert self.tab.axe() == [], where
            if "TIDINGS_PICTURES" in os.environ:
                self.tab.picture(self.folder / f"{where}.png")

    def submit(self, state: str, button: str, path: str | None = None, **fields: str) -> None:
        """Fill a form and press its button, then check the answer."""
        if path is not None:
            self.tab.open(f"{self.room.url}room/{path}")
        self.tab.lead_on(_SUBMIT % (json.dumps(fields), json.dumps(button)))
        self.see(state)


@pytest.fixture(params=["en", "ar"])
def looker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looker]:
    folder = Path(os.environ.get("TIDINGS_PICTURES", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    with open_room(tmp_path / "n") as room, chromium(tmp_path / "profile", request.param) as tab:
        for key, value in room.newsroom.folder.env.items():
            monkeypatch.setenv(key, value)
        yield Looker(room, tab, folder, request.param)


def _strangers(look: Looker) -> None:
    """Signing in, and joining by a link."""
    writer = look.room.member("writer")
    with look.room.newsroom.runtime.store.write() as connection:
        link = sign_in.make_link(connection, writer, real_now())
    look.see("sign-in", "sign-in")
    look.submit("sign-in-wrong", "form[action$='sign-in'] button", email="a@example.org", password="x", code="1")
    look.submit("join-wrong", "form[method=post]:not([hidden]) button", f"join/{link}", password="short", code="1")
    look.see("link-used", "join/none")
    look.see("no-openid", "sign-in/openid/back?error=access_denied")
    guess = {"email": "b@example.org", "password": "x", "code": "1"}
    for number in range(sign_in.BY_PAIR + 1):
        look.submit(f"sign-in-guess-{number}", "form[action$='sign-in'] button", "sign-in", **guess)
    assert look.tab.look("performance.getEntriesByType('navigation')[0].responseStatus") == 429


def _editions(look: Looker) -> None:
    """Move, change, comment, send back and cancel a held edition."""
    edition = "editions/daily/1"
    look.room.newsroom.item("two", title="Second")
    look.see("edition-held", edition)
    look.submit("edition-rebuilt", "button[value=recompose]")
    look.submit("edition-moved", "button[name=move]:not([value^='up:one']):not([value^='down:two'])")
    look.submit("edition-changed", ".save-bar button", **{"subject.en": "A better subject", "note.en": "Read this."})
    look.submit("edition-changed-meanwhile", ".save-bar button", edition, frozen="old")
    look.submit("edition-comment", "form[action$=comment] button", edition, comment="The lead is weak.")
    look.submit("edition-tested", "button[value=test]", edition)
    look.submit("form-too-old", "button[value=test]", edition, csrf="x")
    look.submit("text-too-long", ".save-bar button", edition, **{"note.en": "A long note. " * 500})
    look.room.newsroom.runtime.set_clock(MONDAY + HOUR)
    look.submit("edition-sent-without-its-number", "button[value=release]", edition)
    look.room.newsroom.runtime.set_clock(look.room.newsroom.now)
    look.work_as("viewer")
    look.see("edition-seen-only", edition)
    look.work_as("viewer", "boss@example.org")
    look.submit("edition-send-back-without-words", "button[value=send_back]", edition)
    look.submit("edition-sent-back", "button[value=send_back]", comment="Shorter.")
    look.work_as("admin")
    look.room.newsroom.runtime.set_clock(MONDAY + HOUR)
    look.submit("edition-cancelled", "button[value=cancel]", edition)
    look.room.newsroom.runtime.set_clock(look.room.newsroom.now)
    look.see("today-nothing-waits", "")
    look.submit("today-paused", "form[action$=pause] button")


def _stories(look: Looker, picture: Path) -> None:
    """A story with a mistake, its difference, its preview, a picture without alt text, and its withdrawal."""
    story = "stories/edit?file=content/one.en.md"
    look.submit("story-check", "button[value=check]:not(.unseen)", story, title="Another title")
    look.submit("story-preview", "button[value=preview]", story)
    look.submit("story-wrong", "button[value=save]", story, title="")
    assert look.tab.look("document.querySelector('#title').getAttribute('aria-describedby')") == "title-error"
    look.tab.open(f"{look.room.url}room/{story}")
    look.tab.choose_file("#picture", picture)
    look.submit("story-picture-without-words", "button[value=picture]")
    look.submit("story-corrected", "button[value=save]", story, correction="It was ten, not twelve.")
    look.submit("story-changed-meanwhile", "button[value=save]", story, opened="old", title="Mine")
    look.submit("story-withdrawn", "button[value=save]", story, withdrawn="Published in error.")
    look.submit("story-whole-file", "button[value=check]:not(.unseen)", f"{story}&as=text")
    look.submit("story-begun", "form[action$='stories/new'] button", "stories/new", title="A draft")
    look.room.newsroom.folder.write("content/bad.en.md", "---\ntitle: [\n---\nx\n")
    look.room.newsroom.tick(look.room.newsroom.now)
    look.see("stories-set-aside", "stories")
    look.room.newsroom.item("later", title="A story under embargo", embargo="2026-03-06T10:00")
    look.room.newsroom.tick(look.room.newsroom.now)
    look.see("story-waits", "stories/later")
    look.submit("story-moved", "button[value=check]", "calendar/move?story=later&day=2026-03-07")
    look.see("story-version-gone", "stories/version?file=content/one.en.md&version=none")


def _people(look: Looker) -> None:
    """Add with a mistake, import wrong lines, and show a person who gets nothing."""
    look.submit("subscriber-wrong", "form[action$='subscribers/add'] button", "subscribers", email="nobody", how="x")
    imports = {"source": "A fair", "agreed": "yes", "table": TABLE}
    look.submit("import-dry", "button[value=check]", "subscribers/import", **imports)
    look.submit("imported", "button[value=import]")
    look.submit("import-without-table", "button[value=check]", "subscribers/import", source="A fair")
    with look.room.newsroom.runtime.store.write() as connection:
        consent.suppress(connection, consent.address_hash("anna@example.org"), "", "hard", look.room.newsroom.now)
        connection.execute(update(t.subscriptions).values(frequency="yearly"))
    look.see("subscriber-gets-nothing", "subscribers/1?story=one")
    look.submit("subscriber-with-a-note", ".actions button[value=save]", note="Phoned on Monday.", name="Anna")
    look.submit("subscriber-not-erased", "button[value=erase]", "subscribers/1", confirm="somebody else")
    look.see("subscribers-nobody", "subscribers?text=zzz")


def _settings(look: Looker) -> None:
    """A form and a text: the difference, a mistake, another member's change, a former version."""
    form, text = "settings/schedule?file=schedules/daily.yaml", "settings/edit?file=schedules/daily.yaml"
    look.submit("schedule-plan", "button[value=check]", form, when='"11:00"', skip_dates="2026-03-03")
    look.submit("schedule-wrong", "button[value=save]", form, when="someday")
    look.submit("schedule-saved", "button[value=save]", form, skip_dates="2026-03-03")
    look.submit("schedule-changed-meanwhile", "button[value=save]", form, opened="old", when='"12:00"')
    look.submit("settings-wrong", "button[value=save]", text, text="cadence: {daly: 1}\n")
    look.tab.open(f"{look.room.url}room/{text}")
    look.tab.lead_on("document.querySelector('#versions + ul a').click()")
    look.see("settings-former-version")
    look.room.newsroom.reload()
    look.see("calendar-skipped", "calendar?view=week&day=2026-03-04")
    look.see("slot-dropped", "calendar/move?schedule=daily&slot=2026-03-05&day=2026-03-06")
    look.submit("slot-skip", "button[value=check]", how="skip")
    noon = "calendar/move?schedule=daily&slot=2026-03-05&day=2026-03-05"
    look.submit("slot-moved", "button[value=save]", noon, at="2026-03-05T12:00")
    look.room.newsroom.reload()
    look.see("calendar-moved", "calendar?view=week&day=2026-03-04")
    assert look.tab.look("document.querySelector('[data-day=\"2026-03-05\"] .machine') !== null")
    look.see("slot-dropped-too-far", "calendar/move?schedule=daily&slot=2026-03-05&day=2026-03-26")
    look.see("calendar-empty", "calendar?view=list&day=2031-03-04")
    look.see("schedule-new", "settings/schedule?title=Events")
    look.submit("schedule-new-wrong", "button[value=save]", when="someday")
    look.room.newsroom.folder.write("schedules/other.yaml", "cadence: {daly: 1}\n")
    look.submit("schedule-beside-a-broken-file", "button[value=save]", form, when='"10:00"')
    (look.room.newsroom.folder.root / "schedules" / "other.yaml").unlink()


def _team(look: Looker) -> None:
    """A link to send, a mistake, a key, a forbidden page, and a missing page."""
    look.submit("team-link", "form[action$='team/add'] button", "team", email="new@example.org")
    look.submit("team-twice", "form[action$='team/add'] button", email="new@example.org")
    look.see("team-invited", "team")
    look.submit("member-link", "button[value=link]", f"team/{look.room.member('viewer')}")
    look.submit("key-shown", "form[action$='keys/add'] button", "api", name="website", role="viewer")
    look.submit("key-wrong", "form[action$='keys/add'] button", name="My site", role="viewer")
    look.submit("only-admin", "button[value=save]", f"team/{look.room.member('admin')}", role="viewer")
    admin = look.room.member("admin")
    with look.room.newsroom.runtime.store.write() as connection:
        team.set_password(connection, admin, sign_in.hash_password(PASSWORD))
    look.submit("password-wrong", "form[action$=password] button", "account", password="x", code="1", new="short")
    look.see("log", "log")
    look.work_as("viewer")
    look.see("not-allowed", "settings")
    look.work_as("writer")
    look.tab.open(f"{look.room.url}room/stories/new")
    look.tab.ask("Network.clearBrowserCookies")
    look.submit("words-kept", "form[action$='stories/new'] button", title="An hour of writing. " * 5)
    assert look.tab.look("document.querySelector('textarea').value").startswith("An hour of writing.")
    look.work_as("viewer")
    look.see("not-there", "stories/none")
    look.work_as("admin")


def _channels(look: Looker) -> None:
    """A delivery in doubt, a stopped channel, a paused channel, and results."""
    newsroom = look.room.newsroom
    newsroom.schedule("posts", 'cadence: {daily: "10:00"}\ndeliver: [{channel: desk}]\n')
    newsroom.tick(MONDAY)
    newsroom.item("late", title="Late news")
    newsroom.tick(MONDAY + HOUR)
    look.see("channels", "channels")
    with newsroom.runtime.store.write() as connection:
        doubtful = update(t.deliveries).where(t.deliveries.c.channel == "desk")
        connection.execute(doubtful.values(state="in_doubt", reason="no answer"))
    look.see("channel-in-doubt", "channels")
    look.submit("channel-settled", "button[value=cancel]")
    look.submit("channel-paused", "form[action$=pause] button", "channels")
    look.see("results", "results?days=365")
    newsroom.runtime.channels["desk"] = Editable(newsroom.runtime.channels["desk"])  # type: ignore[assignment]
    with newsroom.runtime.store.write() as connection:
        posts = update(t.deliveries).where(t.deliveries.c.channel == "desk")
        connection.execute(posts.values(state="accepted", receipt="r1"))
    post = f"channels/posts/{newsroom.entries_of('desk')[0].id}"
    look.submit("post-without-words", "button[value=edit]", post, text="")
    look.submit("post-corrected", "button[value=edit]", post, text="Better news")


@pytest.mark.slow
def test_axe_finds_nothing_in_an_empty_newsroom(looker: Looker) -> None:
    """A team on its first day: no story, no schedule, no subscriber, no channel."""
    newsroom = looker.room.newsroom
    for name in ("content", "schedules"):
        for file in (newsroom.folder.root / name).glob("*.*"):
            file.unlink()
    main = newsroom.folder.root / "tidings.yaml"
    text = main.read_text(encoding="utf-8")
    main.write_text(text[: text.index("channels:")] + text[text.index("notify:") :], encoding="utf-8")
    newsroom.reload()
    with newsroom.runtime.store.write() as connection:
        for table in (t.deliveries, t.mailings, t.selections, t.renditions, t.editions, t.subscriptions, t.items):
            connection.execute(delete(table))
    looker.work_as("admin")
    for path in ("", "calendar", "stories", "subscribers", "channels", "results", "settings", "team", "log", "api"):
        looker.see(f"empty-{path or 'today'}", path)


def _coming(look: Looker) -> None:
    """The next edition, with a subject of its own, and a week that is skipped."""
    look.see("next-edition", "coming/daily")
    look.submit("next-edition-changed", "input[name=version] ~ .actions button", **{"subject.en": "A better subject"})
    look.see("calendar-before", "calendar?month=2026-04")
    move = "calendar/move?schedule=daily&slot=2026-04-13"
    look.submit("slots-skipped", "button[value=check]", move, how="skip", through="2026-04-17")
    look.tab.open(f"{look.room.url}room/")
    look.tab.look("document.querySelector('main details').open = true; 0")
    look.see("today-pause-all")


@pytest.mark.slow
def test_axe_finds_nothing_in_any_state(looker: Looker, tmp_path: Path) -> None:
    Image.new("RGB", (900, 500), (40, 110, 150)).save(tmp_path / "bridge.jpg")
    _strangers(looker)
    looker.work_as("admin")
    _editions(looker)
    _stories(looker, tmp_path / "bridge.jpg")
    _people(looker)
    _settings(looker)
    _team(looker)
    _channels(looker)
    _coming(looker)
    assert len(looker.seen) == len(set(looker.seen)) >= 50
