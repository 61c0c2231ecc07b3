"""Two weeks of a newsroom that reads a website: each reader gets each story once."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tests.sources.site import Page, Story, Website, rss
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick
from tidings.store.delivery import ledger
from tidings.store.people import subscribers

START = datetime(2026, 3, 2, 1, tzinfo=UTC)
STEP = timedelta(hours=6)
LANGUAGES = ("en", "ru", "kk")
OLD, NEW = 40, 20

SOURCES = "sources:\n" + "".join(
    f"  site-{language}:\n    type: feed\n    url: {{base}}/{language}.xml\n    language: {language}\n    every: 1h\n"
    "    story: '/news/(\\d+)-'\n    allow_private: true\n"
    for language in LANGUAGES
)


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    yield made
    made.close()


@dataclass
class Editors:
    """The editors of the website. They make every change that real feeds show."""

    site: Website
    rng: random.Random
    stories: dict[str, list[Story]] = field(default_factory=lambda: {language: [] for language in LANGUAGES})

    def write(self, number: int, published: datetime) -> None:
        for language in LANGUAGES:
            link = f"{self.site.url}/{language}/news/{number}-a-story"
            title = f"Story {number} of the website ({language})"
            body = f"<p>What happened in {number}, told in {language}.</p>"
            self.stories[language].insert(0, Story("s", title, body, published, f"{number}-{language}", "", link))

    def meddle(self, step: int) -> None:
        """Edit stories, change dates, delete a story. Once, give all stories new ids; once, new URLs."""
        for language, told in self.stories.items():
            place = self.rng.randrange(len(told))
            one = told[place]
            told[place] = replace(one, body=one.body + "<p>An edit.</p>")
            place = self.rng.randrange(len(told))
            bumped = (told[place].published or START) + timedelta(hours=30)
            told[place] = replace(told[place], published=bumped)
            if step % 9 == 4:
                del told[self.rng.randrange(len(told) - 8, len(told))]
            if step == 16:
                self.stories[language] = [replace(one, guid="urn:new:" + one.guid) for one in told]
            if step == 24:
                moved = [
                    replace(one, link=one.link.replace("/news/", "/2026/news/") + "?utm_source=rss") for one in told
                ]
                self.stories[language] = moved

    def serve(self, *, down: bool) -> None:
        for language, told in self.stories.items():
            page = Page(rss(told[:25], self.site.url, language))
            self.site.pages[f"/{language}.xml"] = Page(b"", 503) if down else page


@pytest.mark.slow
def test_two_weeks_of_a_website(site: Website, database_url: str, tmp_path: Path) -> None:
    editors = Editors(site, random.Random(20261124))
    for number in range(OLD):
        editors.write(number, START - timedelta(days=OLD - number))
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        folder.write(
            "schedules/daily.yaml",
            'cadence: {daily: "09:00"}\nselect: {max_items: 100}\ndeliver:\n  - {list: digest, frequency: daily}\n',
        )
        with folder.runtime() as runtime:
            runtime.set_clock(START)
            tick(runtime, START)
            add_readers(runtime)
        # The website is added to a newsroom that is running already.
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        folder.write("tidings.yaml", main + SOURCES.format(base=site.url))
        with folder.runtime() as runtime:
            live(runtime, editors)
        check(folder)


def add_readers(runtime: Runtime) -> None:
    with runtime.store.write() as connection:
        for number in range(9):
            subscribers.add(
                connection,
                f"reader{number}@example.org",
                "digest",
                language=LANGUAGES[number % 3],
                frequency="daily",
                now=START,
                confirmed=True,
            )


def live(runtime: Runtime, editors: Editors) -> None:
    coming = OLD
    for step in range(1, 15 * 4 + 1):
        now = START + step * STEP
        if coming < OLD + NEW and step % 2 == 0:
            editors.write(coming, now - timedelta(hours=1))
            coming += 1
        editors.meddle(step)
        editors.serve(down=30 <= step < 38)
        runtime.set_clock(now)
        done = runtime.fetch(force=step == 38)
        assert all(bool(one.problem) == (30 <= step < 38) for one in done.values()), (step, done)
        tick(runtime, now)
    assert coming == OLD + NEW


def check(folder: NewsroomFolder) -> None:
    read: dict[str, Counter[str]] = {}
    for mail in folder.mails.received:
        if mail.recipient == "comms@example.org":
            continue
        links = set(re.findall(r"/(en|ru|kk)/(?:2026/)?news/(\d+)-", mail.text))
        number = int(re.sub(r"\D", "", mail.recipient))
        assert {language for language, _ in links} == {LANGUAGES[number % 3]}
        read.setdefault(mail.recipient, Counter()).update(story for _, story in links)
    expected = {str(number): 1 for number in range(OLD, OLD + NEW)}
    assert len(read) == 9
    for who, stories in read.items():
        assert dict(stories) == expected, who
    notices = [mail.text for mail in folder.mails.received if mail.recipient == "comms@example.org"]
    assert sum("cannot be read since" in text for text in notices) >= 1
    with folder.runtime() as runtime, runtime.store.read() as connection:
        assert {entry.state for entry in ledger.entries(connection)} <= {"accepted", "skipped"}
