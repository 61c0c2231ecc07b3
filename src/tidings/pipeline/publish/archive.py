"""Publish the archive of public lists: a page for each sent edition and language, an index and a feed for each list.

The page of an edition is written when sending begins. Later only withdrawn stories change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

import tidings
from tidings.config.settings import Newsroom
from tidings.pipeline.publish.site_files import SiteFile, feed_links, site_view
from tidings.pipeline.publish.writing import PublishResult, publish_lock, write_files
from tidings.render.feeds.rss_atom import ArchiveEntry, render_archive_feed
from tidings.render.i18n import format_date, language_name, load_catalogue
from tidings.render.mail.digest import MailLayout
from tidings.render.mail.fragments import MailDocument
from tidings.render.pages.archive import build_headline, find_withdrawn, render_archived_edition
from tidings.render.pages.pages import PageContext, Pages
from tidings.render.urls import archive_path
from tidings.store.content import edition_archive, editions, site_files
from tidings.store.content.edition_archive import ArchivedMail
from tidings.store.engine import Store
from tidings.store.key_values import delete_value, find_value, set_value

ROOT = "archive/"
_FACT = "archived"


def publish_archive(store: Store, newsroom: Newsroom, *, now: datetime, force: bool = False) -> PublishResult:
    """Update public/archive/. Fast if nothing was sent or withdrawn; `force` renders everything again."""
    with store.read() as connection:
        public = [name for name, settings in newsroom.lists.items() if settings.public]
        rows = edition_archive.sent_mails(connection, public)
        withdrawn = edition_archive.withdrawal_reasons(connection)
        done = find_value(connection, _FACT) or ""
    basis = _hash((tidings.__version__, newsroom.site.url, public, withdrawn))
    lists = [(name, newsroom.lists[name].name, newsroom.lists[name].was) for name in public]
    stamp = f"{basis} {_hash((newsroom.site, lists, rows))}"
    # After a restore, or `rm -rf public`.
    force = force or (bool(rows) and not (newsroom.public / ROOT).is_dir())
    if done == stamp and not force:
        return PublishResult()
    with publish_lock(newsroom.public):
        with store.read() as connection:
            known = {path: file for path, file in site_files.load_files(connection).items() if path.startswith(ROOT)}
        archive = _Archive(store, newsroom, public, rows, withdrawn, basis)
        published, complete = write_files(store, newsroom, known, archive.wanted(), now, basis, force=force)
        with store.write() as connection:
            if complete:
                set_value(connection, _FACT, stamp)
            else:
                delete_value(connection, _FACT)
    return published


def _hash(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Mail:
    row: ArchivedMail
    arrangement: MailLayout
    subject: str
    preheader: str

    @property
    def path(self) -> str:
        return archive_path(self.row.list, self.row.number, self.row.language, self.row.part)


class _Archive:
    """The files that public/archive/ should contain."""

    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        public: Sequence[str],
        rows: Sequence[ArchivedMail],
        withdrawn: dict[str, str],
        basis: str,
    ) -> None:
        self._store = store
        self._newsroom = newsroom
        self._public = public
        self._pages = Pages(newsroom.root / "templates")
        self._withdrawn = withdrawn
        self._basis = basis
        with store.read() as connection:
            self._mails = [self._mail(connection, row) for row in rows]

    def _mail(self, connection: Connection, row: ArchivedMail) -> _Mail:
        stored = editions.get_arrangements(connection, [row.selection])[row.selection]
        arrangement = MailLayout.from_json(stored)
        subject, preheader = arrangement.subject, arrangement.preheader
        if find_withdrawn(arrangement, self._withdrawn):
            document = _document(connection, row)
            subject, preheader = build_headline(document, arrangement, self._withdrawn)
        return _Mail(row, arrangement, subject, preheader)

    def mails(self) -> Iterator[SiteFile]:
        """Yield the mails by path. A renamed list has them at the paths of its former name too."""
        for mail in self._mails:
            row, content = mail.row, partial(self._render, mail)
            yield SiteFile(f"{mail.path}/index.html", content, basis=self._basis)
            former = self._newsroom.former_name("list", row.list)
            if former is not None:
                old = archive_path(former, row.number, row.language, row.part)
                yield SiteFile(f"{old}/index.html", content, basis=self._basis)

    def wanted(self) -> Iterator[SiteFile]:
        yield from self.mails()
        if self._public:
            yield SiteFile(f"{ROOT}index.html", self._lists)
        for name in self._public:
            list_mails = [page for page in self._mails if page.row.list == name]
            languages = list(
                dict.fromkeys([*self._newsroom.site.languages, *(page.row.language for page in list_mails)])
            )
            yield from self._parts(name, list_mails, languages)
            for language in languages:
                index = partial(self._index, name, language, list_mails, languages)
                yield SiteFile(archive_path(name, language=language) + "index.html", index)
                own = [page for page in list_mails if page.row.language == language]
                if own:
                    yield SiteFile(_feed(name, language), partial(self._feed, name, language, own))
            yield SiteFile(
                archive_path(name) + "index.html", partial(self._index, name, languages[0], list_mails, languages)
            )

    def _render(self, mail: _Mail) -> bytes:
        """Render a mail from its frozen parts."""
        row, url = mail.row, self._newsroom.site.url
        with self._store.read() as connection:
            document = _document(connection, row)
        return render_archived_edition(
            document,
            mail.arrangement,
            url=url + mail.path,
            feed_url=url + _feed(row.list, row.language),
            archive_url=url + self._home(row.list, row.language),
            subscribe_url=f"{url}subscribe/{row.list}",
            withdrawn=self._withdrawn,
        )

    def _home(self, name: str, language: str) -> str:
        return archive_path(name, language="" if language == self._newsroom.site.languages[0] else language)

    def _frame(self, language: str, languages: Sequence[str]) -> PageContext:
        links = tuple(link for each in self._newsroom.site.languages for link in feed_links(self._newsroom, each))
        return PageContext(site_view(self._newsroom, language, languages), links)

    def _title(self, name: str, language: str) -> str:
        title = self._newsroom.lists[name].name.get(language, self._newsroom.site.languages[0])
        return load_catalogue(language).gettext("Archive: %(list)s") % {"list": title}

    def _lists(self) -> bytes:
        """Render the page with all lists, in the site's first language."""
        language = self._newsroom.site.languages[0]
        names = [(name, self._newsroom.lists[name].name.get(language, language)) for name in self._public]
        values = {"lists": [{"path": archive_path(name), "title": title} for name, title in names], "editions": []}
        title = load_catalogue(language).gettext("All editions")
        return self._pages.archive_page(self._frame(language, [language]), title, values, {language: ROOT})

    def _index(self, name: str, language: str, list_mails: Sequence[_Mail], languages: Sequence[str]) -> bytes:
        """Render the index of a list: each edition once, in this language if it exists, else in its first language."""
        shown = []
        for _, group in groupby(list_mails, key=lambda page: page.row.number):
            pages = list(group)
            own = [page for page in pages if page.row.language == language] or pages[:1]
            for first in own:
                same = [page for page in pages if page.row.part == first.row.part and page is not first]
                shown.append(self._line(first, same, language))
        values: dict[str, Any] = {"editions": shown, "subscribe": f"subscribe/{name}"}
        if any(page.row.language == language for page in list_mails):
            values["feed"] = _feed(name, language)
        paths = {each: self._home(name, each) for each in languages}
        return self._pages.archive_page(self._frame(language, languages), self._title(name, language), values, paths)

    def _parts(self, name: str, list_mails: Sequence[_Mail], languages: Sequence[str]) -> Iterator[SiteFile]:
        """Yield, for each edition with one mail per story, the page that lists its mails."""
        single = [page for page in list_mails if page.row.part]
        for (number, language), group in groupby(single, key=lambda page: (page.row.number, page.row.language)):
            pages = list(group)
            there = {page.row.language for page in single if page.row.number == number}
            present = [each for each in languages if each in there]
            paths = {each: archive_path(name, number, each) for each in present}
            values = {
                "editions": [self._line(page, [], language) for page in pages],
                "up": self._home(name, language),
            }
            frame = self._frame(language, present)
            title = self._title(name, language)
            page = partial(self._pages.archive_page, frame, title, values, paths)
            yield SiteFile(archive_path(name, number, language) + "/index.html", page)

    def _line(self, page: _Mail, others: Sequence[_Mail], language: str) -> dict[str, Any]:
        zone = self._newsroom.site.timezone
        return {
            "path": page.path,
            "language": page.row.language,
            "title": page.subject,
            "iso": page.row.at.isoformat(),
            "date": format_date(page.row.at, language, zone),
            "others": [
                {"path": each.path, "language": each.row.language, "name": language_name(each.row.language)}
                for each in others
            ],
        }

    def _feed(self, name: str, language: str, own: Sequence[_Mail]) -> bytes:
        entries = [ArchiveEntry(page.path, language, page.subject, page.preheader, page.row.at) for page in own[:30]]
        site = site_view(self._newsroom, language, self._newsroom.site.languages)
        return render_archive_feed(
            site, self._title(name, language), _feed(name, language), self._home(name, language), entries
        )


def _document(connection: Connection, row: ArchivedMail) -> MailDocument:
    return MailDocument.from_json(json.loads(editions.get_rendition(connection, row.rendition).raw))


def _feed(name: str, language: str) -> str:
    return f"{ROOT}{name}/{language}.atom"
