"""SendGrid's signed event webhook: twilio.com/docs/sendgrid/for-developers/tracking-events."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from tidings.config.bounces import SendgridHook, load_sendgrid_key
from tidings.model.refusal import Refusal, RefusalKind, classify
from tidings.pipeline.track.providers.base import (
    EventKind,
    ProviderEvent,
    UnreadableWebhookError,
    UntrustedWebhookError,
    doubted,
    load_json,
    mapping,
    never_hard,
    text,
)

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_MAX_AGE = 2 * 86400
"""Greatest age in seconds. SendGrid retries for 24 hours."""
_MAX_EVENTS = 5000
_SURE = {"", "invalid address", "unclassified"}
"""Values of `bounce_classification` with which a mailbox may be gone. Others, such as Reputation, blame the sender."""


def verify(settings: SendgridHook, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Check the ECDSA signature over timestamp and body. `now` is in seconds since 1970.

    Raises UntrustedWebhookError.
    """
    timestamp = headers.get(_TIMESTAMP, "")
    try:
        signature = base64.b64decode(headers.get(_SIGNATURE, ""), validate=True)
        load_sendgrid_key(settings.public_key).verify(signature, timestamp.encode() + body, ECDSA(SHA256()))
    except (binascii.Error, InvalidSignature, ValueError):
        raise UntrustedWebhookError("the signature is missing or wrong") from None
    if not timestamp.isdecimal() or abs(now - int(timestamp[:12])) > _MAX_AGE:
        raise UntrustedWebhookError("the signature is too old")


def parse_events(body: bytes) -> list[ProviderEvent]:
    """Read bounce, dropped, spamreport and unsubscribe. Raises UnreadableWebhookError."""
    events = load_json(body)
    if not isinstance(events, list):
        raise UnreadableWebhookError("the body is not a list of events")
    parsed = (_parse_event(mapping(event)) for event in events[:_MAX_EVENTS])
    return [event for event in parsed if event is not None]


def _parse_event(event: Mapping[str, Any]) -> ProviderEvent | None:
    recipient = text(event.get("email"))
    message_id = text(event.get("sg_message_id")).partition(".")[0] or text(event.get("smtp-id"))
    reason = text(event.get("reason"))
    match event.get("event"), reason.casefold():
        case ("spamreport", _) | ("dropped", "spam reporting address"):
            return ProviderEvent(EventKind.COMPLAINT, recipient, message_id, text="abuse")
        case ("unsubscribe" | "group_unsubscribe", _) | ("dropped", "unsubscribed address"):
            return ProviderEvent(EventKind.LEFT, recipient, message_id)
        case "bounce", _:
            refusal = classify(reason, status=text(event.get("status")), recipient=recipient)
            if event.get("type") in ("blocked", "expired"):
                # SendGrid uses `blocked` for temporary refusals and for refusals because of the sender.
                refusal = never_hard(refusal)
            elif text(event.get("bounce_classification")).casefold() not in _SURE:
                refusal = doubted(refusal)
            return ProviderEvent(EventKind.REFUSED, recipient, message_id, refusal, reason)
        case "dropped", "bounced address" | "invalid":
            refusal = Refusal("", reason, RefusalKind.GONE)
            return ProviderEvent(EventKind.REFUSED, recipient, message_id, refusal, reason)
        case "dropped", _:
            # Not sent at all, for example because of the limit of the account's plan.
            return ProviderEvent(EventKind.REFUSED, recipient, message_id, doubted(classify(reason)), reason)
        case _:
            return None
