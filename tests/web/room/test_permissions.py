"""Every address of the room is in the permission table, and answers each role exactly as the table says."""

from __future__ import annotations

from tests.web.room.conftest import Browser, RoomSite
from tidings.store.people.team import Role
from tidings.web.room.routes import ROUTES, RoomRoute, room_router

VALUES = {
    "schedule": "daily",
    "number": "1",
    "frame": "0",
    "token": "none",
    "story": "one",
    "language": "en",
    "preview": "none",
    "delivery": "none",
}


def _path(route: RoomRoute) -> str:
    return route.path.format_map(VALUES)


def _ask(browser: Browser, route: RoomRoute) -> tuple[int, str]:
    """Return the status and where it leads to or what it says."""
    if route.method == "GET":
        answer = browser.get(_path(route))
    else:
        answer = browser.client.post(f"room/{_path(route)}", data={"csrf": "x" * 32})
    return answer.status_code, answer.headers.get("location", "") + answer.text


def test_every_address_below_room_is_in_the_table(room: RoomSite) -> None:
    router = room_router(room.newsroom.runtime)
    listed = {(route.method, f"/room/{route.path}") for route in ROUTES}
    served = {
        (method, route.path)
        for route in router.routes
        if getattr(route, "path", "").startswith("/room/")
        for method in getattr(route, "methods", set()) - {"HEAD"}
    }
    assert served == listed
    assert len(listed) == len(ROUTES), "an address stands twice in the table"


def test_each_role_may_do_exactly_what_the_table_says(room: RoomSite) -> None:
    for role in (None, *Role):
        browser = room.browser(role)
        for route in ROUTES:
            status, text = _ask(browser, route)
            where = (route.method, route.path, role, status)
            if route.least is None:
                assert status < 500 and "This needs the role" not in text, where
            elif role is None:
                assert status == (303 if route.method == "GET" else 401), where
                assert "/room/sign-in" in text or status == 401, where
            elif not role.includes(route.least):
                assert status == 403 and "This needs the role" in text, where
            else:
                # A form is refused for its wrong token, which is checked after the role.
                assert status in ((200, 303, 404) if route.method == "GET" else (403,)), where
                assert "This needs the role" not in text, where


def test_a_form_without_the_token_of_its_browser_is_refused(room: RoomSite) -> None:
    admin, other = room.browser("admin"), room.browser("admin")
    for route in ROUTES:
        if route.method == "POST":
            assert admin.send(_path(route)).status_code == 403, route.path
            assert admin.send(_path(route), csrf="").status_code == 403, route.path
    stolen = other.client.get("room/account").text.partition('name="csrf" value="')[2][:32]
    assert admin.send("pause", csrf=stolen, scope="all", name="").status_code == 403
    admin.client.headers["Sec-Fetch-Site"] = "cross-site"
    assert admin.post("pause", scope="all", name="").status_code == 403
    assert room.newsroom.editions() == ["daily/1 held"]
    assert room.log() == []


def test_pages_run_no_script_and_stand_in_no_frame(room: RoomSite) -> None:
    answer = room.browser("viewer").get("")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "script-src" not in policy and "unsafe" not in policy
    nicer = room.browser("viewer").get("editions/daily/1")
    policy = nicer.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy
    assert nicer.text.count("<script") == 1, "one file of our own, and nothing inline"
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"


def test_a_member_for_one_list_sees_nothing_of_others(room: RoomSite) -> None:
    editor = room.browser("editor", ("press",), "press-editor@example.org")
    assert "Daily" not in editor.get("").text
    assert editor.get("editions/daily/1").status_code == 404
    assert editor.get("editions/daily/1/mails/0").status_code == 404
    assert editor.post("editions/daily/1", do="cancel").status_code == 404
    assert editor.post("pause", scope="list", name="digest").status_code == 404
    assert editor.post("pause", scope="all", name="").status_code == 404
    assert editor.post("pause", scope="list", name="press").status_code == 200
    assert room.newsroom.editions() == ["daily/1 held"]
