"""The subscriptions of sources at the hubs that their feeds name (W3C WebSub §5)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


@dataclass(frozen=True, slots=True)
class HubSubscription:
    """Of one source. `token` and `secret` are minted with it; another hub or feed makes another subscription."""

    source: str
    hub: str
    topic: str
    """The feed, by the address that it names as its own."""
    token: str
    """Ends the address where the hub calls: who does not know it cannot call."""
    secret: str
    """With which the hub signs what it sends."""
    asked: datetime | None = None
    tries: int = 0
    """That nothing came of."""
    due: datetime | None = None
    until: datetime | None = None
    """End of the lease; None while the hub has confirmed nothing."""
    called: datetime | None = None
    """When it told of a change last."""
    problem: str = ""


def new_subscription(source: str, hub: str, topic: str) -> HubSubscription:
    """Nobody was asked yet."""
    return HubSubscription(source, hub, topic, secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def load_subscriptions(connection: Connection) -> dict[str, HubSubscription]:
    """All of them, by source."""
    rows = connection.execute(select(*t.hub_subscriptions.c)).mappings()
    return {row["source"]: HubSubscription(**row) for row in rows}


def find_subscription(connection: Connection, token: str) -> HubSubscription | None:
    """The one that a hub calls."""
    row = connection.execute(select(*t.hub_subscriptions.c).where(t.hub_subscriptions.c.token == token)).mappings()
    found = row.one_or_none()
    return HubSubscription(**found) if found else None


def replace_subscription(connection: Connection, one: HubSubscription) -> None:
    """In the place of that source's former one; of two processes that do so at once one stays."""
    delete_subscription(connection, one.source)
    values = {column.name: getattr(one, column.name) for column in t.hub_subscriptions.c}
    connection.execute(insert_once(connection, t.hub_subscriptions).values(**values))


def delete_subscription(connection: Connection, source: str) -> None:
    """Its hub is told that it is gone when it calls the next time."""
    connection.execute(delete(t.hub_subscriptions).where(t.hub_subscriptions.c.source == source))


def update_subscription(connection: Connection, token: str, **values: object) -> None:
    """Change columns of one, if it is still there."""
    c = t.hub_subscriptions.c
    connection.execute(update(t.hub_subscriptions).where(c.token == token).values(**values))


@dataclass(frozen=True, slots=True)
class Ping:
    """`etag` is of the bytes that it heard of last; `tries` have failed since, and the next is at `due`."""

    etag: str = ""
    tries: int = 0
    due: datetime | None = None


def load_pings(connection: Connection, channel: str) -> dict[str, Ping]:
    """Of one hub, by the feed's path."""
    p = t.websub_pings.c
    rows = connection.execute(select(p.path, p.etag, p.tries, p.due).where(p.channel == channel))
    return {row.path: Ping(row.etag, row.tries, row.due) for row in rows}


def save_ping(connection: Connection, channel: str, path: str, ping: Ping) -> None:
    """Note it, in the place of the one before."""
    p = t.websub_pings.c
    values = {"etag": ping.etag, "tries": ping.tries, "due": ping.due}
    done = connection.execute(update(t.websub_pings).where(p.channel == channel, p.path == path).values(**values))
    if done.rowcount == 0:
        connection.execute(insert_once(connection, t.websub_pings).values(channel=channel, path=path, **values))
