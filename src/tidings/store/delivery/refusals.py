"""Refused mails: which ones nobody has acted on yet, and the counts by which the breaker decides."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, case, exists, func, select, update

from tidings.model.delivery import DeliveryState
from tidings.store import schema as t
from tidings.store.people.feedback import Recipient

_PAGE = 500
_TEST = "test"
_MOST_REASONS = 200


@dataclass(frozen=True, slots=True)
class RefusedMail:
    """A mail that the server refused at once. `edition` is None for mail that is of no edition."""

    recipient: Recipient
    reason: str
    state: str
    mailing: int
    edition: int | None
    sender: str

    @property
    def id(self) -> int:
        """The number of the delivery."""
        assert self.recipient.delivery is not None
        return self.recipient.delivery

    @property
    def domain(self) -> str:
        """The domain of the reader's address."""
        return self.recipient.address.rpartition("@")[2].casefold()


def _find(connection: Connection, which: ColumnElement[bool]) -> list[RefusedMail]:
    d, m, p = t.deliveries.c, t.mailings.c, t.subscribers.c
    # The mail of `tidings test` has an address only. If a subscriber has it, the refusal is about them as any other.
    other = t.subscribers.alias()
    tested = select(func.min(other.c.id)).where(other.c.address_hash == d.address_hash, d.purpose == _TEST)
    query = (
        select(
            d.id,
            d.address_hash,
            d.list,
            p.id.label("subscriber"),
            d.purpose,
            p.address,
            d.reason,
            d.state,
            d.mailing,
            m.edition,
        )
        .add_columns(d.sender)
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .join(t.subscribers, p.id == func.coalesce(d.subscriber, tested.scalar_subquery()))
        .where(which, d.list != "", d.channel == "")
        .order_by(d.id)
        .limit(_PAGE)
    )
    return [
        RefusedMail(
            Recipient(
                row.address_hash,
                row.list,
                row.subscriber,
                row.id,
                "" if row.purpose == _TEST else row.purpose,
                row.address,
            ),
            row.reason,
            row.state,
            row.mailing,
            row.edition,
            row.sender,
        )
        for row in connection.execute(query)
    ]


def find_refused(connection: Connection, since: datetime, after: int) -> list[RefusedMail]:
    """Rejected mails after `since` without feedback, with ids after `after`: one page."""
    d, r = t.deliveries.c, t.feedback.c
    unheard = ~exists(select(r.id).where(r.delivery == d.id))
    return _find(connection, (d.state == DeliveryState.REJECTED) & (d.at > since) & (d.id > after) & unheard)


def find_mails(connection: Connection, ids: Collection[int]) -> list[RefusedMail]:
    """The deferred mails with these ids."""
    wanted = sorted(ids)
    found: list[RefusedMail] = []
    for at in range(0, len(wanted), _PAGE):
        part = t.deliveries.c.id.in_(wanted[at : at + _PAGE])
        found += _find(connection, part & (t.deliveries.c.state == DeliveryState.DEFERRED))
    return found


def find_refused_in(connection: Connection, edition: int) -> list[RefusedMail]:
    """The mails of an edition that were refused and wait again, because nobody believed the refusal."""
    d, m = t.deliveries.c, t.mailings.c
    found: list[RefusedMail] = []
    while True:
        after = found[-1].id if found else 0
        waits = (d.state == DeliveryState.PENDING) & (d.reason != "")
        page = _find(connection, (m.edition == edition) & waits & (d.id > after))
        if not page:
            return found
        found += page


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """Where a delivery belongs. `edition` is None for mail that is of no edition."""

    mailing: int
    edition: int | None
    sender: str


def find_sent(connection: Connection, delivery: int) -> SentDelivery | None:
    """The mailing, edition and sender of a delivery; None if `keep` has deleted it."""
    d, m = t.deliveries.c, t.mailings.c
    query = select(d.mailing, m.edition, d.sender).join_from(t.deliveries, t.mailings, m.id == d.mailing)
    row = connection.execute(query.where(d.id == delivery)).one_or_none()
    return None if row is None else SentDelivery(row.mailing, row.edition, row.sender)


def requeue(connection: Connection, ids: Iterable[int], now: datetime) -> None:
    """Let refused mails be sent again at once: the attempt does not count. The reason stays, for people."""
    d = t.deliveries
    wanted = sorted(ids)
    for at in range(0, len(wanted), _PAGE):
        refused = d.c.state.in_((DeliveryState.REJECTED, DeliveryState.DEFERRED)) & (d.c.doubts == 0)
        connection.execute(
            update(d)
            .where(d.c.id.in_(wanted[at : at + _PAGE]), refused)
            .values(
                state=DeliveryState.PENDING,
                attempts=case((d.c.attempts > 0, d.c.attempts - 1), else_=0),
                next_at=None,
                not_before=None,
                at=now,
            )
        )


def reject(connection: Connection, ids: Iterable[int], now: datetime) -> None:
    """End mails that wait again after a refusal which a person believes."""
    d = t.deliveries
    wanted = sorted(ids)
    for at in range(0, len(wanted), _PAGE):
        mine = d.c.id.in_(wanted[at : at + _PAGE]) & (d.c.state == DeliveryState.PENDING)
        connection.execute(update(d).where(mine).values(state=DeliveryState.REJECTED, at=now))


def count_accepted(connection: Connection, mailing: int, sender: str, domain: str = "") -> int:
    """How many mails of a mailing a sender, or any (empty), has had accepted, of one domain or of all (empty)."""
    d, p = t.deliveries.c, t.subscribers.c
    mine = (d.mailing == mailing) & (d.state == DeliveryState.ACCEPTED) & (d.channel == "")
    if sender:
        mine &= d.sender == sender
    query = select(func.count()).select_from(t.deliveries).where(mine)
    if domain:
        at_domain = func.lower(p.address).endswith(f"@{domain}", autoescape=True)
        query = query.join(t.subscribers, p.id == d.subscriber).where(at_domain)
    return int(connection.execute(query).scalar_one())


def waiting_reasons(connection: Connection) -> list[tuple[str, int]]:
    """Why mails of open mailings wait after a refusal, each reason with the number of mails."""
    d, m = t.deliveries.c, t.mailings.c
    states = d.state.in_((DeliveryState.PENDING, DeliveryState.DEFERRED))
    query = (
        select(d.reason, func.count())
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .where(states, d.channel == "", d.reason != "", m.open.is_(True))
        .group_by(d.reason)
        .order_by(func.count().desc())
        .limit(_MOST_REASONS)
    )
    return [(row[0], int(row[1])) for row in connection.execute(query)]
