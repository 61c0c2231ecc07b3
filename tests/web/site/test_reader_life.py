"""Everything that a reader does, in a real browser, by keyboard alone and with scripts off; and the look of each page.

`TIDINGS_PICTURES=FOLDER` saves pictures of each page, narrow and wide, light and dark, for a person to look at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tests.fixtures.newsroom_folder import MailServer, ReceivedMail, item, mail_server
from tests.servers.chromium import Tab, chromium
from tests.web.server import served
from tidings.runtime.init import init_newsroom
from tidings.runtime.newsroom import Runtime, open_runtime
from tidings.runtime.tick import tick
from tidings.store import schema as t
from tidings.store.people import subscribers
from tidings.web.app import newsroom_app

THURSDAY = datetime(2026, 9, 10, 4, tzinfo=UTC)
FRIDAY = datetime(2026, 9, 11, 4, 1, tzinfo=UTC)
"""A minute after nine in Almaty: the weekly digest is due."""
ADDRESS = "dana@example.org"


@dataclass
class Reader:
    """A person with a browser and a mailbox."""

    runtime: Runtime
    url: str
    mails: MailServer
    tab: Tab
    language: str
    pictures: Path
    _read: int = 0
    _seen: int = field(default=0)

    def mail(self) -> ReceivedMail:
        """Return the only mail since the last call."""
        self.runtime.answer_requests()
        self.runtime.deliver()
        mine = [mail for mail in self.mails.received if mail.recipient == ADDRESS]
        assert len(mine) == self._read + 1, [mail.message["Subject"] for mail in mine]
        self._read += 1
        return mine[-1]

    def link(self, mail: ReceivedMail, what: str) -> str:
        """Return the link of a mail, on the server of the test."""
        match = re.search(rf"https://news\.example\.org/({what}/\S*)", mail.text)
        assert match is not None, mail.text
        return self.url + match[1]

    def scanned(self, mail: ReceivedMail) -> None:
        """Let a mail scanner fetch every link of a mail and run its scripts. Nothing changes."""
        tables = (t.subscribers, t.subscriptions, t.consents, t.suppressions, t.deliveries, t.sign_up_requests)

        def known() -> list[list[tuple[object, ...]]]:
            with self.runtime.store.read() as connection:
                return [[tuple(row) for row in connection.execute(select(table))] for table in tables]

        before = known()
        html = mail.message.get_body(("html",))
        links = set(
            re.findall(r"https://news\.example\.org/([^\s\"<]*)", mail.text + html.get_content() if html else "")
        )
        assert links
        self.tab.scripts(on=True)
        for link in sorted(links):
            for method in ("HEAD", "GET"):
                assert httpx.request(method, self.url + link).status_code == 200, link
            if not link.startswith(("media/", "feeds")):
                self.tab.open(self.url + link)
        self.tab.scripts(on=False)
        assert known() == before

    def state(self) -> str | None:
        with self.runtime.store.read() as connection:
            return next(
                (subscription.state for subscription in subscribers.subscriptions(connection, address=ADDRESS)), None
            )

    def chosen(self) -> tuple[str, tuple[str, ...], bool]:
        """Return frequency, topics and pause."""
        with self.runtime.store.read() as connection:
            [one] = subscribers.subscriptions(connection, address=ADDRESS)
            paused = connection.exec_driver_sql("SELECT paused_until FROM subscriptions").scalar_one()
        return one.frequency, one.topics, paused is not None

    def sees(self, name: str) -> None:
        """Check the page narrow and wide, light and dark."""
        self._seen += 1
        direction = "rtl" if self.language == "ar" else "ltr"
        assert self.tab.look("document.documentElement.dir") == direction
        assert self.tab.look("document.documentElement.lang") == self.language
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                self.tab.screen(width, scheme=scheme)
                where = f"{self._seen:02}-{name}-{self.language}-{width}-{scheme}"
                assert self.tab.overflow() <= 0, where
                # Mail programs show a letter inside a page that has the landmarks.
                ours = ("landmark-one-main", "region") if name == "letter" else ()
                assert [rule for rule, _ in self.tab.axe() if rule not in ours] == [], where
                self.tab.picture(self.pictures / f"{where}.png")


@pytest.fixture(params=["ru", "ar"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    root = init_newsroom(tmp_path / "newsroom")
    pictures = Path(os.environ.get("TIDINGS_PICTURES", tmp_path / "pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    main = (root / "tidings.yaml").read_text(encoding="utf-8")
    with mail_server() as (mails, port):
        for old, new in (
            ("languages: [en, ru, kk]", "languages: [en, ru, kk, ar]"),
            ("port: 1025", f"port: {port}"),
            ("host: localhost", "host: 127.0.0.1"),
            ("title: {en: Dala Partnership,", "title: {en: Dala Partnership, ar: شراكة دالا,"),
            ("name: {en: News digest,", "name: {en: News digest, ar: موجز الأخبار,"),
            ("name: {en: Press releases,", "name: {en: Press releases, ar: البيانات الصحفية,"),
            ("youth: {en: Youth,", "youth: {en: Youth, ar: الشباب,"),
            ("public: false ", "public: true "),
        ):
            assert old in main, old
            main = main.replace(old, new)
        (root / "tidings.yaml").write_text(main, encoding="utf-8")
        with open_runtime(root, {}) as runtime:
            runtime.set_clock(THURSDAY)
            tick(runtime, THURSDAY)
            with served(newsroom_app(runtime)) as url, chromium(tmp_path / "profile", request.param) as tab:
                yield Reader(runtime, url, mails, tab, request.param, pictures)


@pytest.mark.slow
def test_the_whole_life_of_a_reader_by_keyboard_without_scripts(reader: Reader) -> None:
    _joins(reader)
    _confirms(reader)
    _chooses(reader)
    edition = _reads(reader)
    _leaves(reader, edition)
    _is_forgotten(reader, edition)


def _joins(reader: Reader) -> None:
    tab = reader.tab
    tab.open(f"{reader.url}{reader.language}/")
    tab.tab_to(tag="a", href="/subscribe/")
    tab.key("Enter", leads_on=True)
    reader.sees("subscribe")
    tab.tab_to(name="email")
    tab.write("dana")
    tab.key("Enter", leads_on=True)
    assert tab.look("document.querySelector('[aria-invalid]').getAttribute('aria-describedby')") == "email-error"
    reader.sees("subscribe-mended")
    tab.tab_to(name="email")
    tab.write(ADDRESS)  # the old text was selected when the field got the focus
    if not tab.tab_to(name="list", value="digest")["checked"]:
        tab.key(" ")
    tab.choose("language", reader.language)
    tab.choose("frequency", "weekly")
    tab.tab_to(name="topic", value="youth")
    tab.key(" ")
    tab.tab_to(tag="button")
    tab.key("Enter", leads_on=True)
    reader.sees("asked")


def _confirms(reader: Reader) -> None:
    tab, mail = reader.tab, reader.mail()
    assert mail.message["Content-Language"] == reader.language
    reader.scanned(mail)
    body = mail.message.get_body(("html",))
    assert body is not None
    letter = reader.pictures / f"letter-{reader.language}.html"
    letter.write_text(body.get_content(), encoding="utf-8")
    tab.open(letter.as_uri())
    reader.sees("letter")
    link = reader.link(mail, "confirm")
    tab.open(link)
    reader.sees("confirm")
    assert reader.state() == "pending"
    tab.tab_to(tag="button")
    tab.key("Enter", leads_on=True)
    assert reader.state() == "confirmed"
    reader.sees("confirmed")
    assert reader.chosen() == ("weekly", ("youth",), False)


def _chooses(reader: Reader) -> None:
    tab = reader.tab
    tab.tab_to(tag="a", href="/preferences/")
    tab.key("Enter", leads_on=True)
    reader.sees("preferences")
    tab.choose("frequency.digest", "daily")
    tab.choose("pause", "30")
    tab.tab_to(value="save")
    tab.key("Enter", leads_on=True)
    assert tab.look("document.querySelector('[role=status]').innerText")
    reader.sees("saved")
    assert reader.chosen() == ("daily", ("youth",), True)
    tab.choose("frequency.digest", "weekly")
    tab.choose("pause", "0", arrow="ArrowUp")
    tab.tab_to(value="save")
    tab.key("Enter", leads_on=True)
    assert reader.chosen() == ("weekly", ("youth",), False)


def _reads(reader: Reader) -> ReceivedMail:
    """The reader gets an edition with a story, and opens its archive page."""
    news = item("A forum of youth", topics="[youth]", published="2026-09-10T15:00")
    (reader.runtime.newsroom.root / "content" / f"forum-of-youth.{reader.language}.md").write_text(
        news, encoding="utf-8"
    )
    for moment in (THURSDAY.replace(hour=11), FRIDAY):
        reader.runtime.set_clock(moment)
        tick(reader.runtime, moment)
    edition = reader.mail()
    reader.tab.open(reader.link(edition, "archive"))
    assert "A forum of youth" in reader.tab.words
    assert reader.tab.overflow() <= 0
    return edition


def _leaves(reader: Reader, edition: ReceivedMail) -> None:
    tab, link = reader.tab, reader.link(edition, "unsubscribe")
    reader.scanned(edition)
    tab.open(link)
    reader.sees("leave")
    tab.tab_to(tag="a", href="#pause")
    tab.key("Enter", leads_on=True)
    assert reader.state() == "confirmed"
    tab.choose("pause", "14")
    tab.tab_to(value="save")
    tab.key("Enter", leads_on=True)
    assert reader.chosen()[2]
    tab.tab_to(tag="a", href="/unsubscribe/")
    tab.key("Enter", leads_on=True)
    tab.tab_to(tag="button")
    tab.key("Enter", leads_on=True)
    assert reader.state() == "unsubscribed"
    reader.sees("left")


def _is_forgotten(reader: Reader, edition: ReceivedMail) -> None:
    tab = reader.tab
    tab.open(reader.link(edition, "preferences"))
    reader.sees("nothing-left")
    tab.tab_to(tag="button", value="erase")
    tab.key("Enter", leads_on=True)
    reader.sees("erase-asked")
    mail = reader.mail()
    reader.scanned(mail)
    tab.open(reader.link(mail, "erase"))
    reader.sees("erase")
    assert reader.state() == "unsubscribed"
    tab.tab_to(tag="button")
    tab.key("Enter", leads_on=True)
    assert reader.state() is None
    reader.sees("forgotten")
    tab.open(reader.link(edition, "preferences"))
    reader.sees("unknown")
