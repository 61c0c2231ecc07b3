"""The feed source: items, identity, polite requests and failures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sources.site import Page, Story, Website, rss
from tests.sources.sources import FreshSource, MemoryFetchCache, make_source
from tidings.sources.base import FetchResult
from tidings.sources.web import feed
from tidings.sources.web.feed import FeedSource
from tidings.sources.web.feed_parser import FeedError, parse_feed
from tidings.sources.web.polite_fetch import Response
from tidings.testing.source_contract import SourceCase, SourceContract

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def source_of(url: str, cache: MemoryFetchCache | None = None, **settings: Any) -> FeedSource:
    source: FeedSource = make_source(feed, url, cache, **settings)
    return source


class FeedCase(SourceCase):
    remembers = True

    def __init__(self, site: Website) -> None:
        self._site = site
        self._stories: dict[tuple[str, str], Story] = {}
        self.source = FreshSource(source_of(f"{site.url}/feed", story="/([a-z-]+)$"))
        self._serve()

    def write(self, name: str, language: str, title: str, body: str) -> None:
        self._stories[name, language] = Story(name, title, body, language=language)
        self._serve()

    def spoil(self, name: str, language: str) -> None:
        self._stories[name, language] = Story(
            name, "Titel", guid=f"{self._site.url}/{language}/{name}", language="de",
            link=f"{self._site.url}/{language}/{name}",
        )  # fmt: skip
        self._serve()

    def remove(self, name: str, language: str) -> None:
        del self._stories[name, language]
        self._serve()

    def break_down(self) -> None:
        self._site.pages["/feed"] = Page(b"", 500)

    def _serve(self) -> None:
        self._site.pages["/feed"] = Page(rss(list(self._stories.values()), self._site.url))


class TestFeedSource(SourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path, site: Website) -> SourceCase:
        return FeedCase(site)


def stories(count: int, first: datetime = NOW - 30 * DAY) -> list[Story]:
    return [
        Story(f"story-{number}", f"A story of number {number}", published=first + number * DAY / 4)
        for number in range(count)
    ]


def fetch(source: FeedSource, now: datetime = NOW) -> FetchResult:
    return source.fetch(now, force=True)


def titles(source: FeedSource) -> list[str]:
    return sorted(item.title for item in source.sweep(NOW).items)


# -- requests ---------------------------------------------------------------------------------------------------------


def test_an_unchanged_feed_costs_the_site_nothing(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(3), site.url))
    source = source_of(f"{site.url}/feed")
    assert fetch(source).new == 3
    assert (fetch(source).new, fetch(source).changed) == (0, 0)
    assert site.statuses() == [200, 304, 304]
    assert "Tidings" in site.asked[0][2]["user-agent"]


def test_a_feed_is_fetched_no_more_often_than_set(site: Website) -> None:
    site.pages["/feed"] = Page(rss([], site.url))
    source = source_of(f"{site.url}/feed", every="30m")
    assert source.fetch(NOW).was_requested
    assert not source.fetch(NOW + timedelta(minutes=29)).was_requested
    assert source.fetch(NOW + timedelta(minutes=30)).was_requested
    assert len(site.asked) == 2


def test_a_sites_freshness_headers_are_obeyed(site: Website) -> None:
    site.pages["/feed"] = Page(rss([], site.url), headers={"Cache-Control": "public, max-age=7200"})
    assert source_of(f"{site.url}/feed").fetch(NOW).due == NOW + timedelta(hours=2)
    headers = {"date": "Wed, 04 Mar 2026 05:00:00 GMT", "expires": "Wed, 04 Mar 2026 06:00:00 GMT"}
    assert Response(site.url, b"", headers).fresh_for == timedelta(hours=1)
    assert Response(site.url, b"", headers | {"expires": "0"}).fresh_for == timedelta(0)
    assert Response(site.url, b"", headers | {"cache-control": "max-age=60"}).fresh_for == timedelta(minutes=1)


@pytest.mark.parametrize("value", ["3600", "Wed, 04 Mar 2099 05:06:00 GMT"])
def test_retry_after_is_obeyed_in_both_forms(site: Website, value: str) -> None:
    site.pages["/feed"] = Page(b"", 429, {"Retry-After": value})
    done = source_of(f"{site.url}/feed").fetch(NOW)
    assert "429" in done.problem and done.due is not None
    assert done.due >= NOW + timedelta(hours=1)


def test_a_failing_site_is_asked_ever_later(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(3), site.url))
    cache = MemoryFetchCache()
    source = source_of(f"{site.url}/feed", cache)
    fetch(source)
    site.pages["/feed"] = Page(b"", 500)
    waits = []
    for _ in range(12):
        done = fetch(source)
        assert done.due is not None
        waits.append(done.due - NOW)
    assert waits[:3] == [timedelta(minutes=15), timedelta(minutes=30), timedelta(minutes=60)]
    assert waits[-1] == DAY
    health = source.health(NOW)
    assert "500" in health.problem and health.failing_since == NOW
    assert len(titles(source_of(f"{site.url}/feed", cache))) == 3
    site.pages["/feed"] = Page(rss(stories(4), site.url))
    assert fetch(source).new == 1
    assert source.health(NOW).problem == ""


def test_only_permanent_redirects_are_remembered(site: Website) -> None:
    site.pages["/new"] = Page(rss(stories(1), site.url))
    site.pages["/feed"] = Page(b"", 302, {"Location": "/new"})
    source = source_of(f"{site.url}/feed")
    fetch(source)
    fetch(source)
    assert [path for path, _, _ in site.asked] == ["/feed", "/new", "/feed", "/new"]
    site.pages["/feed"] = Page(b"", 301, {"Location": "/new"})
    fetch(source)
    fetch(source)
    assert [path for path, _, _ in site.asked][4:] == ["/feed", "/new", "/new"]
    assert len(titles(source)) == 1


def test_a_feed_gone_for_good_is_not_asked_again(site: Website) -> None:
    site.pages["/feed"] = Page(b"", 410)
    cache = MemoryFetchCache()
    source = source_of(f"{site.url}/feed", cache)
    assert source.fetch(NOW).due is None
    assert not source.fetch(NOW + 30 * DAY).was_requested
    assert len(site.asked) == 1
    site.pages["/other"] = Page(rss(stories(1), site.url))
    assert source_of(f"{site.url}/other", cache).fetch(NOW + 30 * DAY).new == 1


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (Page(b"", 302, {"Location": "/feed"}), "without a usable address"),
        (Page(b"", 301, {"Location": "ftp://127.0.0.1/feed"}), "without a usable address"),
        (Page(b"<html><body>A login page</body></html>"), "web page"),
        (Page(b"<html><head><LINK TYPE='application/rss+xml' HREF='/rss?a=1&amp;b'></head></html>"), "/rss?a=1&b"),
        (Page(b"\x00\x01\x02"), "neither RSS"),
        (Page(b'{"hello": "world"}', headers={"Content-Type": "application/json"}), "not a JSON Feed"),
        (Page(b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "b">]><rss/>'), "entities"),
        (Page(b'{"version": "https://jsonfeed.org/version/1.1", "items": ' + b"[" * 100_000), "nested"),
        (Page(b"<rss><channel>" + b"<item>" * 20_000), ""),
        (Page(b"x" * 16_000_000), "15 MB"),
    ],
)
def test_an_invalid_feed_is_reported_and_changes_nothing(site: Website, page: Page, message: str) -> None:
    site.pages["/feed"] = Page(rss(stories(2), site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    site.pages["/feed"] = page
    done = fetch(source)
    assert message in done.problem
    assert bool(done.problem) == bool(message)
    assert len(titles(source)) >= 2


def test_a_redirect_to_a_private_address_is_refused(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSRF: the site is public and its target private (here every address of this machine is)."""
    done = source_of(f"{site.url}/feed", allow_private=False).fetch(NOW)
    assert "private address" in done.problem
    assert site.asked == []


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda one, base: {"guid": f"urn:other:{one.name}"},
        lambda one, base: {"link": f"{base}/en/{one.name}?utm_source=feed&fbclid=1#top", "guid": "x:" + one.name},
        lambda one, base: {"title": one.title + ", with an edit"},
        lambda one, base: {"published": (one.published or NOW) + 3 * DAY},
        lambda one, base: {"guid": f"urn:moved:{one.name}", "link": f"{base}/archive/2026/{one.name}.html"},
        lambda one, base: {"link": f"{base}/en/{one.name}/".replace("http:", "https:"), "guid": f"again:{one.name}"},
    ],
    ids=["guid", "tracking", "title", "date", "guid and address", "https and slash"],
)
def test_changed_ids_and_addresses_make_no_story_new(site: Website, change: Any) -> None:
    renamed = [Story(one.name, one.title, one.body, one.published, f"tag:1:{one.name}") for one in stories(12)]
    site.pages["/feed"] = Page(rss(renamed, site.url))
    source = source_of(f"{site.url}/feed")
    assert fetch(source).new == 12
    before = {item.ref: item.published for item in source.sweep(NOW).items}
    lied = [Story(**(vars(one) | change(one, site.url))) for one in renamed]
    site.pages["/feed"] = Page(rss(lied, site.url))
    assert fetch(source).new == 0
    assert {item.ref: item.published for item in source.sweep(NOW).items} == before


