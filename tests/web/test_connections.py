"""Idle and slow connections neither stop the pages nor use up the file descriptors that sending needs."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.fixtures.newsroom import open_newsroom
from tests.fixtures.waiting import GENEROUS, wait_until
from tidings.web import connections
from tidings.web.app import newsroom_app
from tidings.web.connections import (
    LONGEST_PAUSE,
    SENDING_RESERVE,
    SENDING_SHARE,
    BoundedProtocol,
    PageThrottle,
    bound_connections,
)


async def _answer(request: Request) -> Response:
    if request.url.path == "/stream":
        return StreamingResponse(b"x" * 50_000 for _ in range(1_000))
    return PlainTextResponse("x" * 5_000_000 if request.url.path == "/large" else f"{len(await request.body())} bytes")


@contextmanager
def bounded(throttle: PageThrottle | None = None, **limits: Any) -> Iterator[int]:
    """Serve with these limits. Yields the port."""
    protocol = type("Bounded", (BoundedProtocol,), limits)
    app = Starlette(routes=[Route("/{path:path}", _answer, methods=["GET", "POST"])])
    app.state.throttle = throttle
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, lifespan="off", http=protocol, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def dial(port: int, begin: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=GENEROUS)
    client.sendall(begin)
    return client


def receive(client: socket.socket, wanted: bytes) -> bool:
    """Receive until these bytes arrive, or the connection ends."""
    received = b""
    while wanted not in received and (chunk := client.recv(65_536)):
        received += chunk
    return wanted in received


def is_ended(client: socket.socket) -> bool:
    """Wait until the server ends the connection."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["nothing", "no-body", "half-a-chunk"],
)
def test_idle_connections_never_keep_readers_out(begin: bytes) -> None:
    long = 10 * GENEROUS
    with bounded(most=10, head_seconds=long, body_seconds=long) as port:
        idle = [dial(port, begin) for _ in range(40)]
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=GENEROUS) as answer:
                assert answer.read() == b"0 bytes"
        for client in idle[:25]:
            assert is_ended(client)
        for client in idle:
            client.close()


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: "], ids=["nothing", "half-a-head"])
def test_a_head_that_never_ends_is_cut_off(begin: bytes) -> None:
    with bounded(head_seconds=0.3) as port, dial(port, begin) as client:
        assert is_ended(client)


def test_a_head_that_drips_is_cut_off() -> None:
    def drip(client: socket.socket) -> None:
        for _ in range(2_000):
            client.sendall(b"x")
            time.sleep(0.01)

    half = b"GET / HTTP/1.1\r\nX-Drip: "
    with bounded(head_seconds=0.5) as port, dial(port, half) as client, pytest.raises(OSError):
        drip(client)


def test_a_head_that_is_too_large_is_refused() -> None:
    with bounded() as port, dial(port, b"GET / HTTP/1.1\r\nHost: a\r\n") as client:
        with contextlib.suppress(OSError):
            for number in range(100):
                client.sendall(b"X-%d: %b\r\n" % (number, b"x" * 1_000))
        with contextlib.suppress(ConnectionResetError):
            assert receive(client, b"HTTP/1.1 400")


def test_a_body_that_never_ends_is_cut_off() -> None:
    half = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"
    with bounded(body_seconds=0.3) as port, dial(port, half) as client:
        assert is_ended(client)


