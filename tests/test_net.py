"""Which addresses may be connected to, and what a failed request tells."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tidings import net
from tidings.net import ConnectionLostError, GuardedSession, NotSentError, is_public_host, is_public_ip
from tidings.testing.http_sink import HttpSink


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
     "fec0::1", "192.0.0.8", "192.0.0.170", "192.88.99.1", "198.18.0.1", "240.0.0.1", "::127.0.0.1", "100::1",
     "2001:2::1", "2001:20::1", "3fff::1", "5f00::1", "ff02::1"],
)  # fmt: skip
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public_ip(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "93.184.216.34", "2606:4700::1111"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public_ip(address)


def test_a_public_name_with_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is on the connected address (DNS rebinding)."""
    with HttpSink() as sink:
        port = int(sink.url.split(":")[2].split("/")[0])
        inner = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        session = GuardedSession(timeout=2)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: inner)
        with pytest.raises(NotSentError, match="allow_private"):
            session.post(f"http://public.example:{port}/", b"", {})
        assert not sink.received


def test_a_get_is_guarded_as_a_post_is() -> None:
    with HttpSink() as sink:
        assert GuardedSession(allow_private=True).get(sink.url).status == 200
        assert [request.method for request in sink.received] == ["GET"]
        with pytest.raises(NotSentError, match="allow_private"):
            GuardedSession().get(sink.url)


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpSink() as proxy, HttpSink() as sink:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert GuardedSession(allow_private=True).post(sink.url, b"x", {}).status == 200
    assert not proxy.received


# -- could the server have accepted the request? ----------------------------------------------------------------------


class Server:
    """Serve one connection: `talk` gets it, with TLS if there is a certificate."""

    def __init__(self, talk: Callable[[socket.socket], None], pair: tuple[Path, Path] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._talk = talk
        self._pair = pair
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Server:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        with raw, contextlib.suppress(OSError):
            if self._pair is None:
                self._talk(raw)
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._pair)
            with context.wrap_socket(raw, server_side=True) as secure:
                self._talk(secure)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem, private = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pem, private


def _take(connection: socket.socket) -> None:
    while b"body" not in connection.recv(4096):
        pass


def test_a_bad_certificate_means_that_nothing_was_sent(pair: tuple[Path, Path]) -> None:
    with Server(_take, pair) as server, pytest.raises(NotSentError, match="certificate"):
        GuardedSession(allow_private=True, timeout=120).post(f"https://localhost:{server.port}/", b"body", {})


def test_a_server_without_tls_means_that_nothing_was_sent() -> None:
    greeting = b"220 hello\r\n" * 9
    with Server(lambda connection: connection.sendall(greeting)) as server, pytest.raises(NotSentError, match="TLS"):
        GuardedSession(allow_private=True, timeout=120).post(f"https://localhost:{server.port}/", b"body", {})


@pytest.mark.parametrize("last", [b"", b"\x15\x03\x03\x00\x02\x02\x50", b"\x17\x03\x03\x00\x20" + b"x" * 32])
def test_tls_that_breaks_after_the_request_leaves_doubt(pair: tuple[Path, Path], last: bytes) -> None:
    """The library gives a broken record, an alert and a bad certificate the same name."""

    def talk(connection: socket.socket) -> None:
        _take(connection)
        os.write(connection.fileno(), last)

    session = GuardedSession(allow_private=True, timeout=120)
    session._session.verify = str(pair[0])
    with Server(talk, pair) as server, pytest.raises(ConnectionLostError):
        session.post(f"https://localhost:{server.port}/", b"body", {})


def test_a_dripping_server_does_not_hold_us() -> None:
    def talk(connection: socket.socket) -> None:
        _take(connection)
        connection.sendall(b"HTTP/1.1 ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    begun = time.monotonic()
    with Server(talk) as server, pytest.raises(ConnectionLostError):
        GuardedSession(allow_private=True, timeout=0.3).post(f"http://127.0.0.1:{server.port}/", b"body", {})
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("secure", [False, True])
def test_abort_ends_a_request_and_lets_no_other_begin(pair: tuple[Path, Path], secure: bool) -> None:
    def talk(connection: socket.socket) -> None:
        _take(connection)
        threading.Timer(0.1, session.abort).start()
        time.sleep(90)

    session = GuardedSession(allow_private=True, timeout=120)
    session._session.verify = str(pair[0])
    with Server(talk, pair if secure else None) as server:
        url = f"{'https' if secure else 'http'}://localhost:{server.port}/"
        begun = time.monotonic()
        with pytest.raises(ConnectionLostError):
            session.post(url, b"body", {})
        with pytest.raises(NotSentError, match="stopping"):
            session.post(url, b"body", {})
    assert time.monotonic() - begun < 60


def test_an_answer_that_drips_without_end_is_cut_at_the_deadline() -> None:
    """Each chunk comes in time, so only the deadline of the whole answer ends it."""

    class Dripping:
        def iter_content(self, size: int) -> Iterator[bytes]:
            yield from (b"x" for _ in range(1_000))

    body, is_complete = net._read(Dripping(), time.monotonic() - 1, 1_000_000)  # type: ignore[arg-type]
    assert (body, is_complete) == (b"x", False)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.",
        "a.LOCALHOST",
        "printer.local.",
        "nas.LAN",
        "x.home.arpa",
        "127.1",
        "0177.0.0.1",
        "0x7f.1",
        "①②⑦.⓪.⓪.①",
    ],
)
def test_another_spelling_of_a_private_host_is_private(host: str) -> None:
    assert not is_public_host(host)
    assert is_public_host("news.example.org.")
