"""One SMTP session that never waits: messages one after the other, the next envelope behind the end of the last.

RFC 5321, with RFC 2920 (PIPELINING) where it is offered: MAIL, RCPT and DATA go in one write, and that write goes with
the end of the message before, so that a message costs one round trip. With RFC 3030 (CHUNKING) too, BDAT takes the
place of DATA and its dot. Without PIPELINING each command waits for its reply.

What this is for is to know of each message whether its end had been sent. Lost before it, the message was certainly not
taken (RFC 5321 §4.1.1.4, RFC 3030 §2); lost after it, nobody can know (RFC 1123 §5.3.3).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable

from tidings.channels.smtp.login import Session, shorten_reply
from tidings.channels.smtp.port import Mail, MailQueue, Timeouts
from tidings.channels.smtp.protocol import MAX_REPLY, ReplyReader, WriteBuffer, escape_dots, make_envelope
from tidings.model.delivery import Outcome, Verdict

_ENVELOPE = {True: ["mail", "rcpt"], False: ["mail", "rcpt", "data"]}
"""What is asked before a message, with CHUNKING and without."""
_USUAL = {
    ("mail", "rcpt"): [b"250 ", b"250 ", b""],
    ("end", "mail", "rcpt"): [b"250 ", b"250 ", b"250 ", b""],
    ("mail", "rcpt", "data"): [b"250 ", b"250 ", b"354 ", b""],
    ("end", "mail", "rcpt", "data"): [b"250 ", b"250 ", b"250 ", b"354 ", b""],
    ("end",): [b"250 ", b""],
}
"""How the lines begin when all that is expected comes at once and is good; `end` is the final dot, or BDAT LAST."""


class Connection:
    """Give it `feed()` when it `is_idle`, `go()` when it `is_ready`; call `readable`, `writable` as the socket says."""

    def __init__(
        self,
        session: Session,
        host: str,
        queue: MailQueue,
        *,
        timeouts: Timeouts,
        reached: Callable[[str], None],
        pipelining: bool = True,
    ) -> None:
        """`reached` hears of points on the way; `pipelining` False does without it though it is offered."""
        self.socket = session.socket
        self.socket.setblocking(False)
        self.queue = queue
        self.ended = 0
        """Messages that were ended on it."""
        self.closed = ""
        """Why it is of no more use; empty while it is."""
        self.is_watched_for_writing = False
        self.is_ready = False
        """The relay waits for the body of `coming`: begin it, and `go`."""
        self.coming: Mail | None = None
        """Its envelope was said."""
        self._host = host
        self._extensions = session.extensions
        self._is_tls = isinstance(session.socket, ssl.SSLSocket)
        self._pipelining = pipelining and "pipelining" in session.extensions
        self._chunking = self._pipelining and "chunking" in session.extensions
        self._timeouts = timeouts
        self._reached = reached
        self.out = WriteBuffer(session.socket)
        """What could not be written yet."""
        self._replies = ReplyReader()
        self._expected: list[str] = []
        """Replies that are still to come."""
        self._script: list[tuple[str, bytes]] = []
        """Commands that wait for the reply to the one before."""
        self._current: Mail | None = None
        self._ahead: Mail | None = None
        """Taken already, to be said behind the message that begins."""
        self._heard = False
        self._refused: Outcome | None = None
        self._reset = False
        self._is_breaking = False
        self.deadline = time.monotonic() + timeouts.command

    @property
    def is_idle(self) -> bool:
        """Nothing is on the way."""
        return not self._expected and not self.is_ready and not self.closed

    # -- what goes out ------------------------------------------------------------------------------------------------

    def feed(self) -> bool:
        """Take up the next message; False if there is none."""
        if not self._next():
            return False
        self.writable()
        return True

    def look_ahead(self) -> None:
        """Take the message after `coming` before that is announced: taking may wait for the ledger."""
        if self._pipelining and self._ahead is None:
            self._ahead = self.queue.take()

    def _take(self) -> Mail | None:
        mail, self._ahead = self._ahead, None
        return mail if mail is not None else self.queue.take()

    def _next(self) -> bool:
        """Put the envelope of the next message behind what is written."""
        while (mail := self._take()) is not None:
            commands = make_envelope(mail, self._extensions)
            if isinstance(commands, str):
                self.queue.record_outcome(mail, self._outcome(Verdict.REJECTED, f"{self._host} {commands}"))
                continue
            self.coming, self._heard, self._refused = mail, False, None
            kinds = _ENVELOPE[self._chunking]
            if not self._chunking:
                commands += b"DATA\r\n"
            if self._reset:
                self._reset = False
                kinds, commands = ["rset", *kinds], b"RSET\r\n" + commands
            if self._pipelining:
                self.out.put(commands)
                self._expected += kinds
            else:
                self._script = list(zip(kinds, commands.splitlines(keepends=True), strict=True))
                self._say_next()
            return True
        return False

    def _say_next(self) -> None:
        kind, command = self._script.pop(0)
        self.out.put(command)
        self._expected.append(kind)

    def go(self, may: bool) -> None:
        """The relay waits for the body, and it `may` begin; else it was taken back."""
        mail, self.coming, self.is_ready = self.coming, None, False
        assert mail is not None
        if not may:
            self.ended += 1
            self.queue.give_back(mail)
            if self._chunking:
                self._reset = True
                self._next()
                self.writable()
            else:
                # DATA cannot be taken back but by hanging up: the dot alone would be an empty message.
                self._lost("a message was taken back at the last moment")
            return
        self._current = mail
        wire = mail.wire if self._chunking else escape_dots(mail)
        size = sum(map(len, wire))
        if self._chunking:
            # The message is its one chunk (RFC 3030 §2), dots and all.
            self.out.put(b"BDAT %d LAST\r\n" % size)
            self.out.put_message(wire, size)
        else:
            self.out.put_message(wire, size, b".\r\n")
        self._expected.append("end")
        self._reached("before-dot")
        if self._ahead is not None:
            self._next()
        self.writable()

    def writable(self) -> None:
        """Write as much as the socket takes."""
        out, timeouts = self.out, self._timeouts
        while out:
            try:
                ends = out.write()
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as error:
                # The relay may have said why before it hung up.
                self._drain()
                if not self.closed:
                    self._lost(error)
                return
            self.deadline = time.monotonic() + (timeouts.dot if self._end_is_out else timeouts.command)
            if ends:
                self._reached("after-dot")

    # -- what comes in ------------------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Read what is there, and go on by it."""
        while not self.closed and (data := self._received()):
            if not self._all_good(data):
                self._take_in(data)
            if not self._is_tls:
                break
        if self.out and not self.closed:
            self.writable()

    def _received(self) -> bytes:
        """Empty if nothing is there, or if the connection is gone."""
        try:
            data = self.socket.recv(MAX_REPLY)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            self._lost(error)
            return b""
        if not data:
            self._lost(ConnectionError("Connection unexpectedly closed"))
        return data

    def _drain(self) -> None:
        """Take in what was said before the connection went. Nothing more is taken up: it would only go back."""
        self._is_breaking = True
        while not self.closed and (data := self._received()):
            self._take_in(data)

    def _all_good(self, data: bytes) -> bool:
        """Take in the good replies to all that is expected, at once; False, and nothing is taken in, if that is not it.

        Nearly all that is ever read is: yes to a message, and yes to the envelope of the next.
        """
        lines = data.split(b"\r\n")
        # Four octets: no reply of several lines, and no line that is only a code.
        if _USUAL.get(tuple(self._expected)) != [line[:4] for line in lines] or not self._pipelining:
            return False
        ends = self._expected[0] == "end"
        if self._replies or self._refused is not None or (ends and not self.out.is_end_written):
            return False
        self._expected = []
        self.deadline = time.monotonic() + self._timeouts.command
        if self.coming is not None:
            self._heard = self.is_ready = True
        if ends:
            self._accepted(lines[0])
        return True

    def _take_in(self, data: bytes) -> None:
        """Reply by reply."""
        self.deadline = time.monotonic() + (self._timeouts.dot if self._end_is_out else self._timeouts.command)
        for line in self._replies.feed(data):
            self._reply(line)
            if self.closed:
                return
        if self._replies.is_too_long:
            self._lost("its reply has no end")

    @property
    def _end_is_out(self) -> bool:
        return self._current is not None and self.out.is_end_written

    def _reply(self, line: bytes) -> None:
        """One reply on one line."""
        if not self._expected:
            # Unasked: 421 as a rule, when it is about to close an idle connection (RFC 5321 §3.8).
            self._lost(shorten_reply(line))
            return
        kind = self._expected.pop(0)
        number = int(line[:3]) if line[:3].isdigit() else 0
        text = shorten_reply(line[4:].strip() if number else line)
        if kind == "end":
            if number == 250 and self.out.is_end_written:
                self._accepted(line)
            else:
                self._not_accepted(number, text)
        elif kind == "rset":
            if number != 250:
                self._lost(f"{number} {text} (RSET)")
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
                mail, self.coming = self.coming, None
                assert mail is not None
                self.queue.give_back(mail)
                self._lost(f"{self._host} answered 421 {text}")
                return
            # A sender that is refused is not this reader's fault, and somebody can mend it. RFC 5321 §4.5.3.1.10:
            # 552 to RCPT is a passing state.
            final = kind != "mail" and not (kind == "rcpt" and code == 552)
            verdict = Verdict.REJECTED if final and 500 <= code < 600 else Verdict.DEFERRED
            self._refused = self._outcome(verdict, f"{code} {text} ({kind.upper()})")
            if code == 421 or not 400 <= code < 600:
                self._end_refused()
                self._lost(f"{code} {text}")
                return
        if kind == ("rcpt" if self._chunking else "data") or (self._refused is not None and not self._pipelining):
            if self._refused is None:
                self.is_ready = True
            elif kind == "data" and code == 354:
                # RFC 2920 §3.1: it waits for a message though it took no recipient.
                self.out.put(b".\r\n")
                self._expected.append("empty")
            else:
                self._end_refused()
        elif not self._pipelining:
            self._say_next()

    def _end_refused(self) -> None:
        """The coming message does not go; the next one may."""
        mail, refused = self.coming, self._refused
        self.coming = self._refused = None
        self._script = []
        # Also behind a refused MAIL: a transaction may be open that a failed chunk left (RFC 3030 §2).
        self._reset = True
        self.ended += 1
        if mail is not None and refused is not None:
            self.queue.record_outcome(mail, refused)
        self._go_on()

    def _go_on(self) -> None:
        if self.coming is None and not self._expected and not self.closed and not self._is_breaking:
            self._next()

    def _accepted(self, line: bytes) -> None:
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.ended += 1
        self.queue.record_accepted(mail, shorten_reply(line[4:]), self._host)
        self._go_on()

    def _not_accepted(self, code: int, text: str) -> None:
        early = not self.out.is_end_written
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.ended += 1
        reason = f"{code} {text} (end of message)" if code else f"{text} (end of message)"
        known = 400 <= code < 600
        verdict = (Verdict.REJECTED if code >= 500 else Verdict.DEFERRED) if known else Verdict.UNKNOWN
        self.queue.record_outcome(mail, self._outcome(verdict, reason))
        if early or code == 421 or not known:
            # Refused in mid-message: what we would still write would be taken for commands.
            self._lost(reason)
        else:
            self._go_on()

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _outcome(self, verdict: Verdict, reason: str) -> Outcome:
        return Outcome(verdict, via=self._host, reason=reason)

    def _lost(self, error: object) -> None:
        """The connection is gone: what was on it ends as far as can be known."""
        current, coming, refused = self._current, self.coming, self._refused
        self._current = self.coming = self._refused = None
        self.is_ready = False
        said = shorten_reply(error)
        if current is not None:
            if self.out.is_end_written:
                reason = f"the connection to {self._host} was lost after the message, before its reply: {said}"
                self.queue.record_outcome(current, self._outcome(Verdict.UNKNOWN, reason))
            else:
                reason = f"the connection to {self._host} was lost before the end of the message: {said}"
                self.queue.record_outcome(current, self._outcome(Verdict.DEFERRED, reason))
        if coming is not None:
            if refused is not None:
                self.queue.record_outcome(coming, refused)
            elif not self._heard and (self.ended or current is not None):
                # The relay had closed a connection that we kept: it never looked at this one.
                self.queue.give_back(coming)
            else:
                step = self._expected[0].upper() if self._expected else "DATA"
                reason = f"the connection to {self._host} was lost at {step}: {said}"
                self.queue.record_outcome(coming, self._outcome(Verdict.DEFERRED, reason))
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self.queue.give_back(ahead)
        self._shut(said)

    def _shut(self, why: str) -> None:
        self.closed = self.closed or why or "closed"
        self._expected, self._script = [], []
        self.out.clear()
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
