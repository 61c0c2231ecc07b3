"""What each sender is about to do and has just done, so that a crash leaves at most one message a connection in doubt.

An intent is written before the first byte of a message, an outcome after its reply; neither is synced to disk. A crash
of the process loses nothing of it. A crash of the machine does: the journal carries the mark of the boot, and what was
handed over under another boot counts as in doubt.

A line is a JSON array, `["I", delivery, fence]` or `["O", delivery, fence, {outcome}]`: the beginning of a torn line is
never valid JSON.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, delete, insert, select, text

from tidings.model.delivery import Outcome, Verdict
from tidings.store import schema as t
from tidings.store.engine import Store
from tidings.store.liveness import side_folder

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Record:
    """All that is known of what one owner did, by (delivery, fence)."""

    boots: set[str] = field(default_factory=set)
    intents: set[tuple[int, int]] = field(default_factory=set)
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Take one line in; what is torn is ignored."""
        try:
            entry = json.loads(line)
            kind = entry[0]
            if kind == "B":
                self.boots.add(str(entry[1]))
            elif kind == "I":
                self.intents.add((int(entry[1]), int(entry[2])))
            elif kind == "O":
                self.outcomes[int(entry[1]), int(entry[2])] = _outcome(entry[3])
        except (ValueError, TypeError, LookupError):
            return


class Writer(Protocol):
    """The journal of one worker: never written by two threads."""

    def intent(self, delivery: int, fence: int) -> None:
        """The message is about to begin. Raises if it cannot be noted: then it must not begin."""

    def outcome(self, delivery: int, fence: int, outcome: Outcome) -> None:
        """What the other side said."""

    def cut(self) -> None:
        """All that was noted so far has been settled in the ledger."""

    def close(self) -> None:
        """Nothing follows; what was settled leaves no trace."""


class Journal(Protocol):
    """The journals of all owners of one store."""

    def writer(self, owner: str, worker: int) -> Writer:
        """The journal of a worker of this process."""

    def owners(self) -> set[str]:
        """Every owner that left something."""

    def read(self, owner: str) -> Record:
        """What an owner noted."""

    def boot(self) -> str:
        """The mark of the running machine (of the server, on PostgreSQL): what was noted under another may be lost."""

    def forget(self, owner: str) -> None:
        """All of a dead owner has been settled."""


def open_journal(store: Store) -> Journal:
    """The journal that belongs to a store."""
    if store.path is not None:
        return FileJournal(side_folder(store.path) / "journal")
    return TableJournal(store)


def _json(entry: list[Any]) -> str:
    return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))


def _details(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"verdict": outcome.verdict.value}
    for name in ("receipt", "via", "reason", "retry_after", "disable"):
        value = getattr(outcome, name)
        if value not in ("", None, False):
            found[name] = value
    return found


def _outcome(details: dict[str, Any]) -> Outcome:
    return Outcome(**{**details, "verdict": Verdict(details["verdict"])})


class FileJournal:
    """A file a worker, `<database>.d/journal/OWNER.WORKER`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def boot(self) -> str:
        """The kernel's boot id; empty where there is none."""
        return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def writer(self, owner: str, worker: int) -> Writer:
        """Opened with its mark of the boot on disk, so that an empty file tells of a power loss."""
        return FileWriter(self._folder / f"{owner}.{worker}", _json(["B", self.boot()]))

    def owners(self) -> set[str]:
        """By the names of the files."""
        return {path.name.rpartition(".")[0] for path in self._folder.iterdir()}

    def read(self, owner: str) -> Record:
        """Of all its workers."""
        record = Record()
        for path in self._files(owner):
            # Only whole lines: the last one may be torn.
            for line in path.read_text(encoding="ascii", errors="replace").split("\n")[:-1]:
                record.add(line)
        return record

    def forget(self, owner: str) -> None:
        """Remove its files."""
        for path in self._files(owner):
            path.unlink(missing_ok=True)

    def _files(self, owner: str) -> list[Path]:
        return [path for path in sorted(self._folder.iterdir()) if path.name.rpartition(".")[0] == owner]


class FileWriter:
    """One short `write` a line, appended."""

    def __init__(self, path: Path, head: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._head = len(head) + 1
        self._write(head)
        os.fsync(self._fd)
        _sync_folder(path.parent)

    def _write(self, line: str) -> None:
        data = line.encode("ascii") + b"\n"
        written = os.write(self._fd, data)
        if written != len(data):
            # The disk is full. End the torn line, so that the next one stands by itself.
            os.write(self._fd, b"\n")
            raise OSError(f"the journal {self._path} took {written} of {len(data)} bytes")

    def intent(self, delivery: int, fence: int) -> None:
        """The message is about to begin."""
        self._write(_json(["I", delivery, fence]))

    def outcome(self, delivery: int, fence: int, outcome: Outcome) -> None:
        """What the other side said."""
        self._write(_json(["O", delivery, fence, _details(outcome)]))

    def cut(self) -> None:
        """Back to the mark of the boot."""
        os.ftruncate(self._fd, self._head)

    def close(self) -> None:
        """Remove the file if nothing stands in it that was not settled."""
        if self._fd >= 0:
            if os.fstat(self._fd).st_size == self._head:
                self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
        head = _json(["B", self.boot()])
        with self._store.write() as connection:
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


def _of(owner: str) -> ColumnElement[bool]:
    return t.journal.c.owner.startswith(f"{owner}.", autoescape=True)


class TableWriter:
    """One autocommitted row a line."""

    def __init__(self, store: Store, name: str) -> None:
        self._name = name
        self._unsettled = False
        connection = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("SET synchronous_commit = off"))
        # Out of the pool, which would hand the setting on to others.
        connection.detach()
        self._connection: Connection | None = connection

    def _write(self, delivery: int, fence: int, entry: list[Any]) -> None:
        assert self._connection is not None
        self._unsettled = True
        row = {"owner": self._name, "delivery": delivery, "fence": fence, "entry": _json(entry)}
        self._connection.execute(insert(t.journal).values(row).inline())

    def intent(self, delivery: int, fence: int) -> None:
        """The message is about to begin."""
        self._write(delivery, fence, ["I", delivery, fence])

    def outcome(self, delivery: int, fence: int, outcome: Outcome) -> None:
        """What the other side said."""
        self._write(delivery, fence, ["O", delivery, fence, _details(outcome)])

    def cut(self) -> None:
        """Remove what this worker noted; the mark of the boot stays."""
        assert self._connection is not None
        j = t.journal.c
        self._connection.execute(delete(t.journal).where(j.owner == self._name, j.delivery != _HEAD))
        self._unsettled = False

    def close(self) -> None:
        """Give the connection up; leave nothing if nothing stands there that was not settled."""
        if self._connection is not None:
            if not self._unsettled:
                self._connection.execute(delete(t.journal).where(t.journal.c.owner == self._name))
            self._connection.close()
            self._connection = None
