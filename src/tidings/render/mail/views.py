"""The objects that mail templates see: publisher, list, edition, and each item in the reader's language."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from lxml import html as lxml_html
from markupsafe import Markup

from tidings.model.item import MAIL_COPY, Contact, Image, Item, needs_mail_copy
from tidings.render.i18n import (
    format_date,
    format_datetime,
    format_range,
    format_size,
    keep_together,
    kind_label,
    language_name,
    load_catalogue,
    text_direction,
    topic_label,
)
from tidings.render.mail.personal import escape_placeholders
from tidings.render.mail.plaintext import fit_headings, html_to_text, parse_body, write_element
from tidings.render.urls import ascii_url

COLUMN = 536
"""Pixels of the text column. Classic Outlook reads a picture's `width` attribute, but no styles."""
_URL_SAFE = "@/:=?;#%&,+-_.!~*'()"
"""Characters that libxml2 leaves unchanged in an href: text and HTML must show the same bytes."""


@dataclass(frozen=True, slots=True)
class MailSite:
    """The publisher, in the reader's language. `zone` is an IANA name, sizes are pixels, `logo_url` may be ''."""

    title: str
    url: str
    address: str
    colour: str
    logo_url: str = ""
    logo_width: int | None = None
    logo_height: int | None = None
    zone: str = "UTC"
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MailList:
    """The list: `name` is its key, `title` its public title, `url` its public page or ''."""

    name: str
    title: str
    sender: str = ""
    reply_to: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class MailEdition:
    """The edition: `name` is `SCHEDULE/NUMBER`, `title` the schedule's, `date` an aware UTC datetime.

    `url` is its page in the archive, the same for every reader, or ''.
    """

    name: str
    title: str
    number: int
    date: datetime
    url: str = ""


@dataclass(frozen=True, slots=True)
class EditionView:
    """`edition` in templates; `date` is text in the reader's language, `url` its page in the archive or ''."""

    name: str
    title: str
    number: int
    date: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class PictureView:
    """A picture; `width` and `height` are in pixels, 0 if unknown."""

    src: str
    alt: str
    caption: str = ""
    credit: str = ""
    width: int = 0
    height: int = 0

    def height_at(self, width: int) -> int:
        """Return the height in pixels for this width, 0 if unknown."""
        return round(self.height * width / self.width) if self.width and self.height else 0


@dataclass(frozen=True, slots=True)
class FileView:
    """An attachment; `size` is text ('1.2 MB') or ''."""

    src: str
    title: str
    size: str = ""


@dataclass(frozen=True, slots=True)
class SectionView:
    """A heading: `kind` is an item's kind, or `titles` or `corrections`."""

    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class MailItem:
    """`item` in templates. Dates and `kind_label` are in the reader's language, text is in the item's own.

    `attrs` is ` lang="en" dir="ltr"` if the item's language is not the reader's, else empty: put it on the elements
    with the item's own text. `body` is HTML whose headings start at h3, `body_text` the same as text.
    """

    id: str
    story: str
    language: str
    dir: str
    attrs: Markup
    kind: str
    kind_label: str
    title: str
    summary: str
    url: str
    published: str
    fallback: str = ""
    """'(in English)' in the reader's language, if the text is not in it: put it after the title."""
    updated: str = ""
    when: str = ""
    starts: str = ""
    ends: str = ""
    place: str = ""
    correction: str = ""
    lead: bool = False
    image: PictureView | None = None
    images: tuple[PictureView, ...] = ()
    attachments: tuple[FileView, ...] = ()
    contacts: tuple[Contact, ...] = ()
    topics: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    body: Markup = field(default_factory=Markup)
    body_text: str = ""

    def brief(self) -> dict[str, Any]:
        """Return the fields for subjects and preheaders as JSON; `from_brief` reads it back."""
        left_out = ("images", "attachments", "contacts", "body", "body_text", "image")
        plain: dict[type, type] = {tuple: list, dict: dict, Markup: str}
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {name: plain.get(type(value), type(value))(value) for name, value in values.items()}

    @classmethod
    def from_brief(cls, data: Mapping[str, Any]) -> MailItem:
        values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in data.items()}
        return cls(**{**values, "attrs": Markup(values["attrs"])})  # noqa: S704 - our own attributes


def _name_fallback(language: str, reader: str) -> str:
    """Return '(in English)' in the reader's language for a story in another language, else ''."""
    if language == reader:
        return ""
    return str(load_catalogue(reader).gettext("(in %(language)s)") % {"language": language_name(language, reader)})


