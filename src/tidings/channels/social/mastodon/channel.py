"""A Mastodon account, through POST /api/v1/statuses (docs.joinmastodon.org/methods/statuses)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal
from urllib.parse import urljoin

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import (
    INVALID_RECEIPT,
    HttpChannel,
    describe_refusal,
    doubt_success,
    encode_json,
    json_headers,
    read_object,
)
from tidings.channels.social.mastodon.media import MAX_PICTURE, MediaUploads
from tidings.channels.social.mastodon.statuses import find_status
from tidings.channels.wording import PlainTextBody, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Int, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import HttpResponse

URL_LENGTH = 23
"""The length that every link counts as (`characters_reserved_per_url`)."""
_KEY_WINDOW = 3_000.0
"""Seconds. A server keeps an Idempotency-Key for an hour. Less here: clocks differ, and requests take time."""
LINK = re.compile(
    r"(?<!\S)https?://(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?::[0-9]+)?"
    r"(?:/(?:[A-Za-z0-9_./~%+=&?#:,;!*'@$|-]*[A-Za-z0-9_/+=#-])?)?"
)
"""A link for every server: it follows white space and is written in ASCII."""
_RECEIPT = re.compile(r"[A-Za-z0-9]{1,64}")


class Settings(ChannelSettings):
    """`type: mastodon`."""

    server: SiteUrl = Field(description="The account's server, such as https://mastodon.social/.")
    token: SecretStr = Field(
        description="Access token with write:statuses, read:statuses and read:accounts: {env: NAME} or {file: PATH}."
    )
    visibility: Literal["public", "unlisted", "private"] = Field(default="public", description="Who sees its posts.")
    pictures: Literal["card", "attach"] = Field(
        default="card",
        description="`card`: the page's card is shown below a post. `attach`: the story's picture with its alt text, "
        "and no card; the token needs write:media.",
    )
    max_length: Int = Field(
        default=500,
        ge=100,
        le=100_000,
        description="Longest post of the server (`max_characters` of /api/v2/instance).",
    )


class MastodonChannel(PlainTextBody, HttpChannel[Settings]):
    """A Mastodon account. The server makes the card from the page. A repeat within the hour returns the same post."""

    TEXT_KEY = "status"
    ACCOUNT_WORDS = r"access token (?:is invalid|was revoked|expired|has expired)|your login is|account is suspended"

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self.capabilities = Capabilities(
            max_length=settings.max_length,
            idempotency=Idempotency.WINDOW,
            window=_KEY_WINDOW,
            replies=True,
        )
        self._api = f"{settings.server}api/v1"
        self._headers = json_headers(settings.token)

    def count(self, text: str) -> int:
        """Count characters like the server, which counts graphemes, or a few more.

        If the server may treat a text as a link, its own length and the length of a link are both added.
        """
        rest = LINK.sub("x" * URL_LENGTH, text)
        return len(rest) + URL_LENGTH * rest.count("://")

    def prepare(self, post: Post) -> bytes:
        """Return the status in the post's language, and the picture to upload for it."""
        status: dict[str, Any] = {
            "status": plain_text(self.fit(post)),
            "language": post.language,
            "visibility": self._settings.visibility,
        }
        item = post.items[0] if len(post.items) == 1 and self._settings.pictures == "attach" else None
        if item is not None and item.image and item.image_alt:
            status["picture"] = {"url": item.image, "alt": item.image_alt}
        return encode_json(status)

    def card(self, body: bytes) -> Card | None:
        """Return the picture, else the page of the first link."""
        status = json.loads(body)
        if "picture" in status:
            return Card(image=status["picture"]["url"], alt=status["picture"]["alt"])
        links = LINK.findall(status["status"])
        return Card(links[0]) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the status after its picture is ready. Success is 200 with the id and the address of the status."""
        status: dict[str, Any] = json.loads(body)
        picture = status.pop("picture", None)
        data = attempt.picture(picture["url"], MAX_PICTURE) if picture else None
        if data is not None:
            media_id = self._media().upload(data, picture["alt"], attempt)
            if isinstance(media_id, Outcome):
                return media_id
            if media_id:
                outcome = self._post(status | {"media_ids": [media_id]}, attempt)
                if outcome.verdict is not Verdict.REJECTED or outcome.disable:
                    return outcome
                # The server may have refused the picture; nothing was posted.
        return self._post(status, attempt)

    def _post(self, status: dict[str, Any], attempt: Attempt) -> Outcome:
        headers = self._headers | {"Idempotency-Key": hashlib.sha256(attempt.key.encode()).hexdigest()}
        url = f"{self._api}/statuses"
        if not attempt.reply_to:
            return self._read_outcome(self.request(url, encode_json(status), headers))
        # 404: the post that it replies to is deleted.
        status = status | {"in_reply_to_id": attempt.reply_to}
        return self._read_outcome(self.request(url, encode_json(status), headers, also=(404,)))

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Replace the text. The server notifies people who replied or boosted."""
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        status = json.loads(body)
        changes = {key: status[key] for key in ("status", "language")}
        if "picture" in status:
            media_ids = self._media().ids_of(receipt)
            if isinstance(media_ids, Outcome):
                return media_ids
            changes["media_ids"] = media_ids
        url = f"{self._api}/statuses/{receipt}"
        return self._read_outcome(self.request(url, encode_json(changes), self._headers, "PUT", also=(404, 410)))

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete the post. 404 means that it is already deleted."""
        if not _RECEIPT.fullmatch(receipt):
            return INVALID_RECEIPT
        url = f"{self._api}/statuses/{receipt}"
        answer = self.request(url, None, self._headers, "DELETE", also=(404, 410))
        return answer if isinstance(answer, Outcome) else self.accepted(receipt)

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Search our account for a post with the same text or links since the attempt in doubt."""
        text = self.text(body)
        return find_status(self._session, self._api, self._headers, text, attempt.at, attempt.reply_to)

    def receipt_at(self, url: str) -> str:
        """Read the id from the path: /@name/ID, /users/name/statuses/ID, or /notice/ID of other servers."""
        last = url.partition("?")[0].rstrip("/").rpartition("/")[2]
        is_here = url.startswith(urljoin(self._settings.server, "/"))
        return last if is_here and _RECEIPT.fullmatch(last) else ""

    def _media(self) -> MediaUploads:
        return MediaUploads(self, self._api.removesuffix("/v1"), self._headers)

    def _read_outcome(self, answer: HttpResponse | Outcome) -> Outcome:
        if isinstance(answer, Outcome):
            return answer
        if answer.status >= 400:
            return Outcome(Verdict.REJECTED, reason=describe_refusal(answer, answer.text, headers=self._headers))
        status = read_object(answer)
        if "id" not in status:
            return doubt_success(answer, "the id of a status")
        return self.accepted(str(status["id"]), str(status.get("url") or ""))


make = MastodonChannel
