"""The newsroom of the room's tests, and programs with keys of its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.web.room.conftest import RoomSite
from tests.web.room.conftest import room as room
from tidings.store.people import api_keys
from tidings.store.people.team import Role
from tidings.store.service.clock import real_now

Program = Callable[..., httpx.Client]


@pytest.fixture
def program(room: RoomSite) -> Iterator[Program]:
    """Make a client with a new key of a role, for all lists or for some; None: without a key."""
    with ExitStack() as stack:

        def make(role: str | None, *lists: str, name: str = "") -> httpx.Client:
            headers = {}
            if role is not None:
                with room.newsroom.runtime.store.write() as connection:
                    made = api_keys.add_key(connection, name or role, Role(role), lists, who="test", now=real_now())
                headers["Authorization"] = f"Bearer {made}"
            client = httpx.Client(base_url=f"{room.url}api/v1", headers=headers, verify=False)
            return stack.enter_context(client)

        yield make
