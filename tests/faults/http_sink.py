"""A receiver of posts. It records each post before it answers, and fails by a plan.

Its journal has one `post` for each complete request: `path`, `id` (the webhook-id, else a hash of the body),
`taken`, `fault`, and `about`, the addresses of the stories in it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.journal import Journal
from tests.faults.plan import Plan


class HttpSink:
    """A sink at `port`. `serve()` never returns; `port` is known at once."""

    def __init__(self, journal: Path, plan: Plan) -> None:
        self.plan = plan
        self.journal = Journal(journal)
        self.attempts: Counter[str] = Counter()
        self.mutex = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink._take(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore errors of clients that were killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def serve(self) -> None:
        """Serve each connection in a thread of its own."""
        self._server.serve_forever(0.5)

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        size = int(request.headers.get("Content-Length", "0"))
        body = request.rfile.read(size)
        if len(body) < size:
            request.close_connection = True
            return
        identity = request.headers.get("webhook-id") or hashlib.sha256(body).hexdigest()[:32]
        with self.mutex:
            self.attempts[identity] += 1
            fault = self.plan.post(identity, self.attempts[identity])
        taken = fault in ("", "taken-rst", "taken-500", "said-rst", "slow")
        self.journal.note("post", path=request.path, id=identity, taken=taken, fault=fault, about=_stories(body))
        if fault in ("rst", "taken-rst"):
            _reset(request)
            return
        if fault == "slow":
            time.sleep(0.3)
        status = {"taken-500": 500}.get(fault) or (int(fault) if fault.isdigit() else 200)
        request.send_response(status)
        if status == 429:
            request.send_header("Retry-After", "0")
        # Slack answers in words; a webhook answers by the status.
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")
        if fault == "said-rst":
            request.wfile.flush()
            _reset(request)


def _stories(body: bytes) -> list[str]:
    try:
        items = json.loads(body)["data"]["items"]
    except (ValueError, LookupError, TypeError):
        return []
    return sorted(str(item["url"]) for item in items)


def _reset(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.shutdown(socket.SHUT_RDWR)
