"""The sitemap, robots.txt, the icons and the index of the search."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import etree, html
from PIL import Image

from tests.fixtures.items import make_newsroom, media_file, put
from tests.render.feeds.feed_rules import NEWS, SITEMAP, XHTML, xml_problems
from tests.render.samples import START, item
from tidings.config.settings import Newsroom
from tidings.pipeline.publish import discovery
from tidings.pipeline.publish.publish import publish
from tidings.store.engine import Store

NOW = START + timedelta(days=60)
HOUR = timedelta(hours=1)
URL = "https://news.example.org/"
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def newsroom(tmp_path: Path) -> Newsroom:
    return make_newsroom(tmp_path)


def sitemap(newsroom: Newsroom, name: str = "sitemap.xml") -> dict[str, etree._Element]:
    content = (newsroom.public / name).read_bytes()
    assert xml_problems(content, URL) == []
    return {each.findtext(f"{SITEMAP}loc") or "": each for each in etree.fromstring(content)}


@only_sqlite
def test_the_sitemap_names_pages_languages_and_news(store: Store, newsroom: Newsroom) -> None:
    put(
        store,
        item(1, topics=("water",)),
        item(2, language="ru", story="story-1", url=URL + "ru/река/", slug="reka", title="Река & озеро"),
        item(3, url="https://other.example.org/story"),
        item(4, published=NOW - HOUR, changed=NOW - HOUR),
        item(5, withdrawn="An error."),
        item(6, embargo=NOW + 30 * HOUR),
    )
    publish(store, newsroom, now=NOW)
    entries = sitemap(newsroom)
    assert {URL + "en/", URL + "kk/search/", URL + "en/topics/water/", URL + "en/story-1/"} <= set(entries)
    assert not {URL + "en/story-5/", URL + "en/story-6/", "https://other.example.org/story"} & set(entries)
    links = {each.get("hreflang"): each.get("href") for each in entries[URL + "en/story-1/"].iter(f"{XHTML}link")}
    assert links == {"en": URL + "en/story-1/", "ru": URL + "ru/%D1%80%D0%B5%D0%BA%D0%B0/"}
    assert [url for url, each in entries.items() if each.find(f"{NEWS}news") is not None] == [URL + "en/story-4/"]
    assert entries[URL + "en/story-4/"].findtext(f".//{NEWS}title") == "Story number 4"
    # After two days a story is no longer news. Nothing else changed, and the file is written once more.
    done = publish(store, newsroom, now=NOW + 48 * HOUR)
    assert "sitemap.xml" in done.written
    assert URL + "en/story-6/" in sitemap(newsroom)
    assert sitemap(newsroom)[URL + "en/story-4/"].find(f"{NEWS}news") is None
    assert publish(store, newsroom, now=NOW + 900 * HOUR).written == ()


@only_sqlite
def test_a_large_sitemap_is_split(store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_URLS", 25)
    put(store, *(item(number) for number in range(1, 41)))
    publish(store, newsroom, now=NOW)
    names = [url.removeprefix(URL) for url in sitemap(newsroom)]
    assert names == ["sitemap-1.xml", "sitemap-2.xml", "sitemap-3.xml"]
    addresses = [url for name in names for url in sitemap(newsroom, name)]
    assert len(addresses) == len(set(addresses)) > 40
    put(store, item(41))
    done = publish(store, newsroom, now=NOW + HOUR)
    assert [name for name in done.written if "sitemap" in name] == ["sitemap-3.xml"]


@only_sqlite
def test_robots_name_the_sitemap_below_the_sites_path(store: Store, tmp_path: Path) -> None:
    newsroom = make_newsroom(tmp_path, "https://example.org/news/")
    publish(store, newsroom, now=NOW)
    lines = (newsroom.public / "robots.txt").read_text().splitlines()
    assert lines[0] == "User-agent: *"
    assert "Disallow: /news/unsubscribe/" in lines and "Disallow: /news/preferences/" in lines
    assert lines[-1] == "Sitemap: https://example.org/news/sitemap.xml"


@only_sqlite
@pytest.mark.parametrize("logo", ["none", "wide", "broken"])
def test_icons_come_from_the_logo_or_the_colour(store: Store, tmp_path: Path, logo: str) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (300, 100), "#d00000").save(out, "PNG")
    content = {"none": b"", "wide": out.getvalue(), "broken": b"no picture"}[logo]
    newsroom = make_newsroom(tmp_path, logo=media_file(tmp_path, "logo.png", content, "image/png") if content else None)
    publish(store, newsroom, now=NOW)
    raw = [(newsroom.public / name).read_bytes() for name in ("favicon.ico", "apple-touch-icon.png")]
    with Image.open(io.BytesIO(raw[0])) as icon:
        assert icon.format == "ICO" and icon.info["sizes"] == {(16, 16), (32, 32), (48, 48)}
        middle = icon.convert("RGBA").getpixel((24, 24))
    with Image.open(io.BytesIO(raw[1])) as touch:
        assert touch.size == (180, 180) and touch.mode == "RGB"
    assert (middle == (208, 0, 0, 255)) == (logo == "wide")
    document = html.document_fromstring((newsroom.public / "en/index.html").read_bytes())
    assert [link.get("href") for link in document.cssselect("link[rel=icon]")] == ["../favicon.ico"]
    assert publish(store, newsroom, now=NOW, force=True).written == ()


@only_sqlite
def test_the_index_has_every_word_in_small_files(store: Store, newsroom: Newsroom) -> None:
    long = " ".join(f"word{number}" for number in range(3_000))
    put(
        store,
        *(item(number, body=f"<p>{long}</p>") for number in range(1, 101)),
        item(200, language="ru", body="<p>Школа&nbsp;в ауле, школа.</p>", topics=("water",), organisations=("ЮНИСЕФ",)),
        item(201, language="kk", body="<p>教育质量。学校</p>", draft=True),
    )
    publish(store, newsroom, now=NOW + timedelta(days=200))
    files = json.loads((newsroom.public / "search/en/index.json").read_bytes())["files"]
    assert len(files) > 1
    stories = []
    for name in files:
        content = (newsroom.public / "search/en" / name).read_bytes()
        assert len(content) < 200_000
        stories += json.loads(content)
    assert len(stories) == 100
    (name,) = json.loads((newsroom.public / "search/ru/index.json").read_bytes())["files"]
    assert json.loads((newsroom.public / "search/ru" / name).read_bytes()) == [
        {
            "path": "ru/story-200/", "title": "Story number 200", "summary": "What story 200 is about.",
            "kind": "История", "date": "2026-09-18", "day": "18 сентября 2026\u00a0г.",
            "labels": ["Вода", "ЮНИСЕФ"], "words": "школа в ауле",
        }
    ]  # fmt: skip
    assert json.loads((newsroom.public / "search/kk/index.json").read_bytes())["files"] == []


@only_sqlite
def test_without_scripts_the_search_lists_all_titles(store: Store, newsroom: Newsroom) -> None:
    put(store, *(item(number) for number in range(1, 451)))
    publish(store, newsroom, now=NOW + timedelta(days=500))
    first, oldest = (
        html.document_fromstring((newsroom.public / path / "index.html").read_bytes())
        for path in ("en/search", "en/search/1")
    )
    titles = [link.text_content() for each in (first, oldest) for link in each.cssselect("#titles li a")]
    assert len(titles) == 450 and titles[0] == "Story number 450" and titles[-1] == "Story number 1"
    assert first.cssselect("#titles nav a")[0].get("href") == "../../en/search/1/"
    assert first.cssselect("noscript") and first.cssselect("form[hidden]")
    scripts = first.cssselect("script:not([type])")
    assert [(each.get("src") or "").partition("?")[0] for each in scripts] == ["../../search.js"]
    assert not oldest.cssselect("script:not([type])")


@only_sqlite
def test_an_event_can_be_put_into_a_calendar(store: Store, newsroom: Newsroom) -> None:
    put(store, item(1), item(2, kind="event", starts=START, topics=("water",)), item(3, kind="event", draft=True))
    publish(store, newsroom, now=NOW)
    document = html.document_fromstring((newsroom.public / "en/story-2/index.html").read_bytes())
    (link,) = document.cssselect("a[type='text/calendar']")
    assert (newsroom.public / "en/story-2" / link.get("href")).resolve().read_bytes().count(b"BEGIN:VEVENT") == 1
    kind = html.document_fromstring((newsroom.public / "en/kinds/event/index.html").read_bytes())
    (link,) = kind.cssselect("a[type='text/calendar']")
    assert (newsroom.public / "en/kinds/event" / link.get("href")).resolve().is_file()
    # An iCalendar file without events is not valid, so a language without any has none.
    assert sorted(path.relative_to(newsroom.public).as_posix() for path in newsroom.public.rglob("*.ics")) == [
        "en/story-2/event.ics",
        "feeds/en/events.ics",
    ]
    put(store, item(2, kind="event", starts=START, withdrawn="It does not take place."), had=[item(2).id])
    publish(store, newsroom, now=NOW + HOUR)
    assert not list(newsroom.public.rglob("*.ics"))
