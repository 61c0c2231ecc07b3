"""An article from a website, and its conversion to an item of the newsroom."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from tidings.child_process import ChildError, run_in_child
from tidings.config.types import Moment
from tidings.model.errors import Problem
from tidings.model.item import EMAIL, PHONE, Attachment, CachedItem, Contact, Image
from tidings.model.text import one_line, shorten_slug, slugify, summarise
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body import Body, list_pictures, missing_alt_message, sanitise
from tidings.sources.languages import find_foreign_script
from tidings.sources.links import WebLinks, encode_url
from tidings.sources.picture_tags import is_decoration
from tidings.sources.web.identity import normalise_link, strip_tracking

OVERLAYS = "content/overlay"
"""The folder of the overlay files, in which editors add to a website's items."""
_MAX_LENGTHS = {"url": 4_000, "base": 4_000, "language": 40, "kind": 60, "summary": 20_000, "html": 1_000_000}
"""Limits in characters. Other fields hold 2,000."""
SECONDS = 5
"""Limit of processor time for building one item. The largest takes a fraction of it."""
_KIND = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
# The names of the other fields are part of each stored fingerprint.
_NOT_IN_FINGERPRINT = (
    "ref", "name", "fingerprint", "explicit_id", "story", "translations", "backlog", "original_urls",
)  # fmt: skip

