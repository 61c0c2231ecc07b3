"""A mail relay by SMTP: its settings, and its transport over several kept connections, all in one thread."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from tidings.channels.smtp.connection import Connection
from tidings.channels.smtp.login import Login, NotReadyError, Session, open_session, quit_session
from tidings.channels.smtp.protocol import MailQueue, Timeouts
from tidings.config.adapters import SenderSettings
from tidings.config.dkim import Dkim
from tidings.config.types import Bool, Int, IpAddresses, Line, NestedValueError
from tidings.model.tokens import RETURN_TOKEN_LENGTH

_MAX_WAIT = 1.0
"""Seconds. Timeouts are checked four times as often."""
_BUSY_WAIT = 0.02
"""Seconds between two questions to the queue while every connection is busy."""
_MAX_USELESS = 3
"""Connections in a row without a message, after which no more are opened."""
_MAX_LOCAL_PART = 64
"""Characters before the @ (RFC 5321 §4.5.3.1.1)."""


class Settings(SenderSettings):
    """`type: smtp`."""

    host: Line = Field(description="SMTP host.")
    port: Int = Field(default=25, ge=1, le=65535, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(default="starttls", description="none, starttls or tls.")
    username: Line | None = Field(default=None, description="Login, if the host asks for one.")
    password: SecretStr | None = Field(default=None, description="Password: {env: NAME} or {file: PATH}.")
    verp: Bool = Field(
        default=True,
        description="Bounces come back to return_path with a signed token after a plus sign, such as"
        " bounces+TOKEN@example.org. false: for a host that does not take such addresses.",
    )
    dkim: Dkim | None = Field(default=None, description="Signs every message, if the host does not.")
    sends_from: IpAddresses = Field(
        default=(),
        description="IP addresses from which the host passes mail on, for `tidings doctor`; default: its own.",
    )

    @model_validator(mode="after")
    def _token_fits(self) -> Settings:
        local = (self.return_path or "").rpartition("@")[0]
        if self.verp and len(local) + 1 + RETURN_TOKEN_LENGTH > _MAX_LOCAL_PART:
            room = _MAX_LOCAL_PART - 1 - RETURN_TOKEN_LENGTH
            reason = f"at most {room} characters before the @, so that a token has room; or write `verp: false`"
            raise NestedValueError(reason, "return_path")
        return self

    @property
    def name(self) -> str:
        return self.name_ or self.host.lower()

    @property
    def target_host(self) -> str:
        return self.host


class SmtpRelay:
    """Connects when needed, and again when the relay has closed. For one thread, except for `wake` and `abort`."""

    def __init__(
        self,
        login: Login,
        *,
        timeouts: Timeouts | None = None,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """`reached` is called at points on the way, for tests of crashes."""
        self.host = login.host
        self._login = login
        self._timeouts = timeouts or Timeouts(command=login.timeout)
        self._reached = reached
        self._kept: list[Connection] = []
        self._wake_reader, self._wake_writer = socket.socketpair()
        self.wake_descriptor = self._wake_reader.fileno()
        """Becomes readable when `wake` or `abort` is called, or a session was opened."""
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._is_sleeping = False
        self.is_aborted = False
        self._is_closed = False
        self._mutex = threading.Lock()
        self._opened: deque[Session | str] = deque()
        self.opening = 0
        """Sessions that are being opened."""

    def wake(self) -> None:
        """Tell it from another thread that the queue may have more."""
        if self._is_sleeping:
            with contextlib.suppress(OSError):
                self._wake_writer.send(b"x")

    def abort(self) -> None:
        """End all transfers at once, from another thread. A message after its dot is in doubt then."""
        self.is_aborted = True
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"x")

    def close(self) -> None:
        """Send QUIT on the connections that are kept."""
        with self._mutex:
            self._is_closed = True
        for session in self._opened:
            if isinstance(session, Session):
                quit_session(session.socket)
        for connection in self._kept:
            connection.quit()
        self._kept.clear()
        self._wake_reader.close()
        self._wake_writer.close()

    def send_all(self, queue: MailQueue, *, connections: int) -> None:
        """Send all that the queue has, over a limited number of connections."""
        run = _QueueRun(self, queue, connections)
        try:
            run.send_all()
        finally:
            self._kept = run.close()

    # -- connections --------------------------------------------------------------------------------------------------

    def open_connection(self) -> None:
        """Open a session in a thread of its own; `take_opened` returns it."""

        def work() -> None:
            try:
                session: Session | str = open_session(self._login)
            except NotReadyError as error:
                session = str(error)
            with self._mutex:
                if not self._is_closed:
                    self._opened.append(session)
                elif isinstance(session, Session):
                    session.socket.close()
            with contextlib.suppress(OSError):
                self._wake_writer.send(b"x")

        self.opening += 1
        threading.Thread(target=work, name=f"connect-{self.host}", daemon=True).start()

    def take_opened(self, queue: MailQueue) -> list[Connection | str]:
        """Return the connections that were opened since, or why one was not."""
        connections: list[Connection | str] = []
        while self._opened:
            session = self._opened.popleft()
            self.opening -= 1
            if isinstance(session, Session):
                connection = Connection(session, self.host, queue, timeouts=self._timeouts, reached=self._reached)
                connections.append(connection)
            else:
                connections.append(session)
        return connections

    def take_kept(self, queue: MailQueue) -> list[Connection]:
        """Return connections of an earlier run that are still open, also those that were opened too late for it."""
        connections = []
        # The reason why one was not opened then says nothing about now.
        late = [connection for connection in self.take_opened(queue) if isinstance(connection, Connection)]
        for connection in [*self._kept, *late]:
            connection.queue = queue
            # No reply is expected: if there is something to read, the relay closes the connection.
            connection.on_readable()
            if not connection.closed:
                connections.append(connection)
        self._kept = []
        return connections

    def wait(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """Wait for an event on a socket, or for `wake`."""
        self._is_sleeping = True
        try:
            events = poll.poll(max(0.0, seconds) * 1000)
        finally:
            self._is_sleeping = False
        if any(fd == self.wake_descriptor for fd, _ in events):
            with contextlib.suppress(BlockingIOError):
                while self._wake_reader.recv(4096):
                    pass
        return events


class _QueueRun:
    """Sends one queue from beginning to end."""

    def __init__(self, relay: SmtpRelay, queue: MailQueue, max_connections: int) -> None:
        self._relay = relay
        self._queue = queue
        self._max_connections = max_connections
        self._poll = select.poll()
        self._poll.register(relay.wake_descriptor, select.POLLIN)
        self._connections: dict[int, Connection] = {}
        self._useless = 0
        """Connections in a row that carried nothing."""
        self._reason = ""
        """Why the last connection ended."""
        self._checked_at = 0.0
        self._fed_at = 0.0

    def send_all(self) -> None:
        """Send until the queue is empty and every transfer has ended."""
        relay, queue = self._relay, self._queue
        for connection in relay.take_kept(queue):
            self._add(connection)
        seconds = 0.0
        while True:
            for opened in relay.take_opened(queue):
                if isinstance(opened, str):
                    # Not again in this run: a wrong password that is sent often locks the account.
                    self._useless, self._reason = _MAX_USELESS, opened
                else:
                    self._add(opened)
            connections = self._connections.values()
            if relay.is_aborted:
                for connection in connections:
                    connection.abort("stopping", is_ours=True)
            is_full = len(connections) == self._max_connections and not any(
                connection.is_idle or connection.closed for connection in connections
            )
            # While all connections are busy the queue is asked only now and then.
            if not is_full or time.monotonic() - self._fed_at > _BUSY_WAIT:
                rest = self._feed()
                if rest is None and all(connection.is_idle for connection in connections):
                    return
                if rest is not None and rest <= 0 and not connections and not relay.opening:
                    queue.stall("stopping" if relay.is_aborted else self._reason)
                    return
                seconds = _MAX_WAIT if rest is None or rest <= 0 else min(_MAX_WAIT, rest)
            self._handle_events(seconds)

    def _feed(self) -> float | None:
        """Give every idle connection a message, and open more while there are more. Return the queue's wait."""
        self._fed_at = time.monotonic()
        rest = self._queue.seconds_until_next()
        ready = []
        for fd, connection in list(self._connections.items()):
            if connection.is_idle and rest is not None and rest <= 0:
                connection.start_next()
                # Even if there was no message, the queue may know better now when the next one may go.
                rest = self._queue.seconds_until_next()
            if self._watch(fd, connection) and connection.is_ready:
                ready.append((fd, connection))
        self._begin(ready)
        if rest is not None and rest <= 0 and not self._relay.is_aborted and self._useless < _MAX_USELESS:
            # The first one goes alone, to see if the relay can be reached. Then all others at once.
            wanted = self._max_connections if self._connections else 1
            for _ in range(wanted - len(self._connections) - self._relay.opening):
                self._relay.open_connection()
        return rest

    def _handle_events(self, seconds: float) -> None:
        """Wait for events. All that has arrived is read first, then the next messages are written."""
        self._queue.flush_outcomes()
        connections = self._connections
        ready = []
        for fd, event in self._relay.wait(self._poll, seconds):
            connection = connections.get(fd)
            if connection is None:
                continue
            if event & ~select.POLLOUT:
                connection.on_readable()
            elif event & select.POLLOUT:
                connection.on_writable()
            if connection.is_ready:
                ready.append((fd, connection))
            elif connection.closed or bool(connection.out) != connection.is_watched_for_writing:
                self._watch(fd, connection)
        self._begin(ready)
        now = time.monotonic()
        if now - self._checked_at >= _MAX_WAIT / 4:
            self._checked_at = now
            for fd, connection in list(connections.items()):
                if not connection.is_idle and connection.deadline < now:
                    # Its reply may have come while we waited for the ledger.
                    connection.on_readable()
                    if not connection.is_idle and connection.deadline < now:
                        connection.abort("timed out")
                    self._watch(fd, connection)

    def _begin(self, ready: list[tuple[int, Connection]]) -> None:
        """Announce all messages for which the relay waits at once, and send their bodies."""
        while ready:
            for _, connection in ready:
                connection.prefetch()
            mails = [connection.next_mail for _, connection in ready if connection.next_mail is not None]
            permissions = self._queue.begin(mails)
            # Nothing is taken from the queue between announcing and sending, because that may wait. So those that are
            # permitted go first, then the others.
            for wanted in (True, False):
                for (_, connection), is_permitted in zip(ready, permissions, strict=True):
                    if is_permitted is wanted:
                        connection.send_body(is_permitted)
            again = []
            for fd, connection in ready:
                if connection.is_ready:
                    again.append((fd, connection))
                elif connection.closed or bool(connection.out) != connection.is_watched_for_writing:
                    self._watch(fd, connection)
            ready = again

    def _add(self, connection: Connection) -> None:
        self._connections[connection.socket.fileno()] = connection
        self._watch(connection.socket.fileno(), connection)

    def _watch(self, fd: int, connection: Connection) -> bool:
        """Watch a connection for the events that it waits for. If it is closed, drop it and return False."""
        if connection.closed:
            if self._connections.pop(fd, None) is not None:
                self._poll.unregister(fd)
                self._reason = connection.closed
                self._useless = 0 if connection.finished else self._useless + 1
            return False
        connection.is_watched_for_writing = bool(connection.out)
        self._poll.register(fd, select.POLLIN | select.POLLOUT if connection.out else select.POLLIN)
        return True

    def close(self) -> list[Connection]:
        """End every transfer, and return the connections that can be used again."""
        for connection in self._connections.values():
            if not connection.is_idle:
                connection.abort("stopping", is_ours=True)
        return [connection for connection in self._connections.values() if not connection.closed]


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> SmtpRelay:
    """Make the relay. It connects when first needed."""
    password = settings.password.get_secret_value() if settings.password else ""
    login = Login(settings.host, settings.port, settings.security, settings.username or "", password)
    return SmtpRelay(login, reached=reached)
