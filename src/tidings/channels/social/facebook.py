"""A Facebook page, through POST /{page}/feed (developers.facebook.com/docs/graph-api/reference/page/feed)."""

from __future__ import annotations

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
    requested_wait,
)
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Line, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

MAX_TEXT = 63_206
"""Most characters of a message."""
_RECEIPT = re.compile(r"[0-9]{1,25}(?:_[0-9]{1,25})?")
_TOO_MANY = {4, 17, 32, 341, 368, 613, 80001, 80002}
"""Error codes for rate limits (developers.facebook.com/docs/graph-api/guides/error-handling)."""
_UNSURE = {1, 2}
_TOKEN, _SAME, _GONE = 190, 506, 100
_LOGIN = {102, 104, 190, 2500}
"""Error codes for a token that has expired or is missing."""
_ACCOUNT = {3, 10, *range(200, 300)}
"""Error codes for a missing permission, or for an account that may not post."""


class Settings(ChannelSettings):
    """`type: facebook`."""

    page: Annotated[
        Line, must_match(r"[0-9]{1,25}", "is not a page; write its number (on the page: About, Page transparency)")
    ] = Field(description="The page's number.")
    token: SecretStr = Field(description="Page access token with pages_manage_posts: {env: NAME} or {file: PATH}.")
    version: Annotated[Line, must_match(r"v[0-9]{1,3}\.[0-9]", "is not a version; write it like v25.0")] = Field(
        default="v25.0", description="Version of the Graph API; each lives for about two years."
    )
    server: SiteUrl = Field(default="https://graph.facebook.com/", description="Where the API is.")


class FacebookChannel(PlainTextBody, HttpChannel[Settings]):
    """A Facebook page. Facebook has no idempotency key, so an unknown outcome waits for a person."""

    TEXT_KEY = "message"
    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE)

    def prepare(self, post: Post) -> bytes:
        """Return a message, and the link from which Facebook makes the card."""
        wording = self.fit(post)
        message = {"message": plain_text(wording)}
        if not post.text:
            message["link"] = wording.main_url
        return encode_json(message)

    def card(self, body: bytes) -> Card | None:
        link = json.loads(body).get("link")
        return Card(link) if link else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the message. Success is 200 with the id of the post."""
        answer = self._ask("POST", f"{self._settings.page}/feed", body, new=True)
        if isinstance(answer, Outcome):
            return answer
        number = str(read_object(answer).get("id", ""))
        return self._published(number) if _RECEIPT.fullmatch(number) else doubt_success(answer, "the id of a post")

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the message. The link of a post cannot be changed."""
        message = json.dumps({"message": json.loads(body)["message"]}, ensure_ascii=False).encode()
        return self._change("POST", receipt, message)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post. Graph refuses deleted posts and posts that the token may not see in the same way."""
        return self._change("DELETE", receipt, None)

    def _change(self, method: str, receipt: str, body: bytes | None) -> Outcome:
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        answer = self._ask(method, receipt, body)
        if isinstance(answer, Outcome):
            return answer
        is_done = read_object(answer).get("success") is True
        return self._published(receipt) if is_done else doubt_success(answer, "the word for success")

    def _ask(self, method: str, path: str, body: bytes | None, *, new: bool = False) -> HttpResponse | Outcome:
        """Return the answer if successful. Graph refuses with 400 or 403, and its error code tells the cause.

        `new`: the request makes a post. Then a missing page is a failure of the channel.
        """
        url, headers = f"{self._settings.server}{self._settings.version}/{path}", json_headers(self._settings.token)
        answer = self.request(url, body, headers, method, also=(400, 401, 403, 404))
        if isinstance(answer, Outcome) or answer.status < 400:
            return answer
        error = read_object(answer).get("error")
        error = error if isinstance(error, dict) else {}
        reason = describe_refusal(answer, str(error.get("message", answer.text)), url, headers)
        outcome = _refusal(answer, error, reason)
        code = error.get("code")
        is_account = code in _ACCOUNT or (code == _GONE and error.get("error_subcode") == 33)
        is_account = is_account or (code is None and answer.status > 400)
        if outcome.verdict is Verdict.REJECTED and (code in _LOGIN or (new and is_account)):
            return Outcome(Verdict.NOT_STARTED, reason=outcome.reason)
        return outcome

    def _published(self, receipt: str) -> Outcome:
        return self.accepted(receipt, f"https://www.facebook.com/{receipt}")


def _refusal(answer: HttpResponse, error: dict[str, Any], reason: str) -> Outcome:
    code = error.get("code")
    if code in _TOO_MANY:
        return Outcome(Verdict.DEFERRED, reason=reason, retry_after=requested_wait(answer))
    if code in _UNSURE or (error.get("is_transient") is True and code not in (_TOKEN, _SAME)):
        return Outcome(Verdict.UNKNOWN, reason=reason)
    if code == _TOKEN:
        reason += "; the page's token has expired: make a new one"
    elif code == _SAME:
        reason += "; the page already has a post with the same text"
    elif code == _GONE and error.get("error_subcode") == 33:
        reason += "; the post is gone, or the token may not see it"
    return Outcome(Verdict.REJECTED, reason=reason)


make = FacebookChannel
