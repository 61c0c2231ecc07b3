"""How fast a lane may send: the number of messages in progress, and the rates of a sender and of domains."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from tidings.model.delivery import Delivery, Outcome, Verdict
from tidings.model.throttling import Pace, slow_down
from tidings.pipeline.deliver.senders import MailSender
from tidings.store.delivery import rates

MAX_PERMITTED = 400
"""Most messages that may be permitted and not settled, because a power loss puts them in doubt.

A second limit is a twentieth of a second of sending. Small groups cost a disk sync each, so 50 are always allowed if
they are sent within a second.
"""
_SMALL_GROUP = 50
_FIRST_GROUP = 10
_HORIZON = 2.0
"""In seconds. A delivery that must wait longer is given back, so that it blocks no other."""
_TOO_FAST_REPLY = re.compile(r"4(21|50|51|52) ")
"""Replies of a relay that gets too much mail (RFC 5321 §4.2.3)."""


class SendWindow:
    """How many messages of one batch may be permitted and not settled, by the measured speed. For one thread."""

    def __init__(self, limit: int = MAX_PERMITTED, least: int = 1) -> None:
        """`limit`: most messages permitted at once. `least`: number of messages that keeps all connections busy."""
        self.limit = limit
        self._least = least
        self.ended = 0
        """Messages that have ended so far."""
        self.seconds: float | None = None
        """Recent seconds per message."""
        self._last_count = (time.monotonic(), 0)

    def measure(self) -> None:
        """Update `seconds` from the messages that ended since the last call."""
        since, before = self._last_count
        now = time.monotonic()
        if self.ended > before and now - since > 0.01:
            seconds = (now - since) / (self.ended - before)
            self.seconds = seconds if self.seconds is None else 0.7 * self.seconds + 0.3 * seconds
            self._last_count = (now, self.ended)

    def _per_second(self, rate: float) -> float:
        """Return the measured messages a second, at most `rate`."""
        return min(rate, _FIRST_GROUP if self.seconds is None else 1.0 / max(self.seconds, 1e-6))

    def room(self, permitted: int, scheduled: int, rate: float) -> int:
        """Return how many more messages may be permitted: none until half of the window is free, then all that is free.

        Each claim costs a disk sync, so claims are large. `scheduled` messages are permitted too, but not before their
        time. `rate` is the limit of the whole sender.
        """
        if self.limit == 1:
            window = 1
        else:
            per_second = self._per_second(rate)
            window = max(1, min(self.limit, int(per_second), max(_SMALL_GROUP, int(per_second / 20))))
            if rate == math.inf:
                # A relay that answers slowly would become slower with one message at a time.
                window = max(window, self._least)
        # Other mail may overtake a slow domain, but nothing may exceed the rate of the sender.
        used = permitted if rate == math.inf else permitted + scheduled
        if used > window // 2:
            return 0
        return max(0, min(window - used, self.limit - permitted - scheduled))


class SendRates:
    """The configured and the learned rates of a sender, as a whole and for each domain. For one thread."""

    def __init__(self, sender: MailSender | None, learned: Mapping[str, Pace]) -> None:
        self._sender = sender
        self._learned = dict(learned)
        self._unsaved: dict[str, Pace] = {}

    def limits(self, moment: float) -> dict[str, float]:
        """Return messages a second by domain. The empty domain is the sender as a whole."""
        sender = self._sender
        if sender is None:
            return {}
        limits = {domain: rate for domain, pace in self._learned.items() if (rate := pace.rate_at(moment)) is not None}
        for domain, rate in (*sender.domain_rates.items(), *([("", sender.rate)] if sender.rate else [])):
            limits[domain] = min(rate, limits.get(domain, math.inf))
        return limits

    def learn(self, delivery: Delivery, outcome: Outcome, measured: float, moment: float) -> None:
        """Slow down after a refusal: after 421 the whole sender, after others the recipient's domain."""
        if self._sender is None or outcome.verdict is not Verdict.DEFERRED or not _TOO_FAST_REPLY.match(outcome.reason):
            return
        domain = "" if outcome.reason.startswith("421") else _domain(delivery)
        before = self._learned.get(domain)
        after = slow_down(before, min(measured, 10.0) if domain else measured, moment)
        if after is not before:
            self._learned[domain] = self._unsaved[domain] = after

    def save(self, connection: Connection) -> None:
        """Store the rates learned since the last call."""
        if self._unsaved and self._sender is not None:
            unsaved, self._unsaved = self._unsaved, {}
            rates.save_paces(connection, self._sender.name, unsaved)

    def schedule(
        self, connection: Connection, deliveries: Sequence[Delivery], limits: Mapping[str, float], now: float
    ) -> tuple[list[tuple[Delivery, float]], list[tuple[Delivery, float]]]:
        """Return start times in seconds since 1970 (0 is at once): of soon deliveries, then of later ones.

        Later deliveries have no reserved time yet, because their domain takes no more within `_HORIZON`.
        """
        assert self._sender is not None
        name = self._sender.name
        soon: list[tuple[Delivery, float]] = []
        late: list[tuple[Delivery, float]] = []
        by_slow_domain: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            domain = _domain(delivery) if len(limits) > ("" in limits) else ""
            if domain and domain in limits:
                by_slow_domain.setdefault(domain, []).append(delivery)
            else:
                soon.append((delivery, 0.0))
        for domain, group in sorted(by_slow_domain.items()):
            rate = limits[domain]
            first = rates.reserve_send_time(connection, now, 0.0, name, domain)
            room = min(len(group), math.ceil((now + _HORIZON - first) * rate)) if first < now + _HORIZON else 0
            rates.reserve_send_time(connection, now, room / rate, name, domain)
            placed = [(delivery, first + number / rate) for number, delivery in enumerate(group)]
            soon += placed[:room]
            late += placed[room:]
        if (total_rate := limits.get("")) is not None and soon:
            first = rates.reserve_send_time(connection, now, len(soon) / total_rate, name)
            soon.sort(key=lambda entry: entry[1])
            soon = [(row, max(earliest, first + number / total_rate)) for number, (row, earliest) in enumerate(soon)]
        return sorted(soon, key=lambda entry: entry[1]), late


def _domain(delivery: Delivery) -> str:
    return delivery.address.rpartition("@")[2].lower()
