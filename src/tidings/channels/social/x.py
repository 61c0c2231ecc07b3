"""An account on X, by POST /2/tweets (docs.x.com/x-api/posts/create-post). It costs, and that is said before."""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import read_object, send_request
from tidings.channels.social.mastodon import LINK, URL_LENGTH
from tidings.channels.social.oauth1 import OAuthKeys, authorization
from tidings.channels.wording import fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Bool, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession, HttpResponse

MAX_TEXT = 280
"""Weighted (developer.x.com, "Counting characters"; twitter-text's configuration v3)."""
PRICE = "X charges $0.015 a post, and $0.200 a post with a link, as each of ours is"
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
        default=False, validate_default=True, description=f"`true`: it is known what it costs. {PRICE}."
    )
    server: SiteUrl = Field(default="https://api.x.com/", description="Where the API stands.")

    @field_validator("confirm_cost")
    @classmethod
    def _is_known(cls, value: bool) -> bool:
        if not value:
            raise ValueError(f"{PRICE}; write `confirm_cost: true` once that is agreed, or take this channel out")
        return value


class XChannel:
    """X has no key for repeats: an unknown outcome waits for a person. It refuses the same text twice."""

    capabilities = Capabilities(max_length=MAX_TEXT, idempotency=Idempotency.NONE, replies=True)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)
        self._keys = OAuthKeys(
            settings.api_key.get_secret_value(),
            settings.api_secret.get_secret_value(),
            settings.access_token.get_secret_value(),
            settings.access_secret.get_secret_value(),
        )

    def prepare(self, post: Post) -> bytes:
        """The text; X makes the card of its link from the page."""
        message = {"text": plain_text(fit(post, lambda tried: weighted(plain_text(tried)) <= MAX_TEXT))}
        return json.dumps(message, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Weighted; a link counts 23."""
        return weighted(json.loads(body)["text"])

    def text(self, body: bytes) -> str:
        """The text."""
        return str(json.loads(body)["text"])

    def card(self, body: bytes) -> Card | None:
        """Made of the page of its last link."""
        links = LINK.findall(json.loads(body)["text"])
        return Card(links[-1]) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it. Success is 201 with the id."""
        if _RECEIPT.fullmatch(attempt.reply_to):
            reply = {"in_reply_to_tweet_id": attempt.reply_to}
            body = json.dumps(json.loads(body) | {"reply": reply}, ensure_ascii=False).encode()
        answer = self._ask("POST", "2/tweets", body, attempt)
        if isinstance(answer, Outcome):
            return answer
        data = read_object(answer).get("data")
        number = str(data.get("id", "")) if isinstance(data, dict) else ""
        if not _RECEIPT.fullmatch(number):
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without the id of a post")
        return Outcome(Verdict.ACCEPTED, receipt=number, via=f"https://x.com/i/web/status/{number}")

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. X says `deleted: true`, too, of what is gone."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a post of ours")
        answer = self._ask("DELETE", f"2/tweets/{receipt}", None, attempt)
        if isinstance(answer, Outcome):
            return answer
        data = read_object(answer).get("data")
        if not isinstance(data, dict) or data.get("deleted") is not True:
            return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without a word of success")
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=self.name)

    def receipt_at(self, url: str) -> str:
        """Of /NAME/status/ID, by either name of the network."""
        found = re.fullmatch(r"https://(?:www\.|mobile\.)?(?:x|twitter)\.com/.+/status/([0-9]{1,25})(?:[/?#].*)?", url)
        return found[1] if found else ""

    def _ask(self, method: str, path: str, body: bytes | None, attempt: Attempt) -> HttpResponse | Outcome:
        url = f"{self._settings.server}{path}"
        seconds = int(attempt.at.timestamp())
        header = authorization(method, url, self._keys, nonce=secrets.token_hex(16), seconds=seconds)
        headers = {"Authorization": header} | ({"Content-Type": "application/json"} if body is not None else {})
        hide = (self._keys.key, self._keys.token)
        return send_request(self._session, url, body, headers, method, hide=hide)


def weighted(text: str) -> int:
    """As X counts, or a little more: what may be a link to it or not counts as both."""
    rest = LINK.sub("", unicodedata.normalize("NFC", text))
    links = len(LINK.findall(text))
    emoji = len(_EMOJI.findall(rest))
    doubtful = rest.count("://") + len(_BARE_DOMAIN.findall(rest))
    weights = sum(1 if any(low <= ord(char) <= high for low, high in _LIGHT) else 2 for char in _EMOJI.sub("", rest))
    return URL_LENGTH * (links + doubtful) + 2 * emoji + weights


def make(name: str, settings: Settings) -> XChannel:
    """The channel of one name."""
    return XChannel(name, settings)
