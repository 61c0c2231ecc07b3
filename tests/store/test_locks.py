"""A lock shows whether a process is alive. The system removes it at once, even after kill -9."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tests.fixtures.items import open_store
from tests.servers.postgresql import PgBouncer, Server
from tidings.model.errors import InputError, RefusedError
from tidings.store import locks
from tidings.store.delivery.journal import Journal
from tidings.store.engine import Store

ON_POSTGRESQL = pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
CHILD = """
import sys, pathlib
from tidings.store import locks
from tidings.store.engine import Store
alive = locks.acquire_liveness(Store(sys.argv[1], pathlib.Path(sys.argv[2])))
print(alive.owner, flush=True)
sys.stdin.read()
"""


def _wait_until_dead(alive: locks.Liveness, owner: str) -> None:
    begun = time.monotonic()
    while alive.is_alive(owner):
        assert time.monotonic() - begun < 60
        time.sleep(0.01)


def test_a_process_counts_as_dead_at_once_after_kill_9(store: Store, database_url: str, tmp_path: Path) -> None:
    mine = locks.acquire_liveness(store)
    command = [sys.executable, "-c", CHILD, database_url, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        owner = child.stdout.readline().strip()
        assert mine.is_alive(owner)
        os.kill(child.pid, signal.SIGSTOP)
        # A stopped process is alive, so its lease must expire.
        assert mine.is_alive(owner)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    _wait_until_dead(mine, owner)
    if store.is_sqlite:
        assert mine.list_dead() == [owner]
        mine.forget(owner)
        assert mine.list_dead() == []
        assert not mine.is_alive(owner)
    mine.release()


def test_two_locks_of_one_process_see_each_other(store: Store) -> None:
    first, second = locks.acquire_liveness(store), locks.acquire_liveness(store)
    assert first.owner != second.owner
    assert first.is_alive(second.owner)
    assert second.is_alive(first.owner)
    assert first.is_alive(first.owner)
    second.release()
    assert not first.is_alive(second.owner)
    assert not first.is_alive("never-was-1-abc")
    first.release()


def test_a_process_that_only_checks_is_not_the_owner(store: Store) -> None:
    watchers = [locks.acquire_liveness(store) for _ in range(3)]
    gone = locks.acquire_liveness(store)
    gone.release()
    wrong: list[str] = []

    def look(watcher: locks.Liveness) -> None:
        for _ in range(50):
            if watcher.is_alive(gone.owner):
                wrong.append(watcher.owner)

    threads = [threading.Thread(target=look, args=(watcher,)) for watcher in watchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for watcher in watchers:
        watcher.release()


def test_a_living_owner_is_not_forgotten(store: Store) -> None:
    first, second = locks.acquire_liveness(store), locks.acquire_liveness(store)
    first.forget(second.owner)
    assert first.is_alive(second.owner)
    first.release()
    second.release()


def test_a_forked_child_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    script = """
import os, sys, time, pathlib
from tidings.store import locks
from tidings.store.engine import Store
alive = locks.acquire_liveness(Store("sqlite:///tidings.db", pathlib.Path(sys.argv[1])))
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(alive.owner, child, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=False)
    owner, child = done.stdout.split()
    try:
        mine = locks.acquire_liveness(Store("sqlite:///tidings.db", tmp_path))
        assert not mine.is_alive(owner)
        mine.release()
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_lock_is_taken_again_after_a_lost_connection(store: Store) -> None:
    mine, other = locks.acquire_liveness(store), locks.acquire_liveness(store)
    if not store.is_sqlite:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        with store.write() as connection:
            connection.execute(text(ended)).all()
        _wait_until_dead(other, mine.owner)
    mine.refresh()
    other.refresh()
    assert other.is_alive(mine.owner)
    mine.release()
    other.release()


@ON_POSTGRESQL
def test_locks_are_taken_again_after_the_server_was_down(store: Store, postgresql: Server) -> None:
    """A refresh while the server was down left a closed connection, and every later refresh failed."""
    mine, hold = locks.acquire_liveness(store), locks.SharedHold(store)
    postgresql.halt()
    try:
        for _ in range(2):
            for lock in (mine, hold):
                with pytest.raises(SQLAlchemyError):
                    lock.refresh()
    finally:
        postgresql.resume()
    other = locks.acquire_liveness(store)
    assert not other.is_alive(mine.owner)
    mine.refresh()
    hold.refresh()
    assert other.is_alive(mine.owner)
    with pytest.raises(RefusedError, match="another process works"), locks.exclusive_hold(store):
        pass
    for lock in (mine, other, hold):
        lock.release()


