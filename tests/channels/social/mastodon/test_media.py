"""Pictures on Mastodon are uploaded once. A picture that fails never fails the post."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.parser import BytesParser
from typing import Any

import pytest

from tests.channels.registry import settings_of
from tidings.channels.base import Attempt
from tidings.channels.social.mastodon.channel import MastodonChannel, Settings
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.channel_contract import sample_post
from tidings.testing.http_sink import HttpSink, Received, Step

PHOTO = b"\xff\xd8\xff a picture\r\n--of bytes"


class Memory:
    """`Uploads` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str) -> str:
        return self.kept.get(key, "")

    def put(self, key: str, remote: str) -> None:
        self.kept[key] = remote


class Server:
    """docs.joinmastodon.org/methods/media: the answer to the upload, then `looks` in turn; the last one repeats."""

    def __init__(self, upload: int = 200, *looks: int, post: int = 200) -> None:
        self.upload, self.looks, self.post = upload, list(looks), post
        self.calls: list[str] = []
        self.taken: dict[str, bytes] = {}
        self.sent: dict[str, Any] = {}

    def __call__(self, received: Received) -> Step:
        assert received.headers["authorization"] == "Bearer a-token-of-ours"
        name = f"{received.method} {received.path.partition('/api/')[2]}"
        self.calls.append(name)
        if name == "POST v2/media":
            head = b"Content-Type: " + received.headers["content-type"].encode() + b"\r\n\r\n"
            parts = BytesParser().parsebytes(head + received.body).get_payload()
            for part in parts:
                self.taken[part.get_param("name", header="content-disposition")] = part.get_payload(decode=True)
            return _json(self.upload, {"id": "22", "url": None if self.upload == 202 else "https://m.example/22.jpg"})
        if name == "GET v1/media/22":
            return _json(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0], {"id": "22"})
        if name == "GET v1/statuses/103":
            return _json(200, {"id": "103", "media_attachments": [{"id": "22", "type": "image"}]})
        self.sent = json.loads(received.body)
        refused = self.post == 422 and "media_ids" in self.sent
        return _json(422 if refused else 200, {"id": "103", "url": "https://m.example/@a/103"})


def _json(status: int, body: Any) -> Step:
    return Step(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _channel(url: str, pictures: str = "attach") -> MastodonChannel:
    written = settings_of("mastodon", url) | {"allow_private": True, "pictures": pictures}
    return MastodonChannel("x", Settings.model_validate(written))


def _tries(server: Server, memory: Memory, most: int = 10) -> list[Outcome]:
    """Send until the outcome is not DEFERRED."""
    outcomes: list[Outcome] = []
    with HttpSink(answer=server) as sink:
        while len(outcomes) < most and (not outcomes or outcomes[-1].verdict is Verdict.DEFERRED):
            channel = _channel(sink.url)
            attempt = Attempt("k", datetime.now(UTC), picture=lambda url, most: PHOTO, uploads=memory)
            outcomes.append(channel.send(channel.prepare(sample_post()), attempt))
    return outcomes


def test_a_picture_goes_with_its_alt_text() -> None:
    server = Server()
    [outcome] = _tries(server, Memory())
    assert outcome.receipt == "103" and server.calls == ["POST v2/media", "POST v1/statuses"]
    assert server.taken == {"file": PHOTO, "description": b"A well"}
    assert server.sent["media_ids"] == ["22"] and "picture" not in server.sent


def test_a_post_waits_for_a_busy_server_without_a_second_upload() -> None:
    server, memory = Server(202, 206, 206, 200), Memory()
    outcomes = _tries(server, memory)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DEFERRED] * 3 + [Verdict.ACCEPTED]
    assert [outcome.retry_after for outcome in outcomes[:3]] == [5, 10, 20]
    assert server.calls == ["POST v2/media", *["GET v1/media/22"] * 3, "POST v1/statuses"]
    assert server.sent["media_ids"] == ["22"] and list(memory.kept.values()) == ["22"]


@pytest.mark.parametrize(
    ("server", "tries"),
    [
        (Server(422), 1),
        (Server(500), 1),
        (Server(202, 404), 2),
        (Server(202, 422), 2),
        (Server(202, 500), 2),
        (Server(202, 206), 6),
        (Server(post=422), 1),
    ],
)
def test_a_failed_picture_is_left_out(server: Server, tries: int) -> None:
    outcomes = _tries(server, Memory())
    assert len(outcomes) == tries and outcomes[-1].verdict is Verdict.ACCEPTED
    assert "media_ids" not in server.sent and server.calls.count("POST v2/media") == 1


def test_an_edit_keeps_the_picture() -> None:
    server = Server()
    with HttpSink(answer=server) as sink:
        channel = _channel(sink.url)
        attempt = Attempt("k", datetime.now(UTC), picture=lambda url, most: PHOTO)
        assert channel.edit("103", channel.prepare(sample_post()), attempt).verdict is Verdict.ACCEPTED
    assert server.calls == ["GET v1/statuses/103", "PUT v1/statuses/103"]
    assert server.sent["media_ids"] == ["22"]


def test_with_cards_nothing_is_uploaded() -> None:
    server = Server()
    with HttpSink(answer=server) as sink:
        channel = _channel(sink.url, "card")
        bare = replace(sample_post(), items=(replace(sample_post().items[0], image_alt=""),))
        for one, post in ((channel, sample_post()), (_channel(sink.url), bare)):
            attempt = Attempt("k", datetime.now(UTC), picture=lambda url, most: PHOTO)
            assert one.send(one.prepare(post), attempt).verdict is Verdict.ACCEPTED
    assert server.calls == ["POST v1/statuses"] * 2
