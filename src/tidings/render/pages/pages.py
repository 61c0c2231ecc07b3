"""HTML pages without scripts: front pages, item pages, archives, forms and notices, from Jinja templates."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import BaseLoader, BytecodeCache, Environment, FileSystemLoader
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from tidings.model.item import NOTE, Item
from tidings.model.text import one_line, shorten
from tidings.render.i18n import kind_label, language_name, load_catalogue, text_direction
from tidings.render.pages.views import PageFile, PageItem, build_page_item
from tidings.render.palette import make_palette
from tidings.render.site_views import FeedLink, SiteView, Translation
from tidings.render.templates import (
    SourceLoader,
    find_shipped_templates,
    get_template,
    make_environment,
    run_limited,
    run_template,
)
from tidings.render.urls import ALL, FORMATS, ascii_url, feed_path, page_path

_LATEST = 10
_PER_KIND = 100
_RESOURCES = 50
MAX_TITLE = 70
"""Characters of `<title>` that search engines and tabs show, and that html-validate allows."""
STYLESHEET = "style.css"
_AT_ONCE = threading.BoundedSemaphore(2)
"""Children that render pages at one moment, however many readers ask."""
_FORMAT_NAMES = {"rss": "RSS", "atom": "Atom", "json": "JSON"}


@dataclass(frozen=True, slots=True)
class Resource:
    """A file and the item that it belongs to."""

    file: PageFile
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class PageSection:
    """The items of one kind."""

    kind: str
    label: str
    items: tuple[PageItem, ...]


class _TemplateCache(BytecodeCache):
    """Keeps compiled templates by their source, so that each is compiled once in a process."""

    def __init__(self) -> None:
        self._bytecode: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._bytecode:
            bucket.bytecode_from_string(self._bytecode[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._bytecode[bucket.key] = bucket.bytecode_to_string()


_CACHE = _TemplateCache()


class Pages:
    """Renders pages. Files in the newsroom's `templates/pages/` replace the shipped ones of the same name.

    Pages at `root_path` may be served at any depth.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._own = overrides / "pages" if overrides is not None else None
        self._versions: dict[str, str] = {}
        self._environment = _make_environment(FileSystemLoader(find_shipped_templates() / "pages"))

    def stylesheet(self, site: SiteView) -> bytes:
        """The style sheet of all pages."""
        return self._render("style.css.j2", site.language, {"colours": make_palette(site.colour)})

    def language_page(self, context: PageContext, items: Sequence[Item]) -> bytes:
        """The front page of a language; `items` are newest first."""
        views = [build_page_item(item, context.site, "../", whole=False) for item in items if item.kind != NOTE]
        page = context.page("../", context.site.title, canonical=page_path(context.site.language)) | {
            "latest": views[:_LATEST],
            "sections": _sections(views, context.site.language),
            "resources": [Resource(file, item.title, item.path) for item in views for file in item.files][:_RESOURCES],
        }
        return self._page("index.html.j2", context, page)

    def item_page(self, context: PageContext, item: Item, translations: Sequence[Translation]) -> bytes:
        """The page of an item."""
        view = build_page_item(item, context.site, "../../", translations)
        paths = {each.language: page_path(each.language, each.slug) for each in translations}
        paths[item.language] = view.path
        page = context.page("../../", view.title, summary=view.summary, paths=paths)
        page |= {
            "canonical": ascii_url(item.url),
            "translations": [{"language": each.language, "url": each.url} for each in view.translations],
        }
        return self._page("item.html.j2", context, page, item=view)

    def withdrawn_page(self, context: PageContext, item: Item) -> bytes:
        """The page in place of a withdrawn item: the reason, and nothing of the item."""
        words = context.words
        texts = [words.gettext("This publication has been withdrawn."), one_line(item.withdrawn)]
        return self._page(
            "notice.html.j2", context, context.page("../../", words.gettext("Withdrawn")) | {"texts": texts}
        )

    def not_found_page(self, context: PageContext) -> bytes:
        """The page for unknown URLs. It is served at any depth, so its links start at the root of the host."""
        words = context.words
        page = context.page(urlsplit(context.site.url).path or "/", words.gettext("Page not found"))
        return self._page(
            "notice.html.j2",
            context,
            page | {"texts": [words.gettext("This page does not exist, or no longer exists.")]},
        )

    def unsubscribe_page(self, context: PageContext, step: str, name: str = "", preferences: str = "") -> bytes:
        """The page to unsubscribe from the list `name`; `step` is ask, done, test or unknown.

        `preferences` is the path of the reader's preferences, with fewer mails or a pause as alternatives.
        """
        words = context.words
        titles = {
            "ask": words.gettext("Unsubscribe from %(list)s?") % {"list": name},
            "done": words.gettext("You are unsubscribed from %(list)s.") % {"list": name},
            "test": words.gettext("This was a test mail"),
            "unknown": words.gettext("This link does not work"),
        }
        texts = {
            "ask": words.gettext("You will get no more mail from this list."),
            "done": words.gettext("You will get no more mail from this list."),
            "test": words.gettext("Its link unsubscribes nobody."),
            "unknown": words.gettext("Open the whole link from the mail again, or answer the mail."),
        }
        page = context.page(context.root_path, titles[step])
        page |= {"what": step, "texts": [texts[step]], "choices": preferences}
        return self._page("leave.html.j2", context, page)

    def review_page(self, context: PageContext, title: str, values: dict[str, Any]) -> bytes:
        """The review page of an edition that waits for approval, or the result."""
        page = context.page(context.root_path, title) | {"shown": []} | values
        return self._page("review.html.j2", context, page)

    def letter(self, context: PageContext, subject: str, values: dict[str, Any]) -> bytes:
        """The HTML of a mail with one request: `texts`, a `link` with its `label`, and a `last` sentence."""
        return self._page("letter.html.j2", context, context.page("", subject) | values)

    def subscribe_page(self, context: PageContext, title: str, paths: dict[str, str], values: dict[str, Any]) -> bytes:
        """The form to subscribe to lists."""
        page = context.page(context.root_path, title, paths=paths)
        return self._page("subscribe.html.j2", context, page | {"errors": {}} | values)

    def preferences_page(self, context: PageContext, title: str, values: dict[str, Any]) -> bytes:
        """The preferences of a reader."""
        return self._page("preferences.html.j2", context, context.page(context.root_path, title) | values)

    def action_page(
        self, context: PageContext, title: str, texts: Sequence[str], *, button: str = "", more: str = ""
    ) -> bytes:
        """A page with texts, a button that posts to the same URL, and a link to the path `more`."""
        page = context.page(context.root_path, title) | {"texts": list(texts), "button": button, "more": more}
        return self._page("act.html.j2", context, page)

    def archive_page(self, context: PageContext, title: str, values: dict[str, Any], paths: dict[str, str]) -> bytes:
        """The editions of a list, the mails of an edition, or all lists; `paths` are the page's in other languages."""
        page = context.page(context.root_path, title, paths=paths, canonical=paths[context.site.language])
        return self._page(
            "archive.html.j2", context, page | {"feed": "", "up": "", "subscribe": "", "lists": []} | values
        )

    def root_page(self, context: PageContext, titles: Iterable[tuple[str, str]]) -> bytes:
        """The root of the site: a link for each `(language, title)`."""
        doors = [
            {"language": language, "dir": text_direction(language), "name": language_name(language)}
            | {"path": page_path(language), "title": title}
            for language, title in titles
        ]
        page = context.page("./", context.site.title, canonical="") | {"languages": [], "doors": doors}
        return self._page("root.html.j2", context, page)

    def _page(self, template: str, context: PageContext, page: dict[str, Any], **values: Any) -> bytes:
        site = context.for_templates | {"stylesheet": f"{STYLESHEET}?v={self._version(context.site)}"}
        colours = make_palette(context.site.colour)
        return self._render(template, context.site.language, {"site": site, "page": page, "colours": colours, **values})

    def _version(self, site: SiteView) -> str:
        """A version in the URL, so that no page gets an old style sheet from a cache."""
        if site.colour not in self._versions:
            self._versions[site.colour] = hashlib.sha256(self.stylesheet(site)).hexdigest()[:8]
        return self._versions[site.colour]

    def _render(self, template: str, language: str, values: dict[str, Any]) -> bytes:
        if self._own is None or not self._own.is_dir():
            return _render_page(self._environment, template, language, values).encode("utf-8", "replace")
        with _AT_ONCE:
            text: str = run_limited(_render_own_page, "pages", _read_sources(self._own), template, language, values)
        return text.encode("utf-8", "replace")


