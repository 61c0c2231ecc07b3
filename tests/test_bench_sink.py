"""The benchmark's sink counts and keeps exactly the messages that were sent."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import sinks
from bench.sinks import CSink

from tests.conftest import missing

ENVELOPE = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n"


@pytest.fixture(scope="module", autouse=True)
def _built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if not (shutil.which("cc") or shutil.which("gcc")):
        missing("a C compiler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks, "FOLDER", tmp_path_factory.mktemp("bench"))
        yield


class Client:
    """An SMTP client that sends raw bytes in given pieces."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self.socket.makefile("rb")
        assert self.reply().startswith("220")

    def reply(self) -> str:
        """Read one whole reply: its lines, without CRLF, joined by a slash."""
        lines = []
        while True:
            line = self._file.readline().decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "/".join(lines)

    def codes(self, count: int) -> list[str]:
        """Read `count` replies; returns their codes."""
        return [self.reply()[:3] for _ in range(count)]

    def send(self, *pieces: bytes) -> None:
        """Write each piece separately, late enough that the server reads it separately."""
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.01)
            self.socket.sendall(piece)


@contextlib.contextmanager
def client(sink: CSink) -> Iterator[Client]:
    """A client after EHLO."""
    session = Client(sink.port)
    with session.socket:
        session.send(b"EHLO bench.example\r\n")
        assert session.reply().startswith("250-")
        yield session


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[CSink]:
    with CSink(tmp_path / "sink", every=1) as session:
        yield session


def test_the_sink_offers_its_smtp_extensions(sink: CSink) -> None:
    session = Client(sink.port)
    session.send(b"EHLO bench.example\r\n")
    assert session.reply() == "250-sink.example/250-PIPELINING/250-CHUNKING/250-SIZE 52428800/250 8BITMIME"
    session.send(
        b"MAIL FROM:<a@example.org> SIZE=99999999\r\n", b"DATA\r\n", b"WHAT\r\n", b"RCPT TO:<b@example.net>\r\n"
    )
    assert session.codes(4) == ["552", "503", "500", "503"]
    session.socket.close()


def test_several_messages_in_one_write_are_counted(sink: CSink) -> None:
    with client(sink) as session:
        bodies = [b"Subject: %d\r\n\r\nlines\r\n.. and a dot\r\n" % number for number in range(3)]
        session.send(
            b"".join(ENVELOPE % (b"r%d@example.net" % n) + bodies[n] + b".\r\n" for n in range(3)) + b"QUIT\r\n"
        )
        assert session.codes(13) == ["250", "250", "354", "250"] * 3 + ["221"]
    result = sink.stop()
    assert result.messages == 3
    assert sink.recipients() == ["r0@example.net", "r1@example.net", "r2@example.net"]
    assert [(sink.samples / f"{n + 1}.eml").read_bytes() for n in range(3)] == [
        b"Subject: %d\r\n\r\nlines\r\n. and a dot\r\n" % number for number in range(3)
    ]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"text\r\n.\r\n",),
        (b"text\r", b"\n.\r\n"),
        (b"text\r\n", b".\r\n"),
        (b"text\r\n.", b"\r\n"),
        (b"text\r\n.\r", b"\n"),
        (b"te", b"xt", b"\r", b"\n", b".", b"\r", b"\n"),
    ],
)
def test_the_end_of_a_message_is_found_in_any_pieces(sink: CSink, pieces: tuple[bytes, ...]) -> None:
    with client(sink) as session:
        session.send(ENVELOPE % b"r@example.net")
        assert session.codes(3) == ["250", "250", "354"]
        session.send(*pieces)
        assert session.codes(1) == ["250"]
        session.send(b"NOOP\r\n")
        assert session.codes(1) == ["250"]
    assert sink.stop().messages == 1
    assert (sink.samples / "1.eml").read_bytes() == b"text\r\n"


