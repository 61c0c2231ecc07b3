"""One SMTP session that never waits: messages one after the other, the next envelope behind the final dot.

RFC 5321, with RFC 2920 (PIPELINING) where it is offered: MAIL, RCPT and DATA go in one write, and that write goes with
the end of the message before, so that a message costs one round trip. Without it each command waits for its reply.

What this is for is to know of each message whether its final dot had been sent. Lost before it, the message was
certainly not taken (RFC 5321 §4.1.1.4); lost after it, nobody can know (RFC 1123 §5.3.3).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable

from tidings.channels.smtp_envelope import envelope_of
from tidings.channels.smtp_login import Session, words
from tidings.channels.smtp_work import Mail, Waits, Work
from tidings.model.delivery import Outcome, Verdict

_GOOD = {"dot": b"250", "mail": b"250", "rcpt": b"250", "data": b"354"}
"""The usual reply to each."""
_MOST_BUFFERS = 512
_MOST_REPLY = 1 << 16


class Connection:
    """Give it `feed()` when it `is_idle`, and call `readable` and `writable` as the socket says."""

    def __init__(
        self,
        session: Session,
        host: str,
        work: Work,
        *,
        waits: Waits,
        reached: Callable[[str], None],
        pipelining: bool = True,
    ) -> None:
        """`reached` hears of points on the way; `pipelining` False does without it though it is offered."""
        self.socket = session.socket
        self.socket.setblocking(False)
        self.work = work
        self.ended = 0
        """Messages that were ended on it."""
        self.closed = ""
        """Why it is of no more use; empty while it is."""
        self._host = host
        self._extensions = session.extensions
        self._pipelining = pipelining and "pipelining" in session.extensions
        self._waits = waits
        self._reached = reached
        self._out: list[bytes | memoryview] = []
        self._to_dot = 0
        """Bytes still to be written up to the end of the message on the way."""
        self._size = 0
        self._read = b""
        self._lines: list[bytes] = []
        self._expected: deque[str] = deque()
        self._script: deque[tuple[str, bytes]] = deque()
        self._current: Mail | None = None
        self._coming: Mail | None = None
        self._heard = False
        self._envelope_ok = False
        self._refused: Outcome | None = None
        self._reset = False
        self.deadline = time.monotonic() + waits.command

    @property
    def is_idle(self) -> bool:
        """Nothing is on the way."""
        return not self._expected and not self.closed

    @property
    def wants_to_write(self) -> bool:
        """Something could not be written yet."""
        return bool(self._out)

    # -- what goes out ------------------------------------------------------------------------------------------------

    def feed(self) -> bool:
        """Begin the next message; False if there is none."""
        if not self._next():
            return False
        self.writable()
        return True

    def _next(self) -> bool:
        """Put the envelope of the next message behind what is written."""
        while (mail := self.work.take()) is not None:
            envelope = envelope_of(mail, self._extensions)
            if isinstance(envelope, str):
                self.work.done(mail, self._outcome(Verdict.REJECTED, f"{self._host} {envelope}"))
                continue
            self._coming, self._heard, self._envelope_ok, self._refused = mail, False, False, None
            if self._reset:
                self._reset = False
                envelope.insert(0, ("rset", b"RSET\r\n"))
            if self._pipelining:
                self._out.append(b"".join([command for _, command in envelope]))
                self._expected.extend([kind for kind, _ in envelope])
            else:
                self._script.extend(envelope)
                self._say_next()
            return True
        return False

    def _say_next(self) -> None:
        kind, command = self._script.popleft()
        self._out.append(command)
        self._expected.append(kind)

    def _begin(self, mail: Mail) -> None:
        """The relay waits for the message."""
        if not self.work.begin(mail):
            # It cannot be taken back but by hanging up: the dot alone would be an empty message.
            self._coming = None
            self.ended += 1
            self.work.back(mail)
            self._hang_up("a message was taken back at the last moment")
            return
        self._current, self._coming = mail, None
        self._out.extend(mail.wire)
        self._out.append(b".\r\n")
        self._to_dot = sum(map(len, self._out))
        self._expected.append("dot")
        self._reached("before-dot")
        if self._pipelining:
            self._next()

    def writable(self) -> None:
        """Write as much as the socket takes."""
        try:
            while self._out:
                sent = self._send()
                self.deadline = time.monotonic() + self._waits.command
                if self._to_dot > 0:
                    self._to_dot -= sent
                    if self._to_dot <= 0:
                        self.deadline = time.monotonic() + self._waits.dot
                        self._reached("after-dot")
                self._drop_written(sent)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError as error:
            # The relay may have said why before it hung up.
            self._drain()
            if not self.closed:
                self._lost(error)

    def _send(self) -> int:
        if isinstance(self.socket, ssl.SSLSocket):
            # OpenSSL wants the same bytes again after it could not write them: they are joined once and stay so.
            if len(self._out) > 1:
                self._out = [memoryview(b"".join(self._out))]
            self._size = len(self._out[0])
            return self.socket.send(self._out[0])
        out = self._out if len(self._out) <= _MOST_BUFFERS else self._out[:_MOST_BUFFERS]
        self._size = sum(map(len, self._out))
        return self.socket.sendmsg(out)

    def _drop_written(self, sent: int) -> None:
        out = self._out
        if sent == self._size:
            out.clear()
            return
        done = 0
        for buffer in out:
            if sent < len(buffer):
                break
            sent -= len(buffer)
            done += 1
        del out[:done]
        if sent:
            out[0] = memoryview(out[0])[sent:]

    # -- what comes in ------------------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Read what is there, and go on by it."""
        try:
            while not self.closed:
                data = self.socket.recv(_MOST_REPLY)
                if not data:
                    self._lost(ConnectionError("Connection unexpectedly closed"))
                    return
                self._take_in(data)
                if not isinstance(self.socket, ssl.SSLSocket):
                    break
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._lost(error)
        if not self.closed and self._out:
            self.writable()

    def _drain(self) -> None:
        """Take in what was said before the connection went."""
        with contextlib.suppress(OSError):
            while not self.closed and (data := self.socket.recv(_MOST_REPLY)):
                self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        self.deadline = time.monotonic() + (self._waits.dot if self._dot_is_out else self._waits.command)
        if self._read:
            data = self._read + data
        lines = data.split(b"\n")
        self._read = lines.pop()
        if len(self._read) + sum(map(len, self._lines)) > _MOST_REPLY:
            self._hang_up("its reply has no end")
            return
        for line in lines:
            if line[3:4] == b"-" or self._lines:
                self._lines.append(line)
                if line[3:4] == b"-":
                    continue
                line = b" ".join([line[:3], *[part[4:].strip() for part in self._lines]])
                self._lines = []
            self._reply(line)
            if self.closed:
                return

    @property
    def _dot_is_out(self) -> bool:
        return self._current is not None and self._to_dot <= 0

    def _reply(self, line: bytes) -> None:
        """One reply on one line."""
        expected = self._expected
        if not expected:
            # Unasked: 421 as a rule, when it is about to close an idle connection (RFC 5321 §3.8).
            self._hang_up(words(line))
            return
        kind = expected.popleft()
        code = line[:3]
        if code == _GOOD.get(kind):
            # The usual one, without a detour.
            if kind == "dot":
                if self._to_dot <= 0:
                    self._accepted(line)
                    return
            elif self._refused is None:
                self._heard = True
                if kind == "mail":
                    self._envelope_ok = True
                elif kind == "data":
                    assert self._coming is not None
                    self._begin(self._coming)
                    return
                if not self._pipelining:
                    self._say_next()
                return
        number = int(code) if code.isdigit() else 0
        text = words(line[4:].strip() if number else line)
        if kind == "dot":
            self._not_accepted(number, text)
        elif kind == "rset":
            if number != 250:
                self._hang_up(f"{number} {text} (RSET)")
            elif self._script:
                self._say_next()
        elif kind == "empty":
            self._end_refused()
        else:
            self._step(kind, number, text)

    def _step(self, kind: str, code: int, text: str) -> None:
        """The reply to MAIL, RCPT or DATA of the coming message."""
        self._heard = True
        good = {"mail": (250,), "rcpt": (250, 251), "data": (354,)}[kind]
        if code not in good and self._refused is None:
            if kind == "mail" and code == 421:
                # Not this reader's fault: the relay wants no more of us now.
                mail, self._coming = self._coming, None
                assert mail is not None
                self.work.back(mail)
                self._hang_up(f"{self._host} answered 421 {text}")
                return
            # A sender that is refused is not this reader's fault, and somebody can mend it. RFC 5321 §4.5.3.1.10:
            # 552 to RCPT is a passing state.
            final = kind != "mail" and not (kind == "rcpt" and code == 552)
            verdict = Verdict.REJECTED if final and 500 <= code < 600 else Verdict.DEFERRED
            self._refused = self._outcome(verdict, f"{code} {text} ({kind.upper()})")
            if code == 421 or not 400 <= code < 600:
                self._end_refused()
                self._hang_up(f"{code} {text}")
                return
        if kind == "mail" and code == 250:
            self._envelope_ok = True
        if kind == "data" or (self._refused is not None and not self._pipelining):
            if self._refused is None:
                assert self._coming is not None
                self._begin(self._coming)
            elif kind == "data" and code == 354:
                # RFC 2920 §3.1: it waits for a message though it took no recipient.
                self._out.append(b".\r\n")
                self._expected.append("empty")
            else:
                self._end_refused()
        elif not self._pipelining:
            self._say_next()

    def _end_refused(self) -> None:
        """The coming message does not go; the next one may."""
        mail, refused = self._coming, self._refused
        self._coming = self._refused = None
        self._script.clear()
        self._reset = self._envelope_ok
        self.ended += 1
        if mail is not None and refused is not None:
            self.work.done(mail, refused)
        if not self._expected and not self.closed:
            self._next()

    def _accepted(self, line: bytes) -> None:
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.ended += 1
        self.work.done(mail, Outcome(Verdict.ACCEPTED, words(line[4:]), self._host))
        if self._coming is None and not self._expected:
            self._next()

    def _not_accepted(self, code: int, text: str) -> None:
        early = self._to_dot > 0
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.ended += 1
        reason = f"{code} {text} (end of message)" if code else f"{text} (end of message)"
        verdict = Verdict.REJECTED if 500 <= code < 600 else Verdict.DEFERRED
        if not 400 <= code < 600:
            verdict = Verdict.UNKNOWN
        self.work.done(mail, self._outcome(verdict, reason))
        if early or code == 421 or not 400 <= code < 600:
            # Refused in mid-message: what we would still write would be taken for commands.
            self._hang_up(reason)
        elif self._coming is None and not self._expected:
            self._next()

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _outcome(self, verdict: Verdict, reason: str) -> Outcome:
        return Outcome(verdict, via=self._host, reason=reason)

    def _lost(self, error: object) -> None:
        """The connection is gone: what was on it ends as far as can be known."""
        current, coming, refused = self._current, self._coming, self._refused
        self._current = self._coming = self._refused = None
        said = words(error)
        if current is not None:
            if self._to_dot <= 0:
                reason = f"the connection to {self._host} was lost after the message, before its reply: {said}"
                self.work.done(current, self._outcome(Verdict.UNKNOWN, reason))
            else:
                reason = f"the connection to {self._host} was lost before the end of the message: {said}"
                self.work.done(current, self._outcome(Verdict.DEFERRED, reason))
        if coming is not None:
            if refused is not None:
                self.work.done(coming, refused)
            elif not self._heard and (self.ended or current is not None):
                # The relay had closed a connection that we kept: it never looked at this one.
                self.work.back(coming)
            else:
                step = self._expected[0].upper() if self._expected else "DATA"
                reason = f"the connection to {self._host} was lost at {step}: {said}"
                self.work.done(coming, self._outcome(Verdict.DEFERRED, reason))
        self._shut(said)

    def _hang_up(self, why: str) -> None:
        self._lost(why)

    def _shut(self, why: str) -> None:
        self.closed = self.closed or why or "closed"
        self._expected.clear()
        self._script.clear()
        self._out.clear()
        with contextlib.suppress(OSError):
            self.socket.close()

    def end(self, why: str) -> None:
        """End it now, whatever is on it."""
        if not self.closed:
            self._lost(why)

    def quit(self) -> None:
        """Say goodbye and close. Only when idle."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self.socket.settimeout(2.0)
                self.socket.sendall(b"QUIT\r\n")
                self.socket.recv(512)
            self._shut("we said goodbye")
