"""The metrics for Prometheus are valid and true, on their own address, from each process, and name nobody."""

from __future__ import annotations

import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import require_program
from tests.fixtures.newsroom_folder import item, make_newsroom_folder
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import wait_until
from tests.runtime.test_service import prepared, running, stop
from tests.sources.site import Page, Story, Website, rss
from tests.web.server import served
from tidings.runtime.engine import QueueReport
from tidings.runtime.monitoring.metrics import Metrics, _broker_metrics, _keep_last_counts
from tidings.runtime.newsroom import Runtime
from tidings.runtime.service_cycle import MAX_CYCLE, MAX_FAILED_TICKS, MAX_SILENCE, CycleHealth
from tidings.runtime.tick import tick
from tidings.store.delivery import ledger
from tidings.store.service import heartbeat
from tidings.web.app import newsroom_app


def scraped(text: str) -> dict[str, float]:
    """Return each sample by its name and labels, as they are written."""
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def samples(runtime: Runtime) -> dict[str, float]:
    return scraped(Metrics(runtime).exposition("")[0].decode())


def test_the_state_of_a_website_is_shown(tmp_path: Path, database_url: str) -> None:
    site = Website()
    stories = [Story(f"s{n}", f"Story {n}", published=datetime(2026, 1, 1 + n, tzinfo=UTC)) for n in range(9)]
    site.pages["/feed"] = Page(rss(stories, site.url))
    with make_newsroom_folder(tmp_path / "n", database_url) as folder:
        source = f"sources:\n  site: {{type: feed, url: {site.url}/feed, allow_private: true}}\n"
        folder.write("tidings.yaml", (folder.root / "tidings.yaml").read_text() + source)
        with folder.runtime() as runtime:
            runtime.set_clock(stories[-1].published + timedelta(hours=1))  # type: ignore[operator]
            runtime.fetch()
            before = samples(runtime)
            assert before["tidings_source_fetched_timestamp_seconds{source=site}"] == runtime.now().timestamp()
            assert (before["tidings_source_failing{source=site}"], before["tidings_source_silent{source=site}"]) == (
                0,
                0,
            )
            site.pages["/feed"] = Page(b"", 500)
            runtime.set_clock(stories[-1].published + timedelta(days=30))  # type: ignore[operator]
            runtime.fetch()
            after = samples(runtime)
            assert [after[f"tidings_source_{one}{{source=site}}"] for one in ("failing", "silent")] == [1, 1]
    site.close()


def test_deliveries_and_editions_are_counted(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "n", database_url) as folder:
        prepared(folder)
        folder.write(
            "schedules/weekly.yaml", "cadence: {weekly: fri 09:00}\ndeliver:\n  - {list: digest, frequency: all}\n"
        )
        with folder.runtime() as runtime:
            start = datetime.now(UTC)
            tick(runtime, start)
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            folder.write("content/broken.en.md", "---\nkind: story\n---\nNo title.\n")
            tick(runtime, datetime.now(UTC))
            before = samples(runtime)
            assert before["tidings_store_up"] == 1
            assert before["tidings_deliveries_accepted_total"] >= 3
            assert before["tidings_deliveries{state=accepted}"] == before["tidings_deliveries_accepted_total"]
            assert before["tidings_items_set_aside{source=newsroom}"] == 1
            assert before["tidings_slots_total{schedule=alert}{state=fired}"] == 1
            assert before["tidings_schedule_overdue_seconds{schedule=weekly}"] == 0
            for name in ("last_tick", "last_accepted"):
                assert (
                    start.timestamp() - 1
                    <= before[f"tidings_{name}_timestamp_seconds"]
                    <= datetime.now(UTC).timestamp()
                )
            assert before["tidings_source_read_timestamp_seconds{source=newsroom}"] >= start.timestamp() - 1
            assert -60 < before["tidings_clock_ahead_seconds"] <= 0
            assert before["tidings_disk_free_bytes{place=newsroom}"] > 0
            assert before["tidings_store_size_bytes"] > 100_000
            # Two weeks pass without a process.
            runtime.set_clock(datetime.now(UTC) + timedelta(days=14))
            assert samples(runtime)["tidings_schedule_overdue_seconds{schedule=weekly}"] > 6 * 86_400
            with runtime.store.write() as connection:
                mailing = ledger.get_or_create_mailing(connection, "k", "notice", now=runtime.now(), open=True)
                row = {"mailing": mailing, "target": "t", "purpose": "p", "at": runtime.now(), "state": "in_doubt"}
                ledger.add_deliveries(connection, [row])
            doubted = samples(runtime)
            assert doubted["tidings_in_doubt_for_a_person"] == 1
            assert doubted["tidings_in_doubt_since_timestamp_seconds"] == pytest.approx(runtime.now().timestamp())


