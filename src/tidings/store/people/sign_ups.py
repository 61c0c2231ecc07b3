"""Requests to join lists, which are answered later, and counts of requests for rate limits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from tidings.store import schema as t

_IGNORED = str.maketrans("", "", ".-_")
_SAME_PROVIDER = {
    "googlemail.com": "gmail.com", "protonmail.com": "proton.me", "pm.me": "proton.me", "me.com": "icloud.com",
    "mac.com": "icloud.com", "ya.ru": "yandex.ru", "yandex.com": "yandex.ru", "yandex.kz": "yandex.ru",
    "yandex.by": "yandex.ru", "yandex.ua": "yandex.ru",
}  # fmt: skip
"""Domains where each name is the mailbox of that name in another domain."""


@dataclass(frozen=True, slots=True)
class SignUpRequest:
    """One request. `frequency` is empty for the default of each list."""

    address: str
    lists: tuple[str, ...]
    language: str
    topics: tuple[str, ...]
    frequency: str
    source: str
    wording: str
    ip: str


def add_request(connection: Connection, request: SignUpRequest, now: datetime) -> None:
    """Add a request, to be answered later."""
    connection.execute(insert(t.sign_up_requests).values(**asdict(request), at=now))


def open_requests(connection: Connection, most: int = 100) -> list[tuple[int, SignUpRequest]]:
    """Open requests as (id, request), oldest first."""
    r = t.sign_up_requests.c
    names = [field.name for field in fields(SignUpRequest)]
    rows = connection.execute(select(r.id, *(r[name] for name in names)).order_by(r.id).limit(most)).mappings()
    return [(row["id"], SignUpRequest(**{name: _frozen(row[name]) for name in names})) for row in rows]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def delete_requests(connection: Connection, ids: Sequence[int]) -> int:
    """Delete requests; returns how many existed, so that two processes do not answer the same one."""
    return connection.execute(delete(t.sign_up_requests).where(t.sign_up_requests.c.id.in_(list(ids)))).rowcount


def mailbox_of(address: str) -> str:
    """The mailbox of an address, for limits only: without case, the tag of `name+tag@`, and signs that do not count.

    Gmail ignores dots, Proton also hyphens and underscores, and at Yandex a hyphen is a dot. Elsewhere `a.b@` and `ab@`
    may be two people, who then share a limit.
    """
    local, _, domain = address.casefold().rpartition("@")
    mailbox = local.partition("+")[0] or local
    return f"{mailbox.translate(_IGNORED) or mailbox}@{_SAME_PROVIDER.get(domain, domain)}"


def limit_key(scope: str, value: str) -> str:
    """The key of a count: a hash, so that the table shows no address."""
    return hashlib.sha256(f"{scope}:{value}".encode()).hexdigest()[:32]


def limit_keys(address: str) -> list[str]:
    """The keys of all counts about an address. Older versions counted it as `address`."""
    scopes = {"mailbox": mailbox_of(address), "day": mailbox_of(address), "address": address.casefold()}
    return [limit_key(scope, value) for scope, value in scopes.items()]


def count_request(connection: Connection, scope: str, value: str, window: timedelta, now: datetime) -> int:
    """Count a request of `scope` in the window of the real time `now`; returns the count with this one."""
    key, seconds = limit_key(scope, value), int(window.total_seconds())
    since = datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)
    insert_ = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert
    row = insert_(t.request_counts).values(scope=scope, key=key, since=since, count=1)
    more = row.on_conflict_do_update(
        index_elements=["scope", "key", "since"], set_={"count": t.request_counts.c.count + 1}
    ).returning(t.request_counts.c.count)
    return int(connection.execute(more).scalar_one())
