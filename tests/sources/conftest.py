"""Fixtures of the tests of all sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sources.site import Website


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    yield made
    made.close()
