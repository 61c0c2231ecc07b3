"""Copies of a website's pictures: measured, limited, and rarely requested; a failed picture stays a link."""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from tests.sources.site import Page, Story, Website, rss
from tests.sources.sources import MemoryFetchCache
from tests.sources.web.test_page import listing, story
from tidings import net
from tidings.sources import media, pictures
from tidings.sources.article import Article
from tidings.sources.base import PictureSource, SourceContext, SourceItem
from tidings.sources.web import page, polite_fetch, push
from tidings.sources.web.feed import FeedSource, Settings

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def drawn(width: int = 40, height: int = 30, kind: str = "PNG", colour: str = "navy", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind, **options)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """Make a small PNG that claims to be this many pixels wide and high."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def endless() -> bytes:
    """Make a JPEG of 5 MB that repeats its last scan: decoding all of it takes an hour."""
    whole = drawn(7000, 7000, "JPEG", progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + scan * (5_000_000 // len(scan)) + whole[-2:]


@dataclass
class Newsroom:
    """A source whose feed has one item for each story, in any process."""

    site: Website
    root: Path
    cache: MemoryFetchCache = field(default_factory=MemoryFetchCache)
    known: MemoryFetchCache = field(default_factory=MemoryFetchCache)
    options: dict[str, Any] = field(default_factory=lambda: {"allow_private": True})

    def __post_init__(self) -> None:
        self.source = self.process()

    def process(self) -> FeedSource:
        """Another process with the same folder and the same store."""
        languages, zone = ("en", "ru"), ZoneInfo("Asia/Almaty")
        context = SourceContext("site", self.root, "https://n.example/", languages, zone, self.cache, self.known)
        given = {"type": "feed", "url": f"{self.site.url}/feed"} | self.options
        return FeedSource(Settings.model_validate(given), context)

    def tell(self, *bodies: str, now: datetime = NOW) -> None:
        """Return the newest story first."""
        days = [NOW - DAY - count * HOUR for count in range(len(bodies))]
        stories = [Story(f"s{n}", f"S{n}", body, day) for n, (body, day) in enumerate(zip(bodies, days, strict=True))]
        self.site.pages["/feed"] = Page(rss(stories, self.site.url))
        assert self.source.fetch(now, force=True).problem == ""

    def bring(self, now: datetime = NOW, *, seconds: float = 20.0, force: bool = False) -> int:
        return self.source.fetch_pictures(now, seconds, force=force)

    def found(self, now: datetime = NOW) -> list[SourceItem]:
        return list(self.source.sweep(now).items)

    def said(self) -> list[str]:
        return [problem.message for problem in self.source.sweep(NOW).problems if "stays a link" in problem.message]

    def asked(self, path: str) -> list[int]:
        return [status for at, status, _ in self.site.asked if at == path]

    def kept(self) -> set[str]:
        folder = self.root / pictures.FOLDER / "site"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def img(self, path: str) -> str:
        return f'<p>Text.</p><img src="{self.site.url}{path}" alt="A well">'


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Newsroom]:
    site = Website()
    site.pages["/a.png"] = Page(drawn())
    yield Newsroom(site, tmp_path)
    site.close()


def test_a_picture_is_measured_copied_and_shown(room: Newsroom) -> None:
    site = room.site.url
    room.site.pages["/b.jpg?s=2"] = Page(drawn(20, 10, "JPEG"))
    room.tell(
        f'<p>Text.</p><picture><source srcset="{site}/a.webp"><img src="/a.png" srcset="/a2.png 2x" alt="A &gt; B">'
        f"</picture>"
        f'<img src="/b.jpg?s=2" alt="B" width="10"><video><source src="/film.mp4"></video>'
    )
    [link] = room.found()
    assert room.bring() == 2
    [ours] = room.found()
    first, second = ours.media
    assert (first.name, first.media_type) == ("a.png", "image/png")
    assert (second.name, second.media_type) == ("b.jpg", "image/jpeg")
    src = f"https://n.example/media/{first.digest}/a.png"
    assert (room.root / first.path).read_bytes() == room.site.pages["/a.png"].body
    [image] = ours.images
    assert (image.src, image.alt, image.width, image.height) == (src, "A > B", 40, 30)
    assert (image.media_type, image.length) == ("image/png", first.length)
    assert f'<picture><img src="{src}" alt="A &gt; B" width="40" height="30"></picture>' in ours.body
    assert f'<img src="https://n.example/media/{second.digest}/b.jpg" alt="B" width="10">' in ours.body
    assert "a.webp" not in ours.body
    assert "a2.png" not in ours.body
    assert '<source src="' + site + '/film.mp4"' in ours.body
    assert ours.original_urls[src] == f"{site}/a.png"
    assert ours.fingerprint != link.fingerprint
    assert (ours.ref, ours.published, ours.updated) == (link.ref, link.published, None)


def test_a_second_run_fetches_and_changes_nothing(room: Newsroom) -> None:
    room.tell(room.img("/a.png"), room.img("/a.png"), room.img("/none.png"))
    room.bring()
    before, version = room.source.sweep(NOW), room.known.version()
    asked = len(room.site.asked)
    for process in (room.source, room.process()):
        assert process.fetch_pictures(NOW + timedelta(minutes=59), 20.0) == 0
        assert process.sweep(NOW) == before
    assert len(room.site.asked) == asked
    assert room.known.version() == version
    assert room.asked("/a.png") == [200]  # though two items show it


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (
        lambda: drawn(300, 300, "JPEG", quality=95)[:2000],
        "is not a readable picture: it is damaged or cut off",
    ),
    "bomb": (lambda: bomb(65_000), "too many pixels"),
    "large": (lambda: bomb(8_000), "8000 x 8000 pixels"),
    "endless": (endless, "it takes "),
    "page": (lambda: b"<!doctype html><html><body><img src=x onerror=x()></body></html>", "it is a web page"),
    "svg": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><circle r="9"/></svg>',
        "it is an SVG drawing",
    ),
    "bmp": (lambda: drawn(kind="BMP"), "it is a BMP"),
    "tiff": (lambda: drawn(kind="TIFF"), "it is a TIFF"),
    "empty": (lambda: b"", "it is empty"),
    "phone": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC photo"),
    "jpeg xl": (lambda: b"\xff\x0a" + bytes(9), "it is JPEG XL"),
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS has not fetched it"),
    "icon": (lambda: b"\0\0\1\0\1\0", "it is an icon"),
    "too big": (lambda: drawn() + bytes(2000), "larger than"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_invalid_picture_stays_a_link_and_others_come(
    room: Newsroom, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "too big":
        monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    if what == "endless":
        monkeypatch.setattr(media, "SECONDS", 1)
    for name in ("/x.jpg", "/x.svg"):
        room.site.pages[name] = Page(WRONG[what][0](), headers={"Content-Type": "image/jpeg"})
        room.tell(room.img(name) + room.img("/a.png"))
        room.bring()
        [one] = room.found()
        assert f'src="{room.site.url}{name}"' in one.body
        assert [each.name for each in one.media] == ["a.png"]
        assert len(room.kept()) == 1
        [line] = room.said()
        assert name in line
        assert WRONG[what][1] in line


def test_a_slow_picture_does_not_delay_the_end_of_a_run(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_GRACE", 1.0)
    monkeypatch.setattr(pictures, "_TIMEOUT", 60.0)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        threading.Thread(target=trickle, daemon=True).start()
        slow = f"http://127.0.0.1:{listener.getsockname()[1]}/slow.jpg"
        room.tell(f'<img src="{slow}" alt="S">{room.img("/a.png")}')
        began = time.monotonic()
        room.bring(seconds=0.5)
        assert 1.0 < time.monotonic() - began < 60.0
        stop.set()
    assert [slow in line for line in room.said()] == [True]
    assert room.bring(NOW + timedelta(minutes=5)) == 1  # the other picture was not fetched yet
    assert [one.name for one in room.found()[0].media] == ["a.png"]


def test_a_failed_picture_is_tried_after_an_hour_and_a_day(room: Newsroom) -> None:
    room.tell(room.img("/later.png"))
    for after, count in ((0 * HOUR, 1), (HOUR * 0.9, 1), (HOUR, 2), (DAY, 2), (HOUR + DAY, 3), (300 * DAY, 3)):
        room.bring(NOW + after)
        assert len(room.asked("/later.png")) == count, after
    room.site.pages["/later.png"] = Page(drawn())
    assert room.bring(NOW + 301 * DAY, force=True) == 1
    assert room.said() == []


def test_a_young_items_picture_is_checked_for_changes(room: Newsroom) -> None:
    room.tell(room.img("/a.png"))
    room.bring()
    for day in range(40):
        room.bring(NOW + day * DAY + HOUR)
    assert room.asked("/a.png") == [200, 304, 304, 304]  # after one, three and seven days
    other = Newsroom(room.site, room.root / "other")
    other.tell(other.img("/a.png"))
    other.bring()
    [before] = other.found()
    room.site.pages["/a.png"] = Page(drawn(9, 9))
    assert other.bring(NOW + DAY) == 1
    [after] = other.found()
    assert (after.images[0].width, after.images[0].src) != (before.images[0].width, before.images[0].src)
    assert other.kept() == {after.media[0].path.rpartition("/")[2], before.media[0].path.rpartition("/")[2]}
    other.bring(NOW + 1.1 * DAY)
    assert other.kept() == {after.media[0].path.rpartition("/")[2]}


@pytest.mark.parametrize(("status", "stays"), [(404, True), (500, True), (410, False)])
def test_a_missing_picture_stays_unless_gone_for_good(room: Newsroom, status: int, stays: bool) -> None:
    room.tell(room.img("/a.png"))
    room.bring()
    room.site.pages["/a.png"] = Page(b"", status)
    assert room.bring(NOW + DAY) == 0
    assert room.asked("/a.png") == [200, status]
    room.bring(NOW + 2 * DAY - HOUR)
    assert bool(room.found()[0].media) == stays == bool(room.kept())


def test_a_busy_site_is_left_alone(room: Newsroom) -> None:
    room.site.pages["/busy.png"] = Page(b"", 429, {"Retry-After": "7200"})
    room.tell(room.img("/busy.png"), room.img("/a.png"))
    room.bring()
    room.bring(NOW + 1.9 * HOUR)
    assert (room.asked("/busy.png"), room.asked("/a.png")) == ([429], [])
    room.site.pages["/busy.png"] = Page(drawn())
    assert room.bring(NOW + 2 * HOUR) == 2


# -- limits -----------------------------------------------------------------------------------------------------------


def test_pictures_of_an_item_and_of_a_run_are_limited(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_OF_ITEM", 3)
    monkeypatch.setattr(pictures, "MAX_AT_ONCE", 2)
    names = [f"/{n}.png" for n in range(4)]
    for n, name in enumerate(names):
        room.site.pages[name] = Page(drawn(10 + n))
    room.tell("".join(map(room.img, names)))
    assert room.bring(seconds=0.0) == 0
    assert [room.bring() for _ in range(3)] == [2, 1, 0]
    assert [len(room.asked(name)) for name in names] == [1, 1, 1, 0]


def test_newest_items_keep_pictures_when_space_is_full(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for n in range(5):
        body = drawn(50, 50, colour=f"#0{n}0000")
        sizes.append(len(body))
        room.site.pages[f"/{n}.png"] = Page(body)
    monkeypatch.setattr(pictures, "MAX_KEPT", sum(sizes[:3]) - 1)
    room.tell(*(room.img(f"/{n}.png") for n in range(1, 5)))
    for n in range(9):
        room.bring(NOW + n * 2 * MINUTE)
    assert [len(one.media) for one in sorted(room.found(), key=lambda one: one.ref)] == [1, 1, 0, 0]
    assert [len(room.asked(f"/{n}.png")) for n in range(1, 5)] == [1, 1, 1, 1]
    room.tell(*(room.img(f"/{n}.png") for n in range(5)))
    for n in range(9):
        room.bring(NOW + HOUR + n * 2 * MINUTE)
    titles = {one.title: len(one.media) for one in room.found()}
    assert len(room.kept()) == sum(titles.values()) == 2
    assert [len(room.asked(f"/{n}.png")) for n in range(5)] == [1, 1, 1, 1, 1]


def test_unused_pictures_are_deleted(room: Newsroom) -> None:
    room.site.pages["/b.png"] = Page(drawn(5, 5))
    room.tell(room.img("/a.png") + room.img("/b.png"))
    room.bring()
    (room.root / pictures.FOLDER / "site" / "half.77.new").write_bytes(b"of a process that died")
    assert len(room.kept()) == 3
    room.tell(room.img("/b.png"), now=NOW + HOUR)
    room.bring(NOW + HOUR)
    assert room.kept() == {room.found()[0].media[0].path.rpartition("/")[2]}
    room.tell(room.img("/a.png"), now=NOW + 2 * HOUR)
    assert room.bring(NOW + 2 * HOUR) == 1  # it is needed again
    other = room.root / pictures.FOLDER / "former"
    other.mkdir()
    pictures.remove_other_folders(room.root, {"site"})
    assert not other.exists()
    assert len(room.kept()) == 1


# -- restart, and more than one process -------------------------------------------------------------------------------


def test_a_restart_keeps_files_and_fetches_lost_ones(room: Newsroom) -> None:
    room.tell(room.img("/a.png"))
    room.bring()
    before = room.found()
    room.source = room.process()
    assert room.found() == before
    for path in (room.root / pictures.FOLDER / "site").iterdir():
        path.unlink()
    [link] = room.found()
    assert not link.media
    assert f'src="{room.site.url}/a.png"' in link.body
    assert room.bring(NOW + HOUR) == 1
    assert room.found() == before
    assert room.asked("/a.png") == [200, 200]


def test_a_dead_process_blocks_fetching_for_two_minutes(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    room.tell(room.img("/a.png"))
    with monkeypatch.context() as patched:
        patched.setattr(pictures, "fetch_url", dies)
        with pytest.raises(KeyboardInterrupt):
            room.bring()
    room.source = room.process()
    assert room.bring(NOW + timedelta(seconds=119)) == 0
    assert room.bring(NOW + timedelta(seconds=120)) == 1


def test_only_one_of_two_processes_fetches(room: Newsroom) -> None:
    names = [f"/{n}.png" for n in range(6)]
    for n, name in enumerate(names):
        room.site.pages[name] = Page(drawn(10 + n))
    room.tell("".join(map(room.img, names)))
    both = [room.source, room.process()]
    barrier = threading.Barrier(2)

    def bring(source: FeedSource) -> int:
        barrier.wait()
        return source.fetch_pictures(NOW, 20.0)

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(bring, both)) == 6
    assert [room.asked(name) for name in names] == [[200]] * 6
    assert both[0].sweep(NOW) == both[1].sweep(NOW)
    assert len(room.kept()) == 6


def test_an_aborted_request_does_not_count_as_failure(room: Newsroom) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        room.tell(f'<img src="{silent}" alt="S">')
        thread = threading.Thread(target=room.bring, daemon=True)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            connection.recv(10)
            room.source.abort()
            thread.join(timeout=60)
            assert not thread.is_alive()
    assert room.said() == []
    assert room.known.items() == ()


# -- hostile ----------------------------------------------------------------------------------------------------------


def test_private_addresses_are_never_connected_to(room: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here 127.0.0.1 counts as public and all other addresses as private."""
    monkeypatch.setattr(net, "is_public_ip", lambda address: address == "127.0.0.1")
    room.options = {"allow_private": False}
    room.source = room.process()
    inside = Website()
    with socket.create_server(("127.0.0.2", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        targets = [f"http://127.0.0.2:{port}/a.png", f"http://[::ffff:127.0.0.2]:{port}/a.png"]
        for n, target in enumerate(targets):
            room.site.pages[f"/{n}.png"] = Page(b"", 302, {"Location": target})
        room.tell(*(f'<img src="{target}" alt="S">' for target in targets), room.img("/0.png"), room.img("/1.png"))
        assert room.bring() == 0
        with pytest.raises(TimeoutError):
            listener.accept()
    inside.close()
    assert [room.asked(f"/{n}.png") for n in range(2)] == [[302], [302]]
    assert len(room.said()) == 4
    assert sum("private address" in line for line in room.said()) >= 2


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2f..%2fetc%2fpasswd.png",
        "/%2e%2e/%2e%2e/x.html",
        "/a.svg",
        "/.htaccess",
        "/a%00.jpg%0d%0aX: y",
        "/con.php",
        "/%d0%ba%d0%be%d0%bb%d0%be%d0%b4%d0%b5%d1%86.JPG",
        "/%E2%80%AEgnp.exe",
        f"/{'a' * 3000}.png",
        "/?p=%22%3E%3Cscript%3E",
    ],
)
def test_file_names_are_safe_for_any_address(room: Newsroom, path: str) -> None:
    class Any(dict[str, Page]):
        def get(self, key: str, default: Page | None = None) -> Page | None:  # type: ignore[override]
            return super().get(key) or Page(drawn())

    room.site.pages = Any()
    room.tell(room.img(path))
    assert room.bring() == 1
    [one] = room.found()
    [file] = one.media
    assert re.fullmatch(r"[a-z0-9-]{1,100}\.png", file.name)
    assert re.fullmatch(r"\.pictures/site/[0-9a-f]{64}", file.path)
    assert one.images[0].src == f"https://n.example/media/{file.digest}/{file.name}"
    assert {path.parent for path in room.root.rglob("*") if path.is_file()} == {room.root / ".pictures" / "site"}


