"""The newsroom of the room's tests, and programs with keys of its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.web.room.conftest import RoomSite, open_room
from tidings.store.people import api_keys, team
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now

Program = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def shared_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoomSite]:
    """One newsroom for the tests of a module, in their order."""
    with open_room(tmp_path_factory.mktemp("room") / "n") as site:
        yield site


@pytest.fixture
def room(shared_room: RoomSite) -> RoomSite:
    """The newsroom, with a log that begins at this test."""
    with shared_room.newsroom.runtime.store.read() as connection:
        shared_room.log_start = max((entry.id for entry in team.log_entries(connection)), default=0)
    return shared_room


@pytest.fixture
def program(room: RoomSite) -> Iterator[Program]:
    """Make a client with a new key of a role, for all lists or for some; None: without a key."""
    with ExitStack() as stack:

        def make(role: str | None, *lists: str, name: str = "") -> httpx.Client:
            headers = {}
            if role is not None:
                with room.newsroom.runtime.store.write() as connection:
                    made = api_keys.add_key(connection, name or role, Role(role), lists, who="test", now=real_now())
                assert made is not None
                headers["Authorization"] = f"Bearer {made}"
            client = httpx.Client(base_url=f"{room.url}api/v1", headers=headers, verify=False)
            return stack.enter_context(client)

        yield make
        with room.newsroom.runtime.store.write() as connection:
            for key in api_keys.list_keys(connection):
                api_keys.remove_key(connection, key.name)
