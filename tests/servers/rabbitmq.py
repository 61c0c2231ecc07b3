"""A private RabbitMQ for the tests: its own node and folders, on loopback, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.fixtures.ports import free_port

_ERL_ARGS = "-kernel inet_dist_use_interface {127,0,0,1}"


def _program(name: str) -> str | None:
    """The program itself, not the wrapper of Debian, which changes to the user of the package."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob(f"rabbitmq_server-*/sbin/{name}"))
    return str(found[-1]) if found else None


class RabbitMq:
    """One broker. `kill` and `start` play its crash and its return; what is durable stays."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-mq-", dir="/tmp" if Path("/tmp").is_dir() else None))
        self.port, self._distribution, self._epmd = free_port(), free_port(), free_port()
        self._node = f"tidings{os.getpid()}{secrets.token_hex(2)}@localhost"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the programs of a broker are on this machine."""
        return _program("rabbitmq-server") is not None

    @property
    def url(self) -> str:
        """Its address, with the user that it makes by itself."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_BASE": str(self._folder),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERL_ARGS,
            "RABBITMQ_CTL_ERL_ARGS": _ERL_ARGS,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 10MB\n")
        program = _program("rabbitmq-server")
        assert program is not None
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [program], env=self._environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"RabbitMQ did not start: {(self._folder / 'out').read_text()[-2000:]}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def flush(self) -> None:
        """Lose everything: the broker comes back empty."""
        self.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.start()

    def stop(self) -> None:
        """End it and its name server, and leave nothing."""
        self.kill()
        names = subprocess.run(["epmd", "-port", str(self._epmd), "-kill"], check=False, capture_output=True)
        assert names.returncode in (0, 1), names
        shutil.rmtree(self._folder, ignore_errors=True)
