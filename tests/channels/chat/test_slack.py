"""Slack: the common contract, and the limits of Block Kit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pydantic import SecretStr

from tidings.channels.base import Attempt
from tidings.channels.chat.slack import Settings, SlackChannel
from tidings.model.delivery import Verdict
from tidings.testing.channel_contract import sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Step


def channel(url: str, *, allow_private: bool = True) -> SlackChannel:
    return SlackChannel("team", Settings(type="slack", url=SecretStr(url), allow_private=allow_private))


def test_blocks_keep_to_the_limits_of_block_kit() -> None:
    for count in (1, 12, 60):
        blocks = json.loads(channel("http://127.0.0.1:9/").prepare(sample_post(count)))["blocks"]
        assert len(blocks) <= 50
        for block in blocks:
            text = block.get("text", {}).get("text", "")
            assert len(text) <= (150 if block["type"] == "header" else 3000)
            if "accessory" in block:
                assert 0 < len(block["accessory"]["alt_text"]) <= 2000


def test_a_headline_mentions_nobody_and_breaks_no_markup() -> None:
    body = channel("http://127.0.0.1:9/").prepare(sample_post())
    text = json.loads(body)["blocks"][0]["text"]["text"]
    assert "&lt;жаңа&gt;" in text
    assert "&amp;" in text
    assert text.count("|") == 1  # that of the link
    read = channel("http://127.0.0.1:9/").text(body)
    assert read.startswith(f"{sample_item().title.replace('|', '¦')}\n{sample_item().url}\n")


def test_200_without_ok_is_unknown() -> None:
    with HttpSink([Step(200, b"<html>a login page</html>")]) as sink:
        room = channel(sink.url)
        outcome = room.send(room.prepare(sample_post()), Attempt("k", datetime.now(UTC)))
    assert outcome.verdict is Verdict.UNKNOWN
