"""The newsroom's clock: stored, and it never goes back."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from tidings.model.errors import RefusedError
from tidings.store import schema as t
from tidings.store.engine import insert_once

_NAME = "clock"


def real_now() -> datetime:
    """Return the machine's time, which `--now` does not move."""
    return datetime.now(UTC)


def read_clock(connection: Connection) -> datetime | None:
    """The moment that the newsroom has reached; None before its first beat."""
    value = connection.execute(select(t.facts.c.value).where(t.facts.c.name == _NAME)).scalar_one_or_none()
    return None if value is None else datetime.fromisoformat(value)


def refuse_earlier(connection: Connection, now: datetime) -> None:
    """Raises RefusedError where `now` lies before what the clock has reached."""
    reached = read_clock(connection)
    if reached is not None and now < reached:
        raise RefusedError(
            f"the newsroom's clock has reached {reached.isoformat()} and never goes back to {now.isoformat()}: what "
            "was sent since would go out again. Use a later time, or a fresh store."
        )


def advance_clock(connection: Connection, now: datetime) -> None:
    """Move it on. Raises RefusedError where `now` lies before what it has reached."""
    refuse_earlier(connection, now)
    set_clock(connection, now)


def set_clock(connection: Connection, now: datetime) -> None:
    """Set it, back as well as on: of a copy that nobody sends from."""
    connection.execute(insert_once(connection, t.facts).values(name=_NAME, value=now.isoformat()))
    connection.execute(update(t.facts).where(t.facts.c.name == _NAME).values(value=now.isoformat()))
