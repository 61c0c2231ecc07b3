"""The team: members with their roles, their sessions in the comms room, and the log of what they did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from tidings.model.errors import RefusedError
from tidings.store import schema as t
from tidings.store.engine import insert_once
from tidings.store.people import consent, passkeys

SESSION_LENGTH = timedelta(days=30)
"""Time after which a member signs in again in any case."""
SESSION_IDLE = timedelta(days=7)
"""Time without a visit after which a session ends."""
_SEEN_EVERY = timedelta(minutes=10)


class Role(StrEnum):
    """What a member may do. Each role may do all that the roles before it may."""

    VIEWER = "viewer"
    WRITER = "writer"
    EDITOR = "editor"
    ADMIN = "admin"

    def includes(self, least: Role) -> bool:
        """Whether this role may do what needs at least the role `least`."""
        order = list(Role)
        return order.index(self) >= order.index(least)


def describe_access(role: str, lists: Sequence[str]) -> str:
    """Return a role and its lists as the log shows them: `editor: digest, press`."""
    return f"{role}: {', '.join(lists)}" if lists else str(role)


@dataclass(frozen=True, slots=True)
class TeamMember:
    """A person who works in the newsroom."""

    id: int
    email: str
    name: str
    role: Role
    lists: tuple[str, ...]
    """The lists that they may work on; empty: all."""
    language: str
    """The language of the room; empty: the browser's."""
    has_password: bool
    link_until: datetime | None

    @property
    def has_joined(self) -> bool:
        """Whether they can sign in: with a password, or with a passkey or provider after they used the link."""
        return self.has_password or self.link_until is None

    @property
    def shown_name(self) -> str:
        """The name, or the address of somebody without a name."""
        return self.name or self.email

    def may_see_list(self, name: str) -> bool:
        """Whether they may work on this list."""
        return not self.lists or name in self.lists


@dataclass(frozen=True, slots=True)
class SignInCredentials:
    """What a sign-in is checked against. `totp_step` is the last step whose code was used."""

    member: int
    password: str
    totp: str
    totp_step: int


