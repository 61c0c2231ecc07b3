"""A webhook of one's own, signed as Standard Webhooks 1.0 asks (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict
from typing import Any

from pydantic import Field, SecretStr, field_validator

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import send_request
from tidings.config.adapters import ChannelSettings
from tidings.config.types import SecretUrl
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten
from tidings.net import GuardedSession

MAX_BODY = 20_000
"""Bytes: what the standard asks a receiver to take."""


class Settings(ChannelSettings):
    """`type: webhook`."""

    url: SecretUrl = Field(description="Where to post: {env: NAME} or {file: PATH}.")
    secret: SecretStr | None = Field(
        default=None, description="Signing secret `whsec_...`, base64 of 24 to 64 bytes: {env: NAME} or {file: PATH}."
    )

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _key(value.get_secret_value())
        return value


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError(
            'this is no signing secret; make one: python3 -c "import base64,os;'
            "print('whsec_'+base64.b64encode(os.urandom(32)).decode())\""
        )
    return key


class WebhookChannel:
    """Posts JSON `{type, timestamp, data}`. `webhook-id` stays the same over retries: that is the idempotency key."""

    capabilities = Capabilities(max_length=MAX_BODY, idempotency=Idempotency.NATIVE, images=1)

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def prepare(self, post: Post) -> bytes:
        """The JSON. Summaries are shortened first where it would be too large, then all texts, never a link.

        Stories for which there is no room at all are counted in `more`.
        """
        count = len(post.items)
        ways = [(2_000, MAX_BODY), (300, MAX_BODY), (100, MAX_BODY), (0, MAX_BODY), (0, 1_000), (0, 200)]
        for summary, text in ways:
            body = _encode(post, summary, text, count)
            if len(body) <= MAX_BODY:
                return body
        while len(body) > MAX_BODY and count > 1:
            count -= max(count // 10, 1)
            body = _encode(post, 0, 200, count)
        return body

    def length(self, body: bytes) -> int:
        """Bytes."""
        return len(body)

    def text(self, body: bytes) -> str:
        """The JSON, indented."""
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post it, signed."""
        identity = "msg_" + hashlib.sha256(attempt.key.encode()).hexdigest()[:32]
        timestamp = str(int(attempt.at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": timestamp,
        }
        if self._settings.secret is not None:
            signed = f"{identity}.{timestamp}.".encode() + body
            digest = hmac.digest(_key(self._settings.secret.get_secret_value()), signed, hashlib.sha256)
            headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
        answer = send_request(self._session, self._settings.url.get_secret_value(), body, headers)
        if isinstance(answer, Outcome):
            return answer
        return Outcome(Verdict.ACCEPTED, receipt=identity, via=self.name)


def _encode(post: Post, longest: int, most: int, count: int) -> bytes:
    """`longest`: characters of a summary; `most`: of any other text; `count`: stories."""
    items: list[dict[str, Any]] = []
    for item in post.items[:count]:
        values = {key: value for key, value in asdict(item).items() if value not in ("", (), [])}
        values["published"] = item.published.isoformat()
        if len(item.summary) > longest:
            values["summary"] = shorten(item.summary, longest)
        for key in ("title", "text", "correction", "image_alt"):
            if key in values:
                values[key] = shorten(values[key], most)
        items.append(values)
    kind = "notice" if post.text else ("item.published" if len(items) == 1 else "edition.published")
    data = {
        "site": post.site,
        "edition": post.edition,
        "title": shorten(post.title, most),
        "url": post.url,
        "language": post.language,
        **({"text": shorten(post.text, most)} if post.text else {"items": items}),
        **({"more": len(post.items) - count} if count < len(post.items) else {}),
    }
    envelope = {"type": kind, "timestamp": post.at.isoformat(), "data": data}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def make(name: str, settings: Settings) -> WebhookChannel:
    """The channel of one name."""
    return WebhookChannel(name, settings)
