"""Which sender takes which mail of a list. Pure: senders, their health and a moment in, shares out.

- With weights, those of the senders that are up share the mail by them. A sender without a weight beside some that
  have one is a reserve: it is used when none of these is up.
- Without weights the first sender that is up takes all.
- A message that may have arrived is sent again by the sender that had it, or waits for it: another one would give it
  another path, and the first may know that it has it already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tidings.model.throttling import SenderHealth


class Sender(Protocol):
    """What counts of a sender's settings."""

    @property
    def name(self) -> str:
        """Unique in the newsroom."""

    @property
    def weight(self) -> int | None:
        """Its share, if it has one."""


@dataclass(frozen=True, slots=True)
class SenderShare:
    """`sender` takes each delivery with `first <= id % Plan.of < end`: evenly mixed, and the same in SQL as here."""

    sender: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class SenderPlan:
    """Who takes the mail of one list, until health or configuration change."""

    shares: tuple[SenderShare, ...]
    of: int
    up: frozenset[str]
    reason: str = ""
    """Why nobody does, where there is no share."""
    until: datetime | None = None
    """When to ask again, in real time, where some sender rests; None: no sender will come back by itself."""

    def sender_of(self, delivery: int, doubted: str = "") -> str | None:
        """Who takes a delivery, by its id; None: it waits. `doubted`: the sender by which it may have arrived."""
        if doubted:
            return doubted if doubted in self.up else None
        place = delivery % self.of
        return next((share.sender for share in self.shares if share.first <= place < share.end), None)


def plan_senders(senders: Sequence[Sender], healths: Mapping[str, SenderHealth], now: datetime) -> SenderPlan:
    """For the senders of a list, the best first. `now` is real time."""
    rested = [sender for sender in senders if healths.get(sender.name, SenderHealth()).is_up(now)]
    up = frozenset(sender.name for sender in rested)
    resting = {sender.name: healths[sender.name] for sender in senders if sender.name not in up}
    until = min((health.down_until for health in resting.values() if health.down_until), default=None)
    weighed = [(sender.name, sender.weight) for sender in rested if sender.weight]
    taking = weighed or [(sender.name, 1) for sender in rested[:1]]
    shares = []
    end = 0
    for name, weight in taking:
        shares.append(SenderShare(name, end, end + weight))
        end += weight
    if shares:
        return SenderPlan(tuple(shares), end, up, until=until)
    said = "; ".join(f"{name}: {health.reason}" for name, health in resting.items())
    return SenderPlan((), 1, up, said or "there is no mail host", until)