@dataclass(frozen=True, slots=True)
class TeamSession:
    """A browser in which a member is signed in."""

    token: str
    """The hash that the store holds, never the cookie itself."""
    created: datetime
    seen: datetime
    browser: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log: who did what to what, when, and by which way."""

    id: int
    at: datetime
    who: str
    via: str
    action: str
    about: str
    details: str


def _member(row: Any) -> TeamMember:
    role, lists, has_password = Role(row.role), tuple(row.lists), bool(row.password)
    return TeamMember(row.id, row.email, row.name, role, lists, row.language, has_password, row.link_until)


def add_member(
    connection: Connection, email: str, role: Role, lists: Iterable[str], now: datetime, name: str = ""
) -> int | None:
    """Add a member. Returns their id, or None if the address is a member already. Raises InputError."""
    digest = consent.address_hash(email)
    values = {
        "email": consent.normal_address(email),
        "email_hash": digest,
        "name": name,
        "role": role.value,
        "lists": sorted(set(lists)),
        "language": "",
        "password": "",
        "totp": "",
        "totp_step": 0,
        "created": now,
    }
    done = connection.execute(insert_once(connection, t.team_members).values(**values))
    if not done.rowcount:
        return None
    return int(
        connection.execute(select(t.team_members.c.id).where(t.team_members.c.email_hash == digest)).scalar_one()
    )


def list_members(connection: Connection) -> list[TeamMember]:
    """Every member, by address."""
    return [_member(row) for row in connection.execute(select(t.team_members).order_by(t.team_members.c.email))]


def find_member(connection: Connection, email: str) -> TeamMember | None:
    """Return the member with this address, or None. Raises InputError for an invalid address."""
    query = select(t.team_members).where(t.team_members.c.email_hash == consent.address_hash(email))
    row = connection.execute(query).one_or_none()
    return None if row is None else _member(row)


def get_member(connection: Connection, member: int) -> TeamMember | None:
    """Return a member by id, or None."""
    row = connection.execute(select(t.team_members).where(t.team_members.c.id == member)).one_or_none()
    return None if row is None else _member(row)


def is_last_admin(connection: Connection, member: TeamMember) -> bool:
    """Whether nobody else is an admin: then nobody could manage the team after them."""
    m = t.team_members.c
    query = select(func.count()).where(m.role == Role.ADMIN.value, m.id != member.id)
    return member.role is Role.ADMIN and connection.execute(query).scalar_one() == 0


def keep_an_admin(connection: Connection, member: TeamMember) -> None:
    """Raise RefusedError if the team would have no admin without this member."""
    if is_last_admin(connection, member):
        raise RefusedError(f"{member.email} is the only admin. Make another one first.")


def change_member(
    connection: Connection,
    member: int,
    *,
    role: Role | None = None,
    lists: Iterable[str] | None = None,
    name: str | None = None,
    language: str | None = None,
) -> None:
    """Change a member. It holds from their next request on."""
    values: dict[str, Any] = {
        "role": None if role is None else role.value,
        "lists": None if lists is None else sorted(set(lists)),
        "name": name,
        "language": language,
    }
    values = {key: value for key, value in values.items() if value is not None}
    if values:
        connection.execute(update(t.team_members).where(t.team_members.c.id == member).values(**values))


def remove_member(connection: Connection, member: int) -> None:
    """Remove a member and end their sessions. The log keeps what they did."""
    end_sessions(connection, member)
    passkeys.remove_passkeys(connection, member)
    connection.execute(delete(t.team_members).where(t.team_members.c.id == member))


# -- one-time links and credentials -----------------------------------------------------------------------------------


def set_link(connection: Connection, member: int, link: str, until: datetime) -> None:
    """Store the hash of a one-time link. An older link of this member stops working."""
    values = {"link": link, "link_until": until}
    connection.execute(update(t.team_members).where(t.team_members.c.id == member).values(**values))


def find_by_link(connection: Connection, link: str, now: datetime) -> TeamMember | None:
    """Return the member whose unused link has this hash, or None."""
    m = t.team_members.c
    row = connection.execute(select(t.team_members).where(m.link == link, m.link_until > now)).one_or_none()
    return None if row is None else _member(row)


def use_link(connection: Connection, link: str, *, password: str, totp: str, step: int, now: datetime) -> int | None:
    """Set the credentials of a link's member, and end their sessions and passkeys: a device may be in other hands.

    `password` and `totp` are empty for somebody who signs in with a passkey. Returns the id, or None if
    it was used already.
    """
    m = t.team_members.c
    member: int | None = connection.execute(
        select(m.id).where(m.link == link, m.link_until > now).with_for_update()
    ).scalar_one_or_none()
    if member is None:
        return None
    values = {"password": password, "totp": totp, "totp_step": step, "link": None, "link_until": None}
    connection.execute(update(t.team_members).where(m.id == member).values(**values))
    end_sessions(connection, member)
    passkeys.remove_passkeys(connection, member)
    return member


def drop_link(connection: Connection, member: int) -> None:
    """End the one-time link of a member who signed in another way."""
    values = {"link": None, "link_until": None}
    connection.execute(update(t.team_members).where(t.team_members.c.id == member).values(**values))


def find_credentials(connection: Connection, email_hash: str) -> SignInCredentials | None:
    """Return what a sign-in with this address is checked against; None if nobody can sign in with it."""
    m = t.team_members.c
    query = select(m.id, m.password, m.totp, m.totp_step).where(m.email_hash == email_hash, m.password != "")
    row = connection.execute(query).one_or_none()
    return None if row is None else SignInCredentials(*row)


def set_password(connection: Connection, member: int, password: str) -> None:
    """Store a new hash of the same password, or of another one."""
    connection.execute(update(t.team_members).where(t.team_members.c.id == member).values(password=password))


def use_step(connection: Connection, member: int, step: int) -> bool:
    """Use up a code's step. False if this or a later one was used: somebody has seen the code."""
    m = t.team_members.c
    done = connection.execute(update(t.team_members).where(m.id == member, m.totp_step < step).values(totp_step=step))
    return bool(done.rowcount)


