"""The OpenTelemetry traces that a collector gets from a send."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.fixtures.ports import free_port
from tests.runtime.test_fleet import to_readers
from tests.runtime.test_service import prepared
from tidings.runtime.tick import tick

READERS = 5
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector:
    """An HTTP server that accepts spans at /v1/traces, as a collector does."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        taken = self.requests

        class TakeSpans(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert not self.headers.get("Content-Encoding")
                taken.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), TakeSpans)

    @property
    def spans(self) -> list[Span]:
        """Return all spans, in the order of arrival."""
        parsed = [ExportTraceServiceRequest.FromString(body) for body in self.requests]
        return [s for one in parsed for r in one.resource_spans for scope in r.scope_spans for s in scope.spans]


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    threading.Thread(target=collector.server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{collector.server.server_address[1]}")
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()


def values(span: Span) -> dict[str, str | int]:
    return {
        pair.key.removeprefix("tidings."): pair.value.string_value or pair.value.int_value for pair in span.attributes
    }


def send_a_story(folder: NewsroomFolder) -> None:
    """Compose in one process, and send in another one."""
    with folder.runtime() as runtime:
        tick(runtime, runtime.now(), deliver=False)
        folder.write("content/new.en.md", item("New"))
        tick(runtime, runtime.now(), deliver=False)
    with folder.runtime() as runtime:
        runtime.deliver()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_trace_goes_from_slot_to_batch(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch) as collector, make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        prepared(folder, READERS)
        send_a_story(folder)
        mails = len(to_readers(folder))
    spans = {span.name: span for span in collector.spans}
    assert mails == READERS
    assert sorted(span.name for span in collector.spans) == ["batch", "edition", "send", "slot"]
    assert len({span.trace_id for span in collector.spans}) == 1
    above = {
        span.name: next((o.name for o in collector.spans if o.span_id == span.parent_span_id), "")
        for span in collector.spans
    }
    assert above == {"slot": "", "edition": "slot", "send": "edition", "batch": "send"}
    assert not spans["slot"].parent_span_id
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in collector.spans)
    assert values(spans["edition"]) == {"schedule": "alert", "edition": "alert/1", "state": "sending", "stories": 1}
    assert values(spans["send"]) == {"schedule": "alert", "ledger.accepted": READERS}
    assert values(spans["batch"]) == {"list": "digest", "deliveries": READERS}
    sent = b"".join(collector.requests)
    assert b"reader" not in sent and b"example.org" not in sent, "no address leaves"
    assert b"service.name" in sent and b"tidings" in sent


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_dead_collector_stops_no_mail(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("tidings.runtime.monitoring.traces._LAST_SECONDS", 0.1)
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        prepared(folder, READERS)
        send_a_story(folder)
        assert len(to_readers(folder)) == READERS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_traces_are_off_by_default(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        with folder.runtime() as runtime:
            assert runtime.traces is None
        monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
        for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
            with monkeypatch.context() as off, folder.runtime() as runtime:
                off.setenv(name, value)
                assert runtime.__dict__.pop("traces", None) is not None or runtime.traces is None
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with folder.runtime() as runtime:
            assert runtime.traces is None
    assert '-m pip install "tidings[otel]"' in caplog.text
