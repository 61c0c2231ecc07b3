"""Erase a person (GDPR, article 17). Only a suppressed hash and the counts of the ledger stay."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import Any

import idna
from sqlalchemy import ColumnElement, Connection, delete, exists, func, or_, select, update
from sqlalchemy.exc import DBAPIError

from tidings.store import schema as t
from tidings.store.engine import Store
from tidings.store.people import consent
from tidings.store.people.eligibility import UNSUBSCRIBED
from tidings.store.people.sign_ups import limit_keys

_TRIES, _BETWEEN = 10, 0.1
"""How often the log is truncated while others read, and seconds between."""
ERASED = "erased"
"""Reason of the suppression that remains."""
_INSTEAD = "[erased]"
_WITH_ADDRESS = [table for table in t.metadata.sorted_tables if "address" in table.c and table is not t.subscribers]
"""Tables with a plain address, such as requests to subscribe that were not answered yet."""


def erase(connection: Connection, subscriber: int, *, now: datetime) -> None:
    """Delete all data that names a person, also inside texts. Deliveries stay for the counts, without a person.

    Refusals of mail servers often contain the address, and notices may.
    """
    _erase(connection, _address(connection, subscriber), subscriber, now)


def erase_address(connection: Connection, address: str, *, now: datetime) -> bool:
    """`erase` an address, also if it is on no list. False if nothing is known about it.

    It may have received a test or been imported as unsubscribed. Raises InputError for an invalid address.
    """
    digest = consent.address_hash(address)
    subscriber = connection.execute(select(t.subscribers.c.id).where(t.subscribers.c.address_hash == digest)).scalar()
    if subscriber is None and not is_known(connection, digest):
        return False
    stored = consent.normal_address(address) if subscriber is None else _address(connection, subscriber)
    _erase(connection, stored, subscriber, now)
    return True


def is_known(connection: Connection, digest: str) -> bool:
    """Whether any row remains for a hash that has no subscriber."""
    d = t.deliveries.c
    tests = exists(select(1).where(d.subscriber.is_(None), d.address_hash == digest))
    checks = [exists(select(1).where(table.c.address_hash == digest)) for table in (t.consents, t.feedback)]
    checks.append(exists(select(1).where(t.suppressions.c.hash == digest, t.suppressions.c.reason != ERASED)))
    return any(connection.execute(select(check)).scalar_one() for check in [tests, *checks])


def _erase(connection: Connection, address: str, subscriber: int | None, now: datetime) -> None:
    digest = consent.hash_normal_address(address)
    for name in consent.lists_of(connection, subscriber) if subscriber is not None else ():
        consent.record_changes(connection, [digest], name, UNSUBSCRIBED, now)
    _take_out(connection, address, subscriber)
    _clear_notices(connection, _pattern(address))
    # One suppression on every list replaces all others: their reasons show what happened. This is last: senders lock
    # the deliveries first, then the consent version, which this increases.
    consent.lock(connection, [digest])
    connection.execute(delete(t.suppressions).where(t.suppressions.c.hash == digest))
    consent.suppress(connection, digest, "", ERASED, now)


def delete_person(connection: Connection, subscriber: int) -> None:
    """Delete every row of a person, so that they may subscribe again. Suppressions stay."""
    _take_out(connection, _address(connection, subscriber), subscriber)


def _address(connection: Connection, subscriber: int) -> str:
    return str(connection.execute(select(t.subscribers.c.address).where(t.subscribers.c.id == subscriber)).scalar_one())


def _take_out(connection: Connection, address: str, subscriber: int | None) -> None:
    # Not `address_hash`: an address from before a stricter rule must be erasable too.
    digest = consent.hash_normal_address(address)
    connection.execute(delete(t.consents).where(t.consents.c.address_hash == digest))
    connection.execute(delete(t.subscriptions).where(t.subscriptions.c.subscriber == subscriber))
    connection.execute(update(t.feedback).where(t.feedback.c.address_hash == digest).values(address_hash="", text=""))
    connection.execute(delete(t.request_counts).where(t.request_counts.c.key.in_(limit_keys(address))))
    for table in _WITH_ADDRESS:
        connection.execute(delete(table).where(func.lower(table.c.address) == address.lower()))
    _clear_deliveries(connection, subscriber, digest, _pattern(address))
    _clear_answers(connection, _pattern(address))
    connection.execute(delete(t.subscribers).where(t.subscribers.c.id == subscriber))


def _pattern(address: str) -> re.Pattern[str]:
    """A pattern for the address in any case, with an ASCII or Unicode domain, plain or escaped in JSON."""
    local, _, domain = address.rpartition("@")
    forms = {address}
    with suppress(idna.IDNAError):
        forms.add(f"{local}@{idna.decode(domain)}")
    forms |= {json.dumps(form)[1:-1] for form in forms}
    return re.compile("|".join(re.escape(form) for form in sorted(forms)), re.IGNORECASE)


def _clear_deliveries(connection: Connection, subscriber: int | None, digest: str, pattern: re.Pattern[str]) -> None:
    d, j = t.deliveries.c, t.journal.c
    # Tests and confirmations belong to no subscriber, but contain the address.
    mine: ColumnElement[bool] = d.subscriber.is_(None) & (d.address_hash == digest)
    if subscriber is not None:
        mine = or_(d.subscriber == subscriber, mine)
    for row in connection.execute(select(d.id, d.reason, d.receipt, d.via).where(mine)).all():
        texts = {"reason": row.reason, "receipt": row.receipt, "via": row.via}
        changed = {name: new for name, text in texts.items() if (new := pattern.sub(_INSTEAD, text)) != text}
        if changed:
            connection.execute(update(t.deliveries).where(d.id == row.id).values(**changed))
    for entry in connection.execute(select(j.id, j.entry)).all():
        if pattern.search(entry.entry):
            new = pattern.sub(_INSTEAD, entry.entry)
            connection.execute(update(t.journal).where(j.id == entry.id).values(entry=new))
    without: dict[str, Any] = {"subscriber": None, "address_hash": "", "details": {}}
    connection.execute(update(t.deliveries).where(mine).values(**without))


def _clear_answers(connection: Connection, pattern: re.Pattern[str]) -> None:
    """Answers of the API that name the person: a repeat of their request gets none."""
    a = t.api_answers.c
    for row in connection.execute(select(a.key, a.name, a.body)).all():
        if pattern.search(row.body):
            mine = (a.key == row.key) & (a.name == row.name)
            connection.execute(update(t.api_answers).where(mine).values(body="", status=410))


def _clear_notices(connection: Connection, pattern: re.Pattern[str]) -> None:
    n, d, m = t.notices.c, t.deliveries.c, t.mailings.c
    for row in connection.execute(select(n.key, n.text)).all():
        if pattern.search(row.text):
            connection.execute(update(t.notices).where(n.key == row.key).values(text=pattern.sub(_INSTEAD, row.text)))
    query = select(d.id, d.details).where(d.mailing.in_(select(m.id).where(m.kind == "notice")))
    for mail in connection.execute(query).all():
        text = mail.details.get("text", "")
        if pattern.search(text):
            details = {**mail.details, "text": pattern.sub(_INSTEAD, text)}
            details["subject"] = pattern.sub(_INSTEAD, details.get("subject", ""))
            connection.execute(update(t.deliveries).where(d.id == mail.id).values(details=details))


def truncate_log(store: Store) -> bool:
    """Remove erased data from the write-ahead log of SQLite too. False if another process reads: it is removed later.

    PostgreSQL reuses the space of deleted rows (autovacuum).
    """
    if not store.is_sqlite:
        return True
    for _ in range(_TRIES):
        if _truncate_log(store):
            return True
        time.sleep(_BETWEEN)
    return False


def _truncate_log(store: Store) -> bool:
    try:
        with store.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            cursor = raw.cursor()
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            cursor.close()
            return not busy
    except DBAPIError:
        return False
