"""Feeds, pages and media over HTTP."""

from __future__ import annotations

import gzip
import socket
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.fixtures.items import put
from tests.fixtures.waiting import GENEROUS
from tests.render.feeds.feed_rules import problems
from tests.render.samples import item
from tests.web.conftest import NOW, SITE_URL
from tests.web.server import served
from tidings.config.settings import Newsroom
from tidings.pipeline.publish.publish import publish
from tidings.store.content import site_files
from tidings.store.engine import Store
from tidings.web.app import create_app
from tidings.web.connections import MOST_PIPELINED, BoundedProtocol
from tidings.web.site import static_files

FEED = "/feeds/en/all.rss"


@pytest.mark.parametrize(
    ("path", "kind", "age"),
    [
        ("/feeds/en/all.rss", "application/rss+xml; charset=utf-8", 1800),
        ("/feeds/ru/press.atom", "application/atom+xml; charset=utf-8", 1800),
        ("/feeds/kk/water.json", "application/feed+json; charset=utf-8", 1800),
        ("/feeds.opml", "text/x-opml; charset=utf-8", 1800),
        ("/", "text/html; charset=utf-8", 300),
        ("/en/", "text/html; charset=utf-8", 300),
        ("/ru/reka/", "text/html; charset=utf-8", 300),
        ("/style.css", "text/css; charset=utf-8", 86400),
    ],
)
def test_types_and_cache_times(client: httpx.Client, path: str, kind: str, age: int) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == f"public, max-age={age}"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/feeds/en/all.rss", "application/rss+xml; charset=utf-8"),
        ("/feeds/en/kinds/story.json", "application/feed+json; charset=utf-8"),
        ("/feeds.opml", "text/x-opml; charset=utf-8"),
        ("/sitemap.xml", "application/xml; charset=utf-8"),
        ("/search/en/index.json", "application/json; charset=utf-8"),
        ("/feeds/en/events.ics", "text/calendar; charset=utf-8"),
        ("/en/story-6/event.ics", "text/calendar; charset=utf-8"),
    ],
)
def test_scripts_of_other_sites_may_read_feeds(
    client: httpx.Client, store: Store, newsroom: Newsroom, path: str, kind: str
) -> None:
    put(store, item(6, starts=NOW))
    publish(store, newsroom, now=NOW)
    answer = client.get(path, headers={"Origin": "https://other.example.org"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["access-control-allow-origin"] == "*"
    again = client.get(path, headers={"Origin": "https://other.example.org", "If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["access-control-allow-origin"]) == (304, "*")


def test_only_the_search_may_run_a_script(client: httpx.Client) -> None:
    page = client.get("/en/search/")
    assert "script-src 'self'; connect-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert client.get("/search.js").headers["content-type"] == "text/javascript; charset=utf-8"
    for path in ("/", "/en/", "/en/kinds/story/", "/ru/reka/"):
        answer = client.get(path)
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    assert client.get("/robots.txt").headers["content-type"] == "text/plain; charset=utf-8"
    assert client.get("/favicon.ico").headers["content-type"] == "image/vnd.microsoft.icon"


def test_served_feeds_pass_the_validator(client: httpx.Client) -> None:
    for language in ("en", "ru", "kk"):
        for name in ("all", "press", "water"):
            for ending in ("rss", "atom", "json"):
                answer = client.get(f"/feeds/{language}/{name}.{ending}")
                url = f"{SITE_URL}feeds/{language}/{name}.{ending}"
                assert problems(answer.content, url, answer.headers["content-type"]) == []


def test_304_for_either_validator_and_for_both(client: httpx.Client) -> None:
    fresh = client.get(FEED)
    etag, modified = fresh.headers["etag"], fresh.headers["last-modified"]
    for headers in (
        {"If-None-Match": etag},
        {"If-None-Match": "W/" + etag},
        {"If-None-Match": f'"other", {etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": modified},
        {"If-None-Match": etag, "If-Modified-Since": modified},
        {"If-None-Match": etag, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ):
        answer = client.get(FEED, headers=headers)
        assert answer.status_code == 304, headers
        assert answer.content == b""
        assert (answer.headers["etag"], answer.headers["last-modified"]) == (etag, modified)
        assert answer.headers["cache-control"] and answer.headers["vary"]


def test_if_none_match_wins_over_if_modified_since(client: httpx.Client) -> None:
    modified = client.get(FEED).headers["last-modified"]
    answer = client.get(FEED, headers={"If-None-Match": '"old"', "If-Modified-Since": modified})
    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["yesterday", "", "Thu, 99 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_an_old_or_invalid_date_gets_the_feed(client: httpx.Client, value: str) -> None:
    assert client.get(FEED, headers={"If-Modified-Since": value}).status_code == 200


def test_validators_move_together(client: httpx.Client, store: Store, newsroom: Newsroom) -> None:
    # A client that sends both validators, and a cache that uses one, must agree (Athou/commafeed#1746).
    before = client.get(FEED)
    publish(store, newsroom, now=NOW + timedelta(hours=1), force=True)
    assert client.get(FEED).headers["etag"] == before.headers["etag"]
    put(store, item(9))
    publish(store, newsroom, now=NOW + timedelta(milliseconds=1))
    after = client.get(FEED)
    assert after.headers["etag"] != before.headers["etag"]
    old, new = (parsedate_to_datetime(answer.headers["last-modified"]) for answer in (before, after))
    assert new > old
    for headers in ({"If-None-Match": before.headers["etag"]}, {"If-Modified-Since": before.headers["last-modified"]}):
        assert client.get(FEED, headers=headers).status_code == 200


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "*", "br;q=1.0, gzip;q=0.5", "GZIP"])
def test_gzip_where_it_is_accepted(store: Store, newsroom: Newsroom, accepts: str) -> None:
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as client:
        plain = client.get(FEED, headers={"Accept-Encoding": "identity"})
        with client.stream("GET", FEED, headers={"Accept-Encoding": accepts}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(raw) == plain.content
        assert answer.headers["etag"] != plain.headers["etag"]
        # Either tag is valid with either coding.
        for tag in (answer.headers["etag"], plain.headers["etag"]):
            for coding in ("identity", "gzip"):
                headers = {"If-None-Match": tag, "Accept-Encoding": coding}
                assert client.get(FEED, headers=headers).status_code == 304


@pytest.mark.parametrize("accepts", ["", "identity", "br", "gzip;q=0", "gzip;q=nonsense", "deflate"])
def test_no_gzip_where_it_is_not_accepted(client: httpx.Client, accepts: str) -> None:
    answer = client.get(FEED, headers={"Accept-Encoding": accepts})
    assert "content-encoding" not in answer.headers
    assert answer.content.startswith(b"<?xml")


def test_head_tells_the_same_without_a_body(store: Store, newsroom: Newsroom) -> None:
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as client:
        for path in (FEED, "/en/", client_media(client)):
            got, head = client.get(path), client.head(path)
            assert head.status_code == 200 and head.content == b""
            for name in ("content-type", "content-length", "etag", "last-modified", "cache-control"):
                assert head.headers[name] == got.headers[name]


def client_media(client: httpx.Client) -> str:
    feed = client.get("/feeds/en/all.json").json()
    return str(feed["items"][-1]["attachments"][0]["url"]).replace(SITE_URL, "/")


def test_media_are_immutable_and_active_pictures_are_sandboxed(client: httpx.Client) -> None:
    feed = client.get("/feeds/en/all.json").json()["items"][-1]
    brief = client.get(feed["attachments"][0]["url"].replace(SITE_URL, "/"))
    assert brief.content == b"%PDF-1.7 brief"
    assert brief.headers["content-type"] == "application/pdf"
    assert brief.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "sandbox" not in brief.headers["content-security-policy"]
    picture = client.get(feed["image"].replace(SITE_URL, "/"))
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"]
    again = client.get(feed["image"].replace(SITE_URL, "/"), headers={"If-None-Match": picture.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/../tidings.db", "/..%2ftidings.db", "/%2e%2e/tidings.db", "//etc/passwd", "/en/..%5c..%5ctidings.db", "/.lock",
     "/feeds/en/all.rss.gz", "/en/index.html/", "/en/%00", "/media/", "/own.txt", "/feeds/en/none.rss"],
)  # fmt: skip
def test_only_published_files_can_be_reached(store: Store, newsroom: Newsroom, path: str) -> None:
    (newsroom.public / "own.txt").write_text("not ours")
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as client:
        answer = client.get(httpx.URL(address.rstrip("/") + path))
        assert answer.status_code == 404
        assert b"not ours" not in answer.content and b"SQLite" not in answer.content


def test_many_requests_query_the_store_once(store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_files, "_FRESH", 3_600.0)
    asked: list[str] = []
    find = site_files.find_file

    def find_file(connection: Connection, path: str) -> site_files.PublishedFile | None:
        asked.append(path)
        return find(connection, path)

    monkeypatch.setattr(site_files, "find_file", find_file)
    with served(create_app(store, newsroom.public)) as address, httpx.Client(base_url=address) as client:
        first = client.get(FEED)
        assert [client.get(FEED).content == first.content for _ in range(20)] == [True] * 20
        assert client.get(FEED, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        assert client.head(FEED).headers["content-length"] == first.headers["content-length"]
        assert asked == [FEED[1:]]
        # A replaced file is served at once.
        path = newsroom.public / FEED[1:]
        path.write_bytes(first.content + b"<!-- new -->")
        assert client.get(FEED, headers={"Accept-Encoding": "identity"}).content.endswith(b"<!-- new -->")
        path.unlink()
        missing = client.get(FEED)
        assert (missing.status_code, missing.headers["x-content-type-options"]) == (404, "nosniff")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "asked", [{}, {"Accept-Encoding": "gzip"}, {"If-None-Match": "*"}], ids=["full", "gzip", "304"]
)
def test_the_fast_answer_equals_the_usual_answer(
    store: Store, newsroom: Newsroom, method: str, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second answer needs no task. It has the same bytes as on a server without this fast path."""
    monkeypatch.setattr(static_files, "_FRESH", 3_600.0)
    answer_usually, tasks = static_files.StaticFiles.__call__, list[str]()

    async def answer_counted(files: static_files.StaticFiles, scope: Scope, *channels: Any) -> None:
        tasks.append(scope["path"])
        await answer_usually(files, scope, *channels)

    monkeypatch.setattr(static_files.StaticFiles, "__call__", answer_counted)
    app = create_app(store, newsroom.public)
    with served(app) as here, served(app, HttpToolsProtocol) as there, httpx.Client() as client:
        headers = {"Accept-Encoding": "identity", **asked}
        answers = []
        for address in (here, here, here, there):
            with client.stream(method, address.rstrip("/") + FEED, headers=headers) as answer:
                fields = {name: value for name, value in answer.headers.multi_items() if name not in ("date", "server")}
                answers.append((answer.status_code, fields, b"".join(answer.iter_raw())))
    assert all(answer == answers[0] for answer in answers)
    # The very first answer, and that of the other server.
    assert tasks == [FEED, FEED]


def test_the_same_request_is_parsed_twice_at_most(
    store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feed readers send the same bytes again and again, and parsing them costs more than their answer."""
    monkeypatch.setattr(static_files, "_FRESH", 3_600.0)
    parsed: list[str] = []
    complete = BoundedProtocol.on_headers_complete
    monkeypatch.setattr(BoundedProtocol, "on_headers_complete", lambda self: parsed.append("head") or complete(self))
    head = b"GET %b HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n" % FEED.encode()
    request, with_body = head + b"\r\n", head + b"Content-Length: 4\r\n\r\n"
    with served(create_app(store, newsroom.public)) as address:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=GENEROUS) as client:

            def ask(*parts: bytes, answers: int = 1) -> None:
                for part in parts:
                    client.sendall(part)
                received = b""
                while received.count(b"\r\n\r\n") < answers:
                    received += client.recv(65_536)
                assert received.count(b"HTTP/1.1 304 ") == received.count(b"\r\ndate: ") == answers

            for _ in range(6):
                ask(request)
            assert len(parsed) == 2
            # A body, a head in two parts and several requests at once are no such requests.
            ask(with_body, b"body")
            ask(with_body, b"body")
            ask(request[:20], request[20:])
            ask(request + request, answers=2)
            ask(request)
    assert len(parsed) == 7


def test_all_requests_that_may_wait_are_answered(store: Store, newsroom: Newsroom) -> None:
    """They come in one write, and are queued behind the first one, which needs the store."""
    with served(create_app(store, newsroom.public)) as address:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        request = b"HEAD %b HTTP/1.1\r\nHost: x\r\n" % FEED.encode()
        with socket.create_connection((host, int(port)), timeout=GENEROUS) as client:
            client.sendall((request + b"\r\n") * MOST_PIPELINED + request + b"Connection: close\r\n\r\n")
            received = b""
            while chunk := client.recv(65_536):
                received += chunk
    assert received.count(b"HTTP/1.1 200 OK\r\n") == MOST_PIPELINED + 1


def test_a_page_without_its_slash_redirects_within_the_host(client: httpx.Client) -> None:
    answer = client.get("/en")
    assert (answer.status_code, answer.headers["location"]) == (301, "./en/")
    assert client.get("/ru/reka").headers["location"] == "./reka/"
    assert client.get("/ru/reka", follow_redirects=True).url.path == "/ru/reka/"
    assert client.get(f"{client.base_url}/evil.example//en").status_code == 404


def test_a_withdrawn_page_is_a_410(client: httpx.Client) -> None:
    answer = client.get("/en/taken-back/")
    assert answer.status_code == 410
    assert "Published in error." in answer.text
    assert client.get("/en/taken-back/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 410


def test_not_found_is_our_own_page(client: httpx.Client) -> None:
    answer = client.get("/en/nowhere/")
    assert answer.status_code == 404
    assert "Page not found" in answer.text
    assert 'href="/en/"' in answer.text


def test_other_methods_are_refused(client: httpx.Client) -> None:
    assert client.post(FEED).status_code == 405
    assert client.delete("/en/").status_code == 405


def test_routers_come_first_and_get_the_headers(store: Store, newsroom: Newsroom) -> None:
    router = APIRouter()

    @router.get("/unsubscribe/{token}")
    def unsubscribe(token: str) -> dict[str, str]:
        return {"token": token}

    app = create_app(store, newsroom.public, routers=[router])
    with served(app) as address, httpx.Client(base_url=address) as client:
        answer = client.get("/unsubscribe/abc")
        assert answer.json() == {"token": "abc"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get(FEED).status_code == 200


def test_healthz_is_503_when_the_service_is_unwell(store: Store, newsroom: Newsroom, client: httpx.Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["cache-control"] == "no-store"
    with served(create_app(store, newsroom.public, health=lambda: {"ok": False, "pending": 3})) as address:
        ill = httpx.get(address + "healthz")
        assert (ill.status_code, ill.json()["pending"]) == (503, 3)


def test_before_anything_is_published_nothing_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.fixtures.items import open_store

    root = tmp_path_factory.mktemp("empty")
    store = open_store(f"sqlite:///{root / 'tidings.db'}", root)
    with served(create_app(store, root / "public")) as address:
        assert httpx.get(address).status_code == 404
    store.close()


def test_last_modified_is_an_http_date(client: httpx.Client) -> None:
    text = client.get(FEED).headers["last-modified"]
    assert text == format_datetime(NOW, usegmt=True)
