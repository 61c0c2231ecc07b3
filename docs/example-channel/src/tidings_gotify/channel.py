"""A Gotify application, by POST /message (gotify.net/api-docs)."""

from __future__ import annotations

import json

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import read_object, send_request
from tidings.channels.wording import cut, fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

MAX_TEXT = 4_000
"""Characters; Gotify names no limit, a telephone shows no more."""


class Settings(ChannelSettings):
    """`type: gotify`."""

    server: SiteUrl = Field(description="The server.")
    token: SecretStr = Field(description="The application's token: {env: NAME} or {file: PATH}.")


class GotifyChannel:
    """Gotify has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """Pure, and no secret in it: it is frozen, stored and shown by `preview`."""
        wording = fit(post, lambda tried: len(plain_text(tried)) <= MAX_TEXT)
        message = {"title": cut(post.title, 200), "message": plain_text(wording), "priority": 5}
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters."""
        return len(json.loads(body)["message"])

    def text(self, body: bytes) -> str:
        """The message."""
        return str(json.loads(body)["message"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Success is 200 with the number of the message; anything else in a 2xx is no success."""
        headers = {"Content-Type": "application/json", "X-Gotify-Key": self._settings.token.get_secret_value()}
        hide = (self._settings.token.get_secret_value(),)
        answer = send_request(self._session, f"{self._settings.server}message", body, headers, hide=hide)
        if isinstance(answer, Outcome):
            return answer
        number = read_object(answer).get("id")
        if number is None:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the number of a message")
        return Outcome(Verdict.ACCEPTED, receipt=str(number), via=self.name)


def make(name: str, settings: Settings) -> GotifyChannel:
    """The channel of one name."""
    return GotifyChannel(name, settings)
