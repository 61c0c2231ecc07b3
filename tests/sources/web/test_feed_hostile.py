"""Hostile or broken feeds and servers are survived and reported in one line; no private address is reached."""

from __future__ import annotations

import gzip
import json
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sources.site import Page, Story, Website, rss
from tests.sources.sources import MemoryFetchCache
from tests.sources.web.test_feed import source_of
from tidings import net
from tidings.sources.article import ItemRequest, build_article, build_item
from tidings.sources.web.feed_parser import FeedError, parse_feed

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
GOOD = [Story("good", "A good story", published=NOW - timedelta(days=1))]
BOMB = (
    '<?xml version="1.0" encoding="{0}"?><!DOCTYPE rss [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9))
    + "]><rss version='2.0'><channel><item><title>&a8;</title><description>x</description></item></channel></rss>"
)


def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that sends any bytes, one by one if a test says so."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            with one:
                try:
                    one.recv(65536)
                    answer(one)
                except OSError:
                    pass  # the client has hung up, as it should

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/feed"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)


serving = contextmanager(raw_server)


@pytest.mark.parametrize(
    "page",
    [
        Page(BOMB.format("utf-8").encode()),
        Page(BOMB.format("utf-16").encode("utf-16")),
        Page(b'<?xml version="1.0"?><!DOCTYPE r SYSTEM "file:///etc/passwd"><rss><channel/></rss>'),
        Page(b"<rss version='2.0'><channel><item><title>" + b"<b>" * 20_000 + b"</title></item></channel></rss>"),
        Page(gzip.compress(b"\0" * 200_000_000), headers={"Content-Encoding": "gzip"}),
        Page(b"\x1f\x8b not gzip", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["entities", "entities in UTF-16", "external", "depth", "gzip bomb", "broken gzip"],
)
def test_a_hostile_feed_changes_no_known_item(site: Website, page: Page) -> None:
    site.pages["/feed"] = Page(rss(GOOD, site.url))
    source = source_of(f"{site.url}/feed")
    assert source.fetch(NOW).new == 1
    site.pages["/feed"] = page
    done = source.fetch(NOW, force=True)
    swept = source.sweep(NOW).items
    assert "A good story" in {one.title for one in swept}
    assert not any("root:" in one.title + one.body or len(one.title) > 2_000 for one in swept)
    assert done.problem == source.health(NOW).problem
    site.pages["/feed"] = Page(rss(GOOD, site.url))
    assert source.fetch(NOW, force=True).problem == ""


def test_an_endless_body_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [0]

    def flood(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\n\r\n<rss>")
        for _ in range(16_000):
            one.sendall(b" " * 65_536)  # a gigabyte, if the client reads it
            sent[0] += 65_536

    with serving(flood) as url:
        done = source_of(url).fetch(NOW)
    assert "larger than 15 MB" in done.problem
    assert sent[0] < 200_000_000


def test_a_slow_response_is_given_up() -> None:
    def drip(one: socket.socket) -> None:
        one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        stop = threading.Event()
        while not stop.wait(0.05):
            one.sendall(b"<")

    with serving(drip) as url:
        source = source_of(url)
        source.session = net.GuardedSession(allow_private=True, timeout=0.5)
        assert "took too long" in source.fetch(NOW).problem


def test_endless_and_private_redirects_are_refused(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSRF (Mautic CVE-2026-9557, Ghost CVE-2026-22597): the dialled address of each hop is checked."""
    for number in range(20):
        site.pages[f"/{number}"] = Page(b"", 302, {"Location": f"/{number + 1}"})
    assert "more than 5 redirects" in source_of(f"{site.url}/0").fetch(NOW).problem
    # This machine's first address stands for the internet, and all other addresses are private.
    monkeypatch.setattr(net, "is_public_ip", lambda address: address == "127.0.0.1")
    inside = Website()
    try:
        port = inside.url.rpartition(":")[2]
        for target in (
            f"http://127.0.0.2:{port}/",
            "http://169.254.169.254/latest/meta-data/",
            f"http://[::1]:{port}/",
        ):
            site.pages["/feed"] = Page(b"", 301, {"Location": target})
            assert "private address" in source_of(f"{site.url}/feed", allow_private=False).fetch(NOW).problem
        assert inside.asked == []
    finally:
        inside.close()


def test_the_dialled_address_decides_about_a_host_name(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: there is no second look-up between check and connection."""
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(next(answers))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (asked[-1], port))]

    monkeypatch.setattr(net, "is_public_ip", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    port = site.url.rpartition(":")[2]
    site.pages["/feed"] = Page(rss(GOOD, site.url), headers={"Connection": "close"})
    source = source_of(f"http://rebinding.example:{port}/feed", allow_private=False)
    assert source.fetch(NOW).problem == ""
    assert "private address" in source.fetch(NOW, force=True).problem
    assert len(asked) == 2


@pytest.mark.slow
def test_only_the_newest_2000_entries_are_read(site: Website) -> None:
    items = "".join(f"<item><title>Story number {n}</title></item>" for n in range(100_000))
    site.pages["/feed"] = Page(f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>".encode())
    cache = MemoryFetchCache()
    done = source_of(f"{site.url}/feed", cache).fetch(NOW)
    assert done.new == 2_000 and "too many" in done.notice


@pytest.mark.parametrize(
    ("declared", "header", "encoding"),
    [
        ("utf-8", "", "utf-8"),
        ("windows-1251", "", "cp1251"),
        ("utf-8", "application/rss+xml; charset=windows-1251", "cp1251"),
        ("koi8-r", "text/xml", "koi8-r"),
        ("utf-16", "", "utf-16"),
    ],
)
def test_cyrillic_survives_wrong_encodings(site: Website, declared: str, header: str, encoding: str) -> None:
    feed = rss([Story("a", "Форум молодёжи")], site.url).decode().replace('encoding="utf-8"', f'encoding="{declared}"')
    headers = {"Content-Type": header} if header else {}
    site.pages["/feed"] = Page(feed.encode(encoding), headers=headers)
    source = source_of(f"{site.url}/feed")
    assert source.fetch(NOW).problem == ""
    assert [item.title for item in source.sweep(NOW).items] == ["Форум молодёжи"]


# -- twenty thousand broken feeds -------------------------------------------------------------------------------------

ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom" xml:lang="kk" xml:base="/a/">
<title>T</title><id>urn:1</id><updated>2026-03-04T05:06:00Z</updated><link rel="self" href="/feed"/>
<entry><id>urn:2</id><title type="html">Ауыл &amp;amp; дала</title><link href="b"/><link rel="alternate" hreflang="ru"
href="/ru/b"/><link rel="enclosure" type="image/png" href="/c.png" length="5"/><updated>2026-03-04T05:06:00Z</updated>
<author><name>N</name></author><category term="water" label="Water"/><summary>S</summary>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>One <img src="d.png" alt="A"/></p></div></content>
</entry></feed>""".encode()
JSON = json.dumps(
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "T",
        "language": "ru",
        "items": [
            {
                "id": "1", "url": "https://e.example/1", "title": "Т", "content_html": "<p>x</p>", "tags": ["a"],
                "date_published": "2026-03-04T05:06:00Z", "authors": [{"name": "N"}],
                "attachments": [{"url": "https://e.example/a.pdf", "mime_type": "application/pdf"}],
            }
        ],
    }
).encode()  # fmt: skip
_ODD = (
    b"\0 \xff\xfe <![CDATA[ ]]> <!-- &#x0; &#xD800; & < % \xed\xa0\x80 <!DOCTYPE\tx> http://[ data:text/html,x [ { null"
    b' http://\xe2\x80\xae/ 99999999999999999999 Thu,\t99\tFoo\t20266\t99:99:99\t+9999 " \\ud800 \\u0000 -1'
).split(b" ")


def mutated(rng: random.Random, seed: bytes) -> bytes:
    """Cut, double, overwrite and mix the bytes."""
    made = bytearray(seed)
    for _ in range(rng.choice([1, 1, 2, 4, 12])):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(5):
            case 0:
                del made[at : at + rng.randrange(1, 40)]
            case 1:
                made[at:at] = rng.choice(_ODD)
            case 2:
                made[at:at] = made[at : at + rng.randrange(1, 200)] * rng.randrange(1, 4)
            case 3:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                other = rng.randrange(len(made) + 1)
                made[at : at + 20], made[other : other + 20] = made[other : other + 20], made[at : at + 20]
    return bytes(made)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [rss(GOOD * 2, "https://e.example"), ATOM, JSON], ids=["rss", "atom", "json"])
def test_twenty_thousand_mutated_feeds_neither_crash_nor_hang(seed: bytes) -> None:
    """A third of them for each format. Seconds are of processor time, so that a busy machine does not matter."""
    rng = random.Random(20261124)
    context = source_of("https://e.example/feed").context
    settings = source_of("https://e.example/feed").settings
    read = 0

    def hangs(*_: object) -> None:
        raise AssertionError("more than a second of processor time")

    before = signal.signal(signal.SIGVTALRM, hangs)
    try:
        for number in range(6_700):
            body = mutated(rng, seed)
            signal.setitimer(signal.ITIMER_VIRTUAL, 1.0)
            try:
                feed = parse_feed(body, "https://e.example/feed")
            except FeedError:
                continue
            for item in feed.items:
                read += 1
                article = build_article(item.article)
                if article is None:
                    continue
                request = ItemRequest(
                    {}, f"r{number}", False, None, settings.language, settings.kind, settings.topics,
                    context.name, context.url, context.languages,
                )  # fmt: skip
                built, problems = build_item(article, request)
                assert built is not None or problems
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert read > 500
