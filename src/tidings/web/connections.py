"""Limits for HTTP connections, and fast answers from memory for files that many clients request.

The number of connections is limited, and the time for sending a request and for reading an answer. uvicorn limits
neither, so idle connections of one client could use up the file descriptors that sending needs.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tidings.web.site.static_files import RawAnswer, StaticFiles

MOST = 500
"""The most connections. A new one closes the oldest whose client is slow."""
MOST_PIPELINED = 16
"""The most requests that a connection may send before its first answer. uvicorn would keep thousands in memory."""
KEPT_DESCRIPTORS = 250
"""File descriptors that are reserved for sending, the store and files."""
WANTED_DESCRIPTORS = 8_192
LARGEST_HEAD = 65_536
"""Largest head of a request in bytes: httptools has no limit."""
HEAD_SECONDS = 10.0
"""Seconds for the head of a request, from the connection or its first byte."""
BODY_SECONDS = 60.0
LAST_BODY_SECONDS = 3.0
"""Seconds for the rest of a body when the server stops: fewer than the service waits for its requests."""
STALL_SECONDS = 60.0
"""Seconds after which a client that reads nothing of its answer is disconnected."""
SENDING_SHARE = 0.05
"""The part of a core that the pages may use while this process sends."""
SENDING_RESERVE = 0.05
"""Seconds of a core that they may save up for it: hundreds of answers from memory at once."""
LONGEST_PAUSE = 0.1
"""Seconds for which all connections wait at once at most."""


class PageThrottle:
    """A limit for the CPU time of the pages' thread while this process sends.

    Threads of one process share Python's lock and often a core, so a burst of requests would slow the sending. Requests
    are not refused: they wait in the buffers of their connections.
    """

    def __init__(
        self,
        is_sending: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`used` returns the CPU seconds of the calling thread."""
        self.is_sending = is_sending
        self._clock, self._used, self._sleep = clock, used, sleep
        self._last: tuple[float, float] | None = None
        """Time and CPU time of the last call; None if nothing was sent then."""
        self._saved = 0.0

    def wait(self) -> None:
        """Sleep if the thread has used more than its share. The pages' thread calls this before each piece of work."""
        if not self.is_sending():
            self._last = None
            return
        now, used = self._clock(), self._used()
        if self._last is None:
            self._saved = SENDING_RESERVE
        else:
            earned = (now - self._last[0]) * SENDING_SHARE
            self._saved = min(self._saved + earned - (used - self._last[1]), SENDING_RESERVE)
        self._last = now, used
        if self._saved < 0:
            # The rest of a single long piece of work is forgotten, so that no reader waits for seconds.
            pause = min(-self._saved / SENDING_SHARE, LONGEST_PAUSE)
            self._saved = -pause * SENDING_SHARE
            self._sleep(pause)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with these limits. `most` may be changed before the server starts.

    If the application's state has `files`, an answer that they have in memory is sent without a task. If it has a
    `throttle`, connections keep to it.
    """

    most = MOST
    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS
    last_body_seconds = LAST_BODY_SECONDS
    stall_seconds = STALL_SECONDS

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._began = self.loop.time()
        self._waits_for = ""
        self._is_in_body = False
        self._head_size = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._answered: Mapping[str, Any] | None = None
        """The scope of a request that was answered from memory."""
        state = getattr(self.config.app, "state", None)
        self._files: StaticFiles | None = getattr(state, "files", None)
        self._throttle: PageThrottle | None = getattr(state, "throttle", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wait_for_turn()
        super().connection_made(transport)
        if len(self.connections) > self.most and not self._make_room():
            transport.abort()
            return
        self._watch()

    def _make_room(self) -> bool:
        """If there are too many connections, close the oldest whose client is slow. Returns False if none is slow.

        A slow client sends no head, does not finish its body, or does not read its answer.
        """
        there = [each for each in self.connections if isinstance(each, BoundedProtocol)]
        there = [each for each in there if not each.transport.is_closing()]
        if len(there) <= self.most:
            return True
        slow = [each for each in there if each._waits_for or each._stall is not None]
        if slow:
            min(slow, key=lambda each: each._began).transport.abort()
        return bool(slow)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._end_stall()
        super().connection_lost(exc)

    def _wait_for_turn(self) -> None:
        if self._throttle is not None:
            self._throttle.wait()

    def data_received(self, data: bytes) -> None:
        self._wait_for_turn()
        is_first = self._waits_for == "head" and not self._head_size and self._can_answer()
        if is_first and self._files is not None and (answer := self._files.answer_again(data)) is not None:
            self._send(answer)
            return
        self._answered = None
        if not self._is_in_body:
            self._head_size += len(data)
        super().data_received(data)
        if is_first and self._answered is not None and self._files is not None and not self._is_in_body:
            self._files.keep_request(data, self._answered)
        if self._head_size > LARGEST_HEAD and not self._is_in_body and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        self._watch()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
            raise ConnectionAbortedError  # ends the parser, which has more requests to read
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._head_size = 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Each queued request gets a task of its own: answering them from here would recurse without limit.
        is_usual = app is self.app and cycle.keep_alive and self._can_answer()
        answer = self._files.answer_at_once(cycle.scope) if is_usual and self._files is not None else None
        if answer is None:
            super()._start_asgi_task(cycle, app)
            return
        cycle.response_started = cycle.response_complete = True
        self._answered = cycle.scope
        self._send(answer)

    def _can_answer(self) -> bool:
        return not self.flow.write_paused and not self.pipeline

    def _send(self, answer: RawAnswer) -> None:
        """Send an answer from memory, and wait for the next request."""
        date = [b"%b: %b\r\n" % line for line in self.server_state.default_headers]
        self.transport.write(b"".join((answer.head, *date, b"\r\n", answer.content)))
        self.server_state.total_requests += 1
        # The time limit for the next request counts: a timer of uvicorn for each answer costs more than the answer.
        self._unset_keepalive_if_required()
        self._began = self.loop.time()
        self._deadline = self._began + self.head_seconds
        if self.transport.get_write_buffer_size():
            self._begin_stall()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def shutdown(self) -> None:
        """End the connection, also in a body that is not complete soon: uvicorn would log a traceback."""
        super().shutdown()
        if self._waits_for == "body":
            self._deadline = min(self._deadline, self.loop.time() + self.last_body_seconds)
            self._set_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._began = self.loop.time()
        self._watch()
        # The rest of the answer is in the buffer of the transport: the client must read it in time.
        if self.transport.get_write_buffer_size():
            self._begin_stall()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._begin_stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_stall()

    def _watch(self) -> None:
        """Start or stop the time limit for the next request. More bytes of the same request do not restart it."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        self._wait_for("body" if self._is_in_body else "" if is_answering else "head")

    def _wait_for(self, what: str) -> None:
        if what == self._waits_for:
            return
        self._waits_for = what
        self._deadline = self.loop.time() + (self.head_seconds if what == "head" else self.body_seconds)
        # A timer that fires too early is set again then: two timers a request would cost more than its answer.
        if what and (self._timer is None or self._timer.when() > self._deadline):
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._waits_for and self.loop.time() < self._deadline:
            self._set_timer()
        elif self._waits_for:
            self.transport.abort()

    def _begin_stall(self) -> None:
        self._end_stall()
        self._stall = self.loop.call_later(self.stall_seconds, self._end_if_stalled)

    def _end_if_stalled(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


def bound_connections() -> type[BoundedProtocol]:
    """Raise this process's limit of file descriptors as far as allowed, and return a protocol whose limits fit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    most = MOST if soft == resource.RLIM_INFINITY else max(20, min(MOST, soft - KEPT_DESCRIPTORS))
    return type("BoundedProtocol", (BoundedProtocol,), {"most": most})
