"""Several processes on one store, each with one role: pages, tickers and workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

import tidings
from tests.conftest import missing
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.fixtures.waiting import wait_until
from tests.runtime.backup.test_upgrade import NEW, NEXT_STEP, OLD
from tests.runtime.test_service import prepared, running, stop
from tests.servers.cable import Cable
from tests.servers.postgresql import PgBouncer, Server
from tidings import __version__
from tidings.runtime.monitoring.diagnosis import diagnose_versions
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import Runtime, load_valid_newsroom
from tidings.runtime.tick import tick
from tidings.runtime.watch import configuration_version
from tidings.store import migrate
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.service.heartbeat import Heartbeat, record_heartbeat


def to_readers(folder: NewsroomFolder) -> list[str]:
    """Return the readers who got a mail, one entry for each mail."""
    return [mail.recipient for mail in folder.mails.received if mail.recipient.startswith("reader")]


@pytest.mark.slow
def test_roles_share_the_work_and_fire_a_slot_once(tmp_path: Path, database_url: str) -> None:
    """Two tickers compose one edition, two workers send it once, and only `pages` serves."""
    _send_once(tmp_path, database_url)


@pytest.mark.slow
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_fleet_works_through_a_pool(
    tmp_path: Path, database_url: str, start_pool: Callable[[str], PgBouncer]
) -> None:
    """PgBouncer in transaction mode; locks and journals go past it."""
    pool = start_pool("transaction")
    _send_once(tmp_path, pool.address(database_url, direct=True))
    with contextlib.closing(Store(database_url, tmp_path)) as store, store.read() as connection:
        left = connection.exec_driver_sql("SELECT relname FROM pg_class WHERE relpersistence = 't'").all()
        assert not left, "the pool gives the session to others"


def _send_once(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder, contextlib.ExitStack() as stack:
        port = prepared(folder, readers=40)
        roles = ["pages", "ticker", "ticker", "worker", "worker"]
        processes = [
            stack.enter_context(running(folder, tmp_path / f"log{number}", "--only", role))
            for number, role in enumerate(roles)
        ]
        with folder.runtime() as runtime:

            def alive() -> list[str]:
                return sorted(service["role"] for service in status(runtime, runtime.now())["services"])

            wait_until(lambda: alive() == sorted(roles))
            folder.write("content/new.en.md", item("New"))
            wait_until(lambda: len(to_readers(folder)) >= 40)
            wait_until(lambda: status(runtime, runtime.now())["queued"] == 0)
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["ok"]
            report = status(runtime, runtime.now())
            assert {service["version"] for service in report["services"]} == {__version__}
            assert {service["configuration"] for service in report["services"]} == {configuration_version(folder.root)}
            assert not [wrong for wrong in report["wrong"] if wrong["what"].startswith(("other", "nobody"))]
        for process in processes:
            stop(process)
        copies = Counter(to_readers(folder))
        assert len(copies) == 40 and set(copies.values()) == {1}
        with folder.runtime() as runtime, runtime.store.read() as connection:
            assert Counter(entry.state for entry in ledger.entries(connection, schedule="alert")) == {"accepted": 40}


@pytest.mark.slow
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_rolling_upgrade_during_a_send(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is upgraded while a send goes on, then each process is replaced by one of the next version."""
    readers = 120
    roles = ["ticker", "worker"]
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder, contextlib.ExitStack() as stack:
        prepared(folder, readers)
        folder.write(
            "tidings.yaml", (folder.root / "tidings.yaml").read_text().replace("mail: {", "mail: {rate: 40/s, ")
        )

        def start(number: int) -> subprocess.Popen[bytes]:
            return stack.enter_context(running(folder, tmp_path / f"log{number}", "--only", roles[number]))

        processes = [start(number) for number in range(len(roles))]
        with folder.runtime() as runtime:
            wait_until(lambda: len(status(runtime, runtime.now())["services"]) == len(roles))
            folder.write("content/new.en.md", item("New"))
            wait_until(lambda: len(to_readers(folder)) >= 10)

            monkeypatch.setenv("PYTHONPATH", str(make_next_version(tmp_path / "next")))
            command = [sys.executable, "-m", "tidings", "upgrade", "-C", str(folder.root)]
            upgraded = subprocess.run(
                command, env={**os.environ, **folder.env}, check=True, capture_output=True, text=True
            )
            assert "Restart them one by one." in upgraded.stdout
            assert migrate.version(runtime.store) == NEW
            with monkeypatch.context() as former:
                # A process of the former version may still be started, as a crash would do.
                former.setenv("PYTHONPATH", str(Path(tidings.__file__).parent.parent))
                stop(processes[1])
                processes[1] = start(1)
                wait_until(lambda: len(status(runtime, runtime.now())["services"]) == len(roles))
            folder.write("content/other.en.md", item("Other"))
            for number in range(len(roles)):
                before = len(to_readers(folder))
                stop(processes[number])
                processes[number] = start(number)
                wait_until(lambda before=before: len(to_readers(folder)) > before or before >= 2 * readers)
            wait_until(lambda: versions(runtime) == ["99.0"] * len(roles))
            wait_until(lambda: len(to_readers(folder)) >= 2 * readers)
            wait_until(lambda: status(runtime, runtime.now())["queued"] == 0)
            with runtime.store.read() as connection:
                deliveries = list(ledger.entries(connection, schedule="alert"))
        for process in processes:
            stop(process)
        assert Counter(entry.state for entry in deliveries) == {"accepted": 2 * readers}
        assert sum(entry.doubts for entry in deliveries) == 0, "a drained process leaves nothing in doubt"
        copies = Counter(to_readers(folder))
        assert len(copies) == readers and set(copies.values()) == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_cut_between_a_worker_and_its_database(tmp_path: Path, database_url: str) -> None:
    """The worker's claims are settled or in doubt. The other worker continues, and nobody is lost."""
    readers = 150
    address = make_url(database_url)
    assert address.port is not None
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder, contextlib.ExitStack() as stack:
        prepared(folder, readers)
        settings = (folder.root / "tidings.yaml").read_text()
        folder.write("tidings.yaml", settings.replace("mail: {", "mail: {rate: 40/s, "))
        cable = Cable(address.port)
        stack.callback(cable.close)
        processes = [stack.enter_context(running(folder, tmp_path / "ticker", "--only", "ticker"))]
        processes += [stack.enter_context(running(folder, tmp_path / "direct", "--only", "worker"))]
        folder.env["TIDINGS_STORE"] = address.set(port=cable.port).render_as_string()
        processes += [stack.enter_context(running(folder, tmp_path / "cut", "--only", "worker"))]
        del folder.env["TIDINGS_STORE"]
        with folder.runtime() as runtime:
            wait_until(lambda: len(status(runtime, runtime.now())["services"]) == len(processes))
            assert cable.connections
            folder.write("content/new.en.md", item("New"))
            wait_until(lambda: len(to_readers(folder)) >= 20)
            cable.cut()
            before = len(to_readers(folder))
            wait_until(lambda: len(to_readers(folder)) >= before + 20)
            cable.mend()

            def rows() -> list[ledger.LedgerEntry]:
                with runtime.store.read() as connection:
                    return list(ledger.entries(connection, schedule="alert"))

            wait_until(lambda: Counter(row.state for row in rows()) == {"accepted": readers})
            doubts = sum(row.doubts for row in rows())
            wait_until(lambda: len(status(runtime, runtime.now())["services"]) == len(processes))
        for process in processes:
            stop(process)
        copies = Counter(to_readers(folder))
    assert len(copies) == readers
    assert sum(count - 1 for count in copies.values()) <= doubts, "each doubled mail was known as in doubt"


