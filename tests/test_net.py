"""What may be dialled."""

from __future__ import annotations

import socket

import pytest

from tidings.net import GuardedSession, NotSentError, is_public
from tidings.testing.http_sink import HttpSink


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "93.184.216.34", "2606:4700::1111"])
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(address)


def test_a_public_name_that_answers_with_an_inner_address_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is on the address that is dialled (DNS rebinding)."""
    with HttpSink() as sink:
        port = int(sink.url.split(":")[2].split("/")[0])
        inner = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        session = GuardedSession(timeout=2)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: inner)
        with pytest.raises(NotSentError, match="allow_private"):
            session.post(f"http://public.example:{port}/", b"", {})
        assert not sink.received


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpSink() as proxy, HttpSink() as sink:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert GuardedSession(allow_private=True).post(sink.url, b"x", {}).status == 200
    assert not proxy.received
