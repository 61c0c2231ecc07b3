"""Run the lanes of delivery until nothing is due, and end editions.

Mail over SMTP is one thread for all connections. Every other lane (a channel, or the API of a mail provider) has one
thread for each worker.
"""

from __future__ import annotations

import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from tidings.channels.base import Attempt, CanEdit, CanFind, CanTakeDown, Channel, MailTransport, no_picture
from tidings.channels.smtp.relay import SmtpRelay
from tidings.config.bounces import Breaker
from tidings.model.delivery import WEBHOOK_LANE, Delivery, DeliveryState, Outcome, PostChange, Verdict
from tidings.model.edition import EditionState
from tidings.model.throttling import LONGEST_REST, SenderHealth, Spacing
from tidings.pipeline.deliver.batch import DeliveryBatch
from tidings.pipeline.deliver.context import (
    DeliveryContext,
    DeliverySummary,
    Lane,
    OutgoingMessage,
    PermittedDelivery,
    Preparer,
)
from tidings.pipeline.deliver.outcomes import ResendPolicies, values_after_search
from tidings.pipeline.deliver.pacing import MAX_PERMITTED, SendWindow
from tidings.pipeline.deliver.recovery import recover_forgotten, recover_own
from tidings.pipeline.deliver.senders import MailSender, channel_key, plan_senders
from tidings.store.content import editions
from tidings.store.delivery import claims, corrections, failover, ledger, threads
from tidings.store.delivery import senders as sender_health
from tidings.store.delivery.failover import SenderMemory
from tidings.store.delivery.journal import Journal
from tidings.store.delivery.uploads import StoredUploads
from tidings.store.engine import Store
from tidings.store.locks import Liveness

LEASE = timedelta(minutes=20)
"""Twice the longest wait for a reply. It is for a process that hangs; a dead process loses its lease at once."""
DeliveryPart = Literal["all", "mail", "social"]
"""What one run sends: everything, e-mail only, or posts only."""
_MAIL = ""
"""The key of the mail lane. A channel's lane is its name."""
_MAILS_PER_WORKER = 200
"""One connection to a provider's API is opened for this many mails."""
_SHORT_WAIT = timedelta(seconds=30)
"""A run waits this long for the next time at which a rate allows mail."""


def _real_clock() -> datetime:
    return datetime.now(UTC)


