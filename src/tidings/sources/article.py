"""One item as a website tells it, whatever it runs on; and how that becomes an item of ours."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from typing import Annotated, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tidings.model.errors import Problem
from tidings.model.item import Attachment, CachedItem, Image
from tidings.model.text import one_line, shorten_slug, slugify, summarise
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body import Body, missing_alt_message, sanitise
from tidings.sources.body_pictures import list_pictures
from tidings.sources.links import WebLinks, encode_url
from tidings.sources.web.fingerprint import add_fingerprint
from tidings.sources.web.identity import normalise_link, strip_tracking
from tidings.sources.web.overlay import FOLDER as OVERLAYS

MAX_HTML_LENGTH = 1_000_000
"""Characters of a body: beyond that it is no story."""
_KIND = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_PIXEL = re.compile(
    r"<img\b(?=[^>]*\bwidth\s*=\s*[\"']?[01][\"'\s/>])(?=[^>]*\bheight\s*=\s*[\"']?[01][\"'\s/>])[^>]*>", re.IGNORECASE
)
"""A picture of one pixel counts who opens it; readers here are not counted."""

_Line = Annotated[str, Field(max_length=2_000)]
_Address = Annotated[str, Field(max_length=4_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArticlePicture(_Model):
    """A picture, with what it shows in words."""

    src: _Address
    alt: _Line = ""
    caption: _Line = ""
    credit: _Line = ""


class ArticleFile(_Model):
    """A file that belongs to the item."""

    src: _Address
    title: _Line = ""


class Article(_Model):
    """An item in one language. Texts are plain but for `html`; moments carry an offset from UTC."""

    title: _Line = ""
    url: _Address = Field(default="", description="Its page, whole: https://example.org/en/youth.")
    language: Annotated[str, Field(max_length=40)] = ""
    kind: Annotated[str, Field(max_length=60)] = Field(default="", description="story, press-release, publication, ...")
    summary: Annotated[str, Field(max_length=20_000)] = ""
    html: Annotated[str, Field(max_length=MAX_HTML_LENGTH)] = ""
    published: AwareDatetime | None = None
    embargo: AwareDatetime | None = None
    expires: AwareDatetime | None = None
    starts: AwareDatetime | None = None
    ends: AwareDatetime | None = None
    place: _Line = ""
    topics: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    organisations: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    authors: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    images: Annotated[tuple[ArticlePicture, ...], Field(max_length=200)] = ()
    attachments: Annotated[tuple[ArticleFile, ...], Field(max_length=200)] = ()
    translations: Mapping[Annotated[str, Field(max_length=40)], _Address] = Field(
        default_factory=dict, description="Pages of the same story in other languages, by language."
    )
    story: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Groups translations: the same text in each of them."
    )
    correction: _Line = ""
    withdrawn: _Line = ""


class ItemDefaults(Protocol):
    """What the settings of a source say of all its items."""

    @property
    def language(self) -> str | None: ...

    @property
    def kind(self) -> str: ...

    @property
    def topics(self) -> Mapping[str, str]: ...


def build_item(
    article: Article, entry: CachedItem, telling: ItemDefaults, context: SourceContext, story: str | None
) -> tuple[SourceItem | None, list[Problem]]:
    """The item, or what is wrong with it. `story` is the key that groups its translations, None where nobody knows."""
    problems: list[Problem] = []
    url = encode_url(strip_tracking(article.url)) if article.url else None
    links = WebLinks(url or context.url)
    body = sanitise(_PIXEL.sub("", article.html or article.summary), links)
    summary = _plain(article.summary, links) or summarise(body.opening)
    title = one_line(article.title) or summarise(summary, 80)
    language = match_language(article.language, telling.language, context.languages)
    if not title:
        problems.append(Problem(entry.ref, 1, 1, "it has neither a title nor a text", "give it a title on the site"))
    if language is None:
        known = ", ".join(context.languages)
        mend = f"set the source's `language` to one of {known}, or add it to site.languages"
        said = article.language or telling.language
        problems.append(Problem(entry.ref, 1, 1, f"its language, {said!r}, is none of the site's", mend))
    if problems or language is None:
        return None, problems
    found = SourceItem(
        ref=entry.ref,
        name=_name(url, title, context.name, entry.ref, grouped=story is not None),
        language=language,
        title=title,
        summary=summary,
        body=body.html,
        kind=_kind(article.kind or telling.kind),
        fingerprint="",
        story=slugify(story) if story else None,
        translations=tuple(filter(None, map(normalise_link, article.translations.values()))),
        url=url,
        published=article.published,
        embargo=article.embargo,
        expires=article.expires or article.ends,
        starts=article.starts,
        ends=article.ends,
        place=one_line(article.place),
        topics=_topics(article.topics, telling.topics),
        organisations=_distinct(article.organisations),
        authors=_distinct(article.authors),
        images=_images(article, body, links),
        attachments=tuple(
            Attachment(src, one_line(one.title) or unquote(src.rsplit("/", 1)[-1]))
            for one in article.attachments
            if (src := links.absolute(one.src)) is not None
        ),
        correction=one_line(article.correction),
        withdrawn=one_line(article.withdrawn),
        backlog=entry.backlog,
    )
    for fault in links.faults:
        plain = Problem(entry.ref, 1, 1, fault.message, fault.mend, "warning")
        problems.append(
            warn_of_missing_alt(found, fault.value) if fault.message == missing_alt_message(fault.value) else plain
        )
    return add_fingerprint(found), problems


def warn_of_missing_alt(found: SourceItem, src: str) -> Problem:
    """What `tell` says of a picture in a body that nobody put into words; `src` is its address on the site."""
    return Problem(found.ref, 1, 1, missing_alt_message(src), advise_on_alt(found, src), "warning")


def advise_on_alt(found: SourceItem, src: str) -> str:
    """How a picture of a website gets its words."""
    overlay = (OVERLAYS / f"{found.story or found.name}.yaml").as_posix()
    return f"say on the site in words what it shows, or in {overlay}, under `alt`, after {src}"


def short_hash(text: str) -> str:
    """Six characters that tell two names apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _name(url: str | None, title: str, source: str, ref: str, *, grouped: bool) -> str:
    """The last part of its page's address that is a name. Alone, it would make two pages of one name one story."""
    last = unquote(urlsplit(url or "").path.rstrip("/").rpartition("/")[2])
    last = re.sub(r"(^index)?\.(html?|php|aspx?)$", "", last)
    slug = shorten_slug(slugify(last if re.search(r"[^\W\d_]", last) else title))
    return slug if grouped else f"{slug}-{short_hash(f'{source} {ref}')}"


