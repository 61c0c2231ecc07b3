"""The ledger's side of sending: deliveries are leased, made, permitted under the lock of consent, and settled.

A slice is `handed` in one transaction before its first byte, together with what has ended meanwhile. Each message is
announced in the journal before it begins and its outcome noted after the reply, so that a crash of the process leaves
at most one message a connection in doubt.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.pipeline.handing import Delivered, Handover, Setting, Task
from tidings.pipeline.lanes import Lane
from tidings.pipeline.step import Ledger, Result
from tidings.pipeline.verdicts import BACKOFF, crashed, settled
from tidings.store import claims, permission, settling
from tidings.store.journal import Writer

GROUP = 200
"""At most so many messages are permitted and not yet settled; a twentieth of a second of sending, where that is less.

A power loss puts that much in doubt. Small groups cost a sync of the disk each: 50 are always allowed within a second.
"""
_SMALL_GROUP = 50
FIRST_GROUP = 10
_SETTLE = 0.05
"""Seconds after which what has ended is settled, however little it is."""
LATER = 60.0
"""Seconds that `rest` gives where more may come any moment."""
AHEAD = 500
"""At most so many are leased, and at most half a second of sending: what is urgent need not wait for long."""


class Desk:
    """One lane of one worker, for one thread: the errand of a relay."""

    def __init__(self, setting: Setting, lane: Lane, writer: Writer, done: Delivered, *, group: int = GROUP) -> None:
        """`group`: the most that may be permitted at once."""
        self._setting = setting
        self._lane = lane
        self._ledger = Ledger(setting, lane)
        self._writer = writer
        self._done = done
        self._group = group
        self._seconds: float | None = None
        """What a message takes, lately."""
        self._counted = (time.monotonic(), 0)
        self._ended = 0
        self._leased: deque[Delivery] = deque()
        self._version = 0
        self._end = 0.0
        """Version and end of what is leased."""
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        """Permitted too, by their places: not to begin before."""
        self._out: dict[int, Task] = {}
        """Taken, and not ended."""
        self._begun: set[int] = set()
        self._taken: deque[tuple[Delivery, Outcome]] = deque()
        self._results: deque[Result] = deque()
        self._is_over = False
        self._settled_at = time.monotonic()

    # -- the ledger's side --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether no further message may begin."""
        return self._setting.stopping.is_set() or self._lane.key in self._done.stalled

    def turn(self) -> bool:
        """Settle what has ended and permit the next slice, in one transaction; lease more first where needed.

        False if there was nothing to do.
        """
        if self.is_stopped:
            return self._settle(())
        # What has ended is settled together with what is permitted: never more than the group is permitted.
        room = self._room()
        if room and not self._leased and not self._is_over:
            self._claim(room)
        return self._settle([self._leased.popleft() for _ in range(min(room, len(self._leased)))])

    def _most(self) -> int:
        """How many may be permitted at once, up to the group."""
        if self._group == 1:
            return 1
        a_second = self._a_second()
        return max(1, min(self._group, int(a_second), max(_SMALL_GROUP, int(a_second / 20))))

    def _a_second(self) -> float:
        """How many messages are sent in a second, as far as is known."""
        return min(self._rate(), FIRST_GROUP if self._seconds is None else 1.0 / max(self._seconds, 1e-6))

    def _rate(self) -> float:
        """Messages a second that the sender as a whole may send."""
        return self._ledger.paces.limits(self._setting.real_clock().timestamp()).get("", math.inf)

    def _claim(self, room: int) -> None:
        setting = self._setting
        setting.reached("before-claim")
        limit = 1 if self._group == 1 else max(room, min(AHEAD, int(self._a_second() / 2)))
        # A tenth sooner than others may take it.
        end = setting.boot_clock() + 0.9 * setting.lease.total_seconds()
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
                portion=self._lane.portion,
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
        made = self._ready_to_go(group)
        wanted = [delivery for delivery in group if delivery.id in made]
        # What ends from here on is the next turn's.
        taken = [self._taken.popleft() for _ in range(len(self._taken))]
        results = [self._results.popleft() for _ in range(len(self._results))]
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
            self._count(taken, results, lost)
        if wanted:
            setting.reached("after-handed")
            self._count_skipped(permitted.skipped)
            for delivery, place in zip(permitted.handed, places, strict=True):
                self._put(Task(delivery, made[delivery.id], permitted.version, self._end, place))
        return True

    def _ready_to_go(self, group: Sequence[Delivery]) -> Mapping[int, Handover]:
        """The bytes of what may still be permitted; the rest is among the results."""
        if not group:
            return {}
        try:
            if self._holds(group):
                self._writer.prepare([(delivery.id, delivery.fence) for delivery in group])
                return self._make(group)
        except OSError as error:
            self.stalled(f"the journal cannot be written: {error}")
        self._results.extend((delivery, settling.give_back(delivery)) for delivery in group)
        return {}

    def _count(self, taken: Sequence[tuple[Delivery, Outcome]], results: Sequence[Result], lost: set[int]) -> None:
        """What was settled leaves the journal and enters the counts."""
        self._writer.cut([(one[0].id, one[0].fence) for one in (*taken, *results)])
        done = self._done
        with self._setting.mutex:
            for delivery, _ in taken:
                done.states["accepted"] += delivery.id not in lost
                done.void += delivery.id in lost
            for delivery, values in results:
                if delivery.id not in lost:
                    done.states[str(values["state"])] += 1
                elif values["state"] != DeliveryState.PENDING:
                    done.void += 1
        self._note_pace()

    def _note_pace(self) -> None:
        since, before = self._counted
        now = time.monotonic()
        if self._ended > before and now - since > 0.01:
            seconds = (now - since) / (self._ended - before)
            self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds
            self._counted = (now, self._ended)

    def _count_skipped(self, skipped: Sequence[tuple[Delivery, Any]]) -> None:
        if skipped:
            now = self._setting.clock()
            with self._setting.mutex:
                self._done.states.update(str(settling.skip(row, why, now)["state"]) for row, why in skipped)

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

    def _holds(self, group: Sequence[Delivery]) -> bool:
        """Whether the lease still holds; made longer when half of it is over."""
        setting = self._setting
        left = self._end - setting.boot_clock()
        if left <= 0:
            return False
        if left < 0.4 * setting.lease.total_seconds():
            end = setting.boot_clock() + 0.9 * setting.lease.total_seconds()
            permitted = self._permitted()
            held = [*group, *self._leased, *(task.delivery for task in permitted)]
            with setting.store.write() as connection:
                settling.renew(connection, setting.owner, held, setting.real_clock() + setting.lease)
            self._end = end
            for task in permitted:
                task.end = end
        return True

    def _permitted(self) -> list[Task]:
        return [*self._ready, *(task for _, _, task in self._later), *self._out.values()]

    def close(self) -> None:
        """Give back what has not begun and settle the rest. What has begun and not ended may have arrived."""
        for task in self._permitted():
            if task.delivery.id in self._begun:
                self.done(task, Outcome(Verdict.UNKNOWN, reason="the sender ended while this was on the wire"))
            else:
                self._results.append((task.delivery, settling.give_back(task.delivery)))
        self._ready.clear()
        self._later.clear()
        self._out.clear()
        self._results.extend((delivery, settling.give_back(delivery)) for delivery in self._leased)
        self._leased.clear()
        try:
            self._settle(())
        finally:
            self._writer.close()
            self._ledger.close()

    # -- the wire's side ----------------------------------------------------------------------------------------------

    def _put(self, task: Task) -> None:
        if task.place:
            heapq.heappush(self._later, (task.place, task.delivery.id, task))
        else:
            self._ready.append(task)

    def _room(self) -> int:
        """How many more may be permitted: a slice, once half of what is sent in a second is free."""
        most, busy = self._most(), len(self._ready) + len(self._out)
        if busy > most // 2:
            return 0
        # Behind a slow domain others may go; behind the rate of all nobody may.
        most_of_all = self._group if self._rate() == math.inf else most
        return max(0, min(max(1, most // 2), most_of_all - busy - len(self._later)))

    def _next(self) -> Task | None:
        if self._later and self._later[0][0] <= self._setting.real_clock().timestamp():
            return heapq.heappop(self._later)[2]
        return self._ready.popleft() if self._ready else None

    def take(self) -> Task | None:
        """The next permitted delivery whose moment has come; permits more once half of the group is free."""
        task = self._next()
        while task is None and not self.is_stopped and (self._leased or not self._is_over) and self._room():
            self.turn()
            task = self._next()
        while task is not None and not self.is_stopped:
            if task.end - self._setting.boot_clock() > 0:
                self._out[task.delivery.id] = task
                return task
            self.back(task)
            task = self._next()
        if task is not None:
            self._ready.appendleft(task)
        return None

    def rest(self) -> float | None:
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

    def begin(self, task: Any) -> bool:
        """Announce it in the journal; False, and nothing stands there, if it may not begin any more."""
        setting = self._setting
        delivery = task.delivery
        if self.is_stopped or task.end - setting.boot_clock() <= 0:
            return False
        setting.reached("before-intent")
        try:
            while not self._writer.intent(delivery.id, delivery.fence, task.version):
                # Somebody has left, or something was stopped.
                with setting.store.read() as connection:
                    version = permission.may_begin(connection, delivery, owner=setting.owner)
                if version is None:
                    return False
                task.version = version
        except (OSError, DBAPIError) as error:
            self.stalled(f"the journal cannot be written: {error}")
            return False
        if task.end - setting.boot_clock() <= 0:
            # Stopped right before the intent stood: somebody else may have found none, and sent it. Who is stopped
            # after this look is found to be in doubt first.
            with contextlib.suppress(OSError, DBAPIError):
                self._writer.outcome(delivery.id, delivery.fence, Outcome(Verdict.NOT_STARTED))
            return False
        self._begun.add(delivery.id)
        setting.reached("after-intent")
        return True

    def done(self, task: Any, outcome: Outcome) -> None:
        """Note the outcome in the journal and among the results."""
        setting = self._setting
        delivery = task.delivery
        self._out.pop(delivery.id, None)
        begun = delivery.id in self._begun
        self._begun.discard(delivery.id)
        if outcome.verdict is Verdict.ACCEPTED:
            self._taken.append((delivery, outcome))
        else:
            now = setting.clock()
            values = settled(delivery, outcome, setting.policies, now=now, real_now=setting.real_clock())
            self._results.append((delivery, values))
            self._ledger.paces.heed(delivery, outcome, 1.0 / (self._seconds or 0.1), setting.real_clock().timestamp())
        self._ended += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self.stalled(outcome.reason)
        if outcome.disable:
            self._done.disabled[self._lane.channel] = outcome.reason
            self.stalled(outcome.reason or "the other side asked never to be called again")
        if begun:
            try:
                self._writer.outcome(delivery.id, delivery.fence, outcome)
            except (OSError, DBAPIError) as error:
                # The ledger may still learn it; only if the process dies before that the message is in doubt.
                self.stalled(f"the journal cannot be written: {error}")
        setting.reached("after-outcome")

    def keep(self, task: Task, values: Mapping[str, Any]) -> None:
        """It ends without being sent, with these values of its row."""
        self._out.pop(task.delivery.id, None)
        self._results.append((task.delivery, values))

    def back(self, task: Any) -> None:
        """Nothing of it was sent: it is pending again, which costs nothing."""
        self.keep(task, settling.give_back(task.delivery))

    def stalled(self, reason: str) -> None:
        """Nothing more goes on this lane in this run."""
        with self._setting.mutex:
            self._done.stalled.setdefault(self._lane.key, reason)
