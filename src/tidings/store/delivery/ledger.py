"""The ledger: mailings, their deliveries, and the state of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, or_, select, update

from tidings.model.dates import format_utc
from tidings.model.delivery import DeliveryState
from tidings.model.errors import InputError, RefusedError
from tidings.store import schema as t
from tidings.store.delivery import history, retention, threads
from tidings.store.engine import Store, insert_once
from tidings.store.people import consent
from tidings.store.people.consent import address_hash
from tidings.store.service import pauses

UNFINISHED = (DeliveryState.PENDING, DeliveryState.LEASED, DeliveryState.HANDED, DeliveryState.DEFERRED)
"""States that continue without a person. So does `in_doubt` if its `next_at` is set."""

_PAGE = 1_000
_CANCELLED_AT_ONCE = 500
"""Rows in one transaction: well under 100 ms."""
_EMPTY: Mapping[str, Any] = {
    "story": "",
    "part": 0,
    "list": "",
    "channel": "",
    "subscriber": None,
    "selection": None,
    "rendition": None,
    "mark": None,
    "address_hash": "",
    "state": DeliveryState.PENDING.value,
    "reason": "",
    "attempts": 0,
    "doubts": 0,
    "crashes": 0,
    "owner": "",
    "fence": 0,
    "lease_until": None,
    "next_at": None,
    "not_before": None,
    "handed_at": None,
    "receipt": "",
    "via": "",
    "sender": "",
    "returned": "",
    "details": {},
}


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of `tidings ledger`. `edition` is SCHEDULE/NUMBER or empty; `address` is empty after an erasure."""

    id: int
    schedule: str
    edition: str
    list: str
    channel: str
    story: str
    purpose: str
    target: str
    address: str
    state: str
    reason: str
    attempts: int
    doubts: int
    receipt: str
    via: str
    returned: str
    at: datetime
    language: str
    """Language of the text; empty if there is none. Not a field of `--json`."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields, with `at` in RFC 3339."""
        fields = {name: value for name, value in asdict(self).items() if name != "language"}
        return {**fields, "at": format_utc(self.at)}


def get_or_create_mailing(
    connection: Connection,
    key: str,
    kind: str,
    *,
    now: datetime,
    schedule: str = "",
    edition: int | None = None,
    open: bool = False,
    urgent: bool = False,
) -> int:
    """Return the id of the mailing with this key; create it if there is none. Only open mailings are sent.

    A mailing without an edition is always urgent: a person waits for it.
    """
    connection.execute(
        insert_once(connection, t.mailings).values(
            key=key,
            kind=kind,
            schedule=schedule,
            edition=edition,
            open=open,
            urgent=urgent or edition is None,
            marked=edition is None,
            at=now,
        )
    )
    return int(connection.execute(select(t.mailings.c.id).where(t.mailings.c.key == key)).scalar_one())


def edition_mailing(connection: Connection, edition: int) -> tuple[int, list[str]]:
    """The mailing of an edition (0: none), and the outlets (`list:NAME`, `channel:NAME`) that it is still to go to."""
    d, m = t.deliveries.c, t.mailings.c
    mailing = connection.execute(select(m.id).where(m.edition == edition)).scalars().first() or 0
    query = select(d.list, d.channel).where(d.mailing == mailing, is_active()).distinct()
    return mailing, sorted(
        f"channel:{row.channel}" if row.channel else f"list:{row.list}" for row in connection.execute(query)
    )


def note_postponed(connection: Connection, mailing: int, *, is_any: bool) -> None:
    """Note whether stories of an edition's mailing wait for a later one: only then `plan` looks at its deliveries."""
    connection.execute(update(t.mailings).where(t.mailings.c.id == mailing).values(postpones=is_any))


def count_mailings(connection: Connection, prefix: str) -> int:
    """Count the mailings whose key begins with `prefix`."""
    key = t.mailings.c.key
    # A range, so that the index is used.
    query = select(func.count()).where(key >= prefix, key < f"{prefix}\U0010ffff")
    return int(connection.execute(query).scalar_one())


