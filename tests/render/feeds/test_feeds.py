"""Feeds avoid the known mistakes of other publishers."""

from __future__ import annotations

import importlib
import json
import locale
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import feedparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.render.feeds.feed_rules import ATOM, CONTENT, DC, LANG, MEDIA, problems
from tests.render.samples import RICH, SITE, SITE_URL, START, TRANSLATIONS, feed, item
from tidings.model.item import Attachment, Image, Item
from tidings.render.feeds.entries import MAX_BYTES, MAX_CONTENT
from tidings.render.feeds.json_opml import render_json
from tidings.render.feeds.rss_atom import ArchiveEntry, render_archive_feed, render_atom, render_rss
from tidings.render.site_views import MAX_ITEMS, FeedView, SiteView
from tidings.render.urls import FORMATS, feed_path

RENDERERS: dict[str, Callable[[FeedView, SiteView], bytes]] = {
    "rss": render_rss,
    "atom": render_atom,
    "json": render_json,
}
SAMPLES = [item(number) for number in range(1, 6)]


def check(view: FeedView, site: SiteView = SITE) -> None:
    """Fail for any error or warning, in any format."""
    for ending, render in RENDERERS.items():
        url = site.url + feed_path(site.language, view.name, ending)
        assert problems(render(view, site), url, FORMATS[ending] + "; charset=utf-8") == [], ending


def rss(*items: Item, site: SiteView = SITE, **changes: Any) -> Any:
    return etree.fromstring(render_rss(feed(*items, **changes), site))[0]


def atom(*items: Item, site: SiteView = SITE, **changes: Any) -> Any:
    return etree.fromstring(render_atom(feed(*items, **changes), site))


def json_feed(*items: Item, site: SiteView = SITE) -> Any:
    return json.loads(render_json(feed(*items), site))


def test_the_validator_finds_nothing_in_the_samples() -> None:
    check(feed(*SAMPLES, RICH))
    check(feed())
    logo = replace(SITE, logo_url=SITE_URL + "media/l/logo.png", logo_width=120, logo_height=60)
    check(feed(*SAMPLES), logo)
    check(
        feed(item(1, language="ru", title="Реки: вода, 5 < 7")), replace(SITE, language="ru", title="Степной вестник")
    )
    check(feed(item(1, language="ar", title="الأخبار")), replace(SITE, language="ar", zone="Asia/Kathmandu"))


texts = st.text(max_size=60)
words = st.text(min_size=1, max_size=30).filter(lambda text: any(letter.isalnum() for letter in text))


@given(title=words, summary=texts, body=texts, credit=texts, name=texts, topic=words, place=texts, author=texts)
def test_the_validator_accepts_any_text(
    title: str, summary: str, body: str, credit: str, name: str, topic: str, place: str, author: str
) -> None:
    # A title with tags always gives a warning, so this test leaves tags out.
    title = title.replace("<", "(").replace("&", "+")
    escaped = body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    sample = item(
        title=title,
        summary=summary,
        body=f"<p>{escaped}</p>",
        topics=(topic,),
        place=place,
        authors=(author,),
        correction=summary,
        images=(Image(SITE_URL + f"media/a/{name}.jpg", credit, credit, name),),
        attachments=(Attachment(f"https://files.example.org/{name}", name),),
    )
    check(feed(sample, item(2)))


def test_entry_links_keep_rel_type_and_length() -> None:
    # lkiesow/python-feedgen#135: feed readers took the picture for the article's URL.
    links = [dict(link.attrib) for link in atom(RICH).find(f"{ATOM}entry").findall(f"{ATOM}link")]
    assert links[0] == {"href": RICH.url, "rel": "alternate", "type": "text/html", "hreflang": "en"}
    enclosures = [link for link in links if link["rel"] == "enclosure"]
    assert [(link["type"], link["length"], link["title"]) for link in enclosures] == [
        ("application/pdf", "1234567", "Brief"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "45000", "Table"),
    ]


