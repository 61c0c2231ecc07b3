"""A Mattermost channel, through its incoming webhook (developers.mattermost.com/integrate/webhooks/incoming)."""

from __future__ import annotations

import json
import re

from tidings.channels.base import Capabilities, Idempotency, Post
from tidings.channels.chat.incoming_webhook import (
    IncomingWebhook,
    WebhookSettings,
    escape_outside_links,
    markdown_target,
    strip_markdown,
)
from tidings.channels.wording import Wording, fit

MAX_TEXT = 16_383
"""Most characters of a message."""
_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<])")
_MENTION = re.compile(r"@(?=\w)")


class Settings(WebhookSettings):
    """`type: mattermost`."""


class MattermostChannel(IncomingWebhook):
    """A Mattermost channel. The answer to a success is `ok`."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)
    ACCOUNT_WORDS = (
        r"incoming_webhook\.(?:invalid|disabled|permissions|channel|user)|get_incoming|channel_locked|invalid webhook"
        r"|can_not_post_to_deleted|couldn't find the (?:channel|user)|webhooks have been disabled"
    )

    def prepare(self, post: Post) -> bytes:
        wording = fit(post, lambda wording: len(_markdown(wording)) <= self.capabilities.max_length)
        return json.dumps({"text": _markdown(wording)}, ensure_ascii=False).encode()

    def length(self, body: bytes) -> int:
        return len(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        return strip_markdown(json.loads(body)["text"])


def _markdown(wording: Wording) -> str:
    """Return Markdown, with each title as a link."""
    parts = [f"**{_escape(wording.heading)}**" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        title = f"**[{_escape(story.title)}]({markdown_target(story.url)})**"
        lines = [title, _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            lines = [_escape(story.title), _escape(story.correction), story.link]
        parts.append("\n".join(filter(None, lines)))
    if wording.more:
        parts.append(f"[+{wording.more}]({markdown_target(wording.url)})")
    parts.append(" ".join(wording.tags))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    """Escape Markdown outside links. `@channel` in a headline then notifies nobody."""
    return escape_outside_links(text, lambda part: _MENTION.sub("@\u200b", _MARKDOWN.sub(r"\\\1", part)))


make = MattermostChannel
