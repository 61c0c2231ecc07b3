"""Rules for every test: only loopback, each store test on both databases, and no skipped test in CI."""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import ColumnElement, Dialect, Engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.util import LRUCache

from tests.servers.postgresql import PgBouncer, Server
from tidings.store import engine
from tidings.store.delivery import claims

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("TIDINGS_HYPOTHESIS", "default"))

REQUIRE_ALL = bool(os.environ.get("TIDINGS_REQUIRE_ALL"))
"""Set in CI, where every program is installed: a test that would be skipped fails."""


def missing(what: str) -> None:
    """Skip with a reason; fail in CI, where every program is installed."""
    message = f"{what} is not installed here"
    if REQUIRE_ALL:
        pytest.fail(message)
    pytest.skip(message)


def require_program(*names: str) -> str:
    """Return the path of the first of these programs that is installed, or skip."""
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        missing(names[0])
    assert program is not None
    return program


_WHOLE = (
    *("tests/runtime/", "tests/cli/", "tests/acceptance/", "tests/web/", "tests/pipeline/compose/"),
    *(
        "tests/pipeline/collect/",
        "tests/pipeline/members/",
        "tests/pipeline/publish/",
        "tests/pipeline/test_webhooks.py",
    ),
    *("tests/pipeline/test_retention.py", "tests/pipeline/deliver/test_kill.py"),
)


_LONGEST = (
    *("tests/runtime/test_service.py", "tests/faults/", "tests/acceptance/", "tests/cli/test_commands.py"),
    *("tests/pipeline/deliver/", "tests/channels/test_faults.py", "tests/pipeline/compose/", "tests/web/room/"),
    *("tests/pipeline/publish/", "tests/pipeline/collect/", "tests/pipeline/test_retention.py", "tests/web/site/"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests on PostgreSQL: `make test` runs those of store and delivery, `make test-all` runs all.

    The files that take longest come first: at the end, one would keep one process busy while the others are idle.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if item.nodeid.startswith(_WHOLE) and "postgresql" in parameters.values():
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make every skipped test a failure in CI."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} would be skipped, and TIDINGS_REQUIRE_ALL is set: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a skipped module a failure in CI."""
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} would be skipped, and TIDINGS_REQUIRE_ALL is set: {report.longrepr}"
    return report


def _is_here(host: object) -> bool:
    """Whether a host is this machine, without a look-up."""
    name = (host.decode() if isinstance(host, bytes) else str(host or "")).partition("%")[0]
    if name in ("", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_literal(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture(autouse=True, scope="session")
def _patient_clients() -> Iterator[None]:
    """Let a client of our pages wait as long as a busy machine needs, instead of the five seconds of httpx."""
    calls = [httpx.Client.__init__, httpx.AsyncClient.__init__, httpx.request, httpx.get, httpx.head, httpx.post]
    defaults = [call.__kwdefaults__ for call in calls]
    before = [each["timeout"] for each in defaults]
    for each in defaults:
        each["timeout"] = httpx.Timeout(120)
    yield
    for each, timeout in zip(defaults, before, strict=True):
        each["timeout"] = timeout


@pytest.fixture(autouse=True, scope="session")
def _no_disk_sync() -> Iterator[None]:
    """Do not wait for the disk: no power fails during a test."""
    synchronous, engine.SYNCHRONOUS = engine.SYNCHRONOUS, "PRAGMA synchronous=OFF"
    yield
    engine.SYNCHRONOUS = synchronous


@pytest.fixture(autouse=True, scope="session")
def _shared_statements() -> Iterator[None]:
    """Compile each SQL statement once, instead of once for every store that a test opens.

    An engine keeps its compiled statements by statement and dialect. All stores of a run have the same two dialects.
    A claimant caches its own statements, which take longest.
    """
    caches: dict[type[Dialect], LRUCache[Any, Any]] = {}
    create = Engine.__init__

    def create_with_shared_cache(self: Engine, pool: Any, dialect: Dialect, *args: Any, **kwargs: Any) -> None:
        create(self, pool, dialect, *args, **kwargs)
        self._compiled_cache = caches.setdefault(type(dialect), LRUCache(5_000))

    compile_due, due = claims._due_sql, {}

    def compile_due_once(dialect: str, condition: ColumnElement[bool]) -> str:
        key = condition._generate_cache_key()
        assert key is not None
        whole = (dialect, key.key, repr([bind.effective_value for bind in key.bindparams]))
        if whole not in due:
            due[whole] = compile_due(dialect, condition)
        return due[whole]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "_due_sql", compile_due_once)
        patch.setattr(Engine, "__init__", create_with_shared_cache)
        for kind in (sqlite.dialect, psycopg.dialect):
            patch.setattr(kind, "__hash__", lambda self: hash(type(self)))
            patch.setattr(kind, "__eq__", lambda self, other: type(self) is type(other))
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep collected tests out of garbage collection: there are thousands, and they live until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """Allow connections to loopback only. Looking up names is refused too."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            self.close()
            raise AssertionError(f"a test tried to reach {address!r}")

    def guarded(self: socket.socket, address: Any) -> None:
        refuse(self, address)
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        refuse(self, address)
        return connect_ex(self, address)

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_here(host) and not _is_literal(host):
            raise socket.gaierror(socket.EAI_NONAME, f"no test asks the network for {host!r}")
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        patch.setattr(socket.socket, "connect_ex", guarded_ex)
        patch.setattr(socket, "getaddrinfo", lookup)
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server | None]:
    """A private PostgreSQL for this session (one for each xdist worker); None if it is not installed."""
    if not Server.is_installed():
        yield None
        return
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def start_pool(postgresql: Server) -> Iterator[Callable[[str], PgBouncer]]:
    """Start a private PgBouncer in front of the server, with this `pool_mode`."""
    if not PgBouncer.is_installed():
        missing("PgBouncer")
    with ExitStack() as stack:
        yield lambda mode: stack.enter_context(PgBouncer(postgresql, mode))


_DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgresql)]


@pytest.fixture(params=_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a new database: on SQLite without a file, on PostgreSQL with empty tables."""
    yield from _make_database(request, tmp_path, Server.fresh_database)


@pytest.fixture(params=_DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a new database without tables."""
    yield from _make_database(request, tmp_path, Server.empty_database)


def _make_database(request: pytest.FixtureRequest, tmp_path: Path, create: Callable[[Server], str]) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tidings.db'}"
        return
    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    url = create(server)
    yield url
    server.drop(url)
