"""Overlays: what editors add to a website's stories."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fixtures.mastodon import MastodonServer, open_mastodon_newsroom
from tests.fixtures.newsroom import HOUR, MONDAY
from tests.sources.site import Page, Story, Website, rss
from tests.sources.sources import MemoryFetchCache
from tests.sources.web.test_page import listing, story
from tidings.sources.base import SourceContext
from tidings.sources.web.feed import FeedSource, Settings
from tidings.sources.web.overlay import Overlay, parse_overlay
from tidings.store.content.items import load_items

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
WRITTEN = """\
lead: true
not_in: [digest, team]
topics: [sdg-4]
post: {team: Our own words., mastodon: Others.}
alt:
  SITE/a.jpg: A girl reads in a library
"""


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    body = f'<p>One</p><img src="{made.url}/a.jpg">'
    stories = [Story(f"12-{name}", f"Forum {name}", body, language=name, topics=("News",)) for name in ("en", "ru")]
    made.pages["/feed"] = Page(rss(stories, made.url))
    yield made
    made.close()


def test_an_overlay_applies_to_every_translation(site: Website, tmp_path: Path) -> None:
    context = SourceContext("site", tmp_path, "https://n.example/", ("en", "ru"), ZoneInfo("UTC"), MemoryFetchCache())
    written = {"type": "feed", "url": f"{site.url}/feed", "story": r"/(\d+)-", "allow_private": True}
    source = FeedSource(Settings.model_validate(written), context)
    source.fetch(NOW)
    before = source.sweep(NOW)
    file = tmp_path / "content" / "overlay" / "12.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(WRITTEN.replace("SITE", site.url), encoding="utf-8")
    for one, plain in zip(source.sweep(NOW).items, before.items, strict=True):
        assert (one.lead, one.not_in, one.topics) == (True, ("digest", "team"), ("sdg-4",))
        assert one.post == {"team": "Our own words.", "mastodon": "Others."}
        assert [image.alt for image in one.images] == ["A girl reads in a library"]
        assert one.fingerprint != plain.fingerprint and one.ref == plain.ref
    file.write_text("lead: maybe\nembargo: 2026\n", encoding="utf-8")
    swept = [str(problem) for problem in source.sweep(NOW).problems if problem.file == "content/overlay/12.yaml"]
    assert len(swept) == 2 and "12.yaml:1:7" in swept[1] and "no key `embargo`" in swept[0]
    file.unlink()
    assert source.sweep(NOW) == before


def of_pages(url: str, more: str = "") -> str:
    """Write the lines of a page source `site` for tidings.yaml."""
    return f"sources:\n  site: {{type: page, url: {url}/news, pause: 0m, backfill: 9, allow_private: true{more}}}\n"


def test_a_stored_storys_overlay_survives_a_new_translation(site: Website, tmp_path: Path, database_url: str) -> None:
    network = MastodonServer()
    both = "".join(f'<link rel="alternate" hreflang="{one}" href="/{one}/forum">' for one in ("en", "ru"))
    site.pages |= {"/news": listing("/en/forum", "/en/well"), "/en/forum": story("Forum")}
    # This is the newer story, so only the overlay can put the other one first.
    dated = '<meta property="article:published_time" content="2026-03-02T03:10:00Z">'
    site.pages["/en/well"] = story("Well", head=dated)
    with open_mastodon_newsroom(tmp_path / "newsroom", database_url, network) as newsroom:
        newsroom.reader("anna")
        newsroom.reader("boris", language="ru")
        newsroom.schedule(
            "mail", 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}, {channel: team}]\n'
        )
        newsroom.tick(MONDAY - HOUR)
        newsroom.configure("channels:\n", f"{of_pages(site.url)}channels:\n")

        def read(now: datetime) -> dict[str, Any]:
            newsroom.runtime.set_clock(now)
            newsroom.runtime.fetch(force=True)
            newsroom.tick(now)
            with newsroom.runtime.store.read() as connection:
                return {item.language + " " + item.title: item for item in load_items(connection)}

        seen = read(MONDAY - HOUR)
        name = seen["en Forum"].story
        assert name.startswith("forum-")
        newsroom.folder.write(
            f"content/overlay/{name}.yaml", "lead: true\nnot_in: [team]\npost: {social: Our own words.}\n"
        )
        site.pages["/ru/forum"] = story("Форум", head=both, lang="ru")
        site.pages["/news"] = listing("/en/well", "/en/forum", "/ru/forum")
        seen = read(MONDAY - HOUR / 2)
        assert {one.story for key, one in seen.items() if "Well" not in key} == {name}
        for language in ("en Forum", "ru Форум"):
            assert (seen[language].lead, seen[language].not_in) == (True, ("team",)), language
        assert not seen["en Well"].lead
        newsroom.tick(MONDAY)
        [english] = newsroom.mails("anna@example.org")
        assert english.text.index("Forum") < english.text.index("Well")
        [russian] = newsroom.mails("boris@example.org")
        assert "Форум" in russian.text
        assert any(text.startswith("Our own words.") for text in network.texts)
        assert any(text.startswith("Well") for text in network.texts) and len(network.texts) == 2
        [told] = [request.body.decode() for request in newsroom.folder.hook.received if "/slack/" in request.path]
        assert "Well" in told and "Forum" not in told


def test_an_overlay_applies_by_the_name_of_one_translation(site: Website, tmp_path: Path) -> None:
    # Nothing is stored here, as after the loss of a store: only the file is known.
    context = SourceContext("site", tmp_path, "https://n.example/", ("en", "ru"), ZoneInfo("UTC"), MemoryFetchCache())
    settings = {"type": "feed", "url": f"{site.url}/feed", "allow_private": True}
    lone = FeedSource(Settings.model_validate(settings), context)
    lone.fetch(NOW)
    english = next(item for item in lone.sweep(NOW).items if item.language == "en")
    file = tmp_path / "content" / "overlay" / f"{english.name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("lead: true\n", encoding="utf-8")
    assert [item.lead for item in lone.sweep(NOW).items] == [True, False]
    grouped = FeedSource(Settings.model_validate(settings | {"story": r"/(\d+)-"}), context)
    assert {item.story for item in grouped.sweep(NOW).items} == {"12"}
    assert [item.lead for item in grouped.sweep(NOW).items] == [True, True]


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[1, 2]", b"- a", b"lead: [x]", b"post: {a: [b]}", b"a: &x 1\nb: *x", b"{"]
)
def test_an_invalid_overlay_is_reported_and_ignored(raw: bytes) -> None:
    overlay, problems = parse_overlay(raw, "o.yaml")
    assert overlay == Overlay() or overlay.post == {}
    assert bool(problems) == (raw not in (b"", b"post: {a: [b]}"))
