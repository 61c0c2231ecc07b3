"""The journal of senders: intents and outcomes. After a crash at most one message of a connection is in doubt.

A worker writes the intent of a message before its first byte, and the outcome after its reply. Neither is synced to
disk, so a write costs microseconds. A crash of the process loses none of them. A crash of the machine may: the journal
has the boot id, and messages that were handed over under another boot count as in doubt.

A worker writes intents only if the consent version is still that of the claim. The check and the write are one
statement: no change of consent can commit between them. On SQLite there is one writer at a time; on PostgreSQL the
statement locks the row of the version.

An entry has one or more lines, each a JSON array: `["B", boot]`, `["P", [[delivery, fence], ...]]` while messages are
prepared, `["I", delivery, fence]` for an intent, and `["O", delivery, fence, {outcome}]`. Every claim increases the
fence of a delivery, so an old line does no harm.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.exc import SQLAlchemyError

from tidings.model.delivery import Outcome, Verdict
from tidings.store import schema as t
from tidings.store.delivery.failover import SenderMemory, server_timeline
from tidings.store.engine import Store, driver_sql, run_sql
from tidings.store.people.consent import VERSION, lock_version

DeliveryKey = tuple[int, int]
"""A delivery and its fence."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class JournalRecord:
    """What one owner noted, by (delivery, fence)."""

    boots: set[str] = field(default_factory=set)
    prepared: set[DeliveryKey] = field(default_factory=set)
    """Messages that were being prepared."""
    intents: set[DeliveryKey] = field(default_factory=set)
    outcomes: dict[DeliveryKey, Outcome] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Add one line."""
        kind, *values = json.loads(line)
        if kind == "B":
            self.boots.add(values[0])
        elif kind == "P":
            self.prepared.update((delivery, fence) for delivery, fence in values[0])
        elif kind == "I":
            self.intents.add((values[0], values[1]))
        elif kind == "O":
            fields = {**values[2], "verdict": Verdict(values[2]["verdict"])}
            self.outcomes[values[0], values[1]] = Outcome(**fields)


class Journal:
    """The journals of all owners of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def boot(self) -> str:
        """The boot id of the kernel, or the start time of the PostgreSQL server: older entries may be lost."""
        if self._store.is_sqlite:
            return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        with self._store.read() as connection:
            return str(connection.execute(text("SELECT pg_postmaster_start_time()::text")).scalar_one())

    def writer(self, owner: str, memory: SenderMemory | None = None) -> JournalWriter:
        """Open the journal of one worker. The boot id is synced to disk: without it, entries may be lost.

        `memory` gets a copy of each line.
        """
        boot = _line(["B", self.boot()])
        with self._store.write() as connection:
            # `begin` needs the row of the consent version.
            lock_version(connection)
            head = _insert_entry(connection, owner, boot)
            memory = memory or SenderMemory(server_timeline(connection))
        return JournalWriter(self._store, owner, head, memory)

    def owners(self) -> set[str]:
        """Return every owner with a journal."""
        with self._store.read() as connection:
            return set(connection.execute(select(t.journal.c.owner).distinct()).scalars())

    def read(self, owner: str) -> JournalRecord:
        """Read what all workers of an owner noted."""
        with self._store.read() as connection:
            return read_record(connection, owner)

    def forget(self, owner: str) -> None:
        """Delete the journal of a dead owner."""
        with self._store.write() as connection:
            delete_record(connection, owner)


_ADD = "INSERT INTO journal (owner, entry) VALUES (:owner, :entry)"
_ADD_INTENTS = """
    INSERT INTO journal (owner, entry) SELECT :owner, :entry FROM facts WHERE name = :name AND value = :version
"""
_LOCK = {"sqlite": "", "postgresql": "FOR SHARE OF facts"}
_RETURN = {"sqlite": "", "postgresql": "RETURNING id"}
"""SQLite knows the id of the last row anyway, and RETURNING would double the cost of the statement."""
_DELETE = "DELETE FROM journal WHERE id = :id"
_FIND = "SELECT id FROM journal WHERE id = :id AND owner = :owner"
_SETTINGS = {
    # Not OFF, which does not sync the header of the log: then a power loss could corrupt the database. The log is
    # copied into the database by the transactions of the ledger, which sync anyway.
    "sqlite": ("PRAGMA synchronous=NORMAL", "PRAGMA wal_autocheckpoint=0"),
    "postgresql": ("SET synchronous_commit = off",),
}


