"""A small website for tests: changing pages, conditional GET, redirects, and a list of all requests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Page:
    """The response for one address."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    validated: bool = True
    """Whether it sends an ETag and answers 304."""


class Website:
    """A site on loopback. Tests may change `pages` at any time. `asked` lists all requests: path, status, headers."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, int, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = site.pages.get(self.path, Page(b"nothing here", 404))
                etag = f'"{hashlib.sha256(page.body).hexdigest()[:12]}"'
                known = page.validated and page.status == 200 and self.headers.get("If-None-Match") == etag
                status = 304 if known else page.status
                site.asked.append((self.path, status, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                if page.validated and page.status == 200:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", "0" if known else str(len(page.body)))
                self.end_headers()
                if not known:
                    self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # some tests are about a client that hangs up

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def statuses(self) -> list[int]:
        """Return the status of every answer so far."""
        return [status for _, status, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass(frozen=True)
class Story:
    """One entry of a feed."""

    name: str
    title: str
    body: str = "<p>Text.</p>"
    published: datetime | None = None
    guid: str = ""
    language: str = ""
    link: str = ""
    topics: tuple[str, ...] = ()
    more: str = ""
    """More XML elements, unescaped."""


def rss(stories: list[Story], base: str, language: str = "en") -> bytes:
    """Write RSS 2.0 as a common system does."""
    parts = []
    for one in stories:
        link = one.link or f"{base}/{one.language or language}/{one.name}"
        parts.append(
            f"<item><title>{escape(one.title)}</title><link>{escape(link)}</link>"
            f'<guid isPermaLink="false">{escape(one.guid or link)}</guid>'
            + (f"<pubDate>{format_datetime(one.published)}</pubDate>" if one.published else "")
            + (f"<dc:language>{one.language}</dc:language>" if one.language else "")
            + "".join(f"<category>{escape(topic)}</category>" for topic in one.topics)
            + f"<content:encoded>{escape(one.body)}</content:encoded>{one.more}</item>"
        )
    head = (
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/"><channel>'
        f"<title>A site</title><link>{base}/</link><description>News</description><language>{language}</language>"
    )
    return f"{head}{''.join(parts)}</channel></rss>".encode()
