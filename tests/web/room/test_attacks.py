"""No text that people write can run on a screen of the room, and no other site can show the room in a frame.

The room sends no event streams: its pages are loaded and answered, so that open browsers hold no connection.
"""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

from tests.fixtures.newsroom import MONDAY
from tests.web.room.conftest import BEFORE, Browser, RoomSite, screens
from tidings.store.people import subscribers, team
from tidings.store.service.clock import real_now
from tidings.web.room.visit import COOKIE, csrf_token

EVIL = (
    "\"'><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)></textarea></title></select>-->"
    '<math><mtext><script>alert(8)</script>{{7*7}}{% raw %}<iframe srcdoc=x>" autofocus onfocus=alert(9) x='
)
LINK = "javascript:alert(4)"
SVG = "media/evil.svg"


class Elements(HTMLParser):
    """The elements of a page, as a browser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def _harm(page: str) -> list[tuple[str, dict[str, str]]]:
    """Return the elements that could run something: foreign scripts, handlers, unusual links, other frames."""
    own = re.compile(r"/room/[\w-]+\.js(\?v=\w+)?$")
    return [
        (tag, values)
        for tag, values in Elements(page).found
        if (tag == "script" and not own.match(values.get("src", "")))
        or tag in ("object", "embed", "base", "svg")
        or any(name.startswith("on") for name in values)
        or any(values.get(name, "").strip().lower().startswith(("javascript:", "data:")) for name in ("href", "action"))
        or (tag == "iframe" and not values.get("src", "").startswith("/room/"))
    ]


def _screens() -> list[str]:
    """Return every page in the permission table, and pages whose address repeats a request."""
    words = "%22%3E%3Cscript%3Ealert(5)%3C/script%3E"
    echoes = [
        f"log?who={words}&kind={words}",
        f"settings/edit?file={words}",
        f"calendar?month={words}",
        *(
            f"sign-in?next={words}",
            f"stories?q={words}",
            f"subscribers?search={words}",
            f"log?who={words}&kind={words}",
        ),
        *(
            f"stories/edit?file={words}",
            f"settings/edit?file={words}",
            f"calendar?month={words}",
            f"results?days={words}",
        ),
        *(f"?said={words}", f"editions/{words}/1", f"stories/{words}", f"sign-in/openid/back?error={words}"),
    ]
    return [*screens(story="evil").values(), *echoes]


def _poison(room: RoomSite) -> Browser:
    """Put the same text wherever people can write. Returns an admin's browser."""
    newsroom, admin = room.newsroom, room.browser("admin")
    newsroom.folder.write(SVG, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(6)</script></svg>')
    newsroom.folder.write(
        "content/evil.en.md",
        f"---\ntitle: {EVIL}\nsummary: {EVIL}\nauthors: ['{EVIL.replace(chr(39), chr(39) * 2)}']\nurl: https://x.example/\n"
        f"images: [{{src: {SVG}, alt: '{EVIL.replace(chr(39), chr(39) * 2)}'}}]\n---\n{EVIL}\n\n[click]({LINK})\n",
    )
    newsroom.folder.write("content/<img onerror=alert(7)>.en.md", "---\nembago: 1\n---\nSet aside.\n")
    newsroom.reader("carl", source=EVIL)
    viewer = room.member("viewer")
    with newsroom.runtime.store.write() as connection:
        team.start_session(connection, viewer, "0" * 64, EVIL, real_now())
        subscribers.change(connection, 1, name=EVIL)
        team.change_member(connection, viewer, name=EVIL)
        team.record_action(connection, "story.saved", EVIL, who=EVIL, via="room", now=real_now(), details=EVIL)
    newsroom.tick(BEFORE + timedelta(minutes=30))
    assert admin.post("editions/daily/1/comment", text=EVIL, comment=EVIL).status_code == 200
    frozen = re.findall(r'name="frozen" value="([^"]*)"', admin.get("editions/daily/1").text)[0]
    words = {"subject.en": EVIL, "note.en": EVIL}
    assert admin.post("editions/daily/1/change", frozen=frozen, **words).status_code == 200
    admin.post("pause", scope="schedule", name="press", reason=EVIL)
    return admin


def test_nothing_that_people_write_runs_on_a_screen(room: RoomSite) -> None:
    admin = _poison(room)
    for path in _screens():
        page = admin.client.get(f"room/{path}", follow_redirects=True)
        if not page.headers["content-type"].startswith("text/html"):
            continue
        assert page.status_code < 500, path
        if "/mails/" not in path:
            assert _harm(page.text) == [], path
    rows = f'email,name\ndora@example.org,"{EVIL.replace(chr(34), chr(34) * 2)}"\n{EVIL},x\n'
    for path, fields in (
        ("subscribers/import", {"text": rows, "csv": rows, "file": rows, "list": "digest", "do": "check"}),
        ("team/add", {"email": EVIL, "role": "editor", "name": EVIL}),
        ("subscribers/add", {"email": EVIL, "list": "digest", "name": EVIL}),
        ("stories/new", {"name": EVIL, "title": EVIL, "language": EVIL}),
        ("settings/edit", {"file": "tidings.yaml", "text": EVIL, "opened": EVIL, "do": "check"}),
        ("sign-in", {"email": EVIL, "password": EVIL, "code": EVIL, "next": EVIL}),
    ):
        page = admin.post(path, **fields)
        assert page.status_code < 500 and _harm(page.text) == [], (path, _harm(page.text))


def test_every_answer_of_the_room_stays_out_of_frames(room: RoomSite) -> None:
    """Mails are the exception: the room's own pages show them in a frame without scripts, forms and links."""
    admin = room.browser("admin")
    for path in _screens():
        answer = admin.client.get(f"room/{path}")
        policy = answer.headers["content-security-policy"]
        if "/mails/" in path and answer.status_code == 200:
            assert "frame-ancestors 'self'" in policy and "sandbox" in policy, path
        elif not answer.headers.get("content-type", "").startswith(("text/css", "text/javascript")):
            assert "frame-ancestors 'none'" in policy and answer.headers.get("x-frame-options", "DENY") == "DENY", path
        assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0], path
        assert answer.headers["x-content-type-options"] == "nosniff", path


