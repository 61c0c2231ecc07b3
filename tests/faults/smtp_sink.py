"""An SMTP server. It records each message before it answers, and fails by a plan.

Its journal has `open`, `mail` (a message begins), `rcpt`, `data` (if it was refused), `body` (its first line came),
`dot` (the final dot was received; `taken` says whether the message counts as delivered), `reply` (the reply to the
dot, after it was sent) and `close`, each with `c`, the number of the connection. If a recipient already had a
message, `rcpt` and `dot` also have `doubts`: how often the ledger knew at that moment that a message to them was in
doubt.
"""

from __future__ import annotations

import itertools
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from tests.faults.journal import Journal
from tests.faults.plan import Plan

_WORDS = {"4": "not now", "5": "no"}
STALL = 0.4
"""Seconds of silence until a stalled connection is closed."""


class SmtpSink:
    """A sink at `port`. `serve()` never returns; `port` is known at once."""

    def __init__(self, journal: Path, plan: Plan, doubts: Callable[[str], int] = lambda address: 0) -> None:
        self.plan = plan
        self.doubts = doubts
        self.journal = Journal(journal)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.mutex = threading.Lock()
        self.attempts: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.numbers = itertools.count(1)

    def serve(self) -> None:
        """Serve each connection in a thread of its own."""
        for number in itertools.count(1):
            connection, _ = self._listener.accept()
            session = Session(self, connection, number)
            threading.Thread(target=session.run, daemon=True).start()


class _Ended(Exception):
    """The connection has ended."""


class Session:
    """One connection."""

    def __init__(self, sink: SmtpSink, connection: socket.socket, number: int) -> None:
        self._sink = sink
        self._connection = connection
        self._number = number
        self._recipient = ""
        self._step = self._fault = ""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _note(self, what: str, **details: object) -> None:
        if self._sink.plan.terse and what != "dot":
            return
        self._sink.journal.note(what, c=self._number, **details)

    def _say(self, line: str) -> None:
        if self._sink.plan.delay:
            time.sleep(self._sink.plan.delay)
        self._connection.sendall(line.encode() + b"\r\n")

    def _reset(self) -> None:
        """Close with a RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Ended

    def _refuse(self, fault: str) -> None:
        if fault == "rst":
            self._reset()
        if fault == "stall":
            time.sleep(STALL)
            raise _Ended
        self._say(f"{fault} {fault[0]}.0.0 {_WORDS[fault[0]]}, says the plan")
        if fault == "421":
            raise _Ended

    def run(self) -> None:
        """Serve the connection until either side ends it."""
        self._note("open")
        reader = self._connection.makefile("rb")
        try:
            self._converse(reader)
        except (_Ended, OSError):
            pass
        finally:
            self._note("close")
            # The file object keeps the socket open: the RST is only sent once both are closed.
            reader.close()
            self._connection.close()

    def _converse(self, reader: BufferedReader) -> None:
        fault = self._sink.plan.connection(self._number)
        if fault:
            self._refuse(fault)
            raise _Ended
        self._say("220 sink.example ESMTP")
        is_data_allowed = False
        messages = itertools.count(1)
        sender = ""
        while line := reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            verb = text.split(" ")[0].upper()
            if verb == "EHLO":
                names = ["sink.example", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
                names += ["PIPELINING"] if self._sink.plan.pipelining else []
                self._say("\r\n".join(f"250-{name}" for name in names[:-1]) + f"\r\n250 {names[-1]}")
            elif verb == "MAIL":
                self._note("mail")
                sender = self._sink.plan.envelope(self._number, next(messages))
                if sender:
                    self._refuse(sender)
                else:
                    self._say("250 2.1.0 ok")
            elif verb == "RCPT":
                # The commands that were pipelined after a refused sender or recipient (RFC 2920 §3.1).
                if sender:
                    self._say("503 5.5.1 no valid sender")
                else:
                    is_data_allowed = self._rcpt(text)
            elif verb == "DATA":
                if not is_data_allowed:
                    self._say("503 5.5.1 no valid recipient")
                elif self._step == "data":
                    self._note("data", to=self._recipient, say=self._fault)
                    self._refuse(self._fault)
                else:
                    self._say("354 go on")
                    self._message(reader)
                is_data_allowed = False
            elif verb in ("RSET", "NOOP"):
                is_data_allowed = False
                self._say("250 2.0.0 ok")
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            else:
                self._say("502 5.5.2 what?")

    def _rcpt(self, text: str) -> bool:
        """Whether DATA may follow."""
        sink = self._sink
        match = re.match(r"RCPT TO:<(.*)>", text, re.IGNORECASE)
        recipient = self._recipient = match[1] if match else ""
        with sink.mutex:
            sink.attempts[recipient] += 1
            attempt = sink.attempts[recipient]
            again = sink.taken[recipient] > 0
        self._step, self._fault = sink.plan.message(recipient, attempt)
        known = {"doubts": sink.doubts(recipient)} if again else {}
        refused = self._fault if self._step == "rcpt" else ""
        self._note("rcpt", to=recipient, say=refused or "250", **known)
        if refused:
            self._refuse(refused)
            return False
        self._say("250 2.1.5 ok")
        return True

    def _message(self, reader: BufferedReader) -> None:
        """Read the message after DATA, up to the dot."""
        lines: list[bytes] = []
        if self._step == "body":
            reader.read(64)
            self._reset()
        while (line := reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise _Ended
            if not lines:
                self._note("body", to=self._recipient)
            lines.append(line)
        fault = self._fault if self._step == "dot" else ""
        taken = not fault or (not fault[0].isdigit() and fault != "rst")
        match = re.search(rb"^Message-ID: (\S+)", b"".join(lines[:80]), re.MULTILINE | re.IGNORECASE)
        number = f"Q{next(self._sink.numbers)}"
        with self._sink.mutex:
            again = self._sink.taken[self._recipient] > 0
        known = {"doubts": self._sink.doubts(self._recipient)} if again else {}
        message = {"id": number, "to": self._recipient, "mid": match[1].decode() if match else ""}
        self._note("dot", taken=taken, fault=fault, size=sum(map(len, lines)), **message, **known)
        if taken:
            with self._sink.mutex:
                self._sink.taken[self._recipient] += 1
        self._answer(fault, number)

    def _answer(self, fault: str, number: str) -> None:
        reply = f"250 2.0.0 Ok: queued as {number}"
        if fault in ("rst", "taken-rst"):
            self._reset()
        elif fault == "taken-stall":
            time.sleep(STALL)
            raise _Ended
        elif fault == "taken-garbage":
            self._say("what was that?")
            raise _Ended
        elif fault == "drip":
            for letter in reply.encode() + b"\r\n":
                self._connection.sendall(bytes([letter]))
                time.sleep(0.004)
        elif fault and fault != "said-rst":
            self._note("reply", id=number, say=fault)
            self._refuse(fault)
            return
        else:
            self._say(reply)
        self._note("reply", id=number, say="250")
        if fault == "said-rst":
            self._reset()
