"""Translations on a website that are linked late: nobody gets a story twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tests.sources.site import Page, Website
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick
from tidings.store.content.items import load_items
from tidings.store.people import subscribers

START = datetime(2026, 3, 2, 1, tzinfo=UTC)
STEP, DAY = timedelta(hours=3), timedelta(days=1)
SOURCES = "sources:\n" + "".join(
    f"  site-{language}: {{type: page, url: BASE/{language}/, language: {language}, items: 'main a', pause: 0s,"
    " every: 1h, allow_private: true}\n"
    for language in ("en", "ru")
)
DAILY = 'cadence: {daily: "09:00"}\ndeliver:\n  - {list: digest, frequency: daily}\n'


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    yield made
    made.close()


def tell(site: Website, **languages: list[str]) -> None:
    """Publish each story in some languages. Each page links its translations."""
    for language in ("en", "ru"):
        names = [name for name, spoken in languages.items() if language in spoken]
        links = "".join(f'<a href="/{language}/{name}">x</a>' for name in names)
        site.pages[f"/{language}/"] = Page(f"<html><body><main>{links} </main></body></html>".encode())
    for name, spoken in languages.items():
        others = "".join(f'<link rel="alternate" hreflang="{one}" href="/{one}/{name}">' for one in spoken)
        for one in spoken:
            page = f'<html lang="{one}"><head>{others if len(spoken) > 1 else ""}</head><body><main><article>'
            page += f"<h1>Story {name} ({one})</h1><p>Text.</p></article></main></body></html>"
            site.pages[f"/{one}/{name}"] = Page(page.encode())


def live(runtime: Runtime, days: float, until: float) -> None:
    now = START + days * DAY
    while now <= START + until * DAY:
        runtime.set_clock(now)
        runtime.fetch()
        tick(runtime, now)
        now += STEP


def read(folder: NewsroomFolder) -> dict[str, Counter[str]]:
    """Count how often each reader got each story, in any language."""
    shown: dict[str, Counter[str]] = {}
    for mail in folder.mails.received:
        result = set(re.findall(r"Story (\w+) \((?:en|ru)\)", mail.text))
        shown.setdefault(mail.recipient.partition("@")[0], Counter()).update(result)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize(("first", "begun"), [("en", 0.25), ("ru", 0.25), ("en", 0.875)])
def test_a_translation_that_comes_days_later_is_the_same_story(
    site: Website, database_url: str, tmp_path: Path, first: str, begun: float
) -> None:
    """The first page links its translation later, before or after the next digest."""
    tell(site, old=["en", "ru"])
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        folder.write("schedules/daily.yaml", DAILY)
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        folder.write("tidings.yaml", main + SOURCES.replace("BASE", site.url))
        with folder.runtime() as runtime:
            live(runtime, 0, 0)
            with runtime.store.write() as connection:
                for who in ("en", "ru"):
                    subscribers.add(
                        connection, f"{who}@example.org", "digest", language=who, frequency="daily", now=START,
                        confirmed=True,
                    )  # fmt: skip
            tell(site, old=["en", "ru"], forum=[first])
            live(runtime, begun, 2)
            tell(site, old=["en", "ru"], forum=["en", "ru"])
            live(runtime, 2.5, 6)
            with runtime.store.read() as connection:
                stories = {item.story for item in load_items(connection) if "forum" in item.title}
            assert len(stories) == 1, stories
    readers = read(folder)
    assert readers[first] == {"forum": 1}
    assert all(count == 1 for shown in readers.values() for count in shown.values()), readers
