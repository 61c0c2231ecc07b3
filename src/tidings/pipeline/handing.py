"""One group of deliveries: claimed, made, permitted under the lock of consent, handed over, settled."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.pipeline.verdicts import BACKOFF, ResendPolicies, crashed, settled
from tidings.store import claims
from tidings.store.engine import Store
from tidings.store.journal import Writer

T = TypeVar("T")
Result = tuple[Delivery, Mapping[str, Any]]
"""A delivery and the new values of its row."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What goes out for one delivery: a message with its envelope, or a post's body with its key."""

    data: bytes
    sender: str = ""
    recipient: str = ""
    key: str = ""


class Preparer(Protocol):
    """Makes the bytes of claimed deliveries. One that is left out counts as impossible to make."""

    def __call__(self, deliveries: Sequence[Delivery]) -> Mapping[int, Handover]:
        """By id of delivery."""


@dataclass
class Delivered:
    """What one run did."""

    states: Counter[str] = field(default_factory=Counter)
    """Results by state; what was given back unsent counts as pending."""
    stalled: dict[str, str] = field(default_factory=dict)
    """Lanes that could not go on, with the reason: what was due there still waits. E-mail is the empty name."""
    disabled: dict[str, str] = field(default_factory=dict)
    """Channels whose other side asked never to be called again."""
    void: int = 0
    """Results that came too late: somebody else had taken the delivery over."""


@dataclass(frozen=True)
class Setting:
    """What every group needs. `clock` is the newsroom's; leases and Retry-After go by `real_clock`."""

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
    rate: float | None = None
    """Most mails a second, of the whole newsroom; None: as fast as they go."""
    only: int | None = None
    """The one mailing to send; None: all that is due."""


