"""Deliveries: one mailing to one target, and its result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple


class DeliveryState(StrEnum):
    """The states of `tidings ledger`."""

    PENDING = "pending"
    LEASED = "leased"
    HANDED = "handed"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


TERMINAL = frozenset(
    {
        DeliveryState.ACCEPTED,
        DeliveryState.REJECTED,
        DeliveryState.SKIPPED,
        DeliveryState.CANCELLED,
        DeliveryState.QUARANTINED,
    }
)


class SkipReason(StrEnum):
    """Why a delivery was not sent."""

    SUPPRESSED = "suppressed"
    UNSUBSCRIBED = "unsubscribed"
    NOT_CONFIRMED = "not_confirmed"
    ERASED = "erased"
    EXPIRED = "expired"
    NOTHING_FOR_READER = "nothing_for_reader"
    OTHER_LIST = "other_list"
    """The reader gets the same edition through another list."""
    PAUSED = "paused"
    """The reader asked for a pause; the stories wait for them."""
    WITHDRAWN = "withdrawn"
    OVER_LIMIT = "over_limit"
    """The channel has reached `max_posts`."""
    UNTRANSLATED = "untranslated"
    """The story waits for its translations (`wait_for_translations`)."""
    UNANSWERABLE = "unanswerable"
    """Part of a thread: the post to answer was not sent, or its id is unknown."""


class Purpose(StrEnum):
    """The purpose of a delivery. Part of the key: a story may be sent for two purposes, but never twice for one."""

    EDITION = "edition"
    STORY = "story"
    TEST = "test"
    NOTICE = "notice"
    CONFIRMATION = "confirmation"
    WELCOME = "welcome"
    CORRECTION = "correction"
    """A correction of a published post. A hyphen and the correction's own part follow."""
    RETRACTION = "retraction"
    """A note to a published post: its story was withdrawn."""
    EVENT = "event"
    """A message to an event webhook."""
    REVIEW = "review"
    """The request to the people who must approve an edition, with the edition."""


class EventType(StrEnum):
    """The types of events for webhooks."""

    STORY_OUT = "story.out"
    EDITION_COMPOSED = "edition.composed"
    EDITION_HELD = "edition.held"
    EDITION_SENT = "edition.sent"
    DELIVERY_REJECTED = "delivery.rejected"
    FEEDBACK_RECEIVED = "feedback.received"
    SUBSCRIBER_JOINED = "subscriber.joined"
    SUBSCRIBER_LEFT = "subscriber.left"


WEBHOOK_LANE = "webhook:"
"""Prefix of the channel and the target of a delivery to an event webhook: `webhook:NAME`."""


class PostChange(StrEnum):
    """A change to a published post."""

    EDIT = "edit"
    REPLY = "reply"
    TAKE_DOWN = "take_down"


class FeedbackKind(StrEnum):
    """Feedback that may arrive after `accepted`."""

    HARD = "hard"
    SOFT = "soft"
    COMPLAINT = "complaint"


class Verdict(StrEnum):
    """How one attempt ended, as far as the channel can know."""

    ACCEPTED = "accepted"
    """The other side took responsibility (SMTP 250 after the dot, HTTP 2xx)."""
    DEFERRED = "deferred"
    """Refused for now, and certainly not accepted: try again later."""
    REJECTED = "rejected"
    """Refused for good, and certainly not accepted."""
    UNKNOWN = "unknown"
    """The message may have been accepted: the reply was lost after the message was sent completely."""
    NOT_STARTED = "not_started"
    """Nothing of this message was sent (connection refused, pause, shutdown). This does not count as an attempt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt. An exception instead means a bug or bad configuration."""

    verdict: Verdict
    receipt: str = ""
    """The provider's id: the queue id in the 250 reply, the id of a post."""
    via: str = ""
    """Where the message was accepted: the host of the relay, or the URL of the post."""
    reason: str = ""
    """The reason of a refusal or doubt, in words. Never contains a secret."""
    retry_after: float | None = None
    """Seconds the other side asked us to wait."""
    disable: bool = False
    """The other side asked us never to call again (HTTP 410)."""


def list_target(list_name: str, subscriber: int) -> str:
    """The target of a subscriber on a list, e.g. `list:digest:17`; never an address."""
    return f"list:{list_name}:{subscriber}"


def channel_target(channel: str) -> str:
    """The target of a channel, e.g. `channel:team`."""
    return f"channel:{channel}"


class Delivery(NamedTuple):
    """One row of the ledger, as a sender needs it. A tuple: a million of them are made in one send."""

    id: int
    mailing: int
    schedule: str
    edition: int | None
    """The edition's id, or None for mailings that are not an edition."""
    list: str
    channel: str
    story: str
    purpose: str
    part: int
    target: str
    subscriber: int | None
    address: str
    name: str
    language: str
    selection: int | None
    """The number of the frozen selection that this reader gets."""
    rendition: int | None
    """The id of its frozen bytes."""
    state: str
    attempts: int
    doubts: int
    crashes: int
    fence: int
    address_hash: str
    handed: int | None
    """Real time of the first hand-over that may have arrived, in microseconds since 1970."""
    details: str
    """For mailings that are not an edition: JSON with address, subject and text."""

    @property
    def parsed_details(self) -> dict[str, Any]:
        details: dict[str, Any] = json.loads(self.details)
        return details

    @property
    def post_change(self) -> PostChange | None:
        """The change it makes to a published post; None for a new message."""
        change = self.parsed_details.get("amendment") if self.channel and self.rendition is None else None
        return PostChange(change) if change else None

    @property
    def handed_at(self) -> datetime | None:
        """`handed` as a moment."""
        return None if self.handed is None else datetime.fromtimestamp(self.handed / 1e6, UTC)