def _make_environment(loader: BaseLoader) -> Environment:
    return make_environment(loader, keep_trailing_newline=True, bytecode_cache=_CACHE)


def _render_page(environment: Environment, template: str, language: str, values: dict[str, Any]) -> str:
    values = values | {"_": _translator(load_catalogue(language).gettext)}
    file = f"pages/{template}"
    text = run_template(get_template(environment, template, folder="pages/").render, values, file=file)
    return text.lstrip()


def _read_sources(own: Path) -> tuple[tuple[str, tuple[str, str, str]], ...]:
    """Read the templates of pages: the newsroom's own, and the shipped ones that it does not replace."""
    found: dict[str, tuple[str, str, str]] = {}
    for folder in (find_shipped_templates() / "pages", own):
        for path in sorted(folder.glob("*.j2")):
            try:
                found[path.name] = path.read_text("utf-8-sig"), str(path), ""
            except (OSError, UnicodeDecodeError) as error:
                found[path.name] = "", "", f"templates/pages/{path.name} cannot be read: {error}"
    return tuple(found.items())


@lru_cache(maxsize=2)
def _load_sources(sources: tuple[tuple[str, tuple[str, str, str]], ...]) -> Environment:
    return _make_environment(SourceLoader(dict(sources)))


def _render_own_page(
    sources: tuple[tuple[str, tuple[str, str, str]], ...], template: str, language: str, values: dict[str, Any]
) -> str:
    """Render a page with templates of the newsroom. This runs in a limited child."""
    return _render_page(_load_sources(sources), template, language, values)


