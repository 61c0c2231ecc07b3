"""The transaction of a batch: settle ended messages and permit the next ones."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tidings.model.delivery import Delivery, SkipReason
from tidings.pipeline.deliver.context import DeliveryContext, Lane
from tidings.pipeline.deliver.pacing import SendRates
from tidings.store.delivery import permission, rates, settling
from tidings.store.delivery.sqlite_fast_path import GrantedBatch, SqliteFastPath, Taken

T = TypeVar("T")
RowResult = tuple[Delivery, Mapping[str, Any]]
"""A delivery and the new values of its row."""
_MAX_RETRIES = 5


@dataclass(frozen=True, slots=True)
class Settlement:
    """The result of one transaction."""

    lost: set[int]
    """Deliveries taken over by another process, so that their results do not count."""
    permitted: Sequence[tuple[Delivery, float]]
    """Each delivery with its earliest start, in seconds since 1970."""
    skipped: Sequence[tuple[Delivery, SkipReason]]
    consent_version: int


class BatchTransaction:
    """Writes for one batch. For one thread."""

    def __init__(self, context: DeliveryContext, lane: Lane) -> None:
        self._context = context
        self._sender = lane.sender.name if lane.sender is not None else ""
        with context.store.read() as connection:
            self.rates = SendRates(lane.sender, rates.load_paces(connection, self._sender) if lane.sender else {})
        path = context.store.path
        is_only_sender = lane.sender is not None and lane.share is None
        self._fast_path = SqliteFastPath(path) if path is not None and is_only_sender else None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction. It is retried if the database is busy or has broken a deadlock."""
        for attempt in itertools.count():
            try:
                with self._context.store.write() as connection:
                    return work(connection)
            except OperationalError:
                if attempt >= _MAX_RETRIES:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError

    def run_fast_path(self, accepted: Sequence[Taken], room: int) -> GrantedBatch | None:
        """Settle acceptances, and claim and permit up to `room`, in one SQLite step.

        Returns None, unchanged, if the batch is not plain first sends.
        """
        context = self._context
        real_now = context.real_clock()
        if self._fast_path is None or self.rates.limits(real_now.timestamp()):
            return None
        # If this fails, `settle` repeats the work, and raises if it fails again.
        with contextlib.suppress(sqlite3.OperationalError):
            return self._fast_path.step(
                context.owner,
                accepted,
                room,
                now=context.clock(),
                real_now=real_now,
                until=real_now + context.lease,
                sender=self._sender,
                only=context.only,
            )
        return None

    def settle(
        self,
        accepted: Sequence[Taken],
        results: Sequence[RowResult],
        candidates: Sequence[Delivery],
        consent_version: int,
    ) -> Settlement:
        """Settle ended messages and permit `candidates`. `consent_version` is the version at their lease."""
        context = self._context
        now, real_now = context.clock(), context.real_clock()
        moment = real_now.timestamp()
        limits = self.rates.limits(moment)

        def work(connection: Connection) -> Settlement:
            lost = {row[0] for row in accepted} - settling.record_accepted(connection, context.owner, accepted, now)
            lost |= {delivery.id for delivery in settling.settle(connection, context.owner, results)}
            decision = permission.hand_over(
                connection,
                candidates,
                owner=context.owner,
                version=consent_version,
                now=now,
                real_now=real_now,
                sender=self._sender,
            )
            self.rates.save(connection)
            permitted = [(delivery, 0.0) for delivery in decision.handed]
            if limits and permitted:
                permitted, late = self.rates.schedule(connection, decision.handed, limits, moment)
                # A delivery that must wait long is given back until then, so that it blocks no other.
                given_back = [
                    (delivery, settling.requeued(delivery) | {"not_before": datetime.fromtimestamp(earliest, UTC)})
                    for delivery, earliest in late
                ]
                settling.settle(connection, context.owner, given_back)
            return Settlement(lost, permitted, decision.skipped, decision.version)

        return self.write(work)

    def close(self) -> None:
        """Close the connection of the fast path."""
        if self._fast_path is not None:
            self._fast_path.close()
