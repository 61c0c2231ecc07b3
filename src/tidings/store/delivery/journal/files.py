"""The journal beside SQLite: files, appended to by short writes."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tidings.store.delivery.journal.record import DeliveryKey, JournalRecord, JournalWriter, json_line
from tidings.store.engine import BUSY_TIMEOUT, open_consent_lock
from tidings.store.people.consent import VERSION

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LARGE = 1 << 18
"""Bytes after which a file that cannot be cut is followed by the other."""


class FileJournal:
    """Files `<database>.d/journal/OWNER.WORKER`, and `OWNER.WORKERbis` while one of them cannot be cut."""

    def __init__(self, folder: Path, database: Path | None = None) -> None:
        self._folder = folder
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)

    def boot(self) -> str:
        """The kernel's boot id; empty where there is none."""
        return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def writer(self, owner: str, worker: int) -> JournalWriter:
        """Opened with its mark of the boot on disk, so that an empty file tells of a power loss."""
        return FileWriter(self._folder / f"{owner}.{worker}", json_line(["B", self.boot()]), self._database)

    def owners(self) -> set[str]:
        """By the names of the files."""
        return {path.name.rpartition(".")[0] for path in self._folder.iterdir()}

    def read(self, owner: str) -> JournalRecord:
        """Of all its workers."""
        record = JournalRecord()
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
    """The file is cut when all in it is settled; else, once large, the other goes on. For one thread."""

    def __init__(self, path: Path, head: str, database: Path | None = None) -> None:
        self._paths = (path, path.with_name(path.name + "bis"))
        self._head = head.encode("ascii") + b"\n"
        self._fds: list[int | None] = [None, None]
        self._open = [set[DeliveryKey](), set[DeliveryKey]()]
        self._now = 0
        self._size = 0
        self._queued: list[str] = []
        self._gate = ConsentCounter(database) if database is not None else None
        self._begin(0)

    def _begin(self, which: int) -> None:
        path = self._paths[which]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._fds[which] = os.open(path, flags, 0o644)
        self._now, self._size = which, 0
        self._write(self._head)
        os.fsync(self._descriptor())
        _sync_folder(path.parent)

    def _descriptor(self) -> int:
        fd = self._fds[self._now]
        assert fd is not None
        return fd

    def _write(self, lines: bytes) -> None:
        fd = self._descriptor()
        written = os.write(fd, lines)
        self._size += written
        if written != len(lines):
            # The disk is full. End the torn line, so that the next one stands by itself.
            os.write(fd, b"\n")
            raise OSError(f"the journal {self._paths[self._now]} took {written} of {len(lines)} bytes")

    def begin_preparing(self, keys: Sequence[DeliveryKey]) -> None:
        """Messages are about to be made of these."""
        self._write(json_line(["P", keys]).encode("ascii") + b"\n")

    def end_preparing(self) -> None:
        """They were made, or cannot be."""
        self._write(b'["M"]\n')

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """These messages are about to begin; what is kept goes before, in the same write."""
        lines = [*self._queued, *[f'["I",{delivery},{fence}]' for delivery, fence in keys], ""]
        text = "\n".join(lines).encode("ascii")
        gate = self._gate
        if gate is None:
            self._write(text)
        else:
            gate.close_to_others()
            try:
                if gate.version() != version:
                    return False
                self._write(text)
            finally:
                gate.open_to_others()
        self._queued = []
        self._open[self._now].update(keys)
        return True

    def queue(self, line: str) -> None:
        """What the other side said."""
        self._queued.append(line)

    def flush(self) -> None:
        """Note what is kept."""
        if self._queued:
            self._write(("\n".join(self._queued) + "\n").encode("ascii"))
            self._queued = []

    def remove_settled(self, keys: Sequence[DeliveryKey]) -> None:
        """Forget these; back to the mark of the boot where nothing else stands."""
        now, other = self._now, 1 - self._now
        for which in (now, other):
            self._open[which].difference_update(keys)
        if not self._open[other]:
            self._remove(other)
        if not self._open[now]:
            os.ftruncate(self._descriptor(), len(self._head))
            self._size = len(self._head)
        elif self._size > _LARGE and self._fds[other] is None:
            self._begin(other)

    def _remove(self, which: int) -> None:
        fd, self._fds[which] = self._fds[which], None
        if fd is not None:
            self._paths[which].unlink(missing_ok=True)
            os.close(fd)

    def close(self) -> None:
        """Remove what holds nothing that was not settled."""
        for which, unsettled in enumerate(self._open):
            fd = self._fds[which]
            if not unsettled:
                self._remove(which)
            elif fd is not None:
                os.close(fd)
                self._fds[which] = None
        if self._gate is not None:
            self._gate.close()
            self._gate = None


class ConsentCounter:
    """Beside SQLite: the counter of consent, and the door that keeps it still while one looks and notes."""

    def __init__(self, database: Path) -> None:
        self._door = open_consent_lock(database)
        self._connection = sqlite3.connect(
            database, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        self._execute = self._connection.cursor().execute
        self._data = -1
        self._version = 0

    def close_to_others(self) -> None:
        """From now on nobody's leaving commits; whoever writes that waits."""
        fcntl.flock(self._door, fcntl.LOCK_SH)

    def open_to_others(self) -> None:
        """It may again."""
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def version(self) -> int:
        """The counter as of now; read anew only if something was committed since the last time. Raises OSError."""
        try:
            data = self._execute("PRAGMA data_version").fetchone()[0]
            if data != self._data:
                row = self._execute("SELECT value FROM facts WHERE name = ?", (VERSION,)).fetchone()
                self._version = int(row[0]) if row else 0
                self._data = data
        except sqlite3.Error as error:
            raise OSError(f"the counter of consent cannot be read: {error}") from error
        return self._version

    def close(self) -> None:
        """Give both up."""
        self._connection.close()
        os.close(self._door)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
