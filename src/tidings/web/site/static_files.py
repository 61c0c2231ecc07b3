"""Feeds, pages and media from public/ over HTTP, with ETag and date from the store (RFC 9110 §8.8, §13)."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.pipeline.publish.headers import (
    ERROR_AGE,
    find_cache_control,
    find_media_type,
    is_active_media,
    is_for_all_sites,
    is_media,
)
from tidings.render.urls import SEARCH
from tidings.store.content import site_files
from tidings.store.content.site_files import PublishedFile
from tidings.store.engine import Store

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' https: http: data:;"
    " media-src 'self' https: http:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Default headers of every answer. Only the search page has a script, and its own policy."""
ARCHIVE = "archive/"
_EDITION_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' https: http: data:; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'none'"
)
"""Policy for archived mails, which have their own styles."""
_SEARCH_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' https: http: data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Policy for the search page, the only page with a script."""

_FEED = re.compile(r"feeds/[^/]+/[^/]+\.(rss|atom|json)|feeds\.opml")
_FRESH = 1.0
"""Seconds for which the answer for a path is reused, unless its file changes. A crowd causes one query a second."""
_MOST_KEPT = 128
_LARGEST_KEPT = 256_000
"""Most bytes of a file that is kept in memory. Larger files are read again for each answer."""
_LARGEST_REQUEST = 2_000


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that `publish` wrote for a path, and its headers without ETag."""

    file: Path
    document: PublishedFile
    status: int
    headers: list[tuple[bytes, bytes]]
    """Content-Type first."""
    signature: tuple[int, ...]
    """The `_signature` of the file when it was found."""
    until: float
    """The monotonic time until which this entry is valid."""
    content: bytes
    packed: bytes | None
    """The content compressed with gzip, if there is such a file."""
    answers: dict[tuple[bool, bool, bool], RawAnswer] = field(default_factory=dict)
    """Prepared answers, by three facts: the client has this version, it accepts gzip, and it sent HEAD."""


class StaticFiles:
    """Answers GET and HEAD for every path that `publish` wrote, and for no other file. An ASGI application.

    The path is looked up unchanged in a table of the store, so that no other file can be reached. The Link header of a
    feed names its `hubs` and its own address below `site`, for hubs that cannot read the format (W3C WebSub §4).
    """

    def __init__(self, store: Store, public: Path, *, site: str = "", hubs: Sequence[str] = ()) -> None:
        self._store = store
        self._public = public
        self._site = site
        self._hub_links = "".join(f'<{hub}>; rel="hub", ' for hub in hubs)
        self._kept: dict[str, _Found] = {}
        """By path, the one found last at the end."""
        self._requests: dict[bytes, tuple[str, Mapping[bytes, str], str]] = {}
        """Path, deciding header fields and method, by the bytes of the whole request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found: _Found | ASGIApp | None = self._find_kept(scope["path"])
        if found is None:
            found = await run_in_threadpool(self._find, scope["path"])
            self._keep(scope["path"], found)
        if isinstance(found, _Found):
            found = self._respond(_asked(scope), scope["method"], found)
        await found(scope, receive, send)

    def answer_at_once(self, scope: Mapping[str, Any]) -> RawAnswer | None:
        """Return the answer to a request, or None if it needs the store or a file."""
        found = self._find_kept(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        return self._answer(_asked(scope), scope["method"], found) if found is not None else None

    def keep_request(self, data: bytes, scope: Mapping[str, Any]) -> None:
        """Keep a request that was answered at once, if `data` is all of it: feed readers send the same bytes again."""
        if len(data) <= _LARGEST_REQUEST and data.find(b"\r\n\r\n") == len(data) - 4:
            if len(self._requests) >= _MOST_KEPT:
                self._requests.clear()
            self._requests[data] = scope["path"], _asked(scope), scope["method"]

    def answer_again(self, data: bytes) -> RawAnswer | None:
        """Return the answer to a request of the same bytes as one before, without parsing it again."""
        known = self._requests.get(data)
        if known is None or (found := self._find_kept(known[0])) is None:
            return None
        return self._answer(known[1], known[2], found)

    def _find_kept(self, path: str) -> _Found | None:
        found = self._kept.get(path)
        if found is None or found.until < time.monotonic() or _signature(found.file) != found.signature:
            self._kept.pop(path, None)
            return None
        return found

    def _keep(self, path: str, found: _Found | Response) -> None:
        if not isinstance(found, _Found) or found.status == 404 or found.document.path.startswith("media/"):
            return
        if len(found.content) <= _LARGEST_KEPT:
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[path] = found

    def _find(self, path: str) -> _Found | Response:
        path = path.removeprefix("/")
        name = path + "index.html" if path == "" or path.endswith("/") else path
        with self._store.read() as connection:
            document = site_files.find_file(connection, name)
            if document is None and name.startswith(ARCHIVE):
                # In mails, the address of an edition has no slash at its end.
                document = site_files.find_file(connection, f"{name}/index.html")
            withdrawn = _item_page(name) and site_files.is_page_withdrawn(connection, *_item_page(name))
            has_page = document is None and site_files.find_file(connection, f"{name}/index.html") is not None
            missing = site_files.find_file(connection, "404.html") if document is None else None
        if document is not None and (found := self._load(document, 410 if withdrawn else 200)) is not None:
            return found
        if has_page:
            # Relative, so that it works behind any proxy prefix, and never leads to another host.
            return Response(status_code=301, headers={"Location": f"./{quote(path.rpartition('/')[2], safe='')}/"})
        if missing is not None and (found := self._load(missing, 404)) is not None:
            return found
        return PlainTextResponse("Not found\n", 404)

    def _load(self, document: PublishedFile, status: int) -> _Found | None:
        """Read the file, or return None if it is gone."""
        file = self._public / document.path
        until, signature = time.monotonic() + _FRESH, _signature(file)
        if not signature:
            return None
        headers = _headers(document, file, status)
        if self._hub_links and _FEED.fullmatch(document.path):
            headers["Link"] = f'{self._hub_links}<{self._site}{quote(document.path)}>; rel="self"'
        packed = file.with_name(file.name + ".gz")
        is_media = document.path.startswith("media/")
        try:
            content = b"" if is_media else file.read_bytes()
            zipped = packed.read_bytes() if not is_media and packed.is_file() else None
        except OSError:
            return None
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        return _Found(file, document, status, raw, signature, until, content, zipped)

    def _respond(self, asked: Mapping[bytes, str], method: str, found: _Found) -> ASGIApp:
        document = found.document
        if document.path.startswith("media/") and not (found.status == 200 and _is_current(asked, document)):
            etag = ("ETag", f'"{document.etag}"')
            headers = dict([(name.decode(), value.decode()) for name, value in found.headers] + [etag])
            return FileResponse(found.file, found.status, headers)
        return self._answer(asked, method, found)

    def _answer(self, asked: Mapping[bytes, str], method: str, found: _Found) -> RawAnswer:
        document, packed = found.document, found.packed
        use_gzip = packed is not None and _accepts_gzip(asked.get(b"accept-encoding", ""))
        key = found.status == 200 and _is_current(asked, document), use_gzip, method == "HEAD"
        answer = found.answers.get(key)
        if answer is not None:
            return answer
        is_current, _, is_head = key
        headers = [*found.headers, (b"etag", f'"{document.etag}{"-gzip" if use_gzip else ""}"'.encode())]
        if is_current:
            answer = RawAnswer(304, headers[1:])
        else:
            content = packed if use_gzip and packed is not None else found.content
            if use_gzip:
                headers.append((b"content-encoding", b"gzip"))
            headers.append((b"content-length", b"%d" % len(content)))
            answer = RawAnswer(found.status, headers, b"" if is_head else content)
        found.answers[key] = answer
        return answer


class RawAnswer:
    """An answer with prepared headers and content. Starlette's `Response` would encode the headers each time."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], content: bytes = b"") -> None:
        self._status, self._headers, self.content = status, headers, content
        fields = b"".join([b"%b: %b\r\n" % line for line in headers])
        self.head = b"HTTP/1.1 %d %b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), fields)
        """Status line and fields, each ending in CRLF, without the empty line (RFC 9112 §2.1)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self.content})


