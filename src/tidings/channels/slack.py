"""A Slack room, by its incoming webhook and Block Kit."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post, PostItem
from tidings.channels.http import hand_over
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_TEXT = 12_000
"""Characters of a whole message: `msg_blocks_too_long` was seen from about 13,000."""
_HEADER = 150
_SECTION = 3_000
_ALT = 2_000
_MAX_ITEMS = 20
"""Two blocks each, under the fifty that a message may have."""


class Settings(ChannelSettings):
    """`type: slack`."""

    url: SecretUrl = Field(
        description="The incoming webhook's address, which is a secret: {env: NAME} or {file: PATH}."
    )


class SlackChannel:
    """Slack answers `ok` and gives no id, and has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, images=1, markup="mrkdwn")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """Blocks with every link; summaries are dropped first where the message would be too long."""
        for longest in (600, 200, 0):
            body = _encode(post, longest)
            if self.length(body) <= MAX_TEXT:
                break
        return body

    def length(self, body: bytes) -> int:
        """Characters of all texts."""
        return sum(len(text) for text in _texts(json.loads(body)))

    def text(self, body: bytes) -> str:
        """What people read, one block a paragraph."""
        return "\n\n".join(_texts(json.loads(body)["blocks"]))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 with `ok` as the whole body."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = hand_over(self._session, self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        if answer.text.strip() != "ok":
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the word ok")
        return Outcome(Verdict.ACCEPTED, via=self.name)


def _encode(post: Post, longest: int) -> bytes:
    blocks: list[dict[str, Any]] = []
    if len(post.items) != 1:
        blocks.append({"type": "header", "text": _plain(post.title, _HEADER)})
    if post.text:
        blocks.append({"type": "section", "text": _mrkdwn(_escape(post.text))})
    for item in post.items[:_MAX_ITEMS]:
        blocks.append(_item(item, longest))
    rest = len(post.items) - _MAX_ITEMS
    if rest > 0:
        blocks.append({"type": "section", "text": _mrkdwn(f"<{post.url}|+{rest}>")})
    blocks.append({"type": "context", "elements": [_mrkdwn(f"{_escape(post.site)}  ·  {_escape(post.edition)}")]})
    return json.dumps({"text": _escape(post.title), "blocks": blocks}, ensure_ascii=False, sort_keys=True).encode()


def _item(item: PostItem, longest: int) -> dict[str, Any]:
    text = f"*<{item.url}|{_escape(item.title)}>*"
    summary = item.summary
    if len(summary) > longest:
        summary = summary[:longest].rsplit(" ", 1)[0] + "…" if longest else ""
    if summary:
        text += "\n" + _escape(summary)
    block: dict[str, Any] = {"type": "section", "text": _mrkdwn(text)}
    if item.image and item.image_alt:
        block["accessory"] = {"type": "image", "image_url": item.image, "alt_text": item.image_alt[:_ALT]}
    return block


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": text if len(text) <= longest else text[: longest - 1] + "…", "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text[:_SECTION], "verbatim": True}


def _escape(text: str) -> str:
    """The three characters that Slack asks to be escaped; `<!channel>` in a headline then calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "¦")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for key, part in value.items() if key != "text" or not own for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def make(name: str, settings: Settings) -> SlackChannel:
    """The channel of one name."""
    return SlackChannel(name, settings)
