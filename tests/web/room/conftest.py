"""A newsroom with a team, its comms room on a real server, and browsers that are signed in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.newsroom_folder import ReceivedMail, make_newsroom_folder
from tests.web.server import served
from tidings.runtime.team import sign_in
from tidings.store.people import team
from tidings.store.people.team import LogEntry, Role
from tidings.store.service.clock import real_now
from tidings.web.app import newsroom_app
from tidings.web.room.routes import ROUTES
from tidings.web.room.visit import COOKIE, csrf_token

APPROVED = DAILY + "approval: {by: [boss@example.org], ahead: 3h}\n"
PRESS = "cadence: {on: request}\ndeliver: [{list: press}]\n"
BEFORE = MONDAY - 2 * HOUR
PASSWORD = "blue lantern river seven"
VALUES = {
    "schedule": "daily",
    "number": "1",
    "frame": "0",
    "story": "one",
    "language": "en",
    **dict.fromkeys(("token", "preview", "delivery", "version"), "none"),
}
"""What stands in the addresses of the room of `open_room`."""
_QUERIES = {
    "stories/edit": "?file=content/{story}.en.md",
    "stories/version": "?file=content/{story}.en.md&version={version}",
    "settings/edit": "?file=schedules/{schedule}.yaml",
    "settings/schedule": "?file=schedules/{schedule}.yaml",
    "settings/version": "?file=schedules/{schedule}.yaml&version={version}",
    "calendar/move": "?schedule={schedule}&slot=2026-03-05&day=2026-03-05",
}


def screens(**values: str) -> dict[str, str]:
    """Return the address of every page in the permission table, with its query, by the path of its route."""
    known = VALUES | values
    pages = [route.path for route in ROUTES if route.method == "GET"]
    return {page: f"{page}{_QUERIES.get(page, '')}".format_map(known) for page in pages}


@dataclass
class Browser:
    """A browser in which a member is signed in, or nobody."""

    client: httpx.Client
    cookie: str = ""

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.client.get(f"room/{path}", params=query)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form as the page of this browser would, and follow to the next page."""
        return self.send(path, csrf=csrf_token(self.cookie), **fields)

    def send(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form without its token."""
        return self.client.post(f"room/{path}", data=fields, follow_redirects=True)


@dataclass
class RoomSite:
    """The newsroom and its room."""

    newsroom: RunningNewsroom
    url: str
    open_clients: ExitStack = field(default_factory=ExitStack)
    log_start: int = 0
    """The number of the last log line before a test, for tests that share a room."""

    def member(self, role: str, lists: tuple[str, ...] = (), email: str = "") -> int:
        """Return the id of the member ROLE@example.org, who is added first if need be."""
        address = email or f"{role}@example.org"
        with self.newsroom.runtime.store.write() as connection:
            known = team.find_member(connection, address)
            if known is not None:
                return known.id
            made = team.add_member(connection, address, Role(role), lists, real_now())
            assert made is not None
            return made

    def browser(self, role: str | None = None, lists: tuple[str, ...] = (), email: str = "") -> Browser:
        """Return a browser of a member with this role, or of somebody who is not signed in."""
        # Without `verify`, each client would read all certificates of the machine.
        made = httpx.Client(base_url=self.url, headers={"Accept-Language": "en"}, verify=False)
        client = self.open_clients.enter_context(made)
        if role is None:
            return Browser(client)
        number = self.member(role, lists, email)
        with self.newsroom.runtime.store.write() as connection:
            token = sign_in.start_session(connection, number, "a test", real_now())
        client.cookies.set(COOKIE, token)
        return Browser(client, token)

    def log(self) -> list[LogEntry]:
        """Return the whole log of a test, newest first."""
        with self.newsroom.runtime.store.read() as connection:
            return [entry for entry in team.log_entries(connection) if entry.id > self.log_start]


@cache
def _prepared_room() -> tuple[tempfile.TemporaryDirectory[str], list[ReceivedMail]]:
    """The folder of a room, and its mails so far. Three ticks are made once and copied for each test."""
    kept = tempfile.TemporaryDirectory()
    root = Path(kept.name) / "n"
    with open_newsroom(root, "sqlite:///tidings.db") as newsroom:
        newsroom.schedule("daily", APPROVED)
        newsroom.schedule("press", PRESS)
        newsroom.reader("anna")
        newsroom.reader("boris", language="ru")
        newsroom.tick(MONDAY - 12 * HOUR)
        newsroom.item("one", title="A <script>alert(1)</script> & a well")
        newsroom.item("one", "ru", title="Колодец и дорога")
        newsroom.tick(BEFORE)
        assert newsroom.editions() == ["daily/1 held"]
        mails = list(newsroom.folder.mails.received)
    shutil.rmtree(root / "tidings.db.d", ignore_errors=True)
    (root / "tidings.yaml").unlink()
    return kept, mails


@contextmanager
def open_room(root: Path) -> Iterator[RoomSite]:
    """A daily edition for two readers waits for approval; its title would break a page that does not escape."""
    kept, mails = _prepared_room()
    shutil.copytree(Path(kept.name) / "n", root)
    with ExitStack() as clients, make_newsroom_folder(root, "sqlite:///tidings.db") as folder:
        folder.mails.received += mails
        with folder.runtime() as runtime:
            runtime.set_clock(BEFORE)
            with served(newsroom_app(runtime)) as url:
                yield RoomSite(RunningNewsroom(folder, runtime, BEFORE), url, clients)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[RoomSite]:
    """A room of its own for each test."""
    with open_room(tmp_path / "n") as site:
        yield site
