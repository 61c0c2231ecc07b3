"""A running newsroom receives feedback by its port and its mailbox, and reports failures of both."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from tests.fixtures.newsroom import DAILY, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import wait_until
from tests.servers.dovecot import dovecot
from tidings.config.bounces import BounceMailbox
from tidings.model.errors import RefusedError
from tidings.pipeline.track.events import FeedbackResult
from tidings.runtime.bounces import receivers as bounce_receivers
from tidings.runtime.bounces.imap import MailboxError, read_mailbox
from tidings.runtime.bounces.lmtp import MAX_MESSAGE
from tidings.runtime.bounces.receivers import FeedbackReceivers
from tidings.store import schema as t
from tidings.store.people import subscribers

SAMPLE = Path(__file__).parents[2] / "pipeline/track/returns/postfix-unknown.eml"
BOUNCE = SAMPLE.read_bytes().replace(b"ada@example.net", b"ada@example.org")

LEAVE = "leave@example.org"
LONG = b"y\n" * 900_000


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as opened:
        yield opened


def _hand(port: int, to: str, data: bytes = BOUNCE) -> tuple[int, bytes]:
    with smtplib.LMTP("127.0.0.1", port, local_hostname="x", timeout=120) as session:
        session.ehlo()
        session.mail("")
        code, text = session.rcpt(to)
        return session.data(data) if code == 250 else (code, text)


def test_bounce_to_the_return_path_is_handled(
    newsroom: RunningNewsroom,
) -> None:
    port = free_port()
    newsroom.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nnotify:")
    ada, eve = newsroom.reader("ada"), newsroom.reader("eve")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    [mail], [other] = newsroom.mails(ada), newsroom.mails(eve)
    assert mail.sender.startswith("bounces+")
    assert mail.sender.endswith("@example.org")
    assert len({mail.sender, other.sender}) == 2
    receivers = FeedbackReceivers(newsroom.runtime, lambda: None)
    receivers.open_port()
    try:
        assert _hand(port, mail.sender) == (250, b"2.0.0 noted")
        assert _hand(port, "bounces@example.org", b"X: " + b"x" * 100_000 + b"\r\n\r\nx") == (250, b"2.0.0 ignored")
        assert _hand(port, "bounces@example.org", (b"x" * 998 + b"\r\n") * (MAX_MESSAGE // 1000 + 1))[0] == 552
        assert _hand(port, "eve@example.org")[0] == 550
        with pytest.raises(RefusedError, match="lmtp"):
            FeedbackReceivers(newsroom.runtime, lambda: None).open_port()
    finally:
        assert receivers.stop(120)
    assert {entry.address: entry.returned for entry in newsroom.entries()} == {ada: "hard", eve: ""}
    # A person whose mailbox is gone gets no more mail.
    newsroom.item("two")
    newsroom.tick(MONDAY + timedelta(days=1))
    assert (len(newsroom.mails(ada)), len(newsroom.mails(eve))) == (1, 2)


def test_mail_server_keeps_bounces_while_the_store_is_away(newsroom: RunningNewsroom) -> None:
    port = free_port()
    newsroom.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nnotify:")
    address = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    [mail] = newsroom.mails(address)
    with newsroom.runtime.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE feedback RENAME TO away")
    receivers = FeedbackReceivers(newsroom.runtime, lambda: None)
    receivers.open_port()
    try:
        assert _hand(port, mail.sender)[0] == 451
        with newsroom.runtime.store.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO feedback")
        assert _hand(port, mail.sender) == (250, b"2.0.0 noted")
    finally:
        assert receivers.stop(120)


@pytest.mark.parametrize("subject", ["Subject: unsubscribe\r\n", ""])
def test_a_mail_to_the_leaving_address_is_told(newsroom: RunningNewsroom, subject: str) -> None:
    """It was answered `250 ignored`, and nobody saw it."""
    port = free_port()
    newsroom.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}', authority: mx.example.org}}\nnotify:")
    ada, eve = newsroom.reader("ada"), newsroom.reader("eve")
    woken: list[bool] = []
    receivers = FeedbackReceivers(newsroom.runtime, lambda: woken.append(True))
    receivers.open_port()
    proof = f"Authentication-Results: mx.example.org; dmarc=pass header.from={ada.partition('@')[2]}\r\n"
    try:
        assert _hand(port, LEAVE, f"{proof}{subject}From: {ada}\r\n\r\nbye\r\n".encode()) == (250, b"2.0.0 noted")
        assert not woken
        assert _hand(port, LEAVE, f"{subject}From: {eve}\r\n\r\nbye\r\n".encode()) == (250, b"2.0.0 noted")
        assert woken
    finally:
        assert receivers.stop(120)
    with newsroom.runtime.store.read() as connection:
        states = {each.address: each.state for each in subscribers.subscriptions(connection, list_name="digest")}
        [text] = connection.execute(select(t.notices.c.text)).scalars()
    assert states == {ada: subscribers.UNSUBSCRIBED, eve: subscribers.CONFIRMED}
    assert f"tidings subscribers remove {eve} --list digest" in text


def test_a_message_that_fails_keeps_no_other_back(
    newsroom: RunningNewsroom, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mailbox was never read again after one such message."""

    def fail_at_first(runtime: object, raw: bytes, *_: object) -> FeedbackResult:
        if b"poison" in raw:
            raise RuntimeError("a fault")
        return FeedbackResult("hard")

    monkeypatch.setattr(bounce_receivers, "receive_message", fail_at_first)
    for number, word in enumerate((b"poison", b"bounce")):
        _put(box, number, b"From: mailer-daemon@x.example\nSubject: " + word + b"\n\nx\n")
    receivers = FeedbackReceivers(newsroom.runtime, lambda: None)
    with dovecot(box) as server:
        store = newsroom.runtime.store
        assert read_mailbox(store, _settings(server.port), receivers._receiver("mailbox")) == 2
        assert server.flags() == ["", r"\Seen"]
    with newsroom.runtime.store.read() as connection:
        [text] = connection.execute(select(t.notices.c.text)).scalars()
    assert "poison" in text