_ASKED = frozenset({b"if-none-match", b"if-modified-since", b"accept-encoding"})


def _asked(scope: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the header fields that decide the answer. Repeated fields form one list (RFC 9110 §5.3)."""
    asked: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in _ASKED:
            text = value.decode("latin-1")
            asked[name] = f"{asked[name]}, {text}" if name in asked else text
    return asked


def _signature(file: Path) -> tuple[int, ...]:
    """Return values that differ after a file was replaced. Empty if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else ()


def _item_page(name: str) -> tuple[str, str] | tuple[()]:
    """Return language and slug if this is the path of an item's page, else ()."""
    parts = name.split("/")
    return (parts[0], parts[1]) if len(parts) == 3 and parts[2] == "index.html" else ()


def _is_search_page(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[1:] == [SEARCH, "index.html"]


def _headers(document: PublishedFile, path: Path, status: int) -> dict[str, str]:
    """Return the headers of a file, without ETag."""
    media = is_media(document.path)
    kind = find_media_type(document.path)
    age = ERROR_AGE if status != 200 else find_cache_control(document.path)
    headers = {"Content-Type": kind, "Cache-Control": age, **SECURITY_HEADERS}
    if is_active_media(document.path):
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    if not media:
        headers["Vary"] = "Accept-Encoding"
    if re.match(r"archive/[^/]+/\d+/", document.path):
        headers["Content-Security-Policy"] = _EDITION_POLICY
    elif _is_search_page(document.path):
        headers["Content-Security-Policy"] = _SEARCH_POLICY
    if is_for_all_sites(document.path):
        headers["Access-Control-Allow-Origin"] = "*"
    headers["Last-Modified"] = format_datetime(document.modified.astimezone(UTC), usegmt=True)
    return headers


def _is_current(asked: Mapping[bytes, str], document: PublishedFile) -> bool:
    """Return whether the client has this version. If-None-Match takes precedence (RFC 9110 §13.2.2)."""
    tags = asked.get(b"if-none-match", "")
    if tags:
        known = {f'"{document.etag}"', f'"{document.etag}-gzip"'}
        sent = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in sent or bool(known & sent)
    since = _http_date(asked.get(b"if-modified-since"))
    return since is not None and document.modified <= since


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _accepts_gzip(header: str) -> bool:
    """Return whether gzip is named with a weight above zero (RFC 9110 §12.5.3)."""
    for part in header.lower().split(","):
        coding, _, parameter = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            weight = parameter.strip().removeprefix("q=")
            try:
                return not weight or float(weight) > 0
            except ValueError:
                return False
    return False
