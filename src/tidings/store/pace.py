"""How fast mail may go: places in one row, kept in the store, so that a rate holds over processes and restarts."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once

_PLACE = "mail_free_from"


def reserve(connection: Connection, now: float, seconds: float) -> float:
    """The next free place in the row of mail, for so many seconds of it; `now` and the answer are seconds since 1970.

    One row for all processes, kept over restarts: the rate holds for the newsroom, not for a worker.
    """
    f = t.facts
    connection.execute(insert_once(connection, f).values(name=_PLACE, value="0"))
    free = connection.execute(select(f.c.value).where(f.c.name == _PLACE).with_for_update()).scalar_one()
    first = max(now, float(free))
    connection.execute(update(f).where(f.c.name == _PLACE).values(value=repr(first + seconds)))
    return first
