"""The guarded HTTP session: it limits which addresses are reached, how long a request takes, and how much is read.

The address is checked on the connection itself, so that a name that resolves differently the second time (DNS
rebinding) reaches nothing inside. Proxies of the environment are ignored, redirects are not followed, answers are
limited in size and time (CVE-2024-47081, CVE-2026-21441).
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import ssl
import threading
import time
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import parse_header_links
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

MAX_RESPONSE = 64 * 1024
"""Bytes of an answer that are read."""
# urllib3 would log the path of each request, and the path may be a secret.
logging.getLogger("urllib3").setLevel(logging.ERROR)
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24", "192.88.99.0/24", "0.0.0.0/8", "240.0.0.0/4", "198.18.0.0/15", "100.64.0.0/10",
        "64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10", "fc00::/7", "fe80::/10", "100::/64", "2001::/23", "2002::/16",
        "2001:db8::/32", "3fff::/20", "5f00::/16", "::/8",
    )
)  # fmt: skip
"""Special-purpose networks (IANA registries, RFC 6890) and deprecated ones. Python's own list differs by version."""


_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".lan", ".home", ".corp", ".home.arpa", ".onion")


def parse_link_header(written: str) -> list[tuple[str, str]]:
    """Return relation and address of each link in a `Link` header (RFC 8288), as they are written."""
    links = parse_header_links(written) if written else []
    return [(rel, link.get("url", "")) for link in links for rel in link.get("rel", "").lower().split()]