_Line = Annotated[str, Field(max_length=2_000)]
_Address = Annotated[str, Field(max_length=4_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArticlePicture(_Model):
    """A picture and its alt text."""

    src: _Address
    alt: _Line = ""
    caption: _Line = ""
    credit: _Line = ""


class ArticleFile(_Model):
    """A file that belongs to the item."""

    src: _Address
    title: _Line = ""
    type: Annotated[str, Field(max_length=100)] = Field(default="", description="Its media type: application/pdf.")
    length: Annotated[int | None, Field(ge=0, le=2**53)] = Field(default=None, description="Its size in bytes.")


def _check_email(value: str) -> str:
    if value.strip() and not EMAIL.fullmatch(value.strip()):
        raise ValueError(f"{value[:60]!r} is not an e-mail address, such as NAME@example.org")
    return value


def _check_phone(value: str) -> str:
    if value.strip() and not PHONE.fullmatch(value.strip()):
        raise ValueError(f"{value[:60]!r} is not a phone number, such as +7 727 000 00 00")
    return value


class ArticleContact(_Model):
    """A person or an office that answers the press about the item."""

    name: _Line = ""
    role: _Line = ""
    email: Annotated[_Line, AfterValidator(_check_email)] = ""
    phone: Annotated[_Line, AfterValidator(_check_phone)] = ""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Article(_Model):
    """An item in one language. Texts are plain except `html`; times have an offset from UTC."""

    title: _Line = ""
    url: _Address = Field(default="", description="The whole address of its page: https://example.org/en/youth.")
    base: _Address = Field(default="", description="What relative links in `html` are relative to; default: `url`.")
    language: Annotated[str, Field(max_length=40)] = ""
    kind: Annotated[str, Field(max_length=60)] = Field(default="", description="story, press-release, publication, ...")
    summary: Annotated[str, Field(max_length=20_000)] = ""
    html: Annotated[str, Field(max_length=1_000_000)] = ""
    published: Moment | None = None
    embargo: Moment | None = None
    expires: Moment | None = None
    starts: Moment | None = None
    ends: Moment | None = None
    place: _Line = ""
    topics: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    organisations: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    authors: Annotated[tuple[_Line, ...], Field(max_length=100)] = ()
    images: Annotated[tuple[ArticlePicture, ...], Field(max_length=200)] = ()
    attachments: Annotated[tuple[ArticleFile, ...], Field(max_length=200)] = ()
    contact: Annotated[tuple[ArticleContact, ...], Field(max_length=20), BeforeValidator(_as_list)] = Field(
        default=(), description="Who answers the press: a list, or one object."
    )
    translations: Mapping[Annotated[str, Field(max_length=40)], _Address] = Field(
        default_factory=dict, description="Pages of the same story in other languages, by language."
    )
    story: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Groups translations: all translations of a story have the same text here."
    )
    correction: _Line = ""
    withdrawn: _Line = ""


def build_article(fields: Mapping[str, Any], *, may_be_empty: bool = False) -> Article | None:
    """Build an article and cut values to their limits. None if it is not valid, or has neither title nor text.

    `may_be_empty`: such an article is kept, and `build_item` names it.
    """
    values = {
        name: value[: _MAX_LENGTHS.get(name, 2_000)] if isinstance(value, str) else value
        for name, value in fields.items()
    }
    for name in ("topics", "authors"):
        values[name] = [word[:2_000] for word in fields.get(name, ()) if word][:100]
    for name in ("images", "attachments"):
        files = [file for file in fields.get(name, ()) if file["src"] and len(file["src"]) <= 4_000][:100]
        values[name] = [
            {key: text[:2_000] if isinstance(text, str) and key != "src" else text for key, text in file.items()}
            for file in files
        ]
    translations = fields.get("translations", {})
    values["translations"] = {key: url for key, url in translations.items() if len(key) <= 40 and len(url) <= 4_000}
    try:
        article = Article.model_validate(values)
    except ValidationError:
        return None
    return article if article.title or article.html or may_be_empty else None


class ItemDefaults(Protocol):
    """Settings of a source that apply to all its items."""

    @property
    def language(self) -> str | None: ...

    @property
    def kind(self) -> str: ...

    @property
    def topics(self) -> Mapping[str, str]: ...


BuiltItem = tuple[SourceItem | None, list[Problem]]


class PoisonousItemError(Exception):
    """Building an item takes too much time or memory. The text says which limit it exceeds."""


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """All that an item is built from."""

    article: Mapping[str, Any]
    ref: str
    backlog: bool
    story: str | None
    language: str | None
    kind: str
    topics: Mapping[str, str]
    source: str
    site: str
    languages: tuple[str, ...]


_REQUESTS: TypeAdapter[list[ItemRequest]] = TypeAdapter(list[ItemRequest])
_BUILT: TypeAdapter[list[BuiltItem]] = TypeAdapter(list[BuiltItem])


def build_items_in_child(
    items: Sequence[tuple[CachedItem, str | None]], defaults: ItemDefaults, context: SourceContext
) -> list[BuiltItem]:
    """Build items in a child process with limits of time and memory. Raises PoisonousItemError.

    Each item comes with its story, the key shared by translations.
    """
    requests = [
        ItemRequest(
            cached.data["article"], cached.ref, cached.backlog, story, defaults.language, defaults.kind,
            dict(defaults.topics), context.name, context.url, context.languages,
        )
        for cached, story in items
    ]  # fmt: skip
    try:
        answer = run_in_child(build_requests, _REQUESTS.dump_json(requests), SECONDS)
    except ChildError as error:
        raise PoisonousItemError(str(error)) from None
    return _BUILT.validate_python(answer)


def build_requests(data: bytes) -> Any:
    """Build the items of JSON requests. Returns JSON."""
    requests = _REQUESTS.validate_json(data)
    built = [build_item(Article.model_validate(request.article), request) for request in requests]
    return _BUILT.dump_python(built, mode="json")


def build_item(article: Article, request: ItemRequest) -> BuiltItem:
    """Return the item, or None if it is unusable, and its problems."""
    story = request.story
    problems: list[Problem] = []
    url = encode_url(strip_tracking(article.url)) if article.url else None
    links = WebLinks(encode_url(article.base) or url or request.site)
    body = sanitise(article.html or article.summary, links)
    summary = _plain_summary(article.summary, links) or summarise(body.opening)
    title = one_line(article.title) or summarise(summary, 80)
    language = match_language(article.language, request.language, request.languages)
    if not title:
        problems.append(Problem(request.ref, 1, 1, "it has neither a title nor a text", "give it a title on the site"))
    if language is None:
        mend = f"set the source's `language` to one of {', '.join(request.languages)}, or add it to site.languages"
        message = f"its language, {article.language or request.language!r}, is not one of the site's"
        problems.append(Problem(request.ref, 1, 1, message, mend))
    if problems or language is None:
        return None, problems
    item = SourceItem(
        ref=request.ref,
        name=_make_name(url, title, request.source, request.ref, is_grouped=story is not None),
        language=language,
        title=title,
        summary=summary,
        body=body.html,
        kind=_make_kind(article.kind or request.kind),
        story=slugify(story) if story else None,
        translations=tuple(filter(None, map(normalise_link, article.translations.values()))),
        url=url,
        published=article.published,
        embargo=article.embargo,
        expires=article.expires or article.ends,
        starts=article.starts,
        ends=article.ends,
        place=one_line(article.place),
        topics=_map_topics(article.topics, request.topics),
        organisations=_distinct(article.organisations),
        authors=_distinct(article.authors),
        images=_build_images(article, body, links),
        attachments=tuple(
            Attachment(src, one_line(file.title) or unquote(src.rsplit("/", 1)[-1]), one_line(file.type), file.length)
            for file in article.attachments
            if (src := links.absolute(file.src)) is not None
        ),
        contacts=tuple(
            Contact(*map(one_line, (each.name, each.role, each.email, each.phone))) for each in article.contact
        ),
        correction=one_line(article.correction),
        withdrawn=one_line(article.withdrawn),
        backlog=request.backlog,
    )
    if script := find_foreign_script(language, title, body.html):
        message = f"the text is written in {script} letters, but its language is {language!r}"
        mend = "set the source's `language`, or correct the language on the site"
        problems.append(Problem(request.ref, 1, 1, message, mend, "warning"))
    if broken := next((word for word in f"{title} {summary} {body.opening}".split() if "\ufffd" in word), ""):
        message = f"a letter cannot be read, near {broken[:60]!r}"
        problems.append(Problem(request.ref, 1, 1, message, "save the text on the site as UTF-8", "warning"))
    for link in links.problems:
        if link.message == missing_alt_message(link.value):
            problems.append(warn_of_missing_alt(item, link.value))
        else:
            problems.append(Problem(request.ref, 1, 1, link.message, link.mend, "warning"))
    return add_fingerprint(item), problems


def add_fingerprint(item: SourceItem) -> SourceItem:
    """Hash everything that readers could see and the places of media, but not the item's place, name and keys."""
    content = {name: value for name, value in asdict(item).items() if name not in _NOT_IN_FINGERPRINT}
    if not item.contacts:
        # Items without contacts keep the hash that they had before there were any.
        del content["contacts"]
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, default=str)
    return replace(item, fingerprint=hashlib.sha256(text.encode()).hexdigest())


