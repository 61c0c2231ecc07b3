"""A Mastodon account, by POST /api/v1/statuses (docs.joinmastodon.org/methods/statuses)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Literal

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import hand_over
from tidings.channels.wording import fitted, plain
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Int, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession

URL_LENGTH = 23
"""What every link counts, however long it is (`characters_reserved_per_url`)."""
_REMEMBERS = 3_000.0
"""Seconds: a server keeps an Idempotency-Key for an hour; less, for clocks differ and requests take time."""
_URL = re.compile(r"https?://\S+")


class Settings(ChannelSettings):
    """`type: mastodon`."""

    server: SiteUrl = Field(description="The account's server, such as https://mastodon.social/.")
    token: SecretStr = Field(description="Access token with write:statuses: {env: NAME} or {file: PATH}.")
    visibility: Literal["public", "unlisted", "private"] = Field(default="public", description="Who sees its posts.")
    max_length: Int = Field(
        default=500,
        ge=100,
        le=100_000,
        description="Longest post of the server (`max_characters` of /api/v2/instance).",
    )


class MastodonChannel:
    """The server makes the card from the page's own description; repeats within the hour give the same post."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.capabilities = Capabilities(
            max_length=settings.max_length, idempotency=Idempotency.WINDOW, window=_REMEMBERS
        )
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """The status, in the language of the post."""
        longest = self._settings.max_length
        wording = fitted(post, lambda tried: counted(plain(tried)) <= longest)
        status = {"status": plain(wording), "language": post.language, "visibility": self._settings.visibility}
        return json.dumps(status, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters, a link counting 23."""
        return counted(json.loads(body)["status"])

    def text(self, body: bytes) -> str:
        """The status."""
        return str(json.loads(body)["status"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 with the id and the address of the status."""
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._settings.token.get_secret_value()}",
            "Idempotency-Key": hashlib.sha256(attempt.key.encode()).hexdigest(),
        }
        answer = hand_over(self._session, f"{self._settings.server}api/v1/statuses", body, headers)
        if isinstance(answer, Outcome):
            return answer
        try:
            said = json.loads(answer.text)
            return Outcome(Verdict.ACCEPTED, receipt=str(said["id"]), via=str(said.get("url") or self.name))
        except (ValueError, TypeError, LookupError, AttributeError):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a status")


def counted(text: str) -> int:
    """Characters as the server counts them, or a few more: it takes what looks like one letter for one."""
    return len(_URL.sub("x" * URL_LENGTH, text))


def make(name: str, settings: Settings) -> MastodonChannel:
    """The channel of one name."""
    return MastodonChannel(name, settings)
