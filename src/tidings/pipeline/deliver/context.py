"""Shared types of sending: the lane, the message, the context of a batch and the summary of a run."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from tidings.channels.smtp.protocol import end_lines_with_crlf
from tidings.config.bounces import Breaker
from tidings.model.delivery import Delivery, PostChange
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.senders import MailSender
from tidings.store.delivery.claims import SenderShare
from tidings.store.delivery.failover import SenderMemory
from tidings.store.engine import Store


@dataclass(frozen=True)
class Lane:
    """A channel, or a sender of mail. Mail has an empty `channel`."""

    MAIL: ClassVar = "mail"
    channel: str = ""
    sender: MailSender | None = None
    share: SenderShare | None = None
    """This sender's share of the mail, if there are several senders."""

    @property
    def key(self) -> str:
        """Key in `DeliverySummary.stalled`: the channel, empty for mail, or `mail NAME` for one of several senders."""
        if self.sender is not None and self.share is not None:
            return f"{self.MAIL} {self.sender.name}"
        return self.channel


@dataclass(slots=True)
class OutgoingMessage:
    """The message of one delivery: a mail with its envelope, or the body of a post with its idempotency key."""

    data: bytes = b""
    sender: str = ""
    recipient: str = ""
    key: str = ""
    wire: Sequence[bytes] = ()
    """A mail in pieces, ready for SMTP: ASCII, CRLF at line ends, no leading dot. `data` is empty then."""
    change: PostChange | None = None
    """The change to make to a published post."""
    receipt: str = ""
    """The provider's id of that post, or of the post that this one replies to."""
    delivery: int = 0
    """Id of the delivery of a post. Finished uploads are remembered by it."""

    @property
    def whole(self) -> bytes:
        """The message in one piece."""
        return self.data or b"".join(self.wire)


class Preparer(Protocol):
    """Makes the messages of claimed deliveries, by delivery id. A delivery that it leaves out counts as failed."""

    def __call__(self, deliveries: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]: ...


@dataclass
class DeliverySummary:
    """The results of one run."""

    states: Counter[str] = field(default_factory=Counter)
    """Number of results by state. A delivery given back unsent counts as pending."""
    stalled: dict[str, str] = field(default_factory=dict)
    """Lanes that could not continue, with the reason. Their deliveries wait. Mail is the empty key."""
    disabled: dict[str, str] = field(default_factory=dict)
    """Channels whose service asked never to be called again, with the reason."""
    recovered: set[str] = field(default_factory=set)
    """Channels that stood still before and work again."""
    failed_senders: dict[str, str] = field(default_factory=dict)
    """If there are several mail senders: those that failed, with the reason. Another sender took over if possible."""
    refused: set[int] = field(default_factory=set)
    """Mails that wait because a relay refuses us and not their readers."""
    too_late: int = 0
    """Number of results that came after another process had taken over the delivery."""


@dataclass(frozen=True)
class DeliveryContext:
    """The objects that every batch needs. `clock` is the newsroom's; leases and Retry-After use `real_clock`."""

    store: Store
    owner: str
    prepare: Preparer
    policies: ResendPolicies
    clock: Callable[[], datetime]
    real_clock: Callable[[], datetime]
    boot_clock: Callable[[], float]
    """A clock in seconds. It continues while the machine is suspended and cannot be set."""
    lease: timedelta
    memory: SenderMemory
    """What this process claimed and sent lately."""
    reached: Callable[[str], None]
    """Called with the name of each step. Tests end the process there."""
    stopping: threading.Event
    mutex: threading.Lock
    breaker: Breaker = field(default_factory=Breaker)
    """From how many refusals on a lane stops, because they cannot be true."""
    until: float = math.inf
    """No message begins from then on, by `time.monotonic`."""
    only: int | None = None
    """The only mailing to send, or None for every due delivery."""

    def lease_end(self) -> float:
        """Return the end of a lease taken now, by `boot_clock`. It is a tenth before other processes may take over."""
        return self.boot_clock() + 0.9 * self.lease.total_seconds()


@dataclass(slots=True)
class PermittedDelivery:
    """A delivery that may be sent, with its message. It is the `Mail` that a relay needs."""

    delivery: Delivery
    message: OutgoingMessage
    consent_version: int
    lease_end: float
    """Time by `boot_clock`."""
    has_begun: bool = False
    """The journal has its intent and no outcome yet."""

    @property
    def sender(self) -> str:
        """The return path."""
        return self.message.sender

    @property
    def recipient(self) -> str:
        """The only recipient."""
        return self.message.recipient

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces."""
        return self.message.wire or (end_lines_with_crlf(self.message.data),)

    @property
    def is_plain(self) -> bool:
        """Whether the message is known to be ASCII without a line that begins with a dot."""
        return bool(self.message.wire)

    @property
    def key(self) -> tuple[int, int]:
        """The key in the journal: id and fence."""
        return self.delivery.id, self.delivery.fence