def warn_of_missing_alt(item: SourceItem, src: str) -> Problem:
    """Return the warning of `build_item` about a picture without alt text. `src` is its address on the site."""
    return Problem(item.ref, 1, 1, missing_alt_message(src), advise_on_alt(item, src), "warning")


def advise_on_alt(item: SourceItem, src: str) -> str:
    """Return advice on where to write the alt text of a website's picture."""
    overlay = f"{OVERLAYS}/{item.story or item.name}.yaml"
    return f"describe the picture on the site, or in {overlay}, under `alt`, after {src}"


def short_hash(text: str) -> str:
    """Return six hex digits that distinguish names."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _make_name(url: str | None, title: str, source: str, ref: str, *, is_grouped: bool) -> str:
    """Make a name from the last part of the page's address that has letters, or from the title.

    An item without a group gets a hash, else two pages with the same name would become one story.
    """
    last = unquote(urlsplit(url or "").path.rstrip("/").rpartition("/")[2])
    last = re.sub(r"(^index)?\.(html?|php|aspx?)$", "", last)
    slug = shorten_slug(slugify(last if re.search(r"[^\W\d_]", last) else title))
    return slug if is_grouped else f"{slug}-{short_hash(f'{source} {ref}')}"


def match_language(written: str, fallback: str | None, known: tuple[str, ...]) -> str | None:
    """Find the site's language for an article. `ru-KZ` also matches `ru`.

    The source's setting is for all its items: templates often name another language than the text has.
    """
    for tag in (fallback or "", "" if fallback else written):
        tag = tag.strip().replace("_", "-").lower()
        while tag:
            for language in known:
                if language.lower() == tag:
                    return language
            tag = tag.rpartition("-")[0]
    return None if written.strip() or fallback else known[0]


def _make_kind(written: str) -> str:
    return written if _KIND.fullmatch(written) else slugify(written) or "story"


def _map_topics(words: tuple[str, ...], mapped: Mapping[str, str]) -> tuple[str, ...]:
    known = {one_line(word).casefold(): topic for word, topic in mapped.items()}
    topics = (known.get(one_line(word).casefold()) or slugify(word) for word in words)
    return tuple(dict.fromkeys(topic for topic in topics if topic))


def _distinct(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(one_line, texts))))


def _plain_summary(text: str, links: WebLinks) -> str:
    """Return plain text. Feeds do not say whether a summary is plain text or HTML."""
    if "<" in text:
        text = sanitise(text, WebLinks(links.absolute("/") or "")).opening
    elif "&" in text:
        text = html.unescape(text)
    return summarise(text)


def _build_images(article: Article, body: Body, links: WebLinks) -> tuple[Image, ...]:
    """Take the article's pictures, else the first picture of its body. Alt texts in the body also apply here."""
    shown: dict[str, dict[str, str]] = {}
    for attributes in list_pictures(body.html):
        shown.setdefault(attributes.get("src", ""), attributes)
    images: dict[str, Image] = {}
    for picture in article.images:
        src = links.absolute(picture.src, picture=True)
        if src is not None and src not in images and not is_decoration(src) and src not in links.decorations:
            alt = one_line(picture.alt) or one_line(shown.get(src, {}).get("alt", ""))
            images[src] = Image(src, alt, one_line(picture.caption), one_line(picture.credit))
    if not images:
        for src, attributes in shown.items():
            if src and src not in links.decorations:
                images[src] = Image(src, one_line(attributes.get("alt", "")))
                break
    return tuple(images.values())
