"""The permission to send a batch, given under the lock of the consent version and checked again after a change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection, TextClause, bindparam, text

from tidings.model.delivery import Delivery, DeliveryState, SkipReason
from tidings.store import schema as t
from tidings.store.delivery.claims import load_checks, may_send_now, skip_reason
from tidings.store.delivery.settling import requeued, settle, skipped
from tidings.store.engine import json_rows
from tidings.store.people import consent


@dataclass(frozen=True, slots=True)
class Permission:
    """The decision of `hand_over`. `version` is the consent version at which it is valid."""

    handed: tuple[Delivery, ...]
    skipped: tuple[tuple[Delivery, SkipReason], ...]
    version: int


def hand_over(
    connection: Connection,
    group: Sequence[Delivery],
    *,
    owner: str,
    version: int,
    now: datetime,
    real_now: datetime,
    sender: str = "",
) -> Permission:
    """Set the leased deliveries that may still be sent to `handed`. `version` is the consent version of their lease.

    Until the commit, nobody can unsubscribe and nothing can be stopped. A delivery that must not be sent
    any more is skipped with its reason. One whose mailing has closed or whose address has changed becomes pending
    again. One that another owner holds by now is not changed.
    """
    if not group:
        return Permission((), (), version)
    keys = json.dumps([(delivery.id, delivery.fence) for delivery in group])
    arguments = {"rows": keys, "owner": owner, "real_now": real_now, "sender": sender}
    ours = set(connection.execute(permit_statement(connection.dialect.name), arguments).scalars())
    mine = [delivery for delivery in group if delivery.id in ours]
    # Locked after the rows, because cancelling takes the same locks in this order.
    current = consent.lock_version(connection)
    if current == version:
        return Permission(tuple(mine), (), current)
    handed, refused, back = [], [], []
    hashes = {delivery.id: delivery.address_hash for delivery in mine}
    for delivery, against in load_checks(connection, hashes):
        reason = skip_reason(delivery, against)
        if not may_send_now(against) or delivery.address_hash != hashes[delivery.id]:
            back.append(delivery)
        elif reason is not None:
            refused.append((delivery, reason))
        else:
            handed.append(delivery)
    settle(connection, owner, [(delivery, requeued(delivery)) for delivery in back])
    settle(connection, owner, [(delivery, skipped(delivery, reason, now)) for delivery, reason in refused])
    return Permission(tuple(handed), tuple(refused), current)


@lru_cache
def permit_statement(dialect: str) -> TextClause:
    """The UPDATE with `rows` of (delivery, fence), `owner`, `sender` and `real_now`; returns the changed ids."""
    return text(f"""
        UPDATE deliveries SET
            state = 'handed', sender = :sender,
            handed_at = CASE WHEN doubts > 0 AND handed_at IS NOT NULL THEN handed_at ELSE :real_now END
        FROM ({json_rows(dialect, id="bigint", fence="integer")}) AS given
        WHERE deliveries.id = given.id AND deliveries.fence = given.fence
            AND deliveries.owner = :owner AND coalesce(deliveries.state, '') = 'leased'
        RETURNING deliveries.id
    """).bindparams(bindparam("real_now", type_=t.Moment()))  # noqa: S608


def may_begin(connection: Connection, delivery: Delivery, *, owner: str) -> int | None:
    """Check a handed delivery again after a change; returns the consent version if it may begin, else None.

    It may begin if this owner still holds it, its mailing is open, and the person is still subscribed.
    """
    version = consent.version(connection)
    for row, against in load_checks(connection, [delivery.id]):
        if against.owner != owner or row.fence != delivery.fence or row.state != DeliveryState.HANDED:
            return None
        return version if may_send_now(against) and skip_reason(row, against) is None else None
    return None