def build_mail_item(item: Item, *, language: str, zone: str, topic_labels: Mapping[str, str]) -> MailItem:
    """Make the view of an item for readers of `language`; the first image is the picture."""
    direction = text_direction(item.language)
    attrs = Markup("")
    if item.language != language:
        attrs = Markup(' lang="{}" dir="{}"').format(item.language, direction)
    copies = {f"media/{each.digest}/{quote(each.name, safe='')}" for each in item.media if needs_mail_copy(each)}
    pictures = tuple(_picture(image, copies) for image in item.images)
    body = escape_placeholders(_fit_body(fit_headings(item.body, 3), copies))
    return MailItem(
        id=item.id,
        story=item.story,
        language=item.language,
        dir=direction,
        attrs=attrs,
        kind=item.kind,
        kind_label=kind_label(item.kind, language, 1),
        title=escape_placeholders(keep_together(item.title, item.language)),
        fallback=_name_fallback(item.language, language),
        summary=escape_placeholders(keep_together(item.summary, item.language)),
        url=mail_url(item.url),
        published=format_date(item.published, language, zone),
        updated=format_date(item.updated, language, zone) if item.updated else "",
        when=format_range(item.starts, item.ends, language, zone) if item.starts else "",
        starts=format_datetime(item.starts, language, zone) if item.starts else "",
        ends=format_datetime(item.ends, language, zone) if item.ends else "",
        place=escape_placeholders(item.place),
        correction=escape_placeholders(item.correction),
        lead=item.lead,
        image=pictures[0] if pictures else None,
        images=pictures,
        attachments=tuple(
            FileView(
                mail_url(each.src),
                escape_placeholders(each.title),
                format_size(each.length, language) if each.length else "",
            )
            for each in item.attachments
        ),
        contacts=tuple(
            Contact(*map(escape_placeholders, (each.name, each.role, each.email, each.phone))) for each in item.contacts
        ),
        topics=tuple(topic_label(topic, topic_labels) for topic in item.topics),
        organisations=tuple(map(escape_placeholders, item.organisations)),
        authors=tuple(map(escape_placeholders, item.authors)),
        extra={key: escape_placeholders(value) for key, value in sorted(item.extra.items())},
        body=Markup(body),  # noqa: S704 - sanitised when it was collected
        body_text=html_to_text(body),
    )


@lru_cache(maxsize=4096)
def mail_url(url: str) -> str:
    """Return `url` in ASCII, in the form that libxml2 writes."""
    parts = urlsplit(ascii_url(url))
    return urlunsplit((parts.scheme, parts.netloc, *(quote(part, safe=_URL_SAFE) for part in parts[2:])))


def _fit_body(markup: str, copies: Collection[str]) -> str:
    """Adapt a body for mail: URLs in ASCII, pictures no wider than the column, and no players.

    `copies` are the URL endings of pictures with a JPEG copy for mail programs.
    """
    if "href" not in markup and "src" not in markup:
        return markup
    root = parse_body(markup)
    # The player is removed: most mail programs would show its text about old browsers. A link to the file is below it.
    for element in list(root.iter("video", "audio", "source")):
        element.drop_tree()
    for element in root.iter("a"):
        if "href" in element.attrib:
            element.set("href", mail_url(element.get("href", "")))
    for element in root.iter("img"):
        _fit_picture(element, copies)
    inner = write_element(root)
    return inner.removeprefix("<div>").removesuffix("</div>")


def _fit_picture(element: lxml_html.HtmlElement, copies: Collection[str]) -> None:
    element.set("src", _mail_picture(element.get("src", ""), copies))
    for name in ("srcset", "sizes"):
        element.attrib.pop(name, None)
    width, height = (int(size) if (size := element.get(name, "")).isdigit() else 0 for name in ("width", "height"))
    # A picture of unknown size keeps its size: an icon is not enlarged, and its style limits a large picture.
    if width > COLUMN:
        element.set("width", str(COLUMN))
        if height:
            element.set("height", str(round(height * COLUMN / width)))
    element.set("style", "max-width:100%;height:auto")


def _mail_picture(src: str, copies: Collection[str]) -> str:
    url = mail_url(src)
    return url + MAIL_COPY if "media/" in url and "media/" + src.rpartition("/media/")[2] in copies else url


def _picture(image: Image, copies: Collection[str]) -> PictureView:
    return PictureView(
        _mail_picture(image.src, copies),
        escape_placeholders(image.alt),
        escape_placeholders(image.caption),
        escape_placeholders(image.credit),
        image.width or 0,
        image.height or 0,
    )
