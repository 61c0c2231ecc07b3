"""A Telegram channel or group, by the Bot API's sendMessage (core.telegram.org/bots/api)."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import quote_answer, read_object, send_request
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession, HttpResponse

MAX_TEXT = 4_096
"""UTF-16 units of a message, after its entities are parsed."""
_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{20,}")
_CHAT = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,}|-?[0-9]+")
_RECEIPT = re.compile(r"[0-9]{1,18}")
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

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, replies=True, markup="html")

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A message with its first link as a large preview: the card is that of our page."""
        wording = fit(post, lambda tried: _units(_markup(tried)) <= MAX_TEXT)
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

    def card(self, body: bytes) -> Card | None:
        """Made of the page that is its preview."""
        url = json.loads(body)["link_preview_options"].get("url")
        return Card(url) if url else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is `ok: true` with the number of the message."""
        message = json.loads(body)
        if _RECEIPT.fullmatch(attempt.reply_to):
            # Where ours is gone it stands by itself, rather than nowhere.
            message["reply_parameters"] = {"message_id": int(attempt.reply_to), "allow_sending_without_reply": True}
        answer = self._call("sendMessage", message)
        if isinstance(answer, Outcome):
            return answer
        found = read_object(answer)
        result = found.get("result")
        number = result.get("message_id") if found.get("ok") is True and isinstance(result, dict) else None
        if not isinstance(number, int):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the number of a message")
        return self._stands(str(number))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another text in its place, at any time: what a bot posted in a channel has no limit of 48 hours."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no number of a message of ours")
        return self._changed(
            "editMessageText", json.loads(body) | {"message_id": int(receipt)}, receipt, "is not modified"
        )

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. A bot may do so within 48 hours, or at any time where it may delete messages."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no number of a message of ours")
        message = {"chat_id": self._settings.chat, "message_id": int(receipt)}
        return self._changed("deleteMessage", message, receipt, "message to delete not found")

    def receipt_at(self, url: str) -> str:
        """Of t.me/NAME/NUMBER, or t.me/c/CHAT/NUMBER where the chat has no name (core.telegram.org/api/links)."""
        chat = self._settings.chat
        place = chat[1:] if chat.startswith("@") else f"c/{chat.removeprefix('-100')}"
        found = re.fullmatch(r"https://t\.me/(.+)/([0-9]{1,18})(?:\?.*)?", url)
        return found[2] if found and found[1].lower() == place.lower() else ""

    def _changed(self, method: str, message: dict[str, Any], receipt: str, already: str) -> Outcome:
        """ACCEPTED, too, where it says that it is so `already`."""
        answer = self._call(method, message, also=(400,))
        if isinstance(answer, Outcome):
            return answer
        found = read_object(answer)
        if found.get("ok") is True or already in str(found.get("description")):
            return self._stands(receipt)
        words = quote_answer(str(found.get("description", "")), self._url(method), {})
        verdict = Verdict.REJECTED if answer.status == 400 else Verdict.UNKNOWN
        return Outcome(verdict, reason=f"HTTP {answer.status}: {words}".rstrip(": "))

    def _call(self, method: str, message: dict[str, Any], also: tuple[int, ...] = ()) -> HttpResponse | Outcome:
        sent = json.dumps(message, ensure_ascii=False, sort_keys=True).encode()
        return send_request(self._session, self._url(method), sent, {"Content-Type": "application/json"}, also=also)

    def _url(self, method: str) -> str:
        return f"{self._settings.server}bot{self._settings.token.get_secret_value()}/{method}"

    def _stands(self, receipt: str) -> Outcome:
        chat = self._settings.chat
        via = f"https://t.me/{chat[1:]}/{receipt}" if chat.startswith("@") else self.name
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=via)


def _markup(wording: Wording) -> str:
    """Telegram's HTML: &, < and > are escaped, nothing else need be."""
    parts = [f"<b>{_escape(wording.heading)}</b>" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        title = f'<b><a href="{html.escape(story.url)}">{_escape(story.title)}</a></b>'
        words = [title, _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            words = [_escape(story.title), _escape(story.correction), _escape(story.link)]
        parts.append("\n".join(filter(None, words)))
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