def test_a_full_disk_is_tried_again_in_an_hour(room: Newsroom) -> None:
    room.tell(room.img("/a.png"))
    folder = room.root / pictures.FOLDER
    folder.write_text("in the way of the folder")
    assert room.bring() == 0
    assert room.bring(NOW + MINUTE) == 0
    assert room.asked("/a.png") == [200]
    assert room.found()[0].media == ()
    folder.unlink()
    assert room.bring(NOW + HOUR) == 1


# -- other sources ----------------------------------------------------------------------------------------------------


def test_robots_txt_applies_to_pictures(room: Newsroom) -> None:
    site = room.site
    site.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /closed/\n")
    site.pages["/closed/b.png"] = Page(drawn())
    site.pages["/news"] = listing("/one")
    site.pages["/one"] = story("One", room.img("/closed/b.png") + room.img("/a.png"))
    languages, zone = ("en",), ZoneInfo("Asia/Almaty")
    context = SourceContext("site", room.root, "https://n.example/", languages, zone, room.cache, room.known)
    given = {"type": "page", "url": f"{site.url}/news", "allow_private": True, "pause": "0m"}
    source = page.PageSource(page.Settings.model_validate(given), context)
    assert source.fetch(NOW).problem == ""
    assert source.fetch_pictures(NOW, 20.0) == 1
    assert room.asked("/closed/b.png") == []
    assert ["robots.txt" in problem.message for problem in source.sweep(NOW).problems] == [True]


