"""Single values that the store keeps by name: the newsroom's clock, counters, progress."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


def find_value(connection: Connection, name: str) -> str | None:
    """Return the value, or None if it was never set."""
    return connection.execute(select(t.facts.c.value).where(t.facts.c.name == name)).scalar_one_or_none()


def set_value(connection: Connection, name: str, value: str) -> None:
    """Insert or replace the value."""
    done = connection.execute(insert_once(connection, t.facts).values(name=name, value=value))
    if done.rowcount == 0:
        connection.execute(update(t.facts).where(t.facts.c.name == name).values(value=value))


def delete_value(connection: Connection, name: str) -> None:
    connection.execute(delete(t.facts).where(t.facts.c.name == name))
