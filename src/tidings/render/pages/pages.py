"""Pages: a front page for each language, a page for each item, the root and notices; plain HTML without scripts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import BytecodeCache, ChoiceLoader, FileSystemLoader
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

from tidings.model.item import NOTE, Item
from tidings.model.text import shorten
from tidings.render.i18n import kind_label, language_name, load_catalogue, text_direction
from tidings.render.pages.views import PageFile, PageItem, build_page_item
from tidings.render.palette import make_palette
from tidings.render.site_views import FeedLink, SiteView, Translation
from tidings.render.templates import find_shipped_templates, get_template, make_environment, run_template
from tidings.render.urls import ALL, FORMATS, ascii_url, feed_path, one_line, page_path

LATEST = 10
PER_KIND = 100
RESOURCES = 50
MAX_TITLE = 70
"""Characters of `<title>`: what search engines and tabs show, and html-validate allows."""
STYLESHEET = "style.css"
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


class _Compiled(BytecodeCache):
    """Compiled templates of this process, known by their source: a change publishes without compiling all anew."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class Pages:
    """Renders pages with the newsroom's `templates/pages/` over the shipped ones, file by file."""

    def __init__(self, overrides: Path | None = None) -> None:
        folders = [*([overrides / "pages"] if overrides is not None else []), find_shipped_templates() / "pages"]
        self._versions: dict[str, str] = {}
        self._environment = make_environment(
            ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
            keep_trailing_newline=True,
            bytecode_cache=_COMPILED,
        )

    def stylesheet(self, site: SiteView) -> bytes:
        """The one style sheet of all pages."""
        return self._render("style.css.j2", colours=make_palette(site.colour))

    def language_page(self, frame: PageContext, items: Sequence[Item]) -> bytes:
        """The front page of the frame's language; `items` are newest first."""
        shown = [build_page_item(item, frame.site, "../", whole=False) for item in items if item.kind != NOTE]
        page = frame.page("../", frame.site.title, canonical=page_path(frame.site.language)) | {
            "latest": shown[:LATEST],
            "sections": _sections(shown, frame.site.language),
            "resources": [Resource(file, item.title, item.path) for item in shown for file in item.files][:RESOURCES],
        }
        return self._page("index.html.j2", frame, page)

    def item_page(self, frame: PageContext, item: Item, translations: Sequence[Translation]) -> bytes:
        """The page of an item."""
        view = build_page_item(item, frame.site, "../../", translations)
        paths = {each.language: page_path(each.language, each.slug) for each in translations}
        paths[item.language] = view.path
        page = frame.page("../../", view.title, summary=view.summary, paths=paths)
        page |= {"canonical": ascii_url(item.url), "translations": [_own_and(each) for each in view.translations]}
        return self._page("item.html.j2", frame, page, item=view)

    def withdrawn_page(self, frame: PageContext, item: Item) -> bytes:
        """What stands where an item stood that was withdrawn: that it was, and why; nothing of it."""
        words = frame.words
        texts = [words.gettext("This publication has been withdrawn."), one_line(item.withdrawn)]
        return self._page("notice.html.j2", frame, frame.page("../../", words.gettext("Withdrawn")) | {"texts": texts})

    def not_found_page(self, frame: PageContext) -> bytes:
        """What stands where nothing does. It is served at any depth, so its links start at the root of the host."""
        words = frame.words
        page = frame.page(urlsplit(frame.site.url).path or "/", words.gettext("Page not found"))
        return self._page(
            "notice.html.j2", frame, page | {"texts": [words.gettext("This page is not here, or no longer.")]}
        )

    def unsubscribe_page(self, frame: PageContext, what: str, name: str = "", choices: str = "") -> bytes:
        """Leaving the list `name`: `what` is ask, done, test or unknown. Served two levels deep, on any host.

        `choices` is the path of the reader's preferences, where less often and a pause stand.
        """
        words = frame.words
        titles = {
            "ask": words.gettext("Unsubscribe from %(list)s?") % {"list": name},
            "done": words.gettext("You have left %(list)s.") % {"list": name},
            "test": words.gettext("This was a test mail"),
            "unknown": words.gettext("This link does not work"),
        }
        texts = {
            "ask": words.gettext("You will get no more mail from this list."),
            "done": words.gettext("You will get no more mail from this list."),
            "test": words.gettext("Its link takes nobody off the list."),
            "unknown": words.gettext("Open it from the mail once more, whole, or simply answer the mail."),
        }
        page = frame.page(frame.root_path, titles[what])
        page |= {"what": what, "texts": [texts[what]], "choices": choices}
        return self._page("leave.html.j2", frame, page)

    def review_page(self, frame: PageContext, title: str, values: dict[str, Any]) -> bytes:
        """An edition that waits for a person, or what became of it. Served at any depth."""
        page = frame.page(frame.root_path, title) | {"shown": []} | values
        return self._page("review.html.j2", frame, page)

    def letter(self, frame: PageContext, subject: str, values: dict[str, Any]) -> bytes:
        """The HTML of a mail that asks for one thing: `texts`, a `link` with its `label`, and a `last` word."""
        return self._page("letter.html.j2", frame, frame.page("", subject) | values)

    def subscribe_page(self, frame: PageContext, title: str, paths: dict[str, str], values: dict[str, Any]) -> bytes:
        """The form that asks to be put on lists. Served at any depth."""
        page = frame.page(frame.root_path, title, paths=paths)
        return self._page("subscribe.html.j2", frame, page | {"errors": {}} | values)

    def preferences_page(self, frame: PageContext, title: str, values: dict[str, Any]) -> bytes:
        """What a reader chose. Served at any depth."""
        return self._page("preferences.html.j2", frame, frame.page(frame.root_path, title) | values)

    def action_page(
        self, frame: PageContext, title: str, texts: Sequence[str], *, button: str = "", more: str = ""
    ) -> bytes:
        """A few words, a button that posts to this very address, and a link to what is near (`more`: its path)."""
        page = frame.page(frame.root_path, title) | {"texts": list(texts), "button": button, "more": more}
        return self._page("act.html.j2", frame, page)

    def archive_page(self, frame: PageContext, title: str, values: dict[str, Any], paths: dict[str, str]) -> bytes:
        """The sent editions of a list, the mails of one, or `lists`; `paths` are the page's in other languages."""
        page = frame.page(frame.root_path, title, paths=paths, canonical=paths[frame.site.language])
        return self._page(
            "archive.html.j2", frame, page | {"feed": "", "up": "", "subscribe": "", "lists": []} | values
        )

    def root_page(self, frame: PageContext, titles: Iterable[tuple[str, str]]) -> bytes:
        """The site's own address: a link for each `(language, title)`."""
        doors = [
            {
                "language": language,
                "dir": text_direction(language),
                "name": language_name(language),
                "path": page_path(language),
                "title": title,
            }
            for language, title in titles
        ]
        page = frame.page("./", frame.site.title, canonical="") | {"languages": [], "doors": doors}
        return self._page("root.html.j2", frame, page)

    def _page(self, template: str, frame: PageContext, page: dict[str, Any], **values: Any) -> bytes:
        site = frame.for_templates | {"stylesheet": f"{STYLESHEET}?v={self._version(frame.site)}"}
        return self._render(
            template,
            site=site,
            page=page,
            colours=make_palette(frame.site.colour),
            _=_translator(frame.words.gettext),
            **values,
        )

    def _version(self, site: SiteView) -> str:
        """So that no page meets the style sheet of another build in a cache."""
        if site.colour not in self._versions:
            self._versions[site.colour] = hashlib.sha256(self.stylesheet(site)).hexdigest()[:8]
        return self._versions[site.colour]

    def _render(self, template: str, **values: Any) -> bytes:
        file = f"pages/{template}"
        text = run_template(get_template(self._environment, template, folder="pages/").render, values, file=file)
        return text.lstrip().encode("utf-8", "replace")


