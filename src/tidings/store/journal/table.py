"""The journal on PostgreSQL: a table, so that any worker can recover another's."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, delete, insert, select, text

from tidings.model.delivery import Outcome
from tidings.store import schema as t
from tidings.store.consent import VERSION, held_version
from tidings.store.engine import Store
from tidings.store.journal.record import Key, Record, Writer, json_line, outcome_line


class TableJournal:
    """The table `journal`, written with `synchronous_commit = off` so that any worker can recover another's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def boot(self) -> str:
        """When the server started: what it committed without waiting before that may be lost."""
        with self._store.read() as connection:
            return str(connection.execute(text("SELECT pg_postmaster_start_time()::text")).scalar_one())

    def writer(self, owner: str, worker: int) -> Writer:
        """On a connection of its own."""
        name = f"{owner}.{worker}"
        head = json_line(["B", self.boot()])
        with self._store.write() as connection:
            # So that there is a counter to look at.
            held_version(connection)
            connection.execute(insert(t.journal).values(owner=name, delivery=_HEAD, fence=0, entry=head))
        return TableWriter(self._store, name)

    def owners(self) -> set[str]:
        """By the rows that carry the mark of the boot."""
        query = select(t.journal.c.owner).where(t.journal.c.delivery == _HEAD).distinct()
        with self._store.read() as connection:
            return {name.rpartition(".")[0] for name in connection.execute(query).scalars()}

    def read(self, owner: str) -> Record:
        """Of all its workers."""
        record = Record()
        with self._store.read() as connection:
            for line in connection.execute(select(t.journal.c.entry).where(_of(owner))).scalars():
                record.add(line)
        return record

    def forget(self, owner: str) -> None:
        """Remove its rows."""
        with self._store.write() as connection:
            connection.execute(delete(t.journal).where(_of(owner)))


_HEAD = 0
"""The `delivery` of the row that carries the mark of the boot."""
_PREPARED = -1
"""The `delivery` of the row that says what is being prepared."""


def _of(owner: str) -> ColumnElement[bool]:
    return t.journal.c.owner.startswith(f"{owner}.", autoescape=True)


class TableWriter:
    """One autocommitted row a line."""

    def __init__(self, store: Store, name: str) -> None:
        self._name = name
        self._unsettled: set[Key] = set()
        self._mutex = threading.Lock()
        connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET synchronous_commit = off"))
        # Out of the pool, which would hand the setting on to others.
        connection.detach()
        self._connection: Connection | None = connection

    def _execute(self, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
        assert self._connection is not None
        return self._connection.execute(statement, values or {}).rowcount

    def prepare(self, keys: Sequence[Key]) -> None:
        """Messages are about to be made of these."""
        j = t.journal.c
        row = {"owner": self._name, "delivery": _PREPARED, "fence": 0, "entry": json_line(["P", keys])}
        with self._mutex:
            self._execute(delete(t.journal).where(j.owner == self._name, j.delivery == _PREPARED))
            self._execute(insert(t.journal).values(row).inline())

    def intent(self, delivery: int, fence: int, version: int) -> bool:
        """In one statement with the look at the counter, whose row is locked until it has committed."""
        entry = f'["I",{delivery},{fence}]'
        row = {"owner": self._name, "delivery": delivery, "fence": fence, "entry": entry}
        with self._mutex:
            noted = self._execute(_INTENT, {**row, "name": VERSION, "version": str(version)}) == 1
            if noted:
                self._unsettled.add((delivery, fence))
        return noted

    def outcome(self, delivery: int, fence: int, outcome: Outcome) -> None:
        """What the other side said."""
        line = outcome_line(delivery, fence, outcome)
        row = {"owner": self._name, "delivery": delivery, "fence": fence, "entry": line}
        with self._mutex:
            self._execute(_OUTCOME, row)

    def cut(self, keys: Sequence[Key]) -> None:
        """Remove what this worker noted of these; the mark of the boot stays."""
        j = t.journal.c
        settled = sorted({delivery for delivery, _ in keys})
        with self._mutex:
            self._unsettled.difference_update(keys)
            mine = (j.owner == self._name) & (j.delivery != _HEAD)
            if self._unsettled:
                mine &= j.delivery.in_(settled)
            self._execute(delete(t.journal).where(mine))

    def close(self) -> None:
        """Give the connection up; leave nothing if nothing stands there that was not settled."""
        with self._mutex:
            if self._connection is not None:
                if not self._unsettled:
                    self._execute(delete(t.journal).where(t.journal.c.owner == self._name))
                self._connection.close()
                self._connection = None


_INTENT = text("""
    INSERT INTO journal (owner, delivery, fence, entry)
    SELECT :owner, :delivery, :fence, :entry FROM facts WHERE name = :name AND value = :version FOR SHARE
""")
_OUTCOME = text("INSERT INTO journal (owner, delivery, fence, entry) VALUES (:owner, :delivery, :fence, :entry)")
