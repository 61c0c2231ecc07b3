"""Outcomes of SMTP: only a reply lost after the final dot is in doubt."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import AuthResult

from tests.channels.smtp.single_mail import SingleMailTransport
from tests.conftest import require_program
from tests.fixtures.smtp import SmtpSink
from tests.fixtures.waiting import wait_until
from tidings.channels.smtp.connection import Connection
from tidings.channels.smtp.login import Login, Session
from tidings.channels.smtp.protocol import Timeouts
from tidings.channels.smtp.relay import SmtpRelay, _QueueRun
from tidings.model.delivery import Outcome, Verdict

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

DATA = b"Message-ID: <1@example.org>\r\nSubject: x\r\n\r\nhello\r\n"


OFFERS = {
    "plain": ("8BITMIME",),
    "pipelined": ("8BITMIME", "PIPELINING"),
    # It refuses BDAT, as a proxy in front of the relay may.
    "chunking": ("8BITMIME", "PIPELINING", "CHUNKING"),
}


@pytest.fixture(params=OFFERS.values(), ids=list(OFFERS))
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path / "sink.journal", extensions=request.param) as running:
        yield running


relays: list[SmtpRelay] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for relay in relays:
        relay.close()
    relays.clear()


def _relay(host: str, port: int, *, timeouts: Timeouts | None = None, **options: Any) -> SmtpRelay:
    """Make a relay that is closed after the test."""
    reached = options.pop("reached", lambda point: None)
    options.setdefault("timeout", 5)
    relays.append(SmtpRelay(Login(host, port, **options), timeouts=timeouts, reached=reached))
    return relays[-1]


@pytest.fixture
def transport(sink: SmtpSink) -> SmtpRelay:
    return _relay("127.0.0.1", sink.port, timeouts=Timeouts(5, 1))


def _send(transport: SmtpRelay, local: str) -> Outcome:
    return SingleMailTransport(transport).send("bounces@example.org", f"{local}@example.org", DATA)


def test_accepted_carries_the_queue_id(transport: SmtpRelay, sink: SmtpSink) -> None:
    outcome = _send(transport, "ada")
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.receipt == f"2.0.0 Ok: queued as {sink.taken()[0]['id']}"
    assert outcome.via == "127.0.0.1"


@pytest.mark.parametrize(
    ("local", "verdict", "taken"),
    [
        ("rcpt-550", Verdict.REJECTED, 0),
        ("patient-550", Verdict.REJECTED, 0),
        ("rcpt-450", Verdict.DEFERRED, 0),
        ("rcpt-452", Verdict.DEFERRED, 0),
        ("rcpt-552", Verdict.DEFERRED, 0),
        ("rcpt-421", Verdict.DEFERRED, 0),
        ("rst-rcpt", Verdict.DEFERRED, 0),
        ("dot-451", Verdict.DEFERRED, 0),
        ("dot-421", Verdict.DEFERRED, 0),
        ("dot-554", Verdict.REJECTED, 0),
        ("dot-552", Verdict.REJECTED, 0),
        ("lost", Verdict.UNKNOWN, 1),
        ("stall", Verdict.UNKNOWN, 1),
        ("garbage", Verdict.UNKNOWN, 1),
        ("taken-then-rst", Verdict.ACCEPTED, 1),
    ],
)
def test_only_a_reply_lost_after_the_dot_is_in_doubt(
    transport: SmtpRelay, sink: SmtpSink, local: str, verdict: Verdict, taken: int
) -> None:
    outcome = _send(transport, local)
    assert outcome.verdict is verdict, outcome
    assert len(sink.taken()) == taken
    if verdict is not Verdict.ACCEPTED:
        assert outcome.reason
        assert "\n" not in outcome.reason
    # Whatever happened, the next message goes through.
    assert _send(transport, "grace").verdict is Verdict.ACCEPTED


def test_a_big_body_cut_off_before_its_dot_is_not_in_doubt(transport: SmtpRelay) -> None:
    # Larger than both socket buffers: the reset arrives during the write.
    data = DATA + (b"x" * 70 + b"\r\n") * 400_000
    outcome = SingleMailTransport(transport).send("b@example.org", "rst-data@example.org", data)
    assert outcome.verdict is Verdict.DEFERRED


def test_one_connection_carries_many(transport: SmtpRelay, sink: SmtpSink) -> None:
    for number in range(20):
        assert _send(transport, f"reader{number}").verdict is Verdict.ACCEPTED
    assert sink.opened == 1
    assert len({entry["to"] for entry in sink.taken()}) == 20


def test_a_kept_connection_that_the_relay_closed_loses_nothing(transport: SmtpRelay, sink: SmtpSink) -> None:
    sink.close_after = 3
    for number in range(10):
        assert _send(transport, f"reader{number}").verdict is Verdict.ACCEPTED
    assert sink.opened == 4
    assert len(sink.taken()) == 10


def test_a_refusal_leaves_the_connection_usable(transport: SmtpRelay, sink: SmtpSink) -> None:
    assert _send(transport, "rcpt-550").verdict is Verdict.REJECTED
    assert _send(transport, "ada").verdict is Verdict.ACCEPTED
    assert sink.opened == 1
    assert "RSET" in sink.commands


def test_a_refused_sender_is_deferred(transport: SmtpRelay) -> None:
    outcome = SingleMailTransport(transport).send("refused-sender@example.org", "ada@example.org", DATA)
    assert outcome.verdict is Verdict.DEFERRED
    assert outcome.reason == "550 5.7.1 not you (MAIL)"


def test_no_relay_is_not_started() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    outcome = SingleMailTransport(_relay("127.0.0.1", port, timeout=2)).send("b@example.org", "ada@example.org", DATA)
    assert outcome.verdict is Verdict.NOT_STARTED
    assert str(port) in outcome.reason


def test_a_relay_that_closes_at_its_greeting_is_not_started(transport: SmtpRelay, sink: SmtpSink) -> None:
    sink.greeting = "421 4.3.2 too busy"
    assert _send(transport, "ada").verdict is Verdict.NOT_STARTED


@pytest.mark.parametrize(
    "address", ["a\r\nRCPT TO:<b@example.org>", "a@b\n", "a>b@example.org", "a b@example.org", "\0@x"]
)
def test_no_command_is_smuggled_in_an_address(transport: SmtpRelay, sink: SmtpSink, address: str) -> None:
    for envelope in (("b@example.org", address), (address, "b@example.org")):
        outcome = SingleMailTransport(transport).send(*envelope, DATA)
        assert outcome.verdict is Verdict.REJECTED
        assert "SMTP command" in outcome.reason
    assert sink.taken() == []
    assert not [command for command in sink.commands if command.startswith(("MAIL", "RCPT"))]


def test_lone_line_ends_and_dots_cannot_end_a_message_early(transport: SmtpRelay, sink: SmtpSink) -> None:
    body = b"Message-ID: <1@x>\n\n.\n.\r.\r\n..two\r\n.MAIL FROM:<evil@example.org>\r\nno end"
    assert SingleMailTransport(transport).send("b@example.org", "ada@example.org", body).verdict is Verdict.ACCEPTED
    (entry,) = sink.taken()
    assert (
        entry["text"] == "Message-ID: <1@x>\r\n\r\n.\r\n.\r\n.\r\n..two\r\n.MAIL FROM:<evil@example.org>\r\nno end\r\n"
    )
    assert not [command for command in sink.commands if "evil" in command]


def test_a_non_ascii_address_is_refused_without_smtputf8(transport: SmtpRelay, sink: SmtpSink) -> None:
    outcome = SingleMailTransport(transport).send("b@example.org", "жібек@example.org", DATA)
    assert outcome.verdict is Verdict.REJECTED
    assert "SMTPUTF8" in outcome.reason
    assert sink.taken() == []


def test_a_non_ascii_address_is_sent_with_smtputf8(tmp_path: Path) -> None:
    with SmtpSink(tmp_path / "j", extensions=("8BITMIME", "SMTPUTF8")) as sink:
        transport = _relay("127.0.0.1", sink.port)
        assert (
            SingleMailTransport(transport).send("b@example.org", "жібек@example.org", DATA).verdict is Verdict.ACCEPTED
        )
        assert SingleMailTransport(transport).send("b@example.org", "ada@example.org", DATA).verdict is Verdict.ACCEPTED
        assert [entry["to"] for entry in sink.taken()] == ["жібек@example.org", "ada@example.org"]
        mails = [command for command in sink.commands if command.startswith("MAIL")]
        assert [mail.endswith("SMTPUTF8") for mail in mails] == [True, False]


def test_no_mail_is_sent_if_starttls_is_not_offered(sink: SmtpSink) -> None:
    transport = _relay("127.0.0.1", sink.port, security="starttls")
    outcome = _send(transport, "ada")
    assert outcome.verdict is Verdict.NOT_STARTED
    assert "STARTTLS" in outcome.reason
    assert sink.taken() == []


class _Some:
    """A queue with a message for each name. Messages of `barred` may not begin."""

    sender = "bounces@example.org"

    def __init__(self, names: list[str], barred: str = "", data: bytes = DATA) -> None:
        self._left = list(names)
        self._barred = barred
        self._data = data
        self.together: list[int] = []
        """Number of messages that were announced together."""
        self.ended: dict[str, Outcome] = {}
        self.taken_back: list[str] = []

    def take(self) -> Any:
        return (
            SimpleNamespace(
                sender=self.sender, recipient=f"{self._left.pop(0)}@example.org", wire=(self._data,), is_plain=False
            )
            if self._left
            else None
        )

    def begin(self, mails: Sequence[Any]) -> list[bool]:
        self.together.append(len(mails))
        return [mail.recipient.partition("@")[0] != self._barred for mail in mails]

    def record_accepted(self, mail: Any, receipt: str, via: str) -> None:
        self.record_outcome(mail, Outcome(Verdict.ACCEPTED, receipt, via))

    def record_outcome(self, mail: Any, outcome: Outcome) -> None:
        self.ended[mail.recipient.partition("@")[0]] = outcome

    def give_back(self, mail: Any) -> None:
        name = mail.recipient.partition("@")[0]
        self.taken_back.append(name)
        if name != self._barred:
            self._left.append(name)

    def seconds_until_next(self) -> float | None:
        return 0.0 if self._left else None

    def flush_outcomes(self) -> None:
        pass

    def stall(self, reason: str) -> None:
        raise AssertionError(reason)


def test_a_message_that_may_not_begin_does_not_stop_the_others(transport: SmtpRelay, sink: SmtpSink) -> None:
    names = [f"reader{number}" for number in range(8)]
    queue = _Some(names, barred="reader3")
    transport.send_all(queue, connections=1)
    assert queue.taken_back[0] == "reader3"
    assert {entry["to"].partition("@")[0] for entry in sink.taken()} == {*names} - {"reader3"}
    assert {name for name, one in queue.ended.items() if one.verdict is Verdict.ACCEPTED} == {*names} - {"reader3"}
    # After DATA, a message can only be taken back by closing the connection.
    assert sink.opened == 2


def test_ready_connections_are_announced_together_after_prefetch() -> None:
    """Taking a message may wait for the ledger, and a reader may unsubscribe meanwhile. Ready messages go first."""
    said: list[str] = []

    class Ready:
        closed, out, is_watched_for_writing = "", b"", False

        def __init__(self, name: str) -> None:
            self.next_mail = SimpleNamespace(recipient=f"{name}@example.org")
            self.is_ready = True

        def prefetch(self) -> None:
            said.append("prefetch")

        def send_body(self, is_permitted: bool) -> None:
            self.is_ready = False
            said.append("goes" if is_permitted else "taken back")

    queue = _Some([], barred="bob")
    begin = queue.begin
    queue.begin = lambda mails: said.append("announced") or begin(mails)  # type: ignore[func-returns-value, method-assign]
    run = _QueueRun(_relay("127.0.0.1", 1), queue, 3)
    run._begin([(number, Ready(name)) for number, name in enumerate(("ada", "bob", "cy"))])  # type: ignore[misc]
    assert queue.together == [3]
    assert said == ["prefetch"] * 3 + ["announced"] + ["goes"] * 2 + ["taken back"]


def test_a_late_session_is_used_and_a_failed_one_forgotten(sink: SmtpSink) -> None:
    """The run that opened them had ended, perhaps hours before."""
    relay = _relay("127.0.0.1", sink.port)
    relay.open_connection()
    wait_until(lambda: bool(relay._opened))
    sink.greeting = "421 too many connections"
    relay.open_connection()
    wait_until(lambda: len(relay._opened) == 2)
    sink.greeting = "220 sink.example ESMTP"
    queue = _Some(["ada"])
    relay.send_all(queue, connections=1)
    assert queue.ended["ada"].verdict is Verdict.ACCEPTED
    assert sink.opened == 2


def test_late_sessions_that_were_closed_lose_nothing(sink: SmtpSink) -> None:
    relay = _relay("127.0.0.1", sink.port)
    for _ in range(4):
        relay.open_connection()
    wait_until(lambda: len(relay._opened) == 4)
    sink.hang_up()
    queue = _Some([f"reader{number}" for number in range(8)])
    relay.send_all(queue, connections=4)
    assert {one.verdict for one in queue.ended.values()} == {Verdict.ACCEPTED}
    assert len(queue.ended) == 8
    assert queue.taken_back == []


@pytest.mark.parametrize("code", [421, 450, 451, 452])
@pytest.mark.parametrize("offers", [("PIPELINING",), ()], ids=["pipelined", "plain"])
def test_a_session_limit_opens_a_new_session(tmp_path: Path, code: int, offers: tuple[str, ...]) -> None:
    with SmtpSink(tmp_path / "sink.journal", extensions=offers) as sink:
        sink.session_limit, sink.limit_code = 3, code
        queue = _Some([f"reader{number}" for number in range(10)])
        _relay("127.0.0.1", sink.port).send_all(queue, connections=1)
        assert {outcome.verdict for outcome in queue.ended.values()} == {Verdict.ACCEPTED}
        assert len(queue.ended) == len(sink.taken()) == 10
        assert sink.opened == 4


def test_an_offer_of_chunking_loses_nothing(tmp_path: Path) -> None:
    """A relay offered CHUNKING and answered 502 to BDAT, so that mails were rejected. We send DATA only."""
    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING", "CHUNKING", "BINARYMIME")) as sink:
        queue = _Some([f"reader{number}" for number in range(3)])
        _relay("127.0.0.1", sink.port).send_all(queue, connections=1)
        assert {outcome.verdict for outcome in queue.ended.values()} == {Verdict.ACCEPTED}
        assert len(sink.taken()) == 3


def test_a_refused_sender_on_a_fresh_session_is_deferred(tmp_path: Path) -> None:
    """Otherwise a relay that always refuses this sender would get a new connection again and again."""
    with SmtpSink(tmp_path / "sink.journal", extensions=("PIPELINING",)) as sink:
        sink.session_limit, sink.limit_code = 0, 451
        queue = _Some(["ada"])
        _relay("127.0.0.1", sink.port).send_all(queue, connections=1)
        assert queue.ended["ada"].verdict is Verdict.DEFERRED
        assert sink.opened == 1


def test_a_message_that_went_out_whole_over_tls_is_in_doubt(certificate: tuple[Path, Path]) -> None:
    """OpenSSL does not report records that it wrote before it had to wait for buffer space."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*certificate)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    for records in range(1, 40):
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        sockets: list[ssl.SSLSocket] = []
        thread = threading.Thread(target=lambda: sockets.append(server_side.wrap_socket(theirs, server_side=True)))  # noqa: B023
        thread.start()
        client = client_side.wrap_socket(ours)
        thread.join()
        (server,) = sockets
        # The message fills its last record exactly; the next envelope is in the next record.
        size = 16_384 * records - len(b".\r\n")
        queue = _Some(["ada", "bob"], data=b"x" * (size - 2) + b"\r\n")
        session = Session(client, {"pipelining": ""})
        connection = Connection(session, "mx", queue, timeouts=Timeouts(5, 5), reached=lambda point: None)
        connection.start_next()
        server.recv(1000)
        server.sendall(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        select.select([client], [], [], 5)
        connection.on_readable()
        connection.prefetch()
        connection.send_body(True)
        connection.abort("broken")
        server.settimeout(0.2)
        received = b""
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                received += data
        server.close()
        whole = len(received) >= 16_384 * records
        assert queue.ended["ada"].verdict is (Verdict.UNKNOWN if whole else Verdict.DEFERRED), records


def test_abort_after_the_dot_leaves_the_message_in_doubt(sink: SmtpSink) -> None:
    arrived = threading.Event()
    transport = _relay(
        "127.0.0.1",
        sink.port,
        timeouts=Timeouts(60, 300),
        reached=lambda point: arrived.set() if point == "after-dot" else None,
    )
    sink.delay = 90
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(_send(transport, "ada")))
    thread.start()
    assert arrived.wait(60)
    transport.abort()
    thread.join(60)
    assert not thread.is_alive()
    assert outcomes[0].verdict is Verdict.UNKNOWN
    # No new connection after that.
    assert _send(transport, "grace").verdict is Verdict.NOT_STARTED