@ON_POSTGRESQL
def test_a_lost_session_does_not_keep_its_owner_out(store: Store) -> None:
    """After a cut of the network, the server keeps the old session with the lock. The new session ends it."""
    mine, other = locks.SessionLiveness(store, "host-1-ab"), locks.acquire_liveness(store)
    again = locks.SessionLiveness(store, "host-1-ab")
    assert other.is_alive("host-1-ab")
    again.release()
    assert not other.is_alive("host-1-ab")
    mine.release()
    other.release()


@ON_POSTGRESQL
def test_a_store_may_have_several_hosts(database_url: str, tmp_path: Path) -> None:
    """After a failover, the next connection goes to the server that answers and accepts writes."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosts = database_url.replace("@", f"@127.0.0.1:{nobody.getsockname()[1]},", 1)
        store = Store(f"{hosts}?target_session_attrs=read-write", tmp_path)
        with store.read() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        store.close()


@ON_POSTGRESQL
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pool_of_transactions_is_refused(
    database_url: str, tmp_path: Path, start_pool: Callable[[str], PgBouncer], mode: str
) -> None:
    """Two processes held the same lock, a dead process counted as alive, and no message said so."""
    open_store(database_url, tmp_path).close()
    pool = start_pool(mode)
    store = Store(pool.address(database_url), tmp_path)
    for take in (locks.acquire_liveness, locks.SharedHold, lambda of: locks.exclusive_hold(of).__enter__()):
        with pytest.raises(InputError, match="gives each transaction another session") as refused:
            take(store)
        assert str(refused.value).endswith("for locks and journals: ?direct=HOST:5432")
        assert "127.0.0.1:" in str(refused.value) and "tidings@" not in str(refused.value)
    store.close()


@ON_POSTGRESQL
def test_locks_go_past_a_pool_of_transactions(
    database_url: str, tmp_path: Path, postgresql: Server, start_pool: Callable[[str], PgBouncer]
) -> None:
    open_store(database_url, tmp_path).close()
    pool = start_pool("transaction")
    address = pool.address(database_url, direct=True)
    first, second = (Store(address, tmp_path) for _ in range(2))
    alive, other = locks.acquire_liveness(first), locks.acquire_liveness(second)
    hold = locks.SharedHold(first)
    with pytest.raises(RefusedError), locks.exclusive_hold(second):
        pass
    for _ in range(10):  # the driver prepares a statement that it has seen five times
        assert other.is_alive(alive.owner) and alive.is_alive(other.owner)
    pool.restart()
    assert other.is_alive(alive.owner)
    postgresql.end_sessions(database_url, advisory=True)
    for lock in (alive, other, hold):
        lock.refresh()
    assert other.is_alive(alive.owner) and alive.is_alive(other.owner)
    alive.release()
    _wait_until_dead(other, alive.owner)
    other.release()
    hold.release()
    first.close()
    second.close()


@ON_POSTGRESQL
def test_a_pool_that_leads_elsewhere_is_found(database_url: str, tmp_path: Path, postgresql: Server) -> None:
    """A failover may move only one of the two addresses: then a lock is where nobody looks for it."""
    direct = f"?direct=127.0.0.1:{postgresql.port}"
    other_url = postgresql.fresh_database()
    store, elsewhere = Store(database_url + direct, tmp_path), Store(other_url + direct, tmp_path)
    alive = locks.acquire_liveness(store)
    alive.refresh()
    right, store.engine = store.engine, elsewhere.engine
    for take in (alive.refresh, lambda: locks.SharedHold(store)):
        with pytest.raises(InputError, match="do not lead to the same database"):
            take()
    with pytest.raises(OSError, match="different databases"):
        Journal(store).writer(alive.owner)
    store.engine = right
    alive.refresh()
    assert not alive.is_alive("nobody-1-ab")
    alive.release()
    for each in (store, elsewhere):
        each.close()
    postgresql.drop(other_url)


@ON_POSTGRESQL
def test_a_pool_of_sessions_keeps_the_locks(
    database_url: str, tmp_path: Path, start_pool: Callable[[str], PgBouncer]
) -> None:
    open_store(database_url, tmp_path).close()
    pool = start_pool("session")
    first, second = (Store(pool.address(database_url), tmp_path) for _ in range(2))
    alive, other = locks.acquire_liveness(first), locks.acquire_liveness(second)
    assert other.is_alive(alive.owner) and alive.is_alive(other.owner)
    with locks.exclusive_hold(first), pytest.raises(RefusedError):
        locks.SharedHold(second)
    alive.release()
    _wait_until_dead(other, alive.owner)
    other.release()
    first.close()
    second.close()
