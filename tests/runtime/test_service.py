"""`tidings run` as a real process: watches, publishes, sends, keeps the last good configuration, and stops in time."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.fixtures.ports import free_port
from tests.fixtures.smtp import SmtpSink, doubled
from tests.fixtures.waiting import GENEROUS, wait_until
from tests.servers.postgresql import Server
from tidings.model.cadence import load_zone
from tidings.runtime.monitoring.log import LocalTime, Redactor
from tidings.runtime.service_cycle import MAX_CYCLE, MAX_SILENCE, CycleHealth, ServiceCycle
from tidings.runtime.tick import tick
from tidings.runtime.watch import configuration_stamp
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.delivery.notices import recent_notices
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service.clock import advance_clock
from tidings.store.service.heartbeat import load_heartbeats
from tidings.store.service.set_back import set_back

FIRST = "cadence: {on: new, settle: 0m}\ndeliver:\n  - {list: digest, frequency: all}\n"


@contextmanager
def running(
    folder: NewsroomFolder, log: Path, *options: str, root: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "run", *options, "-C", str(root or folder.root)],
            env={**os.environ, **folder.env},
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.slow
def test_systemd_is_told_that_the_service_is_alive(tmp_path: Path) -> None:
    with (
        make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(GENEROUS)
        folder.env["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        prepared(folder)
        with running(folder, tmp_path / "log") as process:
            assert [systemd.recv(100), systemd.recv(100)] == [b"READY=1", b"WATCHDOG=1"]
            process.send_signal(signal.SIGTERM)
            while (state := systemd.recv(100)) != b"STOPPING=1":
                assert state == b"WATCHDOG=1"
            process.wait(timeout=GENEROUS)


def test_a_hanging_service_is_not_called_alive() -> None:
    health = CycleHealth(cycle_ended=0.0, tick_ended=0.0)
    assert not health.is_hanging(MAX_SILENCE - 1)
    assert health.is_hanging(MAX_SILENCE + 1)
    health.cycle_began = 0.0
    assert not health.is_hanging(MAX_CYCLE - 1)
    assert health.is_hanging(MAX_CYCLE + 1)


def stop(process: subprocess.Popen[bytes]) -> float:
    """Send SIGTERM. Returns the seconds until the service ended without an error."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=GENEROUS) == 0
    return time.monotonic() - begun


def watching(log: Path, folder: NewsroomFolder) -> None:
    """Wait for its first tick: stories that are published after it are new."""
    wait_until(lambda: log.exists() and "Watching" in log.read_text(encoding="utf-8"))
    wait_until(lambda: (folder.root / "public" / "en" / "index.html").exists())


def prepared(folder: NewsroomFolder, readers: int = 3) -> int:
    port = free_port()
    path = folder.root / "tidings.yaml"
    path.write_text(path.read_text(encoding="utf-8") + f"web: {{port: {port}}}\n", encoding="utf-8")
    folder.write("schedules/alert.yaml", FIRST)
    with folder.runtime() as runtime, runtime.store.write() as connection:
        for number in range(readers):
            subscribers.add(
                connection,
                f"reader{number}@example.org",
                "digest",
                language="en",
                frequency="weekly",
                now=datetime.now(UTC),
                confirmed=True,
            )
    return port


def test_new_file_is_sent_and_a_broken_schedule_is_ignored(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        with running(folder, log) as process:
            watching(log, folder)
            folder.write("schedules/alert.yaml", "cadence: {weekly: friday}\n")
            wait_until(lambda: "has errors" in log.read_text(encoding="utf-8"))
            wait_until(lambda: any(mail.recipient == "comms@example.org" for mail in folder.mails.received))
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            readers = {f"reader{number}@example.org" for number in range(3)}
            wait_until(lambda: readers <= {mail.recipient for mail in folder.mails.received})
            assert "Fresh water" in httpx.get(f"http://127.0.0.1:{port}/en/").text
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["ok"] is True
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=GENEROUS) == 0
        text = log.read_text(encoding="utf-8")
        assert "Traceback" not in text
        assert folder.hook.url not in text
        assert len([mail for mail in folder.mails.received if mail.recipient.startswith("reader")]) == 3