# -- against servers of other projects --------------------------------------------------------------------------------


class _Keep(MessageHandler):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def handle_message(self, message: object) -> None:
        self.got.append(str(message["X-RcptTo"]))  # type: ignore[index]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    command = [require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=digitalSignature,keyCertSign"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def _authenticate(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
    good = getattr(data, "login", b"") == b"news" and getattr(data, "password", b"") == b"s3cret"
    return AuthResult(success=good, handled=False)


@pytest.fixture(params=["starttls", "tls"])
def secure(request: pytest.FixtureRequest, certificate: tuple[Path, Path]) -> Iterator[tuple[str, int, _Keep]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    handler = _Keep()
    options: dict[str, object] = {"authenticator": _authenticate, "auth_required": True}
    if request.param == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options |= {"ssl_context": context, "auth_require_tls": False}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port, **options)
    controller.start()
    yield request.param, port, handler
    for relay in relays:
        relay.close()
    # The server gets the QUIT before it stops.
    time.sleep(0.2)
    controller.stop()


def test_login_over_tls(secure: tuple[str, int, _Keep], certificate: tuple[Path, Path]) -> None:
    security, port, handler = secure
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    transport = _relay(
        "localhost", port, security=security, username="news", password="s3cret", context=lambda: trusted
    )
    assert _send(transport, "ada").verdict is Verdict.ACCEPTED
    assert _send(transport, "grace").verdict is Verdict.ACCEPTED
    assert handler.got == ["ada@example.org", "grace@example.org"]


def test_a_wrong_smtp_password_is_reported_and_not_shown(
    secure: tuple[str, int, _Keep], certificate: tuple[Path, Path]
) -> None:
    security, port, handler = secure
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    transport = _relay(
        "localhost", port, security=security, username="news", password="hunter2", context=lambda: trusted
    )
    outcome = _send(transport, "ada")
    assert outcome.verdict is Verdict.NOT_STARTED
    assert re.search("refused the login: 535", outcome.reason)
    assert "hunter2" not in outcome.reason
    assert handler.got == []


def test_an_untrusted_certificate_is_refused(secure: tuple[str, int, _Keep]) -> None:
    security, port, handler = secure
    transport = _relay("localhost", port, security=security, username="news", password="s3cret")
    outcome = _send(transport, "ada")
    assert outcome.verdict is Verdict.NOT_STARTED
    assert "certificate" in outcome.reason
    assert handler.got == []
