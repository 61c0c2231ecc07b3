"""SendGrid's signed event webhook: twilio.com/docs/sendgrid/for-developers/tracking-events."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from tidings.config.bounces import SendgridHook, load_sendgrid_key
from tidings.pipeline.track.providers.events import (
    Kind,
    NotBelievedError,
    Said,
    UnreadableError,
    at_most,
    mapping,
    text,
)
from tidings.pipeline.track.refusals import Meaning, Refusal, refusal

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_OLDEST = 2 * 86400
"""Seconds. It tries again for 24 hours."""
_MOST = 5000


def authentic(settings: SendgridHook, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """ECDSA over timestamp and body. `now` is in seconds since 1970. Raises NotBelievedError."""
    moment = headers.get(_TIMESTAMP, "")
    try:
        signature = base64.b64decode(headers.get(_SIGNATURE, ""), validate=True)
        load_sendgrid_key(settings.public_key).verify(signature, moment.encode() + body, ECDSA(SHA256()))
    except (binascii.Error, InvalidSignature, ValueError):
        raise NotBelievedError("the signature is missing or wrong") from None
    if not moment.isdigit() or abs(now - int(moment[:12])) > _OLDEST:
        raise NotBelievedError("the signature is too old")


def read(body: bytes) -> list[Said]:
    """bounce, dropped, spamreport, unsubscribe. Raises UnreadableError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    if not isinstance(found, list):
        raise UnreadableError("no list of events")
    return [said for one in found[:_MOST] if (said := _one(mapping(one))) is not None]


def _one(event: Mapping[str, Any]) -> Said | None:
    recipient = text(event.get("email"))
    number = text(event.get("sg_message_id")).partition(".")[0] or text(event.get("smtp-id"))
    words = text(event.get("reason"))
    found = refusal(text(event.get("status")), words)
    match event.get("event"):
        case "spamreport":
            return Said(Kind.COMPLAINT, recipient, number, words="abuse")
        case "unsubscribe" | "group_unsubscribe":
            return Said(Kind.LEFT, recipient, number)
        case "bounce":
            if event.get("type") == "blocked":
                # SendGrid's word for what may pass, and for what is about the sender.
                found = at_most(found, Meaning.SOFT)
            return Said(Kind.REFUSED, recipient, number, found, words)
        case "dropped":
            return _dropped(recipient, number, words)
        case _:
            return None


def _dropped(recipient: str, number: str, words: str) -> Said | None:
    match words.casefold():
        case "bounced address" | "invalid":
            return Said(Kind.REFUSED, recipient, number, Refusal("", words, Meaning.DEAD), words)
        case "spam reporting address":
            return Said(Kind.COMPLAINT, recipient, number, words="abuse")
        case "unsubscribed address":
            return Said(Kind.LEFT, recipient, number)
        case _:
            return None
