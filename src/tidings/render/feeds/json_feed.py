"""JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/)."""

from __future__ import annotations

import json
from typing import Any

from tidings.render.feeds.entry import FeedEntry, build_entries
from tidings.render.site_views import FeedView, SiteView, feed_path, page_path
from tidings.render.urls import ascii_url, one_line


def render_json(feed: FeedView, site: SiteView) -> bytes:
    """UTF-8. The same views give the same bytes; there is no date of the feed itself in this format."""
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": one_line(feed.title),
        "home_page_url": ascii_url(site.url + page_path(site.language)),
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
        # On items only: Miniflux joins the feed's authors to the item's.
        "authors": [{"name": name} for name in entry.authors or (one_line(site.title),)],
        "tags": [category.label for category in entry.categories],
        "language": entry.language,
        "attachments": [
            {"url": file.src, "mime_type": file.media_type, "title": file.title}
            | ({"size_in_bytes": file.length} if file.length else {})
            for file in entry.attachments
        ],
    }
    # One of content_html and content_text must be there, even if empty.
    return {key: value for key, value in values.items() if value or key == "content_html"}
