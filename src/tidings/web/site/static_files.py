"""Feeds, pages and media from public/ over HTTP, with ETag and date from the store (RFC 9110 §8.8, §13)."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from tidings.render.urls import SEARCH
from tidings.store.content import site_files
from tidings.store.content.site_files import PublishedFile
from tidings.store.engine import Store

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".rss": "application/rss+xml; charset=utf-8",
    ".atom": "application/atom+xml; charset=utf-8",
    ".json": "application/feed+json; charset=utf-8",
    ".opml": "text/x-opml; charset=utf-8",
    ".xml": "application/xml; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".ics": "text/calendar; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".png": "image/png",
}
_JSON = "application/json; charset=utf-8"
"""The type of JSON files that are no feeds."""
_FEED_ENDINGS = frozenset({".rss", ".atom", ".json", ".opml", ".ics"})
_ENDINGS_FOR_ALL = _FEED_ENDINGS | {".xml"}
"""Files that scripts of other sites may read (CORS)."""
_ACTIVE = frozenset({"text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/xml"})
"""Media types that a browser could run as one of our pages."""

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
"""Policy for the page of the search: the only one with a script."""

FEED_AGE = 1800
PAGE_AGE = 300
STYLE_AGE = 86_400
MEDIA_AGE = 31_536_000


def static_endpoint(
    store: Store, public: Path, *, site: str = "", hubs: Sequence[str] = ()
) -> Callable[[Request], Response]:
    """Answer GET and HEAD for every path that `publish` wrote, and for no other file.

    The unchanged path is looked up in the store's table, so that no other file can be reached. The Link header of a
    feed names its `hubs`, for hubs that do not know the format (W3C WebSub §4), and its own address below `site`.
    """
    hub_links = "".join(f'<{hub}>; rel="hub", ' for hub in hubs)

    def serve(request: Request) -> Response:
        path = request.scope["path"].removeprefix("/")
        name = path + "index.html" if path == "" or path.endswith("/") else path
        with store.read() as connection:
            document = site_files.find_file(connection, name)
            if document is None and name.startswith(ARCHIVE):
                # In mails, the address of an edition has no slash at its end.
                document = site_files.find_file(connection, f"{name}/index.html")
            withdrawn = _item_page(name) and site_files.is_page_withdrawn(connection, *_item_page(name))
            has_page = document is None and site_files.find_file(connection, f"{name}/index.html") is not None
            missing = site_files.find_file(connection, "404.html") if document is None else None
        if document is not None and (public / document.path).is_file():
            answer = _respond(request, public, document, 410 if withdrawn else 200)
            if hub_links and re.fullmatch(r"feeds/[^/]+/[^/]+\.(rss|atom|json)|feeds\.opml", document.path):
                answer.headers["Link"] = f'{hub_links}<{site}{quote(document.path)}>; rel="self"'
            return answer
        if has_page:
            # Relative, so that it works below any prefix of a proxy, and never leads to another host.
            return Response(status_code=301, headers={"Location": f"./{quote(path.rpartition('/')[2], safe='')}/"})
        if missing is not None and (public / missing.path).is_file():
            return _respond(request, public, missing, 404)
        return PlainTextResponse("Not found\n", 404)

    return serve


def _item_page(name: str) -> tuple[str, str] | tuple[()]:
    """Return language and slug if this is the path of an item's page."""
    parts = name.split("/")
    return (parts[0], parts[1]) if len(parts) == 3 and parts[2] == "index.html" else ()


def _is_search_page(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[1:] == [SEARCH, "index.html"]


def _respond(request: Request, public: Path, document: PublishedFile, status: int) -> Response:
    path = public / document.path
    media = document.path.startswith("media/")
    kind = (mimetypes.guess_type(path.name)[0] if media else _TYPES.get(path.suffix)) or "application/octet-stream"
    if document.path.startswith("search/"):
        kind = _JSON
    headers = {"Content-Type": kind, "Cache-Control": _cache_control(path, media, status)}
    if media and kind in _ACTIVE:
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    if not media:
        headers["Vary"] = "Accept-Encoding"
    if re.match(r"archive/[^/]+/\d+/", document.path):
        headers["Content-Security-Policy"] = _EDITION_POLICY
    elif _is_search_page(document.path):
        headers["Content-Security-Policy"] = _SEARCH_POLICY
    if not media and path.suffix in _ENDINGS_FOR_ALL:
        headers["Access-Control-Allow-Origin"] = "*"
    packed = path.with_name(path.name + ".gz")
    use_gzip = not media and _accepts_gzip(request.headers.get("accept-encoding", "")) and packed.is_file()
    headers["ETag"] = f'"{document.etag}-gzip"' if use_gzip else f'"{document.etag}"'
    headers["Last-Modified"] = format_datetime(document.modified.astimezone(UTC), usegmt=True)
    if status == 200 and _is_current(request, document):
        del headers["Content-Type"]
        return Response(status_code=304, headers=headers)
    if media:
        return FileResponse(path, status, headers)
    if use_gzip:
        headers["Content-Encoding"] = "gzip"
    content = (packed if use_gzip else path).read_bytes()
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers | {"Content-Length": str(len(content))})
    return Response(content, status, headers)


def _cache_control(path: Path, media: bool, status: int) -> str:
    if status != 200:
        return "public, max-age=60"
    if media:
        return f"public, max-age={MEDIA_AGE}, immutable"
    # Never send no-cache: FreshRSS would then use its shortest interval.
    if path.suffix in _FEED_ENDINGS and "search" not in path.parts[-3:-2]:
        return f"public, max-age={FEED_AGE}"
    age = STYLE_AGE if path.suffix in (".css", ".js", ".ico", ".png") else PAGE_AGE
    return f"public, max-age={age}"


def _is_current(request: Request, document: PublishedFile) -> bool:
    """Return whether the client has this version. If-None-Match, if sent, decides alone (RFC 9110 §13.2.2)."""
    tags = ",".join(request.headers.getlist("if-none-match"))
    if tags:
        known = {f'"{document.etag}"', f'"{document.etag}-gzip"'}
        sent = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        return "*" in sent or bool(known & sent)
    since = _http_date(request.headers.get("if-modified-since"))
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
