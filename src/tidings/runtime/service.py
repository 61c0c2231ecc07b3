"""`tidings run`: watches, publishes, composes on cadence, delivers, and serves the pages, in one process."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from tidings.model.cadence import OnNew, OnRequest, next_slots
from tidings.model.errors import RefusedError
from tidings.pipeline import notices
from tidings.runtime.clock import Ticker
from tidings.runtime.newsroom import Runtime, load_newsroom, open_runtime
from tidings.runtime.redact import Redactor
from tidings.runtime.tick import Ticked, failed, tell, tick
from tidings.runtime.watch import Watcher
from tidings.store.clock import read_clock
from tidings.store.items import next_out

BEAT = 30.0
"""Seconds between two beats at the most."""
_LOOK = 5.0
"""Seconds between two looks for deliveries that have come due by themselves."""
log = logging.getLogger("tidings")


def run_service(
    root: Path,
    *,
    make_app: Callable[[Runtime], Any],
    only_pages: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. A second signal ends it at once.

    Raises InputError for a broken configuration, RefusedError for a taken port or a store ahead of real time.
    """
    with open_runtime(root) as runtime:
        with runtime.store.read() as connection:
            reached = read_clock(connection)
        if reached is not None and reached > datetime.now(UTC):
            raise RefusedError(
                f"the store's clock stands at {reached.isoformat()}, ahead of real time: --now moved it there. "
                "Use a fresh store, or wait until then."
            )
        service = Service(runtime, make_app, say)
        return service.run(only_pages=only_pages)