class JournalWriter:
    """The journal of one worker, on a database connection of its own. For one thread.

    It uses the driver directly, because SQLAlchemy would cost more than the write. Every write that fails raises
    OSError: then nothing was noted.
    """

    def __init__(self, store: Store, owner: str, head: int, memory: SenderMemory) -> None:
        """`head` is the id of the entry with the boot id."""
        self._memory = memory
        self.owner = owner
        self._store = store
        self._head = head
        self._entries: dict[int, set[DeliveryKey]] = {}
        """Unsettled deliveries by the id of each entry."""
        self._queued: dict[DeliveryKey, str] = {}
        dialect = store.engine.dialect.name
        self._add = driver_sql(dialect, f"{_ADD} {_RETURN[dialect]}")
        self._add_intents = driver_sql(dialect, f"{_ADD_INTENTS} {_LOCK[dialect]} {_RETURN[dialect]}")
        self._delete = driver_sql(dialect, _DELETE)
        self._open(head)

    def _open(self, entry: int) -> None:
        """Connect to the database that has this entry of ours."""
        dialect = self._store.engine.dialect.name
        pooled = self._store.session_engine.raw_connection()
        connection: Any = pooled.driver_connection
        # Out of the pool: its settings are only for this journal.
        pooled.detach()
        self._connection = connection
        if dialect == "postgresql":
            connection.autocommit = True
        self._cursor = connection.cursor()
        for setting in _SETTINGS[dialect]:
            self._cursor.execute(setting)
        if self._store.session_engine is not self._store.engine:
            self._cursor.execute(driver_sql(dialect, _FIND), {"id": entry, "owner": self.owner})
            if self._cursor.fetchone() is None:
                connection.close()
                raise OSError("the pool and PostgreSQL (`direct` in `store`) lead to different databases")

    def _reopen(self) -> bool:
        """Connect again after the server ended the connection. Returns False if that does not help.

        The server may have lost the last entries, also if its start time stays: after a crash of one session it starts
        all others anew. So the journal gets a boot id of its own, by which these entries count as incomplete.
        Another server may have forgotten the claims too, so that no message may begin by them.
        """
        if self._store.is_sqlite or not self._connection.closed:
            return False
        try:
            boot = _line(["B", f"{Journal(self._store).boot()}, connected again"])
            with self._store.write() as connection:
                if not self._memory.is_of(server_timeline(connection)):
                    raise OSError("the database failed over to another server; sending goes on when all have reported")
                entry = _insert_entry(connection, self.owner, boot)
            self._open(entry)
        except (SQLAlchemyError, self._store.engine.dialect.loaded_dbapi.Error):
            return False
        return True

    def _write(self, statement: str, values: Mapping[str, Any]) -> int | None:
        """Run a statement. Returns the id of the new entry, or None if it made none."""
        driver = self._store.engine.dialect.loaded_dbapi
        try:
            try:
                self._cursor.execute(statement, values)
            except driver.OperationalError:
                if not self._reopen():
                    raise
                self._cursor.execute(statement, values)
            cursor = self._cursor
            if self._store.is_sqlite:
                return cursor.lastrowid if cursor.rowcount else None
            row = cursor.fetchone() if cursor.description else None
        except driver.Error as error:
            raise OSError(f"the journal cannot be written: {error}") from error
        return row[0] if row is not None else None

    def note_preparing(self, connection: Connection, keys: Sequence[DeliveryKey]) -> int:
        """Note in the transaction of a claim which messages are prepared next. Returns the entry for `end_preparing`.

        If the process dies before `end_preparing`, they are crash suspects.
        """
        return _insert_entry(connection, self.owner, _line(["P", keys]))

    def end_preparing(self, entry: int) -> None:
        """Note that the messages were prepared, or failed."""
        self._write(self._delete, {"id": entry})

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """Write the queued outcomes and then the intents of messages that are about to begin, in one entry.

        Returns False, with nothing written, if the consent version has changed.
        """
        lines = [*self._queued.values(), *[f'["I",{delivery},{fence}]' for delivery, fence in keys]]
        values = {"owner": self.owner, "entry": "\n".join(lines), "name": VERSION, "version": str(version)}
        entry = self._write(self._add_intents, values)
        if entry is None:
            return False
        self._memory.add("\n".join(lines[len(self._queued) :]))
        self._entries[entry] = {*self._queued, *keys}
        self._queued = {}
        return True

    def queue_accepted(self, key: DeliveryKey, receipt: str, via: str) -> None:
        """Queue the outcome of an accepted message for the next `begin` or `flush`."""
        reply = f'"receipt":{encode_basestring_ascii(receipt)},"via":{encode_basestring_ascii(via)}'
        line = self._queued[key] = f'["O",{key[0]},{key[1]},{{"verdict":"accepted",{reply}}}]'
        self._memory.add(line)

    def queue_outcome(self, key: DeliveryKey, outcome: Outcome) -> None:
        """Queue another outcome for the next `begin` or `flush`."""
        fields: dict[str, Any] = {"verdict": outcome.verdict.value}
        for name in ("receipt", "via", "reason", "retry_after", "disable"):
            value = getattr(outcome, name)
            if value not in ("", None, False):
                fields[name] = value
        line = self._queued[key] = _line(["O", *key, fields])
        self._memory.add(line)

    def flush(self) -> None:
        """Write the queued outcomes."""
        if self._queued:
            entry = self._write(self._add, {"owner": self.owner, "entry": "\n".join(self._queued.values())})
            assert entry is not None
            self._entries[entry] = set(self._queued)
            self._queued = {}

    def settled_entries(self, keys: Iterable[DeliveryKey]) -> list[int]:
        """Return the entries that are needed no more once these deliveries are settled."""
        settled = set(keys)
        return [entry for entry, unsettled in self._entries.items() if unsettled <= settled]

    def remove_settled(self, keys: Iterable[DeliveryKey], entries: Iterable[int]) -> None:
        """Forget deliveries that were settled, and `entries`, which the same transaction has deleted."""
        settled = set(keys)
        for entry in entries:
            del self._entries[entry]
        for unsettled in self._entries.values():
            unsettled -= settled
        for key in settled & self._queued.keys():
            del self._queued[key]

    def close(self) -> None:
        """Close the connection. Entries stay if they have unsettled deliveries."""
        if self._connection is not None:
            if not self._entries and not self._queued:
                # If this fails, the entry goes when this owner has ended.
                with contextlib.suppress(OSError):
                    self._write(self._delete, {"id": self._head})
            self._connection.close()
            self._connection = None


def read_record(connection: Connection, owner: str) -> JournalRecord:
    """Read what all workers of an owner noted."""
    record = JournalRecord()
    query = select(t.journal.c.entry).where(t.journal.c.owner == owner).order_by(t.journal.c.id)
    for entry in connection.execute(query).scalars():
        for line in entry.splitlines():
            record.add(line)
    return record


def delete_record(connection: Connection, owner: str) -> None:
    """Delete the journal of a dead owner."""
    connection.execute(delete(t.journal).where(t.journal.c.owner == owner))


def delete_entries(connection: Connection, owner: str, entries: Sequence[int]) -> None:
    """Delete entries of an owner in the transaction that settles their deliveries."""
    if entries:
        ids = ", ".join(map(str, entries))
        run_sql(connection, f"DELETE FROM journal WHERE id IN ({ids}) AND owner = :owner", {"owner": owner})  # noqa: S608


def _insert_entry(connection: Connection, owner: str, entry: str) -> int:
    return int(run_sql(connection, f"{_ADD} RETURNING id", {"owner": owner, "entry": entry})[0][0])


def _line(values: list[Any]) -> str:
    """Return an entry of one line, in ASCII."""
    return json.dumps(values, separators=(",", ":"))
