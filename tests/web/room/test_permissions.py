"""Every address of the room is in the permission table, and answers each role exactly as the table says."""

from __future__ import annotations

from tests.web.room.conftest import VALUES, Browser, RoomSite
from tidings.store.people.team import Role
from tidings.web.room.routes import ROUTES, room_router

TABLE = """
nobody GET room.css                               nobody GET passkey.js
nobody GET room.js                                nobody GET sign-in
nobody POST sign-in                               nobody POST sign-in/passkey
nobody GET sign-in/openid                         nobody GET sign-in/openid/back
nobody GET join/{token}                           nobody POST join/{token}
viewer GET .                                      editor POST pause
editor POST resume                                viewer GET editions/{schedule}/{number}
viewer GET editions/{schedule}/{number}/mails/{frame}
viewer GET editions/{schedule}/{number}/progress
editor POST editions/{schedule}/{number}          viewer POST editions/{schedule}/{number}/approve
editor POST editions/{schedule}/{number}/change   writer POST editions/{schedule}/{number}/comment
writer POST editions/{schedule}/{number}/test     viewer GET stories
viewer GET coming/{schedule}                      editor POST coming/{schedule}
writer POST coming/{schedule}/test                writer GET stories/thumbnail
writer GET stories/new                            writer POST stories/new
writer GET stories/edit                           writer POST stories/edit
writer POST stories/paste                         viewer GET stories/previews/{preview}/{frame}
writer GET stories/version                        editor POST stories/restore
viewer GET stories/{story}                        viewer GET calendar
editor GET calendar/move                          editor POST calendar/move
editor GET subscribers                            editor POST subscribers/add
editor GET subscribers/import                     editor POST subscribers/import
editor POST subscribers/export                    editor GET subscribers/{number}
editor POST subscribers/{number}                  viewer GET channels
editor GET channels/posts/{delivery}              editor POST channels/change
editor POST channels/resolve                      viewer GET results
admin GET settings                                admin GET settings/edit
admin POST settings/edit                          admin GET settings/schedule
admin POST settings/schedule                      admin GET settings/version
admin POST settings/restore                       viewer GET account
viewer POST account/password                      viewer POST account/passkeys
viewer POST account/passkeys/remove               viewer POST account/sign-out
viewer POST account/sign-out-others               viewer POST language
viewer GET team                                   admin POST team/add
admin GET team/{number}                           admin POST team/{number}
editor GET log                                    admin GET api
admin POST api/keys/add                           admin POST api/keys/remove
admin POST api/test
"""
"""The permissions of each role. Written here a second time on purpose: a wrong entry in the code's table fails."""
NEEDED = {
    (method, path.rstrip(".")): None if role == "nobody" else Role(role)
    for role, method, path in zip(TABLE.split()[0::3], TABLE.split()[1::3], TABLE.split()[2::3], strict=True)
}


def _ask(browser: Browser, method: str, path: str) -> tuple[int, str]:
    """Return the status, and the target or text of the answer."""
    if method == "GET":
        answer = browser.get(path.format_map(VALUES))
    else:
        answer = browser.client.post(f"room/{path.format_map(VALUES)}", data={"csrf": "x" * 32})
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
    assert served == listed == {(method, f"/room/{path}") for method, path in NEEDED}
    assert {(route.method, route.path): route.least for route in ROUTES} == NEEDED
    assert len(listed) == len(ROUTES), "an address stands twice in the table"


def test_each_role_may_do_exactly_what_the_table_says(room: RoomSite) -> None:
    for role in (None, *Role):
        browser = room.browser(role)
        for (method, path), needed in NEEDED.items():
            status, text = _ask(browser, method, path)
            where = (method, path, role, status)
            if needed is None:
                assert status < 500 and "This needs the role" not in text, where
            elif role is None:
                assert status == (303 if method == "GET" else 401), where
                assert "/room/sign-in" in text or status == 401, where
            elif not role.includes(needed):
                assert status == 403 and "This needs the role" in text, where
            else:
                # A form is refused for its wrong token, which is checked after the role.
                assert status in ((200, 303, 404) if method == "GET" else (403,)), where
                assert "This needs the role" not in text, where


def test_a_form_without_the_token_of_its_browser_is_refused(room: RoomSite) -> None:
    admin, other = room.browser("admin"), room.browser("admin")
    for path in (path.format_map(VALUES) for method, path in NEEDED if method == "POST"):
        assert admin.send(path).status_code == 403, path
        assert admin.send(path, csrf="").status_code == 403, path
    stolen = other.client.get("room/account").text.partition('name="csrf" value="')[2][:32]
    assert admin.send("pause", csrf=stolen, scope="all", name="").status_code == 403
    admin.client.headers["Sec-Fetch-Site"] = "cross-site"
    assert admin.post("pause", scope="all", name="").status_code == 403
    assert room.newsroom.editions() == ["daily/1 held"]
    assert room.log() == []


def test_pages_run_no_script_and_allow_no_frame(room: RoomSite) -> None:
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
