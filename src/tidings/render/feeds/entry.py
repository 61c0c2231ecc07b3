"""An item made ready for feeds: cleaned once for all formats, links ASCII, notes and pictures in the content."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import urlsplit

from tidings.model.item import NOTE, Attachment, Image, Item
from tidings.render.i18n import catalogue, credit_line, format_range, format_size, kind_label, local, text_direction
from tidings.render.site_views import FeedView, SiteView, Translation
from tidings.render.urls import ascii_url, one_line, xml_text

MAX_ITEMS = 50
MAX_BYTES = 1_000_000
"""Of content in one feed: 1 MB is a burden to readers (JSON Feed)."""
MAX_CONTENT = 200_000
"""Bytes of one entry's content; a longer one is the summary and a link."""

TOPIC = "urn:tidings:topic"
KIND = "urn:tidings:kind"
ORGANISATION = "urn:tidings:organisation"

_TAG = re.compile(r"<[a-z][^>]*>")
_TARGET = re.compile(r'\b(src|href|poster)="([^"]*)"')
_HALF_HOURS = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class FeedCategory:
    """A stable term, and its name in the feed's language."""

    scheme: str
    term: str
    label: str


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """What every format shows of an item. Text is plain; `content` is HTML."""

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
    translations: tuple[Translation, ...] = field(default=())


def build_entries(feed: FeedView, site: SiteView) -> tuple[FeedEntry, ...]:
    """The entries of `feed`, in its order, capped by number and by bytes; the first one always."""
    chosen: list[FeedEntry] = []
    size = 0
    for item in feed.items:
        if item.kind == NOTE:
            continue
        entry = build_entry(item, site, feed.translations.get(item.id, ()))
        size += len(escape(entry.content).encode()) + len(entry.summary.encode()) + 1_000
        if chosen and (size > MAX_BYTES or len(chosen) == MAX_ITEMS):
            break
        chosen.append(entry)
    return tuple(chosen)


def build_entry(item: Item, site: SiteView, translations: Sequence[Translation] = ()) -> FeedEntry:
    """`item` as a feed shows it."""
    topics = tuple(FeedCategory(TOPIC, one_line(key), one_line(site.topics.get(key, key))) for key in item.topics)
    organisations = tuple(FeedCategory(ORGANISATION, name, name) for name in map(one_line, item.organisations))
    return FeedEntry(
        id=xml_text(item.id),
        url=ascii_url(item.url),
        title=one_line(item.title),
        summary=one_line(item.summary),
        content=_content(item, site),
        language=item.language,
        published=_in_zone(item.published, site.zone),
        updated=_in_zone(item.changed, site.zone),
        authors=tuple(one_line(name) for name in item.authors if one_line(name)),
        categories=(FeedCategory(KIND, item.kind, kind_label(item.kind, site.language, 1)), *topics, *organisations),
        images=tuple(_image(image) for image in item.images),
        attachments=tuple(_attachment(attachment) for attachment in item.attachments),
        translations=tuple(replace(each, url=ascii_url(each.url), title=one_line(each.title)) for each in translations),
    )


def _in_zone(moment: datetime, zone: str) -> datetime:
    """With the site's offset, in whole seconds; in UTC where the offset is odd (the W3C validator warns of +0545)."""
    there = local(moment, zone).replace(microsecond=0)
    offset = there.utcoffset()
    return there if offset is not None and offset % _HALF_HOURS == timedelta(0) else there.astimezone(UTC)


def guess_type(src: str, default: str) -> str:
    """The media type by the file's ending."""
    return mimetypes.guess_type(urlsplit(src).path)[0] or default


def _image(image: Image) -> Image:
    return replace(
        image,
        src=ascii_url(image.src),
        alt=one_line(image.alt),
        caption=one_line(image.caption),
        credit=one_line(image.credit),
        media_type=image.media_type or guess_type(image.src, "image/jpeg"),
    )


def _attachment(attachment: Attachment) -> Attachment:
    return replace(
        attachment,
        src=ascii_url(attachment.src),
        title=one_line(attachment.title) or ascii_url(attachment.src).rsplit("/", 1)[-1],
        media_type=attachment.media_type or guess_type(attachment.src, "application/octet-stream"),
    )


def _content(item: Item, site: SiteView) -> str:
    """Correction, facts of an event, the first picture, the text, the other pictures, the files."""
    words = catalogue(site.language)
    parts = []
    if item.correction:
        parts.append(f"<p><strong>{words.gettext('Correction')}:</strong> {escape(one_line(item.correction))}</p>")
    if item.starts is not None:
        when = format_range(item.starts, item.ends, site.language, site.zone)
        parts.append(f"<p><strong>{words.gettext('When')}:</strong> {escape(when)}</p>")
    if item.place:
        parts.append(f"<p><strong>{words.gettext('Where')}:</strong> {escape(one_line(item.place))}</p>")
    body = _TAG.sub(_with_ascii_targets, xml_text(item.body)).strip()
    figures = [_figure(_image(image), site.language) for image in item.images if escape(image.src) not in item.body]
    parts += figures[:1]
    parts.append(body or (f"<p>{escape(one_line(item.summary))}</p>" if item.summary else ""))
    parts += figures[1:]
    if item.attachments:
        files = "".join(_file(_attachment(each), site.language) for each in item.attachments)
        parts.append(f"<p><strong>{words.gettext('Documents')}</strong></p><ul>{files}</ul>")
    content = "\n".join(filter(None, parts))
    if len(content.encode()) > MAX_CONTENT:
        link = f'<a href="{escape(ascii_url(item.url))}">{escape(one_line(item.title))}</a>'
        content = f"<p>{escape(one_line(item.summary))}</p>\n<p>{link}</p>" if item.summary else f"<p>{link}</p>"
    if text_direction(item.language) == "rtl":
        content = f'<div dir="rtl" lang="{escape(item.language)}">{content}</div>'
    return content


def _with_ascii_targets(tag: re.Match[str]) -> str:
    # The values are escaped HTML: '&amp;' passes unchanged, for '&' and ';' are never encoded.
    return _TARGET.sub(lambda match: f'{match[1]}="{ascii_url(match[2])}"', tag[0])


def _figure(image: Image, language: str) -> str:
    size = f' width="{image.width}" height="{image.height}"' if image.width and image.height else ""
    caption = " · ".join(filter(None, (image.caption, credit_line(image.credit, language))))
    shown = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{escape(image.src)}" alt="{escape(image.alt)}"{size}>{shown}</figure>'


def _file(attachment: Attachment, language: str) -> str:
    size = f" ({format_size(attachment.length, language)})" if attachment.length else ""
    return f'<li><a href="{escape(attachment.src)}">{escape(attachment.title)}</a>{escape(size)}</li>'


def feed_date(moment: datetime, zone: str) -> datetime:
    """The feed's own date, written like those of its entries."""
    return _in_zone(moment, zone)
