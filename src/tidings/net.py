"""The one guarded HTTP session: what may be dialled, for how long, and how much may come back.

The address is checked on the connection that is actually made, so that a name which answers differently the second time
(DNS rebinding) reaches nothing inside. Proxies of the environment are ignored, redirects are not followed, answers are
capped in size and time (CVE-2024-47081, CVE-2026-21441).
"""

from __future__ import annotations

import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class ForbiddenAddressError(NewConnectionError):
    """The name leads to an address of this machine or of the inner network."""


class NotSentError(Exception):
    """Nothing was handed over: no connection, or refused by us. Safe to try again."""


class LostError(Exception):
    """The connection was lost after something may have been handed over."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, lower-case headers, and the first part of the body as text."""

    status: int
    headers: dict[str, str]
    text: str


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet: no loopback, private, link-local, CGNAT, NAT64 of those."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None or any(ip in network for network in _NAT64):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _dial(connection: Any, *, private: bool) -> socket.socket:
    host, port = connection._dns_host, connection.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NewConnectionError(connection, f"the name does not resolve: {error}") from error
    failure: Exception = NewConnectionError(connection, "the name has no address")
    for family, kind, protocol, _, address in found:
        if not private and not is_public(str(address[0])):
            failure = ForbiddenAddressError(
                connection, "the name leads to a private address; `allow_private: true` would permit it"
            )
            continue
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(connection.timeout if isinstance(connection.timeout, (int, float)) else 20.0)
            raw.connect(address)
        except OSError as error:
            raw.close()
            failure = NewConnectionError(connection, f"no connection: {error}")
            continue
        return raw
    raise failure


class _Http(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self, private=False)


class _Https(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self, private=False)


class _InnerHttp(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self, private=True)


class _InnerHttps(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self, private=True)


def _pools(http: type[HTTPConnection], https: type[HTTPSConnection]) -> dict[str, type[HTTPConnectionPool]]:
    plain = type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": http})
    secure = type("GuardedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": https})
    return {"http": plain, "https": secure}


class _Adapter(HTTPAdapter):
    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = (
            _pools(_InnerHttp, _InnerHttps) if self._allow_private else _pools(_Http, _Https)
        )


class GuardedSession:
    """HTTP requests to one outside service. Not for several threads at once."""

    def __init__(self, *, allow_private: bool = False, timeout: float = 20.0) -> None:
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["User-Agent"] = "Tidings"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(allow_private))

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """One POST. Raises NotSentError or LostError, never with the address in its words: the URL is the secret."""
        deadline = time.monotonic() + self._timeout
        try:
            response = self._session.post(
                url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
            )
        except requests.exceptions.ConnectionError as error:
            raise _sorted_out(error) from None
        except requests.exceptions.Timeout:
            raise LostError("no answer in time") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise NotSentError(f"the request could not be made ({type(error).__name__})") from None
        try:
            text = _read(response, deadline)
        finally:
            response.close()
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, text)


def _read(response: requests.Response, deadline: float) -> str:
    """What is needed of the body; the status has come, so trouble from here on changes nothing."""
    taken = b""
    try:
        for chunk in response.iter_content(4096):
            taken += chunk
            if len(taken) >= MAX_ANSWER or time.monotonic() > deadline:
                break
    except requests.exceptions.RequestException:
        pass
    return taken[:MAX_ANSWER].decode("utf-8", "replace")


def _sorted_out(error: requests.exceptions.ConnectionError) -> Exception:
    """Whether anything can have been handed over."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return NotSentError("no connection in time")
    if isinstance(error, requests.exceptions.SSLError):
        return NotSentError("the certificate is not good for this name")
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, ForbiddenAddressError):
        return NotSentError("the name leads to a private address; `allow_private: true` would permit it")
    if isinstance(reason, NewConnectionError):
        return NotSentError("no connection")
    return LostError("the connection was lost")
