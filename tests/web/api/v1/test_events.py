"""Webhooks get one event when a person joins or leaves a list, in whatever way."""

from __future__ import annotations

from collections import Counter

from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite
from tidings.model.tokens import TokenPurpose
from tidings.store.people import subscribers
from tidings.store.service.events import unqueued_events


def _number(room: RoomSite, name: str) -> int:
    with room.newsroom.runtime.store.read() as connection:
        number = subscribers.find_id(connection, f"{name}@example.org")
    assert number is not None
    return number


def _events(room: RoomSite) -> Counter[tuple[str, int]]:
    with room.newsroom.runtime.store.read() as connection:
        events = unqueued_events(connection)
    return Counter((str(event.type), event.data["subscriber"]) for event in events if "subscriber" in event.data)


def test_each_way_to_join_and_leave_is_told_once(room: RoomSite, program: Program) -> None:
    before, newsroom = _events(room), room.newsroom
    editor, browser = program("editor"), room.browser("editor")
    for name in ("api", "link"):
        person = {"email": f"{name}@example.org", "list": "digest", "consent": "a form"}
        for _ in range(2):
            editor.post("subscribers", json=person)
    for _ in range(2):
        browser.post("subscribers/add", email="room@example.org", how="a form", add_list="digest", add_language="en")
    for name in ("command", "erased"):
        newsroom.reader(name)
    people = {name: _number(room, name) for name in ("api", "room", "command", "erased", "link")}
    for _ in range(2):
        editor.delete(f"subscribers/{people['api']}/lists/digest")
        browser.post(f"subscribers/{people['room']}", do="remove.digest")
        token = newsroom.runtime.keys.sign(TokenPurpose.UNSUBSCRIBE, people["link"], "digest")
        assert browser.client.post(f"unsubscribe/{token}", data={}).status_code == 200
        with newsroom.runtime.store.write() as connection:
            subscribers.unsubscribe(connection, people["command"], "digest", source="a command", now=newsroom.now)
    program("admin").post(f"subscribers/{people['erased']}/erase", json={"address": "erased@example.org"})
    new_events = _events(room) - before
    assert new_events == Counter(
        (kind, number) for number in people.values() for kind in ("subscriber.joined", "subscriber.left")
    )
