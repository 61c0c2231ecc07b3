"""A Discord channel, through its webhook, with embeds (discord.com/developers/docs/resources/webhook)."""

from __future__ import annotations

import json
import re
from typing import Any

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.chat.incoming_webhook import WebhookSettings, escape_outside_links, strip_markdown
from tidings.channels.http import INVALID_RECEIPT, HttpChannel, doubt_success, encode_json, json_headers, read_object
from tidings.channels.wording import StoryText, Wording, fit
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import HttpResponse

MAX_TEXT = 6_000
"""Most characters of all embeds of a message together."""
_CONTENT, _TITLE, _DESCRIPTION, _EMBEDS = 2_000, 256, 4_096, 10
_UNKNOWN_MESSAGE = 10008
_RECEIPT = re.compile(r"[0-9]{1,20}")
_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<-])")


class Settings(WebhookSettings):
    """`type: discord`."""


class DiscordChannel(HttpChannel[Settings]):
    """Discord's webhooks have no idempotency key, so an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)
    # Unknown webhook, unknown channel, invalid webhook token, or a forum whose posts need a thread.
    ACCOUNT_WORDS = r'"code": *(?:10015|10003|50027|220001)\b'

    def prepare(self, post: Post) -> bytes:
        """Return an embed for each story, with its picture. A mention in a headline notifies nobody."""
        wording = fit(post, _fits)
        embeds = _embeds(wording)
        if len(post.items) == 1 and post.items[0].image and post.items[0].image_alt:
            embeds = embeds or [{}]
            embeds[0]["image"] = {"url": post.items[0].image, "description": shorten(post.items[0].image_alt, 1024)}
        return encode_json({"content": _content(wording), "embeds": embeds, "allowed_mentions": {"parse": []}})

    def length(self, body: bytes) -> int:
        """Return the number of characters in the embeds. The text above them has its own limit."""
        return _size(json.loads(body)["embeds"])

    def text(self, body: bytes) -> str:
        message = json.loads(body)
        parts = [strip_markdown(message["content"])]
        for embed in message["embeds"]:
            lines = [embed.get("title", ""), strip_markdown(embed.get("description", "")), embed.get("url", "")]
            parts.append("\n".join(filter(None, lines)))
        return "\n\n".join(filter(None, parts))

    def card(self, body: bytes) -> Card | None:
        """Return the picture as the card: the embed's text is part of the post."""
        image = next((embed["image"] for embed in json.loads(body)["embeds"] if "image" in embed), None)
        return Card(image=image["url"], alt=image["description"]) if image else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the message with `wait`. Without it, Discord reports no error for a message that it drops."""
        url = self._settings.url.get_secret_value()
        url = f"{url}{'&' if '?' in url else '?'}wait=true"
        return self._read_outcome(self.request(url, body, json_headers()))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        return self._read_outcome(self.request(self._message_url(receipt), body, json_headers(), "PATCH"))

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        answer = self.request(self._message_url(receipt), None, {}, "DELETE", also=(404,))
        if isinstance(answer, Outcome):
            return answer
        # Code 10015 is another 404: the webhook itself is unknown. Then nothing is known about the message.
        if answer.status == 404 and read_object(answer).get("code") != _UNKNOWN_MESSAGE:
            return Outcome(Verdict.NOT_STARTED, reason="HTTP 404: the webhook no longer exists, so make a new one")
        return self.accepted(receipt)

    def _message_url(self, receipt: str) -> str:
        path, question, query = self._settings.url.get_secret_value().partition("?")
        return f"{path.rstrip('/')}/messages/{receipt}{question}{query}"

    def _read_outcome(self, answer: HttpResponse | Outcome) -> Outcome:
        if isinstance(answer, Outcome):
            return answer
        number = read_object(answer).get("id")
        return doubt_success(answer, "the id of a message") if number is None else self.accepted(str(number))


def _fits(wording: Wording) -> bool:
    return (
        len(wording.stories) <= _EMBEDS
        and len(_content(wording)) <= _CONTENT
        and all(story.is_own_text or len(story.title) <= _TITLE for story in wording.stories)
        and all(len(_description(story)) <= _DESCRIPTION for story in wording.stories)
        and _size(_embeds(wording)) <= MAX_TEXT
    )


def _embeds(wording: Wording) -> list[dict[str, Any]]:
    embeds: list[dict[str, Any]] = []
    for story in wording.stories:
        if not story.is_own_text:
            embed = {"title": story.title, "url": story.url, "description": _description(story)}
            embeds.append({key: text for key, text in embed.items() if text})
    return embeds


def _description(story: StoryText) -> str:
    if story.is_own_text:
        return ""
    return "\n".join(_escape(text) for text in (story.summary, story.correction) if text)


def _content(wording: Wording) -> str:
    parts = [f"**{_escape(wording.heading)}**" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        # The editor's own text shows the link, from which Discord makes the card.
        if story.is_own_text:
            parts += [_escape(story.title), _escape(story.correction), story.link]
    if wording.more:
        parts.append(f"+{wording.more} <{wording.url}>")
    parts.append(" ".join(wording.tags))
    return "\n".join(filter(None, parts))


def _size(embeds: list[dict[str, Any]]) -> int:
    return sum(len(embed.get("title", "")) + len(embed.get("description", "")) for embed in embeds)


def _escape(text: str) -> str:
    return escape_outside_links(text, lambda part: _MARKDOWN.sub(r"\\\1", part))


make = DiscordChannel
