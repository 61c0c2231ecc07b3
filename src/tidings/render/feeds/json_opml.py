"""JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/), and the list of all feeds as OPML 2.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lxml import etree

from tidings.model.text import one_line
from tidings.render.feeds.entries import FeedEntry, build_entries
from tidings.render.i18n import language_name
from tidings.render.site_views import FeedLink, FeedView, SiteView
from tidings.render.urls import ascii_url, feed_path, page_path


def render_json(feed: FeedView, site: SiteView) -> bytes:
    """Return JSON Feed in UTF-8. Equal views give equal bytes. The format has no date for the whole feed."""
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": one_line(feed.title),
        "home_page_url": ascii_url(site.url + (feed.home or page_path(site.language))),
        "feed_url": ascii_url(site.url + feed_path(site.language, feed.name, "json")),
        "language": site.language,
    }
    if site.logo_url:
        document["icon"] = ascii_url(site.logo_url)
    if site.hubs:
        document["hubs"] = [{"type": "WebSub", "url": hub} for hub in site.hubs]
    document["items"] = [_item(entry, site) for entry in build_entries(feed, site)]
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _item(entry: FeedEntry, site: SiteView) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": entry.id,
        "url": entry.url,
        "title": entry.title,
        "content_html": entry.content,
        "summary": entry.summary,
        "image": entry.images[0].src if entry.images else "",
        "date_published": entry.published.isoformat(),
        "date_modified": entry.updated.isoformat(),
        # Authors are on items only, because Miniflux adds the feed's authors to each item's.
        "authors": [{"name": name} for name in entry.authors or (one_line(site.title),)],
        "tags": [category.label for category in entry.categories],
        "language": entry.language,
        "attachments": [
            {"url": file.src, "mime_type": file.media_type, "title": file.title}
            | ({"size_in_bytes": file.length} if file.length else {})
            for file in entry.attachments
        ],
    }
    # One of content_html and content_text is required, even if empty.
    return {key: value for key, value in values.items() if value or key == "content_html"}


def render_opml(site: SiteView, feeds: Sequence[FeedLink]) -> bytes:
    """Return OPML in UTF-8: each RSS feed once, by language, to import into a feed reader.

    It has no groups: a group has no type (OPML 2.0), and the W3C validator warns about outlines without one.
    """
    root = etree.Element("opml", version="2.0")
    etree.SubElement(etree.SubElement(root, "head"), "title").text = one_line(site.title)
    body = etree.SubElement(root, "body")
    languages = list(dict.fromkeys(feed.language for feed in feeds))
    for feed in sorted(feeds, key=lambda each: languages.index(each.language)):
        title = one_line(feed.title)
        etree.SubElement(
            body,
            "outline",
            type="rss",
            text=title,
            title=title,
            xmlUrl=ascii_url(site.url + feed_path(feed.language, feed.name, "rss")),
            htmlUrl=ascii_url(site.url + page_path(feed.language)),
            language=feed.language,
            category=f"/{language_name(feed.language)}",
        )
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))