def test_pictures_of_pushed_items_come_and_go_with_them(room: Newsroom) -> None:
    languages, zone = ("en",), ZoneInfo("Asia/Almaty")
    context = SourceContext("site", room.root, "https://n.example/", languages, zone, room.cache, room.known)
    given = {"type": "push", "token": "a token of sixteen", "allow_private": True}
    source = push.PushSource(push.Settings.model_validate(given), context)
    assert isinstance(source, PictureSource)
    push.put(room.cache, "1", Article(title="One", html=room.img("/a.png")), NOW)
    assert source.fetch_pictures(NOW, 20.0) == 1
    assert [item.images[0].width for item in source.sweep(NOW).items] == [40]
    push.withdraw(room.cache, "1", "By mistake.", NOW)
    source.fetch_pictures(NOW, 20.0)
    assert room.kept() == set()


def test_an_overlays_alt_text_reaches_body_and_copy(room: Newsroom) -> None:
    room.tell(f'<p>Text.</p><img src="{room.site.url}/a.png"><img src="/none.png">')
    plain = room.source.sweep(NOW)
    assert [problem.message for problem in plain.problems] == [
        f"the picture {x}.png has no alt text" for x in ("a", "none")
    ]
    [one] = plain.items
    file = room.root / "content" / "overlay" / f"{one.name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f'alt: {{"{room.site.url}/a.png": A "well" > 2 m}}\n', encoding="utf-8")
    room.bring()
    swept = room.source.sweep(NOW)
    [one] = swept.items
    assert one.images[0].alt == 'A "well" > 2 m'
    assert 'alt="A &quot;well&quot; &gt; 2 m" width="40"' in one.body
    assert "none.png has no alt" in swept.problems[0].message
    assert not any("a.png has no alt" in each.message for each in swept.problems)


def test_the_docs_name_the_limits() -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto" / "read-your-website.md").read_text(encoding="utf-8")
    for limit in (
        f"{pictures.MAX_BYTES // 1_000_000} MB",
        f"{pictures.MAX_OF_ITEM} of one item",
        f"{pictures.MAX_AT_ONCE} at a time",
        f"{pictures.MAX_KEPT // 1_000_000} MB of one source",
    ):
        assert limit in text
    assert pictures.MAX_BYTES < polite_fetch.MAX_BODY
