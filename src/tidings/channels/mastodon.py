"""A Mastodon account, by POST /api/v1/statuses (docs.joinmastodon.org/methods/statuses)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import hand_over, said
from tidings.channels.mastodon_statuses import look_for
from tidings.channels.wording import fitted, plain
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Int, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import Answer, GuardedSession

URL_LENGTH = 23
"""What every link counts, however long it is (`characters_reserved_per_url`)."""
_REMEMBERS = 3_000.0
"""Seconds: a server keeps an Idempotency-Key for an hour; less, for clocks differ and requests take time."""
LINK = re.compile(
    r"(?<!\S)https?://(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?::[0-9]+)?"
    r"(?:/(?:[A-Za-z0-9_./~%+=&?#:,;!*'@$|-]*[A-Za-z0-9_/+=#-])?)?"
)
"""What every server takes for a link: it stands by itself, and is written in ASCII."""
_RECEIPT = re.compile(r"[A-Za-z0-9]{1,64}")


class Settings(ChannelSettings):
    """`type: mastodon`."""

    server: SiteUrl = Field(description="The account's server, such as https://mastodon.social/.")
    token: SecretStr = Field(
        description="Access token with write:statuses, read:statuses and read:accounts: {env: NAME} or {file: PATH}."
    )
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
            max_length=settings.max_length, idempotency=Idempotency.WINDOW, window=_REMEMBERS, replies=True
        )
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """The status, in the language of the post; an answer to our earlier one where the post is that."""
        longest = self._settings.max_length
        wording = fitted(post, lambda tried: counted(plain(tried)) <= longest)
        status = {"status": plain(wording), "language": post.language, "visibility": self._settings.visibility}
        if post.reply_to:
            status["in_reply_to_id"] = post.reply_to
        return json.dumps(status, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters, a link counting 23."""
        return counted(json.loads(body)["status"])

    def text(self, body: bytes) -> str:
        """The status."""
        return str(json.loads(body)["status"])

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 with the id and the address of the status."""
        key = {"Idempotency-Key": hashlib.sha256(attempt.key.encode()).hexdigest()}
        return self._told(hand_over(self._session, f"{self._settings.server}api/v1/statuses", body, self._headers(key)))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another text in its place; who answered or passed it on is told by the server."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a status of ours")
        changed = {key: value for key, value in json.loads(body).items() if key in ("status", "language")}
        sent = json.dumps(changed, ensure_ascii=False, sort_keys=True).encode()
        url = f"{self._settings.server}api/v1/statuses/{receipt}"
        return self._told(hand_over(self._session, url, sent, self._headers(), "PUT"))

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. 404: it is gone."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a status of ours")
        url = f"{self._settings.server}api/v1/statuses/{receipt}"
        answer = hand_over(self._session, url, None, self._headers(), "DELETE", also=(404, 410))
        return answer if isinstance(answer, Outcome) else Outcome(Verdict.ACCEPTED, receipt=receipt, via=self.name)

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Read our own account back: the same text, or the same links, since the doubtful try."""
        status = json.loads(body)["status"]
        return look_for(self._session, f"{self._settings.server}api/v1/", self._headers(), status, attempt.at)

    def _headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        token = self._settings.token.get_secret_value()
        return {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **(more or {})}

    def _told(self, answer: Answer | Outcome) -> Outcome:
        if isinstance(answer, Outcome):
            return answer
        status: dict[str, Any] = said(answer)
        if "id" not in status:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a status")
        return Outcome(Verdict.ACCEPTED, receipt=str(status["id"]), via=str(status.get("url") or self.name))


def counted(text: str) -> int:
    """Characters as the server counts them, or a few more: it takes what looks like one letter for one.

    What may be a link to it or not counts as both.
    """
    rest = LINK.sub("x" * URL_LENGTH, text)
    return len(rest) + URL_LENGTH * rest.count("://")


def make(name: str, settings: Settings) -> MastodonChannel:
    """The channel of one name."""
    return MastodonChannel(name, settings)
