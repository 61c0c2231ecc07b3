"""The objects that page templates see: items, pictures and files in the page's language.

URLs are relative to the page, so that the same files work at the site's URL, locally, and behind a proxy.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from markupsafe import Markup

from tidings.model.item import Attachment, Image, Item
from tidings.model.text import clean, one_line
from tidings.render.i18n import (
    credit_line,
    format_date,
    format_datetime,
    format_range,
    format_size,
    keep_together,
    kind_label,
    language_name,
    topic_label,
)
from tidings.render.mail.plaintext import fit_headings
from tidings.render.pages.linked_data import describe_item, iso_date
from tidings.render.site_views import SiteView, Translation
from tidings.render.urls import ascii_url, calendar_path, page_path, section_path, section_slug

_OWN = re.compile(r'\b(src|href|poster)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class PageDate:
    """A date, as text and in ISO 8601."""

    text: str
    iso: str

    @property
    def markup(self) -> Markup:
        """A `<time>` element."""
        return Markup('<time datetime="{}">{}</time>').format(self.iso, self.text)


@dataclass(frozen=True, slots=True)
class PagePicture:
    """`src` is relative to the page; sizes are 0 if unknown.

    `in_body` if the text already shows it, and `is_credited` if it also has the caption and the credit.
    """

    src: str
    alt: str
    caption: str
    credit: str
    width: int
    height: int
    in_body: bool
    is_credited: bool


@dataclass(frozen=True, slots=True)
class PageFile:
    """An attachment; `note` is its type and size ('PDF, 1.2 MB')."""

    src: str
    title: str
    note: str


@dataclass(frozen=True, slots=True)
class TranslationLink:
    """The same story in another language."""

    language: str
    name: str
    path: str
    url: str


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link to a page of ours; `path` is below the site's root."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class PageContact:
    """A press contact. `call` is the phone number as a URL."""

    name: str
    role: str
    email: str
    phone: str
    call: str


@dataclass(frozen=True, slots=True)
class PageItem:
    """`item` in page templates; `path` is below the site's root."""

    path: str
    kind: str
    kind_label: str
    title: str
    summary: str
    published: PageDate
    updated: PageDate | None
    corrected: PageDate | None
    correction: str
    starts: PageDate | None
    ends: PageDate | None
    when: str
    place: str
    authors: tuple[str, ...]
    topics: tuple[str, ...]
    organisations: tuple[str, ...]
    pictures: tuple[PagePicture, ...]
    files: tuple[PageFile, ...]
    translations: tuple[TranslationLink, ...]
    image_url: str
    body: Markup
    json_ld: Markup
    kind_path: str
    topic_links: tuple[PageLink, ...]
    organisation_links: tuple[PageLink, ...]
    contacts: tuple[PageContact, ...]
    calendar: str
    """The path of an event as a calendar file, or ''."""
    opening: str
    """The summary, or '' if the text begins with it, so that nobody reads it twice."""

    @property
    def picture(self) -> PagePicture | None:
        return self.pictures[0] if self.pictures else None

    @property
    def gallery(self) -> tuple[PagePicture, ...]:
        """The pictures after the first, without those in the text."""
        return tuple(picture for picture in self.pictures[1:] if not picture.in_body)


