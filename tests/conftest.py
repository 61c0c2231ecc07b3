"""What every test stands on: loopback only, and each store test on both databases."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import Server

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TIDINGS_HYPOTHESIS", "default"))


def missing(what: str) -> None:
    """Skip with a line that says so; fail where everything must be there (CI)."""
    message = f"{what} is not installed here"
    if os.environ.get("TIDINGS_REQUIRE_ALL"):
        pytest.fail(message)
    pytest.skip(message)


def require_program(name: str) -> str:
    """The path of a program, or a skip."""
    found = shutil.which(name)
    if found is None:
        missing(name)
    assert found is not None
    return found


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """No test reaches outside."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                raise AssertionError(f"a test tried to reach {address!r}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    """A private PostgreSQL of this session, None where it is not installed."""
    if not Server.is_installed():
        yield None
        return
    server = Server(tmp_path_factory.mktemp("postgresql"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tidings.db'}"
    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    return str(server.fresh_database())
