"""A delivery batch: claim deliveries, make their messages, note each intent, and settle the outcomes.

docs/delivery.md draws this. One transaction settles the messages that have ended and claims the next ones. The journal
gets the intent of each message before it begins, and its outcome after the reply. So a crash of the process leaves at
most one message for each connection in doubt.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.model.refusal import Refusal
from tidings.pipeline.deliver.context import DeliveryContext, DeliverySummary, Lane, OutgoingMessage, PermittedDelivery
from tidings.pipeline.deliver.outcomes import (
    BACKOFF,
    find_refusal_of_us,
    must_stall,
    values_after_attempt,
    values_after_crash,
)
from tidings.pipeline.deliver.pacing import SendRates, SendWindow
from tidings.store.delivery import rates, settling
from tidings.store.delivery.claims import Claim, Claimant, recheck
from tidings.store.delivery.failover import server_timeline
from tidings.store.delivery.journal import JournalWriter, delete_entries
from tidings.store.engine import is_locked

_SETTLE_AFTER = 0.25
"""Seconds after which ended messages are settled, however few they are."""
_IDLE_WAIT = 60.0
"""Seconds that `seconds_until_next` returns if more may come at any time."""
_MAX_RETRIES = 5
_PATIENCE = 120.0
"""Seconds that a batch waits for a locked SQLite file or a restarted PostgreSQL server. It is far below a lease."""
_AFTER_OUTAGE = timedelta(seconds=2)
"""Until then a message waits that could not be made because the database went away."""
T = TypeVar("T")
Accepted = tuple[int, int, str, str]
"""A delivery that was accepted: id, fence, receipt, via."""


@dataclass(frozen=True, slots=True)
class _Step:
    """The result of one transaction."""

    lost: set[int]
    """Deliveries that another process has taken over, so that their results do not count."""
    claim: Claim
    permitted: Sequence[tuple[Delivery, float]]
    """Each claimed delivery with its earliest start, in seconds since 1970."""
    preparing: int
    """The entry of the journal about the messages that are prepared next; 0 if there are none."""


class DeliveryBatch:
    """The deliveries of one lane that one worker has in progress, and the queue of a relay. For one thread."""

    def __init__(
        self,
        context: DeliveryContext,
        lane: Lane,
        writer: JournalWriter,
        summary: DeliverySummary,
        window: SendWindow,
    ) -> None:
        """The batch owns `writer` and closes it."""
        self._context = context
        self._lane = lane
        self._writer = writer
        self._summary = summary
        self._window = window
        sender = lane.sender.name if lane.sender is not None else ""
        self._claimant = Claimant(context.owner, lane.channel, sender, lane.share, context.only)
        with context.store.read() as connection:
            self._rates = SendRates(lane.sender, rates.load_paces(connection, sender) if lane.sender else {})
        self._ready: deque[PermittedDelivery] = deque()
        self._scheduled: list[tuple[float, int, PermittedDelivery]] = []
        """A heap of permitted messages that must not begin before their time."""
        self._in_progress: dict[int, PermittedDelivery] = {}
        self._accepted: list[Accepted] = []
        self._results: list[tuple[Delivery, Mapping[str, Any]]] = []
        """`_accepted` and `_results` have ended and are not settled. A result is the new values of a row."""
        self._is_exhausted = False
        self._refusals: list[tuple[int, Refusal, str]] = []
        """Refusals of us since the last accepted mail: delivery, refusal, reason."""
        self._has_accepted = False
        self._rejected = 0
        self._settled_at = time.monotonic()

    # -- the ledger's side --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether no further message may begin."""
        context = self._context
        is_over = context.stopping.is_set() or time.monotonic() >= context.until
        return is_over or self._lane.key in self._summary.stalled

    def _advance(self, room: int = 0) -> None:
        """Settle the messages that have ended and claim up to `room` more, in one transaction. Then make these."""
        context = self._context
        accepted, results = self._accepted, self._results
        lease_end = context.lease_end()
        steps = (["settle"] if accepted or results else []) + (["claim"] if room else [])
        for step in steps:
            context.reached(f"before-{step}")
        keys = [*[row[:2] for row in accepted], *[(delivery.id, delivery.fence) for delivery, _ in results]]
        entries = self._writer.settled_entries(keys)
        done = self._write(lambda connection: self._work(connection, room, entries))
        self._accepted, self._results, self._settled_at = [], [], time.monotonic()
        self._writer.remove_settled(keys, entries)
        for step in steps:
            context.reached(f"after-{step}")
        self._count(accepted, results, done)
        if room:
            self._is_exhausted = done.claim.is_empty
            context.memory.add_claim((delivery for delivery, _ in done.permitted), context.clock())
        messages = self._make_messages([delivery for delivery, _ in done.permitted], done.preparing)
        for delivery, not_before in done.permitted:
            if delivery.id not in messages:
                continue
            permitted = PermittedDelivery(delivery, messages[delivery.id], done.claim.version, lease_end)
            if not_before:
                heapq.heappush(self._scheduled, (not_before, delivery.id, permitted))
            else:
                self._ready.append(permitted)

    def _work(self, connection: Connection, room: int, entries: Sequence[int]) -> _Step:
        context = self._context
        now, real_now = context.clock(), context.real_clock()
        accepted, results = self._accepted, self._results
        lost = {row[0] for row in accepted} - settling.record_accepted(connection, context.owner, accepted, now)
        lost |= {delivery.id for delivery in settling.settle(connection, context.owner, results)}
        delete_entries(connection, context.owner, entries)
        self._rates.save(connection)
        if not room or not context.memory.is_of(server_timeline(connection)):
            # Another server may have forgotten earlier claims: see `Deliverer.settle_failover`.
            return _Step(lost, Claim((), (), 0), (), 0)
        claim = self._claimant.claim(connection, room, now=now, real_now=real_now, until=real_now + context.lease)
        permitted = [(delivery, 0.0) for delivery in claim.deliveries]
        limits = self._rates.limits(real_now.timestamp())
        if limits and permitted:
            permitted, late = self._rates.schedule(connection, claim.deliveries, limits, real_now.timestamp())
            # A delivery that must wait long is given back until then, so that it blocks no other.
            given_back = [
                (delivery, settling.requeued(delivery) | {"not_before": datetime.fromtimestamp(earliest, UTC)})
                for delivery, earliest in late
            ]
            settling.settle(connection, context.owner, given_back)
        keys = [(delivery.id, delivery.fence) for delivery, _ in permitted]
        return _Step(lost, claim, permitted, self._writer.note_preparing(connection, keys) if keys else 0)

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction. It is retried if the database is locked, has broken a deadlock, or was restarted.

        What is not settled when this fails is in doubt and sent again, so it pays to wait.
        """
        context, end = self._context, time.monotonic() + _PATIENCE
        for attempt in itertools.count():
            try:
                with context.store.write() as connection:
                    return work(connection)
            except OperationalError as error:
                may_end = not context.store.is_sqlite or is_locked(error)
                may_wait = may_end and not context.stopping.is_set() and time.monotonic() < end
                if attempt >= _MAX_RETRIES and not may_wait:
                    raise
                time.sleep(0.1 * 2 ** min(attempt, _MAX_RETRIES - 1))
        raise AssertionError

    def _make_messages(self, claimed: Sequence[Delivery], preparing: int) -> Mapping[int, OutgoingMessage]:
        """Make the message of each delivery: all at once, or one at a time if that fails.

        A delivery that fails is deferred, the others continue.
        """
        if not claimed:
            return {}
        context = self._context
        messages: dict[int, OutgoingMessage] = {}
        try:
            messages.update(context.prepare(claimed))
        except Exception:
            # The loop below finds the delivery that fails.
            messages.clear()
        for delivery in claimed:
            if delivery.id in messages:
                continue
            try:
                messages[delivery.id] = context.prepare([delivery])[delivery.id]
            except (OperationalError, InterfaceError):
                # The database went away, which is no fault of the message.
                wait = {"not_before": context.real_clock() + _AFTER_OUTAGE}
                self._results.append((delivery, settling.requeued(delivery) | wait))
            except Exception as error:
                reason = f"the message cannot be made: {type(error).__name__}: {error}"[:500]
                retry = BACKOFF[min(delivery.crashes, len(BACKOFF) - 1)]
                self._results.append((delivery, values_after_crash(delivery, reason, context.clock(), retry=retry)))
        try:
            self._writer.end_preparing(preparing)
        except OSError as error:
            self.stall(str(error))
        return messages

    def _count(
        self, accepted: Sequence[Accepted], results: Sequence[tuple[Delivery, Mapping[str, Any]]], done: _Step
    ) -> None:
        """Add settled messages to the summary."""
        summary, lost, now = self._summary, done.lost, self._context.clock()
        skipped = [settling.skipped(delivery, reason, now) for delivery, reason in done.claim.skipped]
        with self._context.mutex:
            lost_accepted = sum(row[0] in lost for row in accepted)
            summary.states["accepted"] += len(accepted) - lost_accepted
            summary.too_late += lost_accepted
            for delivery, values in results:
                if delivery.id not in lost:
                    summary.states[str(values["state"])] += 1
                elif values["state"] != DeliveryState.PENDING:
                    summary.too_late += 1
            summary.states.update(str(values["state"]) for values in skipped)
        self._window.measure()

    def close(self) -> None:
        """Give back messages that have not begun and settle the rest. Others without an outcome are in doubt."""
        waiting = [*self._ready, *(entry for _, _, entry in self._scheduled), *self._in_progress.values()]
        for permitted in waiting:
            if permitted.has_begun:
                reason = "the sender ended while this message was being sent"
                self.record_outcome(permitted, Outcome(Verdict.UNKNOWN, reason=reason))
            else:
                self._results.append((permitted.delivery, settling.requeued(permitted.delivery)))
        self._ready.clear()
        self._scheduled.clear()
        self._in_progress.clear()
        self._stall_if_refused(is_over=True)
        try:
            self.flush_outcomes()
            if self._accepted or self._results:
                self._advance()
        finally:
            self._writer.close()

    # -- the sending side: MailQueue ----------------------------------------------------------------------------------

    def _room(self) -> int:
        """Return how many more messages may be permitted."""
        total_rate = self._rates.limits(self._context.real_clock().timestamp()).get("", math.inf)
        return self._window.room(len(self._ready) + len(self._in_progress), len(self._scheduled), total_rate)

    def _next(self) -> PermittedDelivery | None:
        if self._scheduled and self._scheduled[0][0] <= self._context.real_clock().timestamp():
            return heapq.heappop(self._scheduled)[2]
        return self._ready.popleft() if self._ready else None

    def take(self) -> PermittedDelivery | None:
        """Return the next permitted delivery that may begin now. Claims more once half of the window is free."""
        if self.is_stopped:
            return None
        permitted = self._next()
        while permitted is None and not self.is_stopped and not self._is_exhausted and (room := self._room()):
            self._advance(room)
            permitted = self._next()
        if permitted is not None:
            self._in_progress[permitted.delivery.id] = permitted
        return permitted

    def seconds_until_next(self) -> float | None:
        """Return after how many seconds to call `take` again, or None once nothing more comes.

        Settles messages that ended long enough ago.
        """
        if (self._accepted or self._results) and time.monotonic() - self._settled_at > _SETTLE_AFTER:
            self._advance()
        if self.is_stopped:
            return None
        if self._ready:
            return 0.0
        if not self._is_exhausted and self._room():
            return 0.0
        if self._scheduled:
            return max(0.0, self._scheduled[0][0] - self._context.real_clock().timestamp())
        return None if self._is_exhausted else _IDLE_WAIT

    def begin(self, group: Sequence[Any]) -> Sequence[bool]:
        """Write the intents to the journal at once. Returns False for messages that may not begin."""
        context = self._context
        if self.is_stopped:
            return [False] * len(group)
        earliest_end = self._earliest_lease_end()
        beginning: list[PermittedDelivery] = [permitted for permitted in group if permitted.lease_end > earliest_end]
        try:
            for _ in beginning:
                context.reached("before-intent")
            while beginning and not self._write_intents(beginning):
                # Somebody unsubscribed, or something was stopped.
                beginning = self._recheck(beginning)
        except OSError as error:
            self.stall(str(error))
            return [False] * len(group)
        earliest_end = self._earliest_lease_end()
        for permitted in beginning:
            if permitted.lease_end > earliest_end:
                permitted.has_begun = True
                context.reached("after-intent")
            else:
                # This process was suspended just before it wrote the intent, so another process may have found none
                # and sent the message. A process suspended after this check has an intent, which puts it in doubt.
                self._writer.queue_outcome(permitted.key, Outcome(Verdict.NOT_STARTED))
        return [permitted.has_begun for permitted in group]

    def _earliest_lease_end(self) -> float:
        """Return when a lease must not end yet, so that a message that begins now has time for its longest wait."""
        return self._context.boot_clock() + 0.4 * self._context.lease.total_seconds()

    def _write_intents(self, group: Sequence[PermittedDelivery]) -> bool:
        versions = {permitted.consent_version for permitted in group}
        return len(versions) == 1 and self._writer.begin([permitted.key for permitted in group], versions.pop())

    def _recheck(self, group: Sequence[PermittedDelivery]) -> list[PermittedDelivery]:
        """Return the messages that may begin although the consent version has changed."""
        deliveries = [permitted.delivery for permitted in group]
        with self._context.store.read() as connection:
            allowed, version = recheck(connection, self._context.owner, deliveries)
        permitted_still = [permitted for permitted in group if permitted.delivery.id in allowed]
        for permitted in permitted_still:
            permitted.consent_version = version
        return permitted_still

    def record_accepted(self, permitted: Any, receipt: str, via: str) -> None:
        """Queue an acceptance for the journal and the ledger."""
        self._has_accepted = True
        if self._refusals:
            self._refusals.clear()
        key = permitted.key
        self._in_progress.pop(key[0], None)
        permitted.has_begun = False
        self._accepted.append((*key, receipt, via))
        self._writer.queue_accepted(key, receipt, via)
        self._window.ended += 1
        self._context.reached("after-outcome")

    def record_outcome(self, permitted: Any, outcome: Outcome) -> None:
        """Queue the outcome for the journal and the ledger."""
        if outcome.verdict is Verdict.ACCEPTED and not outcome.disable:
            self.record_accepted(permitted, outcome.receipt, outcome.via)
            return
        if outcome.disable and outcome.verdict is Verdict.REJECTED:
            # The whole channel is refused, not this post: it waits.
            outcome = replace(outcome, verdict=Verdict.NOT_STARTED)
        context = self._context
        delivery = permitted.delivery
        real_now, measured = context.real_clock(), 1.0 / (self._window.seconds or 0.1)
        values = values_after_attempt(delivery, outcome, context.policies, now=context.clock(), real_now=real_now)
        self.end(permitted, values)
        self._rates.learn(delivery, outcome, measured, real_now.timestamp())
        self._window.ended += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self.stall(self._name_delivery(delivery, outcome.reason))
        if (refusal := find_refusal_of_us(delivery, outcome)) is not None:
            self._refusals.append((delivery.id, refusal, outcome.reason))
            self._stall_if_refused(is_over=False)
        elif values["state"] == DeliveryState.REJECTED and not delivery.channel:
            self._rejected += 1
            if context.breaker.is_too_much(self._rejected, self._window.ended - self._rejected):
                self.stall(f"{self._rejected} of {self._window.ended} mails were refused: {outcome.reason}")
        if outcome.disable:
            self._summary.disabled[self._lane.channel] = outcome.reason
            reason = outcome.reason or "the service asked never to be called again"
            self.stall(self._name_delivery(delivery, reason))
        if permitted.has_begun:
            permitted.has_begun = False
            self._writer.queue_outcome(permitted.key, outcome)
        context.reached("after-outcome")

    def flush_outcomes(self) -> None:
        """Write the queued outcomes to the journal."""
        try:
            self._writer.flush()
        except OSError as error:
            # The ledger may still get the outcomes. A message is in doubt only if the process dies before that.
            self.stall(str(error))

    def end(self, permitted: PermittedDelivery, values: Mapping[str, Any]) -> None:
        """End a delivery with these new values of its row."""
        self._in_progress.pop(permitted.delivery.id, None)
        self._results.append((permitted.delivery, values))

    def give_back(self, permitted: Any) -> None:
        """Make a delivery pending again, because nothing of it was sent. It costs no attempt."""
        if permitted.has_begun:
            permitted.has_begun = False
            self._writer.queue_outcome(permitted.key, Outcome(Verdict.NOT_STARTED))
        self.end(permitted, settling.requeued(permitted.delivery))

    def _stall_if_refused(self, *, is_over: bool) -> None:
        """Stop this lane if its relay refuses us and not single readers. The mails wait until that is mended."""
        refusals = [(refusal, reason) for _, refusal, reason in self._refusals]
        if must_stall(refusals, is_over=is_over, has_accepted=self._has_accepted):
            with self._context.mutex:
                self._summary.refused.update(delivery for delivery, _, _ in self._refusals)
            refusal, reason = refusals[-1]
            self.stall(f"{reason}{f'. What to do: {refusal.kind.mend}' if refusal.kind.mend else ''}")

    def _name_delivery(self, delivery: Delivery, reason: str) -> str:
        """Name the post that a channel refused: if the cause is in the post, a person can cancel it."""
        return f"{reason} (delivery {delivery.id})" if self._lane.channel else reason

    def stall(self, reason: str) -> None:
        """Stop this lane for the rest of the run."""
        with self._context.mutex:
            self._summary.stalled.setdefault(self._lane.key, reason)