def test_a_held_edition_and_a_removed_source_are_shown(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        prepared(folder)
        with folder.runtime() as runtime:
            tick(runtime, datetime.now(UTC))
            folder.write("content/fresh.en.md", item("Fresh", images='[{src: https://example.org/a.png, alt: ""}]'))
            tick(runtime, datetime.now(UTC))
            assert samples(runtime)["tidings_editions_held{reason=gate}"] == 1
            (folder.root / "content").rename(folder.root / "elsewhere")
            tick(runtime, datetime.now(UTC))
            with runtime.store.read() as connection:
                stored = heartbeat.last_tick(connection)
            assert stored is not None and "newsroom" in stored.unread
            assert samples(runtime)["tidings_source_read_timestamp_seconds{source=newsroom}"] < stored.at.timestamp()


def test_no_name_or_address_of_a_person_is_shown(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        prepared(folder)
        with folder.runtime() as runtime:
            tick(runtime, datetime.now(UTC))
            folder.write("content/fresh.en.md", item("Fresh water for all"))
            tick(runtime, datetime.now(UTC))
            own = heartbeat.Heartbeat("host-1-abc", runtime.now(), runtime.now(), refused=folder.env["DESK_SECRET"])
            text = Metrics(runtime, lambda: own).exposition("")[0].decode()
    assert "tidings_configuration_refused 1.0" in text
    for secret in ("reader", "example.org", "comms", "host-1", str(tmp_path), *folder.env.values()):
        assert secret not in text


def test_a_missing_store_is_a_metric_and_no_error(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder, folder.runtime() as runtime:
        own = heartbeat.Heartbeat("me", datetime.now(UTC), datetime.now(UTC), faults={"beat": "OperationalError"})
        metrics = Metrics(runtime, lambda: own)
        (folder.root / "tidings.db").unlink()
        runtime.store.close()
        (folder.root / "tidings.db").mkdir()
        samples = scraped(metrics.exposition("")[0].decode())
        (folder.root / "tidings.db").rmdir()
    assert samples["tidings_store_up"] == 0
    assert samples["tidings_service_fault{what=beat}"] == 1 and samples["tidings_services{kind=full}"] == 1
    assert "tidings_queue_pending" not in samples


@pytest.mark.slow
def test_each_process_answers_on_its_own_address(tmp_path: Path, database_url: str) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    with make_newsroom_folder(tmp_path / "n", database_url) as folder:
        port = prepared(folder)
        path = folder.root / "tidings.yaml"
        good = path.read_text(encoding="utf-8")

        def configure() -> tuple[int, str]:
            pages, ours = free_port(), free_port()
            path.write_text(good.replace(f"{{port: {port}}}", f"{{port: {pages}, metrics: 127.0.0.1:{ours}}}"))
            return pages, f"http://127.0.0.1:{ours}/metrics"

        pages, metrics = configure()
        with running(folder, log) as full:
            wait_until(lambda: (folder.root / "public" / "en" / "index.html").exists())
            wait_until(lambda: "tidings_last_tick_timestamp_seconds" in httpx.get(metrics).text)
            answer = httpx.get(metrics, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            assert answer.text.endswith("# EOF\n")
            checked = subprocess.run(
                [require_program("promtool"), "check", "metrics"], input=httpx.get(metrics).content, capture_output=True
            )
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
            assert httpx.get(metrics.removesuffix("metrics")).status_code == 404
            assert httpx.get(f"http://127.0.0.1:{pages}/metrics").status_code == 404
            assert httpx.get(metrics, headers={"Accept": "text/plain; version=what"}).status_code == 200
            health = httpx.get(f"http://127.0.0.1:{pages}/healthz").json()
            assert health["ok"] is True and health["beat_age"] < 60 and health["tick_age"] < 60
            _, second = configure()
            with running(folder, other, "--only", "pages") as only:
                wait_until(lambda: other.exists() and "Metrics:" in other.read_text(encoding="utf-8"))
                wait_until(lambda: scraped(httpx.get(second).text).get("tidings_services{kind=pages}") == 1)
                assert scraped(httpx.get(second).text)["tidings_services{kind=full}"] == 1
                # It was killed, so the other process must report it.
                full.send_signal(signal.SIGKILL)
                full.wait()
                wait_until(lambda: scraped(httpx.get(second).text)["tidings_services_died"] == 1)
                samples = scraped(httpx.get(second).text)
                assert samples["tidings_services{kind=full}"] == 0
                assert "tidings_last_tick_timestamp_seconds" in samples
                stop(only)
        with folder.runtime() as runtime, runtime.store.read() as connection:
            left = [one.work is heartbeat.ProcessRole.PAGES for one in heartbeat.load_heartbeats(connection)]
        assert left in ([False], []), "who ends in order leaves no sign of life"
        assert "Traceback" not in log.read_text() + other.read_text()


@pytest.mark.slow
def test_a_used_address_is_refused_with_a_message(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        port = prepared(folder)
        path = folder.root / "tidings.yaml"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            path.write_text(path.read_text().replace(f"{{port: {port}}}", f"{{port: {port}, metrics: '{where}'}}"))
            with running(folder, tmp_path / "log") as process:
                assert process.wait(timeout=120) == 2
        assert where in (tmp_path / "log").read_text() and "metrics" in (tmp_path / "log").read_text()


def test_a_heartbeat_can_be_too_old() -> None:
    signs = CycleHealth(cycle_ended=1000.0, tick_ended=1000.0)
    assert signs.health(1030.0, only_pages=False) == {"ok": True, "beat_age": 30.0, "tick_age": 30.0}
    late = signs.health(1000.0 + MAX_SILENCE + 1, only_pages=False)
    assert late["ok"] is False and "ticker stopped" in str(late["reason"])
    signs.cycle_began = 1050.0
    assert signs.health(1050.0 + MAX_CYCLE - 1, only_pages=False)["ok"] is True, "a long beat is no standing still"
    assert signs.health(1050.0 + MAX_CYCLE + 1, only_pages=False)["ok"] is False
    failing = CycleHealth(cycle_ended=2000.0, tick_ended=1000.0, failed_ticks=MAX_FAILED_TICKS - 1)
    assert failing.health(2001.0, only_pages=False)["ok"] is True
    failing.failed_ticks += 1
    assert "no tick succeeded for 1001 seconds" in str(failing.health(2001.0, only_pages=False)["reason"])
    assert failing.health(2001.0, only_pages=True)["ok"] is True, "who only serves pages never ticks"


def test_a_stopped_service_fails_healthz(tmp_path: Path) -> None:
    signs = CycleHealth(cycle_ended=0.0, tick_ended=0.0)
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder, folder.runtime() as runtime:
        app = newsroom_app(runtime, lambda: signs.health(1_000.0, only_pages=False))
        with served(app) as url:
            answer = httpx.get(url.rstrip("/") + "/healthz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ok": False,
        "beat_age": 1000.0,
        "tick_age": 1000.0,
        "reason": "the ticker stopped: no cycle for 1000 seconds",
    }


def test_a_broker_and_its_queues_are_shown() -> None:
    def read(report: QueueReport | None) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in _broker_metrics(report)
            for sample in family.samples
        }

    report = QueueReport({"mail": 4, "tidings.dead": 2}, read_at=datetime.fromtimestamp(1_000, UTC))
    last_known = {
        ("tidings_broker_read_timestamp_seconds",): 1_000,
        ("tidings_broker_messages", "mail"): 4,
        ("tidings_broker_messages", "tidings.dead"): 2,
    }
    assert read(report) == {("tidings_broker_up",): 1, **last_known}
    refused = QueueReport(problem="connection refused")
    assert read(refused) == {("tidings_broker_up",): 0}
    assert read(_keep_last_counts(refused, report)) == {("tidings_broker_up",): 0, **last_known}
    assert _keep_last_counts(report, refused) == report
    assert not any(family.samples for family in _broker_metrics(None)), "without a task engine"
