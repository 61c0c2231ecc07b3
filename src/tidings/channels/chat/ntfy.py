"""An ntfy topic: a notification on phones and desktops (docs.ntfy.sh/publish, "Publish as JSON")."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import HttpChannel, doubt_success, encode_json, json_headers, must_match, read_object
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SiteUrl
from tidings.model.delivery import Outcome
from tidings.model.text import shorten

MAX_TEXT = 4_096
"""Most bytes of a message. A longer one becomes an attachment."""
_TITLE = 250


class Settings(ChannelSettings):
    """`type: ntfy`."""

    server: SiteUrl = Field(default="https://ntfy.sh/", description="The server.")
    topic: Annotated[
        SecretStr, must_match(r"[A-Za-z0-9_-]{1,64}", "is not a topic; use 1 to 64 letters, digits, _ or -")
    ] = Field(description="The topic. Everyone who knows its name can read it: {env: NAME} or {file: PATH}.")
    token: SecretStr | None = Field(default=None, description="Access token, if the topic asks for one.")


class NtfyChannel(PlainTextBody, HttpChannel[Settings]):
    """ntfy has no idempotency key, so an unknown outcome waits for a person."""

    TEXT_KEY = "message"
    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def count(self, text: str) -> int:
        return len(text.encode())

    def prepare(self, post: Post) -> bytes:
        """Return a notification that opens the story, or the site."""
        wording = self.fit(post)
        title = shorten(post.title, _TITLE)
        return encode_json({"title": title, "message": plain_text(wording), "click": wording.main_url})

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Publish the notification. Success is 200 with an id."""
        # The topic is a secret, so it is not stored with the post.
        message = json.loads(body) | {"topic": self._settings.topic.get_secret_value()}
        headers = json_headers(self._settings.token)
        answer = self.request(self._settings.server, encode_json(message), headers)
        if isinstance(answer, Outcome):
            return answer
        number = read_object(answer).get("id")
        return doubt_success(answer, "an id") if number is None else self.accepted(str(number))


make = NtfyChannel
