"""The room of the demo signs a visitor of this machine in, nobody else, and shows the first steps."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.web.room.conftest import RoomSite
from tests.web.server import served
from tidings.web.app import newsroom_app
from tidings.web.room.demo import demo_room_router
from tidings.web.room.visit import COOKIE


@pytest.fixture
def demo(room: RoomSite) -> Iterator[httpx.Client]:
    """A browser of somebody who opens the demo's room."""
    room.member("editor")
    runtime = room.newsroom.runtime
    runtime.is_demo = True
    app = newsroom_app(runtime, extra=[demo_room_router(runtime, "editor@example.org")])
    with served(app) as url, httpx.Client(base_url=url, verify=False, headers={"Accept-Language": "en"}) as client:
        yield client


def test_the_demo_signs_its_visitor_in_as_an_editor(room: RoomSite, demo: httpx.Client) -> None:
    page = demo.get("room/", follow_redirects=True)
    assert "This is a demo." in page.text and "Your first look" in page.text
    assert "editions/daily/1" in page.text.partition("first-look")[2].partition("</section>")[0]
    assert demo.get("room/calendar").status_code == 200 and demo.get("room/settings").status_code == 403
    with room.newsroom.runtime.store.write() as connection:
        connection.exec_driver_sql("UPDATE editions SET state = 'done'")
    page = demo.get("room/")
    assert "Both editions are on their way." in page.text


def test_the_demo_signs_nobody_in_from_elsewhere(demo: httpx.Client) -> None:
    """A page of another site could lead its own name to this machine."""
    for host in ("demo.evil.example", "192.0.2.1:8080", "127.0.0.1.evil.example", "[::2]", "a b"):
        answer = demo.get("room/sign-in", headers={"Host": host})
        assert answer.status_code in (400, 403) and COOKIE not in answer.headers.get("set-cookie", ""), host
    answer = demo.get("room/sign-in", params={"next": "//evil.example"})
    assert answer.headers["location"] == "/room/"


def test_a_newsroom_that_is_no_demo_has_no_first_look(room: RoomSite) -> None:
    page = room.browser("editor").get("").text
    assert "This is a demo" not in page and "Your first look" not in page
