"""Mailgun's webhooks: documentation.mailgun.com, "Securing Webhooks" and "Event Structure".

The signature covers a timestamp and a token, not what is said. So a token is good for one text alone: who has overheard
one cannot say something else with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping

from tidings.config.bounces import MailgunHook
from tidings.pipeline.track.providers.events import Kind, NotBelievedError, Said, UnreadableError, mapping, text
from tidings.pipeline.track.refusals import Meaning, Refusal, refusal

_LONGEST = 200
_REMEMBERED = 10_000
_OLDEST = 2 * 86400
"""Seconds. It tries again for eight hours."""


class Tokens:
    """Which token came with which text."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._mutex = threading.Lock()

    def is_good(self, token: str, body: bytes) -> bool:
        """Whether this token has not come with another text."""
        digest = hashlib.sha256(body).digest()
        with self._mutex:
            known = self._known.setdefault(token, digest)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return hmac.compare_digest(known, digest)


_tokens = Tokens()


def authentic(settings: MailgunHook, headers: Mapping[str, str], body: bytes, *, now: float) -> None:
    """HMAC-SHA256 over timestamp and token. `now` is in seconds since 1970. Raises NotBelievedError."""
    try:
        said = mapping(mapping(json.loads(body)).get("signature"))
    except (ValueError, RecursionError):
        said = {}
    moment, token, signature = (str(said.get(name, ""))[:_LONGEST] for name in ("timestamp", "token", "signature"))
    key = settings.signing_key.get_secret_value().encode()
    wanted = hmac.new(key, (moment + token).encode(), hashlib.sha256).hexdigest()
    if not token or not hmac.compare_digest(signature.encode(), wanted.encode()):
        raise NotBelievedError("the signature is missing or wrong")
    if not moment.isdigit() or abs(now - int(moment[:12])) > _OLDEST:
        raise NotBelievedError("the signature is too old")
    if not _tokens.is_good(token, body):
        raise NotBelievedError("the signature belongs to another message")


def read(body: bytes) -> list[Said]:
    """failed, complained, unsubscribed. Raises UnreadableError."""
    try:
        said = mapping(mapping(json.loads(body)).get("event-data"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    recipient = text(said.get("recipient"))
    number = text(mapping(mapping(said.get("message")).get("headers")).get("message-id"))
    match said.get("event"):
        case "complained":
            return [Said(Kind.COMPLAINT, recipient, number, words="abuse")]
        case "unsubscribed":
            return [Said(Kind.LEFT, recipient, number)]
        case "failed" if said.get("severity") == "permanent":
            return [_failed(said, recipient, number)]
        case _:
            # A failure for now is tried again by Mailgun itself.
            return []


def _failed(said: Mapping[str, object], recipient: str, number: str) -> Said:
    reason = text(said.get("reason"))
    if reason == "suppress-complaint":
        return Said(Kind.COMPLAINT, recipient, number, words="abuse")
    if reason == "suppress-unsubscribe":
        return Said(Kind.LEFT, recipient, number)
    status = mapping(said.get("delivery-status"))
    words = f"{status.get('code', '')} {text(status.get('message'))} {text(status.get('description'))}".strip()
    found = refusal(text(status.get("enhanced-code")), words)
    if reason == "suppress-bounce":
        found = Refusal(found.code, words, Meaning.DEAD)
    return Said(Kind.REFUSED, recipient, number, found, words)
