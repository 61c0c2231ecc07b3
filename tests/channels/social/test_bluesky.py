"""Bluesky: a record with our key, facets in bytes, one session, and a card with or without a picture."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.channels.registry import SAMPLES, room
from tidings.channels.base import Attempt
from tidings.channels.social.bluesky import BlueskyChannel, Settings, record_key
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.channel_contract import sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Received, Step

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
TRY = Attempt("sky:story-1:story:0", AT)
JPEG = b"\xff\xd8\xff\xe0 a picture"
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")
RECEIPT = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3k2yihcrp6f2c bafyreihd6fgr5kobx7jbpzrt6yzvp3glb44"


def usual(received: Received) -> Step:
    answer = SAMPLES["bluesky"].answer
    assert not isinstance(answer, Step)
    return answer(received)


def sky(sink: HttpSink) -> BlueskyChannel:
    channel = room("bluesky", sink.url)
    assert isinstance(channel, BlueskyChannel)
    return channel


def calls(sink: HttpSink) -> list[str]:
    return [request.path.rpartition("/")[2].partition("?")[0].rpartition(".")[2] for request in sink.received]


def put(sink: HttpSink) -> dict[str, Any]:
    """Return the newest record, with its key."""
    parsed: dict[str, Any] = json.loads(
        [request for request in sink.received if request.path.endswith("putRecord")][-1].body
    )
    return parsed


def test_a_repeat_is_the_same_record_in_one_session() -> None:
    with HttpSink(answer=usual) as sink:
        channel = sky(sink)
        body = channel.prepare(sample_post())
        outcomes = [channel.send(body, replace(TRY, at=AT + timedelta(hours=hours))) for hours in range(3)]
    assert len({outcome.receipt for outcome in outcomes}) == 1 and {outcome.verdict for outcome in outcomes} == {
        Verdict.ACCEPTED
    }
    assert calls(sink) == ["createSession", "putRecord", "putRecord", "putRecord"]
    assert len({request.body for request in sink.received[1:]}) == 1
    record = put(sink)["record"]
    assert TID.fullmatch(put(sink)["rkey"])
    assert (
        record["langs"] == [sample_post().language]
        and record["$type"] == "app.bsky.feed.post"
        and record["createdAt"].endswith("Z")
    )
    assert outcomes[0].via == f"https://bsky.app/profile/steppe.example.org/post/{put(sink)['rkey']}"


def test_posts_of_the_same_moment_have_different_keys() -> None:
    keys = {record_key(f"sky:story-{number}:story:0", "2026-11-23T09:00:00.000Z") for number in range(2_000)}
    assert len(keys) == 2_000 and all(map(TID.fullmatch, keys))
    assert record_key("a", "2026-11-23T09:00:00.000Z") < record_key("a", "2026-11-23T09:00:01.000Z")


def test_facets_have_positions_in_bytes() -> None:
    item = sample_item(
        1, title="Ұлт саулығы 👩🏽\u200d🚒", summary="Read https://other.example.org/ә, now.", topics=("sdg-3",)
    )
    with HttpSink(answer=usual) as sink:
        channel = sky(sink)
        channel.send(channel.prepare(replace(sample_post(), items=(item,), title=item.title, url=item.url)), TRY)
    record = put(sink)["record"]
    raw = record["text"].encode()
    facets = {
        raw[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(): facet["features"][0].get("uri")
        for facet in record["facets"]
    }
    assert facets == {
        item.title: item.url,
        "https://other.example.org/ә": "https://other.example.org/ә",
        "#SDG3": None,
    }


def test_own_words_have_whole_links_and_live_tags() -> None:
    link = "https://example.org/wiki/Almaty_(city)"
    text = f"#Вода for 4,000 people (#SDG6, #1 of all): {link}. See ({link}) and C#, https://example.org/#part #ТазаСу!"
    with HttpSink(answer=usual) as sink:
        channel = sky(sink)
        channel.send(channel.prepare(replace(sample_post(), items=(sample_item(text=text),))), TRY)
    record = put(sink)["record"]
    raw = record["text"].encode()
    links = [
        (raw[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(), facet["features"][0])
        for facet in record["facets"]
    ]
    assert [seen for seen, _ in links][:6] == [
        "#Вода", "#SDG6", link, link, "https://example.org/#part", "#ТазаСу",
    ]  # fmt: skip
    assert all(feature.get("uri", seen) == seen for seen, feature in links)
    assert [feature["tag"] for _, feature in links if "tag" in feature] == ["Вода", "SDG6", "ТазаСу"]


@pytest.mark.parametrize("trouble", ["none to be had", "refused", "lost"])
def test_a_card_whose_picture_fails_has_none(trouble: str) -> None:
    def answer(received: Received) -> Step:
        if received.path.endswith("uploadBlob"):
            return Step(413) if trouble == "refused" else Step(reset="after")
        return usual(received)

    picture = (lambda url, most: None) if trouble == "none to be had" else (lambda url, most: JPEG)
    item = replace(sample_item(1), image="https://news.example.org/media/a/b.jpg", image_alt="A well")
    with HttpSink(answer=answer) as sink:
        channel = sky(sink)
        outcome = channel.send(channel.prepare(replace(sample_post(), items=(item,))), replace(TRY, picture=picture))
    assert outcome.verdict is Verdict.ACCEPTED
    external = put(sink)["record"]["embed"]["external"]
    assert external["uri"] == item.url and external["title"] == item.title and "thumb" not in external


def test_a_card_has_its_picture() -> None:
    item = replace(sample_item(1), image="https://news.example.org/media/a/b.jpg", image_alt="A well")
    asked: list[tuple[str, int]] = []

    def picture(url: str, most: int) -> bytes:
        asked.append((url, most))
        return JPEG

    with HttpSink(answer=usual) as sink:
        channel = sky(sink)
        channel.send(channel.prepare(replace(sample_post(), items=(item,))), replace(TRY, picture=picture))
    assert asked == [(item.image, 1_000_000)]
    assert put(sink)["record"]["embed"]["external"]["thumb"]["mimeType"] == "image/jpeg"


def test_an_expired_session_is_renewed_once() -> None:
    ended = Step(400, b'{"error": "ExpiredToken", "message": "Token has expired"}')
    plan = iter([ended])

    def answer(received: Received) -> Step:
        return next(plan, usual(received)) if received.path.endswith("putRecord") else usual(received)

    with HttpSink(answer=answer) as sink:
        channel = sky(sink)
        outcome = channel.send(channel.prepare(sample_post()), TRY)
    assert outcome.verdict is Verdict.ACCEPTED
    assert calls(sink) == ["createSession", "putRecord", "createSession", "putRecord"]
    with HttpSink(answer=lambda one: ended if one.path.endswith("putRecord") else usual(one)) as sink:
        channel = sky(sink)
        assert channel.send(channel.prepare(sample_post()), TRY).verdict is Verdict.NOT_STARTED
    assert calls(sink).count("putRecord") == 2


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        (Step(401, b'{"error": "AuthenticationRequired"}'), Verdict.NOT_STARTED),
        (Step(500), Verdict.DEFERRED),
        (Step(reset="after"), Verdict.DEFERRED),
        (Step(429, headers={"ratelimit-reset": "4102444800"}), Verdict.DEFERRED),
    ],
)
def test_a_failed_login_has_posted_nothing(step: Step, verdict: Verdict) -> None:
    with HttpSink([step]) as sink:
        channel = sky(sink)
        outcome = channel.send(channel.prepare(sample_post()), TRY)
    assert outcome.verdict is verdict and calls(sink) == ["createSession"]
    assert "abcd-efgh" not in outcome.reason
    assert (outcome.retry_after or 0) > 0 or step.status != 429


def test_an_edit_keeps_the_date_and_a_post_can_be_deleted() -> None:
    first = {"uri": RECEIPT.partition(" ")[0], "cid": "a"}
    kept = {"createdAt": "2026-11-20T09:00:00.000Z", "reply": {"root": first, "parent": first}}
    there = {"uri": RECEIPT.partition(" ")[0], "cid": "b", "value": {"text": "old", **kept}}

    def answer(received: Received) -> Step:
        if "getRecord" in received.path:
            return Step(200, json.dumps(there).encode())
        return Step(200, b"{}") if received.path.endswith("deleteRecord") else usual(received)

    with HttpSink(answer=answer) as sink:
        channel = sky(sink)
        edited = channel.edit(RECEIPT, channel.prepare(sample_post()), TRY)
        gone = channel.take_down(edited.receipt, TRY)
    assert (edited.verdict, gone.verdict) == (Verdict.ACCEPTED, Verdict.ACCEPTED)
    assert put(sink)["rkey"] == "3k2yihcrp6f2c" and put(sink)["record"]["text"] != "old"
    assert {name: put(sink)["record"][name] for name in kept} == kept
    assert json.loads(sink.received[-1].body)["rkey"] == "3k2yihcrp6f2c"
    with HttpSink(
        answer=lambda one: Step(400, b'{"error": "RecordNotFound"}') if "getRecord" in one.path else usual(one)
    ) as sink:
        channel = sky(sink)
        assert channel.edit(RECEIPT, channel.prepare(sample_post()), TRY) == Outcome(
            Verdict.REJECTED, reason="the post is no longer there"
        )


def test_a_reply_on_bluesky_names_uri_and_cid() -> None:
    with HttpSink(answer=usual) as sink:
        channel = sky(sink)
        body = channel.prepare(replace(sample_post(), items=(), text="Corrected."))
        channel.send(body, replace(TRY, reply_to=RECEIPT))
    uri, cid = RECEIPT.split(" ")
    assert put(sink)["record"]["reply"] == {"root": {"uri": uri, "cid": cid}, "parent": {"uri": uri, "cid": cid}}
    assert "embed" not in put(sink)["record"]


@pytest.mark.parametrize("handle", ["news", "news@example.org", "-a.example.org", "a.example.1", ""])
def test_an_invalid_handle_is_refused(handle: str) -> None:
    with pytest.raises(ValueError, match="is not a handle"):
        Settings.model_validate({"type": "bluesky", "handle": handle, "password": "x"})


def test_an_edition_links_each_story_also_with_own_text() -> None:
    items = (sample_item(1), sample_item(2, text="Our own words."))
    channel = room("bluesky")
    shown = channel.text(channel.prepare(replace(sample_post(), items=items)))
    assert all(item.url in shown for item in items) and "Our own words." in shown
