"""Foreign data is read in child processes with limits. An item that exceeds them is set aside by name."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

from tests.sources.site import Page, Website
from tests.sources.sources import make_source
from tidings import child_process
from tidings.child_process import MEMORY, ChildError, run_in_child
from tidings.sources import json_values, media
from tidings.sources.article import PoisonousItemError, build_items_in_child
from tidings.sources.media import open_plain
from tidings.sources.web import cached_source, feed, page
from tidings.sources.web.page_parser import parse_page_in_child

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def spin(data: bytes) -> None:
    while True:
        pass


def sleep(data: bytes) -> None:
    time.sleep(600)


def fill_memory(data: bytes) -> int:
    return len(bytearray(MEMORY + 1))


def echo(data: bytes) -> list[Any]:
    return [os.getpid(), data.decode(), sorted(os.environ)]


def test_a_child_ends_at_its_limit_of_time() -> None:
    with pytest.raises(ChildError, match="too much time or memory"):
        run_in_child(spin, b"", 1)
    assert run_in_child(echo, b"next", 5)[1] == "next"


def test_a_child_that_only_waits_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.child_process._START", 0)
    monkeypatch.setattr("tidings.child_process._SLACK", 1)
    with pytest.raises(ChildError, match="more than 1 seconds"):
        run_in_child(sleep, b"", 1)


def test_a_child_cannot_fill_the_memory() -> None:
    with pytest.raises(ChildError, match="too much time or memory"):
        run_in_child(fill_memory, b"", 20)


def test_a_child_is_used_again_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "secret")
    # A child of an earlier test may have used so much memory that it ends after one more call. The memory of this
    # process does not count.
    child_process._children.close()
    ballast = b"x" * 400_000_000
    first, second = run_in_child(echo, b"a", 5), run_in_child(echo, b"b", 5)
    assert first[0] == second[0] != os.getpid()
    assert "SMTP_PASSWORD" not in first[2]
    assert ballast


def feed_of(*texts: str) -> Page:
    items = "".join(
        f"<item><title>Story number {number}</title><link>https://e.example/{number}</link>"
        f"<guid>https://e.example/{number}</guid><description>{text}</description></item>"
        for number, text in enumerate(texts)
    )
    return Page(f'<rss version="2.0"><channel><title>F</title>{items}</channel></rss>'.encode())


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every item with POISON in its text exceed the limits."""
    real = build_items_in_child

    def build(items: Any, *rest: Any) -> Any:
        if any("POISON" in str(cached.data["article"]) for cached, _ in items):
            raise PoisonousItemError("it takes too much time or memory to read")
        return real(items, *rest)

    monkeypatch.setattr(cached_source, "build_items_in_child", build)


def test_a_poisonous_item_is_set_aside_by_name(monkeypatch: pytest.MonkeyPatch, site: Website) -> None:
    poison(monkeypatch)
    site.pages["/feed"] = feed_of("Text.", "POISON", "Text.")
    source = make_source(feed, f"{site.url}/feed")
    source.fetch(NOW)
    for _ in range(2):
        sweep = source.sweep(NOW)
        assert sorted(item.title for item in sweep.items) == ["Story number 0", "Story number 2"]
        assert sweep.set_aside == ("https://e.example/1",)
        [problem] = sweep.problems
        assert (problem.file, problem.level) == ("https://e.example/1", "error")
        assert "too much time or memory" in problem.message


def test_many_poisonous_items_never_hold_up_a_sweep(monkeypatch: pytest.MonkeyPatch, site: Website) -> None:
    poison(monkeypatch)
    site.pages["/feed"] = feed_of(*["POISON"] * (cached_source.MAX_POISONOUS + 1), "Text.")
    source = make_source(feed, f"{site.url}/feed")
    source.fetch(NOW)
    first = source.sweep(NOW)
    assert (first.is_readable, first.items) == (False, ())
    assert "2 other items wait" in first.problems[0].message
    second = source.build_items(source.cached)
    assert second.is_readable
    assert [item.title for item in second.items] == ["Story number 4"]


