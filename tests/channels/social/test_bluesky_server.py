"""Bluesky's own server (the published PDS) on loopback has each of our posts once."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from PIL import Image

from tests.channels.cutting import Cutting
from tests.conftest import missing, require_program
from tests.servers.judges import TOOLS
from tidings.channels.base import Attempt
from tidings.channels.social.bluesky import BlueskyChannel, Settings, make
from tidings.model.delivery import Verdict
from tidings.testing.channel_contract import sample_item, sample_post

pytestmark = pytest.mark.slow
PASSWORD = "a-password-of-the-test"
PROGRAM = TOOLS / "bluesky" / "start.cjs"


@dataclass
class Account:
    """An account on the server, which is read without our code."""

    url: str
    handle: str
    did: str

    def records(self) -> list[dict[str, Any]]:
        """Return its posts, newest first."""
        query = {"repo": self.did, "collection": "app.bsky.feed.post", "limit": "100"}
        answer = requests.get(f"{self.url}xrpc/com.atproto.repo.listRecords", params=query, timeout=20)
        parsed: list[dict[str, Any]] = answer.json()["records"]
        return parsed

    def channel(self, url: str = "") -> BlueskyChannel:
        """Return our channel with this account."""
        written = {"type": "bluesky", "handle": self.handle, "password": PASSWORD, "server": url or self.url}
        return make("sky", Settings.model_validate(written | {"allow_private": True}))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    node = require_program("node")
    if not (PROGRAM.parent / "node_modules").is_dir():
        missing("the Bluesky PDS")
    with subprocess.Popen([node, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        parsed = json.loads(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{parsed['port']}/"
        finally:
            process.kill()
            shutil.rmtree(parsed["folder"], ignore_errors=True)


@pytest.fixture
def account(server: str, request: pytest.FixtureRequest) -> Account:
    """Create an account for each test."""
    handle = f"t{abs(hash(request.node.nodeid)) % 10**9}.test"
    wanted = {"handle": handle, "email": f"{handle}@example.org", "password": PASSWORD}
    answer = requests.post(f"{server}xrpc/com.atproto.server.createAccount", json=wanted, timeout=60)
    assert answer.status_code == 200, answer.text
    return Account(server, handle, answer.json()["did"])


def picture(url: str, most: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (600, 300), "#0077b6").save(out, "JPEG")
    return out.getvalue()


def attempt(story: str = "one") -> Attempt:
    return Attempt(f"sky:{story}:story:0", datetime.now(UTC), picture)


ITEM = replace(
    sample_item(1, title="Ауылға су келді 👩🏽\u200d🚒", summary="4,000 people drink clean water.", topics=("sdg-6",)),
    image="https://news.example.org/media/a/well.jpg",
    image_alt="A well",
)
POST = replace(sample_post(), items=(ITEM,), title=ITEM.title, url=ITEM.url, language="kk")


def test_a_post_is_there_with_facets_language_and_card(account: Account) -> None:
    channel = account.channel()
    outcome = channel.send(channel.prepare(POST), attempt())
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    [record] = account.records()
    value = record["value"]
    assert outcome.receipt == f"{record['uri']} {record['cid']}"
    assert value["langs"] == ["kk"] and value["text"].startswith(ITEM.title)
    external = value["embed"]["external"]
    assert (external["uri"], external["title"]) == (ITEM.url, ITEM.title)
    assert external["thumb"]["mimeType"] == "image/jpeg" and external["thumb"]["size"] == len(picture("", 0))
    raw = value["text"].encode()
    links = [
        (raw[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(), facet["features"][0].get("uri"))
        for facet in value["facets"]
    ]
    assert links == [(ITEM.title, ITEM.url), ("#SDG6", None)]


def test_a_repeat_changes_nothing_and_other_stories_are_new(account: Account) -> None:
    channel = account.channel()
    outcomes = [channel.send(channel.prepare(POST), attempt()) for _ in range(3)]
    assert len({outcome.receipt for outcome in outcomes}) == 1
    for number in range(5):
        assert channel.send(channel.prepare(POST), attempt(f"s{number}")).verdict is Verdict.ACCEPTED
    assert len(account.records()) == 6


def test_a_post_is_edited_replied_to_and_deleted(account: Account) -> None:
    channel = account.channel()
    first = channel.send(channel.prepare(POST), attempt())
    mended = replace(POST, items=(replace(ITEM, correction="Correction: 4,180, not 4,810."),), at=datetime.now(UTC))
    before = account.records()[0]["value"]["createdAt"]
    edited = channel.edit(first.receipt, channel.prepare(mended), attempt("edit"))
    [record] = account.records()
    assert "4,180" in record["value"]["text"] and record["value"]["createdAt"] == before
    answer = replace(POST, items=(), title="", text="Correction: 4,180, not 4,810.")
    outcome = channel.send(channel.prepare(answer), replace(attempt("answer"), reply_to=edited.receipt))
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    [parent] = [record["value"]["reply"]["parent"] for record in account.records() if "reply" in record["value"]]
    assert parent["uri"] == record["uri"]
    for _ in range(2):
        assert channel.take_down(edited.receipt, attempt()).verdict is Verdict.ACCEPTED
    assert channel.edit(edited.receipt, channel.prepare(POST), attempt()).verdict is Verdict.REJECTED
    assert len(account.records()) == 1


def test_a_translation_replies_to_the_first_post_even_if_edited(account: Account) -> None:
    channel = account.channel()
    first = channel.send(channel.prepare(POST), attempt())
    english = channel.prepare(replace(POST, language="en", items=(replace(ITEM, language="en", title="Water"),)))
    for _ in range(2):
        second = channel.send(english, replace(attempt("one:1"), reply_to=first.receipt))
    edited = channel.edit(second.receipt, channel.prepare(replace(POST, language="en")), attempt("edit"))
    assert edited.verdict is Verdict.ACCEPTED, edited
    records = {record["value"]["langs"][0]: record for record in account.records()}
    assert len(account.records()) == 2 and "reply" not in records["kk"]["value"]
    answered = {"uri": records["kk"]["uri"], "cid": records["kk"]["cid"]}
    assert records["en"]["value"]["reply"] == {"root": answered, "parent": answered}
    assert records["en"]["value"]["text"].startswith(ITEM.title)


def test_a_picture_is_uploaded_again_only_if_the_server_lost_it(account: Account) -> None:
    kept: dict[str, str] = {}

    class Memory:
        def get(self, key: str) -> str:
            return kept.get(key, "")

        def put(self, key: str, remote: str) -> None:
            kept[key] = remote

    tried = replace(attempt(), uploads=Memory())
    channel = account.channel()
    first = channel.send(channel.prepare(POST), tried)
    [blob] = kept.values()
    [record] = account.records()
    assert json.loads(blob) == record["value"]["embed"]["external"]["thumb"]
    assert channel.send(channel.prepare(POST), tried).receipt == first.receipt and len(account.records()) == 1
    # The server does not have this blob: it is the address of another picture.
    gone = json.loads(blob)
    gone["ref"]["$link"] = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    kept.update(dict.fromkeys(kept, json.dumps(gone)))
    other = channel.send(channel.prepare(POST), replace(attempt("two"), uploads=tried.uploads))
    assert other.verdict is Verdict.ACCEPTED, other
    assert list(kept.values()) == [blob] and len(account.records()) == 2


def test_a_connection_lost_after_the_request_leads_to_one_post(account: Account) -> None:
    proxy = Cutting(int(account.url.rstrip("/").rpartition(":")[2]), b"putRecord")
    try:
        channel = account.channel(proxy.url)
        body = channel.prepare(POST)
        first = channel.send(body, attempt())
        assert first.verdict is Verdict.UNKNOWN and proxy.cuts == 1
        assert len(account.records()) == 1
        second = account.channel(proxy.url).send(body, attempt())
        assert second.verdict is Verdict.ACCEPTED, second
    finally:
        proxy.close()
    [record] = account.records()
    assert second.receipt == f"{record['uri']} {record['cid']}"


def test_a_wrong_password_is_reported_and_not_shown(account: Account) -> None:
    written = {"type": "bluesky", "handle": account.handle, "password": "wrong-word", "server": account.url}
    channel = make("sky", Settings.model_validate(written | {"allow_private": True}))
    outcome = channel.send(channel.prepare(POST), attempt())
    assert outcome.verdict is Verdict.NOT_STARTED and "app password is wrong" in outcome.reason
    assert "wrong-word" not in outcome.reason