def match_language(said: str, fallback: str | None, known: tuple[str, ...]) -> str | None:
    """What the article says goes before the source's; `ru-KZ` is taken as `ru` where only that is the site's."""
    for given in (said, fallback or ""):
        tag = given.strip().replace("_", "-").lower()
        while tag:
            for language in known:
                if language.lower() == tag:
                    return language
            tag = tag.rpartition("-")[0]
    return None if said or fallback else known[0]


def _kind(written: str) -> str:
    return written if _KIND.fullmatch(written) else slugify(written) or "story"


def _topics(said: tuple[str, ...], ours: Mapping[str, str]) -> tuple[str, ...]:
    known = {one_line(word).casefold(): topic for word, topic in ours.items()}
    found = (known.get(one_line(word).casefold()) or slugify(word) for word in said)
    return tuple(dict.fromkeys(topic for topic in found if topic))


def _distinct(said: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in said if (text := one_line(one))))


def _plain(text: str, links: WebLinks) -> str:
    """Feeds give summaries as text or as HTML, and do not say which."""
    if "<" in text:
        text = sanitise(text, WebLinks(links.absolute("/") or "")).opening
    elif "&" in text:
        text = html.unescape(text)
    return summarise(text)


def _images(article: Article, body: Body, links: WebLinks) -> tuple[Image, ...]:
    """Those that it names, and if none the first of its body; an alt text of the body holds for the same picture."""
    shown: dict[str, dict[str, str]] = {}
    for values in list_pictures(body.html):
        shown.setdefault(values.get("src", ""), values)
    images: list[Image] = []
    for one in article.images:
        src = links.absolute(one.src, picture=True)
        if src is not None and src not in {image.src for image in images}:
            alt = one_line(one.alt) or one_line(shown.get(src, {}).get("alt", ""))
            images.append(Image(src, alt, one_line(one.caption), one_line(one.credit)))
    if not images and shown:
        src, values = next(iter(shown.items()))
        if src:
            images.append(Image(src, one_line(values.get("alt", ""))))
    return tuple(images)
