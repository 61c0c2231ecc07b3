"""The stored clock of the newsroom, which never goes back."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from tidings.model.errors import RefusedError
from tidings.store.key_values import find_value, set_value

_NAME = "clock"


def real_now() -> datetime:
    """Return the machine's time, which `--now` does not move."""
    return datetime.now(UTC)


def read_clock(connection: Connection) -> datetime | None:
    """The time that the clock has reached; None before the first cycle."""
    value = find_value(connection, _NAME)
    return None if value is None else datetime.fromisoformat(value)


def refuse_earlier(connection: Connection, now: datetime) -> None:
    """Raise RefusedError if `now` is before the clock."""
    reached = read_clock(connection)
    if reached is not None and now < reached:
        raise RefusedError(
            f"the newsroom's clock has reached {reached.isoformat()} and never goes back to {now.isoformat()} by "
            "itself. If this machine's clock is right, set it back: tidings clock --set now"
        )


def advance_clock(connection: Connection, now: datetime) -> None:
    """Set the clock forward. Raises RefusedError if `now` is before it."""
    refuse_earlier(connection, now)
    set_clock(connection, now)


def set_clock(connection: Connection, now: datetime) -> None:
    """Set the clock, also back: only in a copy that never sends."""
    set_value(connection, _NAME, now.isoformat())