def test_entries_are_newest_first() -> None:
    expected = [f"Story number {number}" for number in range(5, 0, -1)]
    assert [each.findtext("title") for each in rss(*SAMPLES).findall("item")] == expected
    assert [each.findtext(f"{ATOM}title") for each in atom(*SAMPLES).findall(f"{ATOM}entry")] == expected
    assert [each["title"] for each in json_feed(*SAMPLES)["items"]] == expected


def test_the_channels_link_is_the_page_and_not_the_last_link() -> None:
    assert rss(*SAMPLES).findtext("link") == SITE_URL + "en/"
    assert feedparser.parse(render_atom(feed(*SAMPLES), SITE)).feed.link == SITE_URL + "en/"


@pytest.mark.parametrize("ending", list(RENDERERS))
def test_same_input_same_bytes_across_a_clock_jump(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from tests.render.feeds.test_feeds import *; "
        f"sys.stdout.buffer.write(RENDERERS[{ending!r}](feed(*SAMPLES, RICH), SITE))"
    )
    expected = RENDERERS[ending](feed(*SAMPLES, RICH), SITE)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400 * 86_400)
    assert RENDERERS[ending](feed(*SAMPLES, RICH), SITE) == expected
    # Another process has another hash seed and another clock.
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env={"TZ": "Asia/Tokyo"})
    assert process.stdout == expected


def test_feed_dates_are_those_of_the_content() -> None:
    changed = START + timedelta(days=90)
    assert rss(*SAMPLES, changed=changed).findtext("lastBuildDate") == "Sun, 31 May 2026 09:00:00 +0500"
    assert atom(*SAMPLES, changed=changed).findtext(f"{ATOM}updated") == "2026-05-31T09:00:00+05:00"