def test_an_id_shared_by_all_items_identifies_none(site: Website) -> None:
    entries = [Story(story.name, story.title, story.body, story.published, "the-only-id") for story in stories(3)]
    entries += [Story(f"x{n}", f"Another title {n}", link=f"{site.url}/", guid=f"g{n}") for n in range(3)]
    site.pages["/feed"] = Page(rss(entries, site.url))
    source = source_of(f"{site.url}/feed")
    assert fetch(source).new == 6
    assert (fetch(source).new, len(titles(source))) == (0, 6)


def test_items_that_leave_the_feed_stay(site: Website) -> None:
    entries = stories(30)
    site.pages["/feed"] = Page(rss(entries[:10], site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    site.pages["/feed"] = Page(rss(entries[5:15], site.url))
    assert fetch(source).new == 5
    assert len(titles(source)) == 15


def test_an_edit_on_the_site_changes_the_item(site: Website) -> None:
    site.pages["/feed"] = Page(rss([Story("a", "One title", "<p>Before.</p>")], site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    site.pages["/feed"] = Page(rss([Story("a", "One better title", "<p>After.</p>")], site.url))
    assert fetch(source).changed == 1
    [one] = source.sweep(NOW).items
    assert (one.title, one.body) == ("One better title", "<p>After.</p>")


# -- which items are news ---------------------------------------------------------------------------------------------


def test_items_of_the_first_reading_are_no_news(site: Website) -> None:
    site.pages["/feed"] = Page(rss([*stories(5), Story("later", "To come", published=NOW + DAY)], site.url))
    source = source_of(f"{site.url}/feed", backfill="2")
    fetch(source)
    news = {item.title for item in source.sweep(NOW).items if not item.backlog}
    assert news == {"A story of number 4", "A story of number 3", "To come"}
    site.pages["/feed"] = Page(rss([*stories(5), Story("new", "A new one", published=NOW)], site.url))
    fetch(source, NOW + timedelta(hours=1))
    assert {item.title for item in source.sweep(NOW).items if not item.backlog} == news | {"A new one"}


def test_a_rebuilt_sites_old_items_are_no_news(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(5), site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    old = [Story(f"old-{n}", f"From the archive {n}", published=NOW - 400 * DAY + n * DAY) for n in range(40)]
    site.pages["/feed"] = Page(rss([Story("new", "A new one", published=NOW), *old], site.url))
    done = fetch(source, NOW + timedelta(hours=1))
    assert "40 new items" in done.notice
    assert [item.title for item in source.sweep(NOW).items if not item.backlog] == ["A new one"]


def test_items_published_during_an_outage_are_news(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(5), site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    during = [Story(f"during-{n}", f"In the outage {n}", published=NOW + n * timedelta(hours=2)) for n in range(20)]
    site.pages["/feed"] = Page(rss(during, site.url))
    assert fetch(source, NOW + 2 * DAY).notice == ""
    assert sum(not item.backlog for item in source.sweep(NOW).items) == 20


def test_a_single_backdated_item_is_news(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(5), site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    site.pages["/feed"] = Page(rss([Story("back", "Dated back", published=NOW - 300 * DAY)], site.url))
    fetch(source, NOW + DAY)
    assert [item.title for item in source.sweep(NOW).items if not item.backlog] == ["Dated back"]


def test_unusual_silence_of_a_source_is_noticed(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(40, NOW - 10 * DAY), site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    assert not source.health(NOW + DAY).is_silent
    assert source.health(NOW + 3 * DAY).is_silent


# -- the content of items ---------------------------------------------------------------------------------------------


def test_topics_languages_and_stories_follow_the_settings(site: Website) -> None:
    entries = [
        Story("1234-forum", "Forum", topics=("Education", "Sport & games"), language="en"),
        Story("1234-форум", "Форум", language="ru-RU"),
    ]
    site.pages["/feed"] = Page(rss(entries, site.url))
    source = source_of(f"{site.url}/feed", topics={"education": "sdg-4"}, story=r"/(\d+)-", kind="press-release")
    fetch(source)
    english, russian = sorted(source.sweep(NOW).items, key=lambda one: one.language)
    assert english.topics == ("sdg-4", "sport-games")
    assert (english.language, russian.language) == ("en", "ru")
    assert english.story == russian.story == "1234"
    assert english.kind == "press-release"


@pytest.mark.parametrize(
    ("told", "linked"),
    [
        ("?utm_source=rss&utm_medium=feed", ""),
        ("?id=7&utm_source=rss&UTM_Campaign=x&b=%D1%8F&fbclid=I&gclid=E#part", "?id=7&b=%D1%8F#part"),
        ("?page&utm_source=rss", "?page"),
        ("?a=1&&a=2;utm_source=x&utmost=3", "?a=1&&a=2;utm_source=x&utmost=3"),
        ("?q=utm_source", "?q=utm_source"),
    ],
)
def test_tracking_parameters_are_removed_from_addresses(site: Website, told: str, linked: str) -> None:
    site.pages["/feed"] = Page(rss([Story("a", "Forum", link=f"{site.url}/en/forum{told}")], site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    assert [item.url for item in source.sweep(NOW).items] == [f"{site.url}/en/forum{linked}"]


def test_pictures_come_with_their_alt_texts(site: Website) -> None:
    body = '<p>One</p><img src="/a.jpg" alt="A girl reads"><img src="/count.gif" width="1" height="1">'
    more = '<enclosure url="/a.jpg" type="image/jpeg" length="5"/>'.replace("/a.jpg", f"{site.url}/a.jpg")
    more += f'<enclosure url="{site.url}/b.pdf" type="application/pdf" length="9"/>'
    site.pages["/feed"] = Page(rss([Story("a", "Pictures", body, more=more)], site.url))
    source = source_of(f"{site.url}/feed")
    fetch(source)
    [one] = source.sweep(NOW).items
    assert [(image.src, image.alt) for image in one.images] == [(f"{site.url}/a.jpg", "A girl reads")]
    assert [file.src for file in one.attachments] == [f"{site.url}/b.pdf"]
    assert "count.gif" not in one.body


def test_a_json_feed_is_read() -> None:
    feed = parse_feed(
        b"""{"version": "https://jsonfeed.org/version/1.1", "title": "T", "language": "kk", "items": [
        {"id": "1", "url": "https://example.org/kk/1", "title": "\\u0410", "content_text": "a < b\\n\\nc",
         "date_published": "2026-03-04T05:06:00+05:00", "tags": ["x"], "authors": [{"name": "N"}],
         "image": "https://example.org/a.png"}, 5, {"id": 2}]}""",
        "https://example.org/feed.json",
    )
    first = feed.items[0]
    assert first.key == "1"
    assert first.article["language"] == "kk"
    assert first.article["html"] == "<p>a &lt; b</p><p>c</p>"
    assert first.article["published"] == "2026-03-04T05:06:00+05:00"


def test_a_broken_feed_raises_only_feed_error(site: Website) -> None:
    with pytest.raises(FeedError):
        parse_feed(b"", "https://example.org/")


def test_a_trial_saves_nothing(site: Website) -> None:
    site.pages["/feed"] = Page(rss(stories(3), site.url))
    cache = MemoryFetchCache()
    assert len(source_of(f"{site.url}/feed", cache).try_fetch(NOW).items) == 3
    assert cache.version() == 0
    assert not source_of(f"{site.url}/nowhere", cache).try_fetch(NOW).is_readable


def _rss(item: str, head: str = "") -> bytes:
    return (
        f'{head}<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel><title>S</title>{item}</channel></rss>'
    ).encode()


def test_a_pictures_description_is_its_alt_text() -> None:
    """One picture may show something else in another story."""
    stories = "".join(
        "<item><title>T</title><description>TEXT</description>"
        '<media:content url="/a.jpg" medium="image">'
        f"<media:description>{alt}</media:description></media:content></item>"
        for alt in ("A well", "The same well, now dry")
    )
    first, second = parse_feed(_rss(stories), "https://e.example/f").items
    assert first.article["html"] == "TEXT"
    assert first.article["images"] == [{"src": "https://e.example/a.jpg", "alt": "A well"}]
    assert second.article["images"] == [{"src": "https://e.example/a.jpg", "alt": "The same well, now dry"}]


def test_a_video_feed_keeps_its_only_text() -> None:
    text = "<media:description>About it</media:description>"
    group = f'<media:group><media:content url="https://e.example/v"/>{text}</media:group>'
    names = 'xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/"'
    feed = f"<feed {names}><title>V</title><entry><title>T</title><id>1</id>{group}</entry></feed>"
    [item] = parse_feed(feed.encode(), "https://e.example/f").items
    assert item.article["html"] == "<p>About it</p>"


def test_a_feeds_text_is_what_its_type_says() -> None:
    feed = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>F</title>'
        "<entry><title>Use &lt;b&gt; and &amp;amp;</title><id>1</id><content>1 &lt; 2 &lt;b&gt;\n\nQ</content></entry>"
        '<entry><title type="html">A &lt;b&gt;B&lt;/b&gt;</title><id>2</id>'
        '<content type="html">&lt;p&gt;C</content></entry>'
        "</feed>"
    )
    plain, marked = parse_feed(feed.encode(), "https://e.example/f").items
    assert plain.article["title"] == "Use <b> and &amp;"
    assert plain.article["html"] == "<p>1 &lt; 2 &lt;b></p><p>Q</p>"
    assert plain.article["summary"] == ""
    assert (marked.article["title"], marked.article["html"]) == ("A B", "<p>C")


def test_pixels_and_avatars_are_not_the_storys_picture(site: Website) -> None:
    media = (
        '<media:content url="https://secure.gravatar.com/avatar/1?s=96" medium="image"/>'
        '<media:content url="https://e.example/t.gif" medium="image" width="1" height="1"/>'
        '<media:content url="https://e.example/photo.jpg" medium="image"/>'
    )
    site.pages["/feed"] = Page(rss([Story("a", "A", more=media)], site.url))
    source = source_of(f"{site.url}/feed")
    source.fetch(NOW)
    [item] = source.sweep(NOW).items
    assert [image.src for image in item.images] == ["https://e.example/photo.jpg"]


def test_an_enclosure_keeps_its_type_and_length() -> None:
    enclosure = '<enclosure url="/talk.mp3" type="audio/mpeg" length="12345"/>'
    [item] = parse_feed(_rss(f"<item><title>T</title>{enclosure}</item>"), "https://e.example/f").items
    assert item.article["attachments"] == [
        {"src": "https://e.example/talk.mp3", "title": "", "type": "audio/mpeg", "length": 12345}
    ]


@pytest.mark.parametrize("end", [b"<item><title>B</title><description>half a st", b"<item><title>B</title><guid>2"])
def test_an_entry_that_is_cut_off_waits(site: Website, end: bytes) -> None:
    whole = _rss("<item><title>A</title><guid>1</guid><description>A</description></item>")
    body = whole.removesuffix(b"</channel></rss>") + end
    feed = parse_feed(body, "https://e.example/f")
    assert ([item.article["title"] for item in feed.items], feed.is_cut) == (["A"], True)
    assert not parse_feed(whole + b"\n<!-- cached -->\n", "https://e.example/f").is_cut
    site.pages["/feed"] = Page(body)
    source = source_of(f"{site.url}/feed")
    source.fetch(NOW)
    assert "etag" not in source.context.cache.state()


def test_relative_addresses_belong_to_the_feed(site: Website) -> None:
    feed = {
        "version": "https://jsonfeed.org/version/1.1", "title": "F",
        "items": [
            {"id": "1", "url": "/s/1", "title": "T", "content_html": '<img src="i.png" alt="I"><p>T', "image": "/c.png"}
        ],
    }  # fmt: skip
    site.pages["/feed/x.json"] = Page(json.dumps(feed).encode(), headers={"content-type": "application/feed+json"})
    source = source_of(f"{site.url}/feed/x.json")
    source.fetch(NOW)
    [item] = source.sweep(NOW).items
    assert item.url == f"{site.url}/s/1"
    assert f'src="{site.url}/feed/i.png"' in item.body
    assert item.images[0].src == f"{site.url}/c.png"


def test_a_byte_order_mark_is_stronger_than_labels() -> None:
    body = _rss("<item><title>Привет</title></item>", '<?xml version="1.0" encoding="windows-1251"?>')
    for raw in (b"\xef\xbb\xbf" + body, "\ufeff".encode("utf-16-le") + body.decode().encode("utf-16-le")):
        [item] = parse_feed(raw, "https://e.example/f", "text/xml; charset=windows-1251").items
        assert item.article["title"] == "Привет"


def test_the_sources_language_is_stronger_than_the_feeds(site: Website) -> None:
    site.pages["/feed"] = Page(rss([Story("a", "Привет", "<p>Мир</p>")], site.url, "en-US"))
    source = source_of(f"{site.url}/feed", language="ru")
    source.fetch(NOW)
    assert [item.language for item in source.sweep(NOW).items] == ["ru"]


def test_what_cannot_be_read_of_an_entry_is_named(site: Website) -> None:
    date = "<pubDate>someday</pubDate>"
    items = f"<item><title>T \ufffd</title><guid>1</guid>{date}</item><item><guid>2</guid></item>"
    site.pages["/feed"] = Page(f'<rss version="2.0"><channel><title>F</title>{items}</channel></rss>'.encode())
    source = source_of(f"{site.url}/feed", language="en")
    assert source.fetch(NOW).problem == ""
    sweep = source.sweep(NOW)
    assert [item.title for item in sweep.items] == ["T \ufffd"]
    assert sorted(problem.message for problem in sweep.problems) == [
        "a letter cannot be read, near '\ufffd'",
        "it has neither a title nor a text",
        "its date 'someday' cannot be read",
    ]