class Service:
    """The threads of one process: the ticker, the deliverer, the watcher and the pages."""

    def __init__(self, runtime: Runtime, make_app: Callable[[Runtime], Any], say: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._redactor = Redactor(runtime.newsroom.secrets)
        self._say_to = say
        self._make_app = make_app
        self._ending = threading.Event()
        self._due = threading.Event()
        self._reload = threading.Event()
        self._delivering = threading.Lock()
        self._refused = ""
        self._signals = 0
        self._ticker = Ticker(self._beat, BEAT)

    def run(self, *, only_pages: bool) -> int:
        """Until a signal; what is on the wire ends first."""
        self._log()
        web = self._runtime.newsroom.web
        server, listener = self._server(web.host, web.port, list(web.trust))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        pages = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
        pages.start()
        self._say(f"Pages: http://{web.host}:{web.port}/")
        watcher: Watcher | None = None
        deliverer = threading.Thread(target=self._deliver_on, name="deliver")
        if not only_pages:
            content = [path for source in self._runtime.sources.values() for path in source.watch_paths()]
            watcher = Watcher(self._runtime.root, content, self._changed)
            watcher.start()
            self._ticker.start()
            deliverer.start()
            self._say("Watching, publishing and sending. Stop with Ctrl-C.")
        while not self._ending.wait(1.0):
            pass
        self._say("Stopping: what is on the wire is finished first.")
        self._runtime.stop()
        if watcher is not None:
            watcher.stop()
            self._ticker.stop()
            self._due.set()
            deliverer.join(timeout=30)
        server.should_exit = True
        pages.join(timeout=5)
        return 0

    def _say(self, line: str) -> None:
        self._say_to(self._redactor.text(line))

    def _server(self, host: str, port: int, trust: list[str]) -> tuple[uvicorn.Server, socket.socket]:
        try:
            listener = socket.create_server((host, port), reuse_port=False)
        except OSError as error:
            raise RefusedError(
                f"{host}:{port} cannot be served: {error.strerror or error}. Another program has it, perhaps another "
                "`tidings run`; stop that one, or write another `web: {port: ...}` into tidings.yaml."
            ) from None
        config = uvicorn.Config(
            self._make_app(self._runtime),
            log_config=None,
            access_log=False,
            proxy_headers=True,
            forwarded_allow_ips=trust,
            server_header=False,
            lifespan="off",
        )
        return uvicorn.Server(config), listener

    def _log(self) -> None:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        handler.addFilter(self._redactor)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        log.setLevel(logging.INFO)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(130)
        self._ending.set()

    # -- the ticker's thread ------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        if self._ending.is_set():
            return
        try:
            if self._reload.is_set():
                self._reload.clear()
                self._take_up()
            now = self._runtime.now()
            self._report(tick(self._runtime, now, deliver=False))
            self._due.set()
            self._wake_at_next(now)
        except Exception as error:
            # One bad beat must not be the last: say it, tell it once a day, try again.
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        said = self._redactor.text(f"{type(error).__name__}: {error}").splitlines()[0][:300]
        log.error("a beat failed: %s", said)
        now = self._runtime.now()
        try:
            with self._runtime.store.write() as connection:
                key = f"beat:{type(error).__name__}:{now.date()}"
                notices.tell(connection, key, "failed", f"The service met a fault and goes on: {said}", now)
        except Exception as another:
            log.error("and it cannot be noted: %s", type(another).__name__)

    def _wake_at_next(self, now: datetime) -> None:
        moments = []
        for schedule in self._runtime.newsroom.schedules.values():
            if not isinstance(schedule.cadence.rule, (OnNew, OnRequest)):
                moments += [slot.at for slot in next_slots(schedule.cadence, now, 1)]
        with self._runtime.store.read() as connection:
            out = next_out(connection, now)
        moments += [out] if out is not None else []
        if moments:
            self._ticker.wake(min(moments))

    def _report(self, done: Ticked) -> None:
        if done.collected is not None and done.collected.touched:
            new, changed, gone = (
                len(part) for part in (done.collected.new, done.collected.changed, done.collected.gone)
            )
            log.info("content: %d new, %d changed, %d gone", new, changed, gone)
        if done.published is not None and (done.published.written or done.published.removed):
            log.info("public/: %d written, %d removed", len(done.published.written), len(done.published.removed))
        for one in done.composed:
            if one.edition is None:
                log.info("%s: skipped, %s", one.schedule, one.reason)
                continue
            log.info("%s: %s, %d stories", one.edition.name, one.edition.state.value, len(one.edition.stories))
            for hold in one.edition.holds:
                log.warning("%s is held: %s", one.edition.name, hold.detail)

    # -- the watcher's thread -----------------------------------------------------------------------------------------

    def _changed(self, configuration: bool) -> None:
        if configuration:
            self._reload.set()
        self._ticker.wake()

    def _take_up(self) -> None:
        """A changed configuration, between two beats; a broken one changes nothing, and somebody is told."""
        loaded = load_newsroom(self._runtime.root)
        if loaded.newsroom is None:
            said = "\n".join(str(problem) for problem in loaded.problems if problem.level == "error")
            if said != self._refused:
                self._refused = said
                log.warning("the changed configuration is refused, the last good one stays:\n%s", said)
                now = self._runtime.now()
                with self._runtime.store.write() as connection:
                    text = f"A changed configuration is refused, and the last good one stays:\n{said}"
                    notices.tell(connection, f"config:{now.isoformat()}", "refused", text, now)
            return
        self._refused = ""
        # The deliverer gives its leases back after the message on the wire, and goes on with the new settings.
        self._runtime.stop()
        with self._delivering:
            self._runtime.use(loaded.newsroom)
            self._redactor.secrets = loaded.newsroom.secrets
        log.info("the changed configuration is taken up")

    # -- the deliverer's thread ---------------------------------------------------------------------------------------

    def _deliver_on(self) -> None:
        while not self._ending.is_set():
            self._due.wait(_LOOK)
            self._due.clear()
            if self._ending.is_set():
                return
            try:
                with self._delivering:
                    done = self._runtime.deliver()
                    now = self._runtime.now()
                    failed(self._runtime, done, now)
                    if tell(self._runtime, now):
                        self._due.set()
                if done.states:
                    words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in done.states.items())
                    log.info("deliveries: %s", words)
            except Exception as error:
                self._trouble(error)