@dataclass
class Pair:
    """A newsroom with a primary and its standby, and the processes that work on it."""

    primary: Server
    standby: Server
    folder: NewsroomFolder
    runtime: Runtime
    processes: list[subprocess.Popen[bytes]]
    pool: PgBouncer | None

    def rows(self) -> list[ledger.LedgerEntry]:
        """Return the deliveries of the alert; nothing while no server answers."""
        with contextlib.suppress(SQLAlchemyError), self.runtime.store.read() as connection:
            return list(ledger.entries(connection, schedule="alert"))
        return []

    def fail_over(self) -> None:
        """Kill the primary, and promote its standby. A pool leads to it then."""
        self.primary.halt()
        self.standby.promote()
        if self.pool is not None:
            self.pool.lead_to(self.standby)


@contextlib.contextmanager
def on_a_pair(tmp_path: Path, readers: int, roles: Sequence[str], *, synchronous: bool, pooled: bool) -> Iterator[Pair]:
    if not Server.is_installed():
        missing("PostgreSQL")
    if pooled and not PgBouncer.is_installed():
        missing("PgBouncer")
    with contextlib.ExitStack() as stack:
        primary = Server()
        stack.callback(primary.stop)
        primary.start()
        standby = primary.start_standby()
        stack.callback(standby.stop)
        if synchronous:
            primary.require_standby()
        address = primary.fresh_database()
        folder = stack.enter_context(make_newsroom_folder(tmp_path / "newsroom", address))
        prepared(folder, readers)
        pool = stack.enter_context(PgBouncer(primary, "transaction")) if pooled else None
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        both = address.replace(f"127.0.0.1:{primary.port}", hosts) + "?"
        if pool is not None:
            both = f"{pool.address(address)}?direct={hosts}&"
        settings = (folder.root / "tidings.yaml").read_text()
        settings = settings.replace(address, f"{both}target_session_attrs=read-write")
        folder.write("tidings.yaml", settings.replace("mail: {", "mail: {rate: 40/s, "))
        processes = [
            stack.enter_context(running(folder, tmp_path / f"{number}-{role}", "--only", role))
            for number, role in enumerate(roles)
        ]
        runtime = Runtime(load_valid_newsroom(folder.root, folder.env))
        stack.callback(runtime.close)
        wait_until(lambda: len(status(runtime, runtime.now())["services"]) == len(processes))
        yield Pair(primary, standby, folder, runtime, processes, pool)


