# ruff: noqa: E501 - markup in the lines of its tools
"""Whole answers of websites, from the request to the published page: a reader gets each story complete."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import html

from tests.fixtures.newsroom_folder import make_newsroom_folder
from tests.sources.site import Page, Website
from tests.sources.test_pictures import drawn
from tidings.runtime.tick import tick
from tidings.store.content.items import load_items

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 08:00:00 +0600"
RSS = (
    '<?xml version="1.0" encoding="{codec}"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" '
    'xmlns:media="http://search.yahoo.com/mrss/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:yandex="http://news.yandex.ru"><channel>'
    "<title>F</title><link>{url}/</link><description>D</description><item><title>{title}</title>"
    "<link>{url}/{name}/</link><pubDate>" + DATE + "</pubDate>{inner}</item></channel></rss>"
)
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/" '
    'xmlns:yt="http://www.youtube.com/xml/schemas/2015"><title>F</title><id>urn:f</id><entry><id>urn:{name}</id>'
    '<title>{title}</title><link rel="alternate" href="{url}/{name}/"/><updated>2026-03-01T02:00:00Z</updated>{inner}'
    "</entry></feed>"
)
CONTENT = "<description>Short</description><content:encoded><![CDATA[{}]]></content:encoded>"
PICTURE = '<img src="/w.png" alt="A deep well">'
GIF = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
LINK = '<a href="https://un.example/r">The report</a>'
WORD = '<p class="MsoListParagraph" style="mso-list:l0 level1 lfo1"><span style="mso-list:Ignore">·&nbsp;</span>Clean water.</p>'
# By tool: the form, the title, and the entry. Each has the words "Clean water.", a picture, and a link.
FEEDS = {
    "wordpress": (RSS, "Wells", CONTENT.format(f"<figure class='wp-block-image'>{PICTURE}</figure><p>Clean water. {LINK}</p>")),
    "wordpress-lazy": (RSS, "Wells", CONTENT.format(
        f'<p>Clean water. {LINK}</p><img src="{GIF}" data-lazy-src="/w.png" alt="A deep well"><noscript>{PICTURE}</noscript>')),
    "wordpress-word": (RSS, "Wells", CONTENT.format(f"{WORD}<p class=MsoNormal>{LINK}<o:p></o:p></p>{PICTURE}")),
    "ghost": (RSS, "Wells", '<media:content url="{url}/w.png" medium="image"><media:description>A deep well</media:description>'
        "</media:content>" + CONTENT.format(
        f'<p>Clean water. {LINK}</p><div class="kg-card kg-audio-card"><audio src="/a.mp3"></audio>'
        '<div class="kg-audio-player"><span>0:00</span>/<span>12</span><button>1&#215;</button></div></div>')),
    "substack": (RSS, "Wells", CONTENT.format(
        '<p>Clean water.</p><picture><source type="image/webp" srcset="/w.webp 424w"><img src="/w.png" alt="A deep well">'
        f'</picture><p class="button-wrapper">{LINK}</p>')),
    "medium": (RSS, "Wells", CONTENT.format(
        f'<figure>{PICTURE}</figure><p>Clean water. {LINK}</p><img src="/stat" width="1" height="1" alt="">')),
    "drupal": (RSS, "Wells", "<description>&lt;p&gt;Clean water.&amp;nbsp;&lt;/p&gt; &lt;img src=&quot;/w.png?itok=x&quot; "
        "alt=&quot;A deep well&quot;&gt; &lt;a href=&quot;https://un.example/r&quot;&gt;The report&lt;/a&gt;</description>"),
    "bitrix": (RSS, "Колодцы", '<enclosure url="/w.png" type="image/png" length="9"/><yandex:full-text>x</yandex:full-text>'
        f"<description><![CDATA[Чистая вода. Clean water. {LINK}]]></description>"),
    "tilda": (RSS, "Wells", f'<description><![CDATA[Clean water. {LINK}<div class="t-img" role="img" aria-label="A deep well" '
        "style=\"background-image:url('/w.png')\"></div>]]></description>"),
    "google-docs": (RSS, "Wells", CONTENT.format(
        f'<b style="font-weight:normal" id="docs-internal-guid-1"><p><span style="font-weight:700">Clean water.</span> {LINK}</p>'
        f"<p>{PICTURE}</p></b>")),
    "sharepoint": (RSS, "Wells", "<description><![CDATA[<div><b>Body:</b> <div class='ExternalClass1'><p>&#8203;Clean water. "
        f"{LINK}</p></div></div>{PICTURE}]]></description>"),
    "podcast": (RSS, "Wells", '<enclosure url="/a.mp3" type="audio/mpeg" length="99"/><itunes:image href="{url}/w.png"/>'
        + CONTENT.format(f"<p>Clean water. {LINK}</p>")),
    "squarespace": (RSS, "Wells", CONTENT.format(
        f'<p>Clean water. {LINK}</p><img data-src="/w.png" data-image="/w.png" data-image-dimensions="9x9" alt="A deep well">')),
    "mastodon": (RSS, "Wells", "<description>&lt;p&gt;Clean water. &lt;a href=&quot;https://un.example/r&quot;&gt;The report&lt;/a&gt;"
        '&lt;/p&gt;</description><media:content url="{url}/w.png" type="image/png" medium="image">'
        '<media:description type="plain">A deep well</media:description></media:content>'),
    "blogger": (ATOM, "Wells", f'<content type="html">&lt;p&gt;Clean water. {LINK.replace("<", "&lt;")}&lt;/p&gt;'
        f'{PICTURE.replace("<", "&lt;")}</content><media:thumbnail url="/s72.png" width="72" height="72"/>'),
    "jekyll": (ATOM, "Wells", f'<content type="html" xml:base="{{url}}/d/"><![CDATA[<p>Clean water. {LINK}</p><img src="../w.png" '
        'alt="A deep well">]]></content>'),
    "nikola": (ATOM, "Wells", '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Clean water. '
        f'{LINK}</p><img src="/w.png" alt="A deep well"/></div></content>'),
    "youtube": (ATOM, "A deep well", '<media:group><media:thumbnail url="{url}/w.png"/><media:description>Clean water.\n'
        "https://un.example/r</media:description></media:group>"),
}  # fmt: skip
JSON_FEED = {
    "version": "https://jsonfeed.org/version/1.1", "title": "F", "items": [{
        "id": "1", "url": "/json/", "title": "Wells", "date_published": "2026-03-01T02:00:00Z",
        "content_html": f"<p>Clean water. {LINK}</p>{PICTURE}",
    }],
}  # fmt: skip
PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="{codec}"><title>Wells</title>'
    '<meta property="article:published_time" content="2026-03-01T02:00:00Z"><base href="/d/"></head><body><nav>Menu</nav>'
    f'<article><h1>Wells</h1><p>Clean water. {LINK} — “Сёла”</p><img src="../w.png" alt="A deep well"></article></body></html>'
)


def serve(site: Website) -> str:
    """Put all answers on the website. Returns the sources that read them."""
    site.pages["/w.png"] = site.pages["/w.png?itok=x"] = Page(drawn())
    sources = ["sources:"]
    for name, (form, title, inner) in FEEDS.items():
        codec = "windows-1251" if name == "bitrix" else "utf-8"
        filled = form.replace("{inner}", inner).replace("{url}", site.url).replace("{name}", name)
        text = filled.replace("{title}", title).replace("{codec}", codec)
        site.pages[f"/{name}.xml"] = Page(text.encode(codec, "xmlcharrefreplace"))
        sources.append(f"  {name}: {{type: feed, url: {site.url}/{name}.xml, language: en, allow_private: true}}")
    site.pages["/feed.json"] = Page(json.dumps(JSON_FEED).encode())
    sources.append(f"  json: {{type: feed, url: {site.url}/feed.json, language: en, allow_private: true}}")
    listing = f'<!doctype html><title>News</title><ul><li><a href="{site.url}/page/wells">Wells</a></li></ul>'
    site.pages["/news"] = Page(listing.encode(), headers={"Content-Type": "text/html"})
    page = PAGE.replace("{codec}", "windows-1251").encode("cp1251")
    site.pages["/page/wells"] = Page(page, headers={"Content-Type": "text/html"})
    sources.append(f"  page: {{type: page, url: {site.url}/news, items: li a, language: en, allow_private: true}}")
    return "\n".join(sources) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_twenty_whole_answers_are_pages_with_all_they_had(tmp_path: Path, database_url: str) -> None:
    site = Website()
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        folder.write("tidings.yaml", main + serve(site))
        with folder.runtime() as runtime:
            runtime.set_clock(NOW)
            results = runtime.fetch()
            assert {name: result.problem for name, result in results.items() if result.problem} == {}
            tick(runtime, NOW)
            runtime.fetch_pictures()
            done = tick(runtime, NOW)
            with runtime.store.read() as connection:
                items = load_items(connection)
            lost = []
            assert len(items) == len(FEEDS) + 2
            for item in items:
                name = (item.url or "").rstrip("/").rpartition("/")[2]
                page = runtime.newsroom.public / f"en/{item.slug}/index.html"
                article = html.fromstring(page.read_bytes()).xpath("//main")[0]
                words = " ".join(article.text_content().split())
                alts = {image.get("alt") for image in article.iter("img")}
                sources = {image.get("src", "") for image in article.iter("img")}
                links = {link.get("href") for link in article.iter("a")}
                lost += [f"{name}: text, {words}"] if "Clean water." not in words or "0:00" in words else []
                lost += [f"{name}: link"] if "https://un.example/r" not in links else []
                alt_is_given = name not in ("podcast", "bitrix")
                lost += [f"{name}: alt, {alts}"] if alt_is_given and "A deep well" not in alts else []
                lost += [f"{name}: pictures, {sources}"] if not any("media/" in each for each in sources) else []
            assert done.collected is not None
            assert [str(problem) for problem in done.collected.problems] == []
            assert not lost, "\n".join(lost)
    site.close()
