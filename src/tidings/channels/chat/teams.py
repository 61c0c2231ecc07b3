"""A Teams channel, by a Workflow that posts an Adaptive Card (adaptivecards.io, schema 1.4)."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.chat.markdown import strip_markdown
from tidings.channels.http import send_request
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_BODY = 27_000
"""Bytes of a request: Teams takes 28 KB, of which its own envelope has a part."""
Block = dict[str, Any]


class Settings(ChannelSettings):
    """`type: teams`."""

    url: SecretUrl = Field(
        description="The Workflow's address (`When a Teams webhook request is received`): {env: NAME} or {file: PATH}."
    )


class TeamsChannel:
    """The Workflow answers 202 once it has taken the card, and posts it later; repeats are posted again."""

    capabilities = Capabilities(max_length=MAX_BODY, idempotency=Idempotency.NONE, images=1, markup="adaptive-card")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A message with one card: each title is a link, pictures only with their alt text."""
        pictures = {item.url: (item.image, item.image_alt) for item in post.items if item.image and item.image_alt}

        def message(wording: Wording) -> bytes:
            return _encode(_card(wording, pictures, post))

        return message(fit(post, lambda tried: len(message(tried)) <= MAX_BODY))

    def length(self, body: bytes) -> int:
        """Bytes."""
        return len(body)

    def text(self, body: bytes) -> str:
        """What people read, one block a paragraph."""
        return strip_markdown("\n\n".join(_texts(json.loads(body)["attachments"][0]["content"]["body"])))

    def card(self, body: bytes) -> Card | None:
        """The picture; the words of an Adaptive Card are those of the post."""
        for container in json.loads(body)["attachments"][0]["content"]["body"]:
            for block in container.get("items", ()):
                if block["type"] == "Image":
                    return Card(image=block["url"], alt=block["altText"])
        return None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Hand it to the Workflow: taken, which is not yet posted, and there is no id."""
        headers = {"Content-Type": "application/json"}
        answer = send_request(self._session, self._settings.url.get_secret_value(), body, headers)
        return answer if isinstance(answer, Outcome) else Outcome(Verdict.ACCEPTED, via=self.name)


def _card(wording: Wording, pictures: dict[str, tuple[str, str]], post: Post) -> Block:
    body: list[Block] = []
    if wording.heading:
        body.append(_line(_plain(wording.heading), size="Large", weight="Bolder"))
    if wording.text:
        body.append(_line(_plain(wording.text)))
    for story in wording.stories:
        if story.is_own_text:
            blocks = [_line(_plain(words)) for words in (story.title, story.correction, story.link) if words]
        else:
            blocks = [_line(f"[{_plain(story.title)}]({story.url})", weight="Bolder")]
            blocks += [_line(_plain(words)) for words in (story.summary, story.correction) if words]
        if story.url in pictures and len(wording.stories) == 1:
            image, alt = pictures[story.url]
            blocks.insert(0, {"type": "Image", "url": image, "altText": alt, "size": "Stretch"})
        body.append({"type": "Container", "items": blocks, "separator": bool(body)})
    if wording.more:
        body.append(_line(f"[+{wording.more}]({wording.url})"))
    body.append(_line(" · ".join(filter(None, [post.site, post.edition])), size="Small", isSubtle=True))
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        # The schema knows languages without script and region.
        "lang": post.language.partition("-")[0],
        "body": body,
    }


def _plain(text: str) -> str:
    """Without the brackets of a link: what a headline says leads nowhere else."""
    return text.replace("[", "(").replace("]", ")")


def _line(text: str, **look: Any) -> Block:
    return {"type": "TextBlock", "text": text, "wrap": True, **look}


def _encode(card: Block) -> bytes:
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    message = {"type": "message", "attachments": [attachment]}
    return json.dumps(message, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _texts(blocks: list[Block]) -> list[str]:
    found: list[str] = []
    for block in blocks:
        found += [block["text"]] if "text" in block else _texts(block.get("items", []))
    return found


def make(name: str, settings: Settings) -> TeamsChannel:
    """The channel of one name."""
    return TeamsChannel(name, settings)
