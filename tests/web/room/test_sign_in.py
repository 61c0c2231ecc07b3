"""One-time links, passwords with codes, sessions, and the limits on guesses."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta

import httpx
import pyotp
import pytest
from argon2 import PasswordHasher

from tests.web.room.conftest import PASSWORD, Browser, RoomSite
from tidings.runtime.team import sign_in
from tidings.store.people import team
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now
from tidings.web.room.visit import COOKIE, VISIT_COOKIE, csrf_token


def _visit(browser: Browser, path: str) -> httpx.Response:
    """Open a page of somebody who is not signed in; the browser keeps its cookie."""
    page = browser.get(path)
    browser.cookie = browser.client.cookies[VISIT_COOKIE]
    return page


def _code(secret: str, at: datetime | None = None) -> str:
    return pyotp.TOTP(secret).at(at or real_now())


def _join(browser: Browser, token: str, *, password: str = PASSWORD, **more: str) -> tuple[str, httpx.Response]:
    """Use a one-time link as a person would. Returns the secret of the code generator and the answer."""
    page = _visit(browser, f"join/{token}")
    secret = re.search(r'name="secret" value="(\w+)"', page.text)
    assert secret is not None, page.text
    fields = {"secret": secret[1], "password": password, "code": _code(secret[1])} | more
    return secret[1], browser.post(f"join/{token}", **fields)


def _link(room: RoomSite) -> str:
    """Make a one-time link for the editor."""
    member = room.member("editor")
    with room.newsroom.runtime.store.write() as connection:
        return sign_in.make_link(connection, member, real_now())


def _sign_in(browser: Browser, secret: str, **more: str) -> httpx.Response:
    _visit(browser, "sign-in")
    fields = {"email": "editor@example.org", "password": PASSWORD, "code": _code(secret)} | more
    return browser.post("sign-in", **fields)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real hash needs 64 MB and a fifth of a second, by design."""
    monkeypatch.setattr(sign_in, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """Move real time on by a minute, so that the next code is a new one."""
    ahead = timedelta(minutes=1)
    for module in ("tidings.web.room.sign_in", "tidings.web.room.routes"):
        monkeypatch.setattr(f"{module}.real_now", lambda: real_now() + ahead)
    return ahead


def test_a_link_works_once_and_signs_in(room: RoomSite) -> None:
    token = _link(room)
    first = room.browser()
    # Opening the link, as mail scanners do, does not use it up.
    assert first.get(f"join/{token}").status_code == first.get(f"join/{token}").status_code == 200
    _, answer = _join(first, token)
    assert "Welcome. You are signed in." in answer.text
    cookie = next(one for one in answer.history[0].headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/room/" in cookie
    assert room.browser().get(f"join/{token}").status_code == 404
    assert [entry.action for entry in room.log()] == ["team.joined"]


def test_a_weak_password_or_wrong_code_uses_no_link_up(room: RoomSite) -> None:
    token = _link(room)
    for more, text in (
        ({"password": "short"}, "at least 12 characters"),
        ({"password": "editor123456789"}, "too easy to guess"),
        ({"code": "000000x"}, "not the present code"),
    ):
        _, answer = _join(room.browser(), token, **more)
        assert answer.status_code == 422 and text in answer.text
    _, answer = _join(room.browser(), token)
    assert answer.status_code == 200


def test_the_first_link_makes_one_admin_and_no_second(room: RoomSite) -> None:
    token = sign_in.make_first_link(room.newsroom.runtime.store)
    assert token is not None
    _, answer = _join(room.browser(), token, email="dana@example.org")
    assert answer.status_code == 200
    with room.newsroom.runtime.store.read() as connection:
        assert [(member.email, member.role) for member in team.list_members(connection)] == [
            ("dana@example.org", Role.ADMIN)
        ]
    assert room.browser().get(f"join/{token}").status_code == 404
    assert sign_in.make_first_link(room.newsroom.runtime.store) is None


def test_sign_in_takes_password_and_fresh_code(room: RoomSite, later: timedelta) -> None:
    member = room.member("editor")
    with room.newsroom.runtime.store.write() as connection:
        token = sign_in.make_link(connection, member, real_now())
        secret = sign_in.make_totp_secret()
        hashed = sign_in.hash_password(PASSWORD)
        sign_in.accept_link(connection, token, email="", password=hashed, secret=secret, step=1, now=real_now())
    code = _code(secret, real_now() + later)
    wrong = [
        _sign_in(room.browser(), secret, code=code, password="not this one at all"),
        _sign_in(room.browser(), secret, code="000000x"),
        _sign_in(room.browser(), secret, code=code, email="nobody@example.org"),
        _sign_in(room.browser(), secret, code=code, email="no address"),
    ]
    assert {answer.status_code for answer in wrong} == {403}
    pages = {re.sub(r'(value|data-options)="[^"]*"', "", answer.text) for answer in wrong}
    assert len(pages) == 1, "an answer says who is in the team"
    assert "<h1>Today</h1>" in _sign_in(room.browser(), secret, code=code).text
    assert _sign_in(room.browser(), secret, code=code).status_code == 403, "a code that was seen works again"


def test_a_session_never_takes_the_cookie_that_the_browser_sent(room: RoomSite) -> None:
    browser = room.browser()
    browser.client.cookies.set(COOKIE, "chosen-by-an-attacker")
    _, answer = _join(browser, _link(room))
    assert answer.status_code == 200
    fresh = [cookie.value for cookie in browser.client.cookies.jar if cookie.name == COOKIE]
    assert "chosen-by-an-attacker" not in fresh[-1:]
    attacker = room.browser()
    attacker.client.cookies.set(COOKIE, "chosen-by-an-attacker")
    assert attacker.get("").status_code == 303


@pytest.mark.usefixtures("one_window")
def test_guessing_ends_after_a_few_tries(room: RoomSite) -> None:
    browser = room.browser()
    answers = [_sign_in(browser, sign_in.make_totp_secret()).status_code for _ in range(sign_in.BY_PAIR + 1)]
    assert answers == [403] * sign_in.BY_PAIR + [429]


def test_unknown_and_known_addresses_take_the_same_steps(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    verify, find_step = sign_in._verify, sign_in.find_step
    monkeypatch.setattr(sign_in, "_verify", lambda *given: steps.append("password") or verify(*given))
    monkeypatch.setattr(sign_in, "find_step", lambda *given: steps.append("code") or find_step(*given))
    member = room.member("editor")
    with room.newsroom.runtime.store.write() as connection:
        team.set_password(connection, member, sign_in.hash_password(PASSWORD))
        connection.exec_driver_sql("UPDATE team_members SET totp = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'")
    seen = []
    for email in ("editor@example.org", "nobody@example.org"):
        steps.clear()
        sign_in.sign_in(room.newsroom.runtime.store, email, "wrong", "1", network="n", browser="b", now=real_now())
        seen.append(tuple(steps))
    assert seen == [("password", "code")] * 2


def test_a_removed_member_is_out_at_once(room: RoomSite) -> None:
    admin, editor = room.browser("admin"), room.browser("editor")
    number = room.member("editor")
    assert editor.get("").status_code == 200
    assert admin.post(f"team/{number}", do="save", role="viewer", name="").status_code == 200
    assert editor.get("log").status_code == 403
    assert admin.post(f"team/{number}", do="sign_out").status_code == 200
    assert editor.get("").status_code == 303
    assert admin.post(f"team/{number}", do="remove").status_code == 200
    assert room.browser("admin").get(f"team/{number}").status_code == 404


def test_the_only_admin_stays(room: RoomSite) -> None:
    admin = room.browser("admin")
    number = room.member("admin")
    for fields in ({"do": "remove"}, {"do": "save", "role": "viewer"}):
        answer = admin.post(f"team/{number}", **fields)
        assert answer.status_code == 422 and "only admin" in answer.text
    assert admin.get("team").status_code == 200


def test_a_session_ends_when_it_is_not_used(room: RoomSite) -> None:
    browser = room.browser("editor")
    old = real_now() - team.SESSION_IDLE - timedelta(minutes=1)
    with room.newsroom.runtime.store.write() as connection:
        team.touch_session(connection, sign_in.hash_token(browser.cookie), old)
    assert browser.get("").status_code == 303


def test_sign_out_ends_the_session_in_the_store(room: RoomSite) -> None:
    browser = room.browser("editor")
    kept = browser.cookie
    assert browser.post("account/sign-out").status_code == 200
    again = room.browser()
    again.client.cookies.set(COOKIE, kept)
    assert again.get("").status_code == 303


def test_a_sign_in_leads_to_a_page_of_the_room_only(room: RoomSite) -> None:
    answer = room.browser().get("editions/daily/1")
    assert answer.headers["location"].endswith("/room/sign-in?next=editions/daily/1")
    asked = "stories/edit?file=content/one.en.md&as=text"
    page = room.browser().client.get(f"room/{asked}", follow_redirects=True).text
    assert f'name="next" value="{html.escape(asked)}"' in page, "the question of the address is kept"
    for follow in (
        "https://evil.example", "//evil.example", "..%2f..", "javascript:alert(1)", "\\\\evil.example",
        "/\\evil.example", "@evil.example", ".evil.example", "https:evil.example", "\thttps://evil.example",
        "a/../../evil.example", "x\r\nSet-Cookie: evil=1", "x?y=<evil>", "x#//evil.example", "?x=//../evil",
        "evil" * 300,
    ):  # fmt: skip
        page = room.browser().get("sign-in", next=follow).text
        assert "evil" not in page and 'name="next" value=""' in page, follow


def test_tokens_of_forms_differ_by_browser() -> None:
    assert csrf_token("a") != csrf_token("b")


def test_kept_words_are_sent_by_one_press_after_the_sign_in(room: RoomSite) -> None:
    """The form of the answer was made before the sign-in in another tab, so its first press was refused."""
    browser, ours, member = room.browser(), {"Sec-Fetch-Site": "same-origin"}, room.member("editor")
    _join(browser, _link(room))
    assert VISIT_COOKIE in browser.client.cookies, "the sign-in keeps the cookie of forms in other tabs"
    del browser.client.cookies[COOKIE]
    words = {"scope": "schedule", "name": "press", "csrf": "of the session that ended"}
    kept = browser.client.post("room/pause", data=words, headers=ours)
    assert kept.status_code == 401
    again = words | {"csrf": re.findall(r'name="csrf" value="(\w+)"', kept.text)[0]}
    with room.newsroom.runtime.store.write() as connection:
        token = sign_in.start_session(connection, member, "a test", real_now())
    browser.client.cookies.set(COOKIE, token, path="/room/")
    for headers in ({}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}):
        assert browser.client.post("room/pause", data=again, headers=headers).status_code == 403, headers
    assert browser.client.post("room/pause", data=again, headers=ours).status_code == 303
