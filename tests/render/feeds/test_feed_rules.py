"""Our copy of the rules of W3C's feed validator finds each fault, and none in a good feed."""

from __future__ import annotations

import pytest

from tests.render.feeds.feed_rules import problems, xml_problems

SITE = "https://news.example/"
RSS = f"""<rss xmlns:atom="http://www.w3.org/2005/Atom" xmlns:content="http://purl.org/rss/1.0/modules/content/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:media="http://search.yahoo.com/mrss/" version="2.0"><channel>
<title>News</title><link>{SITE}</link><description>All news</description>
<atom:link href="{SITE}a.rss" rel="self" type="application/rss+xml"/><language>en</language>
<lastBuildDate>Mon, 30 Nov 2026 10:00:00 +0000</lastBuildDate><item><title>Wells</title><link>{SITE}1</link>
<description>Text</description><content:encoded>&lt;p&gt;Text&lt;/p&gt;</content:encoded>
<guid isPermaLink="false">urn:x:1</guid>
<enclosure url="{SITE}a.pdf" length="5" type="application/pdf"/><pubDate>Mon, 30 Nov 2026 10:00:00 +0000</pubDate>
<dc:creator>Ada</dc:creator><dc:language>en</dc:language><atom:updated>2026-11-30T10:00:00Z</atom:updated>
<media:content url="{SITE}a.png" medium="image" type="image/png"/></item></channel></rss>"""
ATOM = f"""<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"><id>urn:x:f</id><title>News</title>
<updated>2026-11-30T10:00:00Z</updated><author><name>UN</name></author><link href="{SITE}a.atom" rel="self"/>
<link href="{SITE}" rel="alternate" type="text/html"/><entry xml:lang="en"><id>urn:x:1</id><title>Wells</title>
<updated>2026-11-30T11:00:00Z</updated><published>2026-11-30T10:00:00Z</published><content type="html">Text</content>
<link href="{SITE}1" rel="alternate" type="text/html"/></entry></feed>"""
OPML = f"""<opml version="2.0"><head><title>News</title></head><body><outline type="rss" text="News" title="News"
 xmlUrl="{SITE}a.rss" htmlUrl="{SITE}" language="en"/></body></opml>"""


def judge(document: str) -> list[str]:
    if document.startswith("<opml"):
        return xml_problems(document.encode(), SITE)
    kind = "rss" if document.startswith("<rss") else "atom"
    return problems(document.encode(), f"{SITE}a.{kind}", f"application/{kind}+xml; charset=utf-8")


@pytest.mark.parametrize("document", [RSS, ATOM, OPML])
def test_a_good_feed_has_no_problem(document: str) -> None:
    assert judge(document) == []


@pytest.mark.parametrize(
    ("document", "good", "bad"),
    [
        (RSS, "<description>Text</description><content:encoded>&lt;p&gt;Text&lt;/p&gt;</content:encoded>",
         "<content:encoded>Text</content:encoded><description>Text</description>"),
        (RSS, "<dc:creator>", "<author>a@b.example</author><dc:creator>"),
        (RSS, "</item>", "</item><docs>https://x.example/</docs>"),
        (RSS, "</item>", "<stars>5</stars></item>"),
        (RSS, 'isPermaLink="false"', 'isPermaLink="false" id="1"'),
        (RSS, 'length="5"', 'length=""'),
        (RSS, 'type="application/pdf"', 'type="pdf"'),
        (RSS, 'medium="image"', 'medium="picture"'),
        (RSS, "<description>All news", "<description>All &lt;b&gt;news&lt;/b&gt;"),
        (RSS, "xmlns:dc=", 'xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:dc='),
        (RSS, "<item>", "<item>Wells"),
        (RSS, "<title>Wells", "<title>Wells \ufffd"),
        (RSS, "&lt;p&gt;", "&lt;video controls&gt;&lt;/video&gt;&lt;p&gt;"),
        (RSS, "&lt;p&gt;Text&lt;/p&gt;", "&lt;bdo dir=\"rtl\"&gt;Text&lt;/bdo&gt;"),
        (RSS, "<title>Wells", "<title>Wells \x93deep\x94"),
        (ATOM, 'rel="self"', 'rel="itself"'),
        (ATOM, 'type="text/html"/><entry', 'type="text/html"/><link href="https://x.example/" rel="alternate" '
         'type="text/html"/><entry'),
        (ATOM, "</entry>", "</entry><subtitle>Late</subtitle>"),
        (ATOM, 'rel="self"/>', 'rel="self">News</link>'),
        (ATOM, '<content type="html">', '<content type="html" mode="escaped">'),
        (OPML, 'title="News"', ""),
        (OPML, 'language="en"', 'language="en" lang="en"'),
    ],
)  # fmt: skip
def test_each_fault_of_a_feed_is_found(document: str, good: str, bad: str) -> None:
    assert good in document
    assert judge(document.replace(good, bad))