def test_a_poisonous_page_leaves_the_others(monkeypatch: pytest.MonkeyPatch, site: Website) -> None:
    real = parse_page_in_child

    def parse(body: bytes, *rest: Any) -> Any:
        if b"POISON" in body:
            raise ChildError("it takes too much time or memory to read")
        return real(body, *rest)

    monkeypatch.setattr(page, "parse_page_in_child", parse)
    site.pages["/news"] = Page(b'<main><h2><a href="/a">a</a></h2><h2><a href="/b">b</a></h2></main>')
    for name, text in (("a", "POISON"), ("b", "Text")):
        html = f"<html lang=en><article><h1>Story {name}</h1><p>{text}.</p></article></html>"
        site.pages[f"/{name}"] = Page(html.encode())
    source = make_source(page, f"{site.url}/news", pause="0m")
    result = source.fetch(NOW)
    assert f"{site.url}/a" in source.notes[0]
    assert [item.title for item in source.sweep(NOW).items] == ["Story b"]
    assert result.problem == ""


@pytest.mark.parametrize(
    "markup",
    [
        "<" + "a" * 40_000,
        "<img " * 16_000,
        '<a class="more-link" ' * 1_000,
        " " * 40_000 + "x",
        "<p " + " ".join(f"a{number}=1" for number in range(60_000)) + ">Text</p>",
        "<!--" * 20_000,
        "<div>" * 10_000,
        "&" * 100_000,
    ],
    ids=["letters", "img", "more-link", "spaces", "attributes", "comments", "divs", "entities"],
)
def test_hostile_markup_never_holds_up_a_feed(markup: str, monkeypatch: pytest.MonkeyPatch, site: Website) -> None:
    """Each text took between half a minute and several minutes, or blocked the process for good."""
    text = markup.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    site.pages["/feed"] = feed_of(text, "Text.")
    source = make_source(feed, f"{site.url}/feed")
    # Only the child may sanitise: in this process the test would fail here.
    monkeypatch.setattr("tidings.sources.article.sanitise", None)
    source.fetch(NOW)
    sweep = source.sweep(NOW)
    assert "Story number 1" in [item.title for item in sweep.items]


def test_a_link_in_place_of_a_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        open_plain(tmp_path / "a.jpg")


@pytest.mark.parametrize(("picture", "most"), [(True, media.MAX_PICTURE_BYTES), (False, media.MAX_FILE_BYTES)])
def test_a_file_that_is_too_large_is_not_read(
    picture: bool, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "hashlib", None)  # it is refused before its hash is made
    (tmp_path / "a.pdf").touch()
    os.truncate(tmp_path / "a.pdf", most + 1)
    with pytest.raises(media.MediaError, match=r"a\.pdf is larger than 1"):
        media.measure(tmp_path / "a.pdf", picture=picture)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b"<html>", "not JSON"),
        (b"[" + b"{}," * 600_000 + b"{}]", "values at once"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not JSON"),
    ],
)
def test_huge_json_of_a_website_is_never_built_here(body: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "json", None)  # the main process does not read it
    with pytest.raises(ValueError, match=words):
        json_values.load_json(body)


def test_json_of_a_website_is_read() -> None:
    assert json_values.load_json(b'[{"id": 1, "title": {"rendered": "A"}}]') == [{"id": 1, "title": {"rendered": "A"}}]


def test_a_picture_of_an_editor_is_decoded_in_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "measure_picture", lambda *_: pytest.fail("it was decoded in the main process"))
    PillowImage.new("RGB", (30, 20)).save(tmp_path / "a.png")
    measured = media.measure(tmp_path / "a.png", picture=True)
    assert (measured.width, measured.height, measured.media_type) == (30, 20, "image/png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(media.MediaError, match=r"b\.png is not a readable picture"):
        media.measure(tmp_path / "b.png", picture=True)