def test_a_stop_during_a_body_logs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with bounded(last_body_seconds=0.1) as port:
        client = dial(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        assert receive(client, b"100 Continue"), "the application waits for the body"
    client.close()
    reasons = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert asyncio.CancelledError not in reasons


def test_a_client_that_reads_no_answer_is_cut_off() -> None:
    lost = threading.Event()

    def connection_lost(self: BoundedProtocol, exc: Exception | None) -> None:
        BoundedProtocol.connection_lost(self, exc)
        lost.set()

    begin = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
    with bounded(stall_seconds=0.3, connection_lost=connection_lost) as port, dial(port, begin) as client:
        assert lost.wait(GENEROUS)
        size = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.recv(65_536):
                size += len(chunk)
        assert size < 5_000_000


def test_clients_that_read_nothing_keep_no_readers_out() -> None:
    def can_read() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=GENEROUS) as answer:
                return bool(answer.read() == b"0 bytes")
        except OSError:
            return False  # none of them is stalled yet

    with bounded(most=10, stall_seconds=10 * GENEROUS) as port:
        stalled = [dial(port, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(10)]
        for client in stalled:
            assert receive(client, b"200 OK")
        wait_until(can_read, seconds=GENEROUS / 4)
        for client in stalled:
            client.close()


def test_requests_without_number_are_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    real = HttpToolsProtocol.on_message_begin

    def begin(self: HttpToolsProtocol) -> None:
        waiting.append(len(self.pipeline))
        real(self)

    monkeypatch.setattr(HttpToolsProtocol, "on_message_begin", begin)
    requests = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000
    with bounded() as port, dial(port, requests) as client:
        assert is_ended(client)
    assert max(waiting) < connections.MOST_PIPELINED


def test_a_slow_but_complete_request_is_answered() -> None:
    with bounded() as port, dial(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab") as client:
        time.sleep(0.1)
        client.sendall(b"cd")
        assert receive(client, b"4 bytes")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert receive(client, b"0 bytes")


def test_descriptors_are_kept_for_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400, 400))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert bound_connections().most == 400 - connections.KEPT_DESCRIPTORS


class _Work:
    """A thread that works for `cost` seconds after each `PageThrottle.wait`, on a clock of its own."""

    def __init__(self, *, is_sending: bool = True) -> None:
        self.is_sending = is_sending
        self.now = self.used = 0.0
        self.pauses: list[float] = []
        self._throttle = PageThrottle(
            lambda: self.is_sending, clock=lambda: self.now, used=lambda: self.used, sleep=self._sleep
        )

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def work(self, cost: float, times: int = 1) -> None:
        for _ in range(times):
            self._throttle.wait()
            self.now += cost
            self.used += cost


def test_a_burst_gets_its_share_of_the_core_during_a_send() -> None:
    thread = _Work()
    thread.work(0.001, times=10_000)
    assert thread.used <= SENDING_RESERVE + thread.now * SENDING_SHARE + 0.001
    assert thread.used >= thread.now * SENDING_SHARE, "readers get what is theirs"


def test_a_few_readers_wait_for_nothing_during_a_send() -> None:
    thread = _Work()
    for _ in range(100):
        thread.work(0.002, times=3)
        thread.now += 0.2
    assert not thread.pauses


def test_nobody_waits_while_nothing_is_sent() -> None:
    thread = _Work(is_sending=False)
    thread.work(0.001, times=1_000)
    thread.is_sending = True
    thread.work(0.001, times=10)
    assert not thread.pauses, "the work before the send does not count"


def test_one_long_answer_never_stops_the_pages_for_long() -> None:
    thread = _Work()
    thread.work(0.001)
    thread.work(20.0)
    thread.work(0.001)
    thread.now += LONGEST_PAUSE
    thread.work(0.001)
    assert thread.pauses == [LONGEST_PAUSE]


def test_each_request_waits_its_turn_and_is_answered() -> None:
    pauses: list[float] = []
    used = iter(float(number) for number in range(1_000))
    throttle = PageThrottle(lambda: True, used=lambda: next(used), sleep=pauses.append)
    with bounded(throttle) as port, dial(port) as client:
        for number in range(1, 4):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert receive(client, b"0 bytes")
            # The connection itself began the count.
            assert len(pauses) == number


def test_the_pages_know_when_their_process_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {}) as newsroom:
        runtime = newsroom.runtime
        throttle = newsroom_app(runtime).state.throttle
        during: list[bool] = []

        def fail(*_: Any, **__: Any) -> None:
            during.append(throttle.is_sending())
            raise OSError

        monkeypatch.setattr(runtime.deliverer, "run_until_idle", fail)
        with pytest.raises(OSError):
            runtime.deliver()
        assert during == [True]
        assert not throttle.is_sending(), "also after an error"
