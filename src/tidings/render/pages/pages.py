"""HTML pages: front pages, items, sections, search, archives, forms and notices, from Jinja templates.

Only the search page has a script, and it works without the script.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import BaseLoader, Environment, FileSystemLoader
from markupsafe import escape

from tidings.model.item import NOTE, Item
from tidings.model.text import one_line, shorten
from tidings.render.i18n import kind_label, language_name, load_catalogue, make_translator, text_direction
from tidings.render.pages.linked_data import describe_list, describe_site, open_graph_locale
from tidings.render.pages.views import PageFile, PageItem, PageLink, build_page_item
from tidings.render.palette import make_palette
from tidings.render.site_views import FeedLink, SectionLink, SectionPage, SiteView, Translation
from tidings.render.templates import (
    SourceLoader,
    find_shipped_templates,
    get_template,
    make_environment,
    run_limited,
    run_template,
)
from tidings.render.urls import (
    ALL,
    FORMATS,
    GROUPS,
    SEARCH,
    ascii_url,
    calendar_path,
    feed_path,
    page_path,
    search_path,
    section_path,
    section_slug,
)

_LATEST = 10
_PER_KIND = 12
_RESOURCES = 50
MAX_TITLE = 70
"""Most characters of `<title>` that search engines and tabs show, and that html-validate allows."""
STYLESHEET = "style.css"
SCRIPT = "search.js"
_AT_ONCE = threading.BoundedSemaphore(2)
"""Most child processes that render pages at the same time."""
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
    more: str
    """The path of the page with all items of this kind, or '' if there are no more items."""


class Pages:
    """Renders pages. Files in the newsroom's `templates/pages/` replace the shipped ones of the same name.

    Pages at `root_path` may be served at any depth.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._own = overrides / "pages" if overrides is not None else None
        self._versions: dict[str, str] = {}
        self._environment = _make_environment(FileSystemLoader(find_shipped_templates() / "pages"))

    def stylesheet(self, site: SiteView) -> bytes:
        """Return the style sheet of all pages."""
        return self._render("style.css.j2", site.language, {"colours": make_palette(site.colour)})

    def language_page(self, context: PageContext, items: Sequence[Item], topics: Sequence[SectionLink] = ()) -> bytes:
        """Render the front page of a language. `items` are newest first."""
        site, items = context.site, [item for item in items if item.kind != NOTE]
        by_kind: dict[str, list[Item]] = {}
        for item in items:
            by_kind.setdefault(item.kind, []).append(item)
        # Only the shown items are prepared, because a large newsroom has many.
        latest = [build_page_item(item, site, "../", whole=False) for item in items[:_LATEST]]
        page = context.page("../", site.title, canonical=page_path(site.language)) | {
            "latest": latest,
            "topics": [PageLink(each.label, section_path(site.language, each.group, each.slug)) for each in topics],
            "sections": [_section(kind, own, site) for kind, own in by_kind.items()],
            "resources": list(islice(_resources(items, site), _RESOURCES)),
            "translations": _alternates(site, {language: page_path(language) for language in site.languages}),
            "json_ld": describe_site(site),
            "image": _first_picture(latest, site),
        }
        return self._page("index.html.j2", context, page)

    def section_page(self, context: PageContext, section: SectionPage) -> bytes:
        """Render a page of a topic, an organisation or a kind."""
        site, group, slug = context.site, section.group, section.slug
        own = partial(section_path, site.language, group, slug)
        root = "../../../../" if section.number else "../../../"
        title = self._numbered(context, section.label, section.number)
        paths = {language: section_path(language, group, slug) for language in section.languages}
        views = [build_page_item(item, site, root, whole=False) for item in section.items]
        page = context.page(root, title, canonical=own(section.number), paths=paths) | {
            "label": section.label,
            "group": PageLink(context.group_label(group), f"{site.language}/{group}/"),
            "stories": views,
            "formats": _formats(f"{group}/{slug}", site.language),
            "calendar": calendar_path(site.language) if group == "kinds" and any(v.calendar for v in views) else "",
            "translations": [] if section.number else _alternates(site, paths),
            "json_ld": describe_list(site, section.label, own(section.number), section.items),
            "image": _first_picture(views, site),
            **_pager(section.number, section.older, own),
        }
        return self._page("section.html.j2", context, page)

    def sections_page(self, context: PageContext, group: str, sections: Sequence[SectionLink]) -> bytes:
        """Render the page that lists all topics, organisations or kinds of a language."""
        site = context.site
        paths = {language: f"{language}/{group}/" for language in site.languages}
        label = context.group_label(group)
        page = context.page("../../", label, canonical=paths[site.language], paths=paths) | {
            "sections": [
                {"label": each.label, "path": section_path(site.language, group, each.slug), "count": each.count}
                for each in sections
            ],
            "others": [PageLink(context.group_label(each), f"{site.language}/{each}/") for each in GROUPS],
            "translations": _alternates(site, paths),
        }
        return self._page("sections.html.j2", context, page)

    def search_page(self, context: PageContext, items: Sequence[Item], number: int = 0, older: int = 0) -> bytes:
        """Render the search page of a language with the titles of the newest items, or a page with older titles."""
        site = context.site
        own = partial(search_path, site.language)
        title = context.words.gettext("All titles" if number else "Search")
        root = "../../../" if number else "../../"
        paths = {language: search_path(language) for language in site.languages}
        page = context.page(root, self._numbered(context, title, number), canonical=own(number), paths=paths) | {
            "stories": [build_page_item(item, site, root, whole=False) for item in items],
            "index": f"{SEARCH}/{site.language}/index.json",
            "script": "" if number else f"{SCRIPT}?v={self._version(SCRIPT, self.script)}",
            "translations": [] if number else _alternates(site, paths),
            **_pager(number, older, own),
        }
        return self._page("search.html.j2", context, page)

    def script(self) -> bytes:
        """Return the script of the search page: the newsroom's own, or the shipped one."""
        folders = [*([self._own] if self._own is not None else []), find_shipped_templates() / "pages"]
        return next(folder / SCRIPT for folder in folders if (folder / SCRIPT).is_file()).read_bytes()

    @staticmethod
    def _numbered(context: PageContext, title: str, number: int) -> str:
        if not number:
            return title
        return str(context.words.gettext("%(title)s, page %(number)s") % {"title": title, "number": number})

    def item_page(self, context: PageContext, item: Item, translations: Sequence[Translation]) -> bytes:
        view = build_page_item(item, context.site, "../../", translations)
        paths = {each.language: page_path(each.language, each.slug) for each in translations}
        paths[item.language] = view.path
        urls = {each.language: each.url for each in translations} | {item.language: item.url}
        page = context.page("../../", view.title, summary=view.summary, paths=paths)
        page |= {
            "canonical": ascii_url(item.url),
            # Search engines expect each version to name all versions, including itself.
            "translations": [_alternate(*each) for each in sorted(urls.items())] if translations else [],
        }
        return self._page("item.html.j2", context, page, item=view)

    def withdrawn_page(self, context: PageContext, item: Item) -> bytes:
        """Render the page that replaces a withdrawn item. It has the reason, and nothing of the item."""
        words = context.words
        texts = [words.gettext("This publication has been withdrawn."), one_line(item.withdrawn)]
        return self._page(
            "notice.html.j2", context, context.page("../../", words.gettext("Withdrawn")) | {"texts": texts}
        )

    def not_found_page(self, context: PageContext) -> bytes:
        """Render the page for unknown URLs. It is served at any depth, so its links start at the root of the host."""
        words = context.words
        page = context.page(urlsplit(context.site.url).path or "/", words.gettext("Page not found"))
        return self._page(
            "notice.html.j2",
            context,
            page | {"texts": [words.gettext("This page does not exist, or no longer exists.")]},
        )

    def unsubscribe_page(self, context: PageContext, step: str, name: str = "", preferences: str = "") -> bytes:
        """Render the page to unsubscribe from the list `name`. `step` is ask, done, test or unknown.

        `preferences` is the path of the reader's preferences, which offer fewer mails or a pause instead.
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
        """Render the review page of an edition that waits for approval, or its result."""
        page = context.page(context.root_path, title) | {"shown": []} | values
        return self._page("review.html.j2", context, page)

    def letter(self, context: PageContext, subject: str, values: dict[str, Any]) -> bytes:
        """Render the HTML of a mail with one link: `texts`, a `link` with its `label`, and a `last` sentence."""
        return self._page("letter.html.j2", context, context.page("", subject) | values)

    def subscribe_page(self, context: PageContext, title: str, paths: dict[str, str], values: dict[str, Any]) -> bytes:
        """Render the form to subscribe to lists."""
        page = context.page(context.root_path, title, paths=paths)
        return self._page("subscribe.html.j2", context, page | {"errors": {}} | values)

    def preferences_page(self, context: PageContext, title: str, values: dict[str, Any]) -> bytes:
        """Render the preferences of a reader."""
        return self._page("preferences.html.j2", context, context.page(context.root_path, title) | values)

    def action_page(
        self, context: PageContext, title: str, texts: Sequence[str], *, button: str = "", more: str = ""
    ) -> bytes:
        """Render a page with texts, a button that posts to the same URL, and a link to the path `more`."""
        page = context.page(context.root_path, title) | {"texts": list(texts), "button": button, "more": more}
        return self._page("act.html.j2", context, page)

    def archive_page(self, context: PageContext, title: str, values: dict[str, Any], paths: dict[str, str]) -> bytes:
        """Render the editions of a list, the mails of an edition, or all lists. `paths` are by language."""
        page = context.page(context.root_path, title, paths=paths, canonical=paths[context.site.language])
        return self._page(
            "archive.html.j2", context, page | {"feed": "", "up": "", "subscribe": "", "lists": []} | values
        )

    def root_page(self, context: PageContext, titles: Iterable[tuple[str, str]]) -> bytes:
        """Render the root of the site, with a link for each `(language, title)`."""
        doors = [
            {"language": language, "dir": text_direction(language), "name": language_name(language)}
            | {"path": page_path(language), "title": title}
            for language, title in titles
        ]
        page = context.page("./", context.site.title, canonical="") | {"languages": [], "doors": doors}
        return self._page("root.html.j2", context, page)

    def _page(self, template: str, context: PageContext, page: dict[str, Any], **values: Any) -> bytes:
        version = self._version(context.site.colour, partial(self.stylesheet, context.site))
        site = context.for_templates | {"stylesheet": f"{STYLESHEET}?v={version}"}
        colours = make_palette(context.site.colour)
        return self._render(template, context.site.language, {"site": site, "page": page, "colours": colours, **values})

    def _version(self, name: str, render: Callable[[], bytes]) -> str:
        """Return a version for the URL, so that no page gets an old style sheet or script from a cache."""
        if name not in self._versions:
            self._versions[name] = hashlib.sha256(render()).hexdigest()[:8]
        return self._versions[name]

    def _render(self, template: str, language: str, values: dict[str, Any]) -> bytes:
        if self._own is None or not self._own.is_dir():
            return _render_page(self._environment, template, language, values).encode("utf-8", "replace")
        with _AT_ONCE:
            text: str = run_limited(_render_own_page, "pages", _read_sources(self._own), template, language, values)
        return text.encode("utf-8", "replace")


def _make_environment(loader: BaseLoader) -> Environment:
    return make_environment(loader, keep_trailing_newline=True)


def _render_page(environment: Environment, template: str, language: str, values: dict[str, Any]) -> str:
    values = values | {"_": make_translator(load_catalogue(language).gettext)}
    file = f"pages/{template}"
    text = run_template(get_template(environment, template, folder="pages/").render, values, file=file)
    return text.lstrip()


def _read_sources(own: Path) -> tuple[tuple[str, tuple[str, str, str]], ...]:
    """Read the page templates: those of the newsroom, and the shipped ones that they do not replace."""
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
    """Render a page with templates of the newsroom. Runs in a child process with limits."""
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
            "places": self._places(),
            "locale": open_graph_locale(site.language),
            # The page's own language comes first, because Liferea takes the first feed.
            "discovery": [
                {"type": FORMATS[ending], "title": f"{feed.title} ({_FORMAT_NAMES[ending]})", "language": feed.language}
                | {"path": feed_path(feed.language, feed.name, ending)}
                for feed in [*own, *others]
                for ending in (FORMATS if feed in own and feed.name == ALL else ("rss",))
            ],
            "feeds": [
                {"title": feed.title, "label": one_line(feed.label), "formats": _formats(feed.name, feed.language)}
                for feed in own
            ],
        }

    def _places(self) -> list[PageLink]:
        """Return the main pages of the site, for its menu."""
        language, gettext = self.site.language, self.words.gettext
        places = [PageLink(self.group_label("topics"), f"{language}/topics/")]
        if self.site.has_archive:
            places.append(PageLink(gettext("Newsletter archive"), "archive/"))
        return [*places, PageLink(gettext("Search"), search_path(language))]

    def group_label(self, group: str) -> str:
        """Return the name of a group of sections."""
        gettext = self.words.gettext
        names = {
            "topics": gettext("Topics"),
            "organisations": gettext("Organisations"),
            "kinds": gettext("Kinds of stories"),
        }
        return str(names[group])

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
            "json_ld": "",
            "image": None,
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


def choose_front_items(items: Sequence[Item]) -> list[Item]:
    """Return the items that the front page shows. `items` are newest first."""
    items = [item for item in items if item.kind != NOTE]
    counts: Counter[str] = Counter()
    files = 0
    chosen: list[Item] = []
    has_picture = False
    for number, item in enumerate(items):
        counts[item.kind] += 1
        is_shown = number < _LATEST or counts[item.kind] <= _PER_KIND
        is_shown |= bool(item.attachments) and files < _RESOURCES
        is_shown |= bool(item.images) and not has_picture
        files += len(item.attachments)
        has_picture |= bool(item.images)
        if is_shown:
            chosen.append(item)
    return chosen


def head_title(title: str, site: str) -> str:
    """Return `Title – Site` if it is short enough, else as much of the title as fits."""
    whole = title if title == site else f"{title} – {site}"
    for text in (whole, title):
        # The escaped length counts: html-validate counts `&amp;` as five characters.
        if len(escape(text)) <= MAX_TITLE:
            return text
    limit = MAX_TITLE
    while len(escape(title[: limit - 1])) > MAX_TITLE - 1:
        limit -= 1
    return shorten(title, limit, keep=20, strip=" ,;:–-")


def _formats(name: str, language: str) -> list[dict[str, str]]:
    return [
        {"name": _FORMAT_NAMES[ending], "type": media_type, "path": feed_path(language, name, ending)}
        for ending, media_type in FORMATS.items()
    ]


def _section(kind: str, items: Sequence[Item], site: SiteView) -> PageSection:
    return PageSection(
        kind,
        kind_label(kind, site.language),
        tuple(build_page_item(item, site, "../", whole=False) for item in items[:_PER_KIND]),
        section_path(site.language, "kinds", section_slug(kind)) if len(items) > _PER_KIND else "",
    )


def _resources(items: Iterable[Item], site: SiteView) -> Iterator[Resource]:
    for item in items:
        if item.attachments:
            view = build_page_item(item, site, "../", whole=False)
            yield from (Resource(file, view.title, view.path) for file in view.files)


def _alternates(site: SiteView, paths: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the page in all languages, including its own, for search engines."""
    if len(paths) < 2:
        return []
    return [_alternate(language, site.url + path) for language, path in paths.items()]


def _alternate(language: str, url: str) -> dict[str, str]:
    return {"language": language, "url": ascii_url(url), "locale": open_graph_locale(language)}


def _first_picture(items: Sequence[PageItem], site: SiteView) -> dict[str, str] | None:
    """Return the picture for a list of items: the first picture of the items, or the logo."""
    item = next((item for item in items if item.picture), None)
    if item is not None and item.picture is not None:
        return {"url": item.image_url, "alt": item.picture.alt}
    return {"url": ascii_url(site.logo_url), "alt": one_line(site.title)} if site.logo_url else None


def _pager(number: int, older: int, path: Callable[[int], str]) -> dict[str, str]:
    """Return the paths of the next newer and the next older page, or ''."""
    newer = path(number + 1 if number < older else 0) if number else ""
    following = number - 1 if number else older
    return {"newer": newer, "older": path(following) if following else ""}
