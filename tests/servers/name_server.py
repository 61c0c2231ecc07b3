"""A name server for tests: real DNS packets over UDP and TCP on a free port of loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, str]
"""Records by `NAME TYPE`, one a line, as in a zone file. A value in capitals is another behaviour of the server:
SERVFAIL, REFUSED, SILENCE, GARBAGE. `NAME *` is for every type."""


@dataclass
class NameServer:
    """The server's answers, and the questions that it got."""

    port: int
    zone: dict[str, str]
    asked: list[str] = field(default_factory=list)
    truncate_above: int = 512
    by_tcp: int = 0
    """Questions that came over TCP."""
    chases: bool = True
    """Whether it follows aliases itself, as a resolver does."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, packet: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(packet)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name
        self.asked.append(f"{name.to_text(omit_final_dot=True)} {kind}")
        self.by_tcp += tcp
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        for _ in range(10):
            text = name.to_text(omit_final_dot=True).lower()
            behaviour = self.zone.get(f"{text} {kind}") or self.zone.get(f"{text} *")
            if behaviour == "SILENCE":
                return None
            if behaviour == "GARBAGE":
                return packet[:2] + b"\xff" * 20
            if behaviour in ("SERVFAIL", "REFUSED"):
                reply.set_rcode(dns.rcode.from_text(behaviour))
                break
            alias = self.zone.get(f"{text} CNAME")
            if behaviour is None and alias is not None:
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", f"{alias}."))
                name = dns.name.from_text(alias)
                if self.chases:
                    continue
                break
            if behaviour is not None:
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *behaviour.strip().splitlines()))
            elif not any(key.split()[0] == text or key.split()[0].endswith(f".{text}") for key in self.zone):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            break
        wire = reply.to_wire(max_size=65_535)
        if not tcp and len(wire) > self.truncate_above:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.RA | dns.flags.TC
            return cut.to_wire()
        return wire


@contextmanager
def name_server(zone: Zone) -> Iterator[NameServer]:
    """Serve a zone until the end of the block."""
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind(("127.0.0.1", 0))
    tcp.listen()
    port = tcp.getsockname()[1]
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    server = NameServer(port, dict(zone))
    threads = [threading.Thread(target=work, args=(sock, server)) for work, sock in ((_udp, udp), (_tcp, tcp))]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        udp.sendto(b"", ("127.0.0.1", port))
        with contextlib.suppress(OSError):
            tcp.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        udp.close()
        tcp.close()


def _udp(sock: socket.socket, server: NameServer) -> None:
    while True:
        packet, peer = sock.recvfrom(65_535)
        if not packet:
            return
        if (reply := server.answer(packet, tcp=False)) is not None:
            sock.sendto(reply, peer)


def _tcp(sock: socket.socket, server: NameServer) -> None:
    while True:
        try:
            connection, _ = sock.accept()
        except OSError:
            return
        with connection:
            size = connection.recv(2)
            packet = connection.recv(struct.unpack("!H", size)[0]) if len(size) == 2 else b""
            if packet and (reply := server.answer(packet, tcp=True)) is not None:
                connection.sendall(struct.pack("!H", len(reply)) + reply)


def texts(*records: str) -> str:
    """Return TXT records, each in strings of at most 255 bytes."""
    lines = []
    for record in records:
        lines.append(" ".join(f'"{record[at : at + 255]}"' for at in range(0, max(1, len(record)), 255)))
    return "\n".join(lines)