@pytest.mark.slow
@pytest.mark.needs_postgresql
@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pgbouncer"])
@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
def test_a_standby_takes_over_during_a_send(tmp_path: Path, synchronous: bool, pooled: bool) -> None:
    """The primary fails. Workers report the deliveries that an asynchronous standby has forgotten.

    With PgBouncer, an operator leads it to the new primary.
    """
    readers, connections = 160, 4
    roles = ["ticker", "worker", "worker"]
    with on_a_pair(tmp_path, readers, roles, synchronous=synchronous, pooled=pooled) as pair:
        folder = pair.folder
        folder.write("content/new.en.md", item("New"))
        wait_until(lambda: len(to_readers(folder)) >= 20)
        if not synchronous:
            pair.standby.stop_following()
            wait_until(lambda: len(to_readers(folder)) >= 80)
        pair.fail_over()
        wait_until(lambda: Counter(row.state for row in pair.rows()) == {"accepted": readers})
        doubts = sum(row.doubts for row in pair.rows())
        for process in pair.processes:
            stop(process)
        copies = Counter(to_readers(folder))
    assert len(copies) == readers
    doubled = sum(count - 1 for count in copies.values())
    assert doubled <= doubts, "each doubled mail was known as in doubt"
    assert doubled <= 2 * connections, "what had been accepted is not sent again"


def make_next_version(folder: Path) -> Path:
    """Write the program of the next version, with one more migration. Returns its path for Python."""
    former = Path(tidings.__file__).parent
    folder.mkdir()
    code = folder / "src" / "tidings"
    (folder / "templates").symlink_to(former.parent.parent / "templates")
    shutil.copytree(former, code)  # with the compiled code, which is valid for files of the same time
    step = NEXT_STEP.replace("branch_labels", f'compatible_from = "{OLD}"\nbranch_labels')
    (code / "store" / "migrations" / "versions" / f"m{NEW}_next.py").write_text(step)
    for name, old, new in (
        ("store/migrate.py", f'HEAD = "{OLD}"', f'HEAD = "{NEW}"'),
        ("__init__.py", 'version("tidings")', '"99.0"'),
    ):
        text = (code / name).read_text()
        assert old in text
        (code / name).write_text(text.replace(old, new))
    return code.parent


def versions(runtime: Runtime) -> list[str]:
    return [service["version"] for service in status(runtime, runtime.now())["services"]]


def test_status_names_who_runs_another_version() -> None:
    now = datetime.now(UTC)
    same = Heartbeat("a-1", now, now, role="ticker", host="a", version="2.0", configuration="c1")
    old = Heartbeat("b-1", now, now, role="worker", host="b", version="1.9", configuration="c1")
    edited = Heartbeat("c-1", now, now, role="worker", host="c", version="2.0", configuration="c2")
    assert not list(diagnose_versions([same], "2.0", "c1"))
    assert not list(diagnose_versions([same], "2.0", "c9")), "it loads a change within seconds"
    diagnoses = {wrong.what: wrong for wrong in diagnose_versions([same, old, edited], "2.0", "c1")}
    assert diagnoses["other_version"].text == "b-1 (worker) runs version 1.9; here is version 2.0."
    assert diagnoses["other_version"].mend == "restart it on b"
    assert diagnoses["other_configuration"].text.startswith("c-1 (worker) runs configuration c2")


def test_deliveries_without_a_worker_are_named(tmp_path: Path, database_url: str) -> None:
    """A ticker composes and nothing is sent, but `status` reported no problem."""
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        prepared(folder)
        with folder.runtime() as runtime:
            tick(runtime, runtime.now(), deliver=False)
            folder.write("content/new.en.md", item("New"))
            tick(runtime, runtime.now(), deliver=False)
            with runtime.store.write() as connection:
                beat = Heartbeat(runtime.owner, runtime.now(), runtime.now(), role="ticker")
                record_heartbeat(connection, beat)
            runtime.set_clock(datetime.now(UTC) + timedelta(minutes=30))
            wrong = {entry["what"]: entry for entry in status(runtime, runtime.now())["wrong"]}
    assert "no worker is running" in wrong["nobody_sends"]["text"]
    assert wrong["nobody_sends"]["mend"] == "tidings run --only worker"


def test_processes_share_the_connections_of_a_sender(tmp_path: Path, database_url: str) -> None:
    """Four workers opened four times as many connections as `connections` allows."""
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder, contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(folder.runtime()) for _ in range(3))
        now = first.now()
        with first.store.write() as connection:
            record_heartbeat(connection, Heartbeat(first.owner, now, now, role="worker"))
            record_heartbeat(connection, Heartbeat(second.owner, now, now, role="worker", queues="mail,social"))
            record_heartbeat(connection, Heartbeat(third.owner, now, now, role="worker", queues="sources"))
            record_heartbeat(connection, Heartbeat("dead-1", now, now, role="worker"))
        assert [runtime._count_sending_processes() for runtime in (first, second, third)] == [2, 2, 3]
