"""A request with bytes that no store can hold is refused: it is no error of the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, MONDAY, open_newsroom
from tests.web.room.conftest import Browser, RoomSite
from tests.web.server import served
from tidings.web.app import newsroom_app
from tidings.web.room.routes import ROUTES
from tidings.web.room.visit import csrf_token

PATHS = (
    "", "subscribe/", "confirm/", "unsubscribe/", "preferences/", "review/", "archive/", "media/", "feeds/", "hooks/",
    "en/", "room/", "api/", "api/items/", "api/v1/",
)  # fmt: skip

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Iterator[Browser]:
    schedules = {"daily": DAILY + "approval: {by: [boss@example.org]}\n"}
    with open_newsroom(tmp_path / "n", database_url, schedules) as newsroom:
        newsroom.item("one")
        newsroom.tick(MONDAY)
        with ExitStack() as clients, served(newsroom_app(newsroom.runtime)) as url:
            yield RoomSite(newsroom, url, clients).browser("admin")


def test_a_zero_byte_is_refused_everywhere(admin: Browser) -> None:
    """On PostgreSQL any `/%00` of a stranger was answered with 500, and a traceback went into the log."""
    for path in PATHS:
        for method in ("GET", "POST"):
            assert admin.client.request(method, f"/{path}%00").status_code == 404
    values = {"schedule": "daily", "number": "1", "language": "en", "story": "one"}
    for route in ROUTES:
        if route.method == "GET" and route.path != "sign-in/openid":
            path = re.sub(r"{(\w+)(?::\w+)?}", lambda match: values.get(match[1], "1"), route.path)
            odd = re.sub(r"{\w+(?::\w+)?}", "a%00b", route.path)
            for address in (f"/room/{odd}", f"/room/{path}?text=%00&q=%00&list=%00&who=%00"):
                assert admin.client.get(address).status_code < 500, address
    token = csrf_token(admin.cookie)
    for path, name in (("room/pause", "what"), ("room/stories/new", "title"), ("subscribe/", "email")):
        odd_form = f"{name}=a%00b&csrf={token}"
        answer = admin.client.post(f"/{path}", content=odd_form, headers=FORM)
        assert answer.status_code < 500, path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"email": "\\ud800@x.example"}', b'{"email": NaN}'])
def test_odd_bytes_in_a_body_are_no_error_of_ours(admin: Browser, content: bytes) -> None:
    for path in ("api/subscriptions", "api/unsubscriptions", "api/items", "subscribe/digest"):
        for kind in ("application/json", "application/x-www-form-urlencoded"):
            answer = admin.client.post(f"/{path}", content=content, headers={"Content-Type": kind})
            assert answer.status_code < 500, (path, kind)
