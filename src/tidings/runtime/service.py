"""`tidings run`: watch, publish, compose on cadence, deliver, and serve the pages, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from tidings.config.settings import Web, http_address
from tidings.model.cadence import load_zone
from tidings.model.delivery import WEBHOOK_LANE
from tidings.model.errors import RefusedError
from tidings.pipeline.collect.files import KeptListings
from tidings.pipeline.deliver.context import DeliverySummary
from tidings.runtime.bounces.receivers import FeedbackReceivers
from tidings.runtime.monitoring.log import Redactor, is_json, start_log
from tidings.runtime.monitoring.metrics import Metrics
from tidings.runtime.newsroom import Runtime, load_valid_newsroom, open_runtime
from tidings.runtime.rehearsal.stand_ins import CatchAll
from tidings.runtime.service_cycle import ServiceCycle
from tidings.runtime.team.sign_in import make_first_link
from tidings.runtime.tick import record_failures, send_notices
from tidings.runtime.watch import Stamp, Ticker, Watcher, configuration_stamp
from tidings.store.delivery import claims, ledger
from tidings.store.service.heartbeat import ProcessRole

if TYPE_CHECKING:
    from tidings.runtime.engine import Dispatcher

CYCLE = 30.0
"""Seconds between two cycles at most."""
_LOOK = 3.0
"""Seconds between two checks for deliveries that have come due."""
_ASK_EVENTS = 2.0
"""Seconds between two searches for events to send to webhooks."""
_ASK = 5.0
"""Seconds between two checks for sources on the network that are due."""
_ROUND = 60.0
"""Seconds after which a worker of a fleet starts a new run, with a new share of the connections."""
_BACKLOG = 100
"""Connections that are accepted in one step, before the limit of connections is checked."""
_END = 29.0
"""Seconds that stopping takes at most. After 25, the messages that are being sent are abandoned."""
log = logging.getLogger("tidings.service")

MakeApp = Callable[[Runtime, Callable[[], dict[str, object]]], Any]
"""Makes the web application. The second argument returns the answer of /healthz."""


def run_service(
    root: Path,
    *,
    make_app: MakeApp,
    make_metrics_app: Callable[[Metrics], Any],
    protocol: type[asyncio.Protocol],
    role: ProcessRole = ProcessRole.ALL,
    catch: CatchAll | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code. A second signal stops at once.

    With `catch`, mail and posts go there, and no secret of a sender or channel is needed.

    Raises InputError for an invalid configuration, RefusedError for a used port.
    """
    stamp = configuration_stamp(root)
    with _open(root, catch) as runtime:
        return Service(runtime, make_app, make_metrics_app, protocol, say, stamp, role).run()


def _open(root: Path, catch: CatchAll | None) -> Runtime:
    if catch is None:
        return open_runtime(root)
    newsroom = load_valid_newsroom(root, needs="yaml")
    return Runtime(newsroom, divert=catch.divert_channel, divert_mail=catch.divert_mail)


