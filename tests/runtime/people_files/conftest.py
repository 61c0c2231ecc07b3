"""A newsroom to import people into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.people import ImportWorld


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[ImportWorld]:
    world = ImportWorld(database_url, tmp_path / "n")
    yield world
    world.store.close()
