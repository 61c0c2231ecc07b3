"""OPML 2.0: every feed in one list, to import into a reader."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from tidings.render.i18n import language_name
from tidings.render.site_views import FeedLink, SiteView, feed_path, page_path
from tidings.render.urls import ascii_url, one_line


def render_opml(site: SiteView, feeds: Sequence[FeedLink]) -> bytes:
    """UTF-8; the feeds grouped by language, each once, as RSS."""
    root = etree.Element("opml", version="2.0")
    etree.SubElement(etree.SubElement(root, "head"), "title").text = one_line(site.title)
    body = etree.SubElement(root, "body")
    for language in dict.fromkeys(feed.language for feed in feeds):
        name = language_name(language)
        group = etree.SubElement(body, "outline", text=name, title=name)
        for feed in feeds:
            if feed.language == language:
                title = one_line(feed.title)
                etree.SubElement(
                    group,
                    "outline",
                    type="rss",
                    text=title,
                    title=title,
                    xmlUrl=ascii_url(site.url + feed_path(language, feed.name, "rss")),
                    htmlUrl=ascii_url(site.url + page_path(language)),
                    language=language,
                )
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))
