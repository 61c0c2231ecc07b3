"""A private PostgreSQL for the tests: in a temporary folder, on loopback, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from itertools import count
from pathlib import Path


def _programs() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found else None


class Server:
    """One server process; `fresh_database` gives an empty database each time."""

    def __init__(self, folder: Path) -> None:
        programs = _programs()
        assert programs is not None
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._names = count(1)
        # initdb refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @staticmethod
    def is_installed() -> bool:
        """Whether the programs of a server are on this machine."""
        return _programs() is not None

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        prefix = ["runuser", "-u", self._user, "--"] if os.geteuid() == 0 else []
        return subprocess.run(
            [*prefix, *command], check=True, capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL
        )

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        self._data.mkdir(parents=True)
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self._user)
            os.chown(self._data, entry.pw_uid, entry.pw_gid)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
            for parent in self._folder.parents:
                if parent == Path("/tmp") or parent == Path("/"):
                    break
                parent.chmod(parent.stat().st_mode | 0o011)
        initdb = str(self._programs / "initdb")
        self._run(initdb, "-D", str(self._data), "-A", "trust", "-U", "tidings", "-E", "UTF8", "--locale=C", "-N")
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} "
            "-c fsync=off -c full_page_writes=off -c max_connections=200"
        )
        log = str(self._folder / "log")
        self._run(str(self._programs / "pg_ctl"), "-D", str(self._data), "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """End it at once."""
        self._run(str(self._programs / "pg_ctl"), "-D", str(self._data), "-m", "immediate", "stop")

    def fresh_database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._names)}"
        port = str(self._port)
        self._run(str(self._programs / "createdb"), "-h", "127.0.0.1", "-p", port, "-U", "tidings", name)
        return f"postgresql://tidings@127.0.0.1:{self._port}/{name}"
