"""Shared parts of all provider webhooks: the event, and recording it after its sender was verified."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from tidings.config.bounces import Bounces
from tidings.model.errors import InputError
from tidings.model.refusal import Effect, Refusal, RefusalKind
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.pipeline.track.bounces import record_bounce
from tidings.pipeline.track.complaints_and_unsubscribes import record_complaint, record_provider_unsubscribe
from tidings.pipeline.track.events import IGNORED, FeedbackEvent
from tidings.store.engine import Store
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient


class UntrustedWebhookError(Exception):
    """The request is not proven to come from the provider. The text is for the log."""


class UnreadableWebhookError(Exception):
    """The request is signed, but its format is unknown. The text is for the log."""


class EventKind(StrEnum):
    """The kinds of events that a provider reports."""

    REFUSED = "refused"
    COMPLAINT = "complaint"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One event. `message_id` is the provider's own id (the receipt in the ledger) or the Message-ID header."""

    kind: EventKind
    recipient: str
    message_id: str = ""
    refusal: Refusal | None = None
    text: str = ""


def record_provider_events(
    store: Store, events: Iterable[ProviderEvent], *, rules: Bounces, via: str, now: datetime
) -> list[str]:
    """Record each event in a separate transaction. Returns the kind of each result."""
    kinds = []
    for event in events:
        with store.write() as connection:
            kinds.append(_record(connection, event, rules, via, now))
    return kinds


def _record(connection: Connection, reported: ProviderEvent, rules: Bounces, via: str, now: datetime) -> str:
    try:
        target = _find_target(connection, reported)
    except InputError:
        return IGNORED
    event = FeedbackEvent(target, reported.refusal.code if reported.refusal else "", reported.text, via, now)
    match reported.kind:
        case EventKind.COMPLAINT:
            return record_complaint(connection, event, reported.text or "abuse").kind
        case EventKind.LEFT:
            return record_provider_unsubscribe(connection, event).kind
        case EventKind.REFUSED:
            assert reported.refusal is not None
            return record_bounce(connection, event, reported.refusal, rules).kind


def _find_target(connection: Connection, event: ProviderEvent) -> Recipient:
    """Return the delivery, or else the person with that address on every list."""
    person = feedback.find_by_address(connection, event.recipient)
    message_id = event.message_id.strip("<> ")
    if person.subscriber is None or not message_id:
        return person
    for mail in feedback.recent_mails(connection, person.subscriber):
        if message_id in mail.receipt or message_id_local_part(mail.key).decode() == message_id.partition("@")[0]:
            return mail.recipient
    return person


def gone_unless_clear(refusal: Refusal) -> Refusal:
    """Accept the provider's statement that the mailbox does not exist, unless its text contradicts it."""
    return refusal if refusal.kind is not RefusalKind.UNKNOWN else replace(refusal, kind=RefusalKind.GONE)


def never_hard(refusal: Refusal) -> Refusal:
    """Return the refusal with a cause that suppresses nobody at once. An unclear refusal becomes temporary."""
    if refusal.effect is Effect.HARD or refusal.kind is RefusalKind.UNKNOWN:
        return replace(refusal, kind=RefusalKind.BUSY)
    return refusal


def doubted(refusal: Refusal) -> Refusal:
    """Return the refusal as unclear, if it would suppress somebody at once."""
    return replace(refusal, kind=RefusalKind.UNKNOWN) if refusal.effect is Effect.HARD else refusal


def load_json(body: bytes | str) -> Any:
    """Parse JSON. Raises UnreadableWebhookError, also for lone surrogates, which cannot be stored."""
    try:
        value = json.loads(body if isinstance(body, str) else body.decode())
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise UnreadableWebhookError("the body is not JSON") from error


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, or an empty mapping for other values."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return a JSON string, or '' for other values."""
    return value if isinstance(value, str) else ""
