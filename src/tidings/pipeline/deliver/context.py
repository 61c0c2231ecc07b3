"""What is handed over for a delivery, and what every desk needs for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from tidings.channels.smtp.protocol import end_lines_with_crlf
from tidings.model.delivery import Delivery, PostChange
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.store.engine import Store


@dataclass(slots=True)
class OutgoingMessage:
    """What goes out for one delivery: a message with its envelope, or a post's body with its key."""

    data: bytes = b""
    sender: str = ""
    recipient: str = ""
    key: str = ""
    wire: Sequence[bytes] = ()
    """A mail in pieces, ready for SMTP: ASCII, lines end in CRLF, none begins with a dot. `data` is empty then."""
    amendment: PostChange | None = None
    """What is done about a post that stands."""
    receipt: str = ""
    """The provider's id of that post, or of the one that this answers."""
    delivery: int = 0
    """Of a post: whose uploads are remembered."""

    @property
    def whole(self) -> bytes:
        """The message in one piece."""
        return self.data or b"".join(self.wire)


class Preparer(Protocol):
    """Makes the bytes of claimed deliveries. One that is left out counts as impossible to make."""

    def __call__(self, deliveries: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]:
        """By id of delivery."""


@dataclass
class DeliverySummary:
    """What one run did."""

    states: Counter[str] = field(default_factory=Counter)
    """Results by state; what was given back unsent counts as pending."""
    stalled: dict[str, str] = field(default_factory=dict)
    """Lanes that could not go on, with the reason: what was due there still waits. E-mail is the empty name."""
    disabled: dict[str, str] = field(default_factory=dict)
    """Channels whose other side asked never to be called again."""
    failed_senders: dict[str, str] = field(default_factory=dict)
    """Of several senders of mail those that could not go on, with the reason; others took over, if any was left."""
    too_late: int = 0
    """Results that came too late: somebody else had taken the delivery over."""


@dataclass(frozen=True)
class DeliveryContext:
    """What every desk needs. `clock` is the newsroom's; leases and Retry-After go by `real_clock`."""

    store: Store
    owner: str
    prepare: Preparer
    policies: ResendPolicies
    clock: Callable[[], datetime]
    real_clock: Callable[[], datetime]
    boot_clock: Callable[[], float]
    """Seconds that go on while the machine is suspended, and that nobody sets."""
    lease: timedelta
    reached: Callable[[str], None]
    """Told of each point on the way; in tests a process ends there."""
    stopping: threading.Event
    mutex: threading.Lock
    only: int | None = None
    """The one mailing to send; None: all that is due."""

    def lease_end(self) -> float:
        """Of a lease that is taken now, by `boot_clock`: a tenth sooner than others may take over."""
        return self.boot_clock() + 0.9 * self.lease.total_seconds()


@dataclass(slots=True)
class PermittedDelivery:
    """One permitted delivery. Its `wire`, sender and recipient are what a mail relay needs."""

    delivery: Delivery
    handover: OutgoingMessage
    version: int
    end: float
    """When its lease is over, by the clock that nobody sets."""
    place: float = 0.0
    """Not before this moment of real time, in seconds since 1970: its place in the newsroom's one row of mail."""
    has_begun: bool = False
    """Its intent stands in the journal, and no outcome yet."""

    @property
    def sender(self) -> str:
        """The return path."""
        return self.handover.sender

    @property
    def recipient(self) -> str:
        """Who gets it."""
        return self.handover.recipient

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces."""
        return self.handover.wire or (end_lines_with_crlf(self.handover.data),)

    @property
    def is_plain(self) -> bool:
        """Whether it is known to be ASCII, with no line that begins with a dot."""
        return bool(self.handover.wire)

    @property
    def key(self) -> tuple[int, int]:
        """In the journal."""
        return self.delivery.id, self.delivery.fence
