"""The built-in receiver of posts: an HTTP server on loopback that checks signatures and keeps every post."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TOLERANCE = 300
"""The age in seconds that Standard Webhooks allows a signature."""


@dataclass(frozen=True, slots=True)
class ReceivedPost:
    number: int
    channel: str
    key: str
    body: dict[str, Any]
    text: str = ""
    """The text as the network shows it, if the channel knows it."""

    @property
    def summary(self) -> str:
        """Return the headline."""
        data = self._data
        return str(data.get("title") or data.get("text") or self.text.partition("\n")[0])

    @property
    def preview(self) -> str:
        """Return the post as its readers see it: title, text and address of each story."""
        if "blocks" in self.body:
            return "\n\n".join(_find_texts(self.body["blocks"]))
        data = self._data
        stories = data.get("items") if isinstance(data.get("items"), list) else []
        parts = [
            "\n".join(str(part[key]) for key in ("title", "summary", "url") if part.get(key))
            for part in (data, *(story for story in stories or () if isinstance(story, dict)))
        ]
        return "\n\n".join(dict.fromkeys(filter(None, parts))) or self.text or self.summary

    @property
    def _data(self) -> dict[str, Any]:
        data = self.body.get("data", self.body)
        return data if isinstance(data, dict) else {}


def _find_texts(value: Any) -> Iterator[str]:
    """Yield the texts of Slack's blocks, in order."""
    for part in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
        else:
            yield from _find_texts(part)


class PostReceiver:
    """`with PostReceiver(secret) as receiver:` serves `/desk` (signed webhooks) and `/team` (a Slack room)."""

    def __init__(self, secret: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._posts: list[ReceivedPost] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = receiver._take(self.path.strip("/"), headers, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def url(self, channel: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{channel}"

    @property
    def posts(self) -> Sequence[ReceivedPost]:
        """Return the posts in the order of their arrival."""
        with self._lock:
            return list(self._posts)

    def _take(self, channel: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if channel == "desk" and not self._is_signed(headers, body):
            return 401, b"the signature is wrong"
        try:
            value = json.loads(body)
        except ValueError:
            return 400, b"the body is not JSON"
        with self._lock:
            self._posts.append(ReceivedPost(len(self._posts) + 1, channel, headers.get("webhook-id", ""), value))
        return 200, b"ok"

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > _TOLERANCE:
            return False
        digest = hmac.digest(self._key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256)
        expected = "v1," + base64.b64encode(digest).decode()
        return any(
            hmac.compare_digest(expected, signature) for signature in headers.get("webhook-signature", "").split(" ")
        )

    def __enter__(self) -> PostReceiver:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
