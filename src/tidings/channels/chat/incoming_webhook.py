"""Shared by chats with an incoming webhook: the setting, the request, and Markdown as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from pydantic import Field

from tidings.channels.base import Attempt
from tidings.channels.http import HttpChannel, doubt_success
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome

_MARK = re.compile(
    r"\[(?P<title>(?:\\.|[^\[\]\\])*)\]\((?P<link>https?://(?:[^\s()]|\([^\s()]*\))+)\)"
    r"|<(?P<bare>https?://[^\s<>]+)>|(?P<raw>https?://(?:(?!\*\*)\S)+)|\\(?P<sign>[!-/:-@\[-`{-~])|\*\*"
)
_LINK = re.compile(r"(https?://\S+)")


class WebhookSettings(ChannelSettings):
    """Settings that chats with an incoming webhook share."""

    url: SecretUrl = Field(description="The incoming webhook's address, a secret: {env: NAME} or {file: PATH}.")


class IncomingWebhook(HttpChannel[WebhookSettings]):
    """The webhook returns no id and has no idempotency key, so an unknown outcome waits for a person."""

    CONTENT_TYPE: ClassVar[str] = "application/json"

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the body."""
        headers = {"Content-Type": self.CONTENT_TYPE}
        answer = self.request(self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        return self.accepted() if self.is_success(answer.text) else doubt_success(answer, "the word for success")

    def is_success(self, answer: str) -> bool:
        """Whether a 2xx answer really comes from the service."""
        return answer.strip() == "ok"


def escape_outside_links(text: str, escape: Callable[[str], str]) -> str:
    """Escape a text, except URLs in it."""
    parts = _LINK.split(text)
    parts[::2] = map(escape, parts[::2])
    return "".join(parts)


_BALANCED = re.compile(r"(?:[^\s()]|\([^\s()]*\))+")


def markdown_target(url: str) -> str:
    """Return a URL for `[text](URL)`. Escapes unmatched brackets, which would end the link too early."""
    return url if _BALANCED.fullmatch(url) else url.replace("(", "%28").replace(")", "%29")


def strip_markdown(markdown: str) -> str:
    """Return the text without bold marks and escapes, and with the URL of a link below its text."""

    def replacement(match: re.Match[str]) -> str:
        if match["link"]:
            return f"{strip_markdown(match['title'])}\n{match['link']}"
        return match["bare"] or match["raw"] or match["sign"] or ""

    return _MARK.sub(replacement, markdown)
