"""Previews of posts as HTML pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markupsafe import escape
from PIL import Image

from tests.fixtures.newsroom import HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.servers.judges import html_validate
from tidings.runtime.preview.plan import open_scratch_runtime
from tidings.runtime.preview.preview import PreviewedMessage, make_post_pages, preview_edition, preview_schedule

CHANNELS = """channels:
  sky: {type: bluesky, handle: a.org, password: {env: DESK_SECRET}, languages: [kk, ru, en], translations: thread}
  page: {type: linkedin, organization: "1", token: {env: DESK_SECRET}, languages: [ar]}
  elephant: {type: mastodon, server: https://m.example/, token: {env: DESK_SECRET}, languages: [en]}
  bot: {type: telegram, token: {file: bot.txt}, chat: "@steppe", languages: [en]}
"""
TITLE = 'Water <b>&</b> "rivers"'


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as running:
        media = running.folder.root / "content" / "media"
        media.mkdir()
        Image.effect_noise((1600, 900), 60).save(media / "a well.jpg")
        (running.folder.root / "bot.txt").write_text("123456789:AAEhBOweik6ad9r-QXuP2ecExampleKey\n")
        running.configure("languages: [en, ru, kk]\n  timezone", "languages: [en, ru, kk, ar]\n  timezone")
        running.configure("channels:\n", CHANNELS)
        running.schedule(
            "daily",
            'cadence: {daily: "09:00"}\ndeliver:\n'
            + "".join(f"  - {{channel: {name}, per: item}}\n" for name in ("sky", "page", "elephant", "bot", "team")),
        )
        running.tick(MONDAY - 2 * HOUR)
        picture = '[{src: media/a well.jpg, alt: "A girl <at> a well"}]'
        for language, title in (("en", TITLE), ("ru", "Вода"), ("kk", "Су"), ("ar", "ماء نظيف")):
            running.item("water", language, title, summary=f"In short ({language}).", images=picture)
        running.tick(MONDAY - HOUR)
        yield running


def shown(newsroom: RunningNewsroom, folder: Path) -> dict[str, str]:
    """Return the pages that `preview` writes, by name."""
    with open_scratch_runtime(newsroom.runtime) as copy:
        result = preview_schedule(copy, copy.newsroom.schedules["daily"], MONDAY, None)
    return written(result, folder)


def written(result: list[PreviewedMessage], folder: Path) -> dict[str, str]:
    folder.mkdir()
    pages = dict(make_post_pages(result, "#0077b6"))
    for name, content in [*(file for one in result for file in one.files()), *pages.items()]:
        (folder / name).write_bytes(content)
    return {name: content.decode() for name, content in pages.items()}


def test_each_post_shows_its_length_and_card(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    pages = shown(newsroom, tmp_path / "shown")
    names = ["bot-en", "elephant-en", "page-ar", "sky-en", "sky-kk", "sky-ru", "team-en"]
    assert sorted(pages) == [*(f"daily-1-{name}-water.html" for name in names), "posts.html"]
    for name in names[:-1]:
        page, picture = pages[f"daily-1-{name}-water.html"], f"daily-1-{name}-water.jpg"
        assert f'<img src="{picture}"' in page and f'src="{picture}"' in pages["posts.html"]
        with Image.open(tmp_path / "shown" / picture) as result:
            assert result.format == "JPEG"
        assert re.search(r"In short \(\w\w\)", page)
    assert "A girl &lt;at&gt; a well" in pages["daily-1-page-ar-water.html"]
    for name, limit in (("sky-kk", "300"), ("page-ar", "3,000"), ("elephant-en", "500"), ("bot-en", "4,096")):
        assert re.search(rf">[0-9,]+ of {limit}, as the network counts<", pages[f"daily-1-{name}-water.html"])
    assert 'lang="ar" dir="rtl"' in pages["daily-1-page-ar-water.html"]
    assert "makes this card of our page" in pages["daily-1-elephant-en-water.html"]
    assert "makes this card" not in pages["daily-1-sky-kk-water.html"]
    order = re.findall(r"reply ([0-9]) to the first post", pages["posts.html"])
    assert order == ["1", "2"]


@pytest.mark.slow
def test_the_pages_are_valid_and_load_only_local_pictures(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    folder = tmp_path / "shown"
    pages = shown(newsroom, folder)
    assert html_validate(*(folder / name for name in pages), extends=("recommended",)) == []
    everything = "".join(pages.values())
    assert "<script" not in everything and "<b>" not in everything
    assert escape(TITLE) in pages["posts.html"]
    assert set(re.findall(r'src="([^"]+)"', everything)) == {path.name for path in folder.glob("*.jpg")}


def test_a_post_waiting_for_a_translation_says_so(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    newsroom.configure(
        "languages: [kk, ru, en], translations: thread", "languages: [kk, ru], wait_for_translations: 48h"
    )
    newsroom.item("new", "ru", "Новость")
    newsroom.tick(MONDAY - HOUR / 2)
    pages = shown(newsroom, tmp_path / "shown")
    assert ">new waits for its translation in kk<" in pages["daily-1-sky-ru-new.html"]
    text = (tmp_path / "shown" / "daily-1-sky-ru-new.txt").read_text(encoding="utf-8")
    assert "[new waits for its translation in kk]" in text
    assert "waits for" not in pages["daily-1-sky-kk-water.html"]


def test_an_edition_shows_its_frozen_posts(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    newsroom.schedule(
        "daily", 'cadence: {daily: "09:00"}\napproval: {by: [boss@example.org]}\ndeliver: [{channel: sky}]\n'
    )
    newsroom.tick(MONDAY)
    newsroom.item("water", "kk", "Another title")
    newsroom.tick(MONDAY + HOUR)
    pages = written(preview_edition(newsroom.runtime, newsroom.edition("daily/1"), None), tmp_path / "frozen")
    assert "Another title" not in "".join(pages.values()) and ">Су<" in pages["daily-1-sky-kk.html"]
    assert re.findall(r"reply ([0-9]) to the first post", pages["posts.html"]) == ["1", "2"]
    assert "the whole edition" in pages["posts.html"]
