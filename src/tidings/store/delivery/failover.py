"""Find out that another database server has taken over, and let no claim happen until the senders have reported.

A standby that was behind has forgotten the last commits. So a delivery may be pending there although it was sent. Only
the process that sent it knows: `SenderMemory` keeps the last lines of its journal. When PostgreSQL has a new timeline,
each sender first notes in the ledger what was forgotten (`take_back`). Until all of them have done so, or `PATIENCE` is
over, nothing is claimed, recovered or composed. docs/howto/run-a-fleet.md describes this for people.

SQLite has no standby: its timeline is always empty, and nothing here costs it a query.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError, NotSupportedError, ProgrammingError

from tidings.model.delivery import Delivery
from tidings.store import schema as t
from tidings.store.delivery import notices
from tidings.store.engine import POOLED, Store, json_rows, run_sql
from tidings.store.key_values import delete_value, find_value, set_value
from tidings.store.service.heartbeat import load_heartbeats

PATIENCE = timedelta(seconds=120)
"""Twice the time after which a process notices that the machine of the former server is gone."""
REMEMBERED = 3_600.0
"""Seconds for which a sender remembers. Older deliveries may have been deleted by `keep`."""
PREVENTION = "To prevent this: synchronous replication."
_MOST = 20_000
"""Lines that a sender remembers. With its time, a line takes 200 bytes."""
_KNOWN = "timeline"
"""Name in `facts` of the timeline on which deliveries may be claimed."""
_FAILOVER = "failover"
"""Name in `facts` of a failover that is not settled: the new timeline, since when, and who has not reported."""
_LOCK = 0x7469_6469_6E66
_TIMELINE = "SELECT system_identifier || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()"


@dataclass(frozen=True, slots=True)
class RememberedDelivery:
    """A delivery that this process claimed lately: its schedule, and the newsroom's time of the claim."""

    schedule: str
    claimed_at: datetime


