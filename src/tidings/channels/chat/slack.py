"""A Slack room, by its incoming webhook and Block Kit."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post, PostItem
from tidings.channels.http import send_request
from tidings.channels.wording import StoryText
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession

MAX_TEXT = 12_000
"""Characters of a whole message: `msg_blocks_too_long` was seen from about 13,000."""
_HEADER = 150
_NOTICE = 300
"""Characters of the title in a notice of the telephone."""
_SECTION = 3_000
_ALT = 2_000
_LINK = re.compile(r"https?://[^\s<>|]+")
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
        """Blocks with every link; summaries go first where it would be too long, then the last stories, counted."""
        ways = [(600, _MAX_ITEMS), (200, _MAX_ITEMS), *((0, count) for count in range(_MAX_ITEMS, 0, -1))]
        for longest, count in ways:
            body = _encode(post, longest, count)
            if self.length(body) <= MAX_TEXT:
                break
        return body

    def length(self, body: bytes) -> int:
        """Characters of all texts."""
        return sum(len(text) for text in _texts(json.loads(body)))

    def text(self, body: bytes) -> str:
        """What people read, one block a paragraph, with the links written out."""
        return "\n\n".join(_read(text) for text in _texts(json.loads(body)["blocks"]))

    def card(self, body: bytes) -> Card | None:
        """The first picture, which stands small beside its story."""
        pictures = [block["accessory"] for block in json.loads(body)["blocks"] if "accessory" in block]
        return Card(image=pictures[0]["image_url"], alt=pictures[0]["alt_text"]) if pictures else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 with `ok` as the whole body."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = send_request(self._session, self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        if answer.text.strip() != "ok":
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the word ok")
        return Outcome(Verdict.ACCEPTED, via=self.name)


def _encode(post: Post, longest: int, count: int) -> bytes:
    blocks: list[dict[str, Any]] = []
    if len(post.items) != 1:
        blocks.append({"type": "header", "text": _plain(post.title, _HEADER)})
    if post.text:
        blocks.append({"type": "section", "text": _mrkdwn(_escape(_fitting(post.text, _SECTION)))})
    for item in post.items[:count]:
        blocks.append(_item(item, longest))
    rest = len(post.items) - count
    if rest > 0:
        blocks.append({"type": "section", "text": _mrkdwn(f"<{post.url}|+{rest}>")})
    blocks.append({"type": "context", "elements": [_mrkdwn(f"{_escape(post.site)}  ·  {_escape(post.edition)}")]})
    return json.dumps(
        {"text": _escape(shorten(post.title, _NOTICE)), "blocks": blocks}, ensure_ascii=False, sort_keys=True
    ).encode()


def _item(item: PostItem, longest: int) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "section", "text": _mrkdwn(_words(item, longest))}
    if item.image and item.image_alt:
        block["accessory"] = {"type": "image", "image_url": item.image, "alt_text": shorten(item.image_alt, _ALT)}
    return block


def _words(item: PostItem, longest: int) -> str:
    """Title and summary, or the editor's own text; the link has room whatever else is cut."""
    correction = _escape(_fitting(item.correction, _SECTION // 3))
    room = _SECTION - len(item.url) - len(correction) - 6
    if item.text:
        shown = _fitting(item.text, room - 2 * len(_LINK.findall(item.text)))
        left = StoryText(title=shown, summary="", url=item.url, is_own_text=True).link
        lines = [_LINK.sub(r"<\g<0>>", _escape(shown)), f"<{left}>" if left else "", correction]
    else:
        lines = [f"*<{item.url}|{_escape(_fitting(item.title, room))}>*", correction]
        lines.append(_escape(_fitting(shorten(item.summary, longest), _SECTION - sum(map(len, lines)) - 2)))
    return "\n".join(filter(None, lines))


def _fitting(text: str, room: int) -> str:
    """So much of it that it has room once it is escaped."""
    length = max(room, 0)
    while len(_escape(shown := shorten(text, length))) > room and length > 0:
        length -= max(len(_escape(shown)) - room, 1)
    return shown if length > 0 else ""


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shorten(text, longest), "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escape(text: str) -> str:
    """The three characters that Slack asks to be escaped; `<!channel>` in a headline then calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "¦")


def _read(text: str) -> str:
    """Without the marks of mrkdwn that `_words` makes."""
    shown = re.sub(r"\*?<(https?://[^|>]+)\|([^>]*)>\*?", r"\2\n\1", text)
    return html.unescape(re.sub(r"<(https?://[^>]+)>", r"\1", shown))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for key, part in value.items() if key != "text" or not own for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def make(name: str, settings: Settings) -> SlackChannel:
    """The channel of one name."""
    return SlackChannel(name, settings)
