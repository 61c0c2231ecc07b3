"""Newsrooms without pages: one on SQLite, and one on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.newsroom import RunningNewsroom, open_newsroom


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as opened:
        yield opened


@pytest.fixture
def on_both(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, public=False) as opened:
        yield opened
