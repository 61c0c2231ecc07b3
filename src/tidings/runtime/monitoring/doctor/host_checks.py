"""Check the mail host: its addresses (PTR), and what it offers in a session up to the first message."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tidings.channels.smtp.login import Login, NotReadyError, Session, open_session, quit_session, shorten_reply
from tidings.channels.smtp.relay import Settings
from tidings.model.plurals import count_noun
from tidings.render.mail.gates import LIMIT
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups, reverse_name
from tidings.runtime.monitoring.doctor.domain_checks import DoctorFinding, Level, unknown

_TIMEOUT = 15.0
_EXPIRES_SOON = timedelta(days=14)
_USUAL_SIZE = 1_000_000
"""Bytes: pictures are not in the mail, so a digest never comes near this."""
_PROVIDERS: Final = {
    "gmail.com": "_spf.google.com", "googlemail.com": "_spf.google.com", "google.com": "_spf.google.com",
    "office365.com": "spf.protection.outlook.com", "outlook.com": "spf.protection.outlook.com",
    "amazonaws.com": "amazonses.com", "sendgrid.net": "sendgrid.net", "mailgun.org": "mailgun.org",
    "postmarkapp.com": "spf.mtasv.net", "brevo.com": "spf.brevo.com", "sendinblue.com": "spf.brevo.com",
    "mailjet.com": "spf.mailjet.com", "mandrillapp.com": "spf.mandrillapp.com", "mail.ru": "_spf.mail.ru",
    "yandex.ru": "_spf.yandex.net", "yandex.com": "_spf.yandex.net", "yandex.net": "_spf.yandex.net",
    "fastmail.com": "spf.messagingengine.com", "infomaniak.com": "spf.infomaniak.ch",
}  # fmt: skip
"""By the domain of a mail host: the name that its provider asks to include in SPF."""


def find_provider(host: str) -> str:
    """Return the SPF name of the provider that a mail host belongs to, empty if it is not known."""
    host = host.rstrip(".").lower()
    return next((include for domain, include in _PROVIDERS.items() if f".{host}".endswith(f".{domain}")), "")


def find_addresses(dns: DnsLookups, host: str) -> tuple[str, ...]:
    """Return the addresses from which mail by this host leaves, as far as the DNS tells."""
    name = host
    if _is_here(host):
        # The mail leaves from this machine, under its own name.
        name = socket.gethostname()
        if "." not in name:
            return ()
    try:
        found: Sequence[str] = (str(ipaddress.ip_address(name.strip("[]"))),)
    except ValueError:
        found = dns.addresses(name).records
    return tuple(address for address in found if not _is_inside(address))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def _is_inside(address: str) -> bool:
    """Whether an address is never seen outside: loopback, or of a private network (RFC 1918, RFC 4193)."""
    ip = ipaddress.ip_address(address)
    inside = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
    networks = (ipaddress.ip_network(network) for network in inside)
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or any(ip in network for network in networks)


def check_ptr(dns: DnsLookups, address: str) -> DoctorFinding:
    """Check that an address has a name which leads back to it. Gmail and others ask for both."""
    answer = dns.names_of(address)
    reverse = reverse_name(address)
    if answer.failure:
        return unknown("ptr", address, reverse, answer.failure)
    mend = "ask the owner of this address (the hoster) to publish this record"
    if not answer.records:
        text = f"{address} has no name in the DNS (PTR): Gmail and others refuse its mail"
        return DoctorFinding("error", "ptr", address, text, mend, f"{reverse}. IN PTR mail.example.org.")
    version = ipaddress.ip_address(address).version
    failures: list[str] = []
    for name in answer.records:
        found = dns.ip_addresses(name, version)
        if any(ipaddress.ip_address(each) == ipaddress.ip_address(address) for each in found.records):
            return DoctorFinding("ok", "ptr", address, f"{address} is {name}, and {name} leads back to it")
        if found.failure:
            failures.append(f"{name}: {found.failure}")
    if failures:
        failed, _, failure = failures[0].partition(": ")
        return unknown("ptr", address, failed, failure)
    name = answer.records[0]
    text = f"{address} is called {name}, but {name} does not lead back to it: Gmail and others refuse its mail"
    return DoctorFinding(
        "error", "ptr", address, text, "publish this record", f"{name}. IN {'A' if version == 4 else 'AAAA'} {address}"
    )


def check_mail_host(settings: Settings, return_paths: Sequence[str], now: datetime) -> Iterator[DoctorFinding]:
    """Open a session as sending does, and say what the host offers. No message is sent."""
    where = f"{settings.host}:{settings.port}"
    password = settings.password.get_secret_value() if settings.password else ""
    login = Login(settings.host, settings.port, settings.security, settings.username or "", password, timeout=_TIMEOUT)
    try:
        session = open_session(login)
    except NotReadyError as error:
        yield _describe_failure(str(error), settings, where)
        return
    try:
        yield DoctorFinding("ok", "connection", where, "the mail host takes connections from this machine")
        yield _check_tls(settings, session, where, now)
        yield _check_login(settings, session, where)
        yield from _check_extensions(session, where)
        for path in dict.fromkeys(return_paths):
            yield _check_sender(session, path, where)
    finally:
        quit_session(session.socket)


def _describe_failure(reason: str, settings: Settings, where: str) -> DoctorFinding:
    if "certificate" in reason:
        mend = "use the name that is in its certificate, or ask the provider of the host to renew it"
        return DoctorFinding("error", "tls", where, f"mail cannot be sent: {reason}", mend)
    if "STARTTLS" in reason:
        mend = "write the port and `security` that your mail host names: 587 with starttls, or 465 with tls"
        return DoctorFinding("error", "tls", where, f"mail cannot be sent: {reason}", mend)
    if "refused the login" in reason or "mail.username" in reason or "AUTH" in reason:
        mend = "correct mail.username and mail.password; many hosts want a password for apps"
        return DoctorFinding("error", "login", where, f"mail cannot be sent: {reason}", mend)
    mend = "check host, port and `security` under `mail:`, and whether a firewall is between"
    if settings.security == "tls" and settings.port in (25, 587):
        mend = f"port {settings.port} usually wants `security: starttls`"
    elif settings.security != "tls" and settings.port == 465:
        mend = "port 465 wants `security: tls`"
    return DoctorFinding("error", "connection", where, f"mail cannot be sent: {reason}", mend)


def _check_tls(settings: Settings, session: Session, where: str, now: datetime) -> DoctorFinding:
    secured = session.socket
    if not isinstance(secured, ssl.SSLSocket):
        offers = "starttls" in session.extensions
        if _is_here(settings.host):
            return DoctorFinding("ok", "tls", where, "the mail host is this machine, so TLS is not needed")
        text = "mail travels to the mail host without TLS"
        text += ": others can read the mail" + (" and the password" if settings.username else "")
        mend = "write `security: starttls` under `mail:`" if offers else "ask the provider of the host for TLS"
        return DoctorFinding("warning", "tls", where, text, mend)
    certificate = secured.getpeercert() or {}
    version = (secured.version() or "TLS").replace("TLSv", "TLS ")
    until = str(certificate.get("notAfter", ""))
    try:
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
    except ValueError:
        expires = None
    if expires is not None and expires - now < _EXPIRES_SOON:
        text = f"the certificate of {settings.host} ends on {expires:%Y-%m-%d}: no mail is sent after that"
        return DoctorFinding("warning", "tls", where, text, "renew it, or ask the provider of the host")
    valid = f", until {expires:%Y-%m-%d}" if expires is not None else ""
    return DoctorFinding("ok", "tls", where, f"{version}; the certificate is valid for {settings.host}{valid}")


def _check_login(settings: Settings, session: Session, where: str) -> DoctorFinding:
    if settings.username:
        return DoctorFinding("ok", "login", where, "the login works")
    if "auth" in session.extensions and not _is_here(settings.host):
        mend = "write username and password under `mail:`, unless your network may send without"
        return DoctorFinding("warning", "login", where, "the mail host offers a login, and none is configured", mend)
    return DoctorFinding("ok", "login", where, "no login is configured")


def _check_extensions(session: Session, where: str) -> Iterator[DoctorFinding]:
    known = session.extensions
    size = known.get("size", "").strip()
    most = int(size) if size.isdigit() else 0
    if 0 < most < _USUAL_SIZE:
        # Base64 makes the two bodies a third longer.
        level: Level = "error" if most < LIMIT * 2 else "warning"
        text = f"the mail host takes mails of at most {most:,} bytes; a digest may have {2 * LIMIT:,}"
        yield DoctorFinding(
            level, "size", where, text, "ask the provider of the host for more (message_size_limit in Postfix)"
        )
    else:
        limit = (
            f"mails of up to {most:,} bytes"
            if most
            else "mails of any size"
            if "size" in known
            else "it names no limit"
        )
        yield DoctorFinding("ok", "size", where, limit)
    if "pipelining" not in known:
        text = "the mail host does not offer PIPELINING, so sending takes several times longer"
        yield DoctorFinding("warning", "extensions", where, text, "ask the provider of the host to allow it")
    names = [name.upper() for name in known if name in ("pipelining", "8bitmime", "smtputf8", "chunking", "dsn")]
    if "smtputf8" not in known:
        names.append("no SMTPUTF8 (addresses with letters of other scripts cannot be reached)")
    yield DoctorFinding("ok", "extensions", where, f"{count_noun(len(known), 'extension')}: {', '.join(names)}")


def _check_sender(session: Session, address: str, where: str) -> DoctorFinding:
    """Ask whether the host takes mail with this return path. RSET takes the question back."""
    code, text = _command(session.socket, f"MAIL FROM:<{address}>")
    if code == 250:
        _command(session.socket, "RSET")
        return DoctorFinding("ok", "sender", where, f"takes mail with the return path {address}")
    if 400 <= code < 500:
        message = f"the mail host does not take mail from {address} now: {code} {text}"
        return DoctorFinding(
            "warning", "sender", where, message, "try again later; if it stays, ask the provider of the host"
        )
    message = f"the mail host refuses mail from {address}: {code} {text}" if code else f"the mail host hung up: {text}"
    mend = "let the account send for this address, or correct login, `from` and return_path"
    return DoctorFinding("error", "sender", where, message, mend)


def _command(connection: socket.socket, command: str) -> tuple[int, str]:
    """Send one command and return code and text of the reply. The code is 0 if the connection is lost."""
    try:
        connection.sendall(command.encode("ascii", "replace") + b"\r\n")
        reply = b""
        # The last line of a reply has a space behind its code (RFC 5321 §4.2.1).
        while not reply.endswith(b"\n") or reply.splitlines()[-1][3:4] == b"-":
            data = connection.recv(4096)
            if not data or len(reply) > 65_536:
                return 0, "the connection was lost"
            reply += data
    except OSError as error:
        return 0, shorten_reply(error)
    lines = reply.splitlines()
    code = int(lines[-1][:3]) if lines[-1][:3].isdigit() else 0
    return code, shorten_reply(b" ".join(line[4:] for line in lines))
