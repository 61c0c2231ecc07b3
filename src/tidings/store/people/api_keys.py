"""Keys of the team's API, and the stored answers of requests that carry an Idempotency-Key."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from tidings.model.errors import InputError
from tidings.store import schema as t
from tidings.store.engine import insert_once
from tidings.store.people.team import Role, TeamMember

ANSWER_AGE = timedelta(days=1)
"""How long an answer is kept for a repeat of its request."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
_PREFIX = "tdk_"
"""So that scanners of leaked secrets, and people, see what a key is for."""
_USED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `used` is the time of its last use, within ten minutes."""

    id: int
    name: str
    role: Role
    lists: tuple[str, ...]
    """The lists that it may work on; empty: all."""
    who: str
    created: datetime
    used: datetime | None

    @property
    def as_member(self) -> TeamMember:
        """The key as a member of the team, so that the rules about roles and lists are the same."""
        name = f"key {self.name}"
        return TeamMember(self.id, name, name, self.role, self.lists, "", has_password=False, link_until=None)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to an earlier request with the same Idempotency-Key. `status` is None while it is not finished."""

    request: str
    status: int | None
    body: str


def _key(row: Any) -> ApiKey:
    return ApiKey(row.id, row.name, Role(row.role), tuple(row.lists), row.who, row.created, row.used)


def add_key(
    connection: Connection, name: str, role: Role, lists: Iterable[str], *, who: str, now: datetime
) -> str | None:
    """Add a key and return its secret, which is not stored. None if the name is taken. Raises InputError."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is not a name for a key. Use a-z, 0-9, - and _, such as `website`.")
    secret = _PREFIX + secrets.token_urlsafe(32)
    values = {"name": name, "token": _digest(secret), "role": role.value, "lists": sorted(set(lists))}
    row = insert_once(connection, t.api_keys).values(who=who, created=now, **values)
    return secret if connection.execute(row).rowcount == 1 else None


def list_keys(connection: Connection) -> list[ApiKey]:
    """All keys, by name."""
    return [_key(row) for row in connection.execute(select(t.api_keys).order_by(t.api_keys.c.name))]


def find_key(connection: Connection, secret: str) -> ApiKey | None:
    row = connection.execute(select(t.api_keys).where(t.api_keys.c.token == _digest(secret))).one_or_none()
    return None if row is None else _key(row)


def remove_key(connection: Connection, name: str) -> bool:
    """Remove a key: its next request is refused. False if there is no such key. The log keeps what it did."""
    k = t.api_keys.c
    number = connection.execute(select(k.id).where(k.name == name)).scalar_one_or_none()
    connection.execute(delete(t.api_answers).where(t.api_answers.c.key == number))
    return bool(connection.execute(delete(t.api_keys).where(k.id == number)).rowcount)


def is_stale(key: ApiKey, now: datetime) -> bool:
    """Whether the moment of the last use should be stored again: not at each request."""
    return key.used is None or now - key.used > _USED_EVERY


def touch_key(connection: Connection, key: int, now: datetime) -> None:
    """Note that a key was used."""
    connection.execute(update(t.api_keys).where(t.api_keys.c.id == key).values(used=now))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# -- answers of requests with an Idempotency-Key ----------------------------------------------------------------------


def begin_answer(connection: Connection, key: int, name: str, request: str, now: datetime) -> StoredAnswer | None:
    """Reserve an Idempotency-Key for a request. Returns what is stored for it if it was used before, else None.

    Old answers are deleted.
    """
    a = t.api_answers.c
    connection.execute(delete(t.api_answers).where(a.at < now - ANSWER_AGE))
    row = insert_once(connection, t.api_answers).values(key=key, name=name, request=request, body="", at=now)
    if connection.execute(row).rowcount == 1:
        return None
    found = connection.execute(select(a.request, a.status, a.body).where(a.key == key, a.name == name)).one()
    return StoredAnswer(*found)


def end_answer(connection: Connection, key: int, name: str, status: int, body: str) -> None:
    """Store the answer for repeats of its request."""
    a = t.api_answers.c
    connection.execute(update(t.api_answers).where(a.key == key, a.name == name).values(status=status, body=body))


def drop_answer(connection: Connection, key: int, name: str) -> None:
    """Free an Idempotency-Key whose request did nothing, so that it may be tried again."""
    a = t.api_answers.c
    connection.execute(delete(t.api_answers).where(a.key == key, a.name == name))
