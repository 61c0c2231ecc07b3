"""A private PostgreSQL and a private RabbitMQ on loopback, made from the programs of this machine, gone afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tidings.model.errors import InputError

STARTS = 3
"""How often a start is tried: another program may take the free port first."""
_ERL_ARGS = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
"""On loopback, and without the busy waiting of Erlang's schedulers: this machine has other work."""


def find_free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _make_folder(prefix: str) -> Path:
    # Short, because the path of a Unix socket has at most 107 bytes.
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108


class Watchman:
    """A shell that runs commands if this process dies before `dismiss`, even by kill -9: then its pipe ends."""

    def __init__(self, *commands: str) -> None:
        """The commands are for `sh`."""
        self._shell = subprocess.Popen(
            ["sh", "-c", f"read -r word || {{ {'; '.join(commands)}; }}"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True,
        )  # fmt: skip

    def dismiss(self) -> None:
        """End it. It runs nothing."""
        self._shell.communicate(b"done\n")


def kill_group(leader: int) -> str:
    """Return the command that kills a group of processes. The `kill` of Debian's sh does not know `--`."""
    return f"kill -KILL -{leader}"


class PrivatePostgres:
    """One server process of PostgreSQL, with the user `tidings`. Only loopback reaches it, without a password."""

    def __init__(self) -> None:
        """Make its folder. Raises InputError if the programs are not installed."""
        programs = self.find_programs()
        if programs is None:
            raise InputError("PostgreSQL is not installed. On Debian and Ubuntu: apt install postgresql")
        self._programs = programs
        self._folder = _make_folder("tidings-pg-")
        self._data = self._folder / "data"
        postmaster = shlex.quote(str(self._data / "postmaster.pid"))
        # SIGQUIT ends it at once.
        end = f'kill -QUIT "$(head -n 1 {postmaster})"; sleep 1'
        self._watchman = Watchman(end, f"rm -rf {shlex.quote(str(self._folder))}")
        self._port = 0
        # initdb refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @staticmethod
    def find_programs() -> Path | None:
        """Return the folder of the newest installed version's programs, or None."""
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        if installed:
            return installed[-1].parent
        found = shutil.which("initdb")
        return Path(found).parent if found else None

    @classmethod
    def is_installed(cls) -> bool:
        """Whether the programs of a server are on this machine."""
        return cls.find_programs() is not None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        self._own_folder()
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "tidings", "-E", "UTF8", "--locale=C", "-N")
        self.resume()

    def resume(self) -> None:
        """Start the cluster and wait until it answers."""
        for left in reversed(range(STARTS)):
            self._port = self._port or self._find_port()
            # Speed for safety on power loss, which is not played here; synchronous_commit stays as it is in life.
            options = (
                f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} "
                "-c fsync=off -c full_page_writes=off -c max_connections=200"
            )
            log = str(self._folder / "log")
            try:
                self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start")
            except RuntimeError:
                if not left:
                    raise
                self._port = 0
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """End it at once, and delete its folder."""
        try:
            if (self._data / "postmaster.pid").exists():
                self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._watchman.dismiss()

    def create_database(self, name: str) -> str:
        """Create an empty database. Returns its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "tidings", "-T", "template0", name)
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://tidings@127.0.0.1:{self._port}/{database}"

    def _find_port(self) -> int:
        return find_free_port()

    def _own_folder(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._folder, self._user)

    def _run(self, program: str, *arguments: str) -> None:
        prefix = ["runuser", "-u", self._user, "--"] if os.geteuid() == 0 else []
        # Output to files: a server that inherits a pipe would keep its reader waiting.
        log = self._folder / f"{program}.out"
        with log.open("wb") as out:
            done = subprocess.run(
                [*prefix, str(self._programs / program), *arguments],
                check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd="/",
            )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed ({done.returncode}): {log.read_text(errors='replace')[-2000:]}")


def _find_program(name: str) -> Path | None:
    """Return a program of RabbitMQ itself: Debian's wrapper changes to the user of the package."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob(f"rabbitmq_server-*/sbin/{name}"))
    if found:
        return found[-1]
    other = shutil.which(name)
    return Path(other) if other else None


class PrivateRabbitMq:
    """One broker with its own node and folders."""

    starts_within = 120.0
    """Seconds."""

    def __init__(self) -> None:
        """Make its folder. Raises InputError if the programs are not installed."""
        program = _find_program("rabbitmq-server")
        if program is None:
            raise InputError("RabbitMQ is not installed. On Debian and Ubuntu: apt install rabbitmq-server")
        self._program = program
        self._folder = _make_folder("tidings-mq-")
        self.port, self._distribution, self._epmd = (self._find_port() for _ in range(3))
        self._node = f"tidings{os.getpid()}{secrets.token_hex(2)}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchman: Watchman | None = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the programs of a broker are on this machine."""
        return _find_program("rabbitmq-server") is not None

    @property
    def url(self) -> str:
        """Its address, with RabbitMQ's default user."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 10MB\n")
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [self._program], env=self._environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        self._watchman = Watchman(
            kill_group(self._process.pid),
            f"epmd -port {self._epmd} -kill",
            f"rm -rf {shlex.quote(str(self._folder))}",
        )
        end = time.monotonic() + self.starts_within
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"RabbitMQ did not start: {(self._folder / 'out').read_text()[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End it at once, as a crash does. What is durable stays, and `start` starts it at the same port."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._watchman is not None:
            self._watchman.dismiss()
            self._watchman = None

    def stop(self) -> None:
        """End it and its name server, and delete its folder."""
        self.kill()
        subprocess.run(["epmd", "-port", str(self._epmd), "-kill"], check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _find_port(self) -> int:
        return find_free_port()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERL_ARGS,
            "RABBITMQ_CTL_ERL_ARGS": _ERL_ARGS,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
        }