class Service:
    """The threads of one process: the ticker, the deliverer, the watcher and the pages."""

    def __init__(
        self,
        runtime: Runtime,
        make_app: MakeApp,
        make_metrics_app: Callable[[Metrics], Any],
        protocol: type[asyncio.Protocol],
        say: Callable[[str], None],
        stamp: Stamp,
        role: ProcessRole,
    ) -> None:
        self._runtime = runtime
        self._redactor = Redactor(runtime.newsroom.secrets)
        # A program that reads JSON wants nothing else between its lines.
        self._say_to = log.info if is_json() else say
        self._make_app = make_app
        self._make_metrics_app = make_metrics_app
        self._protocol = protocol
        self._role = role
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._delivering = threading.Lock()
        self._signals = 0
        engine = runtime.newsroom.engine
        self._dispatcher: Dispatcher | None = None
        if engine is not None and role.ticks and not runtime.is_caught:
            from tidings.runtime.engine import Dispatcher

            self._dispatcher = Dispatcher(runtime)
        self._cycle = ServiceCycle(
            runtime,
            self._redactor,
            stamp=stamp,
            delivering=self._delivering,
            stopping=self._stopping,
            # With a task engine, its workers send.
            role=ProcessRole.TICKER if self._dispatcher is not None else role,
        )
        self._ticker = Ticker(self._run_cycle, CYCLE)
        self._receivers = FeedbackReceivers(runtime, self._due.set)

    def run(self) -> int:
        """Run until a signal. Then finish the messages that are being sent."""
        start_log(self._redactor, load_zone(self._runtime.newsroom.site.timezone))
        web, role = self._runtime.newsroom.web, self._role
        threads: list[threading.Thread] = []
        server = self._make_server(web) if role.serves else None
        metrics_thread = self._make_metrics_thread(web) if role.serves else None
        # A mailbox of bounces is read and emptied: not by somebody who only tries things out.
        receives = role.ticks and not self._runtime.is_caught
        lmtp_address = self._receivers.open_port() if receives else ""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle_signal)
        content = [path for source in self._runtime.sources.values() for path in source.watch_paths()]
        self._runtime.listings = listings = KeptListings()

        def handle_change() -> None:
            listings.note_change()
            self._ticker.wake()

        watcher = Watcher(self._runtime.root, content if role.ticks else [], handle_change)
        pages: threading.Thread | None = None
        if server is not None:
            listener = _listen(web.host, web.port, "web: {port: ...}")
            pages = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
            pages.start()
            self._say(f"Pages: {http_address(web.host, web.port)}/")
            self._invite_first_admin(web)
        if metrics_thread is not None and web.metrics_address is not None:
            metrics_thread.start()
            self._say(f"Metrics: {http_address(*web.metrics_address)}/metrics")
        watcher.start()
        self._ticker.start()
        work = self._deliver_loop if self._dispatcher is None else self._dispatch_loop
        deliverer = threading.Thread(target=work, name="deliver", daemon=True)
        if role.sends or self._dispatcher is not None:
            threads.append(deliverer)
        if role.ticks:
            threads.append(threading.Thread(target=self._fetch_loop, name="fetch", daemon=True))
            threads.append(threading.Thread(target=self._event_loop, name="events", daemon=True))
            if receives:
                self._receivers.start()
            if lmtp_address:
                self._say(f"Bounces: LMTP at {lmtp_address}")
        for thread in threads:
            thread.start()
        self._say_role(web)
        notify_systemd("READY=1")
        while not self._stopping.wait(1.0):
            self._ticker.keep()
            if not self._cycle.is_hanging():
                notify_systemd("WATCHDOG=1")
            elif pages is None:
                # Nobody asks this process for /healthz.
                log.error("the work has stopped; this process ends, so that it is started again")
                sys.stdout.flush()
                os._exit(1)
            if pages is not None and not pages.is_alive():
                log.error("the pages can no longer be served; the service stops, so that systemd starts it again")
                self._stopping.set()
                self._end(server, pages, watcher, threads)
                return 1
            if deliverer in threads and not deliverer.is_alive() and not self._stopping.is_set():
                self._cycle.stopped = "the thread that sends messages has stopped"
        self._say("Stopping. Messages that are being sent are finished first.")
        self._end(server, pages, watcher, threads)
        return 0

    def _say_role(self, web: Web) -> None:
        """Print what this process does, once it does it."""
        if self._runtime.is_caught:
            self._say(f"Caught mail and posts: {http_address(web.host, web.port)}/inbox/ Nothing leaves this machine.")
            self._say("Watching, publishing and catching. Stop with Ctrl-C.")
            return
        if self._dispatcher is not None:
            self._say("Watching and publishing. The workers of the task engine send. Stop with Ctrl-C.")
            return
        doing = {
            ProcessRole.ALL: "Watching, publishing and sending.",
            ProcessRole.TICKER: "Watching and publishing. The workers send.",
            ProcessRole.WORKER: "Sending what the tickers have composed.",
        }
        if self._role in doing:
            self._say(f"{doing[self._role]} Stop with Ctrl-C.")

    def _end(
        self,
        server: uvicorn.Server | None,
        pages: threading.Thread | None,
        watcher: Watcher,
        others: Sequence[threading.Thread],
    ) -> None:
        """Stop all threads within `_END` seconds. The next start continues what was interrupted."""
        end = time.monotonic() + _END
        notify_systemd("STOPPING=1")
        self._runtime.stop()
        self._due.set()
        if server is not None:
            server.should_exit = True
        watcher.stop()
        for thread in (*others, *([pages] if pages is not None else [])):
            thread.join(max(end - time.monotonic(), 0.1))
        quiet = self._receivers.stop(end - time.monotonic())
        idle = self._ticker.stop(end - time.monotonic())
        if idle:
            self._cycle.end()
        if not (idle and quiet) or any(thread.is_alive() for thread in others):
            log.warning("some work was not finished in time; the next start continues it")
            sys.stdout.flush()
            sys.stderr.flush()
            # Threads still use the store, so it must not be closed, and Python would wait for them.
            os._exit(0)

    def _invite_first_admin(self, web: Web) -> None:
        """Print a link that makes the first admin of the comms room, if nobody is in the team."""
        token = make_first_link(self._runtime.store)
        if token is None:
            return
        self._say("Nobody is in the team of the comms room yet. This link makes its first admin, once:")
        url = self._runtime.newsroom.site.url
        if web.local_url == url:
            self._say(f"  {url}room/join/{token}")
            return
        self._say(f"  on this machine:          {web.local_url}room/join/{token}")
        self._say(f"  on a phone or elsewhere:  {url}room/join/{token}  (once that address leads to this machine)")

    def _say(self, line: str) -> None:
        self._say_to(self._redactor.text(line))

    def _make_server(self, web: Web) -> uvicorn.Server:
        config = uvicorn.Config(
            self._make_app(self._runtime, self._cycle.health),
            log_config=None,
            access_log=False,
            proxy_headers=True,
            forwarded_allow_ips=list(web.trust),
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
            http=self._protocol,
            backlog=_BACKLOG,
        )
        return uvicorn.Server(config)

    def _make_metrics_thread(self, web: Web) -> threading.Thread | None:
        """Return the thread that serves the metrics at their own address, if one is configured."""
        if web.metrics_address is None:
            return None
        listener = _listen(*web.metrics_address, "web: {metrics: ...}")
        app = self._make_metrics_app(Metrics(self._runtime, self._cycle.make_heartbeat))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", limit_concurrency=20
        )
        server = uvicorn.Server(config)
        return threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics", daemon=True)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self._stopping.set()

    # -- the ticker's thread ------------------------------------------------------------------------------------------

    def _run_cycle(self) -> None:
        next_moment = self._cycle.run()
        self._due.set()
        if next_moment is not None:
            self._ticker.wake(next_moment)

    # -- the fetcher's thread -----------------------------------------------------------------------------------------

    def _fetch_loop(self) -> None:
        """Fetch sources and talk to hubs: everything that waits for other websites, except deliveries."""
        while not self._stopping.wait(_ASK):
            with self._cycle.catch_faults("sources"):
                if self._dispatcher is not None:
                    self._ping_hubs()
                    continue
                results = self._runtime.fetch()
                for name, result in results.items():
                    self._cycle.unfetched.pop(name, None)
                    if result.problem:
                        self._cycle.unfetched[name] = result.problem
                        log.warning("source %s: %s", name, result.problem)
                    elif result.new or result.changed:
                        log.info("source %s: %d new, %d changed", name, result.new, result.changed)
                pictures = self._runtime.fetch_pictures()
                for name, count in pictures.items():
                    log.info("source %s: pictures, %d new", name, count)
                if pictures or any(result.new or result.changed for result in results.values()):
                    self._ticker.wake()
            with self._cycle.catch_faults("hubs"):
                self._ping_hubs()

    def _ping_hubs(self) -> None:
        self._runtime.ping_hubs()
        self._runtime.renew_hub_subscriptions()

    # -- the deliverer's thread ---------------------------------------------------------------------------------------

    def _deliver_loop(self) -> None:
        while not self._stopping.is_set():
            is_woken = self._due.wait(_LOOK)
            self._due.clear()
            with self._cycle.catch_faults("requests"):
                self._runtime.answer_requests()
            with self._cycle.catch_faults("deliveries"):
                # After every cycle; between cycles only if a delivery is due where sending works.
                if is_woken or self._is_delivery_due():
                    self._deliver()

    def _dispatch_loop(self) -> None:
        """Put what is due into the queues of the task engine. Its workers send and fetch."""
        assert self._dispatcher is not None
        while not self._stopping.is_set():
            self._due.wait(_LOOK)
            self._due.clear()
            with self._cycle.catch_faults("requests"):
                self._runtime.answer_requests()
            with self._cycle.catch_faults("engine"):
                self._dispatcher.dispatch(only_people=bool(self._cycle.clock_ahead))

    def _is_delivery_due(self) -> bool:
        with self._runtime.store.read() as connection:
            due = claims.count_due(connection, self._runtime.now(), datetime.now(UTC))
        return any(not lane.startswith(WEBHOOK_LANE) for lane in due.keys() - self._cycle.stalled.keys())

    def _event_loop(self) -> None:
        """Tell event webhooks. Nobody waits for them, and a slow receiver delays no mail."""
        while not self._stopping.wait(_ASK_EVENTS):
            with self._cycle.catch_faults("events"):
                if not self._cycle.clock_ahead:
                    done = self._runtime.deliver_events(patient=True)
                    if done.states or done.stalled or done.recovered:
                        record_failures(self._runtime, done, self._runtime.now())

    def _deliver(self) -> None:
        with self._delivering:
            # Checked under the lock: a cycle may have made a new deliverer, which did not see `stop`.
            if self._stopping.is_set():
                return
            if self._cycle.clock_ahead:
                self._deliver_to_people()
                return
            began = time.monotonic()
            seconds = _ROUND if self._role is ProcessRole.WORKER else math.inf
            done = self._runtime.deliver(patient=True, seconds=seconds)
            if time.monotonic() - began >= seconds:
                self._due.set()
            now = self._runtime.now()
            record_failures(self._runtime, done, now)
            if send_notices(self._runtime, now):
                self._due.set()
        self._report(done)

    def _deliver_to_people(self) -> None:
        """Send notices and confirmations only: while the clock is ahead, nobody can say which edition is due."""
        send_notices(self._runtime, self._runtime.now())
        with self._runtime.store.read() as connection:
            mailings = ledger.open_mailings_to_people(connection)
        for mailing in mailings:
            self._report(self._runtime.deliver(mailing, patient=True))

    def _report(self, done: DeliverySummary) -> None:
        for lane, reason in done.stalled.items():
            if self._cycle.stalled.get(lane) != reason:
                log.warning("%s cannot be sent: %s", f"channel {lane}" if lane else "mail", reason)
        for name, reason in done.failed_senders.items():
            log.warning("the sender %s cannot send: %s", name, reason)
        for lane in self._cycle.stalled.keys() - done.stalled.keys():
            log.info("%s can be sent again", f"channel {lane}" if lane else "mail")
        self._cycle.stalled = dict(done.stalled)
        ended = {state: count for state, count in sorted(done.states.items()) if count and state != "pending"}
        if ended:
            log.info("deliveries: %s", ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in ended.items()))


def notify_systemd(state: str) -> None:
    """Tell systemd the state of the service (sd_notify(3)). Does nothing if it was not started by systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def _listen(host: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        cause = (error.strerror or str(error)).partition(" (")[0]
        raise RefusedError(
            f"Cannot listen at {host}:{port}: {cause}. Perhaps another program or another `tidings "
            f"run` uses this port. Stop it, or write another `{key}` into tidings.yaml."
        ) from None