class SenderMemory:
    """What one process claimed and noted in its journal lately, and the timeline on which it did so."""

    def __init__(self, timeline: str = "", *, most: int = _MOST) -> None:
        """`most`: lines that it keeps."""
        self.timeline = timeline
        self._lines: deque[tuple[float, str]] = deque(maxlen=most)
        # A claim has 25 deliveries or more while much is sent.
        self._claims: deque[tuple[RememberedDelivery, Sequence[int]]] = deque(maxlen=most // 10)

    @classmethod
    def of(cls, store: Store) -> SenderMemory:
        """Return an empty one. Beside SQLite it keeps nothing."""
        return cls(most=0 if store.is_sqlite else _MOST)

    def is_of(self, timeline: str) -> bool:
        """Whether the claims were made on this timeline. A server that tells none counts as the same one."""
        return timeline in ("", self.timeline)

    def add(self, entry: str) -> None:
        """Remember a line of the journal, or several."""
        self._lines.append((time.monotonic(), entry))

    def add_claim(self, deliveries: Iterable[Delivery], now: datetime) -> None:
        """Remember a claim."""
        by_schedule: dict[str, list[int]] = {}
        for delivery in deliveries:
            by_schedule.setdefault(delivery.schedule, []).append(delivery.id)
        for schedule, ids in by_schedule.items():
            self._claims.append((RememberedDelivery(schedule, now), ids))

    def lines(self) -> list[str]:
        """Return the lines of the journal that are not too old, in order."""
        since = time.monotonic() - REMEMBERED
        return [line for at, entry in self._lines if at > since for line in entry.splitlines()]

    def claims(self) -> dict[int, RememberedDelivery]:
        """Return the last claim of each delivery."""
        return {number: claim for claim, numbers in self._claims for number in numbers}

    def forget(self) -> None:
        """Forget everything but the timeline."""
        self._lines.clear()
        self._claims.clear()


def server_timeline(connection: Connection) -> str:
    """Return the server and its timeline, which a promotion changes. Empty for SQLite, or if it cannot be known.

    The server is asked once for each connection: a primary keeps its timeline as long as it lives. A standby is asked
    again, because it may be promoted. So is a pool, because it may lead to another server without a new connection.
    """
    if connection.dialect.name != "postgresql":
        return ""
    known = None if connection.get_execution_options().get(POOLED) else connection.info.get(_KNOWN)
    if known is None:
        try:
            with connection.begin_nested():
                known = str(connection.exec_driver_sql(_TIMELINE).scalar_one())
        except (ProgrammingError, NotSupportedError):
            # No right to call these functions, or a service that speaks PostgreSQL but does not have them.
            known = ""
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            # A standby.
            return ""
        connection.info[_KNOWN] = known
    return known


@dataclass(frozen=True, slots=True)
class Timeline:
    """The timeline of the server, and whether deliveries may be claimed on it."""

    name: str
    is_settled: bool


def look(connection: Connection, now: datetime) -> Timeline:
    """Compare the server with the one on which deliveries were claimed last. `now` is real time.

    The first look after a failover begins the wait for the processes that were alive then. The first look after the
    wait ends it.
    """
    name = server_timeline(connection)
    if not name or find_value(connection, _KNOWN) == name:
        return Timeline(name, is_settled=True)
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    known = find_value(connection, _KNOWN)
    if known in (None, name):
        set_value(connection, _KNOWN, name)
        return Timeline(name, is_settled=True)
    since, waiting = _load_wait(connection, name)
    if since is None:
        _save_wait(connection, name, now, [beat.owner for beat in load_heartbeats(connection) if beat.work.sends])
        # Never settled at the first look: a sender whose heartbeat was forgotten reports before its second one.
        return Timeline(name, is_settled=False)
    if waiting and now < since + PATIENCE:
        return Timeline(name, is_settled=False)
    set_value(connection, _KNOWN, name)
    delete_value(connection, _FAILOVER)
    if waiting:
        text = (
            f"The database failed over to another server, and {', '.join(waiting)} did not report what was sent.\n"
            f"Mails that the new server has forgotten may go out twice.\n{PREVENTION}"
        )
        notices.add_notice(connection, notices.Notice(f"failover:{name}", "failed", text, now))
    return Timeline(name, is_settled=True)


def is_settled(store: Store, now: datetime) -> bool:
    """Whether deliveries may be claimed, and editions composed. `now` is real time."""
    if store.is_sqlite:
        return True
    with store.write() as connection:
        return look(connection, now).is_settled


def report(connection: Connection, timeline: str, owner: str) -> None:
    """Record that a process has restored the forgotten results in the ledger, or had none to restore."""
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    since, waiting = _load_wait(connection, timeline)
    if since is not None and owner in waiting:
        _save_wait(connection, timeline, since, [name for name in waiting if name != owner])


def _load_wait(connection: Connection, timeline: str) -> tuple[datetime | None, list[str]]:
    values = json.loads(find_value(connection, _FAILOVER) or "{}")
    if values.get("timeline") != timeline:
        return None, []
    return datetime.fromisoformat(values["since"]), list(values["waiting"])


def _save_wait(connection: Connection, timeline: str, since: datetime, waiting: Sequence[str]) -> None:
    values = {"timeline": timeline, "since": since.isoformat(), "waiting": list(waiting)}
    set_value(connection, _FAILOVER, json.dumps(values))


_TAKE_BACK = """
    UPDATE deliveries SET
        state = 'handed', owner = :owner, fence = given.fence, lease_until = :until, next_at = NULL,
        not_before = NULL, handed_at = coalesce(handed_at, :real_now)
    FROM (ROWS) AS given
    WHERE deliveries.id = given.id AND deliveries.at <= given.claimed_at AND deliveries.fence < given.fence
        AND deliveries.state IN ('pending', 'deferred', 'in_doubt')
"""
_FIND = """
    SELECT deliveries.id FROM deliveries, (ROWS) AS given
    WHERE deliveries.id = given.id AND (deliveries.at <= given.claimed_at OR deliveries.fence >= given.fence)
"""


def take_back(
    connection: Connection,
    owner: str,
    fences: Mapping[int, int],
    claims: Mapping[int, RememberedDelivery],
    *,
    real_now: datetime,
    until: datetime,
) -> list[int]:
    """Claim again what this owner had claimed and the server has forgotten. `fences` are those of the lost claims.

    Returns the deliveries that do not exist any more, because the server has forgotten their edition too. A new one may
    have got the same id since. It is younger than the lost claim.
    """
    given = [[number, fence, t.to_microseconds(claims[number].claimed_at)] for number, fence in fences.items()]
    rows = json_rows(connection.dialect.name, id="bigint", fence="integer", claimed_at="bigint")
    values = {"rows": json.dumps(given)}
    moments = {"until": t.to_microseconds(until), "real_now": t.to_microseconds(real_now)}
    run_sql(connection, _TAKE_BACK.replace("ROWS", rows), {**values, **moments, "owner": owner})
    existing = {row[0] for row in run_sql(connection, _FIND.replace("ROWS", rows), values)}
    return [number for number in fences if number not in existing]


def forget_timeline(connection: Connection) -> None:
    """Forget the server, after a restore into another one."""
    delete_value(connection, _KNOWN)
    delete_value(connection, _FAILOVER)
