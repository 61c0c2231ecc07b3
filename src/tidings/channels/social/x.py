"""An account on X, through POST /2/tweets (docs.x.com/x-api/posts/create-post). Posts cost money, see `confirm_cost`.

Authlib signs requests by OAuth 1.0a, HMAC-SHA1 (RFC 5849 §3.4), with four secrets that do not expire.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import ClassVar

from authlib.oauth1 import ClientAuth
from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import INVALID_RECEIPT, HttpChannel, doubt_success, encode_json, read_object
from tidings.channels.social.mastodon.channel import LINK, URL_LENGTH
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Bool, SiteUrl
from tidings.model.delivery import Outcome
from tidings.net import HttpResponse

MAX_TEXT = 280
"""Most weighted characters of a post (developer.x.com, "Counting characters"; twitter-text's configuration v3)."""
PRICE = "X charges $0.015 a post, and $0.200 a post with a link, as each of ours has"
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
"""Ranges of code points that weigh 1; all others weigh 2."""
_PICTURE = "[\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff]"
_MOD = "[\ufe0f\U0001f3fb-\U0001f3ff]?"
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\ufe0f\u20e3|\U0001f3f4[\U000e0020-\U000e007f]+|"
    f"{_PICTURE}{_MOD}(?:\u200d{_PICTURE}{_MOD})*"
)
_BARE_DOMAIN = re.compile(r"\w\.[^\W\d_]{2,}")
_RECEIPT = re.compile(r"[0-9]{1,25}")


class Settings(ChannelSettings):
    """`type: x`."""

    DOLLARS_A_POST: ClassVar[float] = 0.200

    api_key: SecretStr = Field(description="The app's API key: {env: NAME} or {file: PATH}.")
    api_secret: SecretStr = Field(description="Its secret: {env: NAME} or {file: PATH}.")
    access_token: SecretStr = Field(
        description="The account's access token, read and write: {env: NAME} or {file: PATH}."
    )
    access_secret: SecretStr = Field(description="Its secret: {env: NAME} or {file: PATH}.")
    confirm_cost: Bool = Field(
        default=False, validate_default=True, description=f"`true`: you know and accept the price. {PRICE}."
    )
    server: SiteUrl = Field(default="https://api.x.com/", description="Where the API is.")

    @field_validator("confirm_cost")
    @classmethod
    def _is_confirmed(cls, value: bool) -> bool:
        if not value:
            raise ValueError(f"{PRICE}; write `confirm_cost: true` if you agree, or remove this channel")
        return value


class XChannel(PlainTextBody, HttpChannel[Settings]):
    """X has no idempotency key, so an unknown outcome waits for a person. It refuses the same text twice."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, replies=True)
    ACCOUNT_WORDS = (
        r"suspended|account is (?:temporarily )?locked|client-not-enrolled|oauth1-permissions|UsageCapExceeded"
        r"|usage-capped"
    )
    POST_WORDS = r"duplicate content"

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        values = (settings.api_key, settings.api_secret, settings.access_token, settings.access_secret)
        self._auth = ClientAuth(*(value.get_secret_value() for value in values))

    def count(self, text: str) -> int:
        return weigh(text)

    def prepare(self, post: Post) -> bytes:
        """Return the text. X makes the card from the page of its link."""
        return encode_json({"text": plain_text(self.fit(post))})

    def card(self, body: bytes) -> Card | None:
        """Return the page of the last link."""
        links = LINK.findall(self.text(body))
        return Card(links[-1]) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the text. Success is 201 with the id."""
        if _RECEIPT.fullmatch(attempt.reply_to):
            reply = {"in_reply_to_tweet_id": attempt.reply_to}
            body = json.dumps(json.loads(body) | {"reply": reply}, ensure_ascii=False).encode()
        answer = self._ask("POST", "2/tweets", body, attempt)
        if isinstance(answer, Outcome):
            return answer
        data = read_object(answer).get("data")
        number = str(data.get("id", "")) if isinstance(data, dict) else ""
        if not _RECEIPT.fullmatch(number):
            return doubt_success(answer, "the id of a post")
        return self.accepted(number, f"https://x.com/i/web/status/{number}")

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post. X also answers `deleted: true` if it was deleted before."""
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        answer = self._ask("DELETE", f"2/tweets/{receipt}", None, attempt)
        if isinstance(answer, Outcome):
            return answer
        data = read_object(answer).get("data")
        if not isinstance(data, dict) or data.get("deleted") is not True:
            return doubt_success(answer, "`deleted: true`")
        return self.accepted(receipt)

    def receipt_at(self, url: str) -> str:
        """Read /NAME/status/ID, on x.com or twitter.com."""
        match = re.fullmatch(r"https://(?:www\.|mobile\.)?(?:x|twitter)\.com/.+/status/([0-9]{1,25})(?:[/?#].*)?", url)
        return match[1] if match else ""

    def _ask(self, method: str, path: str, body: bytes | None, attempt: Attempt) -> HttpResponse | Outcome:
        url = f"{self._settings.server}{path}"
        content = {"Content-Type": "application/json"} if body is not None else {}
        _, headers, _ = self._auth.prepare(method, url, content, "")  # JSON is not signed (§3.4.1.3.1)
        return self.request(url, body, headers, method, hide=(self._auth.client_id, self._auth.token))


def weigh(text: str) -> int:
    """Count characters like X, or a few more: a possible link counts as text and as link."""
    rest = LINK.sub("", unicodedata.normalize("NFC", text))
    links = len(LINK.findall(text))
    emoji = len(_EMOJI.findall(rest))
    possible_links = rest.count("://") + len(_BARE_DOMAIN.findall(rest))
    weights = sum(1 if any(low <= ord(char) <= high for low, high in _LIGHT) else 2 for char in _EMOJI.sub("", rest))
    return URL_LENGTH * (links + possible_links) + 2 * emoji + weights


make = XChannel
