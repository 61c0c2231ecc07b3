"""An SMTP server that notes what it takes before it says so, and that fails where a test asks it to.

Each message it takes is one line of JSON in its journal (`id`, `to`, `message_id`, `session`), written before the 250:
an entry means that it was taken. `python -m tests.servers.smtp_sink JOURNAL` prints its port.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Sink(socketserver.ThreadingTCPServer):
    """What a recipient's local part asks for, happens: see `_Session`. `fail_next` takes the same words, once each."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, journal: Path, *, extensions: tuple[str, ...] = ("8BITMIME",), delay: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = self.server_address[1]
        self.path = journal
        self.extensions = extensions
        self.delay = delay
        self.close_after = 0
        """Messages after which it closes a connection in silence; 0: never."""
        self.is_strict = False
        """Whether a transaction stays open when BDAT was refused, so that MAIL is out of order until RSET."""
        self.greeting = "220 sink.example ESMTP"
        self.numbers = itertools.count(1)
        self.sessions = itertools.count(1)
        self.opened = 0
        self.talking: list[_Session] = []
        self.failed_once: set[str] = set()
        self.commands: list[str] = []
        self.mutex = threading.Lock()
        # No bare descriptor: a session that outlives the sink would write into whatever has its number by then.
        self._journal = journal.open("ab", buffering=0)
        self._thread: threading.Thread | None = None

    def hang_up(self) -> None:
        """Say goodbye on every connection, as after a long silence."""
        for session in self.talking:
            session.say("421 4.4.2 timeout")
            session.connection.shutdown(socket.SHUT_RDWR)

    def note(self, entry: dict[str, Any]) -> None:
        """One line, one write."""
        self._journal.write(json.dumps(entry).encode() + b"\n")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""

    def __enter__(self) -> Sink:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._journal.close()

    def taken(self) -> list[dict[str, Any]]:
        """Everything in the journal."""
        return read(self.path)


def read(journal: Path) -> list[dict[str, Any]]:
    """The entries of a journal, in order."""
    return [json.loads(line) for line in journal.read_text().splitlines()]


class _Session(socketserver.StreamRequestHandler):
    server: Sink

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def reset_connection(self) -> None:
        """RST instead of a polite end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def handle(self) -> None:
        sink = self.server
        session = next(sink.sessions)
        sink.opened += 1
        sink.talking.append(self)
        self.say(sink.greeting)
        if not sink.greeting.startswith("220"):
            return
        recipient = wish = ""
        refused = is_open = False
        done = 0
        while line := self.rfile.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            verb = text.split(" ")[0].upper()
            with sink.mutex:
                sink.commands.append(text)
            if verb == "EHLO":
                for number, name in enumerate(("sink.example", *sink.extensions), 1):
                    self.say(f"250{' ' if number == len(sink.extensions) + 1 else '-'}{name}")
            elif verb == "MAIL":
                if is_open and sink.is_strict:
                    self.say("503 5.5.1 nested MAIL command")
                elif "refused-sender" in text:
                    self.say("550 5.7.1 not you")
                else:
                    is_open = True
                    self.say("250 2.1.0 ok")
            elif verb == "RCPT":
                refused = False
                match = re.match(r"RCPT TO:<(.*)>", text, re.IGNORECASE)
                recipient = match.group(1) if match else ""
                wish = self.wish(recipient)
                if found := re.match(r"rcpt-(\d{3})", wish):
                    self.say(f"{found.group(1)} 5.1.1 refused at RCPT")
                    refused = True
                    if found.group(1) == "421":
                        return
                elif wish == "patient-550":
                    self.say("550 5.1.1 refused at RCPT")
                elif wish == "rst-rcpt":
                    self.reset_connection()
                    return
                else:
                    self.say("250 2.1.5 ok")
            elif verb == "DATA" and refused:
                self.say("503 5.5.1 no valid recipients")
            elif verb == "DATA":
                self.say("354 go on")
                if not self.message(recipient, wish, session):
                    return
                done += 1
                if done == sink.close_after:
                    return
            elif verb == "BDAT":
                _, size, *last = text.split(" ")
                if last != ["LAST"] or refused or not recipient:
                    self.rfile.read(int(size))
                    self.say("503 5.5.1 out of order")
                elif not self.message(recipient, wish, session, int(size)):
                    return
                else:
                    done += 1
                    is_open = wish.startswith("dot-")
                    if done == sink.close_after:
                        return
            elif verb == "RSET":
                is_open = False
                recipient = wish = ""
                refused = False
                self.say("250 2.0.0 ok")
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            else:
                self.say("502 5.5.2 what?")

    def wish(self, recipient: str) -> str:
        """What should happen: the local part up to a dot. With `once-` in front it happens only the first time."""
        wish = recipient.partition("@")[0].partition(".")[0]
        if wish.startswith("once-"):
            with self.server.mutex:
                if recipient in self.server.failed_once:
                    return ""
                self.server.failed_once.add(recipient)
            return wish.removeprefix("once-")
        return wish

    def body(self, size: int | None) -> bytes | None:
        """After DATA up to the dot, or so many octets after BDAT; None if the client has gone."""
        if size is not None:
            data = self.rfile.read(size)
            return data if len(data) == size else None
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return None
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines)

    def message(self, recipient: str, wish: str, session: int, size: int | None = None) -> bool:
        """Read one, of `size` octets after BDAT; False if the connection ends here."""
        sink = self.server
        if wish == "rst-data":
            self.connection.recv(10)
            self.reset_connection()
            return False
        data = self.body(size)
        if data is None:
            return False
        if wish == "patient-550":
            # RFC 2920 §3.1: some say 354 though they took no recipient.
            self.say("554 5.5.1 no valid recipients")
            return True
        if found := re.match(r"dot-(\d{3})", wish):
            self.say(f"{found.group(1)} 5.0.0 refused after the dot")
            return found.group(1) != "421"
        if sink.delay:
            time.sleep(sink.delay)
        match = re.search(rb"^Message-ID: (\S+)", data, re.MULTILINE | re.IGNORECASE)
        number = f"Q{os.getpid()}-{next(sink.numbers)}"
        entry = {
            "id": number,
            "to": recipient,
            "message_id": match.group(1).decode() if match else "",
            "session": session,
            "size": len(data),
            "at": time.time(),
            "text": data.decode("utf-8", "replace") if len(data) < 2_000 else "",
        }
        sink.note(entry)
        if wish == "lost":
            self.reset_connection()
            return False
        if wish == "stall":
            time.sleep(5)
            return False
        if wish == "garbage":
            self.say("what was that?")
            return False
        self.say(f"250 2.0.0 Ok: queued as {number}")
        return wish != "taken-then-rst"


def doubled(journal: Path) -> Counter[str]:
    """Recipients that got a message more than once, with how many too many."""
    counts = Counter(entry["message_id"] for entry in read(journal))
    return Counter({key: count - 1 for key, count in counts.items() if count > 1})


if __name__ == "__main__":
    with Sink(Path(sys.argv[1])) as running:
        print(running.port, flush=True)
        sys.stdin.read()
