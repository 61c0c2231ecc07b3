"""The ledger's side of sending: deliveries are leased, made, permitted under the lock of consent, and settled.

A slice is `handed` in one transaction before its first byte, together with what has ended meanwhile. Each message is
announced in the journal before it begins and its outcome noted after the reply, so that a crash of the process leaves
at most one message a connection in doubt.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from tidings.channels.smtp import stuffed
from tidings.model.delivery import Delivery, DeliveryState, Outcome, Verdict
from tidings.pipeline.verdicts import BACKOFF, ResendPolicies, crashed, settled
from tidings.store import claims, pace, permission, settling
from tidings.store.engine import Store
from tidings.store.journal import Writer
from tidings.store.quick import QuickLedger

T = TypeVar("T")
Result = tuple[Delivery, Mapping[str, Any]]
"""A delivery and the new values of its row."""
GROUP = 50
"""At most so many messages are permitted and not yet settled, and at most one second of sending."""
FIRST_GROUP = 10
_SETTLE = 0.05
"""Seconds after which what has ended is settled, however little it is."""
LATER = 60.0
"""Seconds that `rest` gives where more may come any moment."""
AHEAD = 500
"""At most so many are leased, and at most two seconds of sending: what is urgent need not wait for long."""


@dataclass(slots=True)
class Handover:
    """What goes out for one delivery: a message with its envelope, or a post's body with its key."""

    data: bytes = b""
    sender: str = ""
    recipient: str = ""
    key: str = ""
    wire: Sequence[bytes] = ()
    """A mail in pieces, ready for SMTP: ASCII, lines end in CRLF, none begins with a dot. `data` is empty then."""

    @property
    def whole(self) -> bytes:
        """The message in one piece."""
        return self.data or b"".join(self.wire)


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
    """What every desk needs. `clock` is the newsroom's; leases and Retry-After go by `real_clock`."""

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


@dataclass(slots=True)
class Task:
    """One permitted delivery. Its `wire`, sender and recipient are what a mail relay needs."""

    delivery: Delivery
    handover: Handover
    version: int
    end: float
    """When its lease is over, by the clock that nobody sets."""
    place: float = 0.0
    """Not before this moment of real time, in seconds since 1970: its place in the newsroom's one row of mail."""

    @property
    def sender(self) -> str:
        """The return path."""
        return self.handover.sender

    @property
    def recipient(self) -> str:
        """Who gets it."""
        return self.handover.recipient

    @property
    def wire(self) -> Sequence[bytes]:
        """The message in pieces."""
        return self.handover.wire or (stuffed(self.handover.data),)

    @property
    def is_ascii(self) -> bool:
        """Whether it needs no 8BITMIME."""
        return bool(self.handover.wire) or self.handover.data.isascii()


