"""Sites without a feed: a page's own data, selectors, and polite requests."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from tests.sources.site import Page, Website
from tests.sources.sources import FreshSource, MemoryFetchCache, make_source
from tidings.sources.web import page
from tidings.sources.web.page import PageSource, Settings
from tidings.sources.web.page_parser import Selectors, parse_page
from tidings.testing.source_contract import SourceCase, SourceContract

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
ALMATY = ZoneInfo("Asia/Almaty")


def source_of(url: str, cache: MemoryFetchCache | None = None, **settings: Any) -> PageSource:
    source: PageSource = make_source(page, url, cache, **({"pause": "0m"} | settings))
    return source


def listing(*paths: str) -> Page:
    links = "".join(f'<article><h2><a href="{path}">x</a></h2></article>' for path in paths)
    return Page(f'<html><body><nav><a href="/about">About</a></nav><main>{links}</main></body></html>'.encode())


def story(title: str, body: str = "<p>Text.</p>", head: str = "", lang: str = "en") -> Page:
    written = f'<html lang="{lang}"><head><meta charset="utf-8">{head}</head><body><header>Menu</header>'
    written += f"<main><article><h1>{escape(title)}</h1>{body}</article></main>"
    written += "<footer>About the project</footer></body></html>"
    return Page(written.encode())


class PageCase(SourceCase):
    remembers = True

    def __init__(self, site: Website) -> None:
        self._site = site
        self._paths: list[str] = []
        self.source = FreshSource(_Every(source_of(f"{site.url}/news", story="/([a-z-]+)$")))  # type: ignore[arg-type]
        site.pages["/news"] = Page(b"<html><body><main>Nothing yet</main></body></html>")

    def write(self, name: str, language: str, title: str, body: str) -> None:
        self._put(name, language, story(title.replace("\x0b", ""), body, lang=language))

    def spoil(self, name: str, language: str) -> None:
        self._put(name, language, story("Titel", lang="de"))

    def remove(self, name: str, language: str) -> None:
        self._paths.remove(f"/{language}/{name}")
        del self._site.pages[f"/{language}/{name}"]
        self._site.pages["/news"] = listing(*self._paths)

    def break_down(self) -> None:
        self._site.pages["/news"] = Page(b"", 500)

    def _put(self, name: str, language: str, page: Page) -> None:
        path = f"/{language}/{name}"
        self._site.pages[path] = page
        self._paths += [path] if path not in self._paths else []
        self._site.pages["/news"] = listing(*self._paths)


class _Every:
    """Fetch at a time. Each reading is a day later, so that known pages are read again."""

    def __init__(self, source: PageSource) -> None:
        self._source, self._days = source, 0

    def fetch(self, now: datetime, *, force: bool) -> None:
        self._days += 2
        self._source.fetch(now + timedelta(days=self._days), force=force)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


class TestPageSource(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path, site: Website) -> SourceCase:
        return PageCase(site)


LINKED = {
    "@context": "https://schema.org",
    "@graph": [
        {"@type": "WebPage", "name": "A page"},
        {
            "@type": "NewsArticle",
            "headline": "Форум «Вода»",
            "description": "Шестьдесят посёлков.",
            "datePublished": "2026-03-01T09:00:00+05:00",
            "inLanguage": "ru",
            "author": [{"@type": "Person", "name": "А. Автор"}],
            "image": {"@type": "ImageObject", "url": "/a.jpg", "caption": "Колодец"},
            "articleSection": "Вода",
            "keywords": "youth, sport",
        },
    ],
}
GRAPH = (
    '<meta property="og:title" content="Forum"><meta property="og:description" content="Sixty villages.">'
    '<meta property="og:image" content="https://e.example/b.jpg"><meta property="og:image:alt" content="A well">'
    '<meta property="article:published_time" content="2026-03-01T04:00:00Z">'
    '<meta property="article:tag" content="Water">'
)


def test_a_pages_own_data_is_read() -> None:
    head = f'<script type="application/ld+json">{json.dumps(LINKED)}</script>{GRAPH}'
    head += '<link rel="canonical" href="/ru/forum"><link rel="alternate" hreflang="en" href="/en/forum">'
    head += '<link rel="alternate" hreflang="ru" href="/ru/forum"><link rel="alternate" hreflang="x-default" href="/">'
    body = '<p>Текст.</p><nav>Теги</nav><script>x()</script><div class="share">Share</div>'
    raw = story("Другое", body, head, "ru").body
    page = parse_page(raw, "https://e.example/x?utm_source=a", Selectors(remove=".share"), ALMATY)
    article = page.article
    assert (article["title"], article["summary"]) == ("Форум «Вода»", "Шестьдесят посёлков.")
    assert article["published"] == "2026-03-01T04:00:00+00:00"
    assert article["url"] == "https://e.example/ru/forum"
    assert article["translations"] == {"en": "https://e.example/en/forum", "ru": "https://e.example/ru/forum"}
    assert article["images"] == [{"src": "https://e.example/a.jpg", "alt": "Колодец"}]
    assert article["topics"] == ["Вода", "youth", "sport"] and article["authors"] == ["А. Автор"]
    assert "Текст." in article["html"]
    assert not any(word in article["html"] for word in ("Теги", "x()", "Share", "Menu", "About the project", "<h1"))
    assert page.found_by["title"] == "JSON-LD" and page.found_by["html"] == "article"


def test_open_graph_and_plain_html_are_enough() -> None:
    page = parse_page(story("Heading", head=GRAPH, lang="kk").body, "https://e.example/x", Selectors(), ALMATY)
    assert (page.article["title"], page.article["language"]) == ("Forum", "kk")
    assert page.article["images"] == [{"src": "https://e.example/b.jpg", "alt": "A well"}]
    bare = parse_page(story("Heading").body, "https://e.example/x", Selectors(), ALMATY)
    assert (bare.article["title"], bare.found_by["title"]) == ("Heading", "h1")


def test_selectors_go_before_the_pages_own_data() -> None:
    body = '<b class="t">Ours</b><div class="text"><p>Body</p></div><i class="d">24.11.2026</i><u>One</u><u>Two</u>'
    chosen = Selectors(title=".t", body=".text", published=".d", topics="u")
    page = parse_page(story("Heading", body, GRAPH).body, "https://e.example/x", chosen, ALMATY)
    assert page.article["title"] == "Ours" and page.article["topics"] == ["One", "Two"]
    assert page.article["published"] == "2026-11-23T19:00:00+00:00"
    assert page.article["html"] == '<div class="text"><p>Body</p></div>'
    assert page.found_by["published"] == ".d"


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", b"<", b"<html>" + b"<div>" * 50_000, b'<meta charset="nonsense">x'])
def test_data_that_is_no_page_gives_no_story(raw: bytes) -> None:
    assert not parse_page(raw, "https://e.example/x", Selectors(), ALMATY).article.get("title")


def test_known_pages_are_read_again_after_a_day(site: Website) -> None:
    site.pages |= {"/news": listing("/a", "/b"), "/a": story("Story A"), "/b": story("Story B")}
    source = source_of(f"{site.url}/news")
    assert source.fetch(NOW).new == 2
    site.pages |= {"/news": listing("/c", "/a", "/b"), "/c": story("Story C"), "/a": story("Story A, edited")}
    before = len(site.asked)
    assert source.fetch(NOW + timedelta(hours=1)).new == 1
    assert [path for path, _, _ in site.asked[before:]] == ["/news", "/c"]
    assert {item.title for item in source.sweep(NOW).items if not item.backlog} == {"Story C"}
    assert source.fetch(NOW + timedelta(days=2)).changed == 1
    assert {item.title for item in source.sweep(NOW).items} == {"Story A, edited", "Story B", "Story C"}


@pytest.mark.parametrize("by", ["etag", "modified"])
def test_unchanged_pages_are_not_sent_again(site: Website, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages |= {"/news": listing("/a", "/b"), "/a": story("Story A"), "/b": Page(b"", 500)}
    if by == "modified":
        stamp = "Mon, 02 Mar 2026 10:00:00 GMT"
        old = {"Last-Modified": stamp}
        site.pages |= {path: replace(site.pages[path], headers=old, validated=False) for path in ("/news", "/a")}
    cache = MemoryFetchCache()
    source = source_of(f"{site.url}/news", cache)

    def asked(after: timedelta, one: PageSource) -> list[tuple[str, int, bool]]:
        before = len(site.asked)
        assert not one.fetch(NOW + after).problem
        name = {"etag": "if-none-match", "modified": "if-modified-since"}[by]
        done = [(path, status, name in headers) for path, status, headers in site.asked[before:]]
        return [each for each in done if each[0] != "/robots.txt"]

    kept = 304 if by == "etag" else 200
    assert asked(timedelta(0), source) == [("/news", 200, False), ("/a", 200, False), ("/b", 500, False)]
    # An unchanged listing still leads to pages that could not be read, and to pages that are due again.
    site.pages["/b"] = story("Story B")
    assert asked(timedelta(hours=1), source) == [("/news", kept, True), ("/b", 200, False)]
    [first, _] = asked(timedelta(hours=26), source)[1:]
    assert first == ("/a", kept, True)
    assert {item.title for item in source.sweep(NOW).items} == {"Story A", "Story B"}
    site.pages["/a"] = replace(site.pages["/a"], body=story("Story A, edited").body)
    source.fetch(NOW + timedelta(days=3))
    assert {item.title for item in source.sweep(NOW).items} == {"Story A, edited", "Story B"}
    # Other selectors may find other things on an unchanged page, and so may another version of ours.
    again = source_of(f"{site.url}/news", cache, title="p")
    assert {(status, known) for _, status, known in asked(timedelta(days=5), again)} == {(200, False)}
    assert {item.title for item in again.sweep(NOW).items} == {"Text."}
    monkeypatch.setattr(page, "__version__", "99")
    newer = source_of(f"{site.url}/news", cache, title="p")
    assert {(status, known) for _, status, known in asked(timedelta(days=7), newer)} == {(200, False)}


@pytest.mark.parametrize("first", ["en", "ru", "kk"])
def test_a_story_key_does_not_depend_on_the_order(site: Website, first: str) -> None:
    both = "".join(f'<link rel="alternate" hreflang="{one}-KZ" href="/{one}/news/forum-{one}">' for one in ("ru", "en"))
    other = (
        '<link rel="alternate" hreflang="ru" href="/ru/node/12"><link rel="alternate" hreflang="kk" href="/kk/node/12">'
    )
    site.pages |= {
        "/en/news/forum-en": story("Forum", head=both),
        "/ru/news/forum-ru": story("Форум", head=both, lang="ru"),
        "/kk/node/12": story("Құдық", head=other, lang="kk"),
        "/ru/node/12": story("Колодец", head=other, lang="ru"),
    }
    paths = sorted((path for path in site.pages), key=lambda path: not path.startswith(f"/{first}"))
    keys: dict[str, set[str | None]] = {"forum": set(), "node": set()}
    source = source_of(f"{site.url}/news", most=100)
    for count in (1, 2, 4):
        site.pages["/news"] = listing(*paths[:count])
        source.fetch(NOW + timedelta(hours=count))
        for item in source.sweep(NOW).items:
            keys["node" if "node" in str(item.url) else "forum"].add(item.story)
    assert [len(some) for some in keys.values()] == [1, 1]
    [forum], [node] = keys.values()
    assert re.fullmatch(r"forum-en-[0-9a-f]{6}", str(forum)) and re.fullmatch(r"node-12-[0-9a-f]{6}", str(node))


def test_robots_txt_is_obeyed_and_our_agent_is_named(site: Website) -> None:
    site.pages |= {
        "/robots.txt": Page(b"User-agent: tidings\nDisallow: /\nAllow: /news\nAllow: /a$\n"),
        "/news": listing("/a", "/private/b"),
        "/a": story("Story A"),
        "/private/b": story("Story B"),
    }
    source = source_of(f"{site.url}/news")
    assert source.fetch(NOW).new == 1
    assert "/private/b" not in [path for path, _, _ in site.asked]
    assert all("Tidings" in headers["user-agent"] for _, _, headers in site.asked)
    site.pages["/robots.txt"] = Page(b"User-agent: *\nDisallow: /\n")
    assert "robots.txt" in source_of(f"{site.url}/news").fetch(NOW).problem
    site.pages["/robots.txt"] = Page(b"", 503)
    assert "503" in source_of(f"{site.url}/news").fetch(NOW).problem


def test_a_page_that_failed_at_first_is_no_news_later(site: Website) -> None:
    site.pages |= {"/news": listing("/a", "/b"), "/a": story("Story A"), "/b": Page(b"", 500)}
    source = source_of(f"{site.url}/news")
    assert source.fetch(NOW).new == 1
    site.pages["/b"] = story("Story B")
    assert source.fetch(NOW + timedelta(hours=1)).new == 1
    assert all(item.backlog for item in source.sweep(NOW).items)


def test_a_trial_shows_how_each_field_was_found(site: Website) -> None:
    site.pages |= {"/news": listing("/a"), "/a": story("Story A", head=GRAPH)}
    cache = MemoryFetchCache()
    tried = source_of(f"{site.url}/news", cache).try_fetch(NOW)
    assert len(tried.items) == 1 and "title by OpenGraph" in tried.notes[0] and cache.version() == 0
    site.pages["/news"] = Page(b"<html><body><p>Nothing</p></body></html>")
    assert "set `items`" in source_of(f"{site.url}/news").try_fetch(NOW).problems[0].message


def test_an_invalid_selector_is_refused() -> None:
    with pytest.raises(ValidationError, match="is not a CSS selector"):
        Settings.model_validate({"type": "page", "url": "https://e.example/", "body": "div[["})


def test_pages_are_fetched_one_by_one_with_pauses(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    site.pages |= {"/news": listing("/a", "/b", "/c")} | {f"/{one}": story(f"Story {one}") for one in "abc"}
    slept: list[tuple[float, int]] = []
    monkeypatch.setattr(page.time, "sleep", lambda seconds: slept.append((seconds, len(site.asked))))
    assert source_of(f"{site.url}/news", pause="2s").fetch(NOW).new == 3
    # Before each page except the listing, after all earlier requests were answered.
    assert slept == [(2.0, 2), (2.0, 3), (2.0, 4)]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_site_gets_no_request_until_it_allows(site: Website, status: int) -> None:
    site.pages |= {"/news": listing("/a", "/b", "/c"), "/a": story("Story a"), "/c": story("Story c")}
    site.pages["/b"] = Page(b"", status, {"Retry-After": "7200"})
    source = source_of(f"{site.url}/news")
    done = source.fetch(NOW)
    assert (done.new, done.due) == (1, NOW + timedelta(hours=2))
    assert [path for path, _, _ in site.asked] == ["/robots.txt", "/news", "/a", "/b"]
    assert not source.fetch(NOW + timedelta(hours=1)).was_requested
    site.pages["/b"] = story("Story b")
    assert source.fetch(NOW + timedelta(hours=2)).new == 2
    assert all(item.backlog for item in source.sweep(NOW).items)


def test_a_listings_move_end_and_freshness_are_obeyed(site: Website) -> None:
    site.pages |= {"/news": Page(b"", 301, {"Location": "/neu"}), "/a": story("Story a")}
    site.pages["/neu"] = replace(listing("/a"), headers={"Cache-Control": "max-age=7200"})
    source = source_of(f"{site.url}/news")
    assert source.fetch(NOW).due == NOW + timedelta(hours=2)
    source.fetch(NOW + timedelta(hours=2))
    assert [path for path, _, _ in site.asked] == ["/robots.txt", "/news", "/neu", "/a", "/neu"]
    site.pages["/neu"] = Page(b"", 410)
    assert source.fetch(NOW + timedelta(hours=5)).due is None
    assert not source.fetch(NOW + timedelta(days=9)).was_requested


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        ("<h1>Новости</h1>".encode("cp1251"), "text/html; charset=windows-1251"),
        ('<meta charset="windows-1251"><h1>Новости</h1>'.encode(), "text/html; charset=UTF-8"),
        ('\ufeff<meta charset="windows-1251"><h1>Новости</h1>'.encode(), "text/html; charset=koi8-r"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><h1>Новости</h1>'.encode("koi8-r"), ""),
        ('<?xml version="1.0" encoding="windows-1251"?><html><h1>Новости</h1></html>'.encode("cp1251"), ""),
        ('<?xml version="1.0" encoding="utf-16"?><html><h1>Новости</h1></html>'.encode("utf-16-le"), "text/html"),
        ("<h1>Новости</h1>".encode("cp866"), "text/html; charset=ibm866"),
        ("<h1>Новости</h1>".encode("kz1048"), "text/html; charset=KZ-1048"),
        ("<h1>Новости</h1>".encode("cp1251"), "text/html; charset=win-1251"),
        ("<h1>Новости</h1>".encode(), "text/html"),
        ("<h1>Новости</h1>".encode("cp1251"), "text/html"),
        ("\ufeff<h1>Новости</h1>".encode("utf-16-le"), ""),
    ],
)
def test_a_page_is_decoded_as_browsers_do(raw: bytes, content_type: str) -> None:
    page = parse_page(raw, "https://e.example/x", Selectors(), ALMATY, content_type)
    assert page.article["title"] == "Новости"


def test_latin_1_means_windows_1252() -> None:
    raw = '<meta charset="iso-8859-1"><h1>“Café”</h1>'.encode("cp1252")
    assert parse_page(raw, "https://e.example/x", Selectors(), ALMATY).article["title"] == "“Café”"


def test_relative_links_follow_the_base_of_the_page() -> None:
    raw = b'<base href="/files/"><meta property="og:image" content="b.jpg"><article><p>A</p><img src="a.jpg"></article>'
    page = parse_page(raw, "https://e.example/news/x", Selectors(), ALMATY)
    assert page.article["images"][0]["src"] == "https://e.example/files/b.jpg"
    assert page.article["base"] == "https://e.example/files/"


def test_a_pages_player_and_lazy_picture_stay() -> None:
    raw = (
        b'<article><p>A</p><iframe src="https://vimeo.com/1"></iframe><noscript><img src="a.jpg"></noscript></article>'
    )
    html = parse_page(raw, "https://e.example/x", Selectors(), ALMATY).article["html"]
    assert "iframe" in html and "a.jpg" in html
