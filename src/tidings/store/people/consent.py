"""Who must not be mailed. Leaving and handing over lock the same row of `addresses`: one of them comes first."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from datetime import datetime

import idna
from sqlalchemy import Connection, String, cast, insert, literal, or_, select, update

from tidings.model.delivery import FeedbackKind
from tidings.model.errors import InputError
from tidings.store import schema as t
from tidings.store.engine import hold_sends, insert_once
from tidings.store.people.eligibility import UNSUBSCRIBED

VERSION = "consent_version"
"""Name in `facts` of the counter that every suppression moves on."""


def normal_address(address: str) -> str:
    """The address as it is stored and mailed: NFC, the domain in lower case and ASCII (IDNA 2008).

    The local part keeps its case (RFC 5321 §2.4), and may be of other letters than ASCII (RFC 6531). A quoted one is
    refused: half of all servers mangle it. Raises InputError for what is no address.
    """
    text = unicodedata.normalize("NFC", address.strip())
    local, at, domain = text.rpartition("@")
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        raise InputError(
            f"{address!r} has quotes before the @. That is legal, but many servers mangle it, so we do not write to "
            "it: ask for an address without."
        )
    if not at or not local or not domain or any(ch.isspace() or unicodedata.category(ch) == "Cc" for ch in text):
        raise InputError(f"{address!r} is no e-mail address. It needs the form name@example.org.")
    if any(ch in '<>,;:"()[]\\@' for ch in local):
        raise InputError(f"{address!r} is no e-mail address we can take: no quotes, brackets or commas.")
    if not all(local.split(".")):
        raise InputError(f"{address!r} is no e-mail address: before the @, a dot stands between two other characters.")
    if len(local.encode()) > _LONGEST_LOCAL:
        raise InputError(f"{address!r} is no e-mail address: more than {_LONGEST_LOCAL} bytes stand before the @.")
    try:
        ascii_domain = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InputError(f"{address!r} has no valid domain: {error}.") from error
    labels = ascii_domain.split(".")
    if not all(0 < len(label) < 64 and set(label) <= _DOMAIN and label.strip("-") == label for label in labels):
        raise InputError(f"{address!r} has no valid domain.")
    found = f"{local}@{ascii_domain}"
    if len(found.encode()) > _LONGEST:
        raise InputError(f"{address!r} is no e-mail address: it is longer than {_LONGEST} bytes.")
    return found


_DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
# RFC 5321 §4.5.3.1.1, and §4.5.3.1.3 without the angle brackets.
_LONGEST_LOCAL = 64
_LONGEST = 254


def address_hash(address: str) -> str:
    """Hex SHA-256 of the address without regard to case; all that stays of a person who was erased."""
    return hash_normal_address(normal_address(address))


def hash_normal_address(address: str) -> str:
    """`address_hash` of what `normal_address` gave."""
    return hashlib.sha256(address.casefold().encode()).hexdigest()


def lock(connection: Connection, hashes: Iterable[str]) -> None:
    """Take the row of each hash until the transaction ends; made here where there is none.

    In the order of the hashes, so that two who lock many never wait for each other. SQLite has one writer anyway.
    """
    wanted = sorted({digest for digest in hashes if digest})
    if not wanted:
        return
    connection.execute(insert_once(connection, t.consent_locks), [{"hash": digest, "version": 0} for digest in wanted])
    a = t.consent_locks.c
    connection.execute(select(a.hash).where(a.hash.in_(wanted)).order_by(a.hash).with_for_update()).all()


def suppress(connection: Connection, digest: str, list_name: str, reason: str, now: datetime) -> bool:
    """Never mail this address again on `list_name` (empty: on no list). True if it is new; the first reason stays.

    But for `UNSUBSCRIBED`.
    """
    return suppress_all(connection, [digest], list_name, reason, now) == 1


def suppress_all(connection: Connection, hashes: Iterable[str], list_name: str, reason: str, now: datetime) -> int:
    """`suppress` for many addresses in one transaction; returns how many are new."""
    wanted = sorted(set(hashes))
    lock(connection, wanted)
    added = 0
    for digest in wanted:
        row = insert_once(connection, t.suppressions).values(hash=digest, list=list_name, reason=reason, at=now)
        added += connection.execute(row).rowcount
    s = t.suppressions.c
    if reason == UNSUBSCRIBED:
        of_servers = s.hash.in_(wanted) & (s.list == list_name) & s.reason.in_((FeedbackKind.HARD, FeedbackKind.SOFT))
        connection.execute(update(t.suppressions).where(of_servers).values(reason=reason))
    if wanted:
        connection.execute(
            update(t.consent_locks)
            .where(t.consent_locks.c.hash.in_(wanted))
            .values(version=t.consent_locks.c.version + 1)
        )
        advance_version(connection)
    return added


def lift(connection: Connection, digest: str, list_name: str) -> bool:
    """Take one suppression back: only for a person's own new consent. True if there was one."""
    lock(connection, [digest])
    s = t.suppressions
    done = connection.execute(s.delete().where(s.c.hash == digest, s.c.list == list_name))
    return bool(done.rowcount)


def suppression(connection: Connection, digest: str, list_name: str) -> str | None:
    """Why this address is not mailed on `list_name`; None if it may be. What holds for every list is named first."""
    s = t.suppressions.c
    query = select(s.reason).where(s.hash == digest, or_(s.list == "", s.list == list_name)).order_by(s.list)
    return connection.execute(query).scalars().first()


def suppressions_of(connection: Connection, digest: str) -> dict[str, tuple[str, datetime]]:
    """Lists that must not mail an address (empty: none may), each with the reason and since when."""
    s = t.suppressions.c
    rows = connection.execute(select(s.list, s.reason, s.at).where(s.hash == digest).order_by(s.list))
    return {row.list: (row.reason, row.at) for row in rows}


def is_suppressed(connection: Connection, digest: str, list_name: str) -> bool:
    """Whether this address must not be mailed on `list_name`."""
    return suppression(connection, digest, list_name) is not None


def advance_version(connection: Connection) -> None:
    """Move the counter on that senders read before each message. Call it last: whoever writes queues at it."""
    f = t.facts
    connection.execute(insert_once(connection, f).values(name=VERSION, value="0"))
    number = cast(f.c.value, t.RowId)
    connection.execute(update(f).where(f.c.name == VERSION).values(value=cast(number + literal(1), String)))
    hold_sends(connection)


def version(connection: Connection) -> int:
    """The counter: as long as it stands still nobody has left and nothing was stopped."""
    value = connection.execute(select(t.facts.c.value).where(t.facts.c.name == VERSION)).scalar_one_or_none()
    return int(value or 0)


def lock_version(connection: Connection) -> int:
    """The counter, held still until this transaction ends: what would move it waits. SQLite has one writer anyway."""
    f = t.facts
    query = select(f.c.value).where(f.c.name == VERSION).with_for_update(read=True)
    value = connection.execute(query).scalar_one_or_none()
    if value is None:
        connection.execute(insert_once(connection, f).values(name=VERSION, value="0"))
        value = connection.execute(query).scalar_one()
    return int(value)


def record(
    connection: Connection,
    digest: str,
    list_name: str,
    what: str,
    source: str,
    now: datetime,
    *,
    wording: str = "",
    ip: str = "",
) -> None:
    """Note what a person agreed to or took back: joined, confirmed, imported, unsubscribed, returned.

    `wording` is the version of the words that they read, `ip` from where they agreed.
    """
    row = {"address_hash": digest, "list": list_name, "what": what, "source": source, "at": now}
    connection.execute(insert(t.consents).values(wording=wording, ip=ip, **row))
