"""Which bytes of which feed a hub was told of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


@dataclass(frozen=True, slots=True)
class Ping:
    """`etag` is of the bytes that it heard of last; `tries` have failed since, and the next is at `due`."""

    etag: str = ""
    tries: int = 0
    due: datetime | None = None


def load_pings(connection: Connection, channel: str) -> dict[str, Ping]:
    """Of one hub, by the feed's path."""
    p = t.pings.c
    rows = connection.execute(select(p.path, p.etag, p.tries, p.due).where(p.channel == channel))
    return {row.path: Ping(row.etag, row.tries, row.due) for row in rows}


def save_ping(connection: Connection, channel: str, path: str, ping: Ping) -> None:
    """Note it, in the place of the one before."""
    p = t.pings.c
    values = {"etag": ping.etag, "tries": ping.tries, "due": ping.due}
    done = connection.execute(update(t.pings).where(p.channel == channel, p.path == path).values(**values))
    if done.rowcount == 0:
        connection.execute(insert_once(connection, t.pings).values(channel=channel, path=path, **values))
