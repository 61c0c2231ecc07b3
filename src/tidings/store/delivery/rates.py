"""Sending rates: the next free time for each sender and domain, and the rates learnt from refusals.

They apply to all processes and stay after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select, update

from tidings.model.throttling import Pace
from tidings.store import schema as t
from tidings.store.engine import insert_once


def reserve_send_time(connection: Connection, now: float, seconds: float, sender: str = "", domain: str = "") -> float:
    """Reserve the next free span of `seconds` and return its start. `now` and the result are seconds since 1970."""
    p = t.sending_rates.c
    connection.execute(
        insert_once(connection, t.sending_rates).values(
            sender=sender, domain=domain, free_from=0.0, rate=None, refused_at=0.0
        )
    )
    mine = (p.sender == sender) & (p.domain == domain)
    free = connection.execute(select(p.free_from).where(mine).with_for_update()).scalar_one()
    first = max(now, float(free))
    connection.execute(update(t.sending_rates).where(mine).values(free_from=first + seconds))
    return first


def load_paces(connection: Connection, sender: str) -> dict[str, Pace]:
    """Rates learnt from refusals, by domain of the recipients; the empty domain is the whole sender."""
    p = t.sending_rates.c
    query = select(p.domain, p.rate, p.refused_at).where(p.sender == sender, p.rate.is_not(None))
    return {row.domain: Pace(row.rate, row.refused_at) for row in connection.execute(query)}


def save_paces(connection: Connection, sender: str, paces: Mapping[str, Pace]) -> None:
    """Save learnt rates."""
    p = t.sending_rates.c
    for domain, pace in sorted(paces.items()):
        row = insert_once(connection, t.sending_rates).values(
            sender=sender, domain=domain, free_from=0.0, rate=None, refused_at=0.0
        )
        connection.execute(row)
        connection.execute(
            update(t.sending_rates)
            .where(p.sender == sender, p.domain == domain)
            .values(rate=pace.rate, refused_at=pace.refused_at)
        )
