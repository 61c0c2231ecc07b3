"""Amazon SES through SNS: docs.aws.amazon.com/ses (notification-contents, event-publishing) and docs.aws.amazon.com/sns
(sns-verify-signature-of-message).

An SNS message names the certificate that signed it. Only a certificate on an SNS host is fetched, and only configured
topics are trusted, because anybody can create a topic.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tidings.config.bounces import SesHook
from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.pipeline.track.providers.base import (
    EventKind,
    ProviderEvent,
    UnreadableWebhookError,
    UntrustedWebhookError,
    load_json,
    mapping,
    never_hard,
    text,
)

Fetch = Callable[[str], bytes]
"""Fetches a URL of SNS."""
_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,100}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_DEAD = {"NoEmail", "Suppressed", "OnAccountSuppressionList"}
_BLOCKED = {
    "MessageTooLarge": RefusalKind.SIZE,
    "ContentRejected": RefusalKind.CONTENT,
    "AttachmentRejected": RefusalKind.CONTENT,
}
_MAX_CERTIFICATES = 8


class SnsVerifier:
    """Verifies SNS messages and caches certificates. Safe for several threads."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._keys: dict[str, RSAPublicKey] = {}
        self._mutex = threading.Lock()

    def verify(self, settings: SesHook, body: bytes) -> Mapping[str, Any]:
        """Return the message if its signature and topic are valid. Raises UntrustedWebhookError."""
        try:
            message = mapping(load_json(body))
        except UnreadableWebhookError:
            message = {}
        fields = _SIGNED.get(text(message.get("Type")))
        if fields is None:
            raise UntrustedWebhookError("the body is not an SNS message")
        if message.get("TopicArn") not in settings.topics:
            raise UntrustedWebhookError("the topic is not in bounces.ses.topics")
        signed = "".join(f"{name}\n{message[name]}\n" for name in fields if isinstance(message.get(name), str))
        algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}.get(text(message.get("SignatureVersion")))  # noqa: S303
        if algorithm is None:
            raise UntrustedWebhookError("the signature has an unknown version")
        try:
            signature = base64.b64decode(text(message.get("Signature")), validate=True)
            self._key(text(message.get("SigningCertURL"))).verify(signature, signed.encode(), PKCS1v15(), algorithm)
        except (binascii.Error, InvalidSignature):
            raise UntrustedWebhookError("the signature is missing or wrong") from None
        return message

    def confirm_subscription(self, message: Mapping[str, Any]) -> None:
        """Fetch the URL that confirms a subscription to a configured topic. Raises UntrustedWebhookError."""
        url = text(message.get("SubscribeURL"))
        if not _is_sns_url(url):
            raise UntrustedWebhookError("the SubscribeURL is not on an SNS host")
        self._fetch(url)

    def _key(self, url: str) -> RSAPublicKey:
        with self._mutex:
            if url in self._keys:
                return self._keys[url]
        if not _is_sns_url(url) or not _CERTIFICATE.fullmatch(urlsplit(url).path):
            raise UntrustedWebhookError("the certificate is not on an SNS host")
        try:
            key = x509.load_pem_x509_certificate(self._fetch(url)).public_key()
        except ValueError:
            raise UntrustedWebhookError("the certificate cannot be read") from None
        if not isinstance(key, RSAPublicKey):
            raise UntrustedWebhookError("the certificate has no RSA key")
        with self._mutex:
            if len(self._keys) >= _MAX_CERTIFICATES:
                self._keys.clear()
            self._keys[url] = key
        return key


def _is_sns_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = parts.port is None and parts.username is None
    except ValueError:
        return False
    return is_plain and parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None


def parse_events(message: Mapping[str, Any]) -> list[ProviderEvent]:
    """Read the bounces and complaints of a notification. Raises UnreadableWebhookError."""
    notification = mapping(load_json(text(message.get("Message"))))
    message_id = text(mapping(notification.get("mail")).get("messageId"))
    match notification.get("eventType") or notification.get("notificationType"):
        case "Bounce":
            return _parse_bounce(mapping(notification.get("bounce")), message_id)
        case "Complaint":
            return _parse_complaint(mapping(notification.get("complaint")), message_id)
        case _:
            # Deliveries, and the test message of SNS.
            return []


def _parse_bounce(bounce: Mapping[str, Any], message_id: str) -> list[ProviderEvent]:
    kind, subkind = text(bounce.get("bounceType")), text(bounce.get("bounceSubType"))
    events = []
    for recipient in _recipients(bounce.get("bouncedRecipients")):
        diagnostic, status = text(recipient.get("diagnosticCode")), text(recipient.get("status"))
        if kind == "Transient" and subkind == "General" and not diagnostic and not status:
            # Out-of-office replies come like this: the mail arrived.
            continue
        address = text(recipient.get("emailAddress"))
        refusal = classify(diagnostic, status=status, recipient=address)
        if subkind in _DEAD:
            refusal = Refusal(refusal.code, diagnostic, RefusalKind.GONE)
        elif subkind in _BLOCKED:
            refusal = Refusal(refusal.code, diagnostic, _BLOCKED[subkind])
        elif subkind == "MailboxFull":
            refusal = Refusal(refusal.code, diagnostic, RefusalKind.FULL)
        elif kind == "Transient":
            refusal = never_hard(refusal)
        elif kind != "Permanent" and refusal.effect is Effect.HARD:
            refusal = Refusal(refusal.code, diagnostic, RefusalKind.UNKNOWN)
        words = diagnostic or f"{kind} {subkind}"
        events.append(ProviderEvent(EventKind.REFUSED, address, message_id, refusal, words))
    return events


def _parse_complaint(complaint: Mapping[str, Any], message_id: str) -> list[ProviderEvent]:
    kind = text(complaint.get("complaintFeedbackType")) or "abuse"
    if kind == "not-spam":
        return []
    return [
        ProviderEvent(EventKind.COMPLAINT, text(recipient.get("emailAddress")), message_id, text=kind)
        for recipient in _recipients(complaint.get("complainedRecipients"))
    ]


def _recipients(value: Any) -> list[Mapping[str, Any]]:
    return [mapping(recipient) for recipient in value[:100]] if isinstance(value, list) else []
