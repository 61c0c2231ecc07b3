"""A real delivering process that ends itself with kill -9 at a named point: `URL ROOT PORT POINT NTH`.

POINT is a name or `any`. The process is killed when it reaches that point for the NTH time; with `none`, never.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tests.fixtures.ledger import NOW, deliverer
from tidings.pipeline.deliver.deliverer import finish_editions
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.pipeline.deliver.recovery import recover
from tidings.store import locks
from tidings.store.engine import Store


def main(url: str, root: str, port: str, point: str, nth: str) -> None:
    """Recover deliveries, as the service does at its start."""
    left = int(nth)
    mutex = threading.Lock()

    def reached(name: str) -> None:
        nonlocal left
        if point not in ("any", name):
            return
        with mutex:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    store = Store(url, Path(root))
    alive = locks.acquire_liveness(store)
    recover(store, alive, now=NOW, policies=ResendPolicies())
    print(deliverer(store, alive, int(port), reached=reached).run_until_idle(), flush=True)
    finish_editions(store, NOW)


if __name__ == "__main__":
    main(*sys.argv[1:6])