def build_page_item(
    item: Item, site: SiteView, root: str, translations: Sequence[Translation] = (), *, whole: bool = True
) -> PageItem:
    """Make the view of an item. `root` is the relative path to the site's root (`../../`).

    Unless `whole`, the view has no text.
    """
    starts = _moment(item.starts, site, time=True)
    return PageItem(
        path=page_path(item.language, item.slug),
        kind=item.kind,
        kind_label=kind_label(item.kind, site.language, 1),
        title=keep_together(one_line(item.title), item.language),
        summary=keep_together(one_line(item.summary), item.language),
        published=PageDate(format_date(item.published, site.language, site.zone), iso_date(item.published, site)),
        updated=_moment(item.updated, site),
        corrected=_moment(item.corrected_at, site),
        correction=one_line(item.correction),
        starts=starts,
        ends=_moment(item.ends, site, time=True),
        when=format_range(item.starts, item.ends, site.language, site.zone) if item.starts else "",
        place=one_line(item.place),
        authors=tuple(map(one_line, item.authors)),
        topics=tuple(one_line(topic_label(topic, site.topics)) for topic in item.topics),
        organisations=tuple(map(one_line, item.organisations)),
        pictures=tuple(_picture(image, item, site, root) for image in item.images),
        files=tuple(_file(each, site, root) for each in item.attachments),
        translations=tuple(
            TranslationLink(each.language, language_name(each.language), page_path(each.language, each.slug), each.url)
            for each in translations
        ),
        image_url=ascii_url(item.images[0].src) if item.images else "",
        body=Markup(_body(item, site, root) if whole else ""),  # noqa: S704 - sanitised when it was collected
        json_ld=describe_item(item, site) if whole else Markup(""),
        kind_path=section_path(item.language, "kinds", section_slug(item.kind)),
        topic_links=_links("topics", item.topics, item, site),
        organisation_links=_links("organisations", item.organisations, item, site),
        contacts=tuple(
            # No line breaks inside a phone number.
            PageContact(
                each.name,
                each.role,
                each.email,
                each.phone.replace(" ", "\u00a0"),
                "tel:" + re.sub(r"[^+\d]", "", each.phone),
            )
            for each in item.contacts
        ),
        calendar=calendar_path(item.language, item.slug) if item.starts is not None else "",
        opening=""
        if _begins_with(item.body, one_line(item.summary))
        else keep_together(one_line(item.summary), item.language),
    )


def _begins_with(body: str, summary: str) -> bool:
    """Whether a text begins with its summary, which may be shortened."""
    beginning = html.unescape(re.sub(r"<[^<>]*>", " ", body[: 4 * len(summary) + 2_000]))
    return "".join(beginning.split()).startswith("".join(summary.removesuffix("…").split()))


def _links(group: str, keys: Sequence[str], item: Item, site: SiteView) -> tuple[PageLink, ...]:
    """Return the links to the sections of an item, without repeats."""
    keys = [key for key in keys if one_line(key)]
    labels = {key: topic_label(key, site.topics) if group == "topics" else key for key in keys}
    names = {section_slug(key): one_line(labels[key]) for key in reversed(keys)}
    return tuple(PageLink(names[slug], section_path(item.language, group, slug)) for slug in reversed(names))


def _file(attachment: Attachment, site: SiteView, root: str) -> PageFile:
    name = urlsplit(ascii_url(attachment.src)).path.rsplit("/", 1)[-1]
    ending = name.rpartition(".")[2].upper() if "." in name else ""
    size = format_size(attachment.length, site.language) if attachment.length else ""
    note = ", ".join(filter(None, (ending if len(ending) <= 5 else "", size)))
    return PageFile(_relative(attachment.src, site, root), one_line(attachment.title) or name, note)


def _relative(url: str, site: SiteView, root: str) -> str:
    """Return our own URLs relative to the page, and others unchanged, in ASCII."""
    return ascii_url((root or "./") + url.removeprefix(site.url) if url.startswith(site.url) else url)


def _body(item: Item, site: SiteView, root: str) -> str:
    def point(match: re.Match[str]) -> str:
        return f'{match[1]}="{_relative(match[2], site, root)}"'

    markup = fit_headings(clean(item.body), 2)
    return re.sub(r"<[a-z][^<>]*>", lambda tag: _OWN.sub(point, tag[0]), markup)


def _picture(image: Image, item: Item, site: SiteView, root: str) -> PagePicture:
    sized = bool(image.width and image.height)
    return PagePicture(
        src=_relative(image.src, site, root),
        alt=one_line(image.alt),
        caption=one_line(image.caption),
        credit=credit_line(one_line(image.credit), site.language),
        width=(image.width or 0) if sized else 0,
        height=(image.height or 0) if sized else 0,
        in_body=image.src in item.body,
        is_credited=image.src in item.body
        and all(html.escape(text, quote=False) in item.body for text in (image.caption, image.credit)),
    )


def _moment(moment: datetime | None, site: SiteView, *, time: bool = False) -> PageDate | None:
    if moment is None:
        return None
    write = format_datetime if time else format_date
    return PageDate(write(moment, site.language, site.zone), iso_date(moment, site))
