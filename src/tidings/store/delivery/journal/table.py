"""The journal on PostgreSQL: a table, so that any worker can recover another's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, delete, insert, select, text

from tidings.store import schema as t
from tidings.store.delivery.journal.record import DeliveryKey, JournalRecord, JournalWriter, json_line
from tidings.store.engine import Store, json_rows
from tidings.store.people.consent import VERSION, lock_version


class TableJournal:
    """The table `journal`, written with `synchronous_commit = off`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def boot(self) -> str:
        """The start time of the server: asynchronous commits before it may be lost."""
        with self._store.read() as connection:
            return str(connection.execute(text("SELECT pg_postmaster_start_time()::text")).scalar_one())

    def writer(self, owner: str, worker: int) -> JournalWriter:
        """Open a journal on a connection of its own."""
        name = f"{owner}.{worker}"
        head = json_line(["B", self.boot()])
        with self._store.write() as connection:
            # Create the consent version, which `begin` checks.
            lock_version(connection)
            connection.execute(insert(t.journal).values(owner=name, delivery=_HEAD, fence=0, entry=head))
        return TableWriter(self._store, name)

    def owners(self) -> set[str]:
        """Owners, from the rows with the boot id."""
        query = select(t.journal.c.owner).where(t.journal.c.delivery == _HEAD).distinct()
        with self._store.read() as connection:
            return {name.rpartition(".")[0] for name in connection.execute(query).scalars()}

    def read(self, owner: str) -> JournalRecord:
        """Read the journals of all workers of an owner."""
        record = JournalRecord()
        with self._store.read() as connection:
            for line in connection.execute(select(t.journal.c.entry).where(_of(owner))).scalars():
                record.add(line)
        return record

    def forget(self, owner: str) -> None:
        """Delete the rows of an owner."""
        with self._store.write() as connection:
            connection.execute(delete(t.journal).where(_of(owner)))


_HEAD = 0
"""The `delivery` of the row with the boot id."""
_PREPARED = -1
"""The `delivery` of the row with the messages that are being prepared."""


def _of(owner: str) -> ColumnElement[bool]:
    return t.journal.c.owner.startswith(f"{owner}.", autoescape=True)


class TableWriter:
    """One row for each line, in autocommit. For one thread."""

    def __init__(self, store: Store, name: str) -> None:
        self._name = name
        self._unsettled: set[DeliveryKey] = set()
        self._queued: list[str] = []
        connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET synchronous_commit = off"))
        # Detach it from the pool: the setting is only for this journal.
        connection.detach()
        self._connection: Connection | None = connection

    def _execute(self, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
        assert self._connection is not None
        return self._connection.execute(statement, values or {}).rowcount

    def begin_preparing(self, keys: Sequence[DeliveryKey]) -> None:
        """Note that these messages are about to be prepared."""
        self.end_preparing()
        row = {"owner": self._name, "delivery": _PREPARED, "fence": 0, "entry": json_line(["P", keys])}
        self._execute(insert(t.journal).values(row).inline())

    def end_preparing(self) -> None:
        """Note that they were prepared, or failed."""
        self._execute(delete(t.journal).where(t.journal.c.owner == self._name, t.journal.c.delivery == _PREPARED))

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """Note intents in one statement with the check of the consent version, whose row is locked until the commit."""
        self.flush()
        rows = json.dumps([(delivery, fence, f'["I",{delivery},{fence}]') for delivery, fence in keys])
        arguments = {"owner": self._name, "rows": rows, "name": VERSION, "version": str(version)}
        noted = self._execute(_BEGIN, arguments) == len(keys)
        if noted:
            self._unsettled.update(keys)
        return noted

    def queue(self, line: str) -> None:
        """Queue a line for the next write."""
        self._queued.append(line)

    def flush(self) -> None:
        """Write the queued lines."""
        if self._queued:
            rows = json.dumps([(*json.loads(line)[1:3], line) for line in self._queued])
            self._execute(_NOTE, {"owner": self._name, "rows": rows})
            self._queued = []

    def remove_settled(self, keys: Sequence[DeliveryKey]) -> None:
        """Delete the lines of this worker about these deliveries; the boot id stays."""
        j = t.journal.c
        settled = sorted({delivery for delivery, _ in keys})
        self._unsettled.difference_update(keys)
        mine = (j.owner == self._name) & (j.delivery != _HEAD)
        if self._unsettled:
            mine &= j.delivery.in_(settled)
        self._execute(delete(t.journal).where(mine))

    def close(self) -> None:
        """Close the connection, and delete the journal if all is settled."""
        if self._connection is not None:
            if not self._unsettled:
                self._execute(delete(t.journal).where(t.journal.c.owner == self._name))
            self._connection.close()
            self._connection = None


_ROWS = json_rows("postgresql", delivery="bigint", fence="integer", entry="text")
_BEGIN = text(f"""
    INSERT INTO journal (owner, delivery, fence, entry)
    SELECT :owner, given.delivery, given.fence, given.entry FROM facts, ({_ROWS}) AS given
    WHERE facts.name = :name AND facts.value = :version FOR SHARE OF facts
""")  # noqa: S608
_NOTE = text(f"""
    INSERT INTO journal (owner, delivery, fence, entry)
    SELECT :owner, given.delivery, given.fence, given.entry FROM ({_ROWS}) AS given
""")  # noqa: S608