@dataclass(frozen=True)
class PageContext:
    """What all pages of one language share: the site, its languages' titles, and every feed."""

    site: SiteView
    feeds: tuple[FeedLink, ...]

    @cached_property
    def words(self) -> Any:
        """The catalogue of the page's language."""
        return load_catalogue(self.site.language)

    @cached_property
    def for_templates(self) -> dict[str, Any]:
        """`site` in templates."""
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
            # The page's own language first: liferea takes the first that it finds.
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
        """`page` in templates; `root` is the way up, `paths` are this page's own in other languages."""
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
    """`Title – Site` if it is short enough, else as much of the title as is."""
    whole = title if title == site else f"{title} – {site}"
    for text in (whole, title):
        # As it stands in the page: html-validate counts `&amp;` as five.
        if len(escape(text)) <= MAX_TITLE:
            return text
    limit = MAX_TITLE
    while len(escape(title[: limit - 1])) > MAX_TITLE - 1:
        limit -= 1
    return shorten(title, limit, keep=20, strip=" ,;:–-")


def _own_and(link: Any) -> dict[str, str]:
    return {"language": link.language, "url": link.url}


def _formats(feed: FeedLink) -> list[dict[str, str]]:
    return [
        {"name": _FORMAT_NAMES[ending], "type": media_type, "path": feed_path(feed.language, feed.name, ending)}
        for ending, media_type in FORMATS.items()
    ]


def _sections(items: Sequence[PageItem], language: str) -> list[PageSection]:
    kinds = dict.fromkeys(item.kind for item in items)
    return [
        PageSection(kind, kind_label(kind, language), tuple(item for item in items if item.kind == kind)[:PER_KIND])
        for kind in kinds
    ]


def _translator(gettext: Callable[[str], str]) -> Callable[..., Markup]:
    """`_("Published on %(date)s", date=...)`: the message is escaped, and so are its values unless they are markup."""

    def translate(message: str, **values: Any) -> Markup:
        text = escape(gettext(message))
        return text % values if values else text

    return translate
