"""A Mattermost channel, by its incoming webhook (developers.mattermost.com/integrate/webhooks/incoming)."""

from __future__ import annotations

import json
import re

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.chat.markdown import strip_markdown
from tidings.channels.http import send_request
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_TEXT = 16_383
"""Characters of a message."""
_MARKDOWN = re.compile(r"([\\*_~`|>#\[\]()<])")
_LINK = re.compile(r"(https?://\S+)")
_CALL = re.compile(r"@(?=\w)")


class Settings(ChannelSettings):
    """`type: mattermost`."""

    url: SecretUrl = Field(
        description="The incoming webhook's address, which is a secret: {env: NAME} or {file: PATH}."
    )


class MattermostChannel:
    """Mattermost answers `ok` and gives no id, and has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, markup="markdown")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """Markdown, each title a link."""
        wording = fit(post, lambda tried: len(_markdown(tried)) <= self.capabilities.max_length)
        return json.dumps({"text": _markdown(wording)}, ensure_ascii=False).encode()

    def length(self, body: bytes) -> int:
        """Characters of the Markdown."""
        return len(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        """What people read, with the links written out."""
        return strip_markdown(json.loads(body)["text"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 and the word for it."""
        headers = {"Content-Type": "application/json"}
        answer = send_request(self._session, self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        if not self._is_success(answer.text):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without a word of success")
        return Outcome(Verdict.ACCEPTED, via=self.name)

    def _is_success(self, text: str) -> bool:
        return text.strip() == "ok"


def _markdown(wording: Wording) -> str:
    """With every sign escaped that a headline may hold; `@channel` in one calls nobody."""
    parts = [f"**{_escape(wording.heading)}**" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        title = f"**[{_escape(story.title)}]({story.url.replace(')', '%29')})**"
        words = [title, _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            words = [_escape(story.title), _escape(story.correction), story.link]
        parts.append("\n".join(filter(None, words)))
    if wording.more:
        parts.append(f"[+{wording.more}]({wording.url})")
    parts.append(" ".join(wording.tags))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    """Every sign of Markdown outside of links."""
    parts = _LINK.split(text)
    parts[::2] = [_CALL.sub("@\u200b", _MARKDOWN.sub(r"\\\1", part)) for part in parts[::2]]
    return "".join(parts)


def make(name: str, settings: Settings) -> MattermostChannel:
    """The channel of one name."""
    return MattermostChannel(name, settings)
