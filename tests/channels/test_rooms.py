"""Every other channel: the contract of all, and what is each one's own."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from tidings.channels import discord, mastodon, mattermost, ntfy, rocketchat, teams, telegram
from tidings.channels.base import Attempt, Channel, Post
from tidings.channels.http import asked_wait
from tidings.channels.wording import cut, hashtag
from tidings.model.delivery import Verdict
from tidings.net import Answer
from tidings.testing.channel_contract import ChannelContract, sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Step

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)
TOKEN = "123456789:AAEhBOweik6ad9r-QXuP2ecExampleKey"
ALL: dict[str, tuple[Callable[[str, bool], Channel], Step]] = {
    "teams": (
        lambda url, private: teams.make("x", teams.Settings(type="teams", url=SecretStr(url), allow_private=private)),
        Step(202),
    ),
    "discord": (
        lambda url, private: discord.make(
            "x", discord.Settings(type="discord", url=SecretStr(url), allow_private=private)
        ),
        Step(200, b'{"id": "991"}'),
    ),
    "mattermost": (
        lambda url, private: mattermost.make(
            "x", mattermost.Settings(type="mattermost", url=SecretStr(url), allow_private=private)
        ),
        Step(200, b"ok"),
    ),
    "rocketchat": (
        lambda url, private: rocketchat.make(
            "x", rocketchat.Settings(type="rocketchat", url=SecretStr(url), allow_private=private)
        ),
        Step(200, b'{"success": true}'),
    ),
    "telegram": (
        lambda url, private: telegram.make(
            "x",
            telegram.Settings(
                type="telegram", token=SecretStr(TOKEN), chat="@steppe_news", server=url, allow_private=private
            ),
        ),
        Step(200, b'{"ok": true, "result": {"message_id": 17}}'),
    ),
    "mastodon": (
        lambda url, private: mastodon.make(
            "x",
            mastodon.Settings(type="mastodon", server=url, token=SecretStr("a-token-of-ours"), allow_private=private),
        ),
        Step(200, b'{"id": "103", "url": "https://social.example/@steppe/103"}'),
    ),
    "ntfy": (
        lambda url, private: ntfy.make(
            "x", ntfy.Settings(type="ntfy", server=url, topic=SecretStr("steppe"), allow_private=private)
        ),
        Step(200, b'{"id": "sPs71M8A2T"}'),
    ),
}


class Rooms(ChannelContract):
    kind = ""

    def make(self, url: str) -> Channel:
        return ALL[self.kind][0](url, True)

    def make_public(self, url: str) -> Channel:
        return ALL[self.kind][0](url, False)

    def test_a_success_that_says_nothing_is_no_success(self) -> None:
        if self.kind == "teams":
            return  # 202 is all that a Workflow says
        with HttpSink([Step(200, b"<html>a login page</html>")]) as sink:
            channel = self.make(sink.url)
            assert channel.send(channel.prepare(sample_post()), Attempt("k", AT)).verdict is Verdict.UNKNOWN


class TestTeams(Rooms):
    kind, success = "teams", ALL["teams"][1]


class TestDiscord(Rooms):
    kind, success = "discord", ALL["discord"][1]


class TestMattermost(Rooms):
    kind, success = "mattermost", ALL["mattermost"][1]


class TestRocketChat(Rooms):
    kind, success = "rocketchat", ALL["rocketchat"][1]


class TestTelegram(Rooms):
    kind, success = "telegram", ALL["telegram"][1]


class TestMastodon(Rooms):
    kind, success = "mastodon", ALL["mastodon"][1]


class TestNtfy(Rooms):
    kind, success = "ntfy", ALL["ntfy"][1]


def of(kind: str, url: str = "http://127.0.0.1:9/") -> Channel:
    return ALL[kind][0](url, True)


# -- what fits --------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        "water",
        "Вода",
        "құдықтар",
        "ауылға",
        "مياه",
        "المدارس",
        "清潔",
        "水",
        "👩🏽‍🚒",
        "🇰🇿",
        "e\u0301te\u0301",
        "&<b>",
        "@here",
        "_*[x](y)",
    ]
)
texts = st.lists(words, min_size=1, max_size=900).map(" ".join)


def counted(kind: str, body: bytes) -> int:
    """As the network counts, worked out anew."""
    message = json.loads(body)
    match kind:
        case "teams":
            return len(body)
        case "discord":
            return sum(len(one["title"]) + len(one.get("description", "")) for one in message["embeds"])
        case "telegram":
            seen = html.unescape(re.sub(r"</?[ab][^>]*>", "", message["text"]))
            return sum(2 if ord(char) > 0xFFFF else 1 for char in seen)
        case "mastodon":
            return len(re.sub(r"https?://\S+", "x" * 23, message["status"]))
        case "ntfy":
            return len(message["message"].encode())
        case _:
            return len(message["text"])


@pytest.mark.parametrize("kind", ALL)
@settings(max_examples=75)
@given(title=texts, summary=texts, count=st.sampled_from([1, 1, 1, 4, 30]))
def test_whatever_is_said_fits_and_keeps_its_link(kind: str, title: str, summary: str, count: int) -> None:
    channel = of(kind)
    items = tuple(sample_item(number, title=title, summary=summary) for number in range(count))
    post = replace(sample_post(), items=items, title=title if count == 1 else "Weekly digest")
    body = channel.prepare(post)
    assert counted(kind, body) == channel.length(body) <= channel.capabilities.max_length
    text = channel.text(body)
    assert items[0].url in text if count == 1 else all(item.url in text for item in items) or post.url in text
    if kind == "discord":
        message = json.loads(body)
        assert len(message["content"]) <= 2000 and len(message["embeds"]) <= 10
        assert all(len(one["title"]) <= 256 for one in message["embeds"])


def test_summaries_go_first_then_hashtags_then_words_of_the_title() -> None:
    room = of("mastodon")
    link = sample_item().url

    def said(**changes: str) -> str:
        return room.text(room.prepare(replace(sample_post(), items=(sample_item(**changes),))))

    assert said(title="Clean water", summary="It runs.") == f"Clean water\nIt runs.\n{link}\n\n#SDG6"
    assert said(title="Clean water", summary="It runs. " * 60) == f"Clean water\n{link}\n\n#SDG6"
    assert said(title="water " * 79, summary="x") == f"{'water ' * 79}\n{link}"
    shortened = said(title="water " * 100, summary="x")
    assert shortened.endswith(f"water…\n{link}") and len(shortened) - len(link) + 23 > 490


@pytest.mark.parametrize(
    ("text", "length", "said"),
    [
        ("short", 10, "short"),
        ("one two three", 8, "one two…"),
        ("one two three", 7, "one…"),
        ("清潔的水源", 4, "清潔的…"),
        ("👩🏽‍🚒👩🏽‍🚒", 6, "👩🏽‍🚒…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("word", 0, ""),
    ],
)
def test_a_cut_leaves_whole_words_or_whole_letters(text: str, length: int, said: str) -> None:
    assert cut(text, length) == said


def test_a_hashtag_has_a_capital_for_each_word() -> None:
    assert hashtag("clean-water") == "#CleanWater"
    assert hashtag("sdg-6") == "#SDG6"


# -- each one's own ---------------------------------------------------------------------------------------------------


def test_a_headline_breaks_no_markup_and_calls_nobody() -> None:
    post = replace(
        sample_post(), items=(sample_item(title="[x](http://evil.example) @channel **b** <i>", summary="a"),)
    )
    assert "](http://evil" not in of("mattermost").text(of("mattermost").prepare(post))
    assert "@channel" not in of("mattermost").text(of("mattermost").prepare(post))
    assert "&lt;i&gt;" in json.loads(of("telegram").prepare(post))["text"]
    assert json.loads(of("discord").prepare(post))["allowed_mentions"] == {"parse": []}
    card = json.loads(of("teams").prepare(post))["attachments"][0]["content"]
    assert "](http://evil" not in json.dumps(card)


def test_a_picture_goes_only_with_its_alt_text() -> None:
    bare = replace(sample_post(), items=(sample_item(image_alt=""),))
    for kind in ("discord", "teams"):
        assert "well.jpg" in of(kind).prepare(sample_post()).decode()
        assert "well.jpg" not in of(kind).prepare(bare).decode()


def test_receipts_name_the_post() -> None:
    found = {}
    for kind, (_, success) in ALL.items():
        with HttpSink([success]) as sink:
            channel = of(kind, sink.url)
            outcome = channel.send(channel.prepare(sample_post()), Attempt("k", AT))
            found[kind] = (outcome.receipt, outcome.via)
    assert found["telegram"] == ("17", "https://t.me/steppe_news/17")
    assert found["mastodon"] == ("103", "https://social.example/@steppe/103")
    assert found["discord"][0] == "991" and found["ntfy"][0] == "sPs71M8A2T"


def test_discord_is_asked_to_wait_and_ntfy_hears_its_topic_at_the_last_moment() -> None:
    with HttpSink([ALL["discord"][1]]) as sink:
        of("discord", sink.url).send(of("discord").prepare(sample_post()), Attempt("k", AT))
        assert sink.received[0].path.endswith("?wait=true")
    room = ntfy.make("x", ntfy.Settings(type="ntfy", topic=SecretStr("nobody-guesses-it"), allow_private=True))
    assert b"nobody-guesses-it" not in room.prepare(sample_post())


def test_mastodon_gets_one_key_for_one_post_and_the_language() -> None:
    with HttpSink([ALL["mastodon"][1]] * 3) as sink:
        room = of("mastodon", sink.url)
        for key in ("a", "a", "b"):
            room.send(room.prepare(sample_post()), Attempt(key, AT))
        keys = [one.headers["idempotency-key"] for one in sink.received]
        assert keys[0] == keys[1] != keys[2]
        assert json.loads(sink.received[0].body)["language"] == "kk"


def test_a_notice_is_told_everywhere() -> None:
    notice = Post(
        title="Held", url="https://x.example/", language="en", items=(), edition="", site="S", at=AT, text="Look."
    )
    for kind in ALL:
        assert "Look." in of(kind).text(of(kind).prepare(notice)), kind


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (telegram.Settings, {"type": "telegram", "token": "nonsense", "chat": "@news"}),
        (telegram.Settings, {"type": "telegram", "token": TOKEN, "chat": "news"}),
        (ntfy.Settings, {"type": "ntfy", "topic": "a topic"}),
        (mastodon.Settings, {"type": "mastodon", "server": "mastodon.social", "token": "t"}),
    ],
)
def test_what_cannot_be_is_refused_in_words(model: type[BaseModel], values: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait"),
    [
        (429, {"retry-after": "7"}, '{"retry_after": 99}', 7.0),
        (429, {}, '{"message": "slow down", "retry_after": 1.5}', 1.5),
        (429, {}, '{"ok": false, "parameters": {"retry_after": 35}}', 35.0),
        (429, {}, '{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}', 2.5),
        (429, {"x-ratelimit-reset": "2026-11-23T09:05:00.000Z"}, "", 300.0),
        (429, {"x-rate-limit-reset": str(int(AT.timestamp()) + 60)}, "<html>", 60.0),
        (429, {"x-ratelimit-reset": "soon"}, "[" * 5000, None),
        (400, {}, '{"retry_after": 5}', None),
        (503, {}, '{"retry_after": 1e300}', 86_400.0),
        (429, {}, '{"retry_after": true}', None),
    ],
)
def test_every_way_to_ask_for_patience(status: int, headers: dict[str, str], body: str, wait: float | None) -> None:
    assert asked_wait(Answer(status, headers, body), AT) == wait
