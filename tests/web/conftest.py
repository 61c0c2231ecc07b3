"""A published newsroom, and a client of the application that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection
from starlette.types import Receive, Scope, Send

from tests.fixtures.items import make_newsroom, media_file, open_store, put
from tests.render.samples import START, item
from tests.web.server import served
from tidings.config.settings import Newsroom
from tidings.model.item import Attachment, Image
from tidings.pipeline.publish.publish import publish
from tidings.runtime.newsroom import Runtime
from tidings.runtime.team import sign_in
from tidings.store.engine import Store
from tidings.store.people import sign_ups
from tidings.store.service.clock import real_now
from tidings.web import app
from tidings.web.api.v1.app import create_team_api
from tidings.web.app import create_app

NOW = START.replace(month=8)
SITE_URL = "https://news.example.org/"


class _ApiWhenAsked:
    """The team's API, built at its first request: most tests send it none, and building it takes long."""

    def __init__(self, find_runtime: Callable[[], Runtime]) -> None:
        self._build = cache(partial(create_team_api, find_runtime))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._build()(scope, receive, send)


@pytest.fixture(autouse=True, scope="session")
def _api_when_asked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "create_team_api", _ApiWhenAsked)
        yield


@pytest.fixture
def newsroom(tmp_path: Path) -> Newsroom:
    return make_newsroom(tmp_path)


@pytest.fixture
def store(tmp_path: Path, newsroom: Newsroom) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'tidings.db'}", tmp_path)
    picture = media_file(tmp_path, "река май.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")
    brief = media_file(tmp_path, "brief.pdf", b"%PDF-1.7 brief", "application/pdf")
    own = f"{SITE_URL}media/{picture.digest}/%D1%80%D0%B5%D0%BA%D0%B0%20%D0%BC%D0%B0%D0%B9.svg"
    put(
        opened,
        item(
            1,
            images=(Image(own, "A river in May", "The river", "N. Photographer"),),
            attachments=(Attachment(f"{SITE_URL}media/{brief.digest}/brief.pdf", "Brief", "application/pdf", 14),),
            media=(picture, brief),
        ),
        item(2, kind="press-release", topics=("water",)),
        item(3, language="ru", story="story-1", slug="reka", title="Река", url=SITE_URL + "ru/reka/"),
        item(4, slug="taken-back", withdrawn="Published in error."),
    )
    publish(opened, newsroom, now=NOW)
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store, newsroom: Newsroom) -> Iterator[httpx.Client]:
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as made:
        yield made


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all requests into one window of the limits, even if the clock reaches its end during the test."""
    moment, count = real_now(), sign_ups.count_request

    def count_now(connection: Connection, scope: str, value: str, window: timedelta, now: datetime) -> int:
        return count(connection, scope, value, window, moment)

    for module in (sign_ups, sign_in):
        monkeypatch.setattr(module, "count_request", count_now)
