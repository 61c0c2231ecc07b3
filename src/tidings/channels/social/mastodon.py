"""A Mastodon account, by POST /api/v1/statuses (docs.joinmastodon.org/methods/statuses)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Literal
from urllib.parse import urljoin

from pydantic import Field, SecretStr

from tidings.channels.base import Attempt, Capabilities, Card, Idempotency, Post
from tidings.channels.http import read_object, send_request
from tidings.channels.social.mastodon_media import MAX_PICTURE, MediaUploads
from tidings.channels.social.mastodon_statuses import look_for
from tidings.channels.wording import fit, plain_text
from tidings.config.adapters import ChannelSettings
from tidings.config.types import Int, SiteUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.net import GuardedSession, HttpResponse

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
    pictures: Literal["card", "attach"] = Field(
        default="card",
        description="`card`: that of the page stands below a post. `attach`: the story's picture with its alt text, "
        "and no card; the token needs write:media.",
    )
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
            max_length=settings.max_length,
            idempotency=Idempotency.WINDOW,
            window=_REMEMBERS,
            replies=True,
            images=int(settings.pictures == "attach"),
        )
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """The status, in the language of the post, and the picture that is to be uploaded for it."""
        longest = self._settings.max_length
        wording = fit(post, lambda tried: counted(plain_text(tried)) <= longest)
        status: dict[str, Any] = {
            "status": plain_text(wording),
            "language": post.language,
            "visibility": self._settings.visibility,
        }
        if self.capabilities.images and len(post.items) == 1 and post.items[0].image and post.items[0].image_alt:
            status["picture"] = {"url": post.items[0].image, "alt": post.items[0].image_alt}
        return json.dumps(status, ensure_ascii=False, sort_keys=True).encode()

    def length(self, body: bytes) -> int:
        """Characters, a link counting 23."""
        return counted(json.loads(body)["status"])

    def text(self, body: bytes) -> str:
        """The status."""
        return str(json.loads(body)["status"])

    def card(self, body: bytes) -> Card | None:
        """The picture; or made of the page of its first link."""
        status = json.loads(body)
        if "picture" in status:
            return Card(image=status["picture"]["url"], alt=status["picture"]["alt"])
        links = LINK.findall(status["status"])
        return Card(links[0]) if links else None

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, once its picture is ready. Success is 200 with the id and the address of the status."""
        status: dict[str, Any] = json.loads(body)
        picture = status.pop("picture", None)
        data = attempt.picture(picture["url"], MAX_PICTURE) if picture else None
        if data is not None:
            ready = self._media().of(data, picture["alt"], attempt)
            if isinstance(ready, Outcome):
                return ready
            if ready:
                outcome = self._post(status | {"media_ids": [ready]}, attempt)
                if outcome.verdict is not Verdict.REJECTED or outcome.disable:
                    return outcome
                # It may be the picture that is refused, by now; nothing was posted.
        return self._post(status, attempt)

    def _post(self, status: dict[str, Any], attempt: Attempt) -> Outcome:
        key = {"Idempotency-Key": hashlib.sha256(attempt.key.encode()).hexdigest()}
        if attempt.reply_to:
            status = status | {"in_reply_to_id": attempt.reply_to}
        sent = json.dumps(status, ensure_ascii=False, sort_keys=True).encode()
        return self._told(
            send_request(self._session, f"{self._settings.server}api/v1/statuses", sent, self._headers(key))
        )

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        """Put another text in its place; who answered or passed it on is told by the server."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a status of ours")
        status = json.loads(body)
        changed = {key: status[key] for key in ("status", "language")}
        if "picture" in status:
            shown = self._media().ids_of(receipt)
            if isinstance(shown, Outcome):
                return shown
            changed["media_ids"] = shown
        sent = json.dumps(changed, ensure_ascii=False, sort_keys=True).encode()
        url = f"{self._settings.server}api/v1/statuses/{receipt}"
        return self._told(send_request(self._session, url, sent, self._headers(), "PUT"))

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        """Delete it. 404: it is gone."""
        if not _RECEIPT.fullmatch(receipt):
            return Outcome(Verdict.REJECTED, reason="there is no id of a status of ours")
        url = f"{self._settings.server}api/v1/statuses/{receipt}"
        answer = send_request(self._session, url, None, self._headers(), "DELETE", also=(404, 410))
        return answer if isinstance(answer, Outcome) else Outcome(Verdict.ACCEPTED, receipt=receipt, via=self.name)

    def find(self, body: bytes, attempt: Attempt) -> Outcome:
        """Read our own account back: the same text, or the same links, since the doubtful try."""
        status = json.loads(body)["status"]
        api = f"{self._settings.server}api/v1/"
        return look_for(self._session, api, self._headers(), status, attempt.at, attempt.reply_to)

    def receipt_at(self, url: str) -> str:
        """The end of its path: /@name/ID, /users/name/statuses/ID, or /notice/ID of other servers."""
        here = urljoin(self._settings.server, "/")
        last = url.partition("?")[0].rstrip("/").rpartition("/")[2]
        return last if url.startswith(here) and _RECEIPT.fullmatch(last) else ""

    def _media(self) -> MediaUploads:
        return MediaUploads(self._session, self._settings.server, self._headers())

    def _headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        token = self._settings.token.get_secret_value()
        return {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **(more or {})}

    def _told(self, answer: HttpResponse | Outcome) -> Outcome:
        if isinstance(answer, Outcome):
            return answer
        status: dict[str, Any] = read_object(answer)
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
