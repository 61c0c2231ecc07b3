"""Every address of the team's API answers each role exactly as the table of the room says."""

from __future__ import annotations

import httpx
import pytest

from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite
from tidings.store.people import api_keys
from tidings.store.people.team import Role
from tidings.web.api.v1.access import GUESSES_PER_MINUTE, ApiRefusal, RequestLimit
from tidings.web.api.v1.app import ROUTES, create_team_api
from tidings.web.room.routes import ROUTES as ROOM_ROUTES

TABLE = """
viewer GET /me                                            viewer GET /status
viewer GET /schedules                                     viewer GET /plan
viewer GET /report                                        editor GET /log
viewer GET /pauses                                        viewer GET /channels
editor POST /pauses                                       editor POST /pauses/end
viewer GET /stories                                       viewer GET /stories/{story}
writer POST /stories                                      writer GET /stories/{story}/{language}
writer PATCH /stories/{story}/{language}                  editor POST /stories/{story}/{language}/ready
editor POST /stories/{story}/{language}/withdraw          writer GET /stories/{story}/{language}/text
writer PUT /stories/{story}/{language}/text               writer GET /stories/{story}/{language}/pictures
writer POST /stories/{story}/{language}/pictures          writer GET /stories/{story}/{language}/versions
writer PATCH /stories/{story}/{language}/pictures/{number}
writer DELETE /stories/{story}/{language}/pictures/{number}
writer GET /stories/{story}/{language}/versions/{former}
editor POST /stories/{story}/{language}/versions/{former}/restore
viewer GET /schedules/{schedule}/next                     editor PATCH /schedules/{schedule}/next
viewer GET /schedules/{schedule}/next/messages            writer POST /schedules/{schedule}/next/test
viewer GET /editions                                      viewer GET /editions/{schedule}/{number}
viewer GET /editions/{schedule}/{number}/messages         editor PATCH /editions/{schedule}/{number}
editor POST /editions/{schedule}/{number}/release         editor POST /editions/{schedule}/{number}/cancel
editor POST /editions/{schedule}/{number}/recompose       writer POST /editions/{schedule}/{number}/comment
writer POST /editions/{schedule}/{number}/test
editor GET /subscribers                                   editor POST /subscribers
editor POST /subscribers/import                           editor GET /subscribers/export
editor GET /subscribers/{subscriber}                      editor PATCH /subscribers/{subscriber}
editor DELETE /subscribers/{subscriber}/lists/{list}      admin POST /subscribers/{subscriber}/erase
editor GET /subscribers/{subscriber}/explain
editor GET /deliveries                                    editor POST /deliveries/{delivery}/resolve
editor GET /deliveries/{delivery}/post                    editor POST /deliveries/{delivery}/post
admin GET /settings                                       admin GET /settings/file
admin POST /settings/check                                admin PUT /settings/file
admin GET /settings/versions                              admin GET /settings/versions/{former}
admin POST /settings/versions/{former}/restore
viewer GET /team                                          admin POST /team
admin PATCH /team/{member}                                admin DELETE /team/{member}
admin POST /team/{member}/link                            admin POST /team/{member}/sign-out
admin GET /keys                                           admin POST /keys
admin DELETE /keys/{name}
admin GET /webhooks                                       admin POST /webhooks/{name}/test
"""
"""The permissions of each role. Written here a second time on purpose: a wrong entry in the code's table fails."""
NEEDED = {
    (method, path): Role(role)
    for role, method, path in zip(TABLE.split()[0::3], TABLE.split()[1::3], TABLE.split()[2::3], strict=True)
}
VALUES = {
    "former": "none",
    "member": "999",
    "schedule": "daily",
    "number": "1",
    "story": "one",
    "language": "en",
    "subscriber": "1",
    "list": "digest",
    "delivery": "999",
    "name": "crm",
}


