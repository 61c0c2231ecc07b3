"""A private Dovecot for tests: IMAP over one maildir, on a free port of loopback, removed afterwards."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing
from tests.fixtures.ports import free_port

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_failure_delay = 0
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
mail_location = maildir:{maildir}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


class Dovecot:
    """One server."""

    def __init__(self, maildir: Path, certificate: tuple[Path, Path] | None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-dovecot-", dir="/tmp"))
        self._folder.chmod(0o755)
        self.port = free_port()
        self.tls_port = free_port() if certificate else 0
        owner = pwd.getpwnam("nobody")
        for name in ("home", "state"):
            (self._folder / name).mkdir()
            os.chown(self._folder / name, owner.pw_uid, owner.pw_gid)
        keys = f"ssl_cert = <{certificate[0]}\nssl_key = <{certificate[1]}" if certificate else ""
        self._config = self._folder / "dovecot.conf"
        self._config.write_text(
            _CONFIG.format(
                folder=self._folder,
                user="nobody",
                group=grp.getgrgid(owner.pw_gid).gr_name,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                maildir=maildir,
                port=self.port,
                tls_port=self.tls_port,
                ssl="yes" if certificate else "no",
                certificate=keys,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self._folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                ["dovecot", "-F", "-c", str(self._config)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        for _ in range(2400):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(100).startswith(b"* OK"):
                        return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Dovecot does not answer:\n{self.log}")

    def stop(self) -> None:
        """End it, and remove its files."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)

    def flags(self) -> list[str]:
        """Return the flags of each message, without \\Recent."""
        session = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        try:
            session.login("bounces", "secret")
            session.select("INBOX", readonly=True)
            _, lines = session.fetch("1:*", "(FLAGS)")
            flags = [imaplib.ParseFlags(one) for one in lines if isinstance(one, bytes)]
        finally:
            session.logout()
        return [" ".join(sorted(flag.decode() for flag in each if flag != rb"\Recent")) for each in flags]

    @property
    def log(self) -> str:
        """Return its log."""
        paths = [path for path in (self._folder / "log", self._folder / "out") if path.exists()]
        return "\n".join(path.read_text(errors="replace") for path in paths)


@contextmanager
def dovecot(maildir: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Dovecot]:
    """A running Dovecot with a maildir of `nobody`, user `bounces`, password `secret`; skips if it is not installed."""
    if shutil.which("dovecot") is None or os.geteuid() != 0:
        missing("Dovecot (and root to start it)")
    server = Dovecot(maildir, certificate)
    try:
        server.start()
        yield server
    finally:
        server.stop()
