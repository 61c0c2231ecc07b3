"""`tidings run`: watches, publishes, composes on cadence, delivers, and serves the pages, in one process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from tidings.config.settings import Web
from tidings.model.cadence import load_zone
from tidings.model.errors import RefusedError
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.runtime.bounces.receivers import FeedbackReceivers
from tidings.runtime.clock import Ticker
from tidings.runtime.log import Redactor, start_log
from tidings.runtime.monitoring.metrics import Metrics
from tidings.runtime.newsroom import Runtime, open_runtime
from tidings.runtime.service_cycle import CLOCK_TOLERANCE, ServiceCycle
from tidings.runtime.tick import record_failures, send_notices
from tidings.runtime.watch import Stamp, Watcher, configuration_stamp
from tidings.store.delivery import claims
from tidings.store.service.clock import read_clock

BEAT = 30.0
"""Seconds between two beats at the most."""
_LOOK = 3.0
"""Seconds between two looks for deliveries that have come due by themselves."""
_ASK = 5.0
"""Seconds between two looks whether a source on the network is due."""
_END = 29.0
"""Seconds that ending takes at the most. What is on the wire is given up after 25."""
log = logging.getLogger("tidings.service")

MakeApp = Callable[[Runtime, Callable[[], dict[str, object]]], Any]
"""Makes the application of the pages; the second argument says how the service fares, for /healthz."""


def run_service(
    root: Path,
    *,
    make_app: MakeApp,
    make_metrics_app: Callable[[Metrics], Any],
    only_pages: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. A second signal ends it at once.

    Raises InputError for a broken configuration, RefusedError for a taken port or a store ahead of real time.
    """
    stamp = configuration_stamp(root)
    with open_runtime(root) as runtime:
        with runtime.store.read() as connection:
            reached = read_clock(connection)
        if reached is not None and reached > datetime.now(UTC) + CLOCK_TOLERANCE:
            raise RefusedError(
                f"the store's clock stands at {reached.isoformat()}, ahead of real time: --now moved it there. "
                "Use a fresh store, or wait until then."
            )
        return Service(runtime, make_app, make_metrics_app, say, stamp, only_pages=only_pages).run()


