"""Pictures that were uploaded for a post: none is uploaded twice."""

from __future__ import annotations

import contextlib
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from tidings.store import schema as t
from tidings.store.engine import Store, insert_once


class StoredUploads:
    """The uploads of one delivery. If the database fails, a picture is uploaded again; the post is not lost."""

    def __init__(self, store: Store, delivery: int, now: datetime) -> None:
        self._store = store
        self._delivery = delivery
        self._now = now

    def get(self, key: str) -> str:
        """The id that the service gave; empty if it was not uploaded."""
        u = t.uploads.c
        with contextlib.suppress(DBAPIError), self._store.read() as connection:
            query = select(u.remote).where(u.delivery == self._delivery, u.key == key)
            return connection.execute(query).scalar_one_or_none() or ""
        return ""

    def put(self, key: str, remote: str) -> None:
        """Save the id of a picture; an empty id deletes it."""
        u = t.uploads
        same = (u.c.delivery == self._delivery, u.c.key == key)
        with contextlib.suppress(DBAPIError), self._store.write() as connection:
            if not remote:
                connection.execute(delete(u).where(*same))
                return
            values = {"remote": remote, "at": self._now}
            connection.execute(insert_once(connection, u).values(delivery=self._delivery, key=key, **values))
            connection.execute(update(u).where(*same).values(**values))
