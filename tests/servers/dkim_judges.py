"""Check a signature with two verifiers of other projects: dkimpy and OpenDKIM's library."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dkim
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from tests.conftest import missing, require_program


def by_dkimpy(message: bytes, records: Mapping[str, str]) -> list[bool]:
    """Return the result for each signature, from top to bottom. `records`: TXT records by name, without a final dot."""
    known = {f"{name}.".encode(): text.encode() for name, text in records.items()}
    checker = dkim.DKIM(message)
    count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    return [checker.verify(idx=number, dnsfunc=lambda name, timeout=5: known.get(name)) for number in range(count)]


def by_opendkim(message: bytes, records: Mapping[str, str], folder: Path) -> str:
    """Return the complaint of `opendkim-testmsg`; empty if none. It asks the DNS, so it gets its own name server."""
    program = require_program("opendkim-testmsg")
    unshare = require_program("unshare")
    if os.geteuid() != 0:
        missing("root (for a DNS that opendkim-testmsg believes)")
    with _dns(records) as address:
        resolver = folder / "resolv.conf"
        resolver.write_text(f"nameserver {address}\noptions timeout:2 attempts:1\n")
        # Only this one program sees it.
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$1" -t "$2"'
        done = subprocess.run(
            [unshare, "-m", "sh", "-c", script, str(resolver), program, str(folder)],
            input=message, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
    output = (done.stdout + done.stderr).decode(errors="replace").strip()
    return output or ("" if done.returncode == 0 else f"exit code {done.returncode}")


@contextmanager
def _dns(records: Mapping[str, str]) -> Iterator[str]:
    """Run a name server that has only these TXT records."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A process of another test may have its own.
    host = f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
    server.bind((host, 53))

    def answer() -> None:
        while True:
            try:
                data, client = server.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA
            name = query.question[0].name
            text = records.get(name.to_text(omit_final_dot=True))
            if text is None:
                reply.set_rcode(3)
            elif query.question[0].rdtype == dns.rdatatype.TXT:
                parts = " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", parts))
            server.sendto(reply.to_wire(), client)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (host, 53))
        thread.join(5)
        server.close()