@pytest.mark.slow
def test_run_catch_mail_sends_nothing_outside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        posts = "  - {channel: desk, per: item}\n  - {channel: team, per: edition}\n"
        folder.write("schedules/alert.yaml", FIRST + posts)
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        main = main.replace("security: none,", "security: none, username: a, password: {env: NOT_SET},")
        folder.write(
            "tidings.yaml", main.replace("notify:", "  hub: {type: websub, url: http://127.0.0.1:9/}\nnotify:")
        )
        folder.env.clear()
        inbox = f"http://127.0.0.1:{port}/inbox/"
        with running(folder, log, "--catch-mail") as process:
            watching(log, folder)
            # A changed configuration does not switch the catcher off.
            folder.write("tidings.yaml", (folder.root / "tidings.yaml").read_text(encoding="utf-8") + "# changed\n")
            wait_until(lambda: "changed configuration is loaded" in log.read_text(encoding="utf-8"))
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            wait_until(lambda: "reader2@example.org" in httpx.get(inbox).text)
            wait_until(lambda: httpx.get(f"{inbox}posts").text.count("<article") == 2)
            assert "Fresh water for all" in httpx.get(f"{inbox}posts").text
            assert stop(process) < GENEROUS
        assert f"Caught mail and posts: {inbox} Nothing leaves this machine." in log.read_text(encoding="utf-8")
        assert folder.mails.received == [] and folder.hook.received == []


@pytest.mark.slow
def test_sigterm_during_a_send_loses_and_doubles_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        prepared(folder, readers=300)
        path = folder.root / "tidings.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("security: none", "security: none, rate: 20/s"))

        def sent() -> int:
            return sum(mail.recipient.startswith("reader") for mail in folder.mails.received)

        with running(folder, log) as process:
            watching(log, folder)
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            wait_until(lambda: sent() > 20)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=GENEROUS) == 0
            assert 20 < sent() < 300
        with running(folder, log) as process:
            wait_until(lambda: sent() >= 300)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=GENEROUS)
        assert sent() == 300
        with folder.runtime() as runtime, runtime.store.read() as connection:
            assert ledger.count_by_state(connection)["accepted"] == 300


