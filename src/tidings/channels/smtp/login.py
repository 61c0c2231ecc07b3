"""An SMTP session up to the first message: connection, greeting, TLS and login, by Python's smtplib."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


class NotReadyError(Exception):
    """No session could be opened. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach a relay. `security`: none, or starttls or tls with a verified certificate."""

    host: str
    port: int
    security: str = "none"
    username: str = ""
    password: str = ""
    helo: str = ""
    timeout: float = 60.0
    """Seconds for the connection and each command."""
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context

    def __post_init__(self) -> None:
        if self.security not in ("none", "starttls", "tls"):
            raise ValueError(f"security is none, starttls or tls, not {self.security!r}")


@dataclass(frozen=True, slots=True)
class Session:
    """An open session: its socket, and the extensions that the relay offers, in lower case, with their parameters."""

    socket: socket.socket
    extensions: dict[str, str]


def open_session(login: Login) -> Session:
    """Open a session; waits for the relay. Raises NotReadyError, which names the host and quotes its reply."""
    session: smtplib.SMTP | None = None
    try:
        # With a name of ours smtplib does not ask the DNS for one.
        if login.security == "tls":
            session = smtplib.SMTP_SSL(
                login.host, login.port, local_hostname="x", timeout=login.timeout, context=login.context()
            )
        else:
            session = smtplib.SMTP(login.host, login.port, local_hostname="x", timeout=login.timeout)
        assert session.sock is not None
        session.local_hostname = login.helo or _own_name(session.sock)
        _greet(session, login.host)
        if login.security == "starttls":
            if not session.has_extn("starttls"):
                raise NotReadyError(f"{login.host} does not offer STARTTLS, and mail.security asks for it")
            code, text = session.starttls(context=login.context())
            if code != 220:
                raise NotReadyError(f"{login.host} refused STARTTLS: {code} {shorten_reply(text)}")
            _greet(session, login.host)
        if login.username:
            session.login(login.username, login.password)
    except (NotReadyError, smtplib.SMTPException, OSError, UnicodeError) as error:
        if session is not None:
            with contextlib.suppress(OSError):
                session.close()
        raise NotReadyError(_reason(error, login)) from error
    connection = session.sock
    assert connection is not None
    # One message is several writes: Nagle would hold the last one back for a delayed ACK.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if session.file is not None:
        # It keeps the socket open. Nothing is lost in it: a relay sends only when asked.
        session.file.close()
    return Session(connection, dict(session.esmtp_features))


def _reason(error: Exception, login: Login) -> str:
    host = login.host
    if isinstance(error, NotReadyError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is not valid: {error.verify_message}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{host} refused the login: {error.smtp_code} {shorten_reply(error.smtp_error)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{host} answered {error.smtp_code} {shorten_reply(error.smtp_error)}"
    if isinstance(error, UnicodeError):
        return "mail.username or mail.password has characters that SMTP cannot carry"
    return f"cannot connect to {host}:{login.port}: {shorten_reply(error)}"


def quit_session(connection: socket.socket) -> None:
    """Send QUIT and close."""
    with contextlib.suppress(OSError):
        connection.settimeout(2.0)
        connection.sendall(b"QUIT\r\n")
        connection.recv(512)
    with contextlib.suppress(OSError):
        connection.close()


def _greet(session: smtplib.SMTP, host: str) -> None:
    code, text = session.ehlo()
    if not 200 <= code < 300:
        code, text = session.helo()
    if not 200 <= code < 300:
        raise NotReadyError(f"{host} refused the greeting: {code} {shorten_reply(text)}")


def shorten_reply(reply: object) -> str:
    """Return a reply or an error on one line, at most 300 characters."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply) or type(reply).__name__
    return (text if text.isprintable() else _UNPRINTABLE.sub(" ", text)).strip()[:300]


def _own_name(connection: socket.socket) -> str:
    """Return our name for EHLO (RFC 5321 §4.1.1.1): the full name if there is one, else our address."""
    name = socket.gethostname()
    if "." in name and name.isascii() and " " not in name:
        return name
    address = connection.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
