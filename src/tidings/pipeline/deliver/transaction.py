"""The one transaction of a desk: what has ended is settled, and what goes next is permitted."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tidings.model.delivery import Delivery
from tidings.pipeline.deliver.context import DeliveryContext
from tidings.pipeline.deliver.lanes import Lane, SendRates
from tidings.store.delivery import permission, rates, settling
from tidings.store.delivery.permission import Permission
from tidings.store.delivery.sqlite_fast_path import GrantedBatch, SqliteFastPath, Taken

T = TypeVar("T")
RowResult = tuple[Delivery, Mapping[str, Any]]
"""A delivery and the new values of its row."""
_TRIES = 5


class BatchTransaction:
    """What a desk of a lane writes."""

    def __init__(self, setting: DeliveryContext, lane: Lane) -> None:
        self._setting = setting
        self._sender = lane.sender.name if lane.sender is not None else ""
        is_shared = lane.sender is None or lane.portion is not None
        with setting.store.read() as connection:
            self.paces = SendRates(lane.sender, rates.load_paces(connection, self._sender) if lane.sender else {})
        path = setting.store.path
        self._quick = SqliteFastPath(path) if path is not None and not is_shared else None

    def write(self, work: Callable[[Connection], T]) -> T:
        """One transaction; asked again a few times where the database is busy or has broken a deadlock."""
        for attempt in itertools.count():
            try:
                with self._setting.store.write() as connection:
                    return work(connection)
            except OperationalError:
                if attempt >= _TRIES:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError

    def usual_step(self, taken: Sequence[Taken], room: int) -> GrantedBatch | None:
        """Settle what was taken, lease and permit up to `room`, all by the shortest way; None, and nothing is changed,
        where that does not lead there.
        """
        setting = self._setting
        real_now = setting.real_clock()
        if self._quick is None or self.paces.limits(real_now.timestamp()):
            return None
        # What is out of the ordinary is asked again by `step`, and is an error there if it stays.
        with contextlib.suppress(sqlite3.OperationalError):
            return self._quick.step(
                setting.owner,
                taken,
                room,
                now=setting.clock(),
                real_now=real_now,
                until=real_now + setting.lease,
                sender=self._sender,
                only=setting.only,
            )
        return None

    def step(
        self, taken: Sequence[Taken], results: Sequence[RowResult], wanted: Sequence[Delivery], version: int
    ) -> tuple[set[int], Permission, list[float]]:
        """The ids whose result is void, what is permitted, and the place of each; `version` is that of the lease."""
        setting = self._setting
        now, real_now = setting.clock(), setting.real_clock()
        moment = real_now.timestamp()
        limits = self.paces.limits(moment)

        def work(connection: Connection) -> tuple[set[int], Permission, list[float]]:
            lost = {row[0] for row in taken} - settling.record_accepted(connection, setting.owner, taken, now)
            lost |= {delivery.id for delivery in settling.settle(connection, setting.owner, results)}
            permitted = permission.hand_over(
                connection,
                wanted,
                owner=setting.owner,
                version=version,
                now=now,
                real_now=real_now,
                sender=self._sender,
            )
            self.paces.keep(connection)
            if not limits or not permitted.handed:
                return lost, permitted, [0.0] * len(permitted.handed)
            soon, late = self.paces.places(connection, permitted.handed, limits, moment)
            # What must wait for long goes back until then, and stands in nobody's way.
            back = [
                (delivery, settling.requeued(delivery) | {"not_before": datetime.fromtimestamp(place, UTC)})
                for delivery, place in late
            ]
            settling.settle(connection, setting.owner, back)
            handed = tuple(delivery for delivery, _ in soon)
            return lost, replace(permitted, handed=handed), [place for _, place in soon]

        return self.write(work)

    def close(self) -> None:
        """Give its connection up."""
        if self._quick is not None:
            self._quick.close()
