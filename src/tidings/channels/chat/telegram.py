"""A Telegram channel or group, through the Bot API's sendMessage (core.telegram.org/bots/api)."""

from __future__ import annotations

import html
import json
import re
from typing import Annotated, Any

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import (
    INVALID_RECEIPT,
    HttpChannel,
    describe_refusal,
    doubt_success,
    encode_json,
    json_headers,
    must_match,
    read_object,
)
from tidings.channels.wording import Wording, fit
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

MAX_TEXT = 4_096
"""Most UTF-16 units of a message, after its entities are parsed."""
_BOT_LOGIN = r"[0-9]+:[A-Za-z0-9_-]{20,}"
_CHAT = r"@[A-Za-z][A-Za-z0-9_]{3,}|-?[0-9]+"
_RECEIPT = re.compile(r"[0-9]{1,18}")
_TAG = re.compile(r"<[^<>]*>")


class Settings(ChannelSettings):
    """`type: telegram`."""

    token: Annotated[
        SecretStr, must_match(_BOT_LOGIN, "is not a bot token; @BotFather gives one like 123456789:AAE...")
    ] = Field(description="The bot's token from @BotFather: {env: NAME} or {file: PATH}.")
    chat: Annotated[
        Line, must_match(_CHAT, 'is not a chat; write "@name" in quotes, or its number, such as "-1001234567890"')
    ] = Field(description="Where to post: @name of a public channel, or the number of a chat.")
    server: SiteUrl = Field(default="https://api.telegram.org/", description="Bot API server, if you run one yourself.")


class TelegramChannel(HttpChannel[Settings]):
    """Telegram has no idempotency key, so an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, replies=True)
    ACCOUNT_WORDS = (
        r"chat not found|bot (?:was|is not a member)|need administrator rights|(?:not enough|have no) rights to send"
        r"|upgraded to a supergroup|CHAT_WRITE_FORBIDDEN|CHAT_ADMIN_REQUIRED|CHANNEL_PRIVATE|PEER_ID_INVALID"
        r"|TOPIC_CLOSED"
    )

    def prepare(self, post: Post) -> bytes:
        """Return a message with a large preview of its first link, which shows our page's card."""
        wording = fit(post, lambda wording: _count_units(_html(wording)) <= MAX_TEXT)
        link = wording.stories[0].url if wording.stories else wording.url
        preview = {"is_disabled": True} if post.text else {"url": link, "prefer_large_media": True}
        message = {"chat_id": self._settings.chat, "text": _html(wording), "parse_mode": "HTML"}
        return encode_json(message | {"link_preview_options": preview})

    def length(self, body: bytes) -> int:
        """Return the UTF-16 units of the visible text."""
        return _count_units(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        linked = re.sub(r'<a href="([^"]*)">((?:(?!<a ).)*?)</a>', r"\2\n\1", json.loads(body)["text"])
        return html.unescape(_TAG.sub("", linked))

    def card(self, body: bytes) -> Card | None:
        url = json.loads(body)["link_preview_options"].get("url")
        return Card(url) if url else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the message. Success is `ok: true` with the number of the message."""
        message = json.loads(body)
        if _RECEIPT.fullmatch(attempt.reply_to):
            # If our earlier post is gone, this one is published on its own.
            message["reply_parameters"] = {"message_id": int(attempt.reply_to), "allow_sending_without_reply": True}
        answer = self._call("sendMessage", message)
        if isinstance(answer, Outcome):
            return answer
        value = read_object(answer)
        result = value.get("result")
        number = result.get("message_id") if value.get("ok") is True and isinstance(result, dict) else None
        if not isinstance(number, int):
            return doubt_success(answer, "the number of a message")
        return self._published(str(number))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the text. There is no time limit: the 48 hours do not apply to a bot's posts in a channel."""
        return self._change("editMessageText", receipt, json.loads(body), "is not modified")

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post. A bot may do this within 48 hours, or at any time with the right to delete messages."""
        return self._change("deleteMessage", receipt, {"chat_id": self._settings.chat}, "message to delete not found")

    def receipt_at(self, url: str) -> str:
        """Read t.me/NAME/NUMBER, or t.me/c/CHAT/NUMBER of a chat without a name (core.telegram.org/api/links)."""
        chat = self._settings.chat
        place = chat[1:] if chat.startswith("@") else f"c/{chat.removeprefix('-100')}"
        match = re.fullmatch(r"https://t\.me/([^?]+)/([0-9]{1,18})(?:\?.*)?", url)
        return match[2] if match and match[1].lower() == place.lower() else ""

    def _change(self, method: str, receipt: str, message: dict[str, Any], unchanged: str) -> Outcome:
        """Change a post. Returns ACCEPTED also if the refusal matches `unchanged`, because it was changed before."""
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        answer = self._call(method, message | {"message_id": int(receipt)}, also=(400,))
        if isinstance(answer, Outcome):
            return answer
        value = read_object(answer)
        description = str(value.get("description", ""))
        if value.get("ok") is True or unchanged in description:
            return self._published(receipt)
        verdict = Verdict.REJECTED if answer.status == 400 else Verdict.UNKNOWN
        return Outcome(verdict, reason=describe_refusal(answer, description, self._url(method)))

    def _call(self, method: str, message: dict[str, Any], also: tuple[int, ...] = ()) -> HttpResponse | Outcome:
        return self.request(self._url(method), encode_json(message), json_headers(), also=also)

    def _url(self, method: str) -> str:
        return f"{self._settings.server}bot{self._settings.token.get_secret_value()}/{method}"

    def _published(self, receipt: str) -> Outcome:
        chat = self._settings.chat
        return self.accepted(receipt, f"https://t.me/{chat[1:]}/{receipt}" if chat.startswith("@") else "")


def _html(wording: Wording) -> str:
    """Return Telegram's HTML, in which &, < and > are escaped."""
    parts = [f"<b>{_escape(wording.heading)}</b>" if wording.heading else "", _escape(wording.text)]
    for story in wording.stories:
        title = f'<b><a href="{html.escape(story.url)}">{_escape(story.title)}</a></b>'
        lines = [title, _escape(story.summary), _escape(story.correction)]
        if story.is_own_text:
            lines = [_escape(story.title), _escape(story.correction), _escape(story.link)]
        parts.append("\n".join(filter(None, lines)))
    if wording.more:
        parts.append(f'<a href="{html.escape(wording.url)}">+{wording.more}</a>')
    parts.append(_escape(" ".join(wording.tags)))
    return "\n\n".join(filter(None, parts))


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _count_units(markup: str) -> int:
    return len(html.unescape(_TAG.sub("", markup)).encode("utf-16-le")) // 2


make = TelegramChannel
