"""One mail relay over several connections that are kept, all in one thread."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from tidings.channels.smtp.connection import Connection
from tidings.channels.smtp.login import Login, NotReadyError, Session, open_session
from tidings.channels.smtp.port import Mail, MailQueue, Timeouts
from tidings.channels.smtp.protocol import end_lines_with_crlf
from tidings.config.adapters import SenderSettings
from tidings.config.dkim import Dkim
from tidings.config.types import Bool, Int, Line, NestedValueError
from tidings.model.delivery import Outcome, Verdict
from tidings.model.tokens import RETURN_TOKEN_LENGTH

_LOOK = 1.0
"""Seconds between two looks at who has waited for too long."""
_SETTLES = 0.02
"""Seconds between two questions to the queue while every connection is at work."""
_VAIN = 3
"""A connection that was opened so many times and carried nothing is not opened again."""

# RFC 5321 §4.5.3.1.1.
_MAX_LOCAL_PART = 64


class Settings(SenderSettings):
    """`type: smtp`."""

    host: Line = Field(description="SMTP host.")
    port: Int = Field(default=25, ge=1, le=65535, description="SMTP port.")
    security: Literal["none", "starttls", "tls"] = Field(default="starttls", description="none, starttls or tls.")
    username: Line | None = Field(default=None, description="Login, if the host wants one.")
    password: SecretStr | None = Field(default=None, description="Password: {env: NAME} or {file: PATH}.")
    verp: Bool = Field(
        default=True,
        description="Bounces come back to return_path with a signed token behind a plus sign, such as"
        " bounces+TOKEN@example.org. false: for a host that takes no such addresses.",
    )
    dkim: Dkim | None = Field(default=None, description="Signs every message, where the host does not.")

    @model_validator(mode="after")
    def _has_room(self) -> Settings:
        local = (self.return_path or "").rpartition("@")[0]
        if self.verp and len(local) + 1 + RETURN_TOKEN_LENGTH > _MAX_LOCAL_PART:
            most = _MAX_LOCAL_PART - 1 - RETURN_TOKEN_LENGTH
            raise NestedValueError(
                f"at most {most} characters before the @, so that a token fits behind; or write `verp: false`",
                "return_path",
            )
        return self

    @property
    def name(self) -> str:
        """By default the host."""
        return self.name_ or self.host.lower()

    @property
    def target_host(self) -> str:
        """The host."""
        return self.host


class SmtpRelay:
    """Connects when first needed, and again when the relay has closed. For one thread, but for `wake` and `abort`."""

    def __init__(
        self,
        login: Login,
        *,
        timeouts: Timeouts | None = None,
        pipelining: bool = True,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """`reached` hears of points on the way; `pipelining` False does without it though it is offered."""
        self.host = login.host
        self._login = login
        self._timeouts = timeouts or Timeouts(command=login.timeout)
        self._pipelining = pipelining
        self._reached = reached
        self._kept: list[Connection] = []
        self._inbox, self._outbox = socket.socketpair()
        self.inbox = self._inbox.fileno()
        """The descriptor by which `wake` comes."""
        self._inbox.setblocking(False)
        self._outbox.setblocking(False)
        self._sleeping = False
        self._aborted = False
        self._closed = False
        self._mutex = threading.Lock()
        self._opened: deque[Session | str] = deque()
        self._opening = 0

    def wake(self) -> None:
        """From another thread: there may be more to take."""
        if self._sleeping:
            with contextlib.suppress(OSError):
                self._outbox.send(b"x")

    def abort(self) -> None:
        """From another thread: end what is on the wire now. A message after its dot is in doubt then."""
        self._aborted = True
        with contextlib.suppress(OSError):
            self._outbox.send(b"x")

    def close(self) -> None:
        """Say goodbye to the connections that are kept."""
        with self._mutex:
            self._closed = True
        for connection in [*self._kept, *self.opened(_One("", "", ()))]:
            if isinstance(connection, Connection):
                connection.quit()
        self._kept.clear()
        self._inbox.close()
        self._outbox.close()

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over to one recipient, and wait for what becomes of it."""
        queue = _One(sender, recipient, (end_lines_with_crlf(data),))
        self.send_all(queue, connections=1)
        assert queue.outcome is not None
        return queue.outcome

    def send_all(self, queue: MailQueue, *, connections: int) -> None:
        """Hand over all that the queue has, over at most so many connections at once."""
        run = _Run(self, queue, connections)
        try:
            run.go()
        finally:
            self._kept = run.let_go()

    # -- connections --------------------------------------------------------------------------------------------------

    def open_one(self) -> None:
        """Open a session beside the work; it comes by `opened`."""

        def work() -> None:
            try:
                found: Session | str = open_session(self._login)
            except NotReadyError as error:
                found = str(error)
            with self._mutex:
                if not self._closed:
                    self._opened.append(found)
                elif isinstance(found, Session):
                    found.socket.close()
            with contextlib.suppress(OSError):
                self._outbox.send(b"x")

        self._opening += 1
        threading.Thread(target=work, name=f"connect-{self.host}", daemon=True).start()

    def opened(self, queue: MailQueue) -> list[Connection | str]:
        """Sessions that have come since, or why they have not."""
        found: list[Connection | str] = []
        while self._opened:
            session = self._opened.popleft()
            self._opening -= 1
            found.append(session if isinstance(session, str) else self._connection(session, queue))
        return found

    def _connection(self, session: Session, queue: MailQueue) -> Connection:
        return Connection(
            session, self.host, queue, timeouts=self._timeouts, reached=self._reached, pipelining=self._pipelining
        )

    def kept(self, queue: MailQueue) -> list[Connection]:
        """Connections of an earlier run that still stand, also those that came too late for it; why one did not come
        then says nothing of now."""
        found = []
        late = [one for one in self.opened(queue) if isinstance(one, Connection)]
        for connection in [*self._kept, *late]:
            connection.queue = queue
            # Nothing is awaited: if there is something to read, it is a goodbye.
            connection.readable()
            if not connection.closed:
                found.append(connection)
        self._kept = []
        return found

    @property
    def opening(self) -> int:
        """Sessions that are being opened."""
        return self._opening

    @property
    def is_aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def wait(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """Until something happens, or `wake`."""
        self._sleeping = True
        try:
            events = poll.poll(max(0.0, seconds) * 1000)
        finally:
            self._sleeping = False
        if any(fd == self.inbox for fd, _ in events):
            with contextlib.suppress(BlockingIOError):
                while self._inbox.recv(4096):
                    pass
        return events


class _Run:
    """One queue from its beginning to its end."""

    def __init__(self, relay: SmtpRelay, queue: MailQueue, most: int) -> None:
        self._relay = relay
        self._queue = queue
        self._most = most
        self._poll = select.poll()
        self._poll.register(relay.inbox, select.POLLIN)
        self._live: dict[int, Connection] = {}
        self._vain = 0
        self._why = ""
        self._looked = 0.0
        self._fed = 0.0

    def go(self) -> None:
        """Until the queue is over and nothing is on the way."""
        relay, queue = self._relay, self._queue
        for connection in relay.kept(queue):
            self._add(connection)
        seconds = 0.0
        while True:
            for found in relay.opened(queue):
                if isinstance(found, str):
                    # Not again in this run: a wrong password said often locks the account.
                    self._vain, self._why = _VAIN, found
                else:
                    self._add(found)
            if relay.is_aborted:
                for connection in self._live.values():
                    connection.end("stopping")
            live = self._live.values()
            full = len(live) == self._most and not any(one.is_idle or one.closed for one in live)
            # While all are at work it is only asked now and then.
            if not full or time.monotonic() - self._fed > _SETTLES:
                rest = self._feed()
                if rest is None and all(connection.is_idle for connection in live):
                    return
                if rest is not None and rest <= 0 and not live and not relay.opening:
                    queue.stall("stopping" if relay.is_aborted else self._why)
                    return
                seconds = _LOOK if rest is None or rest <= 0 else min(_LOOK, rest)
            self._turn(seconds)

    def _feed(self) -> float | None:
        """Give every idle connection a message, and open more while there are more."""
        self._fed = time.monotonic()
        rest = self._queue.seconds_until_next()
        ready = []
        for fd, connection in list(self._live.items()):
            if connection.is_idle and rest is not None and rest <= 0:
                connection.feed()
                # Though it gave nothing: it may have learnt when the next one may go.
                rest = self._queue.seconds_until_next()
            if self._stays(fd, connection) and connection.is_ready:
                ready.append((fd, connection))
        self._begin(ready)
        if rest is not None and rest <= 0 and not self._relay.is_aborted and self._vain < _VAIN:
            # The first one alone: whether it can be had at all shows there. Then the others, all at once.
            most = self._most if self._live else 1
            for _ in range(most - len(self._live) - self._relay.opening):
                self._relay.open_one()
        return rest

    def _turn(self, seconds: float) -> None:
        """Wait for something to happen, and do what follows from it: first all is read, then all is written."""
        self._queue.flush_outcomes()
        live = self._live
        ready = []
        for fd, event in self._relay.wait(self._poll, seconds):
            connection = live.get(fd)
            if connection is None:
                continue
            if event & ~select.POLLOUT:
                connection.readable()
            elif event & select.POLLOUT:
                connection.writable()
            if connection.is_ready:
                ready.append((fd, connection))
            elif connection.closed or bool(connection.out) != connection.is_watched_for_writing:
                self._stays(fd, connection)
        self._begin(ready)
        now = time.monotonic()
        if now - self._looked >= _LOOK / 4:
            self._looked = now
            for fd, connection in list(live.items()):
                if not connection.is_idle and connection.deadline < now:
                    # Its reply may have come while the ledger was waited for.
                    connection.readable()
                    if not connection.is_idle and connection.deadline < now:
                        connection.end("timed out")
                    self._stays(fd, connection)

    def _begin(self, ready: list[tuple[int, Connection]]) -> None:
        """Messages for which the relay waits, all announced at once."""
        while ready:
            for _, connection in ready:
                connection.look_ahead()
            may_go = self._queue.begin([one.coming for _, one in ready if one.coming is not None])
            # Between announcing and sending nothing is taken, for that may wait: first those that go, then the others.
            for may in (True, False):
                for (_, connection), one in zip(ready, may_go, strict=True):
                    if one is may:
                        connection.go(may)
            again = []
            for fd, connection in ready:
                if connection.is_ready:
                    again.append((fd, connection))
                elif connection.closed or bool(connection.out) != connection.is_watched_for_writing:
                    self._stays(fd, connection)
            ready = again

    def _add(self, connection: Connection) -> None:
        self._live[connection.socket.fileno()] = connection
        self._stays(connection.socket.fileno(), connection)

    def _stays(self, fd: int, connection: Connection) -> bool:
        """Watch it for what it waits for; False, and it is dropped, if it is closed."""
        if connection.closed:
            if self._live.pop(fd, None) is not None:
                self._poll.unregister(fd)
                self._why = connection.closed
                self._vain = 0 if connection.ended else self._vain + 1
            return False
        connection.is_watched_for_writing = bool(connection.out)
        self._poll.register(fd, select.POLLIN | select.POLLOUT if connection.out else select.POLLIN)
        return True

    def let_go(self) -> list[Connection]:
        """Connections that may be used again; whatever else is on the way ends here."""
        for connection in self._live.values():
            if not connection.is_idle:
                connection.end("stopping")
        return [connection for connection in self._live.values() if not connection.closed]


@dataclass
class _One:
    """A single message as an queue."""

    sender: str
    recipient: str
    wire: Sequence[bytes]
    is_plain: bool = False
    outcome: Outcome | None = None
    _taken: bool = False

    def take(self) -> Mail | None:
        """It, once."""
        if self._taken:
            return None
        self._taken = True
        return self

    def begin(self, mails: Sequence[Mail]) -> Sequence[bool]:
        """Always."""
        return [True] * len(mails)

    def record_accepted(self, mail: Mail, receipt: str, via: str) -> None:
        """Its outcome."""
        self.outcome = Outcome(Verdict.ACCEPTED, receipt, via)

    def record_outcome(self, mail: Mail, outcome: Outcome) -> None:
        """Its outcome."""
        self.outcome = outcome

    def give_back(self, mail: Mail) -> None:
        """Once more."""
        self._taken = False

    def seconds_until_next(self) -> float | None:
        """At once, or over."""
        return None if self._taken else 0.0

    def flush_outcomes(self) -> None:
        """It is kept nowhere."""

    def stall(self, reason: str) -> None:
        """Nothing of it was handed over."""
        self.outcome = Outcome(Verdict.NOT_STARTED, reason=reason)


def make(settings: Settings, *, reached: Callable[[str], None] = lambda point: None) -> SmtpRelay:
    """The relay; it connects when first needed. `reached` hears of points on the way."""
    password = settings.password.get_secret_value() if settings.password else ""
    login = Login(settings.host, settings.port, settings.security, settings.username or "", password)
    return SmtpRelay(login, reached=reached)
