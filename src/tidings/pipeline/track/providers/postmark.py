"""Postmark's webhooks: postmarkapp.com/developer/webhooks. Their URL has a login, and they have no signature."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from tidings.config.bounces import PostmarkHook
from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.pipeline.track.providers.base import (
    EventKind,
    ProviderEvent,
    UntrustedWebhookError,
    doubted,
    gone_unless_clear,
    load_json,
    mapping,
    never_hard,
    text,
)

_DEAD = {"HardBounce", "BadEmailAddress"}
_UNCLEAR = {"Unknown"}
_SOFT = {"SoftBounce", "Transient", "Undeliverable", "SMTPApiError"}
_BLOCKED = {"Blocked", "SpamNotification", "VirusNotification", "DMARCPolicy", "TemplateRenderingFailed"}


def verify(settings: PostmarkHook, headers: Mapping[str, str], body: bytes) -> None:
    """Check the login (RFC 7617) in constant time. Raises UntrustedWebhookError."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    try:
        login = base64.b64decode(credentials, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:  # also for letters outside ASCII
        login = b""
    expected = f"{settings.username}:{settings.password.get_secret_value()}".encode()
    if not hmac.compare_digest(login, expected):
        raise UntrustedWebhookError("the login is missing or wrong")


def parse_events(body: bytes) -> list[ProviderEvent]:
    """Read Bounce, SpamComplaint and SubscriptionChange. Raises UnreadableWebhookError."""
    event = mapping(load_json(body))
    message_id = text(event.get("MessageID"))
    match event.get("RecordType"), event.get("Type"):
        case ("SpamComplaint", _) | ("Bounce", "SpamComplaint"):
            return [ProviderEvent(EventKind.COMPLAINT, text(event.get("Email")), message_id, text="abuse")]
        case "SubscriptionChange", _:
            # The person used Postmark's own unsubscribe link. The team and Postmark suppress by hand too (Origin).
            is_manual = event.get("SuppressSending") is True and event.get("SuppressionReason") == "ManualSuppression"
            if is_manual and event.get("Origin") == "Recipient":
                return [ProviderEvent(EventKind.LEFT, text(event.get("Recipient")), message_id)]
            return []
        case "Bounce", "Unsubscribe":
            # The person wrote to Postmark's own unsubscribe address.
            return [ProviderEvent(EventKind.LEFT, text(event.get("Email")), message_id)]
        case "Bounce", _:
            diagnostic = f"{text(event.get('Description'))} {text(event.get('Details'))}"
            refusal = _parse_bounce(text(event.get("Type")), diagnostic, text(event.get("Email")))
            if refusal is None:
                return []
            return [ProviderEvent(EventKind.REFUSED, text(event.get("Email")), message_id, refusal, refusal.text)]
        case _:
            return []


def _parse_bounce(kind: str, diagnostic: str, recipient: str) -> Refusal | None:
    refusal = classify(diagnostic, recipient=recipient)
    if kind == "DnsError":
        # Of the reader's domain, not of ours.
        return Refusal(refusal.code, diagnostic, RefusalKind.AWAY)
    if kind in _DEAD:
        return gone_unless_clear(refusal)
    if kind in _UNCLEAR:
        return doubted(refusal)
    if kind in _SOFT:
        return never_hard(refusal)
    if kind in _BLOCKED:
        is_about_us = refusal.effect is Effect.BLOCKED and refusal.kind is not RefusalKind.UNKNOWN
        return refusal if is_about_us else Refusal(refusal.code, diagnostic, RefusalKind.POLICY)
    # An automatic reply, a change of address or an account message is not a bounce.
    return None
