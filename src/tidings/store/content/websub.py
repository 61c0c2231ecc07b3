"""WebSub: subscriptions of sources at the hubs of their feeds (W3C WebSub §5), and pings to our own hubs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


@dataclass(frozen=True, slots=True)
class HubSubscription:
    """The subscription of one source, with its own `token` and `secret`. Another hub or feed needs a new one."""

    source: str
    hub: str
    topic: str
    """Address of the feed, as the feed names it."""
    token: str
    """The end of the address that the hub calls: only the hub knows it."""
    secret: str
    """The hub signs its calls with it."""
    asked: datetime | None = None
    tries: int = 0
    """Failed requests since the last success."""
    due: datetime | None = None
    until: datetime | None = None
    """End of the lease; None before the hub has confirmed it."""
    called: datetime | None = None
    """When the hub last reported a change."""
    problem: str = ""


def new_subscription(source: str, hub: str, topic: str) -> HubSubscription:
    """Return a subscription that was not requested yet."""
    return HubSubscription(source, hub, topic, secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def load_subscriptions(connection: Connection) -> dict[str, HubSubscription]:
    """All subscriptions, by source."""
    rows = connection.execute(select(*t.hub_subscriptions.c)).mappings()
    return {row["source"]: HubSubscription(**row) for row in rows}


def find_subscription(connection: Connection, token: str) -> HubSubscription | None:
    """Return the subscription with the token of a call, or None."""
    row = connection.execute(select(*t.hub_subscriptions.c).where(t.hub_subscriptions.c.token == token)).mappings()
    values = row.one_or_none()
    return HubSubscription(**values) if values else None


def replace_subscription(connection: Connection, subscription: HubSubscription) -> None:
    """Replace the subscription of a source. If two processes do this at once, one of them wins."""
    delete_subscription(connection, subscription.source)
    values = {column.name: getattr(subscription, column.name) for column in t.hub_subscriptions.c}
    connection.execute(insert_once(connection, t.hub_subscriptions).values(**values))


def delete_subscription(connection: Connection, source: str) -> None:
    """Delete the subscription; the hub learns it at its next call."""
    connection.execute(delete(t.hub_subscriptions).where(t.hub_subscriptions.c.source == source))


def update_subscription(connection: Connection, token: str, **values: object) -> None:
    """Change columns of a subscription, if it still exists."""
    c = t.hub_subscriptions.c
    connection.execute(update(t.hub_subscriptions).where(c.token == token).values(**values))


@dataclass(frozen=True, slots=True)
class Ping:
    """Pings for a feed: `etag` of the bytes at the last success, failed `tries` since, and when the next is `due`."""

    etag: str = ""
    tries: int = 0
    due: datetime | None = None


def load_pings(connection: Connection, channel: str) -> dict[str, Ping]:
    """Pings of one hub, by the path of the feed."""
    p = t.websub_pings.c
    rows = connection.execute(select(p.path, p.etag, p.tries, p.due).where(p.channel == channel))
    return {row.path: Ping(row.etag, row.tries, row.due) for row in rows}


def save_ping(connection: Connection, channel: str, path: str, ping: Ping) -> None:
    """Insert or replace a ping."""
    p = t.websub_pings.c
    values = {"etag": ping.etag, "tries": ping.tries, "due": ping.due}
    done = connection.execute(update(t.websub_pings).where(p.channel == channel, p.path == path).values(**values))
    if done.rowcount == 0:
        connection.execute(insert_once(connection, t.websub_pings).values(channel=channel, path=path, **values))
