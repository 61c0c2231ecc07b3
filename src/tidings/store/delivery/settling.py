"""Write results to the ledger. Every write is fenced: a delivery that another owner holds is not changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, case, text, update

from tidings.model.delivery import Delivery, DeliveryState, SkipReason
from tidings.store import schema as t
from tidings.store.engine import json_rows

IS_ERASED_READER = "(deliveries.address_hash = '' AND deliveries.channel = '')"
"""A mail whose reader was erased after it was sent: the reply of the relay may contain their address."""
_ADDRESS = re.compile(r"[^\s<>@:;,\"'()]+@[^\s<>@:;,\"'()]+")


def hide_addresses(reply: str) -> str:
    """Replace addresses in a reply of a mail server, so that the reply may stay after an erasure."""
    return _ADDRESS.sub("[address]", reply)


@lru_cache
def accept_statement(dialect: str) -> TextClause:
    """The UPDATE with `rows` of (delivery, fence, receipt, via), `owner` and `now`; returns the changed ids."""
    return text(f"""
        UPDATE deliveries SET
            state = 'accepted', reason = '', attempts = attempts + 1, via = given.via,
            receipt = CASE WHEN {IS_ERASED_READER} AND given.receipt LIKE '%@%' THEN '' ELSE given.receipt END,
            owner = '', lease_until = NULL, next_at = NULL, not_before = NULL, at = :now
        FROM ({json_rows(dialect, id="bigint", fence="integer", receipt="text", via="text")}) AS given
        WHERE deliveries.id = given.id AND deliveries.fence = given.fence
            AND deliveries.owner = :owner AND coalesce(deliveries.state, '') = 'handed'
        RETURNING deliveries.id
    """).bindparams(bindparam("now", type_=t.Moment()))  # noqa: S608


def record_accepted(
    connection: Connection, owner: str, taken: Sequence[tuple[int, int, str, str]], now: datetime
) -> set[int]:
    """Record accepted deliveries: (delivery, fence, receipt, via). Returns the ids; the other results are void."""
    if not taken:
        return set()
    arguments = {"rows": json.dumps(taken), "owner": owner, "now": now}
    return set(connection.execute(accept_statement(connection.dialect.name), arguments).scalars())


def renew_leases(connection: Connection, owner: str, group: Iterable[Delivery], until: datetime) -> None:
    """Extend the leases of a batch, except those that another owner has taken."""
    d = t.deliveries
    for delivery in group:
        connection.execute(
            update(d)
            .where(d.c.id == delivery.id, d.c.owner == owner, d.c.fence == delivery.fence)
            .values(lease_until=until)
        )


def settle(connection: Connection, owner: str, results: Iterable[tuple[Delivery, Mapping[str, Any]]]) -> list[Delivery]:
    """Write the results of deliveries. Returns those that another owner has taken: their results are void."""
    d = t.deliveries
    void = []
    for delivery, values in results:
        done = connection.execute(
            update(d)
            .where(
                d.c.id == delivery.id,
                d.c.owner == owner,
                d.c.fence == delivery.fence,
                d.c.state.in_((DeliveryState.LEASED, DeliveryState.HANDED)),
            )
            .values(owner="", lease_until=None, **{**values, **_cleaned_reason(values)})
        )
        if done.rowcount != 1:
            void.append(delivery)
    return void


def _cleaned_reason(values: Mapping[str, Any]) -> dict[str, Any]:
    """The reason without addresses for a reader who was erased since, if it contains any."""
    reason = values.get("reason", "")
    clean = hide_addresses(reason)
    return {} if clean == reason else {"reason": case((text(IS_ERASED_READER), clean), else_=reason)}


def requeued(delivery: Delivery) -> dict[str, Any]:
    """The values of a delivery that was not begun: it may be claimed again at once, without an attempt."""
    return {"state": DeliveryState.PENDING, "next_at": None}


def skipped(delivery: Delivery, reason: SkipReason, now: datetime) -> dict[str, Any]:
    """The values of a skipped delivery. One that may have arrived already stays in doubt, for a person."""
    if delivery.doubts:
        return {"state": DeliveryState.IN_DOUBT, "reason": f"not sent again: {reason}", "next_at": None, "at": now}
    return {"state": DeliveryState.SKIPPED, "reason": str(reason), "at": now}