def _ask(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """Ask with a body that no address accepts: the role is checked first."""
    body = None if method in ("GET", "DELETE") else {"no such field": 1}
    return client.request(method, path.format_map(VALUES), json=body)


def test_every_address_of_the_api_is_in_the_table(room: RoomSite) -> None:
    app = create_team_api(lambda: room.newsroom.runtime)
    document = app.openapi()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == NEEDED.keys()
    assert len(described) == len(ROUTES), "an address stands twice in the table"
    assert {(route.method, route.path): route.least for route in ROUTES} == NEEDED
    assert document["openapi"].startswith("3.1")


def test_a_role_of_the_api_is_that_of_the_room() -> None:
    room_roles = {f"{route.method} {route.path}": route.least for route in ROOM_ROUTES}
    for route in ROUTES:
        if not isinstance(route.like, Role):
            assert route.least is room_roles[route.like]


def test_a_revoked_key_stops_at_once(room: RoomSite, program: Program) -> None:
    client = program("viewer")
    assert client.get("me").json() == {"name": "viewer", "role": "viewer", "lists": []}
    with room.newsroom.runtime.store.write() as connection:
        (key,) = api_keys.list_keys(connection)
        assert key.used is not None
        assert api_keys.remove_key(connection, "viewer")
    assert client.get("me").status_code == 401


def test_each_key_may_do_exactly_what_the_table_says(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestLimit, "check", lambda self, client: None)
    for role in (None, *Role):
        client = program(role)
        for (method, path), needed in NEEDED.items():
            if role is Role.ADMIN and method == "DELETE" and "lists" in path:
                continue
            answer = _ask(client, method, path)
            where = (method, path, role, answer.status_code, answer.text[:200])
            if role is None:
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", where
            elif not role.includes(needed):
                assert answer.status_code == 403 and f"role of {needed}" in answer.json()["detail"], where
            else:
                assert answer.status_code in (200, 201, 404, 409, 422, 428), where
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", where
                assert answer.json()["status"] == answer.status_code, where


def test_a_key_for_one_list_sees_nothing_of_others(room: RoomSite, program: Program) -> None:
    press = program("editor", "press")
    room.newsroom.reader("clara", "press")
    assert press.get("editions").json()["items"] == []
    assert press.get("editions/daily/1").status_code == 404
    assert press.get("editions/daily/1/messages").status_code == 404
    assert [row["name"] for row in press.get("schedules").json()] == ["press"]
    assert [row["schedule"] for row in press.get("plan").json()] == ["press"]
    assert press.get("schedules/daily/next").status_code == 404
    assert press.get("schedules/daily/next/messages").status_code == 404
    status = press.get("status").json()
    assert status["held"] == [] and list(status["lists"]) == ["press"]
    assert {row["schedule"] for row in status["next"]} == {"press"}
    assert press.get("report").json()["mail"] == []
    people = press.get("subscribers").json()
    assert [row["address"] for row in people["items"]] == ["clara@example.org"] and people["total"] == 1
    assert press.get("subscribers", params={"list": "digest"}).status_code == 404
    assert press.get("subscribers/export", params={"list": "digest"}).status_code == 404
    anna = program("editor", name="all").get("subscribers", params={"text": "anna"}).json()["items"][0]["subscriber"]
    assert press.get(f"subscribers/{anna}").status_code == 404
    assert press.get("deliveries").json()["items"] == []
    clara = people["items"][0]["subscriber"]
    assert press.get(f"subscribers/{clara}/explain").status_code == 403


def test_a_key_that_asks_too_often_has_to_wait(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = program(None)
    answers = [stranger.get("me") for _ in range(2 * GUESSES_PER_MINUTE + 2)]
    assert {answer.status_code for answer in answers} <= {401, 429} and 429 in [
        answer.status_code for answer in answers
    ]
    assert 1 <= int(answers[-1].headers.get("retry-after", "1")) <= 60
    assert program("viewer").get("me").status_code == 200, "a key waits for nobody else"
    monkeypatch.setattr("tidings.web.api.v1.access.time.time", lambda: 1_000_000.0)
    limit = RequestLimit(3)
    limit.check("another key")
    for _ in range(3):
        limit.check("a key")
    with pytest.raises(ApiRefusal, match="more than 3 requests"):
        limit.check("a key")
