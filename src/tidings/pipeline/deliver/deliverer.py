"""Delivery: lanes that carry what is due until nothing is, and the end of an edition.

Mail over SMTP is one thread for all connections; every other lane (a channel, a provider's API) is one for each worker.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from tidings.channels.base import Attempt, CanEdit, CanFind, CanTakeDown, Channel, MailTransport, no_picture
from tidings.channels.smtp.relay import SmtpRelay
from tidings.model.delivery import Delivery, DeliveryState, Outcome, PostChange, Verdict
from tidings.model.edition import EditionState
from tidings.model.throttling import SenderHealth, Spacing
from tidings.pipeline.deliver.allowance import GROUP, SendWindow
from tidings.pipeline.deliver.batch import DeliveryBatch
from tidings.pipeline.deliver.context import (
    DeliveryContext,
    DeliverySummary,
    OutgoingMessage,
    PermittedDelivery,
    Preparer,
)
from tidings.pipeline.deliver.lanes import Lane, MailSender
from tidings.pipeline.deliver.outcomes import ResendPolicies, values_after_search
from tidings.pipeline.deliver.senders import plan_senders
from tidings.store.content import editions
from tidings.store.delivery import claims, corrections, ledger, threads
from tidings.store.delivery import senders as sender_health
from tidings.store.delivery.journal import Journal, open_journal
from tidings.store.delivery.uploads import StoredUploads
from tidings.store.engine import Store
from tidings.store.locks import Liveness

__all__ = ["Deliverer", "DeliverySummary", "MailSender", "OutgoingMessage", "Preparer", "finish_editions"]

LEASE = timedelta(minutes=20)
"""Twice the longest wait for a reply. Only for a process that lives but stands still: a dead one loses it at once."""
MAIL = ""
"""The lane of e-mail; a channel's lane is its name."""
_WORTH_A_WORKER = 200
"""Messages for which one more connection to a provider's API is opened."""
_WORKERS = itertools.count(1)
"""Numbers of journals. Never given twice in a process: one may stand that holds what was not settled."""
_SOON = timedelta(seconds=30)
"""What may go so soon is waited for."""


def _real_clock() -> datetime:
    return datetime.now(UTC)


