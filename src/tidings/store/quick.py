"""The usual step of a send on SQLite without a detour: what was taken is settled, and the next slice is permitted.

The same statements as in `settling` and `permission`, in one transaction of the driver's: what SQLAlchemy adds to each
costs more than the step itself. Whatever is not usual is left to those.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from tidings.store.consent import VERSION
from tidings.store.engine import BUSY_TIMEOUT
from tidings.store.permission import permit_statement
from tidings.store.schema import EPOCH
from tidings.store.settling import accept_statement

_ACCEPT = str(accept_statement("sqlite"))
_PERMIT = str(permit_statement("sqlite"))
_COUNTER = "SELECT value FROM facts WHERE name = ?"
_MICROSECOND = timedelta(microseconds=1)


class QuickLedger:
    """A connection of its own. For one thread."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(
            database, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT
        )
        # As everywhere: with NORMAL a power loss rolls back commits, and a message would go out twice.
        self._connection.execute("PRAGMA synchronous=FULL")

    def step(
        self,
        owner: str,
        taken: Sequence[tuple[int, int, str, str]],
        wanted: Sequence[tuple[int, int]],
        *,
        version: int,
        now: datetime,
        real_now: datetime,
        sender: str = "",
    ) -> tuple[set[int], set[int]] | None:
        """Ids whose acceptance is void, and ids that are permitted; None, and nothing is changed, if it is not usual.

        `taken` are (delivery, fence, receipt, via), `wanted` (delivery, fence). Not usual: the counter of consent has
        moved on from `version`.
        """
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            lost: set[int] = set()
            if taken:
                given = {"rows": json.dumps(taken), "owner": owner, "now": (now - EPOCH) // _MICROSECOND}
                lost = {row[0] for row in taken}.difference(*zip(*execute(_ACCEPT, given).fetchall(), strict=True))
            ours: set[int] = set()
            if wanted:
                row = execute(_COUNTER, (VERSION,)).fetchone()
                if int(row[0] if row else 0) != version:
                    execute("ROLLBACK")
                    return None
                moment = (real_now - EPOCH) // _MICROSECOND
                given = {"rows": json.dumps(wanted), "owner": owner, "real_now": moment, "sender": sender}
                ours = {one[0] for one in execute(_PERMIT, given).fetchall()}
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return lost, ours

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()