@pytest.mark.slow
def test_a_used_port_is_refused(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        with socket.create_server(("127.0.0.1", port)), running(folder, tmp_path / "one") as process:
            assert process.wait(timeout=GENEROUS) == 2
        assert "another" in (tmp_path / "one").read_text(encoding="utf-8").lower()
        assert "Traceback" not in (tmp_path / "one").read_text(encoding="utf-8")


def _serves(port: int, path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_pages_are_served_while_the_clock_is_ahead(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder, readers=1)
        with folder.runtime() as runtime, runtime.store.write() as connection:
            advance_clock(connection, datetime.now(UTC) + timedelta(days=6))
        with running(folder, tmp_path / "log") as process:
            wait_until(lambda: _serves(port, "/subscribe/digest"))
            wait_until(lambda: "tidings clock --set now" in (tmp_path / "log").read_text(encoding="utf-8"))
            assert "clock is ahead" in httpx.get(f"http://127.0.0.1:{port}/healthz").text
            # The team gets a notice, although nothing else is sent.
            wait_until(lambda: any("clock is ahead" in mail.text for mail in folder.mails.received))
            with folder.runtime() as runtime, runtime.store.write() as connection:
                set_back(connection, datetime.now(UTC), "ada")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=GENEROUS) == 0


@pytest.mark.slow
def test_two_services_on_one_store_fire_a_slot_once(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        prepared(folder, readers=40)
        twin = tmp_path / "twin"
        shutil.copytree(folder.root, twin)
        text = (twin / "tidings.yaml").read_text(encoding="utf-8")
        (twin / "tidings.yaml").write_text(re.sub(r"web: .*", f"web: {{port: {free_port()}}}", text), encoding="utf-8")
        one, two = tmp_path / "one.log", tmp_path / "two.log"
        with running(folder, one) as first, running(folder, two, root=twin) as second:
            watching(one, folder)
            wait_until(lambda: (twin / "public" / "en" / "index.html").exists())
            for root in (folder.root, twin):
                (root / "content" / "fresh.en.md").write_text(item("Fresh water for all"), encoding="utf-8")
            readers = {f"reader{number}@example.org" for number in range(40)}
            wait_until(lambda: readers <= {mail.recipient for mail in folder.mails.received})
            time.sleep(4)
            stop(first)
            stop(second)
        counts = Counter(mail.recipient for mail in folder.mails.received if mail.recipient.startswith("reader"))
        assert set(counts.values()) == {1}
        for log in (one, two):
            text = log.read_text(encoding="utf-8")
            assert "is tried again in the next cycle" not in text and "Traceback" not in text
        with folder.runtime() as runtime, runtime.store.read() as connection:
            assert [edition.name for edition in editions.list_editions(connection)] == ["alert/1"]


@pytest.mark.parametrize("seconds", [1.5, pytest.param(120.0, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_sigterm_while_a_slow_relay_answers(tmp_path: Path, seconds: float) -> None:
    """It waits for the reply to the message that is being sent, but not for ever. Then that message is in doubt."""
    log = tmp_path / "log"
    with (
        SmtpSink(tmp_path / "taken", delay=seconds) as sink,
        make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder,
    ):
        prepared(folder, readers=12)
        path = folder.root / "tidings.yaml"
        text = re.sub(r"(mail: .*?port: )\d+", rf"\g<1>{sink.port}", path.read_text(encoding="utf-8"))
        path.write_text(text.replace("notify: {to: [comms@example.org]}\n", ""), encoding="utf-8")
        with running(folder, log) as process:
            watching(log, folder)
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            wait_until(lambda: sum(command == "DATA" for command in list(sink.commands)) > 0)
            time.sleep(0.2)
            took = stop(process)
        assert took < 110
        with folder.runtime() as runtime, runtime.store.read() as connection:
            counts = ledger.count_by_state(connection)
        if seconds < 10:
            assert not counts.get("in_doubt")
            assert counts["accepted"] == len(sink.taken()) < 12
        else:
            assert 1 <= counts["in_doubt"] <= 4
        assert counts["pending"] > 0 and not counts.get("handed") and not counts.get("leased")
        assert "Traceback" not in log.read_text(encoding="utf-8")
        sink.delay = 0.0
        with running(folder, log) as process:
            wait_until(
                lambda: {f"reader{number}@example.org" for number in range(12)} <= {mail["to"] for mail in sink.taken()}
            )
            time.sleep(1)
            stop(process)
        assert sum(doubled(tmp_path / "taken").values()) <= (0 if seconds < 10 else 4)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        SmtpSink(tmp_path / "taken", delay=60) as sink,
        make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder,
    ):
        prepared(folder)
        path = folder.root / "tidings.yaml"
        path.write_text(re.sub(r"(mail: .*?port: )\d+", rf"\g<1>{sink.port}", path.read_text(encoding="utf-8")))
        with running(folder, log) as process:
            watching(log, folder)
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            wait_until(lambda: "DATA" in list(sink.commands))
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: "Stopping" in log.read_text(encoding="utf-8"))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=GENEROUS) == 128 + signal.SIGINT


@pytest.mark.slow
def test_changed_configuration_is_loaded_or_reported_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        path = folder.root / "tidings.yaml"
        good = path.read_text(encoding="utf-8")

        def front() -> str:
            return httpx.get(f"http://127.0.0.1:{port}/en/").text

        def notices() -> list[str]:
            return [
                str(mail.message["Subject"]) for mail in folder.mails.received if mail.recipient == "comms@example.org"
            ]

        with running(folder, log) as process:
            watching(log, folder)
            for _ in range(2):
                path.write_text(good.replace("lists:", "lsits:"), encoding="utf-8")
                wait_until(lambda: len(notices()) == 1)
                time.sleep(1)
            assert "Newsroom" in front()
            path.write_text(good.replace("{en: Newsroom", "{en: The Daily Outbox"), encoding="utf-8")
            wait_until(lambda: "The Daily Outbox" in front())
            # A broken template too: the digest is sent with the last good one.
            shutil.copytree(Path(__file__).parents[2] / "templates" / "digest", folder.root / "templates" / "digest")
            wait_until(lambda: log.read_text(encoding="utf-8").count("is loaded") == 2)
            folder.write("templates/digest/body.html.j2", "{% macro head() %}{{ unheard_of }}")
            wait_until(lambda: len(notices()) == 2)
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            wait_until(
                lambda: len([mail for mail in folder.mails.received if mail.recipient.startswith("reader")]) == 3
            )
            stop(process)
        text = log.read_text(encoding="utf-8")
        assert "lsits" in text and "Traceback" not in text
        assert text.count("the changed configuration has errors") == 2


def test_a_broken_page_template_stops_no_mail(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        prepared(folder)
        with folder.runtime() as runtime:
            tick(runtime, runtime.now())
            folder.write("templates/pages/item.html.j2", "{{ nobody.knows.this }}")
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            for _ in range(2):
                done = tick(runtime, runtime.now())
                assert "item.html.j2" in done.unpublished
        recipients = [mail.recipient for mail in folder.mails.received]
        assert sorted(recipients) == ["comms@example.org", *(f"reader{number}@example.org" for number in range(3))]


def test_a_tick_returns_when_it_is_due_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        prepared(folder)
        for name, value in folder.env.items():
            monkeypatch.setenv(name, value)
        folder.write("schedules/alert.yaml", FIRST.replace("0m", "10m"))
        with folder.runtime() as runtime:
            beats = ServiceCycle(
                runtime,
                Redactor(()),
                stamp=configuration_stamp(folder.root),
                delivering=threading.Lock(),
                stopping=threading.Event(),
            )
            assert beats.run() is None
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            before = datetime.now(UTC)
            settled = beats.run()
            assert settled is not None and before <= settled - timedelta(minutes=10) <= datetime.now(UTC)
            folder.write("schedules/daily.yaml", "cadence: {daily: '09:00'}\ndeliver:\n  - {channel: team}\n")
            folder.write("schedules/alert.yaml", "cadence: {on: request}\ndeliver:\n  - {list: digest}\n")
            slot = beats.run()
            assert slot is not None and slot > before
            assert f"{slot.astimezone(load_zone('Asia/Almaty')):%H:%M:%S}" == "09:00:00"
            approval = "approval: {by: [boss@example.org], ahead: 3h, silence: hold}\n"
            folder.write("schedules/daily.yaml", (folder.root / "schedules/daily.yaml").read_text() + approval)
            ahead = beats.run()
            assert ahead is not None and (slot - ahead) % timedelta(days=1) == timedelta(hours=3)


def test_small_clock_setback_and_repeated_faults_are_handled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        prepared(folder)
        with folder.runtime() as runtime:
            beats = ServiceCycle(
                runtime,
                Redactor(()),
                stamp=configuration_stamp(folder.root),
                delivering=threading.Lock(),
                stopping=threading.Event(),
            )
            with runtime.store.write() as connection:
                advance_clock(connection, datetime.now(UTC) + timedelta(seconds=20))
            beats.run()
            assert caplog.records == []
            with runtime.store.write() as connection:
                advance_clock(connection, datetime.now(UTC) + timedelta(hours=3))
            beats.run()
            beats.run()
            # One line, although the time in it differs from tick to tick.
            assert len(caplog.records) == 1
            assert "tidings clock --set now" in caplog.records[0].getMessage()
            with runtime.store.read() as connection:
                assert [notice.kind for notice in recent_notices(connection)] == ["failed"]


@pytest.mark.slow
def test_an_embargo_ends_to_the_second(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        with running(folder, log) as process:
            watching(log, folder)
            moment = (datetime.now(UTC) + timedelta(seconds=7)).replace(microsecond=0)
            folder.write("content/later.en.md", item("Later news", published=moment.isoformat()))

            def is_out() -> bool:
                return "Later news" in httpx.get(f"http://127.0.0.1:{port}/en/").text

            while datetime.now(UTC) < moment - timedelta(seconds=0.3):
                assert not is_out() or datetime.now(UTC) >= moment
                time.sleep(0.1)
            wait_until(is_out, 40)
            stop(process)


@pytest.mark.slow
def test_only_pages_serves_and_sends_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        folder.write("content/fresh.en.md", item("Fresh water for all"))
        with running(folder, log, "--only", "pages") as process:
            wait_until(lambda: "Pages: http" in log.read_text(encoding="utf-8"))
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            time.sleep(2)
            assert not (folder.root / "public" / "en").exists()
            stop(process)
        assert folder.mails.received == []


def test_the_log_is_single_lines_of_local_time_without_secrets() -> None:
    record = logging.makeLogRecord({"msg": "to %s", "args": ("https://hook/s3cret",), "created": 1_790_000_000.0})
    redactor = Redactor(("s3cret",))
    assert redactor.filter(record)
    assert LocalTime(load_zone("Asia/Almaty")).format(record) == "2026-09-21 19:13:20 to https://hook/[secret]"
    try:
        raise ValueError("password s3cret was wrong")
    except ValueError:
        record = logging.makeLogRecord({"msg": "Exception in ASGI application\n", "exc_info": sys.exc_info()})
    redactor.filter(record)
    text = LocalTime(load_zone("UTC")).format(record)
    assert text.endswith("Exception in ASGI application: ValueError: password [secret] was wrong")


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_service_outlives_its_database(tmp_path: Path, database_url: str, postgresql: Server) -> None:
    """After the database was stopped, an idle service never ticked again, and /healthz still reported success."""
    log = tmp_path / "log"
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        port = prepared(folder)
        with running(folder, log) as process:
            watching(log, folder)
            postgresql.halt()
            # Each of these cycles fails, in the threads of the ticker and of the deliverer.
            for number in range(3):
                folder.write(f"content/down{number}.en.md", f"---\ntitle: Down {number}\nsummary: s\n---\nText.\n")
                time.sleep(1.5)
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 503
            postgresql.resume()
            folder.write("content/up.en.md", "---\ntitle: Up\nsummary: s\n---\nText.\n")
            wait_until(lambda: (folder.root / "public" / "en" / "up" / "index.html").exists())
            wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").json()["tick_age"] < 2)
            answer = httpx.get(f"http://127.0.0.1:{port}/healthz").json()
            assert answer["ok"], answer
            with folder.runtime() as runtime:
                assert runtime.liveness.is_alive(heartbeat_owner(runtime.store))
            stop(process)
    text = log.read_text()
    assert "PendingRollbackError" not in text and "ResourceClosedError" not in text, text


def heartbeat_owner(store: Store) -> str:
    """Return the owner id of the only service."""
    with store.read() as connection:
        (service,) = load_heartbeats(connection)
    return service.owner