def parse_retry_after(value: str, now: datetime, longest: float) -> float | None:
    """Read a `Retry-After` header in either form (RFC 9110 §10.2.3). Returns seconds, at most `longest`.

    Returns None if the value cannot be read.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), longest)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), longest)


class UnknownNameError(NewConnectionError):
    """The host name does not resolve, and the name server does not say "try again"."""


class ForbiddenAddressError(NewConnectionError):
    """The host name resolves to an address of this machine or of a private network."""


class NotSentError(Exception):
    """Nothing was sent: there was no connection, or its address is forbidden. Safe to try again."""


class NoSuchNameError(NotSentError):
    """The host name does not exist, as far as this machine can find out."""


class ConnectionLostError(Exception):
    """The connection was lost after something may have been sent."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """Status, lower-case headers, and the first part of the body, as text and as bytes."""

    status: int
    headers: dict[str, str]
    text: str
    body: bytes = b""
    is_complete: bool = True
    """Whether the body was read to its end."""


def is_public_ip(address: str) -> bool:
    """Whether an IP address is on the open internet: not loopback, private, or of another special network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return is_public_ip(str(ip.ipv4_mapped))
    is_special = any(ip in network for network in _NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not is_special


def is_public_host(host: str) -> bool:
    """Whether a host name looks public: not a single word, not a private address or domain."""
    host = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()
    try:
        return is_public_ip(host)
    except ValueError:
        # A resolver reads `127.1` and `0x7f.1` as addresses.
        is_number = host.rpartition(".")[2][:1].isdecimal()
        return "." in host and not is_number and not host.endswith(_PRIVATE_DOMAINS)


def _dial(connection: Any, *, private: bool) -> socket.socket:
    host, port = connection._dns_host, connection.port
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        is_final = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        fault = UnknownNameError if is_final else NewConnectionError
        raise fault(connection, f"the name does not resolve: {error}") from error
    failure: Exception = NewConnectionError(connection, "the name has no address")
    for family, kind, protocol, _, address in addresses:
        if not private and not is_public_ip(str(address[0])):
            failure = ForbiddenAddressError(
                connection, "the name leads to a private address; `allow_private: true` would permit it"
            )
            continue
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(connection.timeout if isinstance(connection.timeout, (int, float)) else 20.0)
            raw.connect(address)
            # Head and body are written one after the other: Nagle's algorithm would hold the body for 40 ms.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raw.close()
            failure = NewConnectionError(connection, f"no connection: {error}")
            continue
        return raw
    raise failure


class _Wire:
    """The state of the current request of a session."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.begun = False
        """Whether a byte of the request may have been sent."""
        self.cut_off = False

    def reset(self) -> None:
        """Forget the previous request."""
        self.socket, self.begun = None, False

    def begin(self, connection: HTTPConnection) -> None:
        """Note that the connection is open and sending starts."""
        if self.cut_off:
            raise NewConnectionError(connection, "stopping")
        self.socket, self.begun = connection.sock, True

    def cut(self) -> None:
        """End the connection at once. Called from another thread."""
        raw = self.socket
        if raw is not None:
            # Not SSLSocket.shutdown: it takes the session away from the thread that is reading.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(raw, socket.SHUT_RDWR)


def _pools(wire: _Wire, private: bool) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _dial(self, private=private)

        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            wire.begin(self)
            super().send(data)

    class Secure(Plain, HTTPSConnection):
        """The same, with TLS."""

    plain = type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": Plain})
    secure = type("GuardedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": Secure})
    return {"http": plain, "https": secure}


class _Adapter(HTTPAdapter):
    def __init__(self, wire: _Wire, allow_private: bool) -> None:
        self._wire = wire
        self._allow_private = allow_private
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pools(self._wire, self._allow_private)


class GuardedSession:
    """HTTP requests to one service. Not for use by several threads at once."""

    def __init__(self, *, allow_private: bool = False, timeout: float = 20.0) -> None:
        self._timeout = timeout
        self._wire = _Wire()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["User-Agent"] = "Tidings"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._wire, allow_private))

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> HttpResponse:
        """Send a POST. Raises NotSentError or ConnectionLostError. Their messages hide the URL, which may be secret."""
        return self.request("POST", url, body, headers)

    def get(self, url: str) -> HttpResponse:
        """Send a GET. Raises as `post` does."""
        return self.request("GET", url, None, {})

    def request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], most: int = MAX_RESPONSE
    ) -> HttpResponse:
        """Send a request and read at most `most` bytes of the answer. Raises as `post` does."""
        if self._wire.cut_off:
            raise NotSentError("stopping")
        deadline = time.monotonic() + self._timeout
        self._wire.reset()
        # Each read has its own time limit, but a server that sends single bytes slowly would never reach it.
        watch = threading.Timer(2 * self._timeout, self._wire.cut)
        watch.daemon = True
        watch.start()
        try:
            response = self._session.request(
                method, url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
            )
        except (requests.exceptions.RequestException, OSError, ValueError) as error:
            raise self._sorted_out(error) from None
        else:
            try:
                body, whole = _read(response, deadline, most)
            finally:
                response.close()
        finally:
            watch.cancel()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status_code, headers, body.decode("utf-8", "replace"), body, whole)

    def abort(self) -> None:
        """End the current request and start no other. Called from another thread."""
        self._wire.cut_off = True
        self._wire.cut()

    def close(self) -> None:
        """Close the open connections."""
        self._session.close()

    def _sorted_out(self, error: Exception) -> Exception:
        """Return the error to raise. Its message contains neither address nor body."""
        if self._wire.begun:
            slow = isinstance(error, requests.exceptions.Timeout)
            return ConnectionLostError("no answer in time" if slow else "the connection was lost")
        if isinstance(error, requests.exceptions.Timeout):
            return NotSentError("no connection in time")
        reason = getattr(error.args[0], "reason", None) if error.args else None
        cause = reason.args[0] if isinstance(error, requests.exceptions.SSLError) and reason and reason.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotSentError("the certificate is not valid for this name")
        if isinstance(error, requests.exceptions.SSLError):
            return NotSentError("no TLS session")
        if isinstance(reason, ForbiddenAddressError):
            return NotSentError("the name leads to a private address; `allow_private: true` would permit it")
        if isinstance(reason, UnknownNameError):
            return NoSuchNameError("no connection")
        if isinstance(error, requests.exceptions.ConnectionError):
            return NotSentError("no connection")
        if isinstance(error, ValueError):  # requests has several kinds of addresses that are none
            return NotSentError("the address is not valid")
        return NotSentError("the request could not be made")


def _read(response: requests.Response, deadline: float, most: int) -> tuple[bytes, bool]:
    """Read the body up to `most` bytes. Returns it, and whether it is complete.

    The status has arrived already, so an error here ends the reading and is not raised.
    """
    taken = bytearray()
    try:
        for chunk in response.iter_content(4096):
            taken += chunk
            if len(taken) > most or time.monotonic() > deadline:
                return bytes(taken[:most]), False
    except (requests.exceptions.RequestException, OSError, ValueError):
        return bytes(taken[:most]), False
    return bytes(taken), True
