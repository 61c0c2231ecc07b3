"""The edition archive shows what was sent, without any personal part, and leaves some editions out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import feedparser
import httpx
import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, WEEKLY, RunningNewsroom, open_newsroom
from tests.servers.judges import html_validate
from tests.web.server import served
from tidings.pipeline.publish.archive import publish_archive
from tidings.web.app import newsroom_app

MAIL_RULES = {"prefer-native-element": ["error", {"exclude": ["article"]}]}


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url) as opened:
        opened.schedule("daily", DAILY)
        opened.reader("anna")
        opened.reader("boris", language="ru", topics=("water",))
        opened.tick(MONDAY - 12 * HOUR)
        opened.item("one", title="A well & a road", topics="[water]")
        opened.item("one", "ru", title="Колодец и дорога", topics="[water]")
        opened.item("two", "ru", title="Школа")
        yield opened


def page(newsroom: RunningNewsroom, path: str) -> str:
    file = newsroom.runtime.newsroom.public / "archive" / path
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def test_archive_page_appears_before_the_first_mail(
    newsroom: RunningNewsroom,
) -> None:
    newsroom.tick(MONDAY - HOUR)
    assert page(newsroom, "digest/1/en/index.html") == ""
    newsroom.tick(MONDAY, deliver=False)
    assert "A well &amp; a road" in page(newsroom, "digest/1/en/index.html")


def test_archive_page_is_complete_and_not_personal(
    newsroom: RunningNewsroom,
) -> None:
    newsroom.tick(MONDAY)
    (mail,) = newsroom.read("boris@example.org")
    russian = page(newsroom, "digest/1/ru/index.html")
    assert mail == ["one"]
    assert "Школа" in russian
    assert '<html lang="ru" dir="ltr"' in russian
    for text in (russian, page(newsroom, "digest/1/en/index.html")):
        assert "unsubscribe" not in text
        assert "preferences" not in text
        assert "@@" not in text
        assert "https://news.example.org/subscribe/digest" in text
    assert "You get this because" not in page(newsroom, "digest/1/en/index.html")


def test_mails_link_to_the_archive_page(newsroom: RunningNewsroom) -> None:
    newsroom.reader("clara")
    newsroom.tick(MONDAY)
    for reader, language in (("anna", "en"), ("clara", "en"), ("boris", "ru")):
        (mail,) = newsroom.mails(f"{reader}@example.org")
        assert f"https://news.example.org/archive/digest/1/{language}\r\n" in mail.text
        assert mail.message["List-Archive"] == "<https://news.example.org/archive/digest/>"


def test_a_second_schedule_of_a_list_goes_on_counting(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("weekly", WEEKLY)
    newsroom.reader("dana", frequency="weekly")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("three", title="Bridge")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.editions() == ["daily/1 done", "weekly/1 done"]
    assert "Bridge" in page(newsroom, "digest/2/en/index.html")
    (mail,) = newsroom.mails("dana@example.org")
    assert "/archive/digest/2/en\r\n" in mail.text


def test_withdrawn_stories_are_marked_in_the_archive(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    newsroom.item("one", title="A well & a road", withdrawn="Published in error.")
    newsroom.tick(MONDAY + HOUR)
    text = page(newsroom, "digest/1/en/index.html")
    assert "This publication has been withdrawn." in text
    assert "Published in error." in text
    for path in ("digest/1/en/index.html", "digest/index.html", "digest/en.atom"):
        assert page(newsroom, path)
        assert "A well" not in page(newsroom, path)
    assert "Школа" in page(newsroom, "digest/1/ru/index.html")


def test_no_page_for_held_editions_and_private_lists(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org]}\n")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 held"]
    assert page(newsroom, "digest/1/en/index.html") == ""
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "me")
    newsroom.tick(MONDAY + HOUR)
    assert page(newsroom, "digest/1/en/index.html")
    with served(newsroom_app(newsroom.runtime)) as url:
        assert httpx.get(f"{url}archive/digest/1/en").status_code == 200
        newsroom.configure("digest: {name: Digest,", "digest: {name: Digest, public: false,")
        newsroom.tick(MONDAY + 2 * HOUR)
        for path in ("archive/digest/1/en", "archive/digest/", "archive/digest/en.atom", "archive/nothing/"):
            assert httpx.get(url + path).status_code == 404
    newsroom.item("three")
    newsroom.schedule("daily", DAILY)
    newsroom.tick(MONDAY + DAY)
    mail = newsroom.mails("anna@example.org")[-1]
    assert "/archive/" not in mail.text
    assert mail.message["List-Archive"] is None


def test_archive_page_is_served_without_a_redirect(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    with served(newsroom_app(newsroom.runtime)) as url:
        answer = httpx.get(f"{url}archive/digest/1/ru")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert httpx.get(f"{url}archive/digest/").status_code == 200
        assert httpx.get(f"{url}archive/digest/9/ru").status_code == 404


def test_the_index_and_the_feed_name_every_edition(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    newsroom.item("three", "ru", title="Мост", topics="[water]")
    newsroom.tick(MONDAY + DAY)
    index = page(newsroom, "digest/index.html")
    assert re.findall(r'href="/(archive/digest/\d/\w\w)"', index) == [
        "archive/digest/2/ru", "archive/digest/1/en", "archive/digest/1/ru"
    ]  # fmt: skip
    assert '<html lang="ru" dir="ltr">' in page(newsroom, "digest/ru/index.html")
    feed = feedparser.parse(page(newsroom, "digest/ru.atom"))
    assert not feed.bozo
    assert [entry.link for entry in feed.entries] == [
        "https://news.example.org/archive/digest/2/ru", "https://news.example.org/archive/digest/1/ru"
    ]  # fmt: skip
    assert len({entry.id for entry in feed.entries}) == 2


def test_archive_root_names_the_public_lists(newsroom: RunningNewsroom) -> None:
    newsroom.configure("languages: [en, ru, kk]", "languages: [ar, en, ru, kk]")
    newsroom.configure("digest: {name: Digest,", "digest: {name: {ar: الملخص, en: Digest},")
    newsroom.configure("  press: {name: Press,", "  press: {name: Press, public: false,")
    newsroom.tick(MONDAY)
    text = page(newsroom, "index.html")
    assert '<html lang="ar" dir="rtl">' in text
    assert re.findall(r'<a href="/(archive/[^"]+)">([^<]+)</a>', text) == [("archive/digest/", "الملخص")]
    with served(newsroom_app(newsroom.runtime)) as url:
        assert httpx.get(f"{url}archive/").text == text
        assert httpx.get(f"{url}archive").headers["location"] == "./archive/"
        newsroom.configure("الملخص, en: Digest},", "الملخص, en: Digest}, public: false,")
        newsroom.tick(MONDAY + HOUR)
        assert httpx.get(f"{url}archive/").status_code == 404


def test_an_edition_is_rendered_once_for_the_archive(
    newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsroom.tick(MONDAY)
    runtime = newsroom.runtime
    assert publish_archive(runtime.store, runtime.newsroom, now=newsroom.now).written == ()
    assert publish_archive(runtime.store, runtime.newsroom, now=newsroom.now, force=True).written == ()
    newsroom.item("three", title="Bridge")
    rendered: list[str] = []
    real = publish_archive.__globals__["render_archived_edition"]
    monkeypatch.setitem(
        publish_archive.__globals__,
        "render_archived_edition",
        lambda *a, **k: (rendered.append(k["url"]), real(*a, **k))[1],
    )
    newsroom.tick(MONDAY + DAY)
    assert rendered == ["https://news.example.org/archive/digest/2/en"]


def test_mails_per_story_have_their_own_pages(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY.replace("frequency: daily", "frequency: daily, per: item"))
    newsroom.item("three", title="Bridge")
    newsroom.tick(MONDAY)
    listing = page(newsroom, "digest/1/en/index.html")
    assert re.findall(r'href="/(archive/digest/1/en/\d)"', listing)
    shown = [page(newsroom, f"digest/1/en/{part}/index.html") for part in (1, 2, 3)]
    assert sum("Bridge</" in text for text in shown) == 1
    for mail in newsroom.mails("anna@example.org"):
        match = re.search(r"https://news\.example\.org/archive/(digest/1/en/\d)\r\n", mail.text)
        assert match is not None
        assert page(newsroom, f"{match[1]}/index.html")


@pytest.mark.slow
def test_every_page_is_valid_html(newsroom: RunningNewsroom) -> None:
    newsroom.tick(MONDAY)
    root = newsroom.runtime.newsroom.public / "archive" / "digest"
    assert (
        html_validate(
            root.parent / "index.html", root / "index.html", root / "ru" / "index.html", extends=("recommended",)
        )
        == []
    )
    mails = [root / "1" / language / "index.html" for language in ("en", "ru")]
    assert html_validate(*mails, extends=("document", "a11y"), rules=MAIL_RULES) == []
