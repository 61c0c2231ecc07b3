"""The ledger's side of sending: deliveries are leased, made, permitted under the lock of consent, and settled.

A slice is `handed` in one transaction before its first byte, together with what has ended meanwhile. Each message is
announced in the journal before it begins and its outcome noted after the reply, so that a crash of the process leaves
at most one message a connection in doubt.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.pipeline.deliver.allowance import SendWindow
from tidings.pipeline.deliver.context import DeliveryContext, DeliverySummary, OutgoingMessage, PermittedDelivery
from tidings.pipeline.deliver.lanes import Lane
from tidings.pipeline.deliver.outcomes import BACKOFF, values_after_attempt, values_after_crash
from tidings.pipeline.deliver.transaction import BatchTransaction, RowResult
from tidings.store.delivery import claims, permission, settling
from tidings.store.delivery.journal import JournalWriter, accepted_line, outcome_line
from tidings.store.delivery.sqlite_fast_path import Taken

_SETTLE = 0.05
"""Seconds after which what has ended is settled, however little it is."""
LATER = 60.0
"""Seconds that `rest` gives where more may come any moment."""


class DeliveryBatch:
    """One lane of one worker, for one thread: the queue of a relay."""

    def __init__(
        self, setting: DeliveryContext, lane: Lane, writer: JournalWriter, done: DeliverySummary, allowance: SendWindow
    ) -> None:
        """`writer` is its own, and closed with it."""
        self._setting = setting
        self._lane = lane
        self._key = lane.key
        self._ledger = BatchTransaction(setting, lane)
        self._writer = writer
        self._done = done
        self._allowance = allowance
        self._leased: deque[Delivery] = deque()
        self._version = 0
        self._end = 0.0
        """Version and end of what is leased."""
        self._ready: deque[PermittedDelivery] = deque()
        self._later: list[tuple[float, int, PermittedDelivery]] = []
        """Permitted too, by their places: not to begin before."""
        self._out: dict[int, PermittedDelivery] = {}
        """Taken, and not ended."""
        self._taken: list[Taken] = []
        self._results: list[RowResult] = []
        self._is_over = False
        self._settled_at = time.monotonic()

    # -- the ledger's side --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether no further message may begin."""
        return self._setting.stopping.is_set() or self._key in self._done.stalled

    def turn(self) -> bool:
        """Settle what has ended and permit the next slice, in one transaction; lease more first where needed.

        False if there was nothing to do.
        """
        if self.is_stopped:
            return self._settle(())
        # What has ended is settled with what is permitted: never more than the group is permitted.
        room = self._room()
        if room and not self._leased and not self._is_over:
            if self._results:
                self._settle(())
            if self._usual_turn(room):
                return True
            self._claim(room)
        return self._settle([self._leased.popleft() for _ in range(min(room, len(self._leased)))])

    def _usual_turn(self, room: int) -> bool:
        """The same by the shortest way; False, and nothing was done, where that does not lead there."""
        setting = self._setting
        taken, end = self._taken, setting.lease_end()
        steps = ("claim", "settle", "handed") if taken else ("claim", "handed")
        for step in steps:
            setting.reached(f"before-{step}")
        granted = self._ledger.usual_step(taken, room)
        if granted is None:
            return False
        self._taken, self._settled_at = [], time.monotonic()
        for step in steps:
            setting.reached(f"after-{step}")
        self._is_over = granted.is_over
        made, version = self._made(granted.deliveries), granted.version
        self._ready.extend(
            [PermittedDelivery(one, made[one.id], version, end) for one in granted.deliveries if one.id in made]
        )
        if taken:
            self._count(taken, (), set())
        return True

    def _rate(self) -> float:
        """Messages a second that the sender as a whole may send."""
        return self._ledger.paces.limits(self._setting.real_clock().timestamp()).get("", math.inf)

    def _claim(self, room: int) -> None:
        setting = self._setting
        setting.reached("before-claim")
        limit = self._allowance.to_lease(room, self._rate())
        end = setting.lease_end()
        real_now = setting.real_clock()
        lease = self._ledger.write(
            lambda connection: claims.claim(
                connection,
                owner=setting.owner,
                channel=self._lane.channel,
                limit=limit,
                now=setting.clock(),
                real_now=real_now,
                until=real_now + setting.lease,
                only=setting.only,
                share=self._lane.portion,
            )
        )
        setting.reached("after-claim")
        self._version, self._end = lease.version, end
        self._leased.extend(lease.deliveries)
        self._count_skipped(lease.skipped)
        self._is_over = lease.is_empty

    def _settle(self, group: Sequence[Delivery]) -> bool:
        """Write what has ended, and permit `group`, in one transaction; False if there was neither."""
        setting = self._setting
        if group and not self._holds(group):
            self._results.extend((delivery, settling.requeued(delivery)) for delivery in group)
            group = ()
        made = self._made(group)
        wanted = [delivery for delivery in group if delivery.id in made]
        taken, self._taken = self._taken, []
        results, self._results = self._results, []
        if not (wanted or taken or results):
            return False
        if taken or results:
            setting.reached("before-settle")
        if wanted:
            setting.reached("before-handed")
        lost, permitted, places = self._ledger.step(taken, results, wanted, self._version)
        self._settled_at = time.monotonic()
        if taken or results:
            setting.reached("after-settle")
        if wanted:
            setting.reached("after-handed")
            self._count_skipped(permitted.skipped)
            for delivery, place in zip(permitted.handed, places, strict=True):
                self._put(PermittedDelivery(delivery, made[delivery.id], permitted.version, self._end, place))
        if taken or results:
            self._count(taken, results, lost)
        return True

    def _made(self, group: Sequence[Delivery]) -> Mapping[int, OutgoingMessage]:
        """The bytes of each; what they cannot be made of now is among the results."""
        if not group:
            return {}
        try:
            self._writer.begin_preparing([(delivery.id, delivery.fence) for delivery in group])
            made = self._make(group)
            self._writer.end_preparing()
        except (OSError, SQLAlchemyError) as error:
            self.stall(f"the journal cannot be written: {error}")
            self._results.extend((delivery, settling.requeued(delivery)) for delivery in group)
            return {}
        return made

    def _count(self, taken: Sequence[Taken], results: Sequence[RowResult], lost: set[int]) -> None:
        """What was settled leaves the journal and enters the counts."""
        self._writer.remove_settled([*[one[:2] for one in taken], *[(one.id, one.fence) for one, _ in results]])
        done = self._done
        with self._setting.mutex:
            void = sum(one[0] in lost for one in taken)
            done.states["accepted"] += len(taken) - void
            done.too_late += void
            for delivery, values in results:
                if delivery.id not in lost:
                    done.states[str(values["state"])] += 1
                elif values["state"] != DeliveryState.PENDING:
                    done.too_late += 1
        self._allowance.note_pace()

    def _count_skipped(self, skipped: Sequence[tuple[Delivery, Any]]) -> None:
        if skipped:
            now = self._setting.clock()
            with self._setting.mutex:
                self._done.states.update(str(settling.skipped(row, why, now)["state"]) for row, why in skipped)

    def _make(self, group: Sequence[Delivery]) -> dict[int, OutgoingMessage]:
        """The bytes of each. One of which none can be made is set aside for a while, and the others go on."""
        made: dict[int, OutgoingMessage] = {}
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
                self._results.append(
                    (delivery, values_after_crash(delivery, reason, self._setting.clock(), retry=retry))
                )
        return made

    def _holds(self, group: Sequence[Delivery]) -> bool:
        """Whether the lease still holds; made longer when half of it is over."""
        setting = self._setting
        left = self._end - setting.boot_clock()
        if left <= 0:
            return False
        if left < 0.4 * setting.lease.total_seconds():
            end = setting.lease_end()
            permitted = [task for task in self._permitted() if task.end > setting.boot_clock()]
            held = [*group, *self._leased, *(task.delivery for task in permitted)]
            with setting.store.write() as connection:
                settling.renew_leases(connection, setting.owner, held, setting.real_clock() + setting.lease)
            self._end = end
            for task in permitted:
                task.end = end
        return True

    def _permitted(self) -> list[PermittedDelivery]:
        return [*self._ready, *(task for _, _, task in self._later), *self._out.values()]

    def close(self) -> None:
        """Give back what has not begun and settle the rest. What has begun and not ended may have arrived."""
        for task in self._permitted():
            if task.has_begun:
                self.record_outcome(
                    task, Outcome(Verdict.UNKNOWN, reason="the sender ended while this was on the wire")
                )
            else:
                self._results.append((task.delivery, settling.requeued(task.delivery)))
        self._ready.clear()
        self._later.clear()
        self._out.clear()
        self._results.extend((delivery, settling.requeued(delivery)) for delivery in self._leased)
        self._leased.clear()
        try:
            self.flush_outcomes()
            self._settle(())
        finally:
            self._ledger.close()
            self._writer.close()

    # -- the wire's side ----------------------------------------------------------------------------------------------

    def _put(self, task: PermittedDelivery) -> None:
        if task.place:
            heapq.heappush(self._later, (task.place, task.delivery.id, task))
        else:
            self._ready.append(task)

    def _room(self) -> int:
        """How many more may be permitted."""
        return self._allowance.room(len(self._ready) + len(self._out), len(self._later), self._rate())

    def _next(self) -> PermittedDelivery | None:
        if self._later and self._later[0][0] <= self._setting.real_clock().timestamp():
            return heapq.heappop(self._later)[2]
        return self._ready.popleft() if self._ready else None

    def take(self) -> PermittedDelivery | None:
        """The next permitted delivery whose moment has come; permits more once half of the group is free."""
        task = self._next()
        while task is None and not self.is_stopped and (self._leased or not self._is_over) and self._room():
            self.turn()
            task = self._next()
        if task is not None and self.is_stopped:
            self._ready.appendleft(task)
            return None
        if task is not None:
            self._out[task.delivery.id] = task
        return task

    def seconds_until_next(self) -> float | None:
        """Seconds until `take` may give something by itself; None once nothing more comes. Settles what has waited."""
        if (self._taken or self._results) and time.monotonic() - self._settled_at > _SETTLE:
            self._settle(())
        if self.is_stopped:
            return None
        if self._ready:
            return 0.0
        if self._leased or not self._is_over:
            if self._room():
                return 0.0
        elif not self._later:
            return None
        return max(0.0, self._later[0][0] - self._setting.real_clock().timestamp()) if self._later else LATER

    def begin(self, tasks: Sequence[Any]) -> Sequence[bool]:
        """Announce them in the journal, by one write; False for one that may not begin: nothing stands there then."""
        setting = self._setting
        if self.is_stopped:
            return [False] * len(tasks)
        now = setting.boot_clock()
        going: list[PermittedDelivery] = [task for task in tasks if task.end > now]
        try:
            for _ in going:
                setting.reached("before-intent")
            while going and not self._announce(going):
                # Somebody has left, or something was stopped.
                going = self._still(going)
        except (OSError, SQLAlchemyError) as error:
            self.stall(f"the journal cannot be written: {error}")
            return [False] * len(tasks)
        now = setting.boot_clock()
        for task in going:
            if task.end > now:
                task.has_begun = True
                setting.reached("after-intent")
            else:
                # Stopped right before the intent stood: somebody else may have found none, and sent it. Who is stopped
                # after this look is found to be in doubt first.
                self._writer.queue(outcome_line(*task.key, Outcome(Verdict.NOT_STARTED)))
        return [task.has_begun for task in tasks]

    def _announce(self, tasks: Sequence[PermittedDelivery]) -> bool:
        versions = {task.version for task in tasks}
        return len(versions) == 1 and self._writer.begin([task.key for task in tasks], versions.pop())

    def _still(self, tasks: Sequence[PermittedDelivery]) -> list[PermittedDelivery]:
        """Those that may begin though the counter of consent has moved on."""
        found = []
        for task in tasks:
            with self._setting.store.read() as connection:
                version = permission.may_begin(connection, task.delivery, owner=self._setting.owner)
            if version is not None:
                task.version = version
                found.append(task)
        return found

    def record_accepted(self, task: Any, receipt: str, via: str) -> None:
        """Keep it for the journal and the ledger."""
        delivery = task.delivery
        self._out.pop(delivery.id, None)
        task.has_begun = False
        self._taken.append((delivery.id, delivery.fence, receipt, via))
        self._writer.queue(accepted_line(delivery.id, delivery.fence, receipt, via))
        self._allowance.ended += 1
        self._setting.reached("after-outcome")

    def record_outcome(self, task: Any, outcome: Outcome) -> None:
        """Keep the outcome for the journal and the ledger."""
        if outcome.verdict is Verdict.ACCEPTED and not outcome.disable:
            self.record_accepted(task, outcome.receipt, outcome.via)
            return
        setting = self._setting
        delivery = task.delivery
        self._out.pop(delivery.id, None)
        real_now, pace = setting.real_clock(), 1.0 / (self._allowance.seconds or 0.1)
        values = values_after_attempt(delivery, outcome, setting.policies, now=setting.clock(), real_now=real_now)
        self._results.append((delivery, values))
        self._ledger.paces.heed(delivery, outcome, pace, real_now.timestamp())
        self._allowance.ended += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self.stall(outcome.reason)
        if outcome.disable:
            self._done.disabled[self._lane.channel] = outcome.reason
            self.stall(outcome.reason or "the other side asked never to be called again")
        if task.has_begun:
            task.has_begun = False
            self._writer.queue(outcome_line(delivery.id, delivery.fence, outcome))
        setting.reached("after-outcome")

    def flush_outcomes(self) -> None:
        """What has ended stands in the journal."""
        try:
            self._writer.flush()
        except (OSError, SQLAlchemyError) as error:
            # The ledger may still learn it; only if the process dies before that the message is in doubt.
            self.stall(f"the journal cannot be written: {error}")

    def keep(self, task: PermittedDelivery, values: Mapping[str, Any]) -> None:
        """It ends without being sent, with these values of its row."""
        self._out.pop(task.delivery.id, None)
        self._results.append((task.delivery, values))

    def give_back(self, task: Any) -> None:
        """Nothing of it was sent: it is pending again, which costs nothing."""
        if task.has_begun:
            task.has_begun = False
            self._writer.queue(outcome_line(task.delivery.id, task.delivery.fence, Outcome(Verdict.NOT_STARTED)))
        self.keep(task, settling.requeued(task.delivery))

    def stall(self, reason: str) -> None:
        """Nothing more goes on this lane in this run."""
        with self._setting.mutex:
            self._done.stalled.setdefault(self._key, reason)
