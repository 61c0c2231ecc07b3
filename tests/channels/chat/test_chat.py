"""The other channels: the common contract, and the details of each."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from pydantic import BaseModel, ValidationError

from tests.channels.registry import SAMPLES, TOKEN, answer_of, room, served
from tidings import plugins
from tidings.channels.base import Attempt, Channel, Post
from tidings.channels.chat import ntfy, telegram
from tidings.channels.http import requested_wait
from tidings.channels.social.mastodon import channel as mastodon
from tidings.channels.wording import make_hashtag
from tidings.model.delivery import Verdict
from tidings.model.text import shorten
from tidings.net import HttpResponse
from tidings.testing.channel_contract import ChannelContract, sample_item, sample_post
from tidings.testing.http_sink import HttpSink, Step

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Rooms(ChannelContract):
    kind = ""

    def make(self, url: str) -> Channel:
        return room(self.kind, url)

    def make_public(self, url: str) -> Channel:
        return room(self.kind, url, private=False)

    def test_an_empty_success_is_unknown(self) -> None:
        if self.kind in ("teams", "webhook"):
            return  # Their only answer is the HTTP status.
        with HttpSink([Step(200, b"<html>a login page</html>")]) as sink:
            channel = self.make(sink.url)
            assert channel.send(channel.prepare(sample_post()), Attempt("k", AT)).verdict is Verdict.UNKNOWN


# Every channel that ships passes the suite, a new one as soon as it is registered.
for _kind, _sample in SAMPLES.items():
    if isinstance(_sample.answer, Step) and not _sample.blind:
        globals()[f"Test{_kind.title()}"] = type(
            f"Test{_kind.title()}", (Rooms,), {"kind": _kind, "success": _sample.answer, "secrets": _sample.hidden}
        )


def test_every_channel_that_ships_is_tested() -> None:
    assert set(SAMPLES) | {"websub"} == set(plugins.CHANNELS)


# -- what fits --------------------------------------------------------------------------------------------------------


def test_summaries_are_cut_first_then_hashtags_then_the_title() -> None:
    channel = room("mastodon")
    link = sample_item().url

    def said(**changes: str) -> str:
        return channel.text(channel.prepare(replace(sample_post(), items=(sample_item(**changes),))))

    assert said(title="Clean water", summary="It runs.") == f"Clean water\nIt runs.\n{link}\n\n#SDG6"
    assert said(title="Clean water", summary="It runs. " * 60) == f"Clean water\n{link}\n\n#SDG6"
    assert said(title="water " * 79, summary="x") == f"{'water ' * 79}\n{link}"
    shortened = said(title="water " * 100, summary="x")
    assert shortened.endswith(f"water…\n{link}") and len(shortened) - len(link) + 23 > 490


@pytest.mark.parametrize(
    ("text", "length", "message"),
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
def test_a_cut_leaves_whole_words_or_whole_letters(text: str, length: int, message: str) -> None:
    assert shorten(text, length) == message


def test_a_hashtag_has_a_capital_for_each_word() -> None:
    assert make_hashtag("clean-water") == "#CleanWater"
    assert make_hashtag("sdg-6") == "#SDG6"


# -- each one's own ---------------------------------------------------------------------------------------------------


def test_a_headline_breaks_no_markup_and_mentions_nobody() -> None:
    post = replace(
        sample_post(), items=(sample_item(title="[x](http://evil.example) @channel **b** <i>", summary="a"),)
    )
    message = json.loads(room("mattermost").prepare(post))["text"]
    assert "](http://evil" not in message
    assert "@channel" not in message
    assert "&lt;i&gt;" in json.loads(room("telegram").prepare(post))["text"]
    assert json.loads(room("discord").prepare(post))["allowed_mentions"] == {"parse": []}
    card = json.loads(room("teams").prepare(post))["attachments"][0]["content"]
    assert "](http://evil" not in json.dumps(card)


@pytest.mark.parametrize("kind", ["mattermost", "rocketchat", "discord", "slack", "teams"])
def test_a_preview_reads_as_people_see_the_post(kind: str) -> None:
    title, summary = "Su_keldi (1-9) #SDG6!", "A_b (c) <d> ~e~ > f \\ g"
    link = "https://news.example.org/kk/a_b-(c)/"
    own = sample_item(2, text=f"Own_words & more: {link}.", url=link)
    post = replace(sample_post(), items=(sample_item(title=title, summary=summary), own))
    text = room(kind).text(room(kind).prepare(post))
    lines = [line for line in text.splitlines() if line]
    assert {"Weekly digest", title, sample_item().url, summary, f"Own_words & more: {link}."} <= set(lines), text
    assert "](" not in room(kind).text(room(kind).prepare(sample_post(40)))


def test_a_picture_goes_only_with_its_alt_text() -> None:
    bare = replace(sample_post(), items=(sample_item(image_alt=""),))
    for kind in ("discord", "teams"):
        assert "well.jpg" in room(kind).prepare(sample_post()).decode()
        assert "well.jpg" not in room(kind).prepare(bare).decode()


def test_receipts_name_the_post() -> None:
    lengths = {}
    for kind in SAMPLES:
        with served(kind) as sink:
            channel = room(kind, sink.url)
            outcome = channel.send(channel.prepare(sample_post()), Attempt("k", AT))
            lengths[kind] = (outcome.receipt, outcome.via)
    assert lengths["telegram"] == ("17", "https://t.me/steppe_news/17")
    assert lengths["mastodon"] == ("103", "https://social.example/@steppe/103")
    assert lengths["discord"][0] == "991" and lengths["ntfy"][0] == "sPs71M8A2T"


def test_discord_waits_for_the_id_and_ntfy_stores_no_topic() -> None:
    with HttpSink([answer_of("discord")]) as sink:
        room("discord", sink.url).send(room("discord").prepare(sample_post()), Attempt("k", AT))
        assert sink.received[0].path.endswith("?wait=true")
    assert b"steppe-topic-7" not in room("ntfy").prepare(sample_post())


def test_mastodon_gets_one_key_for_one_post_and_the_language() -> None:
    with HttpSink([answer_of("mastodon")]) as sink:
        channel = room("mastodon", sink.url)
        for key in ("a", "a", "b"):
            channel.send(channel.prepare(sample_post()), Attempt(key, AT))
        keys = [request.headers["idempotency-key"] for request in sink.received]
        assert keys[0] == keys[1] != keys[2]
        assert json.loads(sink.received[0].body)["language"] == "kk"


def test_a_notice_keeps_its_text_on_every_channel() -> None:
    notice = Post(
        title="Held", url="https://x.example/", language="en", items=(), edition="", site="S", at=AT, text="Look."
    )
    for kind in SAMPLES:
        assert "Look." in room(kind).text(room(kind).prepare(notice)), kind


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (telegram.Settings, {"type": "telegram", "token": "nonsense", "chat": "@news"}),
        (telegram.Settings, {"type": "telegram", "token": TOKEN, "chat": "news"}),
        (ntfy.Settings, {"type": "ntfy", "topic": "a topic"}),
        (mastodon.Settings, {"type": "mastodon", "server": "mastodon.social", "token": "t"}),
    ],
)
def test_invalid_settings_are_refused_with_the_reason(model: type[BaseModel], values: dict[str, str]) -> None:
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
def test_every_form_of_a_requested_wait_is_read(
    status: int, headers: dict[str, str], body: str, wait: float | None
) -> None:
    assert requested_wait(HttpResponse(status, headers, body), AT) == wait


@pytest.mark.parametrize("kind", ["mattermost", "rocketchat", "teams"])
@pytest.mark.parametrize("path", ["Almaty_(city)", "A_(b_(c))", "odd)bracket", "open(bracket"])
def test_an_address_with_brackets_is_a_whole_link(kind: str, path: str) -> None:
    url = f"https://example.org/wiki/{path}"
    channel = room(kind)
    body = channel.prepare(replace(sample_post(), items=(sample_item(url=url),)))
    markdown = json.loads(body)["text"] if kind != "teams" else body.decode()
    tokens = MarkdownIt().parseInline(markdown)[0].children or []
    links = [unquote(str(token.attrs["href"])) for token in tokens if token.type == "link_open"]
    assert url in links
    assert url in unquote(channel.text(body))
