"""How a running newsroom hears what came back: the port, the mailbox, and trouble with either."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import smtplib
import socket
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

from tests.pipeline.desk import DAILY, MONDAY, Desk, open_desk
from tests.servers.dovecot import dovecot
from tidings.config.bounces import BounceMailbox
from tidings.model.errors import RefusedError
from tidings.pipeline.track.inbound import Heard
from tidings.runtime.bounces.imap import MailboxError, look
from tidings.runtime.bounces.lmtp import LARGEST
from tidings.runtime.bounces.receivers import Ears
from tidings.store import schema as t
from tidings.store.people import subscribers

BOUNCE = (Path(__file__).parents[2] / "pipeline/track/returns/postfix-unknown.eml").read_bytes()

LONG = b"y\n" * 900_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as found:
        yield found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _hand(port: int, to: str, data: bytes = BOUNCE) -> tuple[int, bytes]:
    with smtplib.LMTP("127.0.0.1", port, local_hostname="x", timeout=20) as session:
        session.ehlo()
        session.mail("")
        code, text = session.rcpt(to)
        return session.data(data) if code == 250 else (code, text)


def test_a_mail_goes_out_with_a_return_path_of_its_own_and_what_comes_back_there_is_acted_upon(desk: Desk) -> None:
    port = _free_port()
    desk.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nnotify:")
    ada, eve = desk.reader("ada"), desk.reader("eve")
    desk.item("one")
    desk.tick(MONDAY)
    [mail], [other] = desk.mails(ada), desk.mails(eve)
    assert mail.sender.startswith("bounces+")
    assert mail.sender.endswith("@example.org")
    assert len({mail.sender, other.sender}) == 2
    ears = Ears(desk.runtime, lambda: None)
    ears.listen()
    try:
        assert _hand(port, mail.sender) == (250, b"2.0.0 noted")
        assert _hand(port, "bounces@example.org", b"X: " + b"x" * 100_000 + b"\r\n\r\nx") == (250, b"2.0.0 ignored")
        assert _hand(port, "bounces@example.org", (b"x" * 998 + b"\r\n") * (LARGEST // 1000 + 1))[0] == 552
        assert _hand(port, "eve@example.org")[0] == 550
        with pytest.raises(RefusedError, match="lmtp"):
            Ears(desk.runtime, lambda: None).listen()
    finally:
        assert ears.stop(5)
    assert {entry.address: entry.returned for entry in desk.entries()} == {ada: "hard", eve: ""}
    # Who is gone gets no more.
    desk.item("two")
    desk.tick(MONDAY + timedelta(days=1))
    assert (len(desk.mails(ada)), len(desk.mails(eve))) == (1, 2)


def test_a_bounce_is_kept_by_the_other_side_while_the_store_is_away(desk: Desk) -> None:
    port = _free_port()
    desk.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nnotify:")
    address = desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY)
    [mail] = desk.mails(address)
    with desk.runtime.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE returns RENAME TO away")
    ears = Ears(desk.runtime, lambda: None)
    ears.listen()
    try:
        assert _hand(port, mail.sender)[0] == 451
        with desk.runtime.store.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO returns")
        assert _hand(port, mail.sender) == (250, b"2.0.0 noted")
    finally:
        assert ears.stop(5)


def test_without_verp_every_mail_has_the_same_return_path(desk: Desk) -> None:
    desk.configure("return_path:", "verp: false, return_path:")
    address = desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY)
    [mail] = desk.mails(address)
    assert mail.sender == "bounces@example.org"


@pytest.mark.slow
def test_the_service_listens(desk: Desk) -> None:
    port, web = _free_port(), _free_port()
    desk.configure("notify:", f"bounces: {{lmtp: '127.0.0.1:{port}'}}\nweb: {{port: {web}}}\nnotify:")
    address = desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY)
    [mail] = desk.mails(address)
    environment = os.environ | desk.world.env
    command = [sys.executable, "-m", "tidings", "run", "-C", str(desk.world.root)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as service:
        try:
            end = time.monotonic() + 60
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
            said = service.communicate(timeout=40)[0].decode()
    assert service.returncode == 0
    assert f"Bounces: LMTP at 127.0.0.1:{port}" in said
    with desk.runtime.store.read() as connection:
        [one] = subscribers.subscriptions(connection, address=address)
    assert one.state == subscribers.UNSUBSCRIBED


# -- the mailbox ------------------------------------------------------------------------------------------------------


@pytest.fixture
def box() -> Iterator[Path]:
    """An empty maildir. Not below pytest's own folder, which is closed to the server's user."""
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


def test_a_mailbox_is_read_once_and_what_nobody_understands_stays_unread(desk: Desk, box: Path) -> None:
    for number, mail in enumerate((b"bounce\n\nx\n", b"spam\n\nx\n", b"bounce\n\n" + LONG)):
        _put(box, number, b"Subject: " + mail)
    heard: list[bytes] = []

    def receive(raw: bytes, recipients: object) -> Heard:
        heard.append(raw)
        return Heard("hard") if b"bounce" in raw else Heard("nothing", "no bounce")

    with dovecot(box) as server:
        store = desk.runtime.store
        assert look(store, _settings(server.port), receive) == 3
        assert [raw.split(b"\r\n")[0] for raw in heard] == [b"Subject: bounce", b"Subject: spam", b"Subject: bounce"]
        # Of a huge one the beginning is read.
        assert max(map(len, heard)) == 1 << 20
        assert server.flags() == [r"\Seen", "", r"\Seen"]
        assert look(store, _settings(server.port), receive) == 0
        _put(box, 9, b"Subject: bounce, the next\n\nx\n")
        assert look(store, _settings(server.port), receive) == 1
        for settings, words in (
            (_settings(server.port, password="wrong"), "Authentication failed"),
            (_settings(server.port, folder='no "such" \\ one'), 'the folder no "such" \\\\ one cannot be opened'),
            (_settings(server.port, security="starttls"), "TLS not supported"),
            (_settings(_free_port()), "refused"),
        ):
            with pytest.raises(MailboxError, match=words) as caught:
                look(store, settings, receive)
            assert "secret" not in str(caught.value)
            assert "wrong" not in str(caught.value)


def test_a_mailbox_by_tls_needs_a_good_certificate(desk: Desk, box: Path, tmp_path: Path) -> None:
    _put(box, 1, b"Subject: x\n\nx\n")
    certificate = _certificate(tmp_path)
    with dovecot(box, certificate) as server:
        settings = _settings(server.tls_port, security="tls", host="localhost")
        with pytest.raises(MailboxError, match="certificate"):
            look(desk.runtime.store, settings, lambda raw, to: Heard("hard"))
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        assert look(desk.runtime.store, settings, lambda raw, to: Heard("hard"), context=trusting) == 1
        again = _settings(server.port, security="starttls", host="localhost")
        assert look(desk.runtime.store, again, lambda raw, to: Heard("hard"), context=trusting) == 1


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


def test_somebody_hears_of_a_mailbox_that_cannot_be_read(desk: Desk) -> None:
    desk.world.env["IMAP"] = "secret"
    mailbox = f"host: 127.0.0.1, port: {_free_port()}, security: none, username: x, password: {{env: IMAP}}, every: 1h"
    desk.configure("notify:", f"bounces: {{mailbox: {{{mailbox}}}}}\nnotify:")
    woken: list[bool] = []
    ears = Ears(desk.runtime, lambda: woken.append(True))
    ears.start()
    try:
        end = time.monotonic() + 20
        while not woken:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        assert ears.stop(10)
    with desk.runtime.store.read() as connection:
        [text] = connection.execute(select(t.notices.c.text)).scalars()
    assert "The bounce mailbox cannot be read" in text