def test_text_that_looks_like_an_end_is_kept(sink: CSink) -> None:
    body = b"\r\n..\r\nx.\r\n\n.\n\r.\r\r\n.. \r\n\r\n\r\r\n..\r\n"
    with client(sink) as session:
        session.send(ENVELOPE % b"r@example.net")
        assert session.codes(3) == ["250", "250", "354"]
        session.send(*(body[at : at + 1] for at in range(len(body))))
        session.send(b".\r\n")
        assert session.codes(1) == ["250"]
    sink.stop()
    assert (sink.samples / "1.eml").read_bytes() == body.replace(b"\r\n..", b"\r\n.")


def test_an_empty_message_is_only_a_dot(sink: CSink) -> None:
    with client(sink) as session:
        session.send(ENVELOPE % b"r@example.net" + b".\r\n")
        assert session.codes(4) == ["250", "250", "354", "250"]
    sink.stop()
    assert (sink.samples / "1.eml").read_bytes() == b""


def test_bdat_chunks_are_joined(sink: CSink) -> None:
    with client(sink) as session:
        session.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<r@example.net>\r\nBDAT 7\r\nfour\r\n.BDAT 3 LAST\r\n\r\n.")
        assert session.codes(4) == ["250", "250", "250", "250"]
        session.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<s@example.net>\r\nBDAT 2\r\nabBDAT 0 LAST\r\nNOOP\r\n")
        assert session.codes(5) == ["250"] * 5
        session.send(b"BDAT 3 LAST\r\nabc")
        assert session.codes(1) == ["503"]
    assert sink.stop().messages == 2
    assert sink.recipients() == ["r@example.net", "s@example.net"]
    assert (sink.samples / "1.eml").read_bytes() == b"four\r\n.\r\n."
    assert (sink.samples / "2.eml").read_bytes() == b"ab"


def test_large_messages_over_several_connections(tmp_path: Path) -> None:
    sink = CSink(tmp_path / "sink", every=10)
    body = b"".join(b"line %d of a large message.\r\n" % number for number in range(30_000))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(sink)) for _ in range(4)]
        for number in range(20):
            session = clients[number % 4]
            session.send(ENVELOPE % (b"r%d@example.net" % number) + body + b".\r\n")
        for session in clients:
            assert session.codes(20) == ["250", "250", "354", "250"] * 5
    result = sink.stop()
    assert (result.messages, result.most_connections) == (20, 4)
    assert sorted(sink.recipients()) == sorted(f"r{number}@example.net" for number in range(20))
    samples = list(sink.samples.iterdir())
    assert len(samples) == 2
    assert all(sample.read_bytes() == body for sample in samples)


def test_an_unfinished_message_is_not_counted(sink: CSink) -> None:
    with client(sink) as session:
        session.send(ENVELOPE % b"r@example.net" + b"Subject: x\r\n\r\nhalf of")
        assert session.codes(3) == ["250", "250", "354"]
    with client(sink) as session:
        session.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<s@example.net>\r\nRSET\r\nDATA\r\n")
        assert session.codes(4) == ["250", "250", "250", "503"]
    assert sink.stop().messages == 0
    assert sink.recipients() == []


def test_pipelined_commands_share_one_delay(tmp_path: Path) -> None:
    sink = CSink(tmp_path / "sink", delay_ms=1500, every=1)
    with client(sink) as session:
        began = time.monotonic()
        session.send(ENVELOPE % b"r@example.net" + b"x\r\n.\r\nQUIT\r\n")
        assert session.codes(5) == ["250", "250", "354", "250", "221"]
        assert 1.5 <= time.monotonic() - began < 5 * 1.5
        assert session.reply() == ""
    assert sink.stop().messages == 1


def test_pipelining_can_be_switched_off(tmp_path: Path) -> None:
    with CSink(tmp_path / "sink", pipelining=False) as sink:
        session = Client(sink.port)
        with session.socket:
            session.send(b"EHLO bench.example\r\n")
            assert "PIPELINING" not in session.reply()
