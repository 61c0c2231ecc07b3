"""A private RabbitMQ for the tests: its own node and folders, on loopback, gone afterwards."""

from __future__ import annotations

import shutil

from tests.fixtures.ports import free_port
from tidings.runtime.demo.servers import PrivateRabbitMq


class RabbitMq(PrivateRabbitMq):
    """One broker. `kill` and `start` play its crash and its return; what is durable stays."""

    def _find_port(self) -> int:
        return free_port()

    def flush(self) -> None:
        """Lose everything: the broker comes back empty."""
        self.kill()
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        self.start()
