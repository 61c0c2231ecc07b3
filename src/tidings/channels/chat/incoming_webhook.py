"""Shared by chats with an incoming webhook: the setting, the request, and Markdown as people read it."""

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
    """Common to the chats that give an incoming webhook."""

    url: SecretUrl = Field(description="The incoming webhook's address, a secret: {env: NAME} or {file: PATH}.")


class IncomingWebhook(HttpChannel[WebhookSettings]):
    """The webhook gives no id and has no key for repeats: an unknown outcome waits for a person."""

    CONTENT_TYPE: ClassVar[str] = "application/json"

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the body."""
        headers = {"Content-Type": self.CONTENT_TYPE}
        answer = self.request(self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        return self.accepted() if self.is_success(answer.text) else doubt_success(answer, "the word for success")

    def is_success(self, answer: str) -> bool:
        """Whether a 2xx answer is the service's own."""
        return answer.strip() == "ok"


def escape_outside_links(text: str, escape: Callable[[str], str]) -> str:
    """Escape a text, but not the addresses in it."""
    parts = _LINK.split(text)
    parts[::2] = map(escape, parts[::2])
    return "".join(parts)


_BALANCED = re.compile(r"(?:[^\s()]|\([^\s()]*\))+")


def markdown_target(url: str) -> str:
    """Return an address for `[text](address)`. Brackets that do not match would end the link too early."""
    return url if _BALANCED.fullmatch(url) else url.replace("(", "%28").replace(")", "%29")


def strip_markdown(markdown: str) -> str:
    """Return the text as people read it: without bold marks and escapes, the address of a link below its text."""

    def replacement(match: re.Match[str]) -> str:
        if match["link"]:
            return f"{strip_markdown(match['title'])}\n{match['link']}"
        return match["bare"] or match["raw"] or match["sign"] or ""

    return _MARK.sub(replacement, markdown)