def test_without_verp_every_mail_has_the_same_return_path(newsroom: RunningNewsroom) -> None:
    newsroom.configure("return_path:", "verp: false, return_path:")
    address = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    [mail] = newsroom.mails(address)
    assert mail.sender == "bounces@example.org"


@pytest.mark.slow
def test_the_service_listens(newsroom: RunningNewsroom) -> None:
    port, web = free_port(), free_port()
    newsroom.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nweb: {{port: {web}}}\nnotify:")
    address = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    [mail] = newsroom.mails(address)
    environment = os.environ | newsroom.folder.env
    command = [sys.executable, "-m", "tidings", "run", "-C", str(newsroom.folder.root)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as service:
        try:
            end = time.monotonic() + 120
            while True:
                try:
                    assert _hand(port, mail.sender) == (250, b"2.0.0 noted")
                    break
                except OSError:
                    assert service.poll() is None, service.stdout.read() if service.stdout else b""
                    assert time.monotonic() < end
                    time.sleep(0.2)
        finally:
            service.send_signal(signal.SIGTERM)
            output = service.communicate(timeout=120)[0].decode()
    assert service.returncode == 0
    assert f"Bounces: LMTP at 127.0.0.1:{port}" in output
    with newsroom.runtime.store.read() as connection:
        [one] = subscribers.subscriptions(connection, address=address)
    assert one.state == subscribers.UNSUBSCRIBED


# -- the mailbox ------------------------------------------------------------------------------------------------------


@pytest.fixture
def box() -> Iterator[Path]:
    """An empty maildir, outside of pytest's own folder, which the server's user cannot open."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-box-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("", "new", "cur", "tmp"):
        (folder / "box" / name).mkdir()
        _give(folder / "box" / name)
    yield folder / "box"
    shutil.rmtree(folder)


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        owner = pwd.getpwnam("nobody")
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _put(box: Path, number: int, mail: bytes) -> None:
    path = box / "new" / f"1700000{number:03d}.M{number}.x"
    path.write_bytes(mail)
    _give(path)


def _settings(port: int, **more: str) -> BounceMailbox:
    given = {"host": "127.0.0.1", "port": str(port), "security": "none", "username": "bounces", "password": "secret"}
    return BounceMailbox.model_validate(given | more)


def test_mailbox_is_read_once_and_other_mail_stays_unread(newsroom: RunningNewsroom, box: Path) -> None:
    for number, mail in enumerate((b"bounce\n\nx\n", b"spam\n\nx\n", b"bounce\n\n" + LONG)):
        _put(box, number, b"Subject: " + mail)
    heard: list[bytes] = []

    def receive(raw: bytes, recipients: object) -> FeedbackResult:
        heard.append(raw)
        return FeedbackResult("hard") if b"bounce" in raw else FeedbackResult("nothing", "no bounce")

    with dovecot(box) as server:
        store = newsroom.runtime.store
        assert read_mailbox(store, _settings(server.port), receive) == 3
        assert [raw.split(b"\r\n")[0] for raw in heard] == [b"Subject: bounce", b"Subject: spam", b"Subject: bounce"]
        # Only the beginning of a huge message is read.
        assert max(map(len, heard)) == 1 << 20
        assert server.flags() == [r"\Seen", "", r"\Seen"]
        assert read_mailbox(store, _settings(server.port), receive) == 0
        _put(box, 9, b"Subject: bounce, the next\n\nx\n")
        assert read_mailbox(store, _settings(server.port), receive) == 1
        for settings, words in (
            (_settings(server.port, password="wrong"), "Authentication failed"),
            (_settings(server.port, folder='no "such" \\ one'), 'the folder no "such" \\\\ one cannot be opened'),
            (_settings(server.port, security="starttls"), "TLS not supported"),
            (_settings(free_port()), "refused"),
        ):
            with pytest.raises(MailboxError, match=words) as caught:
                read_mailbox(store, settings, receive)
            assert "secret" not in str(caught.value)
            assert "wrong" not in str(caught.value)


def test_a_mailbox_by_tls_needs_a_good_certificate(newsroom: RunningNewsroom, box: Path, tmp_path: Path) -> None:
    _put(box, 1, b"Subject: x\n\nx\n")
    certificate = _certificate(tmp_path)
    with dovecot(box, certificate) as server:
        settings = _settings(server.tls_port, security="tls", host="localhost")
        with pytest.raises(MailboxError, match="certificate"):
            read_mailbox(newsroom.runtime.store, settings, lambda raw, to: FeedbackResult("hard"))
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        assert (
            read_mailbox(newsroom.runtime.store, settings, lambda raw, to: FeedbackResult("hard"), context=trusting)
            == 1
        )
        again = _settings(server.port, security="starttls", host="localhost")
        assert (
            read_mailbox(newsroom.runtime.store, again, lambda raw, to: FeedbackResult("hard"), context=trusting) == 1
        )


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    real = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(real - timedelta(1))
        .not_valid_after(real + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


def test_somebody_hears_of_a_mailbox_that_cannot_be_read(newsroom: RunningNewsroom) -> None:
    newsroom.folder.env["IMAP"] = "secret"
    mailbox = f"host: 127.0.0.1, port: {free_port()}, security: none, username: x, password: {{env: IMAP}}, every: 1h"
    newsroom.configure("notify:", f"bounces: {{mailbox: {{{mailbox}}}}}\nnotify:")
    woken: list[bool] = []
    receivers = FeedbackReceivers(newsroom.runtime, lambda: woken.append(True))
    receivers.start()
    try:
        wait_until(lambda: woken)
    finally:
        assert receivers.stop(60)
    with newsroom.runtime.store.read() as connection:
        [text] = connection.execute(select(t.notices.c.text)).scalars()
    assert "The bounce mailbox cannot be read" in text
