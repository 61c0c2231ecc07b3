"""Pages and feeds of topics, organisations and kinds: linked, paged, and rewritten only if they change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from lxml import html

from tests.fixtures.items import make_newsroom, put
from tests.render.feeds.feed_rules import problems
from tests.render.samples import START, item
from tidings.config.settings import Newsroom
from tidings.pipeline.publish.publish import publish
from tidings.pipeline.publish.sections import PAGE_ITEMS, split_pages
from tidings.render.urls import FORMATS
from tidings.store.engine import Store

NOW = START + timedelta(days=400)
HOUR = timedelta(hours=1)


@pytest.fixture
def newsroom(tmp_path: Path) -> Newsroom:
    return make_newsroom(tmp_path)


def page(newsroom: Newsroom, path: str) -> Any:
    document = html.document_fromstring((newsroom.public / path / "index.html").read_bytes())
    document.make_links_absolute(newsroom.site.url + path)
    return document


def stories(document: Any) -> list[str]:
    return [link.text_content() for link in document.cssselect(".card h2 a")]


@pytest.mark.parametrize("count", [0, 1, 29, 30, 31, 59, 60, 61, 89, 90, 300])
def test_pages_have_each_item_once_and_older_ones_stay(count: int) -> None:
    pages, after = split_pages(count, 30), split_pages(count + 1, 30)
    numbers = list(range(count))  # newest first
    shown = [each for _, part in sorted(pages, key=lambda page: -page[0] or -99) for each in numbers[part]]
    assert sorted(shown) == numbers
    # Pages are counted from the oldest, so older pages keep their items after one more was published.
    for number, part in pages[1:]:
        new = dict(after)[number]
        assert len(numbers[part]) == 30
        assert [each - 1 for each in range(count + 1)[new]] == numbers[part]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_story_links_to_the_pages_of_its_sections(store: Store, newsroom: Newsroom) -> None:
    put(
        store,
        item(1, topics=("water", "Climate change"), organisations=("UNICEF", "Всемирный банк"), kind="press-release"),
        item(2, topics=("water",), organisations=("Unicef",)),
        item(3, topics=("water",), language="ru", story="story-1", title="Река"),
        item(4, topics=("secret",), draft=True),
    )
    publish(store, newsroom, now=NOW)
    story = page(newsroom, "en/story-1/")
    links = {link.text_content(): link.get("href") for link in story.cssselect(".tags a, .kicker a")}
    url = newsroom.site.url
    assert links == {
        "Press release": url + "en/kinds/press-release/",
        "Water & rivers": url + "en/topics/water/",
        "Climate change": url + "en/topics/climate-change/",
        "UNICEF": url + "en/organisations/unicef/",
        "Всемирный банк": url + "en/organisations/vsemirnyi-bank/",
    }
    for path in (*(link.removeprefix(url) for link in links.values()), "en/topics/", "en/search/"):
        assert (newsroom.public / path / "index.html").is_file(), path
    water = page(newsroom, "en/topics/water/")
    assert stories(water) == ["Story number 2", "Story number 1"]
    assert stories(page(newsroom, "ru/topics/water/")) == ["Река"]
    # Spellings of one organisation share a page.
    assert stories(page(newsroom, "en/organisations/unicef/")) == ["Story number 2", "Story number 1"]
    assert {each.get("hreflang"): each.get("href") for each in water.cssselect("link[hreflang]:not([type])")} == {
        "en": url + "en/topics/water/",
        "ru": url + "ru/topics/water/",
    }
    # Kazakh has no stories here, so the language link leads to its front page.
    assert {each.get("hreflang"): each.get("href") for each in water.cssselect(".languages a")} == {
        "ru": url + "ru/topics/water/",
        "kk": url + "kk/",
    }
    assert not list(newsroom.public.rglob("*secret*"))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_section_has_valid_feeds_of_its_own(store: Store, newsroom: Newsroom) -> None:
    put(store, *(item(number, topics=("water",), organisations=("UNICEF",)) for number in range(1, 26)))
    publish(store, newsroom, now=NOW)
    for path in ("en/topics/water/", "en/organisations/unicef/", "en/kinds/story/"):
        document = page(newsroom, path)
        linked = {link.get("type"): link.get("href") for link in document.cssselect("main a[type]")}
        assert set(linked) == set(FORMATS.values())
        assert linked.items() <= {(a.get("type"), a.get("href")) for a in document.cssselect("head link[type]")}
        for kind, url in linked.items():
            content = (newsroom.public / url.removeprefix(newsroom.site.url)).read_bytes()
            assert problems(content, url, kind + "; charset=utf-8") == []
            assert urljoin(newsroom.site.url, path).encode() in content


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_new_story_rewrites_its_own_sections_alone(store: Store, newsroom: Newsroom) -> None:
    count = 2 * PAGE_ITEMS + 5
    put(store, *(item(number, topics=("water",)) for number in range(1, count + 1)), item(200, topics=("youth",)))
    publish(store, newsroom, now=NOW)
    newest, oldest = page(newsroom, "en/topics/water/"), page(newsroom, "en/topics/water/1/")
    assert len(stories(newest)) == PAGE_ITEMS + 5 and len(stories(oldest)) == PAGE_ITEMS
    assert stories(oldest)[-1] == "Story number 1"
    assert newest.cssselect("a[rel=next]")[0].get("href") == newsroom.site.url + "en/topics/water/1/"
    assert oldest.cssselect("a[rel=prev]")[0].get("href") == newsroom.site.url + "en/topics/water/"
    assert "page 1" in oldest.cssselect("title")[0].text
    put(store, item(201, topics=("youth",)))
    done = publish(store, newsroom, now=NOW + HOUR)
    assert not [path for path in done.written if "water" in path]
    assert {path for path in done.written if "topics" in path} == {
        "en/topics/index.html",
        "en/topics/youth/index.html",
        *(f"feeds/en/topics/youth.{ending}" for ending in FORMATS),
    }
    # A page without items is removed, with its feeds.
    put(store, *(replace(item(number), draft=True) for number in (200, 201)), had=[item(200).id, item(201).id])
    publish(store, newsroom, now=NOW + 2 * HOUR)
    assert not list(newsroom.public.rglob("*youth*"))
