"""Postmark's webhooks: postmarkapp.com/developer/webhooks. They carry a login in their address, and no signature."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping

from tidings.config.bounces import PostmarkHook
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

_DEAD = {"HardBounce", "BadEmailAddress"}
_SOFT = {"SoftBounce", "Transient", "DnsError", "Undeliverable", "SMTPApiError"}
_BLOCKED = {"Blocked", "SpamNotification", "VirusNotification", "DMARCPolicy", "TemplateRenderingFailed"}


def authentic(settings: PostmarkHook, headers: Mapping[str, str], body: bytes) -> None:
    """Basic authentication (RFC 7617), in constant time. Raises NotBelievedError."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    try:
        login = base64.b64decode(given, validate=True) if kind.lower() == "basic" else b""
    except binascii.Error:
        login = b""
    wanted = f"{settings.username}:{settings.password.get_secret_value()}".encode()
    if not hmac.compare_digest(login, wanted):
        raise NotBelievedError("the login is missing or wrong")


def read(body: bytes) -> list[Said]:
    """Bounce, SpamComplaint and SubscriptionChange. Raises UnreadableError."""
    try:
        said = mapping(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    number = text(said.get("MessageID"))
    match said.get("RecordType"):
        case "SpamComplaint":
            return [Said(Kind.COMPLAINT, text(said.get("Email")), number, words="abuse")]
        case "SubscriptionChange":
            # ManualSuppression by the recipient: they left by Postmark's own link.
            if said.get("SuppressSending") is True and said.get("SuppressionReason") == "ManualSuppression":
                return [Said(Kind.LEFT, text(said.get("Recipient")), number)]
            return []
        case "Bounce":
            found = _bounce(text(said.get("Type")), f"{text(said.get('Description'))} {text(said.get('Details'))}")
            return [Said(Kind.REFUSED, text(said.get("Email")), number, found, found.text)] if found else []
        case _:
            return []


def _bounce(kind: str, words: str) -> Refusal | None:
    found = refusal("", words)
    if kind in _DEAD:
        return Refusal(found.code, words, Meaning.DEAD)
    if kind in _SOFT:
        return at_most(found, Meaning.SOFT)
    if kind in _BLOCKED:
        return Refusal(found.code, words, Meaning.BLOCKED)
    # An answer, a change of address, something of the account: no bounce.
    return None
