"""A Discord channel, by its webhook and embeds (discord.com/developers/docs/resources/webhook)."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.chat.markdown import strip_markdown
from tidings.channels.http import read_object, send_request
from tidings.channels.wording import StoryText, Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession, HttpResponse

MAX_TEXT = 6_000
"""Characters of all embeds of a message together."""
_CONTENT, _TITLE, _DESCRIPTION, _EMBEDS = 2_000, 256, 4_096, 10
_UNKNOWN_MESSAGE = 10008
_JSON = {"Content-Type": "application/json"}
_RECEIPT = re.compile(r"[0-9]{1,20}")
_LINK = re.compile(r"(https?://\S+)")
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
        wording = fit(post, _fits)
        embeds = _embeds(wording)
        if len(post.items) == 1 and post.items[0].image and post.items[0].image_alt:
            embeds = embeds or [{}]
            embeds[0]["image"] = {"url": post.items[0].image, "description": shorten(post.items[0].image_alt, 1024)}
        message: dict[str, Any] = {"content": _content(wording), "embeds": embeds, "allowed_mentions": {"parse": []}}
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters of the embeds; the text above them has a limit of its own."""
        return _size(json.loads(body)["embeds"])

    def text(self, body: bytes) -> str:
        """What people read."""
        message = json.loads(body)
        parts = [strip_markdown(message["content"])]
        for embed in message["embeds"]:
            words = [embed.get("title", ""), strip_markdown(embed.get("description", "")), embed.get("url", "")]
            parts.append("\n".join(filter(None, words)))
        return "\n\n".join(filter(None, parts))

    def card(self, body: bytes) -> Card | None:
        """The picture; the words of an embed are those of the post."""
        image = next((embed["image"] for embed in json.loads(body)["embeds"] if "image" in embed), None)
        return Card(image=image["url"], alt=image["description"]) if image else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, and wait until it stands: without `wait` a message that is not kept gives no error."""
        url = self._settings.url.get_secret_value()
        waiting = f"{url}{'&' if '?' in url else '?'}wait=true"
        return self._told(send_request(self._session, waiting, body, _JSON))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another text in its place."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a message of ours")
        return self._told(send_request(self._session, self._address(receipt), body, _JSON, "PATCH"))

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. 404: it is gone, or the webhook is."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a message of ours")
        answer = send_request(self._session, self._address(receipt), None, {}, "DELETE", also=(404,))
        if isinstance(answer, Outcome):
            return answer
        # 10015: the webhook itself is unknown; then nothing can be said of the message.
        if answer.status == 404 and read_object(answer).get("code") != _UNKNOWN_MESSAGE:
            return Outcome(Verdict.REJECTED, reason="HTTP 404: there is no such webhook any more")
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=self.name)

    def _address(self, receipt: str) -> str:
        """Of one message, below the webhook's path."""
        path, question, query = self._settings.url.get_secret_value().partition("?")
        return f"{path.rstrip('/')}/messages/{receipt}{question}{query}"

    def _told(self, answer: HttpResponse | Outcome) -> Outcome:
        if isinstance(answer, Outcome):
            return answer
        number = read_object(answer).get("id")
        if number is None:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a message")
        return Outcome(Verdict.ACCEPTED, receipt=str(number), via=self.name)


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
        if story.is_own_text:
            continue
        embed: dict[str, Any] = {"title": story.title, "url": story.url}
        if _description(story):
            embed["description"] = _description(story)
        embeds.append(embed)
    return embeds


def _description(story: StoryText) -> str:
    return (
        "" if story.is_own_text else "\n".join(_escape(words) for words in (story.summary, story.correction) if words)
    )


def _content(wording: Wording) -> str:
    parts = [f"**{_escape(wording.heading)}**" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        # In the editor's own words, with the link in view: Discord makes the card of it.
        if story.is_own_text:
            parts += [_escape(story.title), _escape(story.correction), story.link]
    if wording.more:
        parts.append(f"+{wording.more} <{wording.url}>")
    parts.append(" ".join(wording.tags))
    return "\n".join(filter(None, parts))


def _size(embeds: list[dict[str, Any]]) -> int:
    return sum(len(embed.get("title", "")) + len(embed.get("description", "")) for embed in embeds)


def _escape(text: str) -> str:
    """Every sign of Markdown outside of links."""
    parts = _LINK.split(text)
    parts[::2] = [_MARKDOWN.sub(r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def make(name: str, settings: Settings) -> DiscordChannel:
    """The channel of one name."""
    return DiscordChannel(name, settings)
