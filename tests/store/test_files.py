"""The files of a SQLite store belong to one user, and waiting for their locks has an end."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tidings.store import engine
from tidings.store.engine import LockTimeoutError, Store, lock_file
from tidings.store.locks import SharedHold, acquire_liveness


def rights(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [folder, *folder.rglob("*")]}


def use(folder: Path) -> None:
    """Write to a store with every lock that a process uses."""
    store = Store("sqlite:///tidings.db", folder)
    hold, liveness = SharedHold(store), acquire_liveness(store)
    with store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (x)")
        assert rights(folder / "tidings.db.d") == dict.fromkeys(rights(folder / "tidings.db.d"), 0)
        assert {"tidings.db-wal", "tidings.db-shm"} <= {path.name for path in folder.iterdir()}
        assert all(not rights(path)[path.name] for path in folder.iterdir())
    liveness.release()
    hold.release()
    store.close()


@pytest.fixture
def wide_umask() -> object:
    before = os.umask(0o000)
    yield
    os.umask(before)


def test_no_other_user_reads_a_new_store(tmp_path: Path, wide_umask: object) -> None:
    use(tmp_path)


def test_an_open_store_is_closed_to_other_users(tmp_path: Path, wide_umask: object) -> None:
    use(tmp_path)
    for name in ("tidings.db", "tidings.db.d"):
        (tmp_path / name).chmod(0o777)
    use(tmp_path)


def test_waiting_for_a_lock_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 0.1)
    with (tmp_path / "lock").open("w") as held, (tmp_path / "lock").open("w") as other:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockTimeoutError):
            lock_file(other.fileno(), fcntl.LOCK_EX)
        fcntl.flock(held, fcntl.LOCK_UN)
        lock_file(other.fileno(), fcntl.LOCK_EX)


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    # In a process of its own, because the tests switch this off.
    program = (
        "import pathlib, sys; from tidings.store.engine import Store\n"
        "store = Store('sqlite:///t.db', pathlib.Path(sys.argv[1]))\n"
        "with store.read() as connection: print(connection.exec_driver_sql('PRAGMA synchronous').scalar())"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"