# -- sessions ---------------------------------------------------------------------------------------------------------


def start_session(connection: Connection, member: int, token: str, browser: str, now: datetime) -> None:
    """Store a session under the hash of its cookie, and delete what has ended."""
    s = t.team_sessions.c
    ended = or_(s.created < now - SESSION_LENGTH, s.seen < now - SESSION_IDLE)
    connection.execute(delete(t.team_sessions).where(ended))
    connection.execute(
        insert(t.team_sessions).values(token=token, member=member, created=now, seen=now, browser=browser[:200])
    )


def find_session(connection: Connection, token: str, now: datetime) -> tuple[TeamMember, datetime] | None:
    """Return the member of a session that has not ended, and when it was last seen; None otherwise."""
    s = t.team_sessions.c
    query = (
        select(t.team_members, s.seen)
        .join_from(t.team_sessions, t.team_members, s.member == t.team_members.c.id)
        .where(s.token == token, s.created > now - SESSION_LENGTH, s.seen > now - SESSION_IDLE)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (_member(row), row.seen)


def is_stale(seen: datetime, now: datetime) -> bool:
    """Whether to store the time of the last visit again. This is not needed at each request."""
    return now - seen > _SEEN_EVERY


def touch_session(connection: Connection, token: str, now: datetime) -> None:
    """Note that a session was used."""
    connection.execute(update(t.team_sessions).where(t.team_sessions.c.token == token).values(seen=now))


def sessions_of(connection: Connection, member: int) -> list[TeamSession]:
    """The sessions of a member, the last used first."""
    s = t.team_sessions.c
    query = select(s.token, s.created, s.seen, s.browser).where(s.member == member).order_by(s.seen.desc())
    return [TeamSession(*row) for row in connection.execute(query)]


def count_sessions(connection: Connection) -> dict[int, int]:
    """The number of sessions by member."""
    s = t.team_sessions.c
    rows = connection.execute(select(s.member, func.count()).group_by(s.member))
    return {row[0]: row[1] for row in rows}


def end_session(connection: Connection, token: str) -> None:
    connection.execute(delete(t.team_sessions).where(t.team_sessions.c.token == token))


def end_sessions(connection: Connection, member: int) -> int:
    """End all sessions of a member; returns how many."""
    return connection.execute(delete(t.team_sessions).where(t.team_sessions.c.member == member)).rowcount


# -- the log ----------------------------------------------------------------------------------------------------------


def record_action(
    connection: Connection, action: str, about: str, *, who: str, via: str, now: datetime, details: str = ""
) -> None:
    """Write one line of the log, in the transaction of the action. Name a subscriber by number, never by address."""
    values = {"at": now, "who": who, "via": via, "action": action, "about": about, "details": details}
    connection.execute(insert(t.team_log).values(**values))


def log_entries(
    connection: Connection,
    *,
    before: int | None = None,
    who: str = "",
    kinds: Sequence[str] = (),
    about: Sequence[str] = (),
    most: int = 50,
) -> list[LogEntry]:
    """Up to `most` entries, the newest first: older than the entry `before`, by one person, of these kinds.

    `about`: only entries about one of these things.

    The kind of an entry is the part of its action before the dot.
    """
    g = t.team_log.c
    query = select(g.id, g.at, g.who, g.via, g.action, g.about, g.details).order_by(g.id.desc()).limit(most)
    if before is not None:
        query = query.where(g.id < before)
    if who:
        query = query.where(g.who == who)
    if about:
        query = query.where(g.about.in_(about))
    if kinds:
        query = query.where(or_(*(g.action.startswith(f"{kind}.", autoescape=True) for kind in kinds)))
    return [LogEntry(*row) for row in connection.execute(query)]
