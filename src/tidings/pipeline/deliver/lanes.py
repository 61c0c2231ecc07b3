"""The lanes of delivery: a channel, or a way for mail to leave, with how fast it may go."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import Connection

from tidings.channels.base import MailTransport
from tidings.channels.smtp.relay import SmtpRelay
from tidings.model.delivery import Delivery, Outcome, Verdict
from tidings.model.throttling import Pace, slow_down
from tidings.store.delivery import rates
from tidings.store.delivery.claims import SenderShare

HORIZON = 2.0
"""Seconds: what must wait for longer is given back, so that it stands in nobody's way."""
_BUSY = re.compile(r"4(21|50|51|52) ")
"""Replies of a relay that is asked too much (RFC 5321 §4.2.3)."""


@dataclass(frozen=True)
class MailSender:
    """One way for mail to leave. `name` is unique; a rate is messages a second."""

    name: str
    connect: Callable[[], MailTransport | SmtpRelay]
    connections: int = 4
    rate: float | None = None
    domain_rates: Mapping[str, float] = field(default_factory=dict)
    weight: int | None = None
    fingerprint: str = ""
    """Of its settings: a sender that is set otherwise begins afresh."""


@dataclass(frozen=True)
class Lane:
    """What one desk carries. The lane of mail has an empty `channel`."""

    MAIL: ClassVar = "mail"
    channel: str = ""
    sender: MailSender | None = None
    portion: SenderShare | None = None
    """What of the mail this sender takes, where there are several."""

    @property
    def key(self) -> str:
        """In `Delivered.stalled`: the channel; mail is the empty name, and one of several senders `mail NAME`."""
        return (
            f"{self.MAIL} {self.sender.name}" if self.sender is not None and self.portion is not None else self.channel
        )


class SendRates:
    """How fast a sender may go, as a whole and to each domain. For one thread."""

    def __init__(self, sender: MailSender | None, learnt: Mapping[str, Pace]) -> None:
        self._sender = sender
        self._learnt = dict(learnt)
        self._new: dict[str, Pace] = {}

    def limits(self, moment: float) -> dict[str, float]:
        """Messages a second, by domain; the sender as a whole is the empty one."""
        sender = self._sender
        if sender is None:
            return {}
        found = {domain: rate for domain, one in self._learnt.items() if (rate := one.rate_at(moment)) is not None}
        for domain, rate in (*sender.domain_rates.items(), *([("", sender.rate)] if sender.rate else [])):
            found[domain] = min(rate, found.get(domain, math.inf))
        return found

    def heed(self, delivery: Delivery, outcome: Outcome, measured: float, moment: float) -> None:
        """Learn from a refusal: 421 is about all of the mail, the others about the recipient's domain."""
        if self._sender is None or outcome.verdict is not Verdict.DEFERRED or not _BUSY.match(outcome.reason):
            return
        domain = "" if outcome.reason.startswith("421") else domain_of(delivery)
        before = self._learnt.get(domain)
        after = slow_down(before, min(measured, 10.0) if domain else measured, moment)
        if after is not before:
            self._learnt[domain] = self._new[domain] = after

    def keep(self, connection: Connection) -> None:
        """Write down what is new."""
        if self._new and self._sender is not None:
            new, self._new = self._new, {}
            rates.save_paces(connection, self._sender.name, new)

    def places(
        self, connection: Connection, group: Sequence[Delivery], limits: Mapping[str, float], now: float
    ) -> tuple[list[tuple[Delivery, float]], list[tuple[Delivery, float]]]:
        """When each may begin, in seconds since 1970, 0 for at once: those that may go soon, and the others.

        The others have no place yet: their domain takes no more within `HORIZON`.
        """
        assert self._sender is not None
        name = self._sender.name
        soon: list[tuple[Delivery, float]] = []
        late: list[tuple[Delivery, float]] = []
        slow: dict[str, list[Delivery]] = {}
        for delivery in group:
            domain = domain_of(delivery) if len(limits) > ("" in limits) else ""
            if domain and domain in limits:
                slow.setdefault(domain, []).append(delivery)
            else:
                soon.append((delivery, 0.0))
        for domain, many in sorted(slow.items()):
            rate = limits[domain]
            first = rates.reserve_send_time(connection, now, 0.0, name, domain)
            room = min(len(many), math.ceil((now + HORIZON - first) * rate)) if first < now + HORIZON else 0
            rates.reserve_send_time(connection, now, room / rate, name, domain)
            placed = [(delivery, first + number / rate) for number, delivery in enumerate(many)]
            soon += placed[:room]
            late += placed[room:]
        if (rate_of_all := limits.get("")) is not None and soon:
            first = rates.reserve_send_time(connection, now, len(soon) / rate_of_all, name)
            soon.sort(key=lambda one: one[1])
            soon = [(one, max(place, first + number / rate_of_all)) for number, (one, place) in enumerate(soon)]
        return sorted(soon, key=lambda one: one[1]), late


def domain_of(delivery: Delivery) -> str:
    """The domain of the recipient."""
    return delivery.address.rpartition("@")[2].lower()
