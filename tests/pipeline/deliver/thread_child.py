"""Ticks of a newsroom in processes of their own, for `ROOT ENV`: each line of input has a time and a number.

The tick kills itself with kill -9 when it passes a named point for the nth time; 0: never. Each tick is a fork of a
process that has imported everything. A line of output has its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from datetime import datetime
from pathlib import Path

from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.tick import tick


def beat(root: Path, env: dict[str, str], now: datetime, nth: int) -> None:
    """One tick that may end early."""
    left = nth

    def reached(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    loaded = load_newsroom(root, env)
    assert loaded.newsroom is not None
    with Runtime(loaded.newsroom, reached=reached) as runtime:
        runtime.set_clock(now)
        tick(runtime, now)


def main() -> None:
    """Run until the input ends."""
    root, env = Path(sys.argv[1]), json.loads(sys.argv[2])
    for line in sys.stdin:
        moment, nth = line.split()
        child = os.fork()
        if child == 0:
            try:
                beat(root, env, datetime.fromisoformat(moment), int(nth))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