def test_dates_leave_the_locale_of_the_process_alone() -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("setlocale is for the whole process")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locale, "setlocale", forbidden)
        threads = [threading.Thread(target=render_rss, args=(feed(*SAMPLES), SITE)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "Mon, 09 Mar 2026 09:00:00 +0500" in render_rss(feed(RICH), SITE).decode()


def test_weekday_and_month_are_english_in_every_language() -> None:
    channel = rss(item(1, language="ru"), site=replace(SITE, language="ru"))
    assert channel.find("item").findtext("pubDate") == "Tue, 03 Mar 2026 09:00:00 +0500"


def test_an_odd_offset_is_written_in_utc() -> None:
    # The validator warns of +0545.
    channel = rss(item(1), site=replace(SITE, zone="Asia/Kathmandu"))
    assert channel.find("item").findtext("pubDate") == "Tue, 03 Mar 2026 04:00:00 +0000"
    assert rss(item(1), site=replace(SITE, zone="Asia/Kolkata")).find("item").findtext("pubDate").endswith("+0530")


def test_control_characters_do_not_break_the_feed() -> None:
    # One U+000B makes SimplePie refuse the whole feed; feedgen raises.
    bad = "a\x0bb\x00c\ufffed\ud800e"
    sample = item(
        1, title=bad, summary=bad, body=f"<p>{bad}</p>", authors=(bad,), correction=bad, topics=(bad,), place=bad
    )
    check(feed(sample))
    for render in (render_rss, render_atom):
        parsed = feedparser.parse(render(feed(sample), SITE))
        assert not parsed.bozo
        assert parsed.entries[0].title == "abcde"
    assert json_feed(sample)["items"][0]["title"] == "abcde"


def test_a_player_and_a_broken_letter_break_no_rule() -> None:
    body = '<video src="https://e.example/a.mp4" controls=""></video><a href="https://e.example/a.mp4">a.mp4</a>'
    sample = item(1, title="Caf\ufffd", body=f"<p>Caf\ufffd</p>{body}")
    check(feed(sample))
    assert rss(sample).findtext("item/title") == "Caf?"
    archived = ArchiveEntry("archive/digest/1/en", "en", "Caf\ufffd", "", START)
    assert "\ufffd".encode() not in render_archive_feed(SITE, "News", "archive/digest/en.atom", "", [archived])


@pytest.mark.parametrize("title", ["AT&T", "x < 5", "a &amp; b", "«Ёлка» 🌾", 'He said "no"', "  two\n lines "])
def test_titles_are_escaped_once(title: str) -> None:
    plain = " ".join(title.split())
    assert rss(item(1, title=title)).find("item").findtext("title") == plain
    assert atom(item(1, title=title)).find(f"{ATOM}entry").findtext(f"{ATOM}title") == plain
    assert json_feed(item(1, title=title))["items"][0]["title"] == plain


def test_pictures_are_directly_in_the_item_with_alt() -> None:
    for entry in (rss(RICH).find("item"), atom(RICH).find(f"{ATOM}entry")):
        assert entry.find(f"{MEDIA}group") is None
        contents = entry.findall(f"{MEDIA}content")
        assert [each.findtext(f"{MEDIA}description") for each in contents] == ["A river", "A lake"]
        assert contents[0].get("width") == "1600"
        assert entry.find(f"{MEDIA}thumbnail").get("url") == RICH.images[0].src


def test_namespaces_only_where_they_are_used() -> None:
    # An unknown namespace gives a warning. Ours are known, and each is used.
    assert "media" not in atom(*SAMPLES).nsmap
    assert set(rss(*SAMPLES).nsmap) == {"dc", "atom", "content"}
    assert "media" in atom(RICH).nsmap


def test_one_enclosure_in_rss_with_its_true_length() -> None:
    (enclosure,) = rss(RICH).find("item").findall("enclosure")
    assert dict(enclosure.attrib) == {
        "url": RICH.attachments[0].src, "length": "1234567", "type": "application/pdf",
    }  # fmt: skip
    unknown = item(1, attachments=(Attachment("https://files.example.org/a.bin", "A"),))
    assert rss(unknown).find("item").find("enclosure").get("length") == "0"


def test_authors_are_dc_creators_in_rss() -> None:
    entry = rss(RICH).find("item")
    assert entry.find("author") is None
    assert [each.text for each in entry.findall(f"{DC}creator")] == ["A. Author", "B. Writer"]
    names = atom(RICH).find(f"{ATOM}entry").findall(f"{ATOM}author/{ATOM}name")
    assert [each.text for each in names] == ["A. Author", "B. Writer"]


def test_authors_of_json_are_only_on_items() -> None:
    # Miniflux adds the feed's authors to the item's.
    document = json_feed(RICH, item(1))
    assert "authors" not in document
    assert [each["authors"] for each in document["items"]] == [
        [{"name": "A. Author"}, {"name": "B. Writer"}],
        [{"name": SITE.title}],
    ]


def test_content_is_html_and_never_cdata() -> None:
    for render in (render_rss, render_atom):
        assert b"CDATA" not in render(feed(RICH), SITE)
    assert atom(RICH).find(f"{ATOM}entry/{ATOM}content").get("type") == "html"
    assert "<h2>Why</h2>" in rss(RICH).find("item").findtext(CONTENT)
    assert rss(RICH).find("item").findtext("description") == "Rivers &amp; lakes: 3 &lt; 5."
    assert atom(RICH).find(f"{ATOM}entry").findtext(f"{ATOM}summary") == "Rivers & lakes: 3 < 5."


def test_the_guid_is_the_stored_id_in_every_format_and_feed() -> None:
    guid = rss(RICH).find("item").find("guid")
    assert (guid.text, guid.get("isPermaLink")) == (RICH.id, "false")
    assert atom(RICH, name="press").find(f"{ATOM}entry").findtext(f"{ATOM}id") == RICH.id
    assert json_feed(RICH)["items"][0]["id"] == RICH.id
    moved = replace(RICH, title="Another title", url="https://elsewhere.example.org/x")
    assert rss(moved).find("item").findtext("guid") == RICH.id


def test_language_of_feed_and_of_each_item() -> None:
    site = replace(SITE, language="kk")
    sample = item(1, language="kk")
    channel, document = rss(sample, site=site), atom(sample, site=site)
    assert channel.findtext("language") == "kk"
    assert channel.find("item").findtext(f"{DC}language") == "kk"
    assert (document.get(LANG), document.find(f"{ATOM}entry").get(LANG)) == ("kk", "kk")
    assert json_feed(sample, site=site)["items"][0]["language"] == "kk"


def test_categories_have_stable_terms_and_translated_labels() -> None:
    categories = [dict(each.attrib) for each in atom(RICH).find(f"{ATOM}entry").findall(f"{ATOM}category")]
    assert {"term": "youth", "scheme": "urn:tidings:topic", "label": "Young people"} in categories
    assert {"term": "event", "scheme": "urn:tidings:kind", "label": "Event"} in categories
    assert {"term": "UNICEF", "scheme": "urn:tidings:organisation", "label": "UNICEF"} in categories
    in_rss = {(each.get("domain"), each.text) for each in rss(RICH).find("item").findall("category")}
    assert ("urn:tidings:topic", "Water & rivers") in in_rss


def test_addresses_are_percent_encoded() -> None:
    # Raw Cyrillic or a space in an RSS link is an error.
    sample = item(1, url="https://пример.example.org/ru/новости и дела/?q=да#там")
    link = rss(sample).find("item").findtext("link")
    assert link.isascii() and " " not in link
    assert link.startswith("https://xn--e1afmkfd.example.org/ru/%D0%BD")
    again = item(1, url=link)
    assert rss(again).find("item").findtext("link") == link


def test_self_is_the_served_url() -> None:
    # Miniflux takes `self` for the feed's URL: a wrong host there moves subscribers.
    (own,) = [link for link in atom(*SAMPLES, name="press").findall(f"{ATOM}link") if link.get("rel") == "self"]
    assert own.get("href") == SITE_URL + "feeds/en/press.atom"
    assert rss(*SAMPLES).find(f"{ATOM}link").get("type") == "application/rss+xml"


@pytest.mark.parametrize(
    ("width", "height", "name", "shown"),
    [(144, 400, "logo.png", True), (145, 20, "logo.png", False), (100, 401, "logo.png", False),
     (100, 50, "logo.svg", False), (None, None, "logo.png", False)],
)  # fmt: skip
def test_the_channels_image_keeps_within_its_limits(
    width: int | None, height: int | None, name: str, shown: bool
) -> None:
    site = replace(SITE, logo_url=SITE_URL + "media/l/" + name, logo_width=width, logo_height=height)
    image = rss(*SAMPLES, site=site).find("image")
    assert (image is not None) is shown
    if image is not None:
        assert image.findtext("title") == SITE.title
    check(feed(*SAMPLES), site)


def test_a_correction_is_a_visible_note_under_the_same_id() -> None:
    before = item(1)
    after = replace(before, correction="66 < 70 per cent.", changed=before.changed + timedelta(days=2))
    old, new = rss(before).find("item"), rss(after).find("item")
    assert new.findtext("guid") == old.findtext("guid")
    assert new.findtext("pubDate") == old.findtext("pubDate")
    assert new.findtext(f"{ATOM}updated") != old.findtext(f"{ATOM}updated")
    assert new.findtext(CONTENT).startswith("<p><strong>Correction:</strong> 66 &lt; 70 per cent.</p>")
    in_russian = rss(replace(after, language="ru"), site=replace(SITE, language="ru")).find("item")
    assert in_russian.findtext(CONTENT).startswith("<p><strong>Исправление:</strong>")


def test_updated_is_distinct_for_each_entry() -> None:
    dates = [each.findtext(f"{ATOM}updated") for each in atom(*SAMPLES, RICH).findall(f"{ATOM}entry")]
    assert len(set(dates)) == len(dates)


def test_feeds_are_limited_in_items_and_bytes() -> None:
    many = [item(number) for number in range(1, 80)]
    assert [len(rss(*many).findall("item")), len(json_feed(*many)["items"])] == [MAX_ITEMS, MAX_ITEMS]
    large = [item(number, body="<p>" + "Ж" * 60_000 + "</p>") for number in range(1, 30)]
    document = render_rss(feed(*large), SITE)
    assert 5 < document.count(b"<item>") < 29
    assert len(document) < MAX_BYTES * 1.2
    assert document.count(b"<item>") == render_atom(feed(*large), SITE).count(b"<entry ")


def test_a_huge_item_becomes_a_summary_and_a_link() -> None:
    giant = item(1, body="<p>" + "word " * 1_000_000 + "</p>")
    content = rss(giant).find("item").findtext(CONTENT)
    assert len(content) < MAX_CONTENT and giant.url in content and giant.summary in content


def test_notes_are_in_no_feed() -> None:
    assert len(rss(item(1), item(2, kind="note")).findall("item")) == 1


def test_a_translation_is_not_taken_for_the_items_own_link() -> None:
    entry = atom(RICH).find(f"{ATOM}entry")
    links = [
        (link.get("hreflang"), link.get("href"))
        for link in entry.findall(f"{ATOM}link")
        if link.get("rel") == "alternate"
    ]
    assert links == [("en", RICH.url), *((each.language, each.url) for each in TRANSLATIONS), (None, RICH.url)]
    # Miniflux and SimplePie use the first one, newsboat and feedparser the last.
    assert feedparser.parse(render_atom(feed(RICH), SITE)).entries[0].link == RICH.url
    assert feedparser.parse(render_rss(feed(RICH), SITE)).entries[0].link == RICH.url


def test_right_to_left_content_is_marked() -> None:
    sample = item(1, language="ar", title="أخبار", body="<p>نص</p>")
    content = rss(sample, site=replace(SITE, language="ar")).find("item").findtext(CONTENT)
    assert content.startswith('<div dir="rtl" lang="ar">')


def test_feedparser_reads_the_same_values() -> None:
    for render in (render_rss, render_atom):
        parsed = feedparser.parse(render(feed(*SAMPLES, RICH), SITE))
        assert not parsed.bozo
        assert parsed.feed.title == SITE.title
        assert parsed.feed.language == "en"
        for read, sample in zip(parsed.entries, feed(*SAMPLES, RICH).items, strict=True):
            assert (read.id, read.link, read.title) == (sample.id, sample.url, sample.title)
            assert datetime(*read.published_parsed[:6], tzinfo=UTC) == sample.published
            assert datetime(*read.updated_parsed[:6], tzinfo=UTC) == sample.changed
            assert sample.body[:8] in read.content[0].value
        rich = parsed.entries[0]
        assert [author.name for author in rich.authors] == ["A. Author", "B. Writer"]
        assert rich.enclosures[0].length == "1234567"


def test_feedgens_own_extensions_are_not_imported() -> None:
    # `import feedgen.ext.media` before feedgen.feed fails, and its syndication module writes invalid feeds.
    importlib.import_module("tidings.render.feeds.rss_atom")
    code = (
        "import sys, tidings.render.feeds.rss_atom; "
        "print([name for name in sys.modules if name.startswith('feedgen.ext.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pub_dates_are_the_published_moment() -> None:
    text = rss(RICH).find("item").findtext("pubDate")
    assert parsedate_to_datetime(text) == RICH.published


def test_an_archived_edition_without_preview_line_has_a_text() -> None:
    entry = ArchiveEntry("archive/digest/1/en", "en", "One & two", "", item().published)
    path = "archive/digest/en.atom"
    raw = render_archive_feed(SITE, "Digest", path, "archive/digest", [entry])
    (summary,) = etree.fromstring(raw).iter("{http://www.w3.org/2005/Atom}summary")
    assert summary.text == "One & two"
    assert problems(raw, SITE.url + path, FORMATS["atom"] + "; charset=utf-8") == []
