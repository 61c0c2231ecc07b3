# ruff: noqa: E501 - markup in the lines of its tools
"""Whole answers of WordPress, Drupal and Ghost: our page has everything that a browser shows of the original."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.test_corpus import Shown, find_missing, look
from tests.servers.chromium import chromium
from tests.sources.site import Page, Website
from tests.sources.sources import make_source
from tidings.sources.base import SourceItem
from tidings.sources.cms import drupal, wordpress
from tidings.sources.web import feed

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
VIDEO = '<iframe title="The film" src="https://www.youtube.com/embed/abcDEF12345?feature=oembed" width="500" height="281"></iframe>'
CLASSIC = (
    '<p style="text-align:justify;">Сорок сёл пьют чистую воду.<span id="more-7"></span></p>\n'
    '<div id="attachment_9" style="width: 810px" class="wp-caption aligncenter"><a href="https://cms.example/w.jpg"><img '
    'decoding="async" class="size-large wp-image-9" src="https://cms.example/w-1024x683.jpg" alt="Глубокий колодец" width="800" '
    'srcset="https://cms.example/w-1024x683.jpg 1024w, https://cms.example/w-300x200.jpg 300w"></a><p id="caption-attachment-9" '
    'class="wp-caption-text">Фото: И. Петров</p></div>\n<blockquote><p>«Вода — это жизнь», — сказала она.</p></blockquote>'
    f"<ul>\n<li>Раз</li>\n<li><strong>Два</strong></li>\n</ul>\n<p>{VIDEO}</p>\n"
    '<!--[if lt IE 9]><script>document.createElement("audio");</script><![endif]--><audio class="wp-audio-shortcode" controls>'
    '<source type="audio/mpeg" src="https://cms.example/a.mp3?_=1"><a href="https://cms.example/a.mp3">https://cms.example/a.mp3</a></audio>'
    "<table><tbody><tr><td>2025</td><td>12&nbsp;000</td></tr></tbody></table>"
    '<p><a class="more-link" href="https://cms.example/r">Читать отчёт</a> &#8230; <img src="https://s.w.org/images/core/emoji/15/72x72/1f389.png" '
    'alt="🎉" class="wp-smiley" style="height: 1em;"></p>'
)
BLOCK = (
    '<div class="wp-block-cover"><span aria-hidden="true" class="wp-block-cover__background"></span><img class="wp-block-cover__image-background '
    'wp-image-4" alt="The river" src="https://cms.example/river.jpg"><div class="wp-block-cover__inner-container"><p class="has-text-align-center">'
    "Water for all</p></div></div>\n"
    '<figure class="wp-block-gallery has-nested-images"><figure class="wp-block-image"><img src="https://cms.example/1.jpg" alt="One well" '
    'data-id="1"></figure><figure class="wp-block-image"><img src="https://cms.example/2.jpg" alt="Two wells"></figure><figcaption '
    'class="blocks-gallery-caption">All wells</figcaption></figure>\n<h2 class="wp-block-heading" id="h-a">Why</h2>'
    '<div class="wp-block-columns is-layout-flex"><div class="wp-block-column"><p>Left words.</p></div><div class="wp-block-column"><p>Right words.</p>'
    "</div></div>"
    f'<figure class="wp-block-embed is-provider-youtube"><div class="wp-block-embed__wrapper">{VIDEO}</div><figcaption>Seen by many</figcaption></figure>'
    '<div class="wp-block-buttons"><div class="wp-block-button"><a class="wp-block-button__link wp-element-button" href="https://cms.example/join">Join '
    'us</a></div></div><figure class="wp-block-pullquote"><blockquote><p>A quote.</p><cite>Jane</cite></blockquote></figure>'
    '<div class="wp-block-file"><a id="f" href="https://cms.example/a.pdf">The plan</a><a href="https://cms.example/a.pdf" class="wp-block-file__button '
    'wp-element-button" download aria-describedby="f">Download</a></div><details class="wp-block-details" open><summary>Questions</summary><p>Answers.</p>'
    '</details><div class="wp-block-media-text"><figure class="wp-block-media-text__media"><img src="https://cms.example/3.jpg" alt="A pump"></figure>'
    '<div class="wp-block-media-text__content"><p>Beside it.</p></div></div><pre class="wp-block-code"><code>a &lt; b</code></pre>'
    '<figure class="wp-block-table"><table><thead><tr><th>Year</th></tr></thead><tbody><tr><td>2026</td></tr></tbody></table></figure>'
    '<p class="has-drop-cap">Notes<sup data-fn="1" class="fn"><a href="#x1" id="x1-link">1</a></sup></p>'
    '<ol class="wp-block-footnotes"><li id="x1">A footnote. <a href="#x1-link" aria-label="Jump">↩︎</a></li></ol>'
)
CKEDITOR = (
    '<p>أربعون قرية تشرب ماءً نقيًا.</p><figure class="caption caption-img align-right"><img data-entity-type="file" src="https://cms.example/w.png" '
    'alt="بئر عميقة" width="300"><figcaption>عند النهر</figcaption></figure><article class="media media--type-remote-video media--view-mode-full"><div '
    f'class="field field--name-field-media-oembed-video"><div class="field__item">{VIDEO}</div></div></article><table border="1"><caption>أرقام</caption>'
    '<tbody><tr><th scope="row">2026</th><td>40</td></tr></tbody></table><p><a data-entity-type="node" href="https://cms.example/node/4">اقرأ التقرير</a> '
    '<a href="mailto:press@cms.example">press@cms.example</a></p><drupal-entity data-x="1"></drupal-entity>'
)
GHOST = (
    '<p>Forty villages drink clean water.</p><figure class="kg-card kg-gallery-card kg-width-wide"><div class="kg-gallery-container"><div '
    'class="kg-gallery-row"><div class="kg-gallery-image"><img src="https://cms.example/1.jpg" alt="One well" loading="lazy"></div></div></div>'
    '<figcaption><p>All wells</p></figcaption></figure><figure class="kg-card kg-bookmark-card"><a class="kg-bookmark-container" '
    'href="https://cms.example/r"><div class="kg-bookmark-content"><div class="kg-bookmark-title">The report</div><div class="kg-bookmark-description">'
    'All numbers.</div><div class="kg-bookmark-metadata"><span class="kg-bookmark-author">UN</span></div></div></a></figure>'
    '<div class="kg-card kg-callout-card kg-callout-card-blue"><div class="kg-callout-emoji">💡</div><div class="kg-callout-text">Remember this.</div></div>'
    '<div class="kg-card kg-toggle-card" data-kg-toggle-state="close"><div class="kg-toggle-heading"><h4 class="kg-toggle-heading-text">More</h4></div>'
    '<div class="kg-toggle-content"><p>Hidden words.</p></div></div><div class="kg-card kg-button-card kg-align-center"><a '
    'href="https://cms.example/join" class="kg-btn kg-btn-accent">Join us</a></div>'
    f'<figure class="kg-card kg-embed-card">{VIDEO}</figure><div class="kg-card kg-file-card"><a class="kg-file-card-container" '
    'href="https://cms.example/a.pdf" title="Download" download><div class="kg-file-card-contents"><div class="kg-file-card-title">The plan</div><div '
    'class="kg-file-card-metadata"><div class="kg-file-card-filename">a.pdf</div></div></div></a></div>'
    '<div class="kg-card kg-header-card"><h2 class="kg-header-card-heading">Thank you</h2><p class="kg-header-card-subheading">All of you</p></div>'
    '<hr><blockquote class="kg-blockquote-alt">A quote.</blockquote>'
)


class Routes(dict[str, Page]):
    """A server with one fixed answer for each path of an API."""

    def get(self, path: str, default: Page) -> Page:  # type: ignore[override]
        return super().get(urlsplit(path).path, default)


def json_page(value: Any) -> Page:
    return Page(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def read(module: Any, url: str, **settings: Any) -> list[SourceItem]:
    source = make_source(module, url, newsroom_languages=("en", "ru", "ar"), **settings)
    done = source.fetch(NOW, force=True)
    assert not done.problem, done.problem
    return list(source.sweep(NOW).items)


def serve_wordpress(site: Website) -> None:
    wp = "/wp-json/wp/v2/"
    posts = [
        {"id": number, "date_gmt": "2026-03-01T02:00:00", "modified_gmt": "2026-03-01T02:00:00", "link": f"{site.url}/{number}/",
         "title": {"rendered": title}, "excerpt": {"rendered": "<p>Cut off [&hellip;]</p>"},
         "content": {"rendered": body, "protected": False}, "author": 3, "featured_media": 9, "categories": [5],
         "_embedded": {"author": [{"id": 3, "name": "Ada"}], "wp:featuredmedia": [{"id": 9}], "wp:term": [[]]}}
        for number, title, body in ((1, "Колодцы &amp; вода", CLASSIC), (2, "Wells", BLOCK))
    ]  # fmt: skip
    media = {
        "id": 9,
        "source_url": "https://cms.example/f.jpg",
        "alt_text": "A featured well",
        "media_details": {},
        "caption": [],
    }
    types = {"post": {"slug": "post", "rest_base": "posts", "taxonomies": ["category"]}}
    site.pages |= {
        f"{wp}types": json_page(types),
        f"{wp}taxonomies": json_page({"category": {"rest_base": "categories"}}),
        f"{wp}posts": json_page(posts), f"{wp}media": json_page([media]),
        f"{wp}users": json_page([{"id": 3, "name": "Ada", "slug": "ada"}]),
        f"{wp}categories": json_page([{"id": 5, "name": "Water", "slug": "water"}]),
    }  # fmt: skip


def serve_drupal(site: Website) -> None:
    uuid, media, file = (f"a6ccfb90-1a8b-45ae-ac8a-b25eaa2c69d{number}" for number in range(3))
    node = {
        "type": "node--article", "id": uuid,
        "attributes": {"drupal_internal__nid": 1, "langcode": "ar", "status": True, "title": "آبار للمزارع", "created": "2026-03-01T02:00:00+00:00",
                       "changed": "2026-03-01T02:00:00+00:00", "path": {"alias": "/wells"}, "body": {"processed": CKEDITOR, "summary": ""}},
        "relationships": {"field_image": {"data": {"type": "media--image", "id": media}}},
    }  # fmt: skip
    picture = {"data": {"type": "file--file", "id": file, "meta": {"alt": "A featured well"}}}
    included = [
        {
            "type": "media--image",
            "id": media,
            "attributes": {"changed": "2026-03-01T02:00:00+00:00"},
            "relationships": {"field_media_image": picture},
        },
        {"type": "file--file", "id": file, "attributes": {"filemime": "image/jpeg", "uri": {"url": "/sites/f.jpg"}}},
    ]
    index = json_page({"links": {"node--article": {"href": "x"}}})
    answer = json_page({"data": [node], "included": included, "links": {}})
    nothing = json_page({"data": [], "links": {}})
    site.pages |= {
        "/jsonapi": index, "/ar/jsonapi": index, "/ar/jsonapi/node/article": answer, "/jsonapi/node/article": nothing,
    }  # fmt: skip


def serve_ghost(site: Website) -> None:
    body = (
        '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>G</title><item><title><![CDATA[Wells]]></title><description>'
        f'<![CDATA[In short]]></description><link>{site.url}/w/</link><guid isPermaLink="false">65f0</guid><category><![CDATA[Water]]></category>'
        "<dc:creator><![CDATA[Ada]]></dc:creator><pubDate>Sun, 01 Mar 2026 02:00:00 GMT</pubDate>"
        '<media:content url="https://cms.example/f.jpg" medium="image"/>'
        f"<content:encoded><![CDATA[{GHOST}]]></content:encoded></item></channel></rss>"
    )
    site.pages["/rss/"] = Page(body.encode(), headers={"Content-Type": "text/xml"})


@pytest.mark.slow
def test_whole_answers_of_content_systems_lose_nothing(tmp_path: Path) -> None:
    site = Website()
    site.pages = Routes()
    serve_wordpress(site)
    serve_drupal(site)
    serve_ghost(site)
    items = read(wordpress, site.url, language="en") + read(drupal, site.url, language="ar", prefixes={"ar": "ar"})
    items += read(feed, f"{site.url}/rss/", language="en")
    site.close()
    originals = {"Колодцы & вода": CLASSIC, "Wells": BLOCK, "آبار للمزارع": CKEDITOR}
    assert sorted(item.title for item in items) == sorted([*originals, "Wells"])
    lost = []
    with chromium(tmp_path / "profile", "en") as tab:
        tab.ask("Network.enable")
        tab.ask("Network.setBlockedURLs", urls=["http://*", "https://*"])
        tab.ask("Accessibility.enable")
        for item in items:
            original = GHOST if item.summary == "In short" else originals[item.title]
            shown: Shown = look(tab, tmp_path / "a.html", original)
            lost += [f"{item.title}: {each}" for each in find_missing(shown, look(tab, tmp_path / "b.html", item.body))]
            lost += (
                [f"{item.title}: featured picture"] if not any("f.jpg" in image.src for image in item.images) else []
            )
    assert lost == []
    assert {item.authors for item in items if item.language == "en"} == {("Ada",)}
