"""Your own webhook, signed by Standard Webhooks 1.0 (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from pydantic import Field

from tidings.channels.base import Attempt, Capabilities, Idempotency, Post
from tidings.channels.http import HttpChannel, json_headers
from tidings.config.adapters import ChannelSettings, EventWebhookSettings
from tidings.config.types import SecretUrl, SigningSecret, signing_key
from tidings.model.delivery import Outcome, Verdict
from tidings.model.text import shorten

MAX_BODY = 20_000
"""Most bytes of a request: the standard requires receivers to accept this much."""
_VERSIONS = [(2_000, MAX_BODY), (300, MAX_BODY), (100, MAX_BODY), (0, MAX_BODY), (0, 1_000), (0, 200)]
"""Most characters of a summary and of other texts, from the fullest version to the shortest."""


class Settings(ChannelSettings):
    """`type: webhook`."""

    url: SecretUrl = Field(description="Where to post: {env: NAME} or {file: PATH}.")
    secret: SigningSecret | None = Field(
        default=None, description="Signing secret `whsec_...`, base64 of 24 to 64 bytes: {env: NAME} or {file: PATH}."
    )


class WebhookChannel(HttpChannel[Settings]):
    """Posts JSON `{type, timestamp, data}`. `webhook-id` is the idempotency key: it is the same for every retry."""

    capabilities = Capabilities(max_length=MAX_BODY, idempotency=Idempotency.NATIVE)

    def prepare(self, post: Post) -> bytes:
        """Return the JSON. To fit, summaries are shortened first, then all texts, but never a link.

        Stories that still do not fit are counted in `more`.
        """
        count = len(post.items)
        for max_summary, max_text in _VERSIONS:
            body = _encode(post, max_summary, max_text, count)
            if len(body) <= MAX_BODY:
                return body
        while len(body) > MAX_BODY and count > 1:
            count -= max(count // 10, 1)
            body = _encode(post, 0, 200, count)
        return body

    def length(self, body: bytes) -> int:
        return len(body)

    def text(self, body: bytes) -> str:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the JSON, signed if there is a secret."""
        message_id = "msg_" + hashlib.sha256(attempt.key.encode()).hexdigest()[:32]
        secret = self._settings.secret
        headers = sign(body, message_id, attempt.at, secret.get_secret_value() if secret is not None else "")
        answer = self.request(self._settings.url.get_secret_value(), body, headers)
        return answer if isinstance(answer, Outcome) else self.accepted(message_id)


class EventWebhook(HttpChannel[EventWebhookSettings]):
    """Sends events to another program. `webhook-id` is the stored id of the event, the same for every retry."""

    capabilities = Capabilities(max_length=MAX_BODY, idempotency=Idempotency.NATIVE)

    def prepare(self, post: Post) -> bytes:
        """Return the JSON of a post. Not called: events are frozen when they are queued."""
        return _encode(post, 0, 200, len(post.items))

    def length(self, body: bytes) -> int:
        return len(body)

    def text(self, body: bytes) -> str:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=2)

    def send(self, body: bytes, attempt: Attempt) -> Outcome:
        """Post the event. While nothing answers at the address, all events of the webhook wait, without an attempt."""
        headers = sign(body, attempt.key, attempt.at, self._settings.secret.get_secret_value())
        answer = self.request(self._settings.url.get_secret_value(), body, headers)
        if not isinstance(answer, Outcome):
            return self.accepted(attempt.key)
        if answer.verdict is Verdict.DEFERRED and not answer.reason.startswith("HTTP "):
            return replace(answer, verdict=Verdict.NOT_STARTED)
        return answer


def sign(body: bytes, message_id: str, at: datetime, secret: str) -> dict[str, str]:
    """Return the headers of a Standard Webhooks 1.0 message, with a signature if there is a secret."""
    timestamp = str(int(at.timestamp()))
    headers = json_headers() | {"webhook-id": message_id, "webhook-timestamp": timestamp}
    if secret:
        digest = hmac.digest(signing_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
    return headers


def _encode(post: Post, max_summary: int, max_text: int, count: int) -> bytes:
    """Return the JSON of the first `count` stories; the limits are in characters."""
    items: list[dict[str, Any]] = []
    for item in post.items[:count]:
        values = {key: value for key, value in asdict(item).items() if value not in ("", (), [])}
        values["published"] = item.published.isoformat()
        if len(item.summary) > max_summary:
            values["summary"] = shorten(item.summary, max_summary)
        for key in ("title", "text", "correction", "image_alt"):
            if key in values:
                values[key] = shorten(values[key], max_text)
        items.append(values)
    kind = "notice" if post.text else ("item.published" if len(items) == 1 else "edition.published")
    data = {
        "site": post.site,
        "edition": post.edition,
        "title": shorten(post.title, max_text),
        "url": post.url,
        "language": post.language,
        **({"text": shorten(post.text, max_text)} if post.text else {"items": items}),
        **({"more": len(post.items) - count} if count < len(post.items) else {}),
    }
    envelope = {"type": kind, "timestamp": post.at.isoformat(), "data": data}
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


make = WebhookChannel
