"""A Discord channel, by its webhook and embeds (discord.com/developers/docs/resources/webhook)."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import hand_over
from tidings.channels.wording import Wording, fitted
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_TEXT = 6_000
"""Characters of all embeds of a message together."""
_CONTENT, _TITLE, _DESCRIPTION, _EMBEDS = 2_000, 256, 4_096, 10
_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<-])")


class Settings(ChannelSettings):
    """`type: discord`."""

    url: SecretUrl = Field(description="The channel's webhook address, which is a secret: {env: NAME} or {file: PATH}.")


class DiscordChannel:
    """Discord has no key for repeats of a webhook: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, images=1, markup="markdown")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """An embed a story, with its picture; nobody is called by name, whatever a headline says."""
        wording = fitted(post, _fits)
        embeds = _embeds(wording)
        if len(post.items) == 1 and post.items[0].image and post.items[0].image_alt:
            embeds[0]["image"] = {"url": post.items[0].image, "description": post.items[0].image_alt[:1024]}
        message: dict[str, Any] = {"content": _content(wording), "embeds": embeds, "allowed_mentions": {"parse": []}}
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters of the embeds; the text above them has a limit of its own."""
        return _size(json.loads(body)["embeds"])

    def text(self, body: bytes) -> str:
        """What people read."""
        message = json.loads(body)
        parts = [message["content"]]
        for embed in message["embeds"]:
            parts.append("\n".join(filter(None, [embed["title"], embed.get("description", ""), embed["url"]])))
        return "\n\n".join(filter(None, parts))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, and wait until it stands: without `wait` a message that is not kept gives no error."""
        url = self._settings.url.get_secret_value()
        waiting = f"{url}{'&' if '?' in url else '?'}wait=true"
        answer = hand_over(self._session, waiting, body, {"Content-Type": "application/json"})
        if isinstance(answer, Outcome):
            return answer
        try:
            return Outcome(Verdict.ACCEPTED, receipt=str(json.loads(answer.text)["id"]), via=self.name)
        except (ValueError, TypeError, LookupError):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a message")


def _fits(wording: Wording) -> bool:
    return (
        len(wording.stories) <= _EMBEDS
        and len(_content(wording)) <= _CONTENT
        and all(len(story.title) <= _TITLE and len(_escape(story.summary)) <= _DESCRIPTION for story in wording.stories)
        and _size(_embeds(wording)) <= MAX_TEXT
    )


def _embeds(wording: Wording) -> list[dict[str, Any]]:
    embeds: list[dict[str, Any]] = []
    for story in wording.stories:
        embed: dict[str, Any] = {"title": story.title, "url": story.url}
        if story.summary:
            embed["description"] = _escape(story.summary)
        embeds.append(embed)
    return embeds


def _content(wording: Wording) -> str:
    parts = [f"**{_escape(wording.heading)}**" if wording.heading else "", _escape(wording.text)]
    if wording.more:
        parts.append(f"+{wording.more} <{wording.url}>")
    parts.append(" ".join(wording.tags))
    return "\n".join(filter(None, parts))


def _size(embeds: list[dict[str, Any]]) -> int:
    return sum(len(embed["title"]) + len(embed.get("description", "")) for embed in embeds)


def _escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)


def make(name: str, settings: Settings) -> DiscordChannel:
    """The channel of one name."""
    return DiscordChannel(name, settings)