_boot_clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""A clock in seconds. It continues while the machine is suspended and cannot be set."""


class Deliverer:
    """Sends due deliveries. `clock` is the newsroom's; leases, Retry-After and times of posts use the real clock."""

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
        fingerprints: Mapping[str, str] | None = None,
        picture: Callable[[str, int], bytes | None] = no_picture,
        spacings: Mapping[str, Spacing] | None = None,
        breaker: Breaker | None = None,
        count_processes: Callable[[], int] = lambda: 1,
        real_clock: Callable[[], datetime] = _real_clock,
        boot_clock: Callable[[], float] = _boot_clock,
        lease: timedelta = LEASE,
        memory: SenderMemory | None = None,
        events: bool = False,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """`prepare` may be a mapping by sender. `routes` are the senders of each list, in order of preference.

        `fingerprints` are those of the settings of each channel. `count_processes` counts those that send: they share
        the connections of a sender. `memory` outlives this object, if the settings are loaded anew.
        With `events`, it sends to event webhooks and to nothing else. It needs a `liveness` of its own then: each run
        recovers what its owner left.
        """
        self._liveness = liveness
        self._senders = {sender.name: sender for sender in senders}
        self._routes = dict(routes or {"": [sender.name for sender in senders]})
        self._preparers = prepare if isinstance(prepare, Mapping) else dict.fromkeys(("", *self._senders), prepare)
        self._channels = channels or {}
        self._fingerprints = {channel_key(name): text for name, text in (fingerprints or {}).items()}
        self._picture = picture
        self._spacings = spacings or {}
        self._count_processes = count_processes
        self._processes = 1
        self._events = events
        self._journal = Journal(store)
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._context = DeliveryContext(
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
            breaker=breaker or Breaker(),
            memory=memory or SenderMemory.of(store),
        )
        self._idle: dict[str, list[MailTransport | SmtpRelay]] = {}
        self._busy: set[MailTransport | SmtpRelay] = set()
        self._timer: threading.Timer | None = None

    def run_until_idle(
        self, only: int | None = None, *, patient: bool = False, part: DeliveryPart = "all", seconds: float = math.inf
    ) -> DeliverySummary:
        """Send every delivery that is due now, or one mailing, or one `part`. Deferred deliveries stay.

        After `seconds` no further message begins.
        A channel that cannot post is tried once, or with `patient` only after its rest. If mail waits only for its rate
        and the wait is short, the run waits too. After an unexpected error, the other lanes are settled first.
        """
        summary = DeliverySummary()
        context = self._context = replace(self._context, only=only, until=time.monotonic() + seconds)
        self._liveness.refresh()
        while not self.settle_failover():
            if self._stopping.wait(1.0) or time.monotonic() >= context.until:
                return summary
        self._processes = max(1, self._count_processes())
        recover_own(
            context.store,
            context.owner,
            now=context.clock(),
            real_now=context.real_clock(),
            policies=context.policies,
        )
        while not self._stopping.is_set() and time.monotonic() < context.until:
            self._release_replies()
            now, real_now = context.clock(), context.real_clock()
            with context.store.read() as connection:
                due = claims.count_due(connection, now, real_now, only)
                next_time = claims.next_send_time(connection, now, real_now, only)
            due = {channel: count for channel, count in due.items() if channel.startswith(WEBHOOK_LANE) is self._events}
            if part == "social" or self._events:
                next_time = None
            if part != "all":
                due = {channel: count for channel, count in due.items() if bool(channel) == (part == "social")}
            lanes = self._find_lanes(due, summary, patient=patient)
            if not lanes:
                if _MAIL in summary.stalled or next_time is None or next_time > context.real_clock() + _SHORT_WAIT:
                    break
                self._stopping.wait((next_time - context.real_clock()).total_seconds())
                continue
            before = summary.states.total() + summary.too_late
            self._run_lanes(lanes, summary)
            sender_failed = self._record_health(lanes, summary)
            if not sender_failed and summary.states.total() + summary.too_late == before:
                # Another process has claimed these deliveries.
                break
        for key in [key for key in summary.stalled if key.startswith(f"{Lane.MAIL} ")]:
            summary.failed_senders[key.removeprefix(f"{Lane.MAIL} ")] = summary.stalled.pop(key)
        return summary

    def settle_failover(self) -> bool:
        """Report what a server that took over has forgotten. Returns False while deliveries may not be claimed.

        Call it only while this process sends nothing.
        """
        context, memory = self._context, self._context.memory
        if context.store.is_sqlite:
            return True
        with context.store.write() as connection:
            timeline = failover.look(connection, context.real_clock())
        if not memory.is_of(timeline.name):
            if memory.timeline:
                recover_forgotten(
                    context.store,
                    context.owner,
                    memory,
                    may_change=not timeline.is_settled,
                    lease=context.lease,
                    now=context.clock(),
                    real_now=context.real_clock(),
                    policies=context.policies,
                )
            memory.forget()
            memory.timeline = timeline.name
        if timeline.is_settled:
            return True
        with context.store.write() as connection:
            failover.report(connection, timeline.name, context.owner)
            return failover.look(connection, context.real_clock()).is_settled

    def _release_replies(self) -> None:
        """Make replies due once the post that they answer has an outcome."""
        with self._context.store.read() as connection:
            replies = threads.decided_replies(connection)
        if replies:
            with self._context.store.write() as connection:
                threads.release_replies(connection, self._context.clock())

    # -- which lanes --------------------------------------------------------------------------------------------------

    def _find_lanes(self, due: Mapping[str, int], summary: DeliverySummary, *, patient: bool) -> list[tuple[Lane, int]]:
        """Return the lanes that can run now, each with how much is due."""
        lanes: list[tuple[Lane, int]] = []
        if patient and any(due):
            now = self._context.real_clock()
            with self._context.store.read() as connection:
                healths = sender_health.load_healths(connection, self._fingerprints)
            resting = {key: health.reason for key, health in healths.items() if not health.is_up(now)}
            summary.stalled.update(
                {name: resting[channel_key(name)] for name in due if name and channel_key(name) in resting}
            )
        for channel, count in due.items():
            if channel in summary.stalled:
                continue
            if channel:
                if channel in self._channels:
                    lanes.append((Lane(channel), count))
                else:
                    summary.stalled[channel] = f"there is no channel {channel!r}"
            elif not self._senders:
                summary.stalled[_MAIL] = "there is no mail host"
            else:
                lanes += [(lane, count) for lane in self._find_mail_lanes(summary)]
        return lanes

    def _find_mail_lanes(self, summary: DeliverySummary) -> list[Lane]:
        """Return one lane for each sender that works. Several senders share the mail by health and weight."""
        if len(self._senders) == 1:
            return [Lane(sender=sender) for sender in self._senders.values()]
        now = self._context.real_clock()
        with self._context.store.read() as connection:
            fingerprints = {name: sender.fingerprint for name, sender in self._senders.items()}
            healths = sender_health.load_healths(connection, fingerprints)
        names, lists = tuple(self._senders), tuple(self._routes)
        shares: dict[str, dict[str, tuple[int, int, int]]] = {}
        reason = ""
        for list_name, route in self._routes.items():
            plan = plan_senders([self._senders[name] for name in route], healths, now)
            reason = reason or plan.reason
            for part in plan.ranges:
                shares.setdefault(part.sender, {})[list_name] = (part.first, part.end, plan.divisor)
        lanes = [
            Lane(sender=sender, share=claims.SenderShare(name, names, shares.get(name, {}), lists))
            for name, sender in self._senders.items()
            if healths.get(name, SenderHealth()).is_up(now)
        ]
        for lane in lanes:
            summary.stalled.pop(lane.key, None)
        if not lanes:
            summary.stalled[_MAIL] = reason
        return lanes

    def _record_health(self, lanes: Sequence[tuple[Lane, int]], summary: DeliverySummary) -> bool:
        """Record which senders failed and which worked. Returns whether one of several failed now."""
        failed = False
        now = self._context.real_clock()
        for lane, _ in lanes:
            if lane.channel:
                self._record_channel_health(lane.channel, summary, now)
            if lane.sender is None:
                continue
            reason = summary.stalled.get(lane.key)
            with self._context.store.write() as connection:
                if reason is not None:
                    # A single sender has no other that could take over; its health is for `tidings status`.
                    failed = failed or lane.share is not None
                    sender_health.record_failure(connection, lane.sender.name, lane.sender.fingerprint, reason, now)
                else:
                    sender_health.record_success(connection, lane.sender.name)
        return failed

    def _record_channel_health(self, channel: str, summary: DeliverySummary, now: datetime) -> None:
        """Record for `tidings status` that a channel stands still, or works again."""
        key, reason = channel_key(channel), summary.stalled.get(channel)
        if reason is None:
            with self._context.store.read() as connection:
                if key not in sender_health.load_healths(connection, None):
                    return
        with self._context.store.write() as connection:
            if reason is not None:
                rest = LONGEST_REST.total_seconds() if channel in summary.disabled else None
                fingerprint = self._fingerprints.get(key, "")
                sender_health.record_failure(connection, key, fingerprint, reason, now, rest)
            elif sender_health.record_success(connection, key):
                summary.recovered.add(channel)

    # -- stopping -----------------------------------------------------------------------------------------------------

    def stop(self, grace: float = 25.0) -> None:
        """Begin no further message. After `grace` seconds abort the messages in progress, which are then in doubt."""
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
        """Close the kept connections. Call it after `stop`, once `run_until_idle` has returned."""
        if self._timer is not None:
            self._timer.cancel()
        with self._mutex:
            idle, self._idle = self._idle, {}
        for transport in itertools.chain.from_iterable(idle.values()):
            transport.close()

    # -- running lanes ------------------------------------------------------------------------------------------------

    def _run_lanes(self, lanes: Sequence[tuple[Lane, int]], summary: DeliverySummary) -> None:
        if not gc.get_freeze_count():
            # What is loaded stays. A search for garbage in it takes 60 ms, in which nothing is sent.
            gc.freeze()
        errors: list[BaseException] = []

        def run_guarded(run: Callable[[], None]) -> None:
            try:
                run()
            except Exception as error:
                errors.append(error)

        workers = [
            threading.Thread(target=run_guarded, args=(run,), name=f"deliver-{lane.key or 'mail'}")
            for lane, count in lanes
            for run in self._make_workers(lane, count, summary)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if errors:
            raise errors[0]

    def _make_workers(self, lane: Lane, count: int, summary: DeliverySummary) -> list[Callable[[], None]]:
        sender = lane.sender
        if sender is None:
            return [lambda: self._run_channel(self._channels[lane.channel], self._batch(lane, summary, SendWindow(1)))]
        first = self._connect(sender)
        share = max(1, sender.connections // self._processes)
        if isinstance(first, SmtpRelay):
            connections = min(share, count)
            least = 4 * connections
            window = SendWindow(max(MAX_PERMITTED, least), least)
            return [lambda: self._run_relay(sender, first, self._batch(lane, summary, window), connections)]
        others = min(share, -(-count // _MAILS_PER_WORKER)) - 1
        return [
            lambda transport=transport: self._run_mail(  # type: ignore[misc]
                sender, transport, self._batch(lane, summary, SendWindow())
            )
            for transport in (first, *(self._connect(sender) for _ in range(others)))
        ]

    def _batch(self, lane: Lane, summary: DeliverySummary, window: SendWindow) -> DeliveryBatch:
        writer = self._journal.writer(self._liveness.owner, self._context.memory)
        context = self._context
        if lane.sender is not None:
            context = replace(context, prepare=self._preparers[lane.sender.name])
        return DeliveryBatch(context, lane, writer, summary, window)

    def _connect(self, sender: MailSender) -> MailTransport | SmtpRelay:
        with self._mutex:
            idle = self._idle.get(sender.name)
            transport = idle.pop() if idle else sender.connect()
            self._busy.add(transport)
        return transport

    def _release(self, sender: MailSender, transport: MailTransport | SmtpRelay) -> None:
        with self._mutex:
            self._busy.discard(transport)
            self._idle.setdefault(sender.name, []).append(transport)

    def _run_relay(self, sender: MailSender, relay: SmtpRelay, batch: DeliveryBatch, connections: int) -> None:
        try:
            relay.send_all(batch, connections=connections)
        finally:
            self._release(sender, relay)
            batch.close()

    def _run_mail(self, sender: MailSender, transport: MailTransport, batch: DeliveryBatch) -> None:
        try:
            self._send_all(batch, lambda message: transport.send(message.sender, message.recipient, message.whole))
        finally:
            self._release(sender, transport)
            batch.close()

    def _run_channel(self, channel: Channel, batch: DeliveryBatch) -> None:
        def post(message: OutgoingMessage) -> Outcome:
            attempt = self._attempt(message, self._context.real_clock())
            match message.change:
                case PostChange.TAKE_DOWN if isinstance(channel, CanTakeDown):
                    return channel.take_down(message.receipt, attempt)
                case PostChange.EDIT if isinstance(channel, CanEdit):
                    return channel.edit(message.receipt, message.data, attempt)
                case PostChange.EDIT | PostChange.TAKE_DOWN:
                    return Outcome(Verdict.REJECTED, reason="the channel can no longer change its posts")
            return channel.send(message.data, attempt)

        try:
            self._send_all(batch, post, channel if isinstance(channel, CanFind) else None)
        finally:
            batch.close()

    def _send_all(
        self, batch: DeliveryBatch, send: Callable[[OutgoingMessage], Outcome], finder: CanFind | None = None
    ) -> None:
        """Send messages one after the other, until nothing is due. `finder` looks for posts that are in doubt."""
        context = self._context
        while True:
            permitted = batch.take()
            if permitted is None:
                wait = batch.seconds_until_next()
                if wait is None:
                    return
                context.stopping.wait(wait)
                continue
            delivery = permitted.delivery
            real_now = context.real_clock()
            if delivery.doubts and delivery.channel and not context.policies.key_holds(delivery, real_now):
                outcome = self._find_post(finder, permitted)
                if outcome.verdict is not Verdict.NOT_STARTED:
                    now, real_now = context.clock(), context.real_clock()
                    batch.end(permitted, values_after_search(delivery, outcome, context.policies, now, real_now))
                    continue
            if (next_at := self._next_post_time(delivery)) is not None:
                batch.end(
                    permitted, {"state": DeliveryState.DEFERRED, "reason": "waits for its turn", "next_at": next_at}
                )
                continue
            (may_begin,) = batch.begin([permitted])
            if may_begin:
                self._send(batch, permitted, send)
            else:
                batch.give_back(permitted)

    def _next_post_time(self, delivery: Delivery) -> datetime | None:
        """Return until when a post must wait because of its channel's spacing, or None if it may go now."""
        spacing = self._spacings.get(delivery.channel)
        if spacing is None or delivery.rendition is None or delivery.doubts:
            return None
        now = self._context.clock()
        with self._context.store.read() as connection:
            recent = corrections.posting_times(connection, delivery.channel, now - timedelta(days=1))
        at = spacing.earliest(now, recent)
        return at if at > now else None

    def _find_post(self, finder: CanFind | None, permitted: PermittedDelivery) -> Outcome:
        """Look for a post that is in doubt. NOT_STARTED: it was certainly not published and may be sent."""
        handed_at = permitted.delivery.handed_at
        if finder is None or handed_at is None:
            return Outcome(Verdict.UNKNOWN, reason="too late to repeat it safely")
        return finder.find(permitted.message.data, self._attempt(permitted.message, handed_at))

    def _attempt(self, message: OutgoingMessage, at: datetime) -> Attempt:
        is_reply = message.change in (None, PostChange.REPLY)
        uploads = StoredUploads(self._context.store, message.delivery, self._context.clock())
        return Attempt(message.key, at, self._picture, message.receipt if is_reply else "", uploads)

    def _send(
        self, batch: DeliveryBatch, permitted: PermittedDelivery, send: Callable[[OutgoingMessage], Outcome]
    ) -> None:
        try:
            outcome = send(permitted.message)
        except Exception as error:
            reason = f"{type(error).__name__} while the message was sent"
            batch.record_outcome(permitted, Outcome(Verdict.UNKNOWN, reason=reason))
            raise
        else:
            batch.record_outcome(permitted, outcome)
        finally:
            batch.flush_outcomes()


def finish_editions(store: Store, now: datetime) -> list[int]:
    """Mark editions without active deliveries as done and close finished mailings. Returns the editions' ids."""
    finished = []
    ledger.cancel_leftovers(store, now)
    with store.write() as connection:
        for number in ledger.finished_editions(connection):
            edition = editions.get_edition(connection, number)
            editions.set_state(connection, edition, EditionState.DONE, now=now, what="every delivery has ended")
            finished.append(number)
        ledger.close_finished_mailings(connection)
    return finished
