"""Write results to the ledger. Every write is fenced: a delivery that another owner holds is not changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, text, update

from tidings.model.delivery import Delivery, DeliveryState, EventType, Purpose, SkipReason
from tidings.store import schema as t
from tidings.store.engine import json_rows, run_sql
from tidings.store.service.events import record_event

IS_ERASED_READER = "(deliveries.address_hash = '' AND deliveries.channel = '')"
"""A mail whose reader was erased after it was sent: the reply of the relay may contain their address."""
_ADDRESS = re.compile(r"(?<![^\s<>@:;,\"'()])[^\s<>@:;,\"'()]+@[^\s<>@:;,\"'()]+")


def hide_addresses(reply: str) -> str:
    """Replace addresses in a reply of a mail server, so that the reply may stay after an erasure."""
    return _ADDRESS.sub("[address]", reply)


_ACCEPT = f"""
    UPDATE deliveries SET
        state = 'accepted', reason = '', attempts = attempts + 1, via = given.via,
        receipt = CASE WHEN {IS_ERASED_READER} AND given.receipt LIKE '%@%' THEN '' ELSE given.receipt END,
        owner = '', lease_until = NULL, next_at = NULL, not_before = NULL, at = :now
    FROM (ROWS) AS given
    WHERE deliveries.id = given.id AND deliveries.fence = given.fence
        AND deliveries.owner = :owner AND coalesce(deliveries.state, '') = 'handed'
    RETURNING deliveries.id
"""  # noqa: S608


def record_accepted(
    connection: Connection, owner: str, accepted: Sequence[tuple[int, int, str, str]], now: datetime
) -> set[int]:
    """Record accepted deliveries: (delivery, fence, receipt, via). Returns the ids; the other results are void."""
    if not accepted:
        return set()
    values = {"rows": json.dumps(accepted), "owner": owner, "now": t.to_microseconds(now)}
    rows = json_rows(connection.dialect.name, id="bigint", fence="integer", receipt="text", via="text")
    return {row[0] for row in run_sql(connection, _ACCEPT.replace("ROWS", rows), values)}


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
        elif values.get("state") == DeliveryState.REJECTED and delivery.purpose != Purpose.EVENT:
            _record_rejected(connection, delivery, values)
    return void


def _record_rejected(connection: Connection, delivery: Delivery, values: Mapping[str, Any]) -> None:
    """Record an event about a refused delivery, without the address."""
    data = {
        "delivery": delivery.id,
        "schedule": delivery.schedule,
        "list": delivery.list,
        "channel": delivery.channel,
        "story": delivery.story,
        "purpose": delivery.purpose,
        "subscriber": delivery.subscriber,
        "reason": hide_addresses(str(values.get("reason", ""))),
    }
    record_event(connection, EventType.DELIVERY_REJECTED, f"{delivery.id}:{delivery.fence}", data, values["at"])


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
