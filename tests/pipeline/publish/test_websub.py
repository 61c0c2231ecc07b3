"""WebSub: a hub gets one ping for each changed feed, and the feed names the hub and its own URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import feedparser
import pytest
import requests

from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import MONDAY
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.web.server import served
from tidings.runtime.tick import tick
from tidings.testing.http_sink import HttpSink, Step
from tidings.web.app import newsroom_app

__all__ = ["run_in"]


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Iterator[NewsroomFolder]:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as made:
        yield made


def join(folder: NewsroomFolder, hub: str) -> None:
    main = (folder.root / "tidings.yaml").read_text()
    channel = f"channels:\n  hub: {{type: websub, url: {hub}, allow_private: true}}\n"
    folder.write("tidings.yaml", main.replace("channels:\n", channel, 1))


def pinged(hub: HttpSink) -> list[str]:
    """Return the addresses that a hub was pinged about."""
    asked = [parse_qs(request.body.decode()) for request in hub.received]
    assert {one["hub.mode"][0] for one in asked} <= {"publish"}
    return [one["hub.url"][0] for one in asked]


def test_a_hub_is_pinged_for_changed_feeds_that_name_it(folder: NewsroomFolder) -> None:
    with HttpSink([Step(204)]) as hub:
        join(folder, hub.url)
        folder.write("content/one.en.md", item("One"))
        with folder.runtime() as runtime, served(newsroom_app(runtime)) as url:
            tick(runtime, MONDAY)
            runtime.set_clock(MONDAY)
            first = runtime.ping_hubs()
            pings = pinged(hub)
            assert first == len(pings) == len(set(pings)) == 9  # three languages, three formats
            for address in pings:
                answer = requests.get(address.replace("https://news.example.org/", url), timeout=120)
                if address.endswith(".json"):
                    feed = json.loads(answer.content)
                    assert (feed["feed_url"], feed["hubs"]) == (address, [{"type": "WebSub", "url": hub.url}])
                    continue
                links = [(link["rel"], link["href"]) for link in feedparser.parse(answer.content).feed.links]
                assert [href for rel, href in links if rel == "self"] == [address]
                assert [href for rel, href in links if rel == "hub"] == [hub.url]
            assert runtime.ping_hubs() == 0
            folder.write("content/two.ru.md", item("Две"))
            tick(runtime, MONDAY + timedelta(hours=1))
            runtime.ping_hubs()
            assert {address.split("/")[4] for address in pinged(hub)[first:]} == {"ru"}


def test_hub_that_is_down_delays_nothing(folder: NewsroomFolder) -> None:
    with HttpSink([Step(503), Step(reset="after"), Step(202)]) as hub:
        join(folder, hub.url)
        folder.write("content/one.en.md", item("One"))
        with folder.runtime() as runtime:
            assert tick(runtime, MONDAY).published is not None
            now = MONDAY
            pings = []
            for minutes in (0, 0, 1, 2, 10, 20):
                now += timedelta(minutes=minutes)
                runtime.set_clock(now)
                pings.append(runtime.ping_hubs())
            # One failure in each of the first two calls. Then every hub gets one ping.
            assert sum(pings) == 9
            assert len(pinged(hub)) == 9 + 2


def test_check_refuses_posts_to_a_hub(folder: NewsroomFolder, run_in: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in folder.env.items():
        monkeypatch.setenv(name, value)
    join(folder, "https://hub.example/")
    folder.write("schedules/daily.yaml", 'cadence: {daily: "09:00"}\ndeliver: [{channel: hub}]\n')
    refused = run_in(folder.root, "check")
    assert refused.code == 1 and "schedules/daily.yaml:2" in refused.out and "takes no posts" in refused.out
