"""A delivery batch: claim deliveries, make their messages, permit them under the consent lock, and settle the outcomes.

One transaction permits a group before its first byte and settles ended messages. The journal gets the intent of each
message before it begins, and its outcome after the reply. So a crash of the process leaves at most one message for
each connection in doubt.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tidings.model.delivery import Delivery, DeliveryState, Outcome, SkipReason, Verdict
from tidings.pipeline.deliver.context import DeliveryContext, DeliverySummary, Lane, OutgoingMessage, PermittedDelivery
from tidings.pipeline.deliver.outcomes import BACKOFF, values_after_attempt, values_after_crash
from tidings.pipeline.deliver.pacing import SendWindow
from tidings.pipeline.deliver.transaction import BatchTransaction, RowResult
from tidings.store.delivery import claims, permission, settling
from tidings.store.delivery.journal import JournalWriter, accepted_line, outcome_line
from tidings.store.delivery.sqlite_fast_path import Taken

_SETTLE_AFTER = 0.05
"""Seconds after which ended messages are settled, however few they are."""
_IDLE_WAIT = 60.0
"""Seconds that `seconds_until_next` returns if more may come at any time."""


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
        self._transaction = BatchTransaction(context, lane)
        self._writer = writer
        self._summary = summary
        self._window = window
        self._leased: deque[Delivery] = deque()
        self._consent_version = 0
        self._lease_end = 0.0
        """End of the lease on `_leased`."""
        self._ready: deque[PermittedDelivery] = deque()
        self._scheduled: list[tuple[float, int, PermittedDelivery]] = []
        """A heap of permitted messages that must not begin before their time."""
        self._in_progress: dict[int, PermittedDelivery] = {}
        self._accepted: list[Taken] = []
        self._results: list[RowResult] = []
        """`_accepted` and `_results` have ended and are not settled."""
        self._is_exhausted = False
        self._settled_at = time.monotonic()

    # -- the ledger's side --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether no further message may begin."""
        return self._context.stopping.is_set() or self._lane.key in self._summary.stalled

    def _advance(self) -> None:
        """Settle ended messages and permit the next group, in one transaction. Claims more first if needed."""
        if self.is_stopped:
            self._settle(())
            return
        # Settle and permit together, so that the permitted messages never exceed the window.
        room = self._room()
        if room and not self._leased and not self._is_exhausted:
            if self._results:
                self._settle(())
            if self._advance_fast(room):
                return
            self._claim(room)
        self._settle([self._leased.popleft() for _ in range(min(room, len(self._leased)))])

    def _advance_fast(self, room: int) -> bool:
        """Settle and claim in one SQLite step. Returns False, unchanged, if the batch is not plain first sends."""
        context = self._context
        accepted, lease_end = self._accepted, context.lease_end()
        steps = ("claim", "settle", "handed") if accepted else ("claim", "handed")
        for step in steps:
            context.reached(f"before-{step}")
        granted = self._transaction.run_fast_path(accepted, room)
        if granted is None:
            return False
        self._accepted, self._settled_at = [], time.monotonic()
        for step in steps:
            context.reached(f"after-{step}")
        self._is_exhausted = granted.is_over
        messages = self._make_messages(granted.deliveries)
        self._ready.extend(
            PermittedDelivery(delivery, messages[delivery.id], granted.version, lease_end)
            for delivery in granted.deliveries
            if delivery.id in messages
        )
        if accepted:
            self._count(accepted, (), set())
        return True

    def _total_rate(self) -> float:
        """Return how many messages a second the whole sender may send."""
        return self._transaction.rates.limits(self._context.real_clock().timestamp()).get("", math.inf)

    def _claim(self, room: int) -> None:
        context = self._context
        context.reached("before-claim")
        limit = self._window.lease_size(room, self._total_rate())
        lease_end = context.lease_end()
        real_now = context.real_clock()
        lease = self._transaction.write(
            lambda connection: claims.claim(
                connection,
                owner=context.owner,
                channel=self._lane.channel,
                limit=limit,
                now=context.clock(),
                real_now=real_now,
                until=real_now + context.lease,
                only=context.only,
                share=self._lane.share,
            )
        )
        context.reached("after-claim")
        self._consent_version, self._lease_end = lease.version, lease_end
        self._leased.extend(lease.deliveries)
        self._count_skipped(lease.skipped)
        self._is_exhausted = lease.is_empty

    def _settle(self, group: Sequence[Delivery]) -> None:
        """Write ended messages and permit `group`, in one transaction."""
        context = self._context
        if group and not self._keep_lease(group):
            self._requeue(group)
            group = ()
        messages = self._make_messages(group)
        candidates = [delivery for delivery in group if delivery.id in messages]
        accepted, self._accepted = self._accepted, []
        results, self._results = self._results, []
        steps = (["settle"] if accepted or results else []) + (["handed"] if candidates else [])
        if not steps:
            return
        for step in steps:
            context.reached(f"before-{step}")
        settlement = self._transaction.settle(accepted, results, candidates, self._consent_version)
        self._settled_at = time.monotonic()
        for step in steps:
            context.reached(f"after-{step}")
        self._count_skipped(settlement.skipped)
        for delivery, not_before in settlement.permitted:
            permitted = PermittedDelivery(
                delivery, messages[delivery.id], settlement.consent_version, self._lease_end, not_before
            )
            if not_before:
                heapq.heappush(self._scheduled, (not_before, delivery.id, permitted))
            else:
                self._ready.append(permitted)
        if accepted or results:
            self._count(accepted, results, settlement.lost)

    def _requeue(self, deliveries: Sequence[Delivery]) -> None:
        self._results.extend((delivery, settling.requeued(delivery)) for delivery in deliveries)

    def _make_messages(self, group: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]:
        """Make the message of each delivery. Failures are added to the results."""
        if not group:
            return {}
        try:
            self._writer.begin_preparing([(delivery.id, delivery.fence) for delivery in group])
            messages = self._prepare(group)
            self._writer.end_preparing()
        except (OSError, SQLAlchemyError) as error:
            self.stall(f"the journal cannot be written: {error}")
            self._requeue(group)
            return {}
        return messages

    def _prepare(self, group: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        """Prepare all at once, or one at a time if that fails. A failing delivery is deferred; the others continue."""
        context = self._context
        messages: dict[int, OutgoingMessage] = {}
        try:
            messages.update(context.prepare(group))
        except Exception:
            # The loop below prepares one at a time and finds the delivery that fails.
            messages.clear()
        for delivery in group:
            if delivery.id in messages:
                continue
            try:
                messages[delivery.id] = context.prepare([delivery])[delivery.id]
            except Exception as error:
                reason = f"the message cannot be made: {type(error).__name__}: {error}"[:500]
                retry = BACKOFF[min(delivery.crashes, len(BACKOFF) - 1)]
                self._results.append((delivery, values_after_crash(delivery, reason, context.clock(), retry=retry)))
        return messages

    def _count(self, accepted: Sequence[Taken], results: Sequence[RowResult], lost: set[int]) -> None:
        """Remove settled messages from the journal and add them to the summary."""
        self._writer.remove_settled(
            [*[row[:2] for row in accepted], *[(delivery.id, delivery.fence) for delivery, _ in results]]
        )
        summary = self._summary
        with self._context.mutex:
            lost_accepted = sum(row[0] in lost for row in accepted)
            summary.states["accepted"] += len(accepted) - lost_accepted
            summary.too_late += lost_accepted
            for delivery, values in results:
                if delivery.id not in lost:
                    summary.states[str(values["state"])] += 1
                elif values["state"] != DeliveryState.PENDING:
                    summary.too_late += 1
        self._window.measure()

    def _count_skipped(self, skipped: Sequence[tuple[Delivery, SkipReason]]) -> None:
        if skipped:
            now = self._context.clock()
            with self._context.mutex:
                self._summary.states.update(str(settling.skipped(row, reason, now)["state"]) for row, reason in skipped)

    def _keep_lease(self, group: Sequence[Delivery]) -> bool:
        """Return whether the lease is still valid. Renews it when more than half of it is over."""
        context = self._context
        left = self._lease_end - context.boot_clock()
        if left <= 0:
            return False
        if left < 0.4 * context.lease.total_seconds():
            lease_end = context.lease_end()
            permitted = [entry for entry in self._permitted() if entry.lease_end > context.boot_clock()]
            held = [*group, *self._leased, *(entry.delivery for entry in permitted)]
            with context.store.write() as connection:
                settling.renew_leases(connection, context.owner, held, context.real_clock() + context.lease)
            self._lease_end = lease_end
            for entry in permitted:
                entry.lease_end = lease_end
        return True

    def _permitted(self) -> list[PermittedDelivery]:
        return [*self._ready, *(entry for _, _, entry in self._scheduled), *self._in_progress.values()]

    def close(self) -> None:
        """Give back messages that have not begun and settle the rest. Others without an outcome are in doubt."""
        for permitted in self._permitted():
            if permitted.has_begun:
                reason = "the sender ended while this message was being sent"
                self.record_outcome(permitted, Outcome(Verdict.UNKNOWN, reason=reason))
            else:
                self._requeue([permitted.delivery])
        self._ready.clear()
        self._scheduled.clear()
        self._in_progress.clear()
        self._requeue(self._leased)
        self._leased.clear()
        try:
            self.flush_outcomes()
            self._settle(())
        finally:
            self._transaction.close()
            self._writer.close()

    # -- the sending side: MailQueue ----------------------------------------------------------------------------------

    def _room(self) -> int:
        """Return how many more messages may be permitted."""
        permitted = len(self._ready) + len(self._in_progress)
        return self._window.room(permitted, len(self._scheduled), self._total_rate())

    def _next(self) -> PermittedDelivery | None:
        if self._scheduled and self._scheduled[0][0] <= self._context.real_clock().timestamp():
            return heapq.heappop(self._scheduled)[2]
        return self._ready.popleft() if self._ready else None

    def take(self) -> PermittedDelivery | None:
        """Return the next permitted delivery that may begin now. Permits more once half of the window is free."""
        permitted = self._next()
        while permitted is None and not self.is_stopped and (self._leased or not self._is_exhausted) and self._room():
            self._advance()
            permitted = self._next()
        if permitted is not None and self.is_stopped:
            self._ready.appendleft(permitted)
            return None
        if permitted is not None:
            self._in_progress[permitted.delivery.id] = permitted
        return permitted

    def seconds_until_next(self) -> float | None:
        """Return after how many seconds to call `take` again, or None once nothing more comes.

        Settles messages that ended long enough ago.
        """
        if (self._accepted or self._results) and time.monotonic() - self._settled_at > _SETTLE_AFTER:
            self._settle(())
        if self.is_stopped:
            return None
        if self._ready:
            return 0.0
        if self._leased or not self._is_exhausted:
            if self._room():
                return 0.0
        elif not self._scheduled:
            return None
        if not self._scheduled:
            return _IDLE_WAIT
        return max(0.0, self._scheduled[0][0] - self._context.real_clock().timestamp())

    def begin(self, group: Sequence[Any]) -> Sequence[bool]:
        """Write the intents to the journal at once. Returns False for messages that may not begin."""
        context = self._context
        if self.is_stopped:
            return [False] * len(group)
        now = context.boot_clock()
        beginning: list[PermittedDelivery] = [entry for entry in group if entry.lease_end > now]
        try:
            for _ in beginning:
                context.reached("before-intent")
            while beginning and not self._write_intents(beginning):
                # Somebody unsubscribed, or something was stopped.
                beginning = self._recheck_consent(beginning)
        except (OSError, SQLAlchemyError) as error:
            self.stall(f"the journal cannot be written: {error}")
            return [False] * len(group)
        now = context.boot_clock()
        for permitted in beginning:
            if permitted.lease_end > now:
                permitted.has_begun = True
                context.reached("after-intent")
            else:
                # This process was suspended just before it wrote the intent, so another process may have found none
                # and sent the message. A process suspended after this check has an intent, which puts it in doubt.
                self._writer.queue(outcome_line(*permitted.key, Outcome(Verdict.NOT_STARTED)))
        return [permitted.has_begun for permitted in group]

    def _write_intents(self, group: Sequence[PermittedDelivery]) -> bool:
        versions = {permitted.consent_version for permitted in group}
        return len(versions) == 1 and self._writer.begin([permitted.key for permitted in group], versions.pop())

    def _recheck_consent(self, group: Sequence[PermittedDelivery]) -> list[PermittedDelivery]:
        """Return the messages that may begin although the consent version has changed."""
        allowed = []
        for permitted in group:
            with self._context.store.read() as connection:
                version = permission.may_begin(connection, permitted.delivery, owner=self._context.owner)
            if version is not None:
                permitted.consent_version = version
                allowed.append(permitted)
        return allowed

    def record_accepted(self, permitted: Any, receipt: str, via: str) -> None:
        """Queue an acceptance for the journal and the ledger."""
        delivery = permitted.delivery
        self._in_progress.pop(delivery.id, None)
        permitted.has_begun = False
        self._accepted.append((delivery.id, delivery.fence, receipt, via))
        self._writer.queue(accepted_line(delivery.id, delivery.fence, receipt, via))
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
        self._transaction.rates.learn(delivery, outcome, measured, real_now.timestamp())
        self._window.ended += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self.stall(outcome.reason)
        if outcome.disable:
            self._summary.disabled[self._lane.channel] = outcome.reason
            self.stall(outcome.reason or "the service asked never to be called again")
        if permitted.has_begun:
            permitted.has_begun = False
            self._writer.queue(outcome_line(delivery.id, delivery.fence, outcome))
        context.reached("after-outcome")

    def flush_outcomes(self) -> None:
        """Write the queued outcomes to the journal."""
        try:
            self._writer.flush()
        except (OSError, SQLAlchemyError) as error:
            # The ledger may still get the outcomes. A message is in doubt only if the process dies before that.
            self.stall(f"the journal cannot be written: {error}")

    def end(self, permitted: PermittedDelivery, values: Mapping[str, Any]) -> None:
        """End a delivery with these new values of its row."""
        self._in_progress.pop(permitted.delivery.id, None)
        self._results.append((permitted.delivery, values))

    def give_back(self, permitted: Any) -> None:
        """Make a delivery pending again, because nothing of it was sent. It costs no attempt."""
        delivery = permitted.delivery
        if permitted.has_begun:
            permitted.has_begun = False
            self._writer.queue(outcome_line(delivery.id, delivery.fence, Outcome(Verdict.NOT_STARTED)))
        self.end(permitted, settling.requeued(delivery))

    def stall(self, reason: str) -> None:
        """Stop this lane for the rest of the run."""
        with self._context.mutex:
            self._summary.stalled.setdefault(self._lane.key, reason)