class Service:
    """The threads of one process: the ticker, the deliverer, the watcher and the pages."""

    def __init__(
        self,
        runtime: Runtime,
        make_app: MakeApp,
        make_metrics_app: Callable[[Metrics], Any],
        say: Callable[[str], None],
        stamp: Stamp,
        *,
        only_pages: bool,
    ) -> None:
        self._runtime = runtime
        self._redactor = Redactor(runtime.newsroom.secrets)
        self._say_to = say
        self._make_app = make_app
        self._make_metrics_app = make_metrics_app
        self._only_pages = only_pages
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._delivering = threading.Lock()
        self._signals = 0
        self._beats = ServiceCycle(
            runtime,
            self._redactor,
            taken_up=stamp,
            delivering=self._delivering,
            stopping=self._stopping,
            only_pages=only_pages,
        )
        self._ticker = Ticker(self._beat, BEAT)
        self._ears = FeedbackReceivers(runtime, self._due.set)

    def run(self) -> int:
        """Until a signal; what is on the wire ends first."""
        start_log(self._redactor, load_zone(self._runtime.newsroom.site.timezone))
        web = self._runtime.newsroom.web
        listener = _listen(web.host, web.port, "web: {port: ...}")
        server = self._server(web)
        measuring = self._measure(web)
        hearing = "" if self._only_pages else self._ears.open_port()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        content = [path for source in self._runtime.sources.values() for path in source.watch_paths()]
        watcher = Watcher(self._runtime.root, content, self._ticker.wake)
        pages = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
        deliverer = threading.Thread(target=self._deliver_on, name="deliver", daemon=True)
        fetcher = threading.Thread(target=self._fetch_on, name="fetch", daemon=True)
        pages.start()
        self._say(f"Pages: {_address(web.host, web.port)}/")
        if measuring is not None and web.metrics_address is not None:
            measuring.start()
            self._say(f"Metrics: {_address(*web.metrics_address)}/metrics")
        watcher.start()
        self._ticker.start()
        if not self._only_pages:
            deliverer.start()
            fetcher.start()
            self._ears.start()
            if hearing:
                self._say(f"Bounces: LMTP at {hearing}")
            self._say("Watching, publishing and sending. Stop with Ctrl-C.")
        while not self._stopping.wait(1.0):
            self._ticker.keep()
            if not pages.is_alive():
                log.error("the pages cannot be served any more; ending, so that whoever watches over us starts anew")
                self._stopping.set()
                self._end(server, pages, watcher, deliverer, fetcher)
                return 1
            if not self._only_pages and not deliverer.is_alive() and not self._stopping.is_set():
                self._beats.stopped = "the thread that sends has ended"
        self._say("Stopping: what is on the wire is finished first.")
        self._end(server, pages, watcher, deliverer, fetcher)
        return 0

    def _end(
        self, server: uvicorn.Server, pages: threading.Thread, watcher: Watcher, *others: threading.Thread
    ) -> None:
        """Give everything back within `_END` seconds. What takes longer is cut off: the next start takes it up."""
        end = time.monotonic() + _END
        self._runtime.stop()
        self._due.set()
        server.should_exit = True
        watcher.stop()
        for thread in (*others, pages):
            if thread.ident is not None:
                thread.join(max(end - time.monotonic(), 0.1))
        quiet = self._ears.stop(end - time.monotonic())
        idle = self._ticker.stop(end - time.monotonic())
        if idle:
            self._beats.end()
        if not (idle and quiet) or any(thread.is_alive() for thread in others):
            log.warning("cut off what was not done in time; the next start takes it up")
            sys.stdout.flush()
            sys.stderr.flush()
            # The store must not be closed under threads that still use it, and Python would wait for them.
            os._exit(0)

    def _say(self, line: str) -> None:
        self._say_to(self._redactor.text(line))

    def _server(self, web: Web) -> uvicorn.Server:
        config = uvicorn.Config(
            self._make_app(self._runtime, self._beats.health),
            log_config=None,
            access_log=False,
            proxy_headers=True,
            forwarded_allow_ips=list(web.trust),
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
        return uvicorn.Server(config)

    def _measure(self, web: Web) -> threading.Thread | None:
        """The thread that answers Prometheus on an address of its own, if one is configured."""
        if web.metrics_address is None:
            return None
        listener = _listen(*web.metrics_address, "web: {metrics: ...}")
        app = self._make_metrics_app(Metrics(self._runtime, self._beats.pulse))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", limit_concurrency=20
        )
        server = uvicorn.Server(config)
        return threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics", daemon=True)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self._stopping.set()

    # -- the ticker's thread ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        following = self._beats.run()
        self._due.set()
        if following is not None:
            self._ticker.wake(following)

    # -- the fetcher's thread -----------------------------------------------------------------------------------------

    def _fetch_on(self) -> None:
        """Everything that waits for other people's websites and is no delivery."""
        while not self._stopping.wait(_ASK):
            with self._beats.catch_faults("sources"):
                done = self._runtime.fetch()
                for name, one in done.items():
                    if one.problem:
                        log.warning("source %s: %s", name, one.problem)
                    elif one.new or one.changed:
                        log.info("source %s: %d new, %d changed", name, one.new, one.changed)
                came = self._runtime.fetch_pictures()
                for name, count in came.items():
                    log.info("source %s: pictures, %d new", name, count)
                if came or any(one.new or one.changed for one in done.values()):
                    self._ticker.wake()
            with self._beats.catch_faults("hubs"):
                self._runtime.ping_hubs()
                self._runtime.renew_hub_subscriptions()

    # -- the deliverer's thread ---------------------------------------------------------------------------------------

    def _deliver_on(self) -> None:
        while not self._stopping.is_set():
            asked = self._due.wait(_LOOK)
            self._due.clear()
            with self._beats.catch_faults("requests"):
                self._runtime.answer_requests()
            with self._beats.catch_faults("deliveries"):
                # After every beat; in between only if something has come due, and not at a relay that is down.
                if asked or (not self._beats.stalled and self._something_due()):
                    self._deliver()

    def _something_due(self) -> bool:
        with self._runtime.store.read() as connection:
            return bool(claims.count_due(connection, self._runtime.now(), datetime.now(UTC)))

    def _deliver(self) -> None:
        with self._delivering:
            # Looked at under the lock: a beat may have made a new deliverer, which was never told to stop.
            if self._stopping.is_set():
                return
            done = self._runtime.deliver()
            now = self._runtime.now()
            record_failures(self._runtime, done, now)
            if send_notices(self._runtime, now):
                self._due.set()
        self._report(done)

    def _report(self, done: DeliverySummary) -> None:
        for lane, reason in done.stalled.items():
            if self._beats.stalled.get(lane) != reason:
                log.warning("%s cannot go on: %s", f"channel {lane}" if lane else "mail", reason)
        for name, reason in done.failed_senders.items():
            log.warning("mail cannot go on by %s: %s", name, reason)
        for lane in self._beats.stalled.keys() - done.stalled.keys():
            log.info("%s goes on", f"channel {lane}" if lane else "mail")
        self._beats.stalled = dict(done.stalled)
        ended = {state: count for state, count in sorted(done.states.items()) if count and state != "pending"}
        if ended:
            log.info("deliveries: %s", ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in ended.items()))


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise RefusedError(
            f"{host}:{port} cannot be served: {error.strerror or error}. Perhaps another program has it, or "
            f"another `tidings run`: stop that one, or write another `{key}` into tidings.yaml."
        ) from None
