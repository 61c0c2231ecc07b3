"""Metrics of the store, cheap enough to read every few seconds: each comes from an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, text

from tidings.model.delivery import DeliveryState
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import retention
from tidings.store.engine import Store
from tidings.store.service import pauses
from tidings.store.service.pauses import Pause

_LATELY = timedelta(days=7)
_NEWEST = 5
"""How many of the newest mailings are searched for the last accepted delivery."""
_TAIL = 200
"""Deliveries read in each mailing: mail is sent nearly in the order of ids, over a few connections."""


@dataclass(frozen=True, slots=True)
class StoreMetrics:
    """Metrics of a store. Times are those of the clock of the newsroom."""

    deliveries: Mapping[str, int]
    """By state, with those that `keep` has deleted."""
    queued: int
    """Pending in an open mailing, and not paused."""
    queued_since: datetime | None
    """When the oldest of those mailings was due."""
    overdue: int
    """Deferred in an open mailing, and due."""
    doubtful: int
    """In doubt and waiting for a person."""
    doubtful_since: datetime | None
    """The oldest change of a delivery in doubt."""
    quarantined: int
    """Quarantined within the last week."""
    accepted_at: datetime | None
    """The approximate time of the last accepted delivery."""
    open_editions: tuple[Edition, ...]
    """Composing, held or sending, the oldest first."""
    pauses: tuple[Pause, ...]
    """Active pauses."""
    set_aside: Mapping[str, int]
    """Items that could not be read, by source."""
    slots: Mapping[tuple[str, str], int]
    """By schedule and result."""

    @property
    def held(self) -> list[Edition]:
        """Editions that wait for a person."""
        return [edition for edition in self.open_editions if edition.state is EditionState.HELD]

    @property
    def held_by_reason(self) -> dict[HoldReason, int]:
        """Held editions by reason, also reasons with none; an edition may have several."""
        reasons = [hold.reason for edition in self.held for hold in edition.holds]
        return {reason: reasons.count(reason) for reason in HoldReason}


def load_metrics(connection: Connection, now: datetime) -> StoreMetrics:
    """Read the metrics. `now` is the clock of the newsroom."""
    d, s = t.deliveries.c, t.slots.c
    going = _open_mailings(connection, now)
    numbers = list(going)
    held = tuple(pauses.active_pauses(connection))
    waiting = _pending(connection, numbers, pauses.is_not_paused(held))
    late = select(func.count()).where(d.state == DeliveryState.DEFERRED, d.mailing.in_(numbers), d.next_at <= now)
    doubt = select(func.count(), func.min(d.at)).where(d.state == DeliveryState.IN_DOUBT)
    _, since = connection.execute(doubt).one()
    lately = select(func.count()).where(d.state == DeliveryState.QUARANTINED, d.at >= now - _LATELY)
    aside = t.set_aside.c.source
    return StoreMetrics(
        deliveries=_by_state(connection),
        queued=sum(waiting.values()),
        queued_since=min((going[mailing] for mailing in waiting), default=None),
        overdue=connection.execute(late).scalar_one(),
        doubtful=connection.execute(doubt.where(d.next_at.is_(None))).one()[0],
        doubtful_since=since,
        quarantined=connection.execute(lately).scalar_one(),
        accepted_at=_accepted_at(connection),
        open_editions=tuple(editions.list_editions(connection, states=editions.OPEN_STATES)),
        pauses=held,
        set_aside=_counts(connection, select(aside, func.count()).group_by(aside)),
        slots={
            (row[0], row[1]): row[2]
            for row in connection.execute(select(s.schedule, s.state, func.count()).group_by(s.schedule, s.state))
        },
    )


def _by_state(connection: Connection) -> dict[str, int]:
    """The same as `ledger.count_by_state`, without reading each accepted delivery; most are accepted.

    SQLite knows how many entries an index has. `accepted` is the first state in the alphabet.
    """
    d = t.deliveries.c
    others = select(d.state, func.count()).where(d.state > DeliveryState.ACCEPTED.value).group_by(d.state)
    counts = Counter(_counts(connection, others))
    total = connection.execute(select(func.count()).select_from(t.deliveries)).scalar_one()
    counts[DeliveryState.ACCEPTED.value] = total - counts.total()
    return dict(counts + retention.count_deleted(connection))


def _counts(connection: Connection, query: Select[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _open_mailings(connection: Connection, now: datetime) -> dict[int, datetime]:
    """Mailings whose deliveries may be claimed, with their start."""
    m, e = t.mailings.c, t.editions.c
    query = (
        select(m.id, func.coalesce(e.starts, m.at, type_=t.Moment))
        .join_from(t.mailings, t.editions, e.id == m.edition, isouter=True)
        .where(m.open.is_(True), or_(m.closes.is_(None), m.closes > now))
        .where(or_(m.edition.is_(None), e.state == EditionState.SENDING))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _pending(connection: Connection, mailings: Iterable[int], allowed: ColumnElement[bool] | None) -> dict[int, int]:
    d, m = t.deliveries.c, t.mailings.c
    query = select(d.mailing, func.count()).where(d.state == DeliveryState.PENDING, d.mailing.in_(list(mailings)))
    if allowed is not None:
        query = query.join_from(t.deliveries, t.mailings, m.id == d.mailing).where(allowed)
    return {row[0]: row[1] for row in connection.execute(query.group_by(d.mailing))}


def _accepted_at(connection: Connection) -> datetime | None:
    """Read the ends of the newest mailings: an index over times would slow down every send."""
    d = t.deliveries.c
    moments: list[datetime] = []
    below: int | None = None
    for _ in range(_NEWEST):
        # The newest mailing below the last one that has an accepted delivery: one step down the index.
        step = select(func.max(d.mailing)).where(d.state == DeliveryState.ACCEPTED)
        below = connection.execute(step if below is None else step.where(d.mailing < below)).scalar_one()
        if below is None:
            break
        tail = (
            select(d.id)
            .where(d.state == DeliveryState.ACCEPTED, d.mailing == below, d.next_at.is_(None))
            # With `next_at` PostgreSQL sees that the index is in this order; they are all NULL.
            .order_by(d.next_at.desc(), d.id.desc())
            .limit(_TAIL)
        )
        moment = connection.execute(select(func.max(d.at)).where(d.id.in_(tail))).scalar_one()
        moments += [moment] if moment is not None else []
    return max(moments, default=None)


def store_bytes(store: Store, connection: Connection) -> int:
    """Bytes of the store on disk, with its write-ahead log."""
    if store.path is None:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    paths = [store.path, store.path.with_name(store.path.name + "-wal")]
    return sum(path.stat().st_size for path in paths if path.exists())
