"""A store of either type, and a process that is registered in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.items import open_store
from tidings.store import locks
from tidings.store.engine import Store


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(database_url, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def alive(store: Store) -> Iterator[locks.Liveness]:
    acquired = locks.acquire_liveness(store)
    yield acquired
    acquired.release()
