"""Amazon SES through SNS: docs.aws.amazon.com/ses (notification-contents, event-publishing) and docs.aws.amazon.com/sns
(sns-verify-signature-of-message).

A message of SNS is signed by a certificate that it names itself. Only one on a host of SNS is fetched, and only a topic
that is configured is believed: anybody may have a topic.
"""

from __future__ import annotations

import base64
import binascii
import json
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

Fetch = Callable[[str], bytes]
"""Gets what stands at an address of SNS."""
_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,100}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_DEAD = {"NoEmail", "Suppressed", "OnAccountSuppressionList"}
_BLOCKED = {"MessageTooLarge", "ContentRejected", "AttachmentRejected"}
_MOST_CERTIFICATES = 8


class Envelope:
    """Checks messages of SNS; remembers certificates."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._keys: dict[str, RSAPublicKey] = {}
        self._mutex = threading.Lock()

    def open(self, settings: SesHook, body: bytes) -> Mapping[str, Any]:
        """The message, once its signature and topic are found good. Raises NotBelievedError."""
        try:
            message = mapping(json.loads(body))
        except (ValueError, RecursionError):
            message = {}
        fields = _SIGNED.get(text(message.get("Type")))
        if fields is None:
            raise NotBelievedError("no message of SNS")
        if message.get("TopicArn") not in settings.topics:
            raise NotBelievedError("its topic is not among bounces.ses.topics")
        signed = "".join(f"{name}\n{message[name]}\n" for name in fields if isinstance(message.get(name), str))
        algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}.get(text(message.get("SignatureVersion")))  # noqa: S303
        if algorithm is None:
            raise NotBelievedError("a signature of no known version")
        try:
            signature = base64.b64decode(text(message.get("Signature")), validate=True)
            self._key(text(message.get("SigningCertURL"))).verify(signature, signed.encode(), PKCS1v15(), algorithm)
        except (binascii.Error, InvalidSignature):
            raise NotBelievedError("the signature is missing or wrong") from None
        return message

    def confirm(self, message: Mapping[str, Any]) -> None:
        """Follow the address that confirms a subscription to a topic of ours. Raises NotBelievedError."""
        url = text(message.get("SubscribeURL"))
        if not _is_of_sns(url):
            raise NotBelievedError("an address of no host of SNS")
        self._fetch(url)

    def _key(self, url: str) -> RSAPublicKey:
        with self._mutex:
            if url in self._keys:
                return self._keys[url]
        if not _is_of_sns(url) or not _CERTIFICATE.fullmatch(urlsplit(url).path):
            raise NotBelievedError("a certificate of no host of SNS")
        try:
            key = x509.load_pem_x509_certificate(self._fetch(url)).public_key()
        except ValueError:
            raise NotBelievedError("its certificate cannot be read") from None
        if not isinstance(key, RSAPublicKey):
            raise NotBelievedError("its certificate holds no RSA key")
        with self._mutex:
            if len(self._keys) >= _MOST_CERTIFICATES:
                self._keys.clear()
            self._keys[url] = key
        return key


def _is_of_sns(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = parts.port is None and parts.username is None
    except ValueError:
        return False
    return plain and parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None


def read(message: Mapping[str, Any]) -> list[Said]:
    """Bounces and complaints in a notification. Raises UnreadableError."""
    try:
        said = mapping(json.loads(text(message.get("Message"))))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON in the message") from error
    number = text(mapping(said.get("mail")).get("messageId"))
    match said.get("eventType") or said.get("notificationType"):
        case "Bounce":
            return _bounced(mapping(said.get("bounce")), number)
        case "Complaint":
            return _complained(mapping(said.get("complaint")), number)
        case _:
            # Deliveries, and the message that SNS sends to try the way.
            return []


def _bounced(bounce: Mapping[str, Any], number: str) -> list[Said]:
    kind, sub = text(bounce.get("bounceType")), text(bounce.get("bounceSubType"))
    done = []
    for one in _people(bounce.get("bouncedRecipients")):
        words = text(one.get("diagnosticCode"))
        found = refusal(text(one.get("status")), words)
        if sub in _DEAD:
            found = Refusal(found.code, words, Meaning.DEAD)
        elif sub in _BLOCKED:
            found = Refusal(found.code, words, Meaning.BLOCKED)
        elif kind != "Permanent":
            found = at_most(found, Meaning.SOFT)
        done.append(Said(Kind.REFUSED, text(one.get("emailAddress")), number, found, words or f"{kind} {sub}"))
    return done


def _complained(complaint: Mapping[str, Any], number: str) -> list[Said]:
    kind = text(complaint.get("complaintFeedbackType")) or "abuse"
    if kind == "not-spam":
        return []
    people = _people(complaint.get("complainedRecipients"))
    return [Said(Kind.COMPLAINT, text(one.get("emailAddress")), number, words=kind) for one in people]


def _people(found: Any) -> list[Mapping[str, Any]]:
    return [mapping(one) for one in found[:100]] if isinstance(found, list) else []
