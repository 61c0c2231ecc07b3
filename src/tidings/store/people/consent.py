"""Suppressions and consent. Every change of consent moves the consent version, which each claim and intent checks."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import email_validator
import idna
from sqlalchemy import Connection, String, cast, func, insert, literal, or_, select, update

from tidings.model.delivery import EventType, FeedbackKind
from tidings.model.errors import InputError
from tidings.model.text import find_hidden_character, find_odd_letter
from tidings.store import schema as t
from tidings.store.engine import insert_once, run_sql
from tidings.store.key_values import find_value
from tidings.store.people.eligibility import UNSUBSCRIBED
from tidings.store.service.events import record_events

VERSION = "consent_version"
"""Name in `facts` of the consent version, which every suppression increases."""


# RFC 5321 §4.5.3.1.1, and §4.5.3.1.3 without the angle brackets: in bytes. The library counts characters.
_LONGEST_LOCAL = 64
_LONGEST = 254
# Organisations use names such as `.local` inside their own network.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def normal_address(address: str) -> str:
    """Return the address as it is stored and mailed: NFC, the domain in lower case and ASCII (IDNA 2008).

    The local part keeps its case (RFC 5321 §2.4) and may have non-ASCII letters (RFC 6531). A quoted local part is
    refused, because many servers break it. So are invisible characters and letters of several scripts: under an address
    that looks the same, somebody who has left could be added again. Raises InputError for an invalid address.
    """
    hidden = find_hidden_character(address.strip())
    if hidden:
        raise InputError(f"{address!r} has an invisible character: {hidden}. Type the address again without it.")
    normal = _normalise(address)
    odd = _find_odd_letter(normal)
    if odd:
        raise InputError(f"{address!r} has a letter that looks like another one: {odd}. Type the address again.")
    return normal


def find_odd_character(address: str) -> str:
    """Describe the first invisible character or look-alike letter of an address by its Unicode name, or return ''."""
    found = find_hidden_character(address.strip()) or _find_odd_letter(unicodedata.normalize("NFC", address.strip()))
    return found.partition(",")[0]


def _find_odd_letter(address: str) -> str:
    local, _, domain = address.rpartition("@")
    labels = [_readable_label(label) for label in domain.split(".")]
    return next(filter(None, map(find_odd_letter, (local, *labels))), "")


def _readable_label(label: str) -> str:
    try:
        return idna.decode(label) if label.startswith("xn--") else label
    except idna.IDNAError:
        return label


def _normalise(address: str) -> str:
    text = unicodedata.normalize("NFC", address.strip())
    local = text.rpartition("@")[0]
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        raise InputError(f"{address!r} has quotes before the @. Many servers break such mail: use another address.")
    try:
        checked = email_validator.validate_email(text, check_deliverability=False, globally_deliverable=False)
    except email_validator.EmailNotValidError as error:
        raise InputError(f"{address!r} is not an e-mail address: {error}") from None
    if len(local.encode()) > _LONGEST_LOCAL:
        raise InputError(f"{address!r} is not an e-mail address: it has more than {_LONGEST_LOCAL} bytes before the @.")
    normal = f"{local}@{checked.ascii_domain}"
    if len(normal.encode()) > _LONGEST:
        raise InputError(f"{address!r} is not an e-mail address: it has more than {_LONGEST} bytes.")
    return normal


def address_hash(address: str) -> str:
    """Return the hex SHA-256 of the address, ignoring case. Only this remains of an erased person.

    Also of an address that `normal_address` refuses: an older version may have stored it.
    """
    return hash_normal_address(_normalise(address))


def hash_normal_address(address: str) -> str:
    """Return the `address_hash` of a normalised address."""
    return hashlib.sha256(address.casefold().encode()).hexdigest()


def lock(connection: Connection, hashes: Iterable[str]) -> None:
    """Lock the row of each hash until the transaction ends, and insert missing rows.

    Hashes are locked in their order, so that two processes do not deadlock. SQLite has one writer anyway.
    """
    wanted = sorted({digest for digest in hashes if digest})
    if not wanted:
        return
    connection.execute(insert_once(connection, t.consent_locks), [{"hash": digest, "version": 0} for digest in wanted])
    a = t.consent_locks.c
    connection.execute(select(a.hash).where(a.hash.in_(wanted)).order_by(a.hash).with_for_update()).all()


def suppress(connection: Connection, digest: str, list_name: str, reason: str, now: datetime) -> bool:
    """Never mail this address again on `list_name` (empty: on any list). True if the suppression is new.

    The first reason stays, except that `UNSUBSCRIBED` replaces a bounce.
    """
    return suppress_all(connection, [digest], list_name, reason, now) == 1


def suppress_all(connection: Connection, hashes: Iterable[str], list_name: str, reason: str, now: datetime) -> int:
    """`suppress` many addresses in one transaction; returns how many suppressions are new."""
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
        advance_version(connection)
    return added


def lift(connection: Connection, digest: str, list_name: str) -> bool:
    """Delete one suppression, only on a new consent of the person. True if there was one."""
    lock(connection, [digest])
    s = t.suppressions
    done = connection.execute(s.delete().where(s.c.hash == digest, s.c.list == list_name))
    return bool(done.rowcount)


def suppression(connection: Connection, digest: str, list_name: str) -> str | None:
    """Why this address is not mailed on `list_name`, or None. A suppression on every list takes precedence."""
    s = t.suppressions.c
    query = select(s.reason).where(s.hash == digest, or_(s.list == "", s.list == list_name)).order_by(s.list)
    return connection.execute(query).scalars().first()


def suppressions_of(connection: Connection, digest: str) -> dict[str, tuple[str, datetime]]:
    """Lists that must not mail an address (empty: every list), each with the reason and since when."""
    s = t.suppressions.c
    rows = connection.execute(select(s.list, s.reason, s.at).where(s.hash == digest).order_by(s.list))
    return {row.list: (row.reason, row.at) for row in rows}


def advance_version(connection: Connection) -> None:
    """Increase the consent version, which senders read before each message. Call it last: all writers queue here."""
    f = t.facts
    connection.execute(insert_once(connection, f).values(name=VERSION, value="0"))
    number = cast(f.c.value, t.RowId)
    connection.execute(update(f).where(f.c.name == VERSION).values(value=cast(number + literal(1), String)))


def version(connection: Connection) -> int:
    """The consent version. While it stays the same, nobody has unsubscribed and nothing was stopped."""
    return int(find_value(connection, VERSION) or 0)


_READ_VERSION = "SELECT value FROM facts WHERE name = :name"
_LOCK_VERSION = {"sqlite": _READ_VERSION, "postgresql": f"{_READ_VERSION} FOR SHARE"}


def lock_version(connection: Connection) -> int:
    """The consent version, locked until this transaction ends. SQLite has one writer anyway."""
    query, name = _LOCK_VERSION[connection.dialect.name], {"name": VERSION}
    rows = run_sql(connection, query, name)
    if not rows:
        connection.execute(insert_once(connection, t.facts).values(name=VERSION, value="0"))
        rows = run_sql(connection, query, name)
    return int(rows[0][0])


def newest_number(connection: Connection, digest: str) -> int:
    """The number of the newest record about an address; 0 without one. Later records have higher numbers."""
    c = t.consents.c
    return connection.execute(select(func.max(c.id)).where(c.address_hash == digest)).scalar_one() or 0


def is_newest_request(connection: Connection, digest: str, list_name: str, number: int | None) -> bool:
    """Whether a link that was made after the record `number` answers the newest request to join a list.

    If it does not, the person has left since, and somebody asked again. None stands for a link of an older version,
    which has no number: it is valid unless the person has left since.
    """
    c = t.consents.c
    mine = select(func.max(c.id)).where(c.address_hash == digest, c.list == list_name)
    if number is None:
        return connection.execute(mine.where(c.what == UNSUBSCRIBED)).scalar_one() is None
    return number >= (connection.execute(mine.where(c.what == "joined")).scalar_one() or 0)


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
    """Record what a person agreed to or took back: joined, confirmed, imported, unsubscribed, returned.

    `wording` is the version of the text that they read, `ip` the address of their request.
    """
    row = {"address_hash": digest, "list": list_name, "what": what, "source": source, "at": now}
    if what in _EVENTS:
        record_changes(connection, [digest], list_name, what, now)
    connection.execute(insert(t.consents).values(wording=wording, ip=ip, **row))


_EVENTS = {"confirmed": EventType.SUBSCRIBER_JOINED, UNSUBSCRIBED: EventType.SUBSCRIBER_LEFT}


def lists_of(connection: Connection, subscriber: int) -> list[str]:
    """Return the lists that a person is on, confirmed or pending."""
    s = t.subscriptions.c
    query = select(s.list).where(s.subscriber == subscriber, s.state != UNSUBSCRIBED).order_by(s.list)
    return list(connection.execute(query).scalars())


def record_changes(connection: Connection, hashes: Collection[str], list_name: str, what: str, now: datetime) -> None:
    """Record for webhooks that people joined or left a list, unless they only confirm again.

    `what` is confirmed or unsubscribed. Call it before the consent itself is recorded, and before a person is deleted.
    """
    c, p = t.consents.c, t.subscribers.c
    mine = c.address_hash.in_(hashes) & (c.list == list_name) & c.what.in_(("confirmed", "imported", UNSUBSCRIBED))
    newest = select(func.max(c.id)).where(mine).group_by(c.address_hash)
    last = {
        row.address_hash: row
        for row in connection.execute(select(c.id, c.address_hash, c.what).where(c.id.in_(newest)))
    }
    changed: dict[str, dict[str, Any]] = {}
    people = select(p.id, p.address_hash, p.language).where(p.address_hash.in_(hashes)).order_by(p.id)
    for person in connection.execute(people):
        row = last.get(person.address_hash)
        if row is None or what == UNSUBSCRIBED or row.what == UNSUBSCRIBED:
            data = {"subscriber": person.id, "list": list_name, "language": person.language}
            changed[f"{person.id}:{list_name}:{row.id if row is not None else 0}"] = data
    record_events(connection, _EVENTS[what], changed, now)
