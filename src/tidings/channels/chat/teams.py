"""A Teams channel, through a Workflow that posts an Adaptive Card (adaptivecards.io, schema 1.4)."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from tidings.channels.base import Capabilities, Card, Idempotency, Post
from tidings.channels.chat.incoming_webhook import IncomingWebhook, WebhookSettings, markdown_target, strip_markdown
from tidings.channels.wording import Wording, fit
from tidings.config.types import SecretUrl

MAX_BODY = 27_000
"""Most bytes of a request: Teams accepts 28 KB, including its own envelope."""
Block = dict[str, Any]


class Settings(WebhookSettings):
    """`type: teams`."""

    url: SecretUrl = Field(
        description="The Workflow's address (`When a Teams webhook request is received`): {env: NAME} or {file: PATH}."
    )


class TeamsChannel(IncomingWebhook):
    """A Teams channel. The Workflow accepts the card with 202 and posts it later. It posts repeats twice."""

    capabilities = Capabilities(max_length=MAX_BODY, idempotency=Idempotency.NONE)
    ACCOUNT_WORDS = (
        r"Workflow(?:Trigger)?(?:NotFound|IsNotEnabled|Disabled|Suspended)|trigger is not enabled|AuthorizationFailed"
    )

    def prepare(self, post: Post) -> bytes:
        """Return a message with one card. Each title is a link. Pictures without alt text are left out."""
        pictures = {item.url: (item.image, item.image_alt) for item in post.items if item.image and item.image_alt}

        def message(wording: Wording) -> bytes:
            card = _card(wording, pictures, post)
            attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
            value = {"type": "message", "attachments": [attachment]}
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

        return message(fit(post, lambda wording: len(message(wording)) <= MAX_BODY))

    def length(self, body: bytes) -> int:
        return len(body)

    def text(self, body: bytes) -> str:
        return strip_markdown("\n\n".join(_texts(json.loads(body)["attachments"][0]["content"]["body"])))

    def card(self, body: bytes) -> Card | None:
        """Return the picture as the card: the Adaptive Card's text is part of the post."""
        for container in json.loads(body)["attachments"][0]["content"]["body"]:
            for block in container.get("items", ()):
                if block["type"] == "Image":
                    return Card(image=block["url"], alt=block["altText"])
        return None

    def is_success(self, answer: str) -> bool:
        return True


def _card(wording: Wording, pictures: dict[str, tuple[str, str]], post: Post) -> Block:
    body: list[Block] = []
    if wording.heading:
        body.append(_line(_plain(wording.heading), size="Large", weight="Bolder"))
    if wording.text:
        body.append(_line(_plain(wording.text)))
    for story in wording.stories:
        if story.is_own_text:
            blocks = [_line(_plain(text)) for text in (story.title, story.correction, story.link) if text]
        else:
            blocks = [_line(f"[{_plain(story.title)}]({markdown_target(story.url)})", weight="Bolder")]
            blocks += [_line(_plain(text)) for text in (story.summary, story.correction) if text]
        if story.url in pictures and len(wording.stories) == 1:
            image, alt = pictures[story.url]
            blocks.insert(0, {"type": "Image", "url": image, "altText": alt, "size": "Stretch"})
        body.append({"type": "Container", "items": blocks, "separator": bool(body)})
    if wording.more:
        body.append(_line(f"[+{wording.more}]({markdown_target(wording.url)})"))
    body.append(_line(" · ".join(filter(None, [post.site, post.edition])), size="Small", isSubtle=True))
    return {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        # The schema allows only languages without script and region.
        "lang": post.language.partition("-")[0],
        "body": body,
    }


def _plain(text: str) -> str:
    """Replace brackets, so that a headline cannot contain another link."""
    return text.replace("[", "(").replace("]", ")")


def _line(text: str, **style: Any) -> Block:
    return {"type": "TextBlock", "text": text, "wrap": True, **style}


def _texts(blocks: list[Block]) -> list[str]:
    texts: list[str] = []
    for block in blocks:
        texts += [block["text"]] if "text" in block else _texts(block.get("items", []))
    return texts


make = TeamsChannel
