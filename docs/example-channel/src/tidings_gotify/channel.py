"""A Gotify application, by POST /message (gotify.net/api-docs)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import HttpChannel, doubt_success, encode_json, json_headers, read_object
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SiteUrl
from tidings.model.delivery import Outcome
from tidings.model.text import shorten

MAX_TEXT = 4_000
"""Characters. Gotify names no limit, but a telephone shows no more."""


class Settings(ChannelSettings):
    """`type: gotify`."""

    server: SiteUrl = Field(description="The server.")
    token: SecretStr = Field(description="The application's token: {env: NAME} or {file: PATH}.")


class GotifyChannel(PlainTextBody, HttpChannel[Settings]):
    """Gotify has no key for repeats: an unknown outcome waits for a person."""

    TEXT_KEY = "message"
    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def prepare(self, post: Post) -> bytes:
        """Return the body. Pure, and without secrets: it is frozen, stored and shown by `preview`."""
        message = plain_text(self.fit(post))
        return encode_json({"title": shorten(post.title, 200), "message": message, "priority": 5})

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the body. Success is 200 with the number of the message, and no other 2xx."""
        token = self._settings.token.get_secret_value()
        headers = json_headers() | {"X-Gotify-Key": token}
        answer = self.request(f"{self._settings.server}message", body, headers, hide=(token,))
        if isinstance(answer, Outcome):
            return answer
        number = read_object(answer).get("id")
        return doubt_success(answer, "the number of a message") if number is None else self.accepted(str(number))


make = GotifyChannel
