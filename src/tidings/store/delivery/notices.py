"""Notices: messages to a person. Each has a key, so that the same thing is reported once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to report. `key` identifies its subject."""

    key: str
    kind: str
    text: str
    at: datetime


def add_notice(connection: Connection, notice: Notice) -> bool:
    """Add a notice; False if there is one with its key."""
    row = {"key": notice.key, "kind": notice.kind, "text": notice.text, "at": notice.at}
    return bool(connection.execute(insert_once(connection, t.notices).values(**row)).rowcount == 1)


def has_notice(connection: Connection, key: str) -> bool:
    """Whether there is a notice with this key, sent or not."""
    return connection.scalar(select(t.notices.c.key).where(t.notices.c.key == key)) is not None


def notice_keys(connection: Connection, prefix: str) -> set[str]:
    """Keys that begin with `prefix`."""
    key = t.notices.c.key
    return set(connection.execute(select(key).where(key.startswith(prefix, autoescape=True))).scalars())


def delete_notice(connection: Connection, key: str) -> None:
    """Delete a notice once its cause is gone, so that the next case is reported again."""
    connection.execute(delete(t.notices).where(t.notices.c.key == key))


def unsent_notices(connection: Connection) -> list[Notice]:
    """Notices that were not sent yet, oldest first."""
    n = t.notices.c
    rows = connection.execute(select(n.key, n.kind, n.text, n.at).where(n.told_at.is_(None)).order_by(n.at))
    return [Notice(*row) for row in rows]


def recent_notices(connection: Connection, limit: int = 20) -> list[Notice]:
    """The newest notices, newest first."""
    n = t.notices.c
    rows = connection.execute(select(n.key, n.kind, n.text, n.at).order_by(n.at.desc()).limit(limit))
    return [Notice(*row) for row in rows]


def mark_sent(connection: Connection, keys: Sequence[str], now: datetime) -> None:
    """Note that these notices were sent."""
    connection.execute(update(t.notices).where(t.notices.c.key.in_(keys)).values(told_at=now))