def mailing_time(connection: Connection, mailing: int) -> datetime:
    """When the mailing was made: the date of its messages."""
    moment: datetime = connection.execute(select(t.mailings.c.at).where(t.mailings.c.id == mailing)).scalar_one()
    return moment


def add_deliveries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Add deliveries, without changing existing ones; returns how many were new.

    Each row has at least `mailing target purpose at`; the rest defaults to a pending delivery. The hash of an
    address in `details` is computed here. A mailing without an edition is opened (again): else a row that comes after
    the others are sent would wait for ever. The mailing of an edition is opened by `open_edition`.
    """
    if not rows:
        return 0
    full = [{**_EMPTY, **row} for row in rows]
    for row in full:
        if not row["address_hash"] and row["details"].get("address"):
            row["address_hash"] = address_hash(row["details"]["address"])
    mailings = {row["mailing"] for row in full}
    # The update locks the rows until the commit, and `close_finished_mailings` waits for it.
    active = {row["mailing"] for row in full if row["state"] in UNFINISHED}
    without_edition = t.mailings.c.id.in_(active) & t.mailings.c.edition.is_(None)
    connection.execute(update(t.mailings).where(without_edition).values(open=True))
    counted = select(func.count()).select_from(t.deliveries).where(t.deliveries.c.mailing.in_(mailings))
    before = connection.execute(counted).scalar_one()
    connection.execute(insert_once(connection, t.deliveries), full)
    return int(connection.execute(counted).scalar_one() - before)


def is_active() -> ColumnElement[bool]:
    """Condition on `deliveries`: not finished, and no person is needed."""
    d = t.deliveries.c
    # One list of states, so that the index on states is used: OR would read the whole mailing.
    possible = d.state.in_((*UNFINISHED, DeliveryState.IN_DOUBT))
    return and_(possible, or_(d.state != DeliveryState.IN_DOUBT, d.next_at.is_not(None)))


def open_edition(connection: Connection, edition: int, now: datetime, closes: datetime | None = None) -> None:
    """Let the deliveries of an edition be claimed until `closes`. It stays closed if all have finished."""
    d = t.deliveries.c
    left = exists(select(1).where(d.mailing == t.mailings.c.id, is_active()))
    connection.execute(update(t.mailings).where(t.mailings.c.edition == edition, left).values(open=True, closes=closes))


def close_edition(connection: Connection, edition: int) -> None:
    """Stop an edition: no further message begins, messages on the wire end, and the rest becomes pending again."""
    connection.execute(update(t.mailings).where(t.mailings.c.edition == edition).values(open=False))
    consent.advance_version(connection)


def cancel_edition(connection: Connection, edition: int, now: datetime) -> None:
    """Stop an edition that is cancelled in this transaction. Messages on the wire end first.

    Its posts are cancelled here, because the next edition may have their stories. `cancel_leftovers` does the rest.
    """
    mine = select(t.mailings.c.id).where(t.mailings.c.edition == edition)
    _cancel(connection, and_(t.deliveries.c.mailing.in_(mine), t.deliveries.c.channel != ""), now)
    close_edition(connection, edition)


def cancel_paused(connection: Connection, schedule: str, now: datetime) -> int:
    """Cancel deliveries that a pause blocks: the new edition offers their stories again.

    Returns how many deliveries of earlier editions of the schedule. Those that may have arrived are not changed.
    """
    d, m, e = t.deliveries, t.mailings.c, t.editions.c
    stopped = [
        pause for pause in pauses.active_pauses(connection) if pause.scope in (pauses.Scope.LIST, pauses.Scope.CHANNEL)
    ]
    if not stopped:
        return 0
    lists = [pause.name for pause in stopped if pause.scope is pauses.Scope.LIST]
    channels = [pause.name for pause in stopped if pause.scope is pauses.Scope.CHANNEL]
    mine = (
        select(m.id)
        .join_from(t.mailings, t.editions, e.id == m.edition)
        .where(m.schedule == schedule, e.state == "sending")
    )
    done = connection.execute(
        update(d)
        .where(
            d.c.mailing.in_(mine),
            or_(d.c.list.in_(lists), d.c.channel.in_(channels)),
            d.c.state.in_((DeliveryState.PENDING, DeliveryState.DEFERRED)),
            d.c.doubts == 0,
            # Only threads that have not begun; replies follow their first post.
            d.c.part == 0,
        )
        .values(state=DeliveryState.CANCELLED, reason="paused; it joined a later edition", next_at=None, at=now)
    )
    threads.release_replies(connection, now)
    return done.rowcount


def cancel_leftovers(store: Store, now: datetime) -> int:
    """Cancel what waits in cancelled and superseded editions, in small transactions; returns how many deliveries.

    A delivery that may have arrived stays in doubt, for a person. A later call continues after a crash.
    """
    d, e, m = t.deliveries.c, t.editions.c, t.mailings.c
    dead = (
        select(m.id)
        .join_from(t.mailings, t.editions, e.id == m.edition)
        .where(m.open.is_(False), e.state.in_(("cancelled", "superseded")))
    )
    left = and_(is_active(), d.state != DeliveryState.HANDED)
    query = select(d.id).where(d.mailing.in_(dead), left).limit(_CANCELLED_AT_ONCE)
    count = 0
    while True:
        with store.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return count
        with store.write() as connection:
            # Another process may do the same. It has locked its page.
            page = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
            count += _cancel(connection, d.id.in_(page), now)
        if not page:
            return count


def _is_waiting() -> ColumnElement[bool]:
    return t.deliveries.c.state.in_((DeliveryState.PENDING, DeliveryState.DEFERRED, DeliveryState.LEASED))


def _is_doubtful() -> ColumnElement[bool]:
    """Condition on `deliveries`: it may have arrived, and no person has been asked yet."""
    d = t.deliveries.c
    return or_(and_(_is_waiting(), d.doubts > 0), and_(d.state == DeliveryState.IN_DOUBT, d.next_at.is_not(None)))


def _cancel(connection: Connection, which: ColumnElement[bool], now: datetime) -> int:
    d = t.deliveries
    free: dict[str, Any] = {"owner": "", "lease_until": None, "next_at": None, "not_before": None, "at": now}
    connection.execute(update(d).where(which, _is_doubtful()).values(state=DeliveryState.IN_DOUBT, **free))
    done = connection.execute(update(d).where(which, _is_waiting()).values(state=DeliveryState.CANCELLED, **free))
    return done.rowcount


def open_mailings_to_people(connection: Connection) -> list[int]:
    """Open mailings that are no edition: notices, confirmations, tests."""
    m = t.mailings.c
    query = select(m.id).where(m.open.is_(True), m.edition.is_(None)).order_by(m.id)
    return list(connection.execute(query).scalars())


def count_waiting(connection: Connection) -> int:
    """Unfinished deliveries of open mailings, without deferred ones."""
    d, m = t.deliveries.c, t.mailings.c
    states = (DeliveryState.PENDING, DeliveryState.LEASED, DeliveryState.HANDED)
    query = select(func.count()).select_from(t.deliveries.join(t.mailings, m.id == d.mailing))
    return int(connection.execute(query.where(m.open.is_(True), d.state.in_(states))).scalar_one())


def has_unfinished(connection: Connection, edition: int) -> bool:
    """Whether a delivery of the edition could still be sent."""
    d, m = t.deliveries.c, t.mailings.c
    query = exists(
        select(1)
        .select_from(t.deliveries.join(t.mailings, m.id == d.mailing))
        .where(m.edition == edition, d.state.in_((*UNFINISHED, DeliveryState.IN_DOUBT)))
    )
    return bool(connection.execute(select(query)).scalar_one())


def entries(
    connection: Connection,
    *,
    schedule: str | None = None,
    edition: str | None = None,
    target: str | None = None,
    subscriber: int | None = None,
    state: str | None = None,
    since: datetime | None = None,
    within: tuple[Collection[str], Collection[str]] | None = None,
    after: int = 0,
    page: int = _PAGE,
) -> Iterator[LedgerEntry]:
    """Deliveries in the order of their ids after the id `after`, read in pages. `since` filters by their last change.

    `within` limits them to mail of these lists, and to the rest of these schedules. Raises InputError for an invalid
    state or name of an edition.
    """
    d, m, e, p, r = t.deliveries.c, t.mailings.c, t.editions.c, t.subscribers.c, t.renditions.c
    query: Select[Any] = (
        select(t.deliveries, m.schedule, e.schedule.label("of"), e.number, p.address, r.language)
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .outerjoin(t.editions, e.id == m.edition)
        .outerjoin(t.subscribers, p.id == d.subscriber)
        .outerjoin(t.renditions, r.id == d.rendition)
        .order_by(d.id)
        .limit(page)
    )
    if within is not None:
        lists, schedules = within
        query = query.where(or_(d.list.in_(list(lists)), and_(d.list == "", m.schedule.in_(list(schedules)))))
    if schedule is not None:
        query = query.where(m.schedule == schedule)
    if edition is not None:
        name, _, number = edition.rpartition("/")
        if not name or not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise InputError(f"{edition!r} is not the name of an edition. Write SCHEDULE/NUMBER.")
        query = query.where(e.schedule == name, e.number == int(number))
    if target is not None:
        # Uses existing indexes: one on targets would slow down every send.
        kind, _, rest = target.partition(":")
        number = rest.rpartition(":")[2]
        if kind == "list" and number.isascii() and number.isdigit() and len(number) < 19:
            query = query.where(or_(d.subscriber == int(number), d.subscriber.is_(None)))
        query = query.where(d.target == target)
    if subscriber is not None:
        query = query.where(d.subscriber == subscriber)
    if state is not None:
        if state not in set(DeliveryState):
            raise InputError(f"{state!r} is not a state. The states are: {' '.join(DeliveryState)}.")
        query = query.where(d.state == state)
    if since is not None:
        query = query.where(d.at >= since)
    while True:
        rows = connection.execute(query.where(d.id > after)).all()
        yield from map(_entry, rows)
        if len(rows) < page:
            return
        after = rows[-1].id


def _entry(row: Row[Any]) -> LedgerEntry:
    return LedgerEntry(
        id=row.id,
        schedule=row.schedule,
        edition="" if row.number is None else f"{row.of}/{row.number}",
        list=row.list,
        channel=row.channel,
        story=row.story,
        purpose=row.purpose,
        target=row.target,
        address=row.address or row.details.get("address", ""),
        state=row.state,
        reason=row.reason,
        attempts=row.attempts,
        doubts=row.doubts,
        receipt=row.receipt,
        via=row.via,
        returned=row.returned,
        at=row.at,
        language=row.language or "",
    )


def count_by_state(connection: Connection, *, edition: int | None = None, mailing: int | None = None) -> dict[str, int]:
    """Deliveries by state, of all, of one edition or of one mailing, with those that `keep` has deleted."""
    d = t.deliveries.c
    query = select(d.state, func.count()).group_by(d.state)
    if edition is not None:
        query = query.where(d.mailing.in_(select(t.mailings.c.id).where(t.mailings.c.edition == edition)))
    if mailing is not None:
        query = query.where(d.mailing == mailing)
    counts = Counter({row[0]: row[1] for row in connection.execute(query)})
    return dict(counts + retention.count_deleted(connection, edition=edition, mailing=mailing))


def resolve(
    connection: Connection,
    delivery: int,
    how: Literal["accepted", "resend", "cancel"],
    now: datetime,
    *,
    url: str = "",
    receipt: str = "",
) -> None:
    """Resolve a delivery as a person decided: one in doubt, one that was refused, or a post that waits.

    Raises InputError for an unknown id, RefusedError if the decision does not fit the state.
    """
    d = t.deliveries
    row = connection.execute(
        select(d.c.state, d.c.mailing, d.c.channel).where(d.c.id == delivery).with_for_update()
    ).one_or_none()
    if row is None:
        raise InputError(f"there is no delivery {delivery}; `tidings ledger --state in_doubt` lists those in doubt.")
    is_refused = row.state in (DeliveryState.REJECTED, DeliveryState.QUARANTINED)
    is_waiting_post = row.channel != "" and row.state in (DeliveryState.PENDING, DeliveryState.DEFERRED)
    if is_refused and how == "resend":
        _prepare_resend(connection, delivery, row.mailing)
    elif row.state != DeliveryState.IN_DOUBT and not (is_waiting_post and how == "cancel"):
        hint = " `--resend` sends it again." if is_refused else ""
        raise RefusedError(f"delivery {delivery} is {row.state}, not in doubt. There is nothing to resolve.{hint}")
    values: dict[str, Any] = {"at": now, "next_at": None, "not_before": None}
    if how == "accepted":
        values |= {"state": DeliveryState.ACCEPTED, "reason": "a person found that it arrived"}
        values |= {name: value for name, value in (("via", url), ("receipt", receipt)) if value}
    elif how == "cancel":
        values |= {"state": DeliveryState.CANCELLED, "reason": "a person dropped it"}
    else:
        values |= {"state": DeliveryState.PENDING, "reason": "a person decided to send it again", "handed_at": None}
        if is_refused:
            values |= {"attempts": 0, "crashes": 0}
            threads.revive_replies(connection, delivery)
        connection.execute(update(t.mailings).where(t.mailings.c.id == row.mailing).values(open=True))
    connection.execute(update(d).where(d.c.id == delivery).values(**values))


def _prepare_resend(connection: Connection, delivery: int, mailing: int) -> None:
    """Check that a refused delivery may go again, and continue its edition. Raises RefusedError."""
    m, e = t.mailings.c, t.editions.c
    state = connection.execute(
        select(e.state).join_from(t.mailings, t.editions, e.id == m.edition).where(m.id == mailing)
    ).scalar_one_or_none()
    if state in ("cancelled", "superseded"):
        raise RefusedError(f"the edition of delivery {delivery} is {state}, so nothing of it is sent again")
    if (other := history.find_same_story(connection, delivery)) is not None:
        raise RefusedError(f"delivery {other} has a story of delivery {delivery} already, so it would go out twice")
    if state == "done":
        done = select(m.edition).where(m.id == mailing)
        connection.execute(update(t.editions).where(e.id.in_(done)).values(state="sending"))


def close_finished_mailings(connection: Connection) -> None:
    """Close mailings without active deliveries, so that claiming does not read them.

    On PostgreSQL the rows are locked first and checked again: a delivery may be added between the two.
    """
    d, m = t.deliveries.c, t.mailings.c
    left = exists(select(1).where(d.mailing == m.id, is_active()))
    finished = select(m.id).where(m.open.is_(True), ~left).order_by(m.id)
    ids = list(connection.execute(finished.with_for_update()).scalars())
    for start in range(0, len(ids), _PAGE):
        still = m.id.in_(ids[start : start + _PAGE]) & ~left
        connection.execute(update(t.mailings).where(still).values(open=False))


def finished_editions(connection: Connection) -> list[int]:
    """Editions that are sending and have no active deliveries."""
    d, m, e = t.deliveries.c, t.mailings.c, t.editions.c
    left = exists(select(1).where(d.mailing == m.id, is_active()))
    query = (
        select(e.id)
        .join_from(t.editions, t.mailings, m.edition == e.id)
        .where(e.state == "sending", ~left)
        .order_by(e.id)
    )
    return list(connection.execute(query).scalars())
