"""A picture is uploaded once: the upload is remembered over refusals, lost answers and kill -9."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from tests.channels.registry import SAMPLES, room
from tests.fixtures.items import open_store
from tests.fixtures.newsroom import HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.channels.base import Attempt
from tidings.model.delivery import Verdict
from tidings.store import schema as t
from tidings.store.delivery.uploads import StoredUploads
from tidings.store.engine import Store
from tidings.testing.channel_contract import sample_post
from tidings.testing.http_sink import HttpSink, Received, Step


class Sky:
    """Bluesky as in the registry. `fail` gives the next posts another answer."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: list[Step] = []
        self.record: dict[str, Any] = {}

    def __call__(self, received: Received) -> Step:
        self.calls.append(received.path.rpartition(".")[2])
        if received.path.endswith("putRecord"):
            self.record = json.loads(received.body)["record"]
            if self.fail:
                return self.fail.pop(0)
        answer = SAMPLES["bluesky"].answer
        assert not isinstance(answer, Step)
        return answer(received)


@pytest.fixture
def sky() -> Sky:
    return Sky()


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str, sky: Sky) -> Iterator[RunningNewsroom]:
    with HttpSink(answer=sky) as sink, open_newsroom(tmp_path / "n", database_url) as opened:
        media = opened.folder.root / "content" / "media"
        media.mkdir()
        Image.new("RGB", (40, 40), "teal").save(media / "a.png")
        server = sink.url.partition("/hook/")[0]
        settings = f"type: bluesky, server: '{server}/', handle: a.org, password: {{env: DESK_SECRET}}"
        opened.configure("channels:\n", f"channels:\n  sky: {{{settings}, languages: [en], allow_private: true}}\n")
        opened.schedule("daily", 'cadence: {daily: "09:00"}\ndeliver: [{channel: sky, per: item}]\n')
        opened.tick(MONDAY - HOUR)
        opened.item("one", images='[{src: media/a.png, alt: "Teal"}]')
        yield opened


def kept(newsroom: RunningNewsroom) -> list[tuple[int, str]]:
    with newsroom.runtime.store.read() as connection:
        return [(row.delivery, row.remote) for row in connection.execute(select(t.uploads))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure", [Step(429, headers={"Retry-After": "0"}), Step(500), Step(reset="after")], ids=["429", "500", "reset"]
)
def test_a_retry_uses_the_earlier_upload(newsroom: RunningNewsroom, sky: Sky, failure: Step) -> None:
    sky.fail = [failure]
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + HOUR)
    assert sky.calls.count("putRecord") == 2 and sky.calls.count("uploadBlob") == 1
    assert sky.record["embed"]["external"]["thumb"]["mimeType"] == "image/jpeg"
    [entry] = newsroom.entries_of("sky")
    assert entry.state == "accepted"
    [(delivery, remote)] = kept(newsroom)
    assert delivery == entry.id and json.loads(remote) == sky.record["embed"]["external"]["thumb"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_upload_that_the_service_dropped_is_repeated(newsroom: RunningNewsroom, sky: Sky) -> None:
    sky.fail = [Step(429, headers={"Retry-After": "0"}), Step(400, b'{"error": "BlobNotFound"}')]
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + HOUR)
    assert sky.calls.count("uploadBlob") == 2 and len(kept(newsroom)) == 1
    assert [entry.state for entry in newsroom.entries_of("sky")] == ["accepted"]


def test_linkedin_reuses_its_picture(database_url: str, tmp_path: Path) -> None:
    calls: list[str] = []

    def linkedin(received: Received) -> Step:
        calls.append(f"{received.method} {received.path.partition('?')[0]}")
        if "/rest/images" in received.path:
            place = f"http://{received.headers['host']}/up"
            return Step(200, json.dumps({"value": {"uploadUrl": place, "image": "urn:li:image:C4"}}).encode())
        if received.path == "/up":
            return Step(201, b"")
        refused = calls.count(calls[-1]) == 1
        return Step(429) if refused else Step(201, b"", {"x-restli-id": "urn:li:share:7012"})

    store = open_store(database_url, tmp_path)
    at = datetime.now(UTC)
    with HttpSink(answer=linkedin) as sink:
        for verdict in (Verdict.DEFERRED, Verdict.ACCEPTED):
            # As after a crash, only the store remembers it.
            channel = room("linkedin", sink.url)
            attempt = Attempt("k", at, picture=lambda url, most: b"\xff\xd8", uploads=StoredUploads(store, 7, at))
            assert channel.send(channel.prepare(sample_post()), attempt).verdict is verdict
        assert [call.rpartition("/")[2] for call in calls] == ["images", "up", "posts", "posts"]
        other = replace(attempt, uploads=StoredUploads(store, 8, at))
        assert channel.send(channel.prepare(sample_post()), other).verdict is Verdict.ACCEPTED
        assert len(calls) == 7
    store.close()


def test_failing_upload_memory_never_costs_the_post(tmp_path: Path) -> None:
    broken = Store(f"sqlite:///{tmp_path / 'none' / 'tidings.db'}", tmp_path)
    memory = StoredUploads(broken, 1, datetime.now(UTC))
    memory.put("a", "b")
    assert memory.get("a") == ""
    broken.close()
