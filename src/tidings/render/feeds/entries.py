"""Items as feed entries, prepared once for all formats: ASCII links, and notes and pictures in the content."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import urlsplit

from tidings.model.item import NOTE, Attachment, Image, Item
from tidings.model.text import clean, one_line
from tidings.render.i18n import (
    credit_line,
    format_range,
    format_size,
    kind_label,
    load_catalogue,
    text_direction,
    to_zone,
    topic_label,
)
from tidings.render.site_views import FeedView, SiteView, Translation
from tidings.render.urls import ascii_url

MAX_BYTES = 1_000_000
"""Most bytes of content in one feed: JSON Feed calls 1 MB a burden to feed readers."""
MAX_CONTENT = 200_000
"""Most bytes of an entry's content. Longer content becomes the summary and a link."""

_TAG = re.compile(r"<[a-z][^<>]*>")
_TARGET = re.compile(r'\b(src|href|poster)="([^"]*)"')
_HALF_HOUR = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class FeedCategory:
    """A stable term, and its name in the feed's language."""

    scheme: str
    term: str
    label: str


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An item, prepared for every feed format. Text is plain; `content` is HTML."""

    id: str
    url: str
    title: str
    summary: str
    content: str
    language: str
    published: datetime
    updated: datetime
    authors: tuple[str, ...] = ()
    categories: tuple[FeedCategory, ...] = ()
    images: tuple[Image, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    translations: tuple[Translation, ...] = ()


def build_entries(feed: FeedView, site: SiteView) -> tuple[FeedEntry, ...]:
    """Return the entries of `feed` in its order, limited in number and bytes. The first entry is always included."""
    entries: list[FeedEntry] = []
    size = 0
    for item in feed.items:
        if item.kind == NOTE:
            continue
        entry = _build_entry(item, site, feed.translations.get(item.id, ()))
        size += len(escape(entry.content).encode()) + len(entry.summary.encode()) + 1_000
        if entries and (size > MAX_BYTES or len(entries) == feed.limit):
            break
        entries.append(entry)
    return tuple(entries)


def _build_entry(item: Item, site: SiteView, translations: Sequence[Translation]) -> FeedEntry:
    topics = [(key, one_line(topic_label(key, site.topics))) for key in item.topics]
    categories = [("kind", item.kind, kind_label(item.kind, site.language, 1))]
    categories += [("topic", one_line(key), label) for key, label in topics]
    categories += [("organisation", name, name) for name in map(one_line, item.organisations)]
    return FeedEntry(
        id=clean(item.id),
        url=ascii_url(item.url),
        title=one_line(item.title),
        summary=one_line(item.summary),
        content=_content(item, site),
        language=item.language,
        published=feed_date(item.published, site.zone),
        updated=feed_date(item.changed, site.zone),
        authors=tuple(one_line(name) for name in item.authors if one_line(name)),
        categories=tuple(FeedCategory(f"urn:tidings:{scheme}", term, label) for scheme, term, label in categories),
        images=tuple(_clean_image(image) for image in item.images),
        attachments=tuple(_clean_attachment(attachment) for attachment in item.attachments),
        translations=tuple(replace(each, url=ascii_url(each.url), title=one_line(each.title)) for each in translations),
    )


def feed_date(moment: datetime, zone: str) -> datetime:
    """Return `moment` with the zone's offset, in whole seconds, or in UTC if the offset is unusual.

    The W3C validator warns of offsets such as +0545.
    """
    there = to_zone(moment, zone).replace(microsecond=0)
    offset = there.utcoffset()
    return there if offset is not None and offset % _HALF_HOUR == timedelta(0) else there.astimezone(UTC)


def _guess_type(src: str, default: str) -> str:
    """Return the media type by the file's ending."""
    return mimetypes.guess_type(urlsplit(src).path)[0] or default


def _clean_image(image: Image) -> Image:
    return replace(
        image,
        src=ascii_url(image.src),
        alt=one_line(image.alt),
        caption=one_line(image.caption),
        credit=one_line(image.credit),
        media_type=image.media_type or _guess_type(image.src, "image/jpeg"),
    )


def _clean_attachment(attachment: Attachment) -> Attachment:
    return replace(
        attachment,
        src=ascii_url(attachment.src),
        title=one_line(attachment.title) or ascii_url(attachment.src).rsplit("/", 1)[-1],
        media_type=attachment.media_type or _guess_type(attachment.src, "application/octet-stream"),
    )


def _content(item: Item, site: SiteView) -> str:
    """Return the content: correction, event facts, the first picture, the text, the other pictures, the files."""
    words = load_catalogue(site.language)
    when = format_range(item.starts, item.ends, site.language, site.zone) if item.starts is not None else ""
    colon = words.gettext(":")
    facts = {
        words.gettext("Correction"): one_line(item.correction) if item.correction else "",
        words.gettext("When"): when,
        words.gettext("Where"): one_line(item.place) if item.place else "",
    }
    parts = [f"<p><strong>{label}{colon}</strong> {escape(text)}</p>" for label, text in facts.items() if text]
    body = _TAG.sub(_clean_tag, clean(item.body)).strip()
    images = [_clean_image(image) for image in item.images if escape(image.src) not in item.body]
    figures = [_figure(image, site.language) for image in images]
    parts += figures[:1]
    parts.append(body or (f"<p>{escape(one_line(item.summary))}</p>" if item.summary else ""))
    parts += figures[1:]
    if item.attachments:
        files = "".join(_file(_clean_attachment(each), site.language) for each in item.attachments)
        parts.append(f"<p><strong>{words.gettext('Documents')}</strong></p><ul>{files}</ul>")
    content = "\n".join(filter(None, parts))
    if len(content.encode()) > MAX_CONTENT:
        link = f'<a href="{escape(ascii_url(item.url))}">{escape(one_line(item.title))}</a>'
        content = f"<p>{escape(one_line(item.summary))}</p>\n<p>{link}</p>" if item.summary else f"<p>{link}</p>"
    if text_direction(item.language) == "rtl":
        content = f'<div dir="rtl" lang="{escape(item.language)}">{content}</div>'
    return content


def _clean_tag(tag: re.Match[str]) -> str:
    # The values are escaped HTML. '&amp;' stays unchanged, because '&' and ';' are never percent-encoded.
    # The W3C validator warns of `controls`. A player has a link beside it, and feed readers show their own controls.
    return _TARGET.sub(lambda match: f'{match[1]}="{ascii_url(match[2])}"', tag[0].replace(' controls=""', ""))


def _figure(image: Image, language: str) -> str:
    size = f' width="{image.width}" height="{image.height}"' if image.width and image.height else ""
    text = " · ".join(filter(None, (image.caption, credit_line(image.credit, language))))
    caption = f"<figcaption>{escape(text)}</figcaption>" if text else ""
    return f'<figure><img src="{escape(image.src)}" alt="{escape(image.alt)}"{size}>{caption}</figure>'


def _file(attachment: Attachment, language: str) -> str:
    size = f" ({format_size(attachment.length, language)})" if attachment.length else ""
    return f'<li><a href="{escape(attachment.src)}">{escape(attachment.title)}</a>{escape(size)}</li>'