_boot_clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that go on while the machine is suspended, and that nobody sets."""


class Deliverer:
    """Sends what is due. `clock` is the newsroom's; leases, Retry-After and timestamps of posts go by the real one."""

    def __init__(
        self,
        store: Store,
        liveness: Liveness,
        *,
        prepare: Preparer | Mapping[str, Preparer],
        policies: ResendPolicies,
        clock: Callable[[], datetime],
        senders: Sequence[MailSender] = (),
        routes: Mapping[str, Sequence[str]] | None = None,
        channels: Mapping[str, Channel] | None = None,
        picture: Callable[[str, int], bytes | None] = no_picture,
        spacings: Mapping[str, Spacing] | None = None,
        journal: Journal | None = None,
        real_clock: Callable[[], datetime] = _real_clock,
        boot_clock: Callable[[], float] = _boot_clock,
        lease: timedelta = LEASE,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._liveness = liveness
        self._senders = {sender.name: sender for sender in senders}
        self._routes = dict(routes or {"": [sender.name for sender in senders]})
        self._preparers = prepare if isinstance(prepare, Mapping) else dict.fromkeys(("", *self._senders), prepare)
        self._channels = channels or {}
        self._picture = picture
        self._spacings = spacings or {}
        self._journal = journal or open_journal(store)
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._setting = DeliveryContext(
            store=store,
            owner=liveness.owner,
            prepare=self._preparers[""],
            policies=policies,
            clock=clock,
            real_clock=real_clock,
            boot_clock=boot_clock,
            lease=lease,
            reached=reached,
            stopping=self._stopping,
            mutex=self._mutex,
        )
        self._idle: dict[str, list[MailTransport | SmtpRelay]] = {}
        self._busy: set[MailTransport | SmtpRelay] = set()
        self._timer: threading.Timer | None = None

    def run_until_idle(self, only: int | None = None) -> DeliverySummary:
        """Send all that is due now, or one mailing alone; what is deferred past now stays.

        What only waits for its place in a row is waited for, if that is soon. What a bug raised is raised, after the
        rest has been settled.
        """
        done = DeliverySummary()
        setting = self._setting = replace(self._setting, only=only)
        self._liveness.refresh()
        while not self._stopping.is_set():
            self._follow()
            with setting.store.read() as connection:
                due = claims.count_due(connection, setting.clock(), setting.real_clock(), only)
                allowed = claims.next_send_time(connection, setting.clock(), setting.real_clock(), only)
            lanes = self._lanes(due, done)
            if not lanes:
                if MAIL in done.stalled or allowed is None or allowed > setting.real_clock() + _SOON:
                    break
                self._stopping.wait((allowed - setting.real_clock()).total_seconds())
                continue
            before = done.states.total() + done.too_late
            self._run_lanes(lanes, done)
            if not self._note_health(lanes, done) and done.states.total() + done.too_late == before:
                # Somebody else has it in hand.
                break
        for key in [key for key in done.stalled if key.startswith(f"{Lane.MAIL} ")]:
            done.failed_senders[key.removeprefix(f"{Lane.MAIL} ")] = done.stalled.pop(key)
        return done

    def _follow(self) -> None:
        """Let go what waited for the post that it answers."""
        with self._setting.store.read() as connection:
            found = threads.decided_replies(connection)
        if found:
            with self._setting.store.write() as connection:
                threads.release_replies(connection, self._setting.clock())

    # -- which lanes --------------------------------------------------------------------------------------------------

    def _lanes(self, due: Mapping[str, int], done: DeliverySummary) -> list[tuple[Lane, int]]:
        """What can be carried now, each with how much is due."""
        found: list[tuple[Lane, int]] = []
        for channel, count in due.items():
            if channel in done.stalled:
                continue
            if channel:
                if channel in self._channels:
                    found.append((Lane(channel), count))
                else:
                    done.stalled[channel] = f"there is no channel {channel!r}"
            elif not self._senders:
                done.stalled[MAIL] = "there is no mail host"
            else:
                found += [(lane, count) for lane in self._mail_lanes(done)]
        return found

    def _mail_lanes(self, done: DeliverySummary) -> list[Lane]:
        """One sender takes all; of several each takes what its health and weight give it."""
        if len(self._senders) == 1:
            return [Lane(sender=sender) for sender in self._senders.values()]
        now = self._setting.real_clock()
        with self._setting.store.read() as connection:
            known = {name: sender.fingerprint for name, sender in self._senders.items()}
            healths = sender_health.load_healths(connection, known)
        names, lists = tuple(self._senders), tuple(self._routes)
        shares: dict[str, dict[str, tuple[int, int, int]]] = {}
        why = ""
        for list_name, route in self._routes.items():
            decided = plan_senders([self._senders[name] for name in route], healths, now)
            why = why or decided.reason
            for share in decided.shares:
                shares.setdefault(share.sender, {})[list_name] = (share.first, share.end, decided.of)
        up = [name for name in names if healths.get(name, SenderHealth()).is_up(now)]
        lanes = [
            Lane(sender=self._senders[name], portion=claims.SenderShare(name, names, shares.get(name, {}), lists))
            for name in up
        ]
        for lane in lanes:
            done.stalled.pop(lane.key, None)
        if not lanes:
            done.stalled[MAIL] = why
        return lanes

    def _note_health(self, lanes: Sequence[tuple[Lane, int]], done: DeliverySummary) -> bool:
        """Keep which of several senders failed, and which have worked; whether one failed just now."""
        failed = False
        now = self._setting.real_clock()
        for lane, _ in lanes:
            if lane.sender is None or lane.portion is None:
                continue
            reason = done.stalled.get(lane.key)
            with self._setting.store.write() as connection:
                if reason is not None:
                    failed = True
                    sender_health.record_failure(connection, lane.sender.name, lane.sender.fingerprint, reason, now)
                else:
                    sender_health.record_success(connection, lane.sender.name)
        return failed

    def stop(self, grace: float = 25.0) -> None:
        """Begin no further message; after `grace` seconds end what is still on the wire, which is in doubt then."""
        self._stopping.set()
        with self._mutex:
            for transport in self._busy:
                if isinstance(transport, SmtpRelay):
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
            idle, self._idle = self._idle, {}
        for transport in itertools.chain.from_iterable(idle.values()):
            transport.close()

    # -- lanes --------------------------------------------------------------------------------------------------------

    def _run_lanes(self, lanes: Sequence[tuple[Lane, int]], done: DeliverySummary) -> None:
        errors: list[BaseException] = []

        def guarded(run: Callable[[], None]) -> None:
            try:
                run()
            except Exception as error:
                errors.append(error)

        threads = []
        for lane, count in lanes:
            for run in self._workers_of(lane, count, done):
                threads.append(threading.Thread(target=guarded, args=(run,), name=f"deliver-{lane.key or 'mail'}"))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _workers_of(self, lane: Lane, count: int, done: DeliverySummary) -> list[Callable[[], None]]:
        sender = lane.sender
        if sender is None:
            return [lambda: self._run_channel(self._channels[lane.channel], self._desk(lane, done, SendWindow(1)))]
        first = self._transport(sender)
        if isinstance(first, SmtpRelay):
            connections = min(sender.connections, count)
            both = 2 * connections
            allowance = SendWindow(max(GROUP, both), least=both)
            return [lambda: self._run_relay(sender, first, self._desk(lane, done, allowance), connections)]
        others = [self._transport(sender) for _ in range(min(sender.connections, -(-count // _WORTH_A_WORKER)) - 1)]
        return [
            lambda transport=transport: self._run_mail(  # type: ignore[misc]
                sender, transport, self._desk(lane, done, SendWindow())
            )
            for transport in (first, *others)
        ]

    def _desk(self, lane: Lane, done: DeliverySummary, allowance: SendWindow) -> DeliveryBatch:
        writer = self._journal.writer(self._liveness.owner, next(_WORKERS))
        setting = self._setting
        if lane.sender is not None:
            setting = replace(setting, prepare=self._preparers[lane.sender.name])
        return DeliveryBatch(setting, lane, writer, done, allowance)

    def _transport(self, sender: MailSender) -> MailTransport | SmtpRelay:
        with self._mutex:
            idle = self._idle.get(sender.name)
            transport = idle.pop() if idle else sender.connect()
            self._busy.add(transport)
        return transport

    def _give_back(self, sender: MailSender, transport: MailTransport | SmtpRelay) -> None:
        with self._mutex:
            self._busy.discard(transport)
            self._idle.setdefault(sender.name, []).append(transport)

    def _run_relay(self, sender: MailSender, relay: SmtpRelay, desk: DeliveryBatch, connections: int) -> None:
        try:
            relay.send_all(desk, connections=connections)
        finally:
            self._give_back(sender, relay)
            desk.close()

    def _run_mail(self, sender: MailSender, transport: MailTransport, desk: DeliveryBatch) -> None:
        try:
            self._carry(desk, lambda handover: transport.send(handover.sender, handover.recipient, handover.whole))
        finally:
            self._give_back(sender, transport)
            desk.close()

    def _run_channel(self, channel: Channel, desk: DeliveryBatch) -> None:
        def post(handover: OutgoingMessage) -> Outcome:
            attempt = self._attempt(handover, self._setting.real_clock())
            match handover.amendment:
                case PostChange.TAKE_DOWN if isinstance(channel, CanTakeDown):
                    return channel.take_down(handover.receipt, attempt)
                case PostChange.EDIT if isinstance(channel, CanEdit):
                    return channel.edit(handover.receipt, handover.data, attempt)
                case PostChange.EDIT | PostChange.TAKE_DOWN:
                    return Outcome(Verdict.REJECTED, reason="the channel cannot change what it posted any more")
            return channel.send(handover.data, attempt)

        try:
            self._carry(desk, post, channel if isinstance(channel, CanFind) else None)
        finally:
            desk.close()

    def _carry(
        self, desk: DeliveryBatch, send: Callable[[OutgoingMessage], Outcome], finder: CanFind | None = None
    ) -> None:
        """One message after the other, until nothing is due. `finder` looks whether a doubtful post stands."""
        setting = self._setting
        while True:
            task = desk.take()
            if task is None:
                rest = desk.seconds_until_next()
                if rest is None:
                    return
                setting.stopping.wait(rest)
                continue
            delivery = task.delivery
            if delivery.doubts and delivery.channel and not setting.policies.key_holds(delivery, setting.real_clock()):
                found = self._found(finder, task)
                if found.verdict is not Verdict.NOT_STARTED:
                    desk.keep(
                        task,
                        values_after_search(delivery, found, setting.policies, setting.clock(), setting.real_clock()),
                    )
                    continue
            if (later := self._later(delivery)) is not None:
                desk.keep(task, {"state": DeliveryState.DEFERRED, "reason": "waits for its turn", "next_at": later})
                continue
            (may,) = desk.begin([task])
            if may:
                self._send(desk, task, send)
            else:
                desk.give_back(task)

    def _later(self, delivery: Delivery) -> datetime | None:
        """When a post may go that must wait for its turn in its channel; None: now."""
        spacing = self._spacings.get(delivery.channel)
        if spacing is None or delivery.rendition is None or delivery.doubts:
            return None
        now = self._setting.clock()
        with self._setting.store.read() as connection:
            before = corrections.posting_times(connection, delivery.channel, now - timedelta(days=1))
        at = spacing.earliest(now, before)
        return at if at > now else None

    def _found(self, finder: CanFind | None, task: PermittedDelivery) -> Outcome:
        """Whether a post of which nobody knows stands; NOT_STARTED: it certainly does not, and may be sent."""
        handed_at = task.delivery.handed_at
        if finder is None or handed_at is None:
            return Outcome(Verdict.UNKNOWN, reason="too late to repeat it safely")
        return finder.find(task.handover.data, self._attempt(task.handover, handed_at))

    def _attempt(self, handover: OutgoingMessage, at: datetime) -> Attempt:
        answers = handover.amendment in (None, PostChange.REPLY)
        uploads = StoredUploads(self._setting.store, handover.delivery, self._setting.clock())
        return Attempt(handover.key, at, self._picture, handover.receipt if answers else "", uploads)

    def _send(self, desk: DeliveryBatch, task: PermittedDelivery, send: Callable[[OutgoingMessage], Outcome]) -> None:
        try:
            outcome = send(task.handover)
        except Exception as error:
            desk.record_outcome(
                task, Outcome(Verdict.UNKNOWN, reason=f"{type(error).__name__} while it was handed over")
            )
            raise
        else:
            desk.record_outcome(task, outcome)
        finally:
            desk.flush_outcomes()


def finish_editions(store: Store, now: datetime) -> list[int]:
    """Mark editions done of which nothing goes on by itself; returns their ids. Closes what has ended."""
    finished = []
    with store.write() as connection:
        ledger.cancel_leftovers(connection, now)
        for number in ledger.finished_editions(connection):
            edition = editions.get_edition(connection, number)
            editions.set_state(connection, edition, EditionState.DONE, now=now, what="every delivery has ended")
            finished.append(number)
        ledger.close_finished_mailings(connection)
    return finished
