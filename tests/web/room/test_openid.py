"""Members sign in through a real OpenID Connect provider; nobody else gets in."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.servers.openid import CLIENT, SECRET, openid_provider
from tests.web.room.conftest import Browser, RoomSite
from tidings.web.room.openid_screens import COOKIE_OF_OPENID
from tidings.web.room.visit import COOKIE

SETTINGS = "room: {{oidc: {{issuer: {issuer!r}, client_id: {client}, client_secret: {{env: OIDC}}{more}}}}}\n"


def _configure(room: RoomSite, issuer: str, more: str = ", allow_private: true") -> None:
    room.newsroom.folder.env["OIDC"] = SECRET
    room.newsroom.configure(
        "https://news.example.org/\n",
        f"{room.url}\n",
    )
    main = room.newsroom.folder.root / "tidings.yaml"
    with main.open("a", encoding="utf-8") as file:
        file.write(SETTINGS.format(issuer=issuer, client=CLIENT, more=more))
    room.newsroom.reload()


@pytest.fixture
def issuer(room: RoomSite) -> Iterator[str]:
    """A provider that the room trusts."""
    with openid_provider(f"{room.url}room/sign-in/openid/back") as issuer:
        _configure(room, issuer)
        yield issuer


def _begin(browser: Browser, **query: str) -> httpx.Response:
    """Open the provider's form."""
    answer = browser.get("sign-in/openid", **query)
    assert answer.status_code == 303, answer.text
    return browser.client.get(answer.headers["location"], follow_redirects=True)


def _back(browser: Browser, account: str, **query: str) -> str:
    """Sign in at the provider. Returns the address to which it sends the browser back."""
    form = _begin(browser, **query)
    answer = browser.client.post(str(form.url), data={"account": account})
    while answer.is_redirect and "/room/" not in answer.headers["location"]:
        answer = browser.client.get(answer.headers["location"])
    return answer.headers["location"]


def _text(answer: httpx.Response) -> str:
    return answer.text.partition('role="alert">')[2].partition("<")[0]


def test_a_member_signs_in_through_the_provider(room: RoomSite, issuer: str) -> None:
    room.member("editor")
    browser = room.browser()
    page = browser.get("sign-in").text
    assert "Sign in with 127.0.0.1" in page
    browser.client.cookies.set(COOKIE, "chosen-by-an-attacker", domain="127.0.0.1", path="/room/")
    back = _back(browser, "editor@example.org", next="calendar")
    answer = browser.client.get(back)
    assert answer.status_code == 303 and answer.headers["location"] == "/room/calendar", answer.text
    assert len(browser.client.cookies[COOKIE]) == 43
    assert COOKIE_OF_OPENID not in browser.client.cookies
    assert browser.get("calendar").status_code == 200
    # The code and the cookie were for one sign-in.
    assert room.browser().client.get(back).status_code == 403
    assert [entry.action for entry in room.log()] == []


def test_a_new_member_needs_no_link_with_a_provider(room: RoomSite, issuer: str) -> None:
    room.browser("admin").post("team/add", email="dana@example.org", role="editor", name="Dana")
    browser = room.browser()
    assert browser.client.get(_back(browser, "dana@example.org")).status_code == 303
    assert "Your passkeys" not in browser.get("account").text, "no browser makes passkeys for an IP address"
    assert "Change your password" not in browser.get("account").text
    assert [entry.action for entry in room.log()] == ["team.joined", "team.added"]
    assert "has not used the link yet" not in room.browser("admin").get("team").text.partition("Dana")[2][:400]


def test_only_verified_members_come_in_from_the_provider(room: RoomSite, issuer: str) -> None:
    room.member("editor")
    for account, text in (
        ("stranger@example.org", "Nobody in the team has the address stranger@example.org."),
        ("no address", "Nobody in the team has the address no address."),
        ("?editor@example.org", "no verified e-mail address of yours"),
        ("", "The sign-in was cancelled."),
    ):
        browser = room.browser()
        answer = browser.client.get(_back(browser, account))
        assert answer.status_code == 403 and text in _text(answer), answer.text
        assert browser.get("").status_code == 303


def test_an_answer_for_another_browser_is_refused(room: RoomSite, issuer: str) -> None:
    """A stolen or prepared address signs nobody in: the state belongs to one browser, and the issuer is named."""
    room.member("editor")
    victim, attacker = room.browser(), room.browser()
    back = _back(attacker, "editor@example.org")
    _begin(victim)
    for browser in (victim, room.browser()):
        answer = browser.client.get(back)
        assert answer.status_code == 403 and "another browser began it" in _text(answer)
    for change in ({"iss": "https://elsewhere.example"}, {"code": "made-up"}):
        browser = room.browser()
        query = parse_qs(urlsplit(_back(browser, "editor@example.org")).query)
        answer = browser.get("sign-in/openid/back", **{name: values[0] for name, values in query.items()} | change)
        assert answer.status_code == 502 and "wrong answer" in _text(answer)


def test_a_provider_that_fails_leaves_the_password(room: RoomSite, issuer: str) -> None:
    _ = issuer
    main = room.newsroom.folder.root / "tidings.yaml"
    good = main.read_text(encoding="utf-8")
    for old, new, text in (
        (issuer, "http://127.0.0.1:9", "does not answer"),
        (issuer, f"{issuer}/", "wrong answer"),
        (issuer, room.url.rstrip("/"), "wrong answer"),
        (", allow_private: true", "", "does not answer"),
    ):
        changed = good.replace(old, new).replace("issuer: 'http:", "issuer: 'https:" if not new else "issuer: 'http:")
        main.write_text(changed, encoding="utf-8")
        room.newsroom.reload()
        answer = room.browser().get("sign-in/openid")
        assert answer.status_code == 502 and text in _text(answer), (new, answer.text)
        assert 'name="password"' in answer.text


def test_without_a_provider_there_is_no_such_page(room: RoomSite) -> None:
    browser = room.browser()
    assert "sign-in/openid" not in browser.get("sign-in").text
    assert browser.get("sign-in/openid").status_code == browser.get("sign-in/openid/back").status_code == 404
