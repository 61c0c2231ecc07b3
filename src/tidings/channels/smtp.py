"""One mail relay over one persistent connection, one message a time.

What this is for: to know of each message whether its final dot had been sent. Lost before it, the message was certainly
not taken (RFC 5321 §4.1.1.4); lost after it, nobody can know (RFC 1123 §5.3.3).
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable

from tidings.model.delivery import Outcome, Verdict

COMMAND_TIMEOUT = 60.0
"""Seconds for a connection, a command, and each write."""
DOT_TIMEOUT = 600.0
"""Seconds to wait for the reply to the final dot (RFC 5321 §4.5.3.2.6): giving up sooner makes duplicates."""

_LONE_EOL = re.compile(rb"\r\n|\r|\n")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


class _NotReady(Exception):
    """No session could be had; in words."""


class SmtpTransport:
    """Connects when first needed, and again when the relay has closed. For one thread at a time, but for `abort`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: str = "none",
        username: str = "",
        password: str = "",
        helo: str = "",
        timeout: float = COMMAND_TIMEOUT,
        dot_timeout: float = DOT_TIMEOUT,
        context: ssl.SSLContext | None = None,
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """`security`: none, starttls or tls, both with a verified certificate. `reached` hears of points on the way."""
        if security not in ("none", "starttls", "tls"):
            raise ValueError(f"security is none, starttls or tls, not {security!r}")
        self.host = host
        self.port = port
        self._security = security
        self._username = username
        self._password = password
        self._helo = helo
        self._timeout = timeout
        self._dot_timeout = dot_timeout
        self._context = context
        self._reached = reached
        self._session: smtplib.SMTP | None = None
        self._used = False
        self._aborted = False

    def hand(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over to one recipient. Raises only for a bug (an address with a line break in it)."""
        for address in (sender, recipient):
            if _UNPRINTABLE.search(address) or "<" in address or ">" in address or " " in address:
                raise ValueError(f"{address!r} cannot stand in an SMTP command")
        body = _stuffed(data)
        while True:
            fresh = not self._used
            try:
                session = self._connected()
            except _NotReady as error:
                return Outcome(Verdict.NOT_STARTED, via=self.host, reason=str(error))
            outcome = self._envelope(session, sender, recipient, body.isascii(), fresh)
            if outcome is None:
                # The relay had closed a connection that we kept: nothing of this message was said on it.
                self._drop()
                continue
            if outcome.verdict is not Verdict.ACCEPTED:
                return outcome
            return self._content(session, body)

    def _envelope(
        self, session: smtplib.SMTP, sender: str, recipient: str, is_ascii: bool, fresh: bool
    ) -> Outcome | None:
        """MAIL, RCPT and DATA. ACCEPTED: go on. None: the kept connection was dead."""
        options = []
        if not (sender.isascii() and recipient.isascii()):
            if not session.has_extn("smtputf8"):
                reason = f"{self.host} does not offer SMTPUTF8 (RFC 6531), which this address needs"
                return Outcome(Verdict.REJECTED, via=self.host, reason=reason)
            options.append("SMTPUTF8")
            session.command_encoding = "utf-8"
        else:
            session.command_encoding = "ascii"
        if not is_ascii:
            if not session.has_extn("8bitmime"):
                reason = f"{self.host} does not offer 8BITMIME, which this message needs"
                return Outcome(Verdict.REJECTED, via=self.host, reason=reason)
            options.append("BODY=8BITMIME")
        step = "MAIL"
        try:
            code, text = session.docmd("MAIL", " ".join([f"FROM:<{sender}>", *options]))
            if code == 421 and not fresh:
                return None
            if code != 250:
                # Our sender is refused, not this reader: not final for the reader, and somebody can mend it.
                return self._refused(code, text, "MAIL", final=False)
            step = "RCPT"
            code, text = session.docmd("RCPT", f"TO:<{recipient}>")
            if code not in (250, 251):
                # RFC 5321 §4.5.3.1.10: 552 to RCPT is a passing state.
                return self._refused(code, text, "RCPT", final=code != 552)
            step = "DATA"
            code, text = session.docmd("DATA")
            if code != 354:
                return self._refused(code, text, "DATA", final=True)
        except (smtplib.SMTPException, OSError) as error:
            if step == "MAIL" and not fresh and not self._aborted:
                return None
            return self._lost(f"at {step}", error)
        return Outcome(Verdict.ACCEPTED)

    def _refused(self, code: int, text: bytes, step: str, final: bool) -> Outcome:
        reason = f"{code} {_words(text)} ({step})"
        if code == 421 or not 400 <= code < 600:
            self._drop()
        else:
            self._reset()
        rejected = final and 500 <= code < 600
        return Outcome(Verdict.REJECTED if rejected else Verdict.DEFERRED, via=self.host, reason=reason)

    def _content(self, session: smtplib.SMTP, body: bytes) -> Outcome:
        """The message, the dot, and what the relay says to it."""
        connection = session.sock
        assert connection is not None
        try:
            connection.sendall(body)
            self._reached("before-dot")
            # A dot that raises was not sent whole: three bytes, or one record of TLS.
            connection.sendall(b".\r\n")
        except OSError as error:
            return self._lost("before the end of the message", error)
        self._reached("after-dot")
        try:
            connection.settimeout(self._dot_timeout)
            code, text = session.getreply()
            connection.settimeout(self._timeout)
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            reason = f"the connection to {self.host} was lost after the message, before its reply: {_words(error)}"
            return Outcome(Verdict.UNKNOWN, via=self.host, reason=reason)
        self._reached("after-reply")
        if code == 250:
            return Outcome(Verdict.ACCEPTED, receipt=_words(text), via=self.host)
        reason = f"{code} {_words(text)} (end of message)"
        if 400 <= code < 600:
            if code == 421:
                self._drop()
            return Outcome(Verdict.REJECTED if code >= 500 else Verdict.DEFERRED, via=self.host, reason=reason)
        self._drop()
        return Outcome(Verdict.UNKNOWN, via=self.host, reason=reason)

    def _lost(self, where: str, error: Exception) -> Outcome:
        self._drop()
        reason = f"the connection to {self.host} was lost {where}: {_words(error)}"
        return Outcome(Verdict.DEFERRED, via=self.host, reason=reason)

    def _reset(self) -> None:
        """Ready for the next message after a refusal."""
        try:
            if self._session is None or self._session.docmd("RSET")[0] != 250:
                self._drop()
        except (smtplib.SMTPException, OSError):
            self._drop()

    def _connected(self) -> smtplib.SMTP:
        if self._session is not None:
            return self._session
        if self._aborted:
            raise _NotReady("stopping")
        session: smtplib.SMTP | None = None
        try:
            # The name is given, else smtplib asks the DNS for one.
            if self._security == "tls":
                session = smtplib.SMTP_SSL(
                    self.host, self.port, local_hostname="x", timeout=self._timeout, context=self._tls()
                )
            else:
                session = smtplib.SMTP(self.host, self.port, local_hostname="x", timeout=self._timeout)
            assert session.sock is not None
            # The dot is a small write after a big one: Nagle would hold it back for a delayed ACK.
            session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.local_hostname = self._helo or _own_name(session.sock)
            self._greet(session)
            if self._security == "starttls":
                if not session.has_extn("starttls"):
                    raise _NotReady(f"{self.host} does not offer STARTTLS, and mail.security asks for it")
                code, text = session.starttls(context=self._tls())
                if code != 220:
                    raise _NotReady(f"{self.host} refused STARTTLS: {code} {_words(text)}")
                self._greet(session)
            if self._username:
                session.login(self._username, self._password)
        except _NotReady:
            _close(session)
            raise
        except ssl.SSLCertVerificationError as error:
            _close(session)
            raise _NotReady(f"the certificate of {self.host} is not good: {error.verify_message}") from error
        except smtplib.SMTPAuthenticationError as error:
            _close(session)
            said = _words(error.smtp_error)
            raise _NotReady(f"{self.host} refused the login: {error.smtp_code} {said}") from error
        except smtplib.SMTPResponseException as error:
            _close(session)
            raise _NotReady(f"{self.host} answered {error.smtp_code} {_words(error.smtp_error)}") from error
        except UnicodeError as error:
            _close(session)
            raise _NotReady("mail.username or mail.password has characters that SMTP cannot carry") from error
        except (smtplib.SMTPException, OSError) as error:
            _close(session)
            raise _NotReady(f"cannot connect to {self.host}:{self.port}: {_words(error)}") from error
        self._session = session
        self._used = True
        return session

    def _greet(self, session: smtplib.SMTP) -> None:
        code, text = session.ehlo()
        if not 200 <= code < 300:
            code, text = session.helo()
        if not 200 <= code < 300:
            raise _NotReady(f"{self.host} refused the greeting: {code} {_words(text)}")

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context

    def _drop(self) -> None:
        _close(self._session)
        self._session = None
        self._used = False

    def close(self) -> None:
        """Say goodbye and close."""
        if self._session is not None and self._session.sock is not None:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._session.sock.settimeout(2.0)
                self._session.docmd("QUIT")
        self._drop()

    def abort(self) -> None:
        """From another thread: end what is on the wire now. A message after its dot is in doubt then."""
        self._aborted = True
        session = self._session
        if session is not None and session.sock is not None:
            with contextlib.suppress(OSError):
                session.sock.shutdown(socket.SHUT_RDWR)


def _close(session: smtplib.SMTP | None) -> None:
    if session is not None:
        with contextlib.suppress(OSError):
            session.close()


def _stuffed(data: bytes) -> bytes:
    """Ready for DATA: every line ends in CRLF (RFC 5321 §2.3.8: a lone one is a way to smuggle), dots doubled."""
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        data = _LONE_EOL.sub(b"\r\n", data)
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\n.", b"\n..")


def _words(said: object) -> str:
    """A reply or an error on one line, at most 300 characters."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said) or type(said).__name__
    return _UNPRINTABLE.sub(" ", text).strip()[:300]


def _own_name(connection: socket.socket) -> str:
    """What to say in EHLO (RFC 5321 §4.1.1.1): a full name if there is one, else our address."""
    name = socket.gethostname()
    if "." in name and name.isascii() and " " not in name:
        return name
    address = connection.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
