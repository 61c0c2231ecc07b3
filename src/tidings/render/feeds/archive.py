"""The feed of a list's archive: Atom (RFC 4287), an entry for each edition in one language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tidings.render.feeds.rss_atom import FeedGenerator, RepairedEntry
from tidings.render.site_views import SiteView
from tidings.render.urls import ascii_url, one_line

LENGTH = 30
"""Editions that a feed carries."""


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One edition in one language, or one mail of it. `path` is below the site's address."""

    path: str
    language: str
    title: str
    summary: str
    at: datetime


def render_archive_feed(site: SiteView, title: str, path: str, home: str, entries: Sequence[ArchiveEntry]) -> bytes:
    """`path` is the feed's own, `home` the archive's; `entries` are newest first and at least one."""
    builder = FeedGenerator()
    own = ascii_url(site.url + path)
    builder.id(own)
    builder.title(one_line(title))
    builder.language(site.language)
    builder.author({"name": one_line(site.title)})
    builder.generator("Tidings")
    builder.updated(max(entry.at for entry in entries))
    builder.link(href=own, rel="self", type="application/atom+xml")
    builder.link(href=ascii_url(site.url + home), rel="alternate", type="text/html", hreflang=site.language)
    for each in entries[:LENGTH]:
        entry = RepairedEntry()
        url = ascii_url(site.url + each.path)
        entry.language = each.language
        entry.id(url)
        entry.title(one_line(each.title) or url)
        entry.published(each.at)
        entry.updated(each.at)
        if each.summary:
            entry.summary(one_line(each.summary))
        entry.link(href=url, rel="alternate", type="text/html", hreflang=each.language)
        builder.add_entry(entry, order="append")
    return bytes(builder.atom_str(pretty=True))
