"""The journal beside SQLite: files with short appended writes."""

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
"""Size in bytes at which writing moves to the other file, if this one cannot be truncated."""


class FileJournal:
    """Files `<database>.d/journal/OWNER.WORKER`, and `OWNER.WORKERbis` while one of them cannot be truncated."""

    def __init__(self, folder: Path, database: Path | None = None) -> None:
        self._folder = folder
        self._database = database
        folder.mkdir(parents=True, exist_ok=True)

    def boot(self) -> str:
        """The boot id of the kernel; empty if there is none."""
        return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def writer(self, owner: str, worker: int) -> JournalWriter:
        """Open a file with the boot id synced to disk: an empty file means a power loss."""
        return FileWriter(self._folder / f"{owner}.{worker}", json_line(["B", self.boot()]), self._database)

    def owners(self) -> set[str]:
        """Owners, from the names of the files."""
        return {path.name.rpartition(".")[0] for path in self._folder.iterdir()}

    def read(self, owner: str) -> JournalRecord:
        """Read the journals of all workers of an owner."""
        record = JournalRecord()
        for path in self._files(owner):
            # Only whole lines: the last one may be torn.
            for line in path.read_text(encoding="ascii", errors="replace").split("\n")[:-1]:
                record.add(line)
        return record

    def forget(self, owner: str) -> None:
        """Delete the files of an owner."""
        for path in self._files(owner):
            path.unlink(missing_ok=True)

    def _files(self, owner: str) -> list[Path]:
        return [path for path in sorted(self._folder.iterdir()) if path.name.rpartition(".")[0] == owner]


class FileWriter:
    """Two files: one is truncated once all in it is settled; if it grows large, the other is used. For one thread."""

    def __init__(self, path: Path, head: str, database: Path | None = None) -> None:
        self._paths = (path, path.with_name(path.name + "bis"))
        self._head = head.encode("ascii") + b"\n"
        self._fds: list[int | None] = [None, None]
        self._open = [set[DeliveryKey](), set[DeliveryKey]()]
        self._now = 0
        self._size = 0
        self._queued: list[str] = []
        self._consent = ConsentCounter(database) if database is not None else None
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
            # The disk is full. End the torn line, so that the next one is separate.
            os.write(fd, b"\n")
            raise OSError(
                f"disk full: the journal {self._paths[self._now]} has room for {written} of {len(lines)} bytes"
            )

    def begin_preparing(self, keys: Sequence[DeliveryKey]) -> None:
        """Note that these messages are about to be prepared."""
        self._write(json_line(["P", keys]).encode("ascii") + b"\n")

    def end_preparing(self) -> None:
        """Note that they were prepared, or failed."""
        self._write(b'["M"]\n')

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """Note that these messages are about to begin, after the queued lines, in one write."""
        lines = [*self._queued, *[f'["I",{delivery},{fence}]' for delivery, fence in keys], ""]
        text = "\n".join(lines).encode("ascii")
        consent = self._consent
        if consent is None:
            self._write(text)
        else:
            consent.hold()
            try:
                if consent.version() != version:
                    return False
                self._write(text)
            finally:
                consent.release()
        self._queued = []
        self._open[self._now].update(keys)
        return True

    def queue(self, line: str) -> None:
        """Queue a line for the next write."""
        self._queued.append(line)

    def flush(self) -> None:
        """Write the queued lines."""
        if self._queued:
            self._write(("\n".join(self._queued) + "\n").encode("ascii"))
            self._queued = []

    def remove_settled(self, keys: Sequence[DeliveryKey]) -> None:
        """Forget these deliveries; truncate the file to the boot id if it holds nothing else."""
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
        """Close the files, and delete those without unsettled deliveries."""
        for which, unsettled in enumerate(self._open):
            fd = self._fds[which]
            if not unsettled:
                self._remove(which)
            elif fd is not None:
                os.close(fd)
                self._fds[which] = None
        if self._consent is not None:
            self._consent.close()
            self._consent = None


class ConsentCounter:
    """The consent version beside SQLite, and the lock that keeps it unchanged during a check and a write."""

    def __init__(self, database: Path) -> None:
        self._lock = open_consent_lock(database)
        self._connection = sqlite3.connect(
            database, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        self._execute = self._connection.cursor().execute
        self._data = -1
        self._version = 0

    def hold(self) -> None:
        """Take the lock: no change of consent commits from now on."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def release(self) -> None:
        """Release the lock."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def version(self) -> int:
        """The consent version, read again only after a commit of another connection. Raises OSError."""
        try:
            data = self._execute("PRAGMA data_version").fetchone()[0]
            if data != self._data:
                row = self._execute("SELECT value FROM facts WHERE name = ?", (VERSION,)).fetchone()
                self._version = int(row[0]) if row else 0
                self._data = data
        except sqlite3.Error as error:
            raise OSError(f"the consent version cannot be read: {error}") from error
        return self._version

    def close(self) -> None:
        """Close the connection and the lock."""
        self._connection.close()
        os.close(self._lock)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