class Group:
    """One group on one lane (a channel, or e-mail: the empty name), in one thread."""

    def __init__(
        self, setting: Setting, lane: str, send: Callable[[Handover], Outcome], writer: Writer, done: Delivered
    ) -> None:
        self._setting = setting
        self._lane = lane
        self._send = send
        self._writer = writer
        self._done = done
        self._results: list[Result] = []
        self._end = 0.0
        self.seconds = 0.0
        """What handing over took, and `sent` for how many messages."""
        self.sent = 0

    def run(self, limit: int) -> bool:
        """From claim to settling; False if nothing was due. What a bug raises is raised after settling the rest."""
        reached = self._setting.reached
        reached("before-claim")
        group = self._claim(limit)
        if not group:
            return False
        reached("after-claim")
        skipped: set[int] = set()
        try:
            ready = self._make(group)
            reached("before-handed")
            permission = self._permit([delivery for delivery in group if delivery.id in ready])
            skipped = {delivery.id for delivery, _ in permission.skipped}
            reached("after-handed")
            begun = time.monotonic()
            places = self._places(len(permission.handed))
            for delivery, place in zip(permission.handed, places, strict=True):
                self._wait_for(place)
                if not self._one(delivery, ready[delivery.id], permission):
                    self._results.append((delivery, claims.give_back(delivery)))
            self.seconds = time.monotonic() - begun
        finally:
            known = skipped | {delivery.id for delivery, _ in self._results}
            left = [(delivery, claims.give_back(delivery)) for delivery in group if delivery.id not in known]
            reached("before-settle")
            self._settle(left)
            reached("after-settle")
            self._writer.cut()
        return True

    def _places(self, count: int) -> list[float]:
        """When each message may begin, in seconds of real time: the places in the newsroom's one row of mail."""
        rate = self._setting.rate
        if self._lane or rate is None or not count:
            return [0.0] * count
        now = self._setting.real_clock().timestamp()
        first = self._write(lambda connection: claims.reserve(connection, now, count / rate))
        return [first + number / rate for number in range(count)]

    def _wait_for(self, place: float) -> None:
        """Until that moment, or until we are to stop."""
        left = place - self._setting.real_clock().timestamp()
        if left > 0:
            self._setting.stopping.wait(left)

    def _claim(self, limit: int) -> list[Delivery]:
        setting = self._setting
        # A tenth sooner than others may take it.
        self._end = setting.boot_clock() + 0.9 * setting.lease.total_seconds()
        real_now = setting.real_clock()
        return self._write(
            lambda connection: claims.claim(
                connection,
                owner=setting.owner,
                channel=self._lane,
                limit=limit,
                now=setting.clock(),
                real_now=real_now,
                until=real_now + setting.lease,
                only=setting.only,
            )
        )

    def _write(self, work: Callable[[Connection], T]) -> T:
        """One transaction; asked again a few times where the database is busy or has broken a deadlock."""
        for attempt in itertools.count():
            try:
                with self._setting.store.write() as connection:
                    return work(connection)
            except OperationalError:
                if attempt >= 5:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError

    def _make(self, group: Sequence[Delivery]) -> dict[int, Handover]:
        """The bytes of each. One of which none can be made is set aside for a while, and the others go on."""
        made: dict[int, Handover] = {}
        try:
            made.update(self._setting.prepare(group))
        except Exception:
            # One at a time below: it shows whose fault it is.
            made.clear()
        for delivery in group:
            if delivery.id in made:
                continue
            try:
                made[delivery.id] = self._setting.prepare([delivery])[delivery.id]
            except Exception as error:
                reason = f"no message could be made: {type(error).__name__}: {error}"[:500]
                retry = BACKOFF[min(delivery.crashes, len(BACKOFF) - 1)]
                self._results.append((delivery, crashed(delivery, reason, self._setting.clock(), retry=retry)))
        return made

    def _permit(self, group: Sequence[Delivery]) -> claims.Permission:
        setting = self._setting
        now = setting.clock()
        permission = self._write(
            lambda connection: claims.hand_over(
                connection, group, owner=setting.owner, now=now, real_now=setting.real_clock()
            )
        )
        with setting.mutex:
            self._done.states.update(str(claims.skip(row, why, now)["state"]) for row, why in permission.skipped)
        return permission

    def _one(self, delivery: Delivery, handover: Handover, permission: claims.Permission) -> bool:
        """Hand one message over and keep its result; False if it may not begin any more."""
        setting = self._setting
        if setting.stopping.is_set() or self._lane in self._done.stalled or not self._holds(permission.handed):
            return False
        if delivery.doubts and self._lane and not setting.policies.key_holds(delivery, setting.real_clock()):
            values = {"state": DeliveryState.IN_DOUBT, "reason": "too late to repeat it safely", "next_at": None}
            self._results.append((delivery, values))
            return True
        with setting.store.read() as connection:
            if not claims.may_begin(connection, delivery, owner=setting.owner, version=permission.version):
                return False
        setting.reached("before-intent")
        try:
            self._writer.intent(delivery.id, delivery.fence)
        except OSError as error:
            self._stall(f"the journal cannot be written: {error}")
            return False
        setting.reached("after-intent")
        try:
            outcome = self._send(handover)
        except Exception as error:
            self._keep(delivery, Outcome(Verdict.UNKNOWN, reason=f"{type(error).__name__} while it was handed over"))
            raise
        self._keep(delivery, outcome)
        setting.reached("after-outcome")
        return True

    def _holds(self, group: Sequence[Delivery]) -> bool:
        """Whether the lease still holds; made longer when half of it is over."""
        setting = self._setting
        left = self._end - setting.boot_clock()
        if left <= 0:
            return False
        if left < 0.4 * setting.lease.total_seconds():
            end = setting.boot_clock() + 0.9 * setting.lease.total_seconds()
            with setting.store.write() as connection:
                claims.renew(connection, setting.owner, group, setting.real_clock() + setting.lease)
            self._end = end
        return True

    def _keep(self, delivery: Delivery, outcome: Outcome) -> None:
        """Note the outcome in the journal and among the results."""
        setting = self._setting
        values = settled(delivery, outcome, setting.policies, now=setting.clock(), real_now=setting.real_clock())
        self._results.append((delivery, values))
        self.sent += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self._stall(outcome.reason)
        if outcome.disable:
            self._done.disabled[self._lane] = outcome.reason
            self._stall(outcome.reason or "the other side asked never to be called again")
        try:
            self._writer.outcome(delivery.id, delivery.fence, outcome)
        except OSError as error:
            # The ledger may still learn it; only if the process dies before that the message is in doubt.
            self._stall(f"the journal cannot be written: {error}")

    def _stall(self, reason: str) -> None:
        with self._setting.mutex:
            self._done.stalled.setdefault(self._lane, reason)

    def _settle(self, left: Sequence[Result]) -> None:
        """In one transaction. Until it has committed the journal knows."""
        setting = self._setting
        results = [*self._results, *left]
        void = self._write(lambda connection: claims.settle(connection, setting.owner, results))
        with setting.mutex:
            lost = {delivery.id for delivery in void}
            came = [row.id for row, values in self._results if values["state"] != DeliveryState.PENDING]
            self._done.void += sum(number in lost for number in came)
            self._done.states.update(str(values["state"]) for row, values in results if row.id not in lost)
