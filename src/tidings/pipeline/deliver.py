"""Delivery: workers that take groups of what is due until nothing is, and the end of an edition.

A group is `handed` in one transaction before its first byte. Each message is announced in the journal before it begins
and its outcome noted after the reply, so that a crash leaves at most one message a connection in doubt.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tidings.channels.base import Attempt, Channel
from tidings.model.delivery import Outcome
from tidings.model.edition import EditionState
from tidings.pipeline.handing import Delivered, Group, Handover, Preparer, Setting
from tidings.pipeline.verdicts import ResendPolicies
from tidings.store import claims, editions, ledger
from tidings.store.engine import Store
from tidings.store.journal import Journal, open_journal
from tidings.store.liveness import Liveness

__all__ = ["Delivered", "Deliverer", "Handover", "MailTransport", "Preparer", "finish_editions"]

GROUP = 50
"""At most so many messages are permitted at once, and at most one second of sending."""
FIRST_GROUP = 10
LEASE = timedelta(minutes=20)
"""Twice the longest wait for a reply. Only for a process that lives but stands still: a dead one loses it at once."""
MAIL = ""
"""The lane of e-mail; a channel's lane is its name."""


class MailTransport(Protocol):
    """One connection to a relay, for one thread."""

    def hand(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over."""

    def close(self) -> None:
        """Say goodbye."""

    def abort(self) -> None:
        """From another thread: end what is on the wire."""


def _real_clock() -> datetime:
    return datetime.now(UTC)


def _boot_clock() -> float:
    """Seconds that go on while the machine is suspended, and that nobody sets."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Deliverer:
    """Sends what is due. `clock` is the newsroom's; leases, Retry-After and timestamps of posts go by the real one."""

    def __init__(
        self,
        store: Store,
        liveness: Liveness,
        *,
        prepare: Preparer,
        policies: ResendPolicies,
        clock: Callable[[], datetime],
        connect: Callable[[], MailTransport] | None = None,
        connections: int = 4,
        channels: Mapping[str, Channel] | None = None,
        journal: Journal | None = None,
        real_clock: Callable[[], datetime] = _real_clock,
        boot_clock: Callable[[], float] = _boot_clock,
        lease: timedelta = LEASE,
        rate: float | None = None,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._liveness = liveness
        self._connect = connect
        self._connections = max(1, connections)
        self._channels = channels or {}
        self._journal = journal or open_journal(store)
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._setting = Setting(
            store=store,
            owner=liveness.owner,
            prepare=prepare,
            policies=policies,
            clock=clock,
            real_clock=real_clock,
            boot_clock=boot_clock,
            lease=lease,
            reached=reached,
            stopping=self._stopping,
            mutex=self._mutex,
            rate=rate,
        )
        self._idle: list[MailTransport] = []
        self._busy: set[MailTransport] = set()
        self._workers = itertools.count(1)
        self._seconds: dict[str, float] = {}
        self._timer: threading.Timer | None = None

    def run_until_idle(self, only: int | None = None) -> Delivered:
        """Send all that is due now, or one mailing alone; what is deferred past now stays.

        What a bug raised is raised, after the rest has been settled.
        """
        done = Delivered()
        setting = self._setting = replace(self._setting, only=only)
        self._liveness.keep()
        while not self._stopping.is_set():
            with setting.store.read() as connection:
                due = claims.due_counts(connection, setting.clock(), setting.real_clock(), only)
            lanes = [lane for lane in due if lane not in done.stalled]
            for lane in list(lanes):
                missing = lane not in self._channels if lane else self._connect is None
                if missing:
                    done.stalled[lane] = f"there is no channel {lane!r}" if lane else "there is no mail host"
                    lanes.remove(lane)
            if not lanes:
                break
            before = done.states.total() + done.void
            self._run_lanes({lane: due[lane] for lane in lanes}, done)
            if done.states.total() + done.void == before:
                # Somebody else has it in hand.
                break
        return done

    def stop(self, grace: float = 25.0) -> None:
        """Begin no further message; after `grace` seconds end what is still on the wire, which is in doubt then."""
        self._stopping.set()
        if self._timer is None:
            self._timer = threading.Timer(grace, self._abort)
            self._timer.daemon = True
            self._timer.start()

    def _abort(self) -> None:
        with self._mutex:
            for transport in self._busy:
                transport.abort()

    def close(self) -> None:
        """Close the connections that are kept. After `stop`, once `run_until_idle` has returned."""
        if self._timer is not None:
            self._timer.cancel()
        with self._mutex:
            idle, self._idle = self._idle, []
        for transport in idle:
            transport.close()

    # -- lanes --------------------------------------------------------------------------------------------------------

    def _run_lanes(self, due: Mapping[str, int], done: Delivered) -> None:
        errors: list[BaseException] = []

        def work(lane: str) -> None:
            try:
                self._run_lane(lane, done)
            except Exception as error:
                errors.append(error)

        threads = []
        for lane, count in due.items():
            workers = min(self._connections, -(-count // GROUP)) if lane == MAIL else 1
            threads += [threading.Thread(target=work, args=(lane,), name=f"deliver-{lane}") for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _run_lane(self, lane: str, done: Delivered) -> None:
        writer = self._journal.writer(self._liveness.owner, next(self._workers))
        try:
            with self._sender(lane) as send:
                while not self._stopping.is_set() and lane not in done.stalled:
                    group = Group(self._setting, lane, send, writer, done)
                    if not group.run(self._limit(lane)):
                        return
                    self._note_pace(lane, group)
        finally:
            writer.close()

    @contextmanager
    def _sender(self, lane: str) -> Iterator[Callable[[Handover], Outcome]]:
        """How one message of a lane is handed over; a connection is kept for the next run."""
        if lane:
            channel = self._channels[lane]
            yield lambda handover: channel.send(handover.data, Attempt(handover.key, self._setting.real_clock()))
            return
        assert self._connect is not None
        with self._mutex:
            transport = self._idle.pop() if self._idle else self._connect()
            self._busy.add(transport)
        try:
            yield lambda handover: transport.hand(handover.sender, handover.recipient, handover.data)
        finally:
            with self._mutex:
                self._busy.discard(transport)
                self._idle.append(transport)

    def _limit(self, lane: str) -> int:
        """As many as were sent in a second lately; a channel takes one at a time."""
        if lane:
            return 1
        seconds = self._seconds.get(lane)
        return FIRST_GROUP if seconds is None else max(1, min(GROUP, int(1.0 / max(seconds, 1e-6))))

    def _note_pace(self, lane: str, group: Group) -> None:
        if group.sent:
            seconds = group.seconds / group.sent
            with self._mutex:
                self._seconds[lane] = 0.8 * self._seconds.get(lane, seconds) + 0.2 * seconds


def finish_editions(store: Store, now: datetime) -> list[int]:
    """Mark editions done of which nothing goes on by itself; returns their ids. Closes what has ended."""
    finished = []
    with store.write() as connection:
        ledger.cancel_leftovers(connection, now)
        for number in ledger.finished_editions(connection):
            edition = editions.get_edition(connection, number)
            editions.set_state(connection, edition, EditionState.DONE, now=now, what="every delivery has ended")
            finished.append(number)
        ledger.close_finished(connection)
    return finished
