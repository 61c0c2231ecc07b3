"""`mail.rate`: one row for the whole newsroom, kept over restarts."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures.items import open_store
from tidings.store.delivery import rates
from tidings.store.engine import Store


def test_each_send_time_is_reserved_once(database_url: str, tmp_path: Path) -> None:
    store = open_store(database_url, tmp_path)
    now = 1_000_000.0
    with store.write() as connection:
        assert rates.reserve_send_time(connection, now, 2.0) == now
    again = Store(database_url, tmp_path)
    with again.write() as connection:
        assert rates.reserve_send_time(connection, now + 0.5, 1.0) == now + 2.0
        assert rates.reserve_send_time(connection, now + 60, 1.0) == now + 60
    again.close()
    store.close()
