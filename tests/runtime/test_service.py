"""`tidings run` as a real process: watches, publishes, sends, keeps the last good configuration, ends in time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.acceptance.world import World, item, make_world
from tidings.store import ledger, subscribers
from tidings.store.clock import advance_clock

FIRST = "cadence: {on: new, settle: 0m}\ndeliver:\n  - {list: digest, frequency: all}\n"


def until(true: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(world: World, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "run", "-C", str(world.root)],
            env={**os.environ, **world.env},
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def prepared(world: World, readers: int = 3) -> int:
    port = free_port()
    path = world.root / "tidings.yaml"
    path.write_text(path.read_text(encoding="utf-8") + f"web: {{port: {port}}}\n", encoding="utf-8")
    world.write("schedules/alert.yaml", FIRST)
    with world.runtime() as runtime, runtime.store.write() as connection:
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


def test_a_new_file_is_out_and_on_its_way_within_seconds_and_a_broken_schedule_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_world(tmp_path / "newsroom", "sqlite:///tidings.db") as world:
        port = prepared(world)
        with running(world, log) as process:
            until(lambda: "Watching" in log.read_text(encoding="utf-8"))
            until(lambda: (world.root / "public" / "en" / "index.html").exists())
            world.write("schedules/alert.yaml", "cadence: {weekly: friday}\n")
            until(lambda: "refused" in log.read_text(encoding="utf-8"))
            until(lambda: any(mail.recipient == "comms@example.org" for mail in world.mails.caught))
            world.write("content/fresh.en.md", item("Fresh water for all"))
            readers = {f"reader{number}@example.org" for number in range(3)}
            until(lambda: readers <= {mail.recipient for mail in world.mails.caught})
            assert "Fresh water" in httpx.get(f"http://127.0.0.1:{port}/en/").text
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["ok"] is True
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        text = log.read_text(encoding="utf-8")
        assert "Traceback" not in text
        assert world.hook.url not in text
        assert len([mail for mail in world.mails.caught if mail.recipient.startswith("reader")]) == 3


def test_sigterm_in_the_midst_of_a_send_loses_and_doubles_nobody(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make_world(tmp_path / "newsroom", "sqlite:///tidings.db") as world:
        prepared(world, readers=300)
        path = world.root / "tidings.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("security: none", "security: none, rate: 60/s"))

        def sent() -> int:
            return sum(mail.recipient.startswith("reader") for mail in world.mails.caught)

        with running(world, log) as process:
            until(lambda: "Watching" in log.read_text(encoding="utf-8"))
            until(lambda: (world.root / "public" / "en" / "index.html").exists())
            world.write("content/fresh.en.md", item("Fresh water for all"))
            until(lambda: sent() > 20)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
            assert time.monotonic() - begun < 30
            assert 20 < sent() < 300
        with running(world, log) as process:
            until(lambda: sent() >= 300)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        assert sent() == 300
        with world.runtime() as runtime, runtime.store.read() as connection:
            assert ledger.counts(connection)["accepted"] == 300


def test_a_store_ahead_of_real_time_and_a_taken_port_are_refused_in_words(tmp_path: Path) -> None:
    with make_world(tmp_path / "newsroom", "sqlite:///tidings.db") as world:
        port = prepared(world)
        with socket.create_server(("127.0.0.1", port)), running(world, tmp_path / "one") as process:
            assert process.wait(timeout=40) == 2
        assert "another" in (tmp_path / "one").read_text(encoding="utf-8").lower()
        with world.runtime() as runtime, runtime.store.write() as connection:
            advance_clock(connection, datetime.now(UTC) + timedelta(days=2))
        with running(world, tmp_path / "two") as process:
            assert process.wait(timeout=40) == 2
        text = (tmp_path / "two").read_text(encoding="utf-8")
        assert "ahead of real time" in text
        assert "Traceback" not in text
