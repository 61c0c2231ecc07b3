"""A private RabbitMQ for tests: its own node and folders, on loopback, removed afterwards."""

from __future__ import annotations

import shutil

from tests.fixtures.ports import free_port
from tidings.runtime.demo.servers import PrivateRabbitMq


class RabbitMq(PrivateRabbitMq):
    """One broker. `kill` and `start` play a crash and a restart; durable messages stay."""

    starts_within = 600.0  # beside several others on a busy machine

    def _find_port(self) -> int:
        return free_port()

    def flush(self) -> None:
        """Delete everything: the broker comes back empty."""
        self.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.start()
