"""A topic of ntfy: a notice on telephones and desktops (docs.ntfy.sh/publish, "Publish as JSON")."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import send_request
from tidings.channels.wording import Wording, fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession

MAX_TEXT = 4_096
"""Bytes of a message; a longer one becomes an attachment."""
_TITLE = 250
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Settings(ChannelSettings):
    """`type: ntfy`."""

    server: SiteUrl = Field(default="https://ntfy.sh/", description="The server.")
    topic: SecretStr = Field(description="The topic; who knows its name may read it: {env: NAME} or {file: PATH}.")
    token: SecretStr | None = Field(default=None, description="Access token, where the topic asks for one.")

    @field_validator("topic")
    @classmethod
    def _is_topic(cls, value: SecretStr) -> SecretStr:
        if not _TOPIC.fullmatch(value.get_secret_value()):
            raise ValueError("this is no topic; use 1 to 64 letters, digits, _ or -")
        return value


class NtfyChannel:
    """ntfy has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A notice that opens the story, or the newsroom."""
        wording = fit(post, lambda tried: len(plain_text(tried).encode()) <= MAX_TEXT)
        message: dict[str, Any] = {
            "title": shorten(post.title, _TITLE),
            "message": plain_text(wording),
            "click": _link(wording),
        }
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Bytes of the message."""
        return len(json.loads(body)["message"].encode())

    def text(self, body: bytes) -> str:
        """The message."""
        return str(json.loads(body)["message"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Publish it. Success is 200 with an id."""
        headers = {"Content-Type": "application/json"}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        # Who knows the topic may read it: it is not kept with the post.
        message = json.loads(body) | {"topic": self._settings.topic.get_secret_value()}
        sent = json.dumps(message, ensure_ascii=False, sort_keys=True).encode()
        answer = send_request(self._session, self._settings.server, sent, headers)
        if isinstance(answer, Outcome):
            return answer
        try:
            return Outcome(Verdict.ACCEPTED, receipt=str(json.loads(answer.text)["id"]), via=self.name)
        except (ValueError, TypeError, LookupError):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without an id")


def _link(wording: Wording) -> str:
    return wording.stories[0].url if len(wording.stories) == 1 else wording.url


def make(name: str, settings: Settings) -> NtfyChannel:
    """The channel of one name."""
    return NtfyChannel(name, settings)
