"""Feeds as the platforms write them: every part of an entry reaches the item."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidings.sources.web.feed_parser import parse_feed

URL = "https://e.example/feed.xml"
NAMES = (
    'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/" '
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
)


def read_rss(inner: str) -> dict[str, Any]:
    """Return the article of an RSS feed with one item."""
    item = f"<item><title>Wells</title><guid>1</guid>{inner}</item>"
    feed = f'<rss version="2.0" {NAMES}><channel><title>F</title>{item}</channel></rss>'
    [only] = parse_feed(feed.encode(), URL).items
    return only.article


def read_atom(inner: str) -> dict[str, Any]:
    """Return the article of an Atom feed with one entry."""
    names = 'xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/"'
    feed = f"<feed {names}><title>F</title><entry><title>Wells</title><id>1</id>{inner}</entry></feed>"
    [only] = parse_feed(feed.encode(), URL).items
    return only.article


def test_the_lines_and_links_of_a_video_are_kept() -> None:
    text = "First line,\nsee https://un.example/r.\n\n0:30 The &lt;second&gt; part"
    group = (
        '<media:group><media:content url="https://v.example/1" type="application/x-shockwave-flash"/>'
        f'<media:thumbnail url="/t.jpg"/><media:description>{text}</media:description></media:group>'
    )
    article = read_atom(group)
    assert article["html"] == (
        '<p>First line,<br>see <a href="https://un.example/r">https://un.example/r</a>.</p>'
        "<p>0:30 The &lt;second> part</p>"
    )
    # The text of the video is not the description of a picture.
    assert article["images"] == [{"src": "https://e.example/t.jpg", "alt": "Wells"}]
    assert not article["attachments"]


def test_a_film_or_sound_of_a_post_is_an_attachment() -> None:
    film = '<media:content url="/f.mp4" type="video/mp4" fileSize="33"><media:description>The well</media:description>'
    article = read_rss(f"<description>Text</description>{film}</media:content>")
    assert article["attachments"] == [
        {"src": "https://e.example/f.mp4", "title": "The well", "type": "video/mp4", "length": 33}
    ]
    assert article["html"] == "Text"


def test_a_player_of_media_rss_is_a_frame() -> None:
    player = '<media:content medium="video"><media:player url="https://player.vimeo.com/video/7"/></media:content>'
    html = read_rss(f"<description>Text</description>{player}")["html"]
    assert html == 'Text<iframe src="https://player.vimeo.com/video/7"></iframe>'


def test_a_group_is_one_picture_in_several_sizes() -> None:
    sizes = "".join(f'<media:content url="/{n}.jpg" medium="image" width="{n}"/>' for n in (150, 1200, 600))
    alt = "<media:description>A well</media:description>"
    article = read_rss(f"<description>Text</description><media:group>{sizes}{alt}</media:group>")
    assert article["images"] == [{"src": "https://e.example/1200.jpg", "alt": "A well"}]


def test_an_episode_keeps_its_picture() -> None:
    article = read_rss('<description>Text</description><itunes:image href="https://e.example/4.jpg"/>')
    assert article["images"] == [{"src": "https://e.example/4.jpg", "alt": "Wells"}]


def test_text_that_is_elsewhere_is_an_attachment() -> None:
    article = read_atom('<summary>See it</summary><content type="application/pdf" src="/r.pdf"/>')
    assert [file["src"] for file in article["attachments"]] == ["https://e.example/r.pdf"]
    assert article["html"] == "<p>See it</p>"


def test_the_paragraphs_of_a_plain_description_stay() -> None:
    assert (
        read_rss("<description>One &amp;amp; two\n\nThree</description>")["html"] == "<p>One &amp; two</p><p>Three</p>"
    )


def test_angle_brackets_in_a_title_are_no_tags() -> None:
    feed = '<rss version="2.0"><channel><title>F</title><item><title><![CDATA[A <letter> <b>to</b> us]]></title>'
    [item] = parse_feed(f"{feed}<guid>1</guid></item></channel></rss>".encode(), URL).items
    assert item.article["title"] == "A <letter> to us"


def test_a_json_feed_of_version_1_keeps_author_and_summary() -> None:
    entry = {"id": 7, "author": {"name": "Ada"}, "summary": "Only this", "content_html": None}
    feed = {"version": "https://jsonfeed.org/version/1", "title": "F", "items": [entry]}
    [item] = parse_feed(json.dumps(feed).encode(), URL).items
    assert item.article["authors"] == ["Ada"]
    assert item.article["html"] == "<p>Only this</p>"


def test_one_broken_letter_does_not_break_the_others() -> None:
    feed = f'<?xml version="1.0" encoding="utf-8"?><rss version="2.0" {NAMES}><channel><title>F</title><item>'
    feed += "<title>Новости сёл</title><guid>1</guid><description>Сорок сёл пьют воду XX</description></item>"
    cut = (feed + "</channel></rss>").encode().replace(b"XX", "вод".encode()[:-1])
    [item] = parse_feed(cut, URL).items
    assert item.article["title"] == "Новости сёл"
    assert item.article["html"] == "Сорок сёл пьют воду во\ufffd"
    # All letters are broken: the feed is not in the encoding that it names.
    [item] = parse_feed((feed + "</channel></rss>").encode("cp1251"), URL).items
    assert item.article["title"] == "Новости сёл"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_whole(codec: str) -> None:
    feed = (
        '<?xml version="1.0" encoding="utf-16"?><rss version="2.0"><channel><title>F</title><item><title>Вода</title>'
    )
    parsed = parse_feed(f"{feed}<guid>1</guid></item></channel></rss>".encode(codec), URL)
    assert (parsed.items[0].article["title"], parsed.is_cut) == ("Вода", False)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("<author>press@un.foundation (Ada Lo)</author>", ["Ada Lo"]),
        ("<author>ada@un.info (de la Cruz)</author>", ["de la Cruz"]),
        ("<author>Press office (press@un.digital)</author>", ["Press office"]),
        ("<author>Ada Lo &lt;ada@un.museum&gt;</author>", ["Ada Lo"]),
    ],
)
def test_an_author_is_no_rest_of_an_address(written: str, names: list[str]) -> None:
    assert read_rss(f"{written}<description>Text</description>")["authors"] == names


def test_the_credit_of_a_picture_is_kept() -> None:
    credit = '<media:credit role="photographer">Ada Lo</media:credit>'
    article = read_rss(
        f'<description>Text</description><media:content url="/p.jpg" medium="image">{credit}</media:content>'
    )
    assert article["images"] == [{"src": "https://e.example/p.jpg", "alt": "", "credit": "Ada Lo"}]


def test_media_of_no_named_kind_counts_as_a_picture() -> None:
    article = read_rss('<description>Text</description><media:content url="https://i.example/9?w=800"/>')
    assert [image["src"] for image in article["images"]] == ["https://i.example/9?w=800"]


def test_a_date_that_nobody_can_read_is_named() -> None:
    feed = (
        '<rss version="2.0"><channel><title>F</title><item><title>T</title><guid>1</guid><pubDate>{}</pubDate></item>'
    )
    faults = [
        parse_feed(f"{feed.format(date)}</channel></rss>".encode(), URL).items[0].faults
        for date in ("31 ноября 2026 г.", "2026-11-30T10:00+06:00")
    ]
    assert faults == [("its date '31 ноября 2026 г.' cannot be read",), ()]


def test_a_tiny_thumbnail_does_not_replace_the_texts_picture() -> None:
    thumbnail = '<media:thumbnail url="/s72.jpg" width="72" height="72"/>'
    text = "<content:encoded>&lt;img src='/w.jpg'&gt;</content:encoded>"
    assert read_rss(text + thumbnail)["images"] == []
    assert [image["src"] for image in read_rss(thumbnail)["images"]] == ["https://e.example/s72.jpg"]


def test_the_whole_text_for_news_aggregators_was_lost() -> None:
    text = "<description>Short</description><{0}>First line.\nSecond line, which is longer.</{0}>"
    for name in ("yandex:full-text", "rambler:fulltext", "fulltext"):
        article = read_rss(text.format(name))
        assert article["html"] == "<p>First line.</p><p>Second line, which is longer.</p>"
        assert article["summary"] == "Short"


def test_an_alt_text_in_the_namespace_without_its_slash_is_kept() -> None:
    feed = (
        '<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss"><channel><title>F</title><item><title>T</title>'
        '<description>Text</description><media:content url="/p.jpg" medium="image"><media:description>A well'
        "</media:description></media:content></item></channel></rss>"
    )
    article = parse_feed(feed.encode(), URL).items[0].article
    assert (article["html"], article["images"]) == ("Text", [{"src": "https://e.example/p.jpg", "alt": "A well"}])


def test_the_title_of_a_picture_describes_it() -> None:
    picture = '<media:content url="/p.jpg" medium="image"><media:title>A well</media:title></media:content>'
    assert read_rss(f"<description>Text</description>{picture}")["images"][0]["alt"] == "A well"


def test_a_film_in_several_qualities_is_one() -> None:
    sizes = "".join(f'<media:content url="/{n}.mp4" type="video/mp4" height="{n}"/>' for n in (240, 1080))
    article = read_rss(f"<description>Text</description><media:group>{sizes}</media:group>")
    assert [file["src"] for file in article["attachments"]] == ["https://e.example/1080.mp4"]


@pytest.mark.parametrize(
    "element",
    ["<image><url>https://e.example/p.jpg</url></image>", "<image>https://e.example/p.jpg</image>",
     "<thumbnail><![CDATA[ https://e.example/p.jpg ]]></thumbnail>"],
)  # fmt: skip
def test_a_picture_in_an_element_of_its_own_is_kept(element: str) -> None:
    assert [image["src"] for image in read_rss(element)["images"]] == ["https://e.example/p.jpg"]


def test_a_transcript_and_a_subtitle_of_an_episode_are_kept() -> None:
    article = read_rss(
        "<itunes:subtitle>The seventh</itunes:subtitle>"
        '<podcast:transcript url="https://e.example/7.vtt" type="text/vtt"/>'
    )
    assert article["html"] == "The seventh"
    assert [file["src"] for file in article["attachments"]] == ["https://e.example/7.vtt"]


@pytest.mark.parametrize(
    ("written", "html"),
    [
        ("&amp;lt;p&amp;gt;Text&amp;lt;/p&amp;gt;", "<p>Text</p>"),
        ("&lt;![CDATA[&lt;p&gt;Text&lt;/p&gt;]]&gt;", "<p>Text</p>"),
        ("&lt;p&gt;The &amp;lt;p&amp;gt; tag&lt;/p&gt;", "<p>The &lt;p&gt; tag</p>"),
        ("See https://un.example/r.", 'See <a href="https://un.example/r">https://un.example/r</a>.'),
    ],
)
def test_a_text_that_is_escaped_twice_showed_its_tags(written: str, html: str) -> None:
    assert read_rss(f"<description>{written}</description>")["html"] == html


def test_a_single_ampersand_stays_one() -> None:
    article = read_rss("<description>R&D & AT&T <![CDATA[& B&B]]></description>")
    assert article["html"] == "R&D & AT&T & B&B"


def test_utf8_under_an_old_label_is_whole() -> None:
    feed = '<?xml version="1.0" encoding="windows-1251"?><rss version="2.0"><channel><title>F</title><item>'
    feed += "<title>«Вода» — здесь</title></item></channel></rss>"
    for body in (feed.encode(), feed.encode("cp1251")):
        assert parse_feed(body, URL).items[0].article["title"] == "«Вода» — здесь"


def test_what_stands_behind_a_feed_does_not_cut_it() -> None:
    feed = '<rss version="2.0"><channel><title>F</title><item><title>T</title></item></channel></rss>'
    assert not parse_feed(f"{feed}<!-- {'cached ' * 50} --><script></script>".encode(), URL).is_cut
    assert parse_feed(feed.removesuffix("</channel></rss>").encode(), URL).is_cut


def test_xml_under_the_label_of_json_is_read() -> None:
    feed = b'<rss version="2.0"><channel><title>F</title><item><title>T</title></item></channel></rss>'
    assert len(parse_feed(feed, URL, "application/json").items) == 1


def test_a_json_feed_keeps_its_encoding_and_its_authors() -> None:
    feed = '{"version": "https://jsonfeed.org/version/1.1", "authors": [{"name": "Анна"}], "items": [{"id": "1"}]}'
    for body, kind in ((feed.encode(), ""), (feed.encode("cp1251"), "application/json; charset=windows-1251")):
        assert parse_feed(body, URL, kind).items[0].article["authors"] == ["Анна"]


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("Sun, 01 Nov 2026 10:00:00 MSK", "2026-11-01T07:00:00+00:00"),
        ("November 1, 2026 10:00 AM EST", "2026-11-01T15:00:00+00:00"),
        ("Sun, 01 Nov 2026 10:00:00 EST", "2026-11-01T15:00:00+00:00"),
        ("Sun, 01 Nov 2026 10:00:00 +0300 (MSK)", "2026-11-01T07:00:00+00:00"),
        ("Thu, 01 Jan 1970 00:00:00 +0000", None),
    ],
)
def test_a_named_zone_of_a_date_was_ignored(written: str, published: str | None) -> None:
    feed = f'<rss version="2.0"><channel><title>F</title><item><pubDate>{written}</pubDate></item></channel></rss>'
    [item] = parse_feed(feed.encode(), URL, zone="Asia/Almaty").items
    assert item.article["published"] == published
    assert bool(item.faults) is (published is None)
