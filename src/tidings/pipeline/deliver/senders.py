"""Decide which sender takes which mails of a list.

- With weights, the working senders share the mail by weight. If only some senders have a weight, the others are a
  reserve, used when no weighted sender works.
- Without weights, the first working sender takes all mail.
- Mail that may have arrived waits for its first sender: see `claims.SenderShare`. That sender may know that it has the
  mail already; another sender cannot know.
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
    """A hash of the settings. After a change of settings, a sender starts with a clean health record."""


def channel_key(channel: str) -> str:
    """Return the key of a channel in the table of healths. No sender has it: their names have no colon."""
    return f"channel:{channel}"


@dataclass(frozen=True, slots=True)
class SenderRange:
    """`sender` takes the deliveries with `first <= id % SenderPlan.divisor < end`. SQL computes the same."""

    sender: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class SenderPlan:
    """The senders of the mail of one list, until a sender's health changes."""

    ranges: tuple[SenderRange, ...]
    divisor: int
    reason: str = ""
    """Why no sender takes the mail, if there is no range."""


def plan_senders(senders: Sequence[MailSender], healths: Mapping[str, SenderHealth], now: datetime) -> SenderPlan:
    """Divide the mail of a list among senders. `senders` are in order of preference; `now` is real time."""
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
