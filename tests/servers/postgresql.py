"""A private PostgreSQL for the tests: in a temporary folder, on loopback, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.fixtures.ports import free_port

STARTS = 3
"""Tries at a free port: between asking for one and taking it, somebody else may."""


def _programs() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found else None


def _name(url: str) -> str:
    """The name of the database at an address."""
    return url.rpartition("/")[2]


class Server:
    """One server process; `fresh_database` gives an empty database each time."""

    _fresh: ClassVar[dict[str, Server]] = {}
    """The servers of the databases that `fresh_database` made and `fill` has not seen yet, by their addresses."""

    def __init__(self) -> None:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        # Not below pytest's own folder, which is closed to the user `postgres`; short, for the path of the Unix socket.
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-pg-", dir="/tmp" if Path("/tmp").is_dir() else None))
        self._data = self._folder / "data"
        self._port = 0
        self._names = count(1)
        self._template = ""
        # initdb refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @staticmethod
    def is_installed() -> bool:
        """Whether the programs of a server are on this machine."""
        return _programs() is not None

    def _run(self, program: str, *arguments: str) -> None:
        prefix = ["runuser", "-u", self._user, "--"] if os.geteuid() == 0 else []
        # Output to files: a server that inherits a pipe would keep whoever reads it waiting.
        log = self._folder / f"{program}.out"
        with log.open("wb") as out:
            done = subprocess.run(
                [*prefix, str(self._programs / program), *arguments],
                check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd="/",
            )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed ({done.returncode}): {log.read_text(errors='replace')[-2000:]}")

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, self._user)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "tidings", "-E", "UTF8", "--locale=C", "-N")
        self.resume()

    def start_synchronous_standby(self) -> Server:
        """Start a server that has every commit before this one acknowledges it. `promote` makes it the primary."""
        standby = Server()
        if os.geteuid() == 0:
            shutil.chown(standby._folder, self._user)
        standby._run(
            "pg_basebackup", "-D", str(standby._data), "-R", "-X", "stream", "-c", "fast",
            "-d", self._url("postgres"),
        )  # fmt: skip
        standby.resume()
        self._administer("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._administer("SELECT pg_reload_conf()")
        return standby

    def promote(self) -> None:
        """Make this standby the primary."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def halt(self) -> None:
        """End it at once, as a crash does. Its data stay, and `resume` starts it at the same port."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def end_sessions(self, url: str, *, advisory: bool = False) -> None:
        """End every session of a database (pg_terminate_backend), or only those that hold an advisory lock."""
        held = " AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')" if advisory else ""
        self._administer(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_name(url)}'{held}")

    def resume(self) -> None:
        """Start the cluster and wait until it answers."""
        for left in reversed(range(STARTS)):
            self._port = self._port or free_port()
            # Speed for safety on power loss, which no test plays; synchronous_commit stays as it is in life.
            options = (
                f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} "
                "-c fsync=off -c full_page_writes=off -c max_connections=200"
            )
            try:
                self._run(
                    "pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", "-o", options, "start"
                )
            except RuntimeError:
                if not left:
                    raise
                self._port = 0
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """End it at once, and leave nothing."""
        try:
            if (self._data / "postmaster.pid").exists():
                self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def cpu_seconds(self) -> float:
        """CPU time of all sessions that have ended, and of the server itself."""
        number = (self._data / "postmaster.pid").read_text().split()[0]
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, database: str) -> str:
        return f"postgresql://tidings@127.0.0.1:{self._port}/{database}"

    def fresh_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._names)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE template0')
        url = self._url(name)
        self._fresh[url] = self
        return url

    @classmethod
    def fill(cls, url: str, make: Callable[[str], None]) -> None:
        """Give a database that is still empty the tables that `make` creates: copied, since making them is slow."""
        server = cls._fresh.pop(url, None)
        if server is None:
            return
        with psycopg.connect(url) as connection:
            if connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchone():
                return
        if not server._template:
            template = server.fresh_database()
            make(template)
            server._template = template
        server.drop(url)
        server._administer(f'CREATE DATABASE "{_name(url)}" TEMPLATE "{_name(server._template)}"')

    def copy(self, url: str) -> str:
        """The address of a new database with all that stands in another one, to which nobody is connected."""
        name = f"test_{next(self._names)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{_name(url)}"')
        return self._url(name)

    def drop(self, url: str) -> None:
        """Take a database away, whoever still holds a connection to it."""
        self._administer(f'DROP DATABASE IF EXISTS "{_name(url)}" WITH (FORCE)')
