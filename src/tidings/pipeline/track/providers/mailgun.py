"""Mailgun's webhooks: documentation.mailgun.com, "Securing Webhooks" and "Event Structure".

The signature covers a timestamp and a token, not the body. So a token is valid for one body only: a stolen
token does not work with another body.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict
from collections.abc import Mapping

from tidings.config.bounces import MailgunHook
from tidings.model.refusal import Refusal, RefusalKind, classify
from tidings.pipeline.track.providers.base import (
    EventKind,
    ProviderEvent,
    UnreadableWebhookError,
    UntrustedWebhookError,
    doubted,
    load_json,
    mapping,
    text,
)

_MAX_FIELD = 200
_MAX_TOKENS = 10_000
_NO_MX = 498
"""Mailgun's own code for a reader's domain without mail servers."""
_MAX_AGE = 2 * 86400
"""Greatest age in seconds. Mailgun retries for eight hours."""


class UsedTokens:
    """Remembers the body of each token. Safe for several threads."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, bytes] = OrderedDict()
        self._mutex = threading.Lock()

    def accepts(self, token: str, body: bytes) -> bool:
        """Return False if the token came with another body before."""
        digest = hashlib.sha256(body).digest()
        with self._mutex:
            first = self._digests.setdefault(token, digest)
            if len(self._digests) > _MAX_TOKENS:
                self._digests.popitem(last=False)
        return hmac.compare_digest(first, digest)


_used_tokens = UsedTokens()


def verify(settings: MailgunHook, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Check the HMAC-SHA256 over timestamp and token. `now` is in seconds since 1970. Raises UntrustedWebhookError."""
    try:
        signed = mapping(mapping(load_json(body)).get("signature"))
    except UnreadableWebhookError:
        signed = {}
    timestamp, token, signature = (
        str(signed.get(name, ""))[:_MAX_FIELD] for name in ("timestamp", "token", "signature")
    )
    key = settings.signing_key.get_secret_value().encode()
    expected = hmac.new(key, f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest().encode()
    if not token or not hmac.compare_digest(signature.encode(), expected):
        raise UntrustedWebhookError("the signature is missing or wrong")
    if not timestamp.isdecimal() or abs(now - int(timestamp[:12])) > _MAX_AGE:
        raise UntrustedWebhookError("the signature is too old")
    if not _used_tokens.accepts(token, body):
        raise UntrustedWebhookError("the signature belongs to another message")


def parse_events(body: bytes) -> list[ProviderEvent]:
    """Read failed, complained and unsubscribed. Raises UnreadableWebhookError."""
    event = mapping(mapping(load_json(body)).get("event-data"))
    recipient = text(event.get("recipient"))
    message_id = text(mapping(mapping(event.get("message")).get("headers")).get("message-id"))
    match event.get("event"):
        case "complained":
            return [ProviderEvent(EventKind.COMPLAINT, recipient, message_id, text="abuse")]
        case "unsubscribed":
            return [ProviderEvent(EventKind.LEFT, recipient, message_id)]
        case "failed" if event.get("severity") == "permanent":
            return [_parse_failure(event, recipient, message_id)]
        case "rejected":
            # Mailgun did not try to deliver, for example because of a limit of the account.
            reject = mapping(event.get("reject"))
            words = f"{text(reject.get('reason'))} {text(reject.get('description'))}".strip()
            return [ProviderEvent(EventKind.REFUSED, recipient, message_id, doubted(classify(words)), words)]
        case _:
            # Mailgun retries on its own after a temporary failure.
            return []


def _parse_failure(event: Mapping[str, object], recipient: str, message_id: str) -> ProviderEvent:
    reason = text(event.get("reason"))
    if reason == "suppress-complaint":
        return ProviderEvent(EventKind.COMPLAINT, recipient, message_id, text="abuse")
    if reason == "suppress-unsubscribe":
        return ProviderEvent(EventKind.LEFT, recipient, message_id)
    status = mapping(event.get("delivery-status"))
    diagnostic = f"{status.get('code', '')} {text(status.get('message'))} {text(status.get('description'))}".strip()
    refusal = classify(diagnostic, status=text(status.get("enhanced-code")), recipient=recipient)
    if reason == "suppress-bounce":
        refusal = Refusal(refusal.code, diagnostic, RefusalKind.GONE)
    elif reason == "old" or status.get("code") == _NO_MX:
        refusal = Refusal(refusal.code, diagnostic, RefusalKind.AWAY)
    elif reason == "espblock":
        refusal = doubted(refusal)
    return ProviderEvent(EventKind.REFUSED, recipient, message_id, refusal, diagnostic)