@dataclass(frozen=True)
class PageContext:
    """The data that all pages of one language share: the site and every feed."""

    site: SiteView
    feeds: tuple[FeedLink, ...]

    @cached_property
    def words(self) -> Any:
        return load_catalogue(self.site.language)

    @cached_property
    def for_templates(self) -> dict[str, Any]:
        """The value of `site` in templates."""
        site = self.site
        own = [feed for feed in self.feeds if feed.language == site.language]
        others = [feed for feed in self.feeds if feed.language != site.language and feed.name == ALL]
        return {
            "title": one_line(site.title),
            "url": site.url,
            "language": site.language,
            "dir": text_direction(site.language),
            "path": page_path(site.language),
            "address": one_line(site.address),
            "subscribe": f"subscribe/?lang={site.language}" if site.can_subscribe else "",
            "icon": ascii_url(site.logo_url.removeprefix(site.url)) if site.logo_url.startswith(site.url) else "",
            # The page's own language first: Liferea takes the first one.
            "discovery": [
                {"type": FORMATS[ending], "title": f"{feed.title} ({_FORMAT_NAMES[ending]})", "language": feed.language}
                | {"path": feed_path(feed.language, feed.name, ending)}
                for feed in [*own, *others]
                for ending in (FORMATS if feed in own and feed.name == ALL else ("rss",))
            ],
            "feeds": [{"title": feed.title, "label": one_line(feed.label), "formats": _formats(feed)} for feed in own],
        }

    @property
    def root_path(self) -> str:
        """The site's own path on its host, for pages that are served at any depth."""
        return urlsplit(self.site.url).path or "/"

    def page(
        self,
        root: str,
        title: str,
        *,
        summary: str = "",
        canonical: str | None = None,
        paths: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Make `page` for templates; `root` is the way to the site's root, `paths` are the page's other languages."""
        paths = paths or {}
        return {
            "root": root,
            "title": one_line(title),
            "head_title": head_title(one_line(title), one_line(self.site.title)),
            "summary": summary,
            "canonical": ascii_url(self.site.url + canonical) if canonical is not None else "",
            "translations": [],
            "languages": [
                {
                    "language": language,
                    "name": language_name(language),
                    "path": paths.get(language, page_path(language)),
                    "current": language == self.site.language,
                }
                for language in self.site.languages
            ]
            if len(self.site.languages) > 1
            else [],
        }


def head_title(title: str, site: str) -> str:
    """`Title – Site` if it is short enough, else as much of the title as fits."""
    whole = title if title == site else f"{title} – {site}"
    for text in (whole, title):
        # The escaped length: html-validate counts `&amp;` as five characters.
        if len(escape(text)) <= MAX_TITLE:
            return text
    limit = MAX_TITLE
    while len(escape(title[: limit - 1])) > MAX_TITLE - 1:
        limit -= 1
    return shorten(title, limit, keep=20, strip=" ,;:–-")


def _formats(feed: FeedLink) -> list[dict[str, str]]:
    return [
        {"name": _FORMAT_NAMES[ending], "type": media_type, "path": feed_path(feed.language, feed.name, ending)}
        for ending, media_type in FORMATS.items()
    ]


def _sections(items: Sequence[PageItem], language: str) -> list[PageSection]:
    kinds = dict.fromkeys(item.kind for item in items)
    return [
        PageSection(kind, kind_label(kind, language), tuple(item for item in items if item.kind == kind)[:_PER_KIND])
        for kind in kinds
    ]


def _translator(gettext: Callable[[str], str]) -> Callable[..., Markup]:
    """`_("Published on %(date)s", date=...)`: the message and its values are escaped, except Markup values."""

    def translate(message: str, **values: Any) -> Markup:
        text = escape(gettext(message))
        return text % values if values else text

    return translate