def test_words_survive_a_session_that_ended(room: RoomSite) -> None:
    """A writer whose session had ended pressed Save, and an hour of writing was gone."""
    writer, again = room.browser("writer"), room.browser("writer", email="writer@example.org")
    writer.client.cookies.clear()
    words = {"file": "content/x.en.md", "body": f"An hour of writing. {EVIL}" + "x" * 100, "password": "secret words"}
    ours, theirs = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}
    for browser, status in ((writer, 401), (again, 403)):
        fields = words | {"csrf": "of the session before"}
        page = browser.client.post("room/stories/edit", data=fields, headers=ours)
        assert page.status_code == status and "An hour of writing." in page.text and _harm(page.text) == []
        assert "secret words" not in page.text and "of the session before" not in page.text
        upload = browser.client.post("room/stories/edit", data=fields, files={"picture": b""}, headers=ours)
        assert upload.status_code == status and "An hour of writing." in upload.text
        other = browser.client.post("room/stories/edit", data=fields, headers=theirs)
        assert other.status_code == status and "An hour of writing." not in other.text, "another site sent it"
    assert csrf_token(again.cookie) in page.text


def test_a_form_of_the_sign_in_is_not_kept(room: RoomSite) -> None:
    """It would be sent again without its password."""
    fields = {"csrf": "of a former visit", "email": "writer@example.org", "password": "secret words"}
    for path in ("sign-in", "join/some-token"):
        page = room.browser().client.post(f"room/{path}", data=fields, headers={"Sec-Fetch-Site": "same-origin"})
        assert page.status_code == 403 and "writer@example.org" not in page.text, path


def test_a_session_ends_in_every_browser_when_it_is_revoked(room: RoomSite) -> None:
    first, second, third = (room.browser("editor") for _ in range(3))
    assert first.post("account/sign-out-others").status_code == 200
    renewed = {cookie.value for cookie in first.client.cookies.jar if cookie.name == COOKIE} - {first.cookie}
    assert len(renewed) == 1, "the session was not renewed"
    first.client.cookies.clear()
    first.client.cookies.set(COOKIE, str(renewed.pop()))
    assert first.get("").status_code == 200
    assert second.get("").status_code == third.get("").status_code == 303
    assert second.post("pause", scope="all", name="").status_code == 401
    admin = room.browser("admin")
    admin.post(f"team/{room.member('editor')}", do="sign_out")
    assert first.get("").status_code == 303
    assert room.newsroom.editions() == ["daily/1 held"] and room.newsroom.now < MONDAY


def test_a_link_among_the_stories_shows_no_secret(room: RoomSite) -> None:
    """Somebody who writes stories through git, but has no login on the machine, could read keys.json in the room."""
    root, writer = room.newsroom.folder.root, room.browser("writer")
    (root / "secrets.env").write_text("SMTP_PASSWORD=very secret\n", encoding="utf-8")
    for target in ("../secrets.env", "../keys.json", "../tidings.yaml", "/etc/hostname"):
        link = root / "content" / "link.en.md"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        for path in ("stories/edit", "stories/version"):
            page = writer.get(path, file="content/link.en.md", version="none")
            assert page.status_code == 409 and "leads out of its folder" in page.text, (path, target)
    link.unlink()
    link.symlink_to("one.en.md")
    assert writer.get("stories/edit", file="content/link.en.md").status_code == 200
    files = ("content/../secrets.env.md", "content//one.en.md", "content/.git/x.md", "content/one.en.md\0.md")
    for name in (*files, "content\\..\\x.md", "../x.md", "/etc/x.md", f"content/{'a' * 300}.md"):
        assert writer.get("stories/edit", file=name).status_code in (404, 409), name
