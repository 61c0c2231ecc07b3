"""Feed readers of other projects fetch our feeds over HTTP: newsboat and feedparser."""

from __future__ import annotations

import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import feedparser
import httpx
import pytest

from tests.conftest import require_program
from tests.fixtures.items import make_newsroom, open_store, put
from tests.render.samples import RICH, START, item
from tests.web.server import served
from tidings.model.item import Attachment, Item
from tidings.pipeline.publish.publish import publish
from tidings.store.content.items import load_items
from tidings.web.app import create_app

NOW = START.replace(month=9)


def stored() -> list[Item]:
    return [
        *(item(number) for number in range(1, 6)),
        RICH,
        item(8, attachments=(Attachment("https://files.example.org/talk%20one.mp3", "Talk", "audio/mpeg", 4_200),)),
        item(20, language="ru", story="story-1", title="Реки & озёра", url="https://news.example.org/ru/reka/"),
    ]


@pytest.mark.parametrize("ending", ["rss", "atom"])
def test_newsboat_shows_the_items_of_the_store(tmp_path: Path, ending: str) -> None:
    program = require_program("newsboat")
    store = open_store(f"sqlite:///{tmp_path / 'tidings.db'}", tmp_path)
    put(store, *stored())
    newsroom = make_newsroom(tmp_path)
    publish(store, newsroom, now=NOW)
    with served(create_app(store, newsroom.public)) as address:
        url = f"{address}feeds/en/all.{ending}"
        (tmp_path / "urls").write_text(url + "\n")
        (tmp_path / "config").write_text("")
        cache = tmp_path / "cache.db"
        command = [
            program,
            "-u",
            str(tmp_path / "urls"),
            "-c",
            str(cache),
            "-C",
            str(tmp_path / "config"),
            "-x",
            "reload",
        ]
        for _ in range(3):
            subprocess.run(
                command, check=True, capture_output=True, env={"HOME": str(tmp_path), "LANG": "C.UTF-8"}, timeout=120
            )
    with sqlite3.connect(cache) as database:
        (feed,) = database.execute("SELECT title, url FROM rss_feed").fetchall()
        rows = database.execute(
            "SELECT guid, title, url, pubDate, author, content, enclosure_url FROM rss_item"
        ).fetchall()
    database.close()
    assert feed == ("Aul & Steppe – All news", f"{newsroom.site.url}en/")
    with store.read() as connection:
        wanted = {item.id: item for item in load_items(connection, language="en")}
    assert {row[0] for row in rows} == set(wanted)
    assert len(rows) == len(wanted)
    rich = wanted[RICH.id]
    for guid, title, link, published, author, content, enclosure in rows:
        one = wanted[guid]
        assert (title, link) == (one.title, one.url)
        assert datetime.fromtimestamp(published, UTC) == one.published
        assert "<p>" in content
        if one.authors:
            # With several dc:creators, it keeps the last one.
            assert author and set(author.split(", ")) <= set(one.authors)
        # newsboat only keeps enclosures that can be played.
        assert (enclosure or "") == (
            "https://files.example.org/talk%20one.mp3" if one.attachments and one is not rich else ""
        )
    store.close()


def test_feedparser_gets_304_the_second_time(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'tidings.db'}", tmp_path)
    put(store, *stored())
    newsroom = make_newsroom(tmp_path)
    publish(store, newsroom, now=NOW)
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as client:
        for ending in ("rss", "atom"):
            path = f"/feeds/ru/all.{ending}"
            answer = client.get(path)
            parsed = feedparser.parse(answer.content, response_headers=dict(answer.headers))
            assert not parsed.bozo
            assert [(each.title, each.link) for each in parsed.entries] == [
                ("Реки & озёра", "https://news.example.org/ru/reka/")
            ]
            again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304
            publish(store, newsroom, now=NOW.replace(year=2027), force=True)
            assert client.get(path).content == answer.content
    store.close()
