"""500 stories in six scripts for every channel: the network's own counter accepts each, and the link stays whole."""

from __future__ import annotations

import html
import json
import random
import re
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from mastodon import Mastodon
from slack_sdk.models.blocks import Block

from tests.channels.registry import SAMPLES, room
from tests.conftest import require_program
from tests.servers.judges import TOOLS, tool
from tidings.channels.base import Post
from tidings.channels.social.bluesky import count_graphemes
from tidings.channels.social.x import weigh
from tidings.testing.channel_contract import sample_item, sample_post

WORDS = {
    "latin": "water https://other.example.org/x school naïve façade Straße e\u0301te\u0301 R&D <b>now</b> [x](y) "
    "*bold* #SDG6 @here snake_case",
    "cyrillic": "вода школа посёлок ГЛАВНОЕ й и\u0306 «кавычки» №5",
    "kazakh": "құдықтар ауылға Қазақстан мектептер үйге өңір ғылым һәм",
    "arabic": "مياه المدارس الأمم المتحدة لُغَةٌ ١٢٣ \u200fو\u200e",
    "cjk": "清潔的水源 学校に 깨끗한 물 ｆｕｌｌ ，。！",
    "emoji": "👩🏽\u200d🚒 🇰🇿 👨\u200d👩\u200d👧\u200d👦 ☕️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 💧",
}


@cache
def posts() -> tuple[Post, ...]:
    """Return the same 500 posts on every run, each of one story, from one word to far too long."""
    dice = random.Random(20261123)
    scripts = [words.split(" ") for words in WORDS.values()]
    made = []
    for number in range(500):
        # Every seventh story mixes all scripts.
        words = scripts[number % 6] if number % 7 else [word for script in scripts for word in script]

        def text(most: int, words: list[str] = words) -> str:
            between = " " if dice.random() < 0.9 else ""
            return between.join(dice.choice(words) for _ in range(dice.randint(1, most)))

        own = text(dice.choice([5, 60, 1500])) if dice.random() < 0.2 else ""
        item = sample_item(
            number,
            title=text(dice.choice([8, 8, 30, 900])),
            summary=text(dice.choice([20, 200, 2000])),
            topics=tuple(dice.sample(["sdg-6", "clean-water", "молодёжь", "水", "الشباب"], dice.randint(0, 4))),
            text=own,
            correction=text(12) if dice.random() < 0.1 else "",
            url=f"https://news.example.org/kk/story-{number}/?a=1&b=2"
            if dice.random() < 0.3
            else sample_item(number).url,
        )
        made.append(replace(sample_post(), items=(item,), title=item.title, url=item.url))
    return tuple(made)


@cache
def bodies(kind: str) -> tuple[bytes, ...]:
    channel = room(kind)
    return tuple(map(channel.prepare, posts()))


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_post_fits_and_keeps_its_link(kind: str) -> None:
    channel = room(kind)
    for post, body in zip(posts(), bodies(kind), strict=True):
        assert channel.length(body) <= channel.capabilities.max_length
        assert post.items[0].url in html.unescape(channel.text(body)), post.items[0]


def _telegram(body: dict[str, Any]) -> int:
    seen = html.unescape(re.sub(r"</?(?:b|a)(?: [^>]*)?>", "", body["text"]))
    return sum(2 if ord(char) > 0xFFFF else 1 for char in seen)


def _discord(body: dict[str, Any]) -> int:
    assert len(body["content"]) <= 2000 and len(body["embeds"]) <= 10
    assert all(
        len(embed.get("title", "")) <= 256 and len(embed.get("description", "")) <= 4096 for embed in body["embeds"]
    )
    return sum(len(embed.get("title", "")) + len(embed.get("description", "")) for embed in body["embeds"])


def _slack(body: dict[str, Any]) -> int:
    """Check with Slack's own library, which raises if a block is too long."""
    for block in Block.parse_all(body["blocks"]):
        block.validate_json()
    return len(body["blocks"])


def _bluesky(body: dict[str, Any]) -> int:
    """Check the bytes, and check by another rule than ours that the graphemes are not more than the characters."""
    text = body["record"]["text"].encode()
    for facet in body["record"].get("facets", ()):
        (feature,) = facet["features"]
        seen = text[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode()
        assert seen == f"#{feature['tag']}" if "tag" in feature else feature["uri"].startswith("https://")
    assert sum(not unicodedata.combining(char) for char in text.decode()) >= count_graphemes(text.decode()) <= 300
    return len(text)


COUNTERS: dict[str, tuple[Callable[[dict[str, Any]], int], int]] = {
    # Mastodon.py counts links as 23, graphemes if it knows them, and remote mentions by their local part.
    "mastodon": (lambda body: int(Mastodon.get_status_length(body["status"])), 500),
    "telegram": (_telegram, 4096),
    "bluesky": (_bluesky, 3000),
    "discord": (_discord, 6000),
    "slack": (_slack, 50),
    "mattermost": (lambda body: len(body["text"]), 16_383),
    "rocketchat": (lambda body: len(body["text"]), 5_000),
    "ntfy": (lambda body: len(body["message"].encode()), 4_096),
    # Canonical JSON of a whole event has at most 65,536 bytes. The server adds a few hundred of them.
    "matrix": (lambda body: len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()), 64_000),
    "teams": (lambda body: len(json.dumps(body, ensure_ascii=False).encode()), 28 * 1024),
    "linkedin": (lambda body: len(body["commentary"]), 3_000),
    "facebook": (lambda body: len(body["message"]), 63_206),
    "webhook": (lambda body: len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()), 20_000),
}


@pytest.mark.parametrize("kind", COUNTERS)
def test_the_networks_own_counter_says_the_same(kind: str) -> None:
    counter, most = COUNTERS[kind]
    assert max(counter(json.loads(body)) for body in bodies(kind)) <= most


def judged(given: dict[str, list[Any]]) -> dict[str, list[dict[str, Any]]]:
    """Run the networks' JavaScript libraries, all at once."""
    for name in ("twitter-text", "adaptivecards"):
        tool(name)
    done = subprocess.run(
        [require_program("node"), str(TOOLS / "judge_posts.cjs")],
        input=json.dumps(given).encode(), capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    parsed: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return parsed


def test_twitter_text_counts_every_post_the_same() -> None:
    texts = [json.loads(body)["text"] for body in bodies("x")]
    plain = [text for text in texts if "other.example.org" not in text]
    verdicts = judged({"x": [*texts, *plain, "x" * 281]})["x"]
    assert all(verdict["valid"] and verdict["weightedLength"] <= 280 for verdict in verdicts[: len(texts)])
    assert not verdicts[-1]["valid"]
    counted = [verdict["weightedLength"] for verdict in verdicts[len(texts) : -1]]
    assert len(plain) > 300
    assert [weigh(text) for text in plain] == counted


def test_adaptive_cards_own_library_reads_every_card() -> None:
    cards = [json.loads(body)["attachments"][0]["content"] for body in bodies("teams")]
    cards.append(json.loads(room("teams").prepare(sample_post(12)))["attachments"][0]["content"])
    broken = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "Surprise"}]}
    *verdicts, spoilt = judged({"teams": [*cards, broken]})["teams"]
    assert spoilt["complaints"]
    assert [verdict["complaints"] for verdict in verdicts] == [[]] * len(cards)
    assert [verdict["items"] for verdict in verdicts] == [len(card["body"]) for card in cards]
