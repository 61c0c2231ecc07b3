"""A Slack channel, through its incoming webhook, with Block Kit."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from tidings.channels.base import Capabilities, Card, Idempotency, Post, PostItem
from tidings.channels.chat.incoming_webhook import IncomingWebhook, WebhookSettings
from tidings.channels.http import encode_json
from tidings.channels.wording import StoryText, split_links
from tidings.model.text import shorten

MAX_TEXT = 12_000
"""Most characters of a whole message: `msg_blocks_too_long` was seen from about 13,000."""
_HEADER = 150
_NOTIFICATION = 300
"""Most characters of the title in a phone notification."""
_SECTION = 3_000
_ALT = 2_000
_LINK = re.compile(r"https?://[^\s<>|]+")
_MAX_ITEMS = 20
"""Most stories of a message: each takes two blocks, of at most fifty in a message."""


class Settings(WebhookSettings):
    """`type: slack`."""


class SlackChannel(IncomingWebhook):
    """A Slack channel. The answer to a success is `ok`."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)
    CONTENT_TYPE = "application/json; charset=utf-8"
    ACCOUNT_WORDS = (
        r"\b(?:no_service|no_team|no_active_hooks|team_disabled|invalid_token|token_(?:revoked|expired)|account_inactive"
        r"|action_prohibited|channel_(?:is_archived|not_found)|posting_to_general_channel_denied|user_not_found)\b"
    )

    def prepare(self, post: Post) -> bytes:
        """Return blocks with every link. To fit, drops summaries first, then the last stories, which are counted."""
        versions = [(600, _MAX_ITEMS), (200, _MAX_ITEMS), *((0, count) for count in range(_MAX_ITEMS, 0, -1))]
        for max_summary, count in versions:
            body = _encode(post, max_summary, count)
            if self.length(body) <= MAX_TEXT:
                break
        return body

    def length(self, body: bytes) -> int:
        """Return the number of characters of all texts."""
        return sum(len(text) for text in _texts(json.loads(body)))

    def text(self, body: bytes) -> str:
        return "\n\n".join(_strip_mrkdwn(text) for text in _texts(json.loads(body)["blocks"]))

    def card(self, body: bytes) -> Card | None:
        """Return the first picture, which Slack shows small beside its story."""
        pictures = [block["accessory"] for block in json.loads(body)["blocks"] if "accessory" in block]
        return Card(image=pictures[0]["image_url"], alt=pictures[0]["alt_text"]) if pictures else None


def _encode(post: Post, max_summary: int, count: int) -> bytes:
    blocks: list[dict[str, Any]] = []
    if len(post.items) != 1:
        blocks.append(
            {"type": "header", "text": {"type": "plain_text", "text": shorten(post.title, _HEADER), "emoji": False}}
        )
    if post.text:
        blocks.append({"type": "section", "text": _mrkdwn(_escape(_shorten_escaped(post.text, _SECTION)))})
    for item in post.items[:count]:
        block: dict[str, Any] = {"type": "section", "text": _mrkdwn(_item_text(item, max_summary))}
        if item.image and item.image_alt:
            alt = shorten(item.image_alt, _ALT)
            block["accessory"] = {"type": "image", "image_url": item.image, "alt_text": alt}
        blocks.append(block)
    more = len(post.items) - count
    if more > 0:
        blocks.append({"type": "section", "text": _mrkdwn(f"<{post.url}|+{more}>")})
    blocks.append({"type": "context", "elements": [_mrkdwn(f"{_escape(post.site)}  ·  {_escape(post.edition)}")]})
    return encode_json({"text": _escape(shorten(post.title, _NOTIFICATION)), "blocks": blocks})


def _item_text(item: PostItem, max_summary: int) -> str:
    """Return title and summary, or the editor's own text, always with the link."""
    correction = _escape(_shorten_escaped(item.correction, _SECTION // 3))
    room = _SECTION - len(item.url) - len(correction) - 6
    if item.text:
        text = _shorten_escaped(item.text, room - 2 * len(_LINK.findall(item.text)))
        link = StoryText(title=text, summary="", url=item.url, is_own_text=True).link
        own = "".join(f"<{_escape(piece)}>" if is_link else _escape(piece) for piece, is_link in split_links(text))
        lines = [own, f"<{link}>" if link else "", correction]
    else:
        lines = [f"*<{item.url}|{_escape(_shorten_escaped(item.title, room))}>*", correction]
        room = _SECTION - sum(map(len, lines)) - 2
        lines.append(_escape(_shorten_escaped(shorten(item.summary, max_summary), room)))
    return "\n".join(filter(None, lines))


def _shorten_escaped(text: str, room: int) -> str:
    """Shorten a text so that it fits after it is escaped."""
    length = max(room, 0)
    while len(_escape(short := shorten(text, length))) > room and length > 0:
        length -= max(len(_escape(short)) - room, 1)
    return short if length > 0 else ""


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escape(text: str) -> str:
    """Escape Slack's reserved characters, and the bar in links. `<!channel>` in a headline then notifies nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "¦")


def _strip_mrkdwn(text: str) -> str:
    """Remove the markup that `_item_text` adds."""
    linked = re.sub(r"\*?<(https?://[^|<>]+)\|([^<>]*)>\*?", r"\2\n\1", text)
    return html.unescape(re.sub(r"<(https?://[^<>]+)>", r"\1", linked))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for key, part in value.items() if key != "text" or not own for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


make = SlackChannel
