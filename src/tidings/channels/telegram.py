"""A Telegram channel or group, by the Bot API's sendMessage (core.telegram.org/bots/api)."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import hand_over
from tidings.channels.wording import Wording, fitted
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_TEXT = 4_096
"""UTF-16 units of a message, after its entities are parsed."""
_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{20,}")
_CHAT = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,}|-?[0-9]+")
_TAG = re.compile(r"<[^>]*>")


class Settings(ChannelSettings):
    """`type: telegram`."""

    token: SecretStr = Field(description="The bot's token from @BotFather: {env: NAME} or {file: PATH}.")
    chat: Line = Field(description="Where to post: @name of a public channel, or the number of a chat.")
    server: SiteUrl = Field(default="https://api.telegram.org/", description="Bot API server, if you run one yourself.")

    @field_validator("token")
    @classmethod
    def _is_token(cls, value: SecretStr) -> SecretStr:
        if not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("this is no bot token; @BotFather gives one like 123456789:AAE...")
        return value

    @field_validator("chat")
    @classmethod
    def _is_chat(cls, value: str) -> str:
        if not _CHAT.fullmatch(value):
            raise ValueError(f'{value!r} is no chat; write "@name" in quotes, or its number, such as "-1001234567890"')
        return value


class TelegramChannel:
    """Telegram has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, markup="html")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A message with its first link as a large preview: the card is that of our page."""
        wording = fitted(post, lambda tried: _units(_markup(tried)) <= MAX_TEXT)
        link = wording.stories[0].url if wording.stories else wording.url
        message: dict[str, Any] = {
            "chat_id": self._settings.chat,
            "text": _markup(wording),
            "parse_mode": "HTML",
            "link_preview_options": {"url": link, "prefer_large_media": True}
            if not post.text
            else {"is_disabled": True},
        }
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """UTF-16 units of the text that is seen."""
        return _units(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        """What people read, with the links written out."""
        shown = re.sub(r'<a href="([^"]*)">(.*?)</a>', r"\2\n\1", json.loads(body)["text"])
        return html.unescape(_TAG.sub("", shown))

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is `ok: true` with the number of the message."""
        url = f"{self._settings.server}bot{self._settings.token.get_secret_value()}/sendMessage"
        answer = hand_over(self._session, url, body, {"Content-Type": "application/json"})
        if isinstance(answer, Outcome):
            return answer
        try:
            said = json.loads(answer.text)
            number = int(said["result"]["message_id"]) if said["ok"] is True else 0
        except (ValueError, TypeError, LookupError):
            number = 0
        if not number:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the number of a message")
        chat = self._settings.chat
        return Outcome(
            Verdict.ACCEPTED,
            receipt=str(number),
            via=f"https://t.me/{chat[1:]}/{number}" if chat.startswith("@") else self.name,
        )


def _markup(wording: Wording) -> str:
    """Telegram's HTML: &, < and > are escaped, nothing else need be."""
    parts = [f"<b>{_escape(wording.heading)}</b>" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        title = f'<b><a href="{html.escape(story.url)}">{_escape(story.title)}</a></b>'
        parts.append("\n".join(filter(None, [title, _escape(story.summary)])))
    if wording.more:
        parts.append(f'<a href="{html.escape(wording.url)}">+{wording.more}</a>')
    parts.append(_escape(" ".join(wording.tags)))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _units(markup: str) -> int:
    return len(html.unescape(_TAG.sub("", markup)).encode("utf-16-le")) // 2


def make(name: str, settings: Settings) -> TelegramChannel:
    """The channel of one name."""
    return TelegramChannel(name, settings)