class Desk:
    """One lane (a channel, or e-mail: the empty name) of one worker, for one thread: the errand of a relay."""

    def __init__(self, setting: Setting, lane: str, writer: Writer, done: Delivered, *, group: int = GROUP) -> None:
        """`group`: the most that may be permitted at once."""
        self._setting = setting
        self._lane = lane
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
        self._out: dict[int, Task] = {}
        """Taken, and not ended."""
        self._begun: set[int] = set()
        self._taken: deque[tuple[Delivery, Outcome]] = deque()
        self._results: deque[Result] = deque()
        self._is_over = False
        self._settled_at = time.monotonic()
        path = setting.store.path
        self._quick = QuickLedger(path) if path is not None else None

    # -- the ledger's side --------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether no further message may begin."""
        return self._setting.stopping.is_set() or self._lane in self._done.stalled

    def turn(self) -> bool:
        """Settle what has ended and permit the next slice, in one transaction; lease more first where needed.

        False if there was nothing to do.
        """
        if self.is_stopped:
            return self._settle(())
        # What has ended is settled together with what is permitted: never more than the group is permitted.
        most = self._most()
        room = max(0, min(max(1, most // 2), most - len(self._ready) - len(self._out)))
        if room and not self._leased and not self._is_over:
            self._claim(room)
        return self._settle([self._leased.popleft() for _ in range(min(room, len(self._leased)))])

    def _most(self) -> int:
        """As many as were sent in a second lately, up to the group."""
        if self._group == 1:
            return 1
        if self._seconds is None:
            return min(FIRST_GROUP, self._group)
        return max(1, min(self._group, int(1.0 / max(self._seconds, 1e-6))))

    def _claim(self, room: int) -> None:
        setting = self._setting
        setting.reached("before-claim")
        limit = 1 if self._group == 1 else max(room, min(AHEAD, int(2.0 / (self._seconds or 0.1))))
        # A tenth sooner than others may take it.
        end = setting.boot_clock() + 0.9 * setting.lease.total_seconds()
        real_now = setting.real_clock()
        lease = self._write(
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
        lost, permitted, places = self._commit(taken, results, wanted)
        self._settled_at = time.monotonic()
        if taken or results:
            setting.reached("after-settle")
            self._count(taken, results, lost)
        if wanted:
            setting.reached("after-handed")
            self._count_skipped(permitted.skipped)
            for delivery, place in zip(permitted.handed, places, strict=True):
                self._ready.append(Task(delivery, made[delivery.id], permitted.version, self._end, place))
        return True

    def _commit(
        self, taken: Sequence[tuple[Delivery, Outcome]], results: Sequence[Result], wanted: Sequence[Delivery]
    ) -> tuple[set[int], permission.Permission, list[float]]:
        """One transaction: the ids whose result is void, what is permitted, and the place of each."""
        setting = self._setting
        now, real_now = setting.clock(), setting.real_clock()
        rows = [(delivery.id, delivery.fence, outcome.receipt, outcome.via) for delivery, outcome in taken]
        if self._quick is not None and not results and (self._lane or setting.rate is None):
            keys = [(delivery.id, delivery.fence) for delivery in wanted]
            with contextlib.suppress(sqlite3.OperationalError):
                done = self._quick.step(setting.owner, rows, keys, version=self._version, now=now, real_now=real_now)
                if done is not None:
                    lost, ours = done
                    handed = tuple(delivery for delivery in wanted if delivery.id in ours)
                    return lost, permission.Permission(handed, (), self._version), [0.0] * len(handed)

        def work(connection: Connection) -> tuple[set[int], permission.Permission, list[float]]:
            lost = {row[0] for row in rows} - settling.accept(connection, setting.owner, rows, now)
            lost |= {delivery.id for delivery in settling.settle(connection, setting.owner, results)}
            permitted = permission.hand_over(
                connection, wanted, owner=setting.owner, version=self._version, now=now, real_now=real_now
            )
            return lost, permitted, self._places(connection, len(permitted.handed))

        return self._write(work)

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

    def _places(self, connection: Connection, count: int) -> list[float]:
        """When each message may begin, in seconds of real time: the places in the newsroom's one row of mail."""
        rate = self._setting.rate
        if self._lane or rate is None or not count:
            return [0.0] * count
        first = pace.reserve(connection, self._setting.real_clock().timestamp(), count / rate)
        return [first + number / rate for number in range(count)]

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
        return [*tuple(self._ready), *tuple(self._out.values())]

    def close(self) -> None:
        """Give back what has not begun and settle the rest. What has begun and not ended may have arrived."""
        for task in self._permitted():
            if task.delivery.id in self._begun:
                self.done(task, Outcome(Verdict.UNKNOWN, reason="the sender ended while this was on the wire"))
            else:
                self._results.append((task.delivery, settling.give_back(task.delivery)))
        self._ready.clear()
        self._out.clear()
        self._results.extend((delivery, settling.give_back(delivery)) for delivery in self._leased)
        self._leased.clear()
        try:
            self._settle(())
        finally:
            self._writer.close()
            if self._quick is not None:
                self._quick.close()

    # -- the wire's side ----------------------------------------------------------------------------------------------

    def take(self) -> Task | None:
        """The next permitted delivery whose moment has come; permits more once half of the group is free."""
        if not self._ready and not self.is_stopped and len(self._out) <= self._most() // 2:
            self.turn()
        while self._ready and not self.is_stopped:
            task = self._ready[0]
            if task.place and task.place > self._setting.real_clock().timestamp():
                return None
            self._ready.popleft()
            if task.end - self._setting.boot_clock() <= 0:
                self.back(task)
                continue
            self._out[task.delivery.id] = task
            return task
        return None

    def rest(self) -> float | None:
        """Seconds until `take` may give something by itself; None once nothing more comes. Settles what has waited."""
        if (self._taken or self._results) and time.monotonic() - self._settled_at > _SETTLE:
            self._settle(())
        if self.is_stopped:
            return None
        if self._ready:
            place = self._ready[0].place
            return max(0.0, place - self._setting.real_clock().timestamp()) if place else 0.0
        if self._is_over and not self._leased:
            return None
        return 0.0 if len(self._out) <= self._most() // 2 else LATER

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
        self._ended += 1
        if outcome.verdict is Verdict.NOT_STARTED:
            self.stalled(outcome.reason)
        if outcome.disable:
            self._done.disabled[self._lane] = outcome.reason
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
            self._done.stalled.setdefault(self._lane, reason)
