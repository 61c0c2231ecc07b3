"""A private PostgreSQL for tests: in a temporary folder, on loopback, removed afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.fixtures.ports import free_port
from tests.fixtures.waiting import wait_until
from tidings.runtime.demo.servers import PrivatePostgres
from tidings.store.engine import Store
from tidings.store.migrate import create_or_check


def _name(url: str) -> str:
    """Return the name of the database in an address."""
    return url.rpartition("/")[2]


class Server(PrivatePostgres):
    """One server process; `fresh_database` gives another database each time."""

    def __init__(self) -> None:
        super().__init__()
        self._names = count(1)
        self._template = ""

    def _find_port(self) -> int:
        return free_port()

    def start_standby(self) -> Server:
        """Start a server that follows this one. `promote` makes it the primary."""
        standby = Server()
        standby._own_folder()
        standby.follow(self)
        return standby

    def follow(self, primary: Server) -> None:
        """Delete its data and become the standby of `primary`, at the same port as before."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._run(
            "pg_basebackup", "-D", str(self._data), "-R", "-X", "stream", "-c", "fast",
            "-d", primary._url("postgres"),
        )  # fmt: skip
        self.resume()

    def require_standby(self) -> None:
        """Acknowledge a commit only after the standby has it (synchronous replication)."""
        self._administer("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._administer("SELECT pg_reload_conf()")
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            wait_until(lambda: connection.execute(query).fetchone() == (1,))

    def stop_following(self) -> None:
        """Let this standby receive nothing more. Later commits of its primary are missing here."""
        self._administer("ALTER SYSTEM SET primary_conninfo = ''")
        self._administer("SELECT pg_reload_conf()")
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_wal_receiver"
            wait_until(lambda: connection.execute(query).fetchone() == (0,))

    def promote(self) -> None:
        """Make this standby the primary."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def halt(self) -> None:
        """End it at once, as in a crash. Its data stay, and `resume` starts it at the same port."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def end_sessions(self, url: str, *, advisory: bool = False) -> None:
        """End every session of a database (pg_terminate_backend), or only those that hold an advisory lock."""
        held = " AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')" if advisory else ""
        self._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}'{held}")

    def cpu_seconds(self) -> float:
        """CPU time of all sessions that have ended, and of the server itself."""
        number = (self._data / "postmaster.pid").read_text().split()[0]
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty_database(self) -> str:
        """Return the address of a new database without tables."""
        return self.copy("template0")

    def fresh_database(self) -> str:
        """Return the address of a new database with the tables of a store. Copying them is faster than making them."""
        if not self._template:
            template = self.empty_database()
            store = Store(template, Path())
            create_or_check(store)
            store.close()
            self._template = template
        return self.copy(self._template)

    def copy(self, url: str) -> str:
        """Return the address of a copy of another database. No process may be connected to that one."""
        name = f"test_{next(self._names)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{_name(url)}"')
        return self._url(name)

    def drop(self, url: str) -> None:
        """Drop a database, even if there are still connections to it."""
        self._administer(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)')


class PgBouncer:
    """A private PgBouncer in front of a server; a context manager. `pool_mode` is session, transaction or statement."""

    def __init__(self, server: Server, pool_mode: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-pool-", dir="/tmp" if Path("/tmp").is_dir() else None))
        self._port = free_port()
        self._user = server._user
        self._pool_mode = pool_mode
        self._configure(server)

    def _configure(self, server: Server) -> None:
        self._server = server
        settings = {
            "listen_addr": "127.0.0.1", "listen_port": self._port, "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": self._pool_mode, "default_pool_size": 40, "logfile": self._folder / "log",
            "admin_users": "tidings",
        }  # fmt: skip
        lines = ["[databases]", f"* = host=127.0.0.1 port={server.port} user=tidings", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self._folder / "pool.ini").write_text("\n".join(lines) + "\n")

    @staticmethod
    def is_installed() -> bool:
        """Whether its program is installed."""
        return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is not None

    def address(self, url: str, *, direct: bool = False) -> str:
        """Return the address of a database through the pool. With `direct`, locks and journals go past it."""
        past = f"?direct=127.0.0.1:{self._server.port}" if direct else ""
        return f"{make_url(url).set(port=self._port).render_as_string()}{past}"

    def __enter__(self) -> PgBouncer:
        self._start()
        return self

    def _start(self) -> None:
        prefix = []
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._folder, self._user)
            prefix = ["runuser", "-u", self._user, "--"]
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        self._process = subprocess.Popen(
            [*prefix, program, "-q", str(self._folder / "pool.ini")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_until(self._answers)

    def lead_to(self, server: Server) -> None:
        """Lead to another server from now on, without a restart."""
        self._configure(server)
        console = f"postgresql://tidings@127.0.0.1:{self._port}/pgbouncer"
        with psycopg.connect(console, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute("RELOAD")

    def restart(self) -> None:
        """End it at once, with all connections, and start it again at the same port."""
        self._kill()
        self._start()

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=2):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)
