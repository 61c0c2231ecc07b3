"""The passkeys of the team: public keys with which members sign in (WebAuthn)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once

MOST_PASSKEYS = 20
"""Passkeys of one member."""
LONGEST_CREDENTIAL = 1023
"""Bytes of a credential's id (WebAuthn Level 2 §4)."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey of a member. `credential` and `public_key` are in base64url."""

    id: int
    member: int
    credential: str
    public_key: str
    sign_count: int
    name: str
    created: datetime
    used: datetime


def add_passkey(
    connection: Connection, member: int, *, credential: str, public_key: str, sign_count: int, name: str, now: datetime
) -> bool:
    """Store a passkey. Returns False if it is known already, or if the member has too many."""
    if len(passkeys_of(connection, member)) >= MOST_PASSKEYS:
        return False
    values = {"member": member, "credential": credential, "public_key": public_key, "sign_count": sign_count}
    values |= {"name": name[:100], "created": now, "used": now}
    return bool(connection.execute(insert_once(connection, t.team_passkeys).values(**values)).rowcount)


def passkeys_of(connection: Connection, member: int) -> list[Passkey]:
    """Return the passkeys of a member, oldest first."""
    query = select(t.team_passkeys).where(t.team_passkeys.c.member == member).order_by(t.team_passkeys.c.id)
    return [Passkey(*row) for row in connection.execute(query)]


def find_passkey(connection: Connection, credential: str) -> Passkey | None:
    """Return the passkey with this credential id, or None."""
    row = connection.execute(select(t.team_passkeys).where(t.team_passkeys.c.credential == credential)).one_or_none()
    return None if row is None else Passkey(*row)


def use_passkey(connection: Connection, passkey: int, sign_count: int, issued: datetime, now: datetime) -> bool:
    """Note that a passkey was used. False if it was used since `issued`, when the challenge was made.

    So each challenge works once, without a table of them.
    """
    p = t.team_passkeys.c
    used = update(t.team_passkeys).where(p.id == passkey, p.used < issued).values(sign_count=sign_count, used=now)
    return bool(connection.execute(used).rowcount)


def remove_passkey(connection: Connection, member: int, passkey: int) -> bool:
    p = t.team_passkeys.c
    done = connection.execute(delete(t.team_passkeys).where(p.member == member, p.id == passkey))
    return bool(done.rowcount)


def remove_passkeys(connection: Connection, member: int) -> None:
    connection.execute(delete(t.team_passkeys).where(t.team_passkeys.c.member == member))
