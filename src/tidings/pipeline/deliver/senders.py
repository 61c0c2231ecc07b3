"""Decide which sender takes which mail of a list.

- With weights, the senders that are up share the mail by weight. A sender without a weight beside weighted ones is a
  reserve: it is used when none of these is up.
- Without weights, the first sender that is up takes all mail.
- Mail that may have arrived waits for the sender that had it: see `claims.SenderShare`. The first sender may know that
  it has the mail already, and another one would not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidings.channels.base import MailTransport
from tidings.channels.smtp.relay import SmtpRelay
from tidings.model.throttling import SenderHealth


@dataclass(frozen=True)
class MailSender:
    """One way to send mail. `name` is unique; rates are messages a second."""

    name: str
    connect: Callable[[], MailTransport | SmtpRelay]
    connections: int = 4
    rate: float | None = None
    domain_rates: Mapping[str, float] = field(default_factory=dict)
    weight: int | None = None
    fingerprint: str = ""
    """A hash of its settings. A sender whose settings changed starts with a clean health record."""


@dataclass(frozen=True, slots=True)
class SenderRange:
    """`sender` takes the deliveries with `first <= id % SenderPlan.divisor < end`. SQL computes the same."""

    sender: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class SenderPlan:
    """Who takes the mail of one list, until a sender's health changes."""

    ranges: tuple[SenderRange, ...]
    divisor: int
    reason: str = ""
    """Why nobody takes it, if there is no range."""


def plan_senders(senders: Sequence[MailSender], healths: Mapping[str, SenderHealth], now: datetime) -> SenderPlan:
    """Share out the mail of a list. `senders` are in order of preference; `now` is real time."""
    up = [sender for sender in senders if healths.get(sender.name, SenderHealth()).is_up(now)]
    if not up:
        reasons = "; ".join(f"{sender.name}: {healths[sender.name].reason}" for sender in senders)
        return SenderPlan((), 1, reasons or "there is no mail host")
    weights = [(sender.name, sender.weight) for sender in up if sender.weight] or [(up[0].name, 1)]
    ranges = []
    end = 0
    for name, weight in weights:
        ranges.append(SenderRange(name, end, end + weight))
        end += weight
    return SenderPlan(tuple(ranges), end)
