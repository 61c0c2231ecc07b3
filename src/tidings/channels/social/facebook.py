"""A Facebook page, by POST /{page}/feed (developers.facebook.com/docs/graph-api/reference/page/feed)."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import quote_answer, read_object, requested_wait, send_request
from tidings.channels.wording import fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession, HttpResponse

MAX_TEXT = 63_206
"""Characters of a message."""
_RECEIPT = re.compile(r"[0-9]{1,25}(?:_[0-9]{1,25})?")
_TOO_MANY = {4, 17, 32, 341, 368, 613, 80001, 80002}
"""Codes of limits (developers.facebook.com/docs/graph-api/guides/error-handling)."""
_UNSURE = {1, 2}
_TOKEN, _SAME, _GONE = 190, 506, 100


class Settings(ChannelSettings):
    """`type: facebook`."""

    page: Line = Field(description="The page's number.")
    token: SecretStr = Field(description="Page access token with pages_manage_posts: {env: NAME} or {file: PATH}.")
    version: Line = Field(default="v25.0", description="Version of the Graph API; each lives for about two years.")
    server: SiteUrl = Field(default="https://graph.facebook.com/", description="Where the API stands.")

    @field_validator("page")
    @classmethod
    def _is_number(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,25}", value):
            raise ValueError(f"{value!r} is no page; write its number (on the page: About, Page transparency)")
        return value

    @field_validator("version")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", value):
            raise ValueError(f"{value!r} is no version; write it like v25.0")
        return value


class FacebookChannel:
    """The card is that of our page; Facebook has no key for repeats: an unknown outcome waits for a person."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """A message, and the link of which Facebook makes the card."""
        wording = fit(post, lambda tried: len(plain_text(tried)) <= MAX_TEXT)
        message = {"message": plain_text(wording)}
        if not post.text:
            message["link"] = wording.stories[0].url if len(wording.stories) == 1 else wording.url
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters."""
        return len(json.loads(body)["message"])

    def text(self, body: bytes) -> str:
        """The message."""
        return str(json.loads(body)["message"])

    def card(self, body: bytes) -> Card | None:
        """Made of the page that it links."""
        link = json.loads(body).get("link")
        return Card(link) if link else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 200 with the id of the post."""
        answer = self._ask("POST", f"{self._settings.page}/feed", body)
        if isinstance(answer, Outcome):
            return answer
        number = str(read_object(answer).get("id", ""))
        if not _RECEIPT.fullmatch(number):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a post")
        return self._stands(number)

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another message in its place; the link of a post cannot be changed."""
        sent = json.dumps({"message": json.loads(body)["message"]}, ensure_ascii=False).encode()
        return self._change("POST", receipt, sent)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. Graph does not tell a post that is gone from one that it may not see: then a person looks."""
        return self._change("DELETE", receipt, None)

    def _change(self, method: str, receipt: str, body: bytes | None) -> Outcome:
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a post of ours")
        answer = self._ask(method, receipt, body)
        if isinstance(answer, Outcome):
            return answer
        if read_object(answer).get("success") is not True:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without a word of success")
        return self._stands(receipt)

    def _ask(self, method: str, path: str, body: bytes | None) -> HttpResponse | Outcome:
        """The answer to a success. Graph refuses with 400 or 403 whatever it is; its code says what."""
        url = f"{self._settings.server}{self._settings.version}/{path}"
        token = self._settings.token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = send_request(self._session, url, body, headers, method, also=(400, 401, 403, 404))
        if isinstance(answer, Outcome) or answer.status < 400:
            return answer
        error = read_object(answer).get("error")
        error = error if isinstance(error, dict) else {}
        words = quote_answer(str(error.get("message", answer.text)), url, headers)
        return _refused(answer, error, f"HTTP {answer.status}: {words}".rstrip(": "))

    def _stands(self, receipt: str) -> Outcome:
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=f"https://www.facebook.com/{receipt}")


def _refused(answer: HttpResponse, error: dict[str, Any], words: str) -> Outcome:
    code = error.get("code")
    if code in _TOO_MANY:
        return Outcome(Verdict.DEFERRED, reason=words, retry_after=requested_wait(answer))
    if code in _UNSURE or (error.get("is_transient") is True and code not in (_TOKEN, _SAME)):
        return Outcome(Verdict.UNKNOWN, reason=words)
    if code == _TOKEN:
        return Outcome(Verdict.REJECTED, reason=f"{words}; the page's token has ended: make a new one")
    if code == _SAME:
        return Outcome(Verdict.REJECTED, reason=f"{words}; the same text stands on the page already")
    if code == _GONE and error.get("error_subcode") == 33:
        return Outcome(Verdict.REJECTED, reason=f"{words}; it is gone, or the token may not see it")
    return Outcome(Verdict.REJECTED, reason=words)


def make(name: str, settings: Settings) -> FacebookChannel:
    """The channel of one name."""
    return FacebookChannel(name, settings)
