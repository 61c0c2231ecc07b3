"""One SMTP session that never blocks: it sends one message after the other.

With PIPELINING (RFC 2920), MAIL, RCPT and DATA (RFC 5321) go in one write, together with the end of the message before.
So a message costs one round trip, and BDAT (RFC 3030) would save nothing. Without PIPELINING each command waits for its
reply.

The connection must know of each message whether its dot had been sent. If the connection is lost before it, the relay
certainly did not accept the message (RFC 5321 §4.1.1.4). If it is lost after it, nobody can know (RFC 1123 §5.3.3).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable

from tidings.channels.smtp.login import Session, quit_session, shorten_reply
from tidings.channels.smtp.protocol import (
    Mail,
    MailQueue,
    ReplyReader,
    Timeouts,
    WriteBuffer,
    escape_dots,
    make_envelope,
)
from tidings.model.delivery import Outcome, Verdict

_ENVELOPE = ["mail", "rcpt", "data"]
"""The commands before a message."""
_USUAL_REPLIES = {
    ("mail", "rcpt", "data"): [b"250 ", b"250 ", b"354 ", b""],
    ("dot", "mail", "rcpt", "data"): [b"250 ", b"250 ", b"250 ", b"354 ", b""],
    ("dot",): [b"250 ", b""],
}
"""The first octets of each line if all expected replies come at once and are positive."""
_READ_SIZE = 4096
"""Octets that are read at once: more than all replies to one message."""
_SESSION_LIMITS = (450, 451, 452)
"""Replies to MAIL by which a relay ends a session that has carried many messages. 421 always does."""


class Connection:
    """Call `start_next` if it `is_idle`, `send_body` if it `is_ready`, `on_readable` and `on_writable` on events."""

    def __init__(
        self, session: Session, host: str, queue: MailQueue, *, timeouts: Timeouts, reached: Callable[[str], None]
    ) -> None:
        """`reached` is called at points on the way, for tests of crashes."""
        self.socket = session.socket
        self.socket.setblocking(False)
        self.queue = queue
        self.finished = 0
        """Messages that have ended on it."""
        self.closed = ""
        """Why it is closed; empty while it is open."""
        self.is_watched_for_writing = False
        self.is_ready = False
        """The relay waits for the body of `next_mail`: begin it, and call `send_body`."""
        self.next_mail: Mail | None = None
        """The message whose envelope was sent."""
        self._host = host
        self._extensions = session.extensions
        self._is_tls = isinstance(session.socket, ssl.SSLSocket)
        self._pipelining = "pipelining" in session.extensions
        self._timeouts = timeouts
        self._reached = reached
        self.out = WriteBuffer(session.socket)
        self._replies = ReplyReader()
        self._expected: list[str] = []
        """Replies that are still to come."""
        self._commands: list[tuple[str, bytes]] = []
        """Commands that wait for the reply to the one before."""
        self._current: Mail | None = None
        self._prefetched: Mail | None = None
        """Taken already. Its envelope follows the body of `next_mail`."""
        self._has_reply = False
        """Whether the relay has replied to the envelope of `next_mail`."""
        self._refused: Outcome | None = None
        self._needs_reset = False
        self._is_breaking = False
        self.deadline = time.monotonic() + timeouts.command

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the way."""
        return not self._expected and not self.is_ready and not self.closed

    # -- writing ------------------------------------------------------------------------------------------------------

    def start_next(self) -> None:
        """Send the envelope of the next message, if there is one."""
        if self._queue_envelope():
            self.on_writable()

    def prefetch(self) -> None:
        """Take the message after `next_mail` before that is announced: taking may wait for the ledger."""
        if self._pipelining and self._prefetched is None:
            self._prefetched = self.queue.take()

    def _take(self) -> Mail | None:
        mail, self._prefetched = self._prefetched, None
        return mail if mail is not None else self.queue.take()

    def _queue_envelope(self) -> bool:
        """Append the envelope of the next message to what is written. False if there is none."""
        while (mail := self._take()) is not None:
            commands = make_envelope(mail, self._extensions)
            if isinstance(commands, str):
                self.queue.record_outcome(mail, self._outcome(Verdict.REJECTED, f"{self._host} {commands}"))
                continue
            self.next_mail, self._has_reply, self._refused = mail, False, None
            kinds = _ENVELOPE
            commands += b"DATA\r\n"
            if self._needs_reset:
                self._needs_reset = False
                kinds, commands = ["rset", *kinds], b"RSET\r\n" + commands
            if self._pipelining:
                self.out.put(commands)
                self._expected += kinds
            else:
                self._commands = list(zip(kinds, commands.splitlines(keepends=True), strict=True))
                self._send_next_command()
            return True
        return False

    def _send_next_command(self) -> None:
        kind, command = self._commands.pop(0)
        self.out.put(command)
        self._expected.append(kind)

    def send_body(self, is_permitted: bool) -> None:
        """Send the body, or give the message back because it may not begin."""
        mail, self.next_mail, self.is_ready = self.next_mail, None, False
        assert mail is not None
        if not is_permitted:
            self.finished += 1
            self.queue.give_back(mail)
            # Only hanging up takes DATA back: the dot alone would be an empty message.
            self._fail("a message was taken back at the last moment")
            return
        self._current = mail
        self.out.put_message(escape_dots(mail), b".\r\n")
        self._expected.append("dot")
        self._reached("before-dot")
        if self._prefetched is not None:
            self._queue_envelope()
        self.on_writable()

    def on_writable(self) -> None:
        """Write as much as the socket takes."""
        out, timeouts = self.out, self._timeouts
        while out:
            try:
                is_dot = out.write()
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as error:
                # The relay may have given the reason before it hung up.
                self._drain()
                if not self.closed:
                    self._fail(error)
                return
            self.deadline = time.monotonic() + (timeouts.dot if self._is_dot_sent else timeouts.command)
            if is_dot:
                self._reached("after-dot")

    # -- reading ------------------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """Read what is there, and handle it."""
        while not self.closed and (data := self._receive()):
            if not self._take_usual_replies(data):
                self._take_replies(data)
            if not self._is_tls:
                break
        if self.out and not self.closed:
            self.on_writable()

    def _receive(self) -> bytes:
        """Return what is there; empty if there is nothing, or if the connection is lost."""
        try:
            data = self.socket.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            self._fail(error)
            return b""
        if not data:
            self._fail(ConnectionError("Connection unexpectedly closed"))
        return data

    def _drain(self) -> None:
        """Read what the relay sent before the connection was lost. No further message is started."""
        self._is_breaking = True
        while not self.closed and (data := self._receive()):
            self._take_replies(data)

    def _take_usual_replies(self, data: bytes) -> bool:
        """Take positive replies to all that is expected at once. Return False, unchanged, if the data is not that.

        Nearly all data is this: yes to a message, and yes to the envelope of the next.
        """
        lines = data.split(b"\r\n")
        # Four octets exclude multi-line replies, and lines that are only a code.
        if _USUAL_REPLIES.get(tuple(self._expected)) != [line[:4] for line in lines] or not self._pipelining:
            return False
        has_dot = self._expected[0] == "dot"
        if self._replies or self._refused is not None or (has_dot and not self.out.is_dot_written):
            return False
        self._expected = []
        self.deadline = time.monotonic() + self._timeouts.command
        if self.next_mail is not None:
            self._has_reply = self.is_ready = True
        if has_dot:
            self._accepted(lines[0])
        return True

    def _take_replies(self, data: bytes) -> None:
        self.deadline = time.monotonic() + (self._timeouts.dot if self._is_dot_sent else self._timeouts.command)
        for line in self._replies.feed(data):
            self._take_reply(line)
            if self.closed:
                return
        if self._replies.is_too_long:
            self._fail("its reply has no end")

    @property
    def _is_dot_sent(self) -> bool:
        return self._current is not None and self.out.is_dot_written

    def _take_reply(self, line: bytes) -> None:
        """Handle one reply, which is on one line."""
        if not self._expected:
            # Unexpected: usually 421, before the relay closes an idle connection (RFC 5321 §3.8).
            self._fail(shorten_reply(line))
            return
        kind = self._expected.pop(0)
        number = int(line[:3]) if line[:3].isdigit() else 0
        text = shorten_reply(line[4:].strip() if number else line)
        if kind == "dot":
            if number == 250 and self.out.is_dot_written:
                self._accepted(line)
            else:
                self._not_accepted(number, text)
        elif kind == "rset":
            if number != 250:
                self._fail(f"{number} {text} (RSET)")
            elif self._commands:
                self._send_next_command()
        elif kind == "empty":
            self._finish_refused()
        else:
            self._take_envelope_reply(kind, number, text)

    def _take_envelope_reply(self, kind: str, code: int, text: str) -> None:
        """Handle the reply to MAIL, RCPT or DATA of `next_mail`."""
        self._has_reply = True
        positive = {"mail": (250,), "rcpt": (250, 251), "data": (354,)}[kind]
        if code not in positive and self._refused is None:
            if kind == "mail" and (code == 421 or (code in _SESSION_LIMITS and self.finished)):
                # Not this recipient's fault: the relay wants no more messages now, or not in this session.
                mail, self.next_mail = self.next_mail, None
                assert mail is not None
                self.queue.give_back(mail)
                self._fail(f"{self._host} answered {code} {text}")
                return
            # A refused sender is not this recipient's fault, and a person can correct it. RFC 5321 §4.5.3.1.10: 552 to
            # RCPT is temporary.
            is_final = kind != "mail" and not (kind == "rcpt" and code == 552)
            verdict = Verdict.REJECTED if is_final and 500 <= code < 600 else Verdict.DEFERRED
            self._refused = self._outcome(verdict, f"{code} {text} ({kind.upper()})")
            if code == 421 or not 400 <= code < 600:
                self._finish_refused()
                self._fail(f"{code} {text}")
                return
        if kind == "data" or (self._refused is not None and not self._pipelining):
            if self._refused is None:
                self.is_ready = True
            elif code == 354:
                # RFC 2920 §3.1: the relay waits for a message though it accepted no recipient.
                self.out.put(b".\r\n")
                self._expected.append("empty")
            else:
                self._finish_refused()
        elif not self._pipelining:
            self._send_next_command()

    def _finish_refused(self) -> None:
        """End `next_mail` as refused, and go on with the next one."""
        mail, refused = self.next_mail, self._refused
        self.next_mail = self._refused = None
        self._commands = []
        # A transaction may still be open.
        self._needs_reset = True
        self.finished += 1
        if mail is not None and refused is not None:
            self.queue.record_outcome(mail, refused)
        self._continue()

    def _continue(self) -> None:
        if self.next_mail is None and not self._expected and not self.closed and not self._is_breaking:
            self._queue_envelope()

    def _accepted(self, line: bytes) -> None:
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.finished += 1
        self.queue.record_accepted(mail, shorten_reply(line[4:]), self._host)
        self._continue()

    def _not_accepted(self, code: int, text: str) -> None:
        is_early = not self.out.is_dot_written
        mail, self._current = self._current, None
        assert mail is not None
        self._reached("after-reply")
        self.finished += 1
        reason = f"{code} {text} (end of message)" if code else f"{text} (end of message)"
        is_known = 400 <= code < 600
        verdict = (Verdict.REJECTED if code >= 500 else Verdict.DEFERRED) if is_known else Verdict.UNKNOWN
        self.queue.record_outcome(mail, self._outcome(verdict, reason))
        if is_early or code == 421 or not is_known:
            # Refused in the middle of the message: the relay would read the rest as commands.
            self._fail(reason)
        else:
            self._continue()

    # -- closing ------------------------------------------------------------------------------------------------------

    def _outcome(self, verdict: Verdict, reason: str) -> Outcome:
        return Outcome(verdict, via=self._host, reason=reason)

    def _fail(self, error: object, *, is_ours: bool = False) -> None:
        """Close after a failure. Messages on the way end with what can be known of them.

        `is_ours`: we end it, so a message before its dot is given back, which costs no attempt.
        """
        current, following, refused = self._current, self.next_mail, self._refused
        self._current = self.next_mail = self._refused = None
        self.is_ready = False
        cause = shorten_reply(error)
        if current is not None:
            if self.out.is_dot_written:
                reason = f"the connection to {self._host} was lost after the message, before its reply: {cause}"
                self.queue.record_outcome(current, self._outcome(Verdict.UNKNOWN, reason))
            elif is_ours:
                self.queue.give_back(current)
            else:
                reason = f"the connection to {self._host} was lost before the end of the message: {cause}"
                self.queue.record_outcome(current, self._outcome(Verdict.DEFERRED, reason))
        if following is not None:
            if refused is not None:
                self.queue.record_outcome(following, refused)
            elif is_ours or (not self._has_reply and (self.finished or current is not None)):
                # Else the relay had closed a kept connection: it never saw this message.
                self.queue.give_back(following)
            else:
                step = self._expected[0].upper() if self._expected else "DATA"
                reason = f"the connection to {self._host} was lost at {step}: {cause}"
                self.queue.record_outcome(following, self._outcome(Verdict.DEFERRED, reason))
        ahead, self._prefetched = self._prefetched, None
        if ahead is not None:
            self.queue.give_back(ahead)
        self._close(cause)

    def _close(self, reason: str) -> None:
        self.closed = self.closed or reason or "closed"
        self._expected, self._commands = [], []
        self.out.clear()
        with contextlib.suppress(OSError):
            self.socket.close()

    def abort(self, reason: str, *, is_ours: bool = False) -> None:
        """Close at once, whatever is on the way. `is_ours`: not because of the relay."""
        if not self.closed:
            self._fail(reason, is_ours=is_ours)

    def quit(self) -> None:
        """Send QUIT and close. Only when idle."""
        if not self.closed:
            quit_session(self.socket)
            self._close("closed by us")
