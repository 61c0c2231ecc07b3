"""What became of deliveries, written to the ledger. Every write is fenced: what somebody else holds is left alone."""

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
"""A mail whose reader was erased since it went out: what the relay says may name them, and nothing would clear it."""
_ADDRESS = re.compile(r"[^\s<>@:;,\"'()]+@[^\s<>@:;,\"'()]+")


def hide_addresses(said: str) -> str:
    """What a mail server said, fit to outlive the erasure of a person."""
    return _ADDRESS.sub("[address]", said)


@lru_cache
def accept_statement(dialect: str) -> TextClause:
    """Takes `rows` of (delivery, fence, receipt, via), `owner` and `now`; gives the ids that it changed."""
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
    """Write what the other side took: (delivery, fence, receipt, via). Returns the ids; the others' result is void."""
    if not taken:
        return set()
    arguments = {"rows": json.dumps(taken), "owner": owner, "now": now}
    return set(connection.execute(accept_statement(connection.dialect.name), arguments).scalars())


def renew_leases(connection: Connection, owner: str, group: Iterable[Delivery], until: datetime) -> None:
    """Hold on to a group for longer; what somebody else took meanwhile stays theirs."""
    d = t.deliveries
    for delivery in group:
        connection.execute(
            update(d)
            .where(d.c.id == delivery.id, d.c.owner == owner, d.c.fence == delivery.fence)
            .values(lease_until=until)
        )


def settle(connection: Connection, owner: str, results: Iterable[tuple[Delivery, Mapping[str, Any]]]) -> list[Delivery]:
    """Write what became of deliveries; returns those that are no longer this owner's, whose result is void."""
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
            .values(owner="", lease_until=None, **{**values, **_told(values)})
        )
        if done.rowcount != 1:
            void.append(delivery)
    return void


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """The reason again, if somebody may be named in it who was erased since."""
    said = values.get("reason", "")
    clean = hide_addresses(said)
    return {} if clean == said else {"reason": case((text(IS_ERASED_READER), clean), else_=said)}


def requeued(delivery: Delivery) -> dict[str, Any]:
    """Not begun: it may be claimed again at once, and that costs nothing."""
    return {"state": DeliveryState.PENDING, "next_at": None}


def skipped(delivery: Delivery, reason: SkipReason, now: datetime) -> dict[str, Any]:
    """It does not go; but what may have arrived once already stays in doubt, for a person."""
    if delivery.doubts:
        return {"state": DeliveryState.IN_DOUBT, "reason": f"not sent again: {reason}", "next_at": None, "at": now}
    return {"state": DeliveryState.SKIPPED, "reason": str(reason), "at": now}
