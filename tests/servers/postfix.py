"""A private Postfix for tests: in a temporary folder, on free ports of loopback, removed afterwards.

It accepts mail without a login, and its `virtual` agent delivers mail to example.org into maildirs. As at many
relays, an unknown user is noticed after the message was accepted, so the bounce comes by mail. Mail to other.example
goes to a second, closed server, which refuses to relay. Mail to bounce.example goes to an LMTP port if there is one,
and otherwise to a maildir.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing

PROGRAMS = Path("/usr/lib/postfix/sbin")
LIMIT = 300_000
"""Greatest size of a message and of a mailbox file, in bytes."""
MAILBOXES = ("ada", "ru", "kk", "en", '"john doe"', "o'hara", "a.b.c", "x" * 64, "айгүл", "later")
REFUSED = """\
refused@example.org 550 5.1.1 no such user here
quota@example.org 452 4.2.2 the mailbox is full
later@example.org 450 4.7.1 greylisted, come back later
"""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = {programs}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
smtp_dns_support_level = disabled
smtputf8_enable = {smtputf8}
recipient_delimiter = +
message_size_limit = {limit}
mailbox_size_limit = 0
virtual_mailbox_limit = {limit}
bounce_size_limit = 50000
virtual_mailbox_domains = example.org, bounce.example, xn--e1afmkfd.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{folder}/config/mailboxes, regexp:{folder}/config/quoted
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
relay_domains = other.example
transport_maps = texthash:{folder}/config/transport
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/config/access
smtpd_reject_unlisted_recipient = no
smtpd_client_connection_rate_limit = 0
minimal_backoff_time = 2s
queue_run_delay = 2s
maximal_queue_lifetime = 1h
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{closed} inet n - n - - smtpd
  -o rewrite_service_name=closed
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
closed unix - - n - - trivial-rewrite
  -o relay_domains=
  -o transport_maps=
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A mail system for tests, separate from a Postfix of the machine."""

    def __init__(self, *, lmtp: int | None = None, smtputf8: bool = True) -> None:
        # Not below pytest's own folder, which the user `postfix` cannot open.
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-postfix-", dir="/tmp"))
        self._folder.chmod(0o755)
        self.port, self._closed = _free_ports(2)
        owner = shutil._get_uid("nobody"), shutil._get_gid("nogroup")  # type: ignore[attr-defined]
        config = self._folder / "config"
        for path in (config, self._folder / "queue", self._folder / "data", self._folder / "mail"):
            path.mkdir()
        shutil.chown(self._folder / "data", "postfix")
        os.chown(self._folder / "mail", *owner)
        # A mailbox file that is nearly full.
        full = self._folder / "mail" / "full"
        full.write_bytes(b"From x Mon Nov 23 00:00:00 2026\n" + b"x" * 70 + b"\n" + b"y\n" * ((LIMIT - 1_000) // 2))
        os.chown(full, *owner)
        lines = [f"{name}@example.org {_folder_of(name)}/" for name in MAILBOXES if '"' not in name]
        lines += ["full@example.org full", "bounces@bounce.example bounces/"]
        lines += ["ada@xn--e1afmkfd.example idn/"]
        # A text table ends a key at a space.
        (config / "quoted").write_text(f'/^"?john doe"?@example\\.org$/ {_folder_of(MAILBOXES[4])}/\n')
        (config / "mailboxes").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (config / "access").write_text(REFUSED)
        transport = f"other.example smtp:[127.0.0.1]:{self._closed}\n"
        if lmtp is not None:
            transport += f"bounce.example lmtp:inet:[127.0.0.1]:{lmtp}\n"
        (config / "transport").write_text(transport)
        values = {
            "folder": self._folder,
            "programs": PROGRAMS,
            "limit": LIMIT,
            "uid": owner[0],
            "gid": owner[1],
            "smtputf8": "yes" if smtputf8 else "no",
        }
        (config / "main.cf").write_text(_MAIN.format(**values))
        (config / "master.cf").write_text(_MASTER.format(port=self.port, closed=self._closed))
        self._config = config

    @staticmethod
    def is_installed() -> bool:
        """Whether the programs are installed and we may start them: they need root."""
        return (PROGRAMS / "master").exists() and shutil.which("postfix") is not None and os.geteuid() == 0

    def start(self) -> None:
        """Start it, and wait until it accepts mail."""
        self._run("postfix", "-c", str(self._config), "start")
        for _ in range(2400):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    if connection.recv(100).startswith(b"220"):
                        return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Postfix does not answer:\n{self.log}")

    def stop(self) -> None:
        """End it at once, and remove its files."""
        try:
            self._run("postfix", "-c", str(self._config), "abort")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def configure(self, more: str) -> None:
        """Start again with the usual settings and `more`. Open connections end."""
        self._run("postfix", "-c", str(self._config), "abort")
        path = self._config / "main.cf"
        path.write_text(f"{path.read_text().partition('# more')[0]}# more\n{more}\n")
        self.start()

    def flush(self) -> None:
        """Try deferred mail again."""
        self._run("postqueue", "-c", str(self._config), "-f")

    def maildir(self, name: str) -> Path:
        """Return the path of a mailbox."""
        return self._folder / "mail" / _folder_of(name)

    def mails(self, name: str) -> list[bytes]:
        """Return the mails of a mailbox, without the lines that Postfix adds on top."""
        return [path.read_bytes() for path in sorted((self.maildir(name) / "new").glob("*"))]

    def wait_for(self, name: str, count: int = 1, seconds: float = 120) -> list[bytes]:
        """Return `mails` once there are this many."""
        self.until(lambda: len(self.mails(name)) >= count, seconds)
        return self.mails(name)

    def until(self, is_so: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for an action of Postfix."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """Return its log."""
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else "(no log)"

    def _run(self, *command: str) -> None:
        out = self._folder / "out"
        with out.open("wb") as file:
            done = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, timeout=60
            )
        if done.returncode != 0:
            output = out.read_text(errors="replace")
            raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {output}\n{self.log}")


@contextmanager
def postfix(*, lmtp: int | None = None, smtputf8: bool = True) -> Iterator[Postfix]:
    """A running Postfix, or a skip. `lmtp` is the port on loopback for mail to bounce.example."""
    if not Postfix.is_installed():
        missing("Postfix (and root to start it)")
    server = Postfix(lmtp=lmtp, smtputf8=smtputf8)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _folder_of(name: str) -> str:
    return "box-" + name.encode().hex()[:40] if name in MAILBOXES else name


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
