"""What is shared while deliveries are sent: the lane, the message, the context of a batch and the summary of a run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from tidings.channels.smtp.protocol import end_lines_with_crlf
from tidings.model.delivery import Delivery, PostChange
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.senders import MailSender
from tidings.store.delivery.claims import SenderShare
from tidings.store.engine import Store


@dataclass(frozen=True)
class Lane:
    """A channel, or a sender of mail. Mail has an empty `channel`."""

    MAIL: ClassVar = "mail"
    channel: str = ""
    sender: MailSender | None = None
    share: SenderShare | None = None
    """The mail that this sender takes, if there are several senders."""

    @property
    def key(self) -> str:
        """In `DeliverySummary.stalled`: the channel; empty for mail, or `mail NAME` for one of several senders."""
        if self.sender is not None and self.share is not None:
            return f"{self.MAIL} {self.sender.name}"
        return self.channel


@dataclass(slots=True)
class OutgoingMessage:
    """What is sent for one delivery: a mail with its envelope, or the body of a post with its idempotency key."""

    data: bytes = b""
    sender: str = ""
    recipient: str = ""
    key: str = ""
    wire: Sequence[bytes] = ()
    """A mail in pieces, ready for SMTP: ASCII, CRLF at line ends, no leading dot. `data` is empty then."""
    change: PostChange | None = None
    """What to do with a post that is published."""
    receipt: str = ""
    """The provider's id of that post, or of the post that this one replies to."""
    delivery: int = 0
    """The id of a post's delivery, whose uploads are remembered."""

    @property
    def whole(self) -> bytes:
        """The message in one piece."""
        return self.data or b"".join(self.wire)


class Preparer(Protocol):
    """Makes the messages of claimed deliveries, by delivery id. A delivery that it leaves out counts as failed."""

    def __call__(self, deliveries: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]: ...


@dataclass
class DeliverySummary:
    """What one run did."""

    states: Counter[str] = field(default_factory=Counter)
    """Results by state. What was given back unsent counts as pending."""
    stalled: dict[str, str] = field(default_factory=dict)
    """Lanes that could not continue, with the reason. Their deliveries wait. Mail is the empty key."""
    disabled: dict[str, str] = field(default_factory=dict)
    """Channels whose service asked never to be called again, with the reason."""
    failed_senders: dict[str, str] = field(default_factory=dict)
    """Of several mail senders those that could not continue, with the reason. Another one took over, if one is left."""
    too_late: int = 0
    """Results of deliveries that another process had taken over."""


@dataclass(frozen=True)
class DeliveryContext:
    """What every batch needs. `clock` is the newsroom's; leases and Retry-After use `real_clock`."""

    store: Store
    owner: str
    prepare: Preparer
    policies: ResendPolicies
    clock: Callable[[], datetime]
    real_clock: Callable[[], datetime]
    boot_clock: Callable[[], float]
    """Seconds. It continues while the machine is suspended, and nobody can set it."""
    lease: timedelta
    reached: Callable[[str], None]
    """Called at each named point of the way. Tests end the process there."""
    stopping: threading.Event
    mutex: threading.Lock
    only: int | None = None
    """The one mailing to send, or None for all that is due."""

    def lease_end(self) -> float:
        """Return when a lease taken now ends, by `boot_clock`: a tenth earlier than others may take over."""
        return self.boot_clock() + 0.9 * self.lease.total_seconds()


@dataclass(slots=True)
class PermittedDelivery:
    """A delivery that may be sent, with its message. It is the `Mail` that a relay needs."""

    delivery: Delivery
    message: OutgoingMessage
    consent_version: int
    lease_end: float
    """By `boot_clock`."""
    not_before: float = 0.0
    """The reserved time, in seconds since 1970, if a rate limits the mail."""
    has_begun: bool = False
    """The journal has its intent and no outcome yet."""

    @property
    def sender(self) -> str:
        """The return path."""
        return self.message.sender

    @property
    def recipient(self) -> str:
        """The one recipient."""
        return self.message.recipient

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces."""
        return self.message.wire or (end_lines_with_crlf(self.message.data),)

    @property
    def is_plain(self) -> bool:
        """Whether it is known to be ASCII without a line that begins with a dot."""
        return bool(self.message.wire)

    @property
    def key(self) -> tuple[int, int]:
        """The key in the journal: id and fence."""
        return self.delivery.id, self.delivery.fence
