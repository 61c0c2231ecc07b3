"""Delivery: lanes that carry what is due until nothing is, and the end of an edition.

Mail over SMTP is one thread for all connections; every other lane (a channel, a provider's API) is one for each worker.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from tidings.channels.base import Attempt, Channel
from tidings.channels.smtp import Errand
from tidings.model.delivery import DeliveryState, Outcome, Verdict
from tidings.model.edition import EditionState
from tidings.pipeline.handing import GROUP, Delivered, Desk, Handover, Preparer, Setting, Task
from tidings.pipeline.verdicts import ResendPolicies
from tidings.store import claims, editions, ledger
from tidings.store.engine import Store
from tidings.store.journal import Journal, open_journal
from tidings.store.liveness import Liveness

__all__ = ["Delivered", "Deliverer", "Handover", "MailTransport", "Preparer", "Relay", "finish_editions"]

LEASE = timedelta(minutes=20)
"""Twice the longest wait for a reply. Only for a process that lives but stands still: a dead one loses it at once."""
MAIL = ""
"""The lane of e-mail; a channel's lane is its name."""


class MailTransport(Protocol):
    """One way to hand mail over, for one thread."""

    def hand(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over."""

    def close(self) -> None:
        """Say goodbye."""

    def abort(self) -> None:
        """From another thread: end what is on the wire."""


@runtime_checkable
class Relay(Protocol):
    """A transport that carries many messages over several connections at once."""

    def carry(self, errand: Errand, *, connections: int) -> None:
        """Until the errand is over."""

    def wake(self) -> None:
        """From another thread: there may be more."""

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
        connect: Callable[[], MailTransport | Relay] | None = None,
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
        self._idle: list[MailTransport | Relay] = []
        self._busy: set[MailTransport | Relay] = set()
        self._workers = itertools.count(1)
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
        with self._mutex:
            for transport in self._busy:
                if isinstance(transport, Relay):
                    transport.wake()
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

        def guarded(run: Callable[[], None]) -> None:
            try:
                run()
            except Exception as error:
                errors.append(error)

        threads = []
        for lane, count in due.items():
            for run in self._workers_of(lane, count, done):
                threads.append(threading.Thread(target=guarded, args=(run,), name=f"deliver-{lane or 'mail'}"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _workers_of(self, lane: str, count: int, done: Delivered) -> list[Callable[[], None]]:
        if lane:
            return [lambda: self._run_channel(self._channels[lane], self._desk(lane, done, 1))]
        first = self._transport()
        if isinstance(first, Relay):
            connections = min(self._connections, count)
            return [lambda: self._run_relay(first, self._desk(MAIL, done, max(GROUP, 2 * connections)), connections)]
        others = [self._transport() for _ in range(min(self._connections, -(-count // GROUP)) - 1)]
        return [
            lambda transport=transport: self._run_mail(transport, self._desk(MAIL, done, GROUP))  # type: ignore[misc]
            for transport in (first, *others)
        ]

    def _desk(self, lane: str, done: Delivered, group: int) -> Desk:
        writer = self._journal.writer(self._liveness.owner, next(self._workers))
        return Desk(self._setting, lane, writer, done, group=group)

    def _transport(self) -> MailTransport | Relay:
        assert self._connect is not None
        with self._mutex:
            transport = self._idle.pop() if self._idle else self._connect()
            self._busy.add(transport)
        return transport

    def _give_back(self, transport: MailTransport | Relay) -> None:
        with self._mutex:
            self._busy.discard(transport)
            self._idle.append(transport)

    def _run_relay(self, relay: Relay, desk: Desk, connections: int) -> None:
        try:
            relay.carry(desk, connections=connections)
        finally:
            self._give_back(relay)
            desk.close()

    def _run_mail(self, transport: MailTransport, desk: Desk) -> None:
        try:
            self._carry(desk, lambda handover: transport.hand(handover.sender, handover.recipient, handover.whole))
        finally:
            self._give_back(transport)
            desk.close()

    def _run_channel(self, channel: Channel, desk: Desk) -> None:
        try:
            self._carry(
                desk, lambda handover: channel.send(handover.data, Attempt(handover.key, self._setting.real_clock()))
            )
        finally:
            desk.close()

    def _carry(self, desk: Desk, send: Callable[[Handover], Outcome]) -> None:
        """One message after the other, until nothing is due."""
        setting = self._setting
        while True:
            task = desk.take()
            if task is None:
                rest = desk.rest()
                if rest is None:
                    return
                setting.stopping.wait(rest)
                continue
            delivery = task.delivery
            if delivery.doubts and delivery.channel and not setting.policies.key_holds(delivery, setting.real_clock()):
                reason = "too late to repeat it safely"
                desk.keep(task, {"state": DeliveryState.IN_DOUBT, "reason": reason, "next_at": None})
            elif not desk.begin(task):
                desk.back(task)
            else:
                self._send(desk, task, send)

    def _send(self, desk: Desk, task: Task, send: Callable[[Handover], Outcome]) -> None:
        try:
            outcome = send(task.handover)
        except Exception as error:
            desk.done(task, Outcome(Verdict.UNKNOWN, reason=f"{type(error).__name__} while it was handed over"))
            raise
        desk.done(task, outcome)


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
