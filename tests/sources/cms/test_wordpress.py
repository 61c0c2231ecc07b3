"""The WordPress source with a real WordPress: items, changes, and outages without loss."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import missing
from tests.sources.cms.wordpress import WordPress, lacking
from tests.sources.sources import FreshSource, MemoryFetchCache, make_source
from tidings.sources.base import FetchResult
from tidings.sources.cms import wordpress
from tidings.sources.cms.wordpress import WordPressSource
from tidings.testing.source_contract import SourceCase, SourceContract

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def running() -> Iterator[WordPress]:
    if what := lacking():
        missing(what)
    made = WordPress()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def site(running: WordPress) -> WordPress:
    running.do(("clean", []))
    return running


def now() -> datetime:
    return datetime.now(UTC)


def source_of(site: WordPress, cache: MemoryFetchCache | None = None, **settings: Any) -> WordPressSource:
    source: WordPressSource = make_source(wordpress, site.url, cache, **settings)
    return source


def fetch(source: WordPressSource, at: datetime | None = None) -> FetchResult:
    done = source.fetch(at or now(), force=True)
    assert not done.problem, done.problem
    return done


def titles(source: WordPressSource) -> list[str]:
    return sorted(item.title for item in source.sweep(now()).items)


class WordPressCase(SourceCase):
    remembers = True

    def __init__(self, site: WordPress) -> None:
        self._site = site
        self._ids: dict[tuple[str, str], int] = {}
        site.do(("update_option", ["polylang", "1"]))
        self.source = FreshSource(source_of(site))

    def write(self, name: str, language: str, title: str, body: str) -> None:
        self._save(name, language, language, post_title=title, post_content=body)

    def spoil(self, name: str, language: str) -> None:
        self._save(name, language, "de", post_title="Titel")

    def remove(self, name: str, language: str) -> None:
        self._site.do(("wp_trash_post", [self._ids.pop((name, language))]))

    def break_down(self) -> None:
        self._site.fall()

    def _save(self, name: str, language: str, said: str, **given: str) -> None:
        meta = {"at": f"/{language}/{name}/", "lang": said, "group": name}
        if (name, language) in self._ids:
            given["ID"] = str(self._ids[name, language])
        self._ids[name, language] = self._site.post(given.pop("post_title"), meta_input=meta, **given)


class TestWordPressSource(SourceContract):
    @pytest.fixture
    def case(self, site: WordPress) -> Iterator[SourceCase]:
        yield WordPressCase(site)
        if site.is_down:
            site.serve()


def test_all_visible_parts_arrive(site: WordPress, tmp_path: Path) -> None:
    Image.new("RGB", (2_000, 1_000), "navy").save(tmp_path / "forum.png")
    category, picture = site.do(
        ("category", ["Quality education"]),
        ("picture", [str(tmp_path / "forum.png"), "Young people & a flag", "The <em>forum</em>"]),
    )
    site.do(("wp_update_user", [{"ID": 1, "display_name": "A. Author"}]))
    site.post(
        "Youth &amp; business: a <em>forum</em>",
        '<p>What was said.</p><p><a href="/about">About</a></p>',
        post_excerpt="In one paragraph.",
        post_date="2026-03-04 10:06:00",
        tags_input=["Youth"],
        post_category=[category],
        meta_input={"_thumbnail_id": picture},
    )
    site.post("A press release", "<p>To the press.</p>", post_type="press")
    site.post("Unseen", post_password="secret")
    site.post("Draft", post_status="draft")
    source = source_of(site, types={"posts": "story", "press": "press-release"}, topics={"Quality education": "sdg-4"})
    assert fetch(source).new == 2
    press, story = sorted(source.sweep(now()).items, key=lambda one: one.kind)
    assert (story.title, story.summary) == ("Youth & business: a forum", "In one paragraph.")
    assert story.body == f'<p>What was said.</p>\n<p><a href="{site.url}about">About</a></p>'
    assert story.published == datetime(2026, 3, 4, 5, 6, tzinfo=UTC)  # Almaty is five hours ahead
    assert story.topics == ("sdg-4", "youth")
    assert story.authors == ("A. Author",)
    assert story.url == f"{site.url}youth-business-a-forum/"
    [image] = story.images
    assert (image.alt, image.caption) == ("Young people & a flag", "The forum")
    assert "1536x768" in image.src
    assert story.backlog and press.backlog
    assert (press.title, press.kind, press.topics) == ("A press release", "press-release", ())
    # An excerpt that WordPress cut automatically is not used as a summary.
    assert press.summary == "To the press."


def test_only_changes_are_read(site: WordPress) -> None:
    first, *_ = (site.post(f"Story {number}") for number in range(3))
    site.do(("age", [30]))
    source = source_of(site)
    assert fetch(source).new == 3
    assert (fetch(source).new, fetch(source).changed) == (0, 0)
    site.post("Story 0, with an edit", "<p>After.</p>", ID=first)
    site.post("Brand new")
    done = fetch(source)
    assert (done.new, done.changed) == (1, 1)
    swept = {item.title: item for item in source.sweep(now()).items}
    assert swept["Story 0, with an edit"].body == "<p>After.</p>"
    assert [one.title for one in swept.values() if not one.backlog] == ["Brand new"]


def test_250_posts_are_read_in_pages(site: WordPress) -> None:
    site.do(*(("write", [{"post_title": f"Old {n}", "post_status": "publish"}]) for n in range(250)))
    source = source_of(site)
    assert fetch(source).new == 250
    site.do(*(("write", [{"post_title": f"New {n}", "post_status": "publish"}]) for n in range(30)))
    assert fetch(source).new == 30
    assert fetch(source, now() + 7 * HOUR).new == 0
    assert len(titles(source)) == 280
    small = source_of(site, archive="120")
    assert fetch(small).new == 120
    assert fetch(small, now() + 8 * DAY).new == 0


def test_an_edit_of_an_older_item_makes_no_news(site: WordPress) -> None:
    old = site.post("From the archive", post_date="2019-01-01 10:00:00")
    site.post("Recent")
    source = source_of(site, archive="1")
    fetch(source)
    site.post("From the archive, mended", ID=old, post_date="2019-01-01 10:00:00")
    assert fetch(source).new == 0
    assert fetch(source, now() + 7 * HOUR).new == 0
    assert titles(source) == ["Recent"]


def test_a_type_added_later_is_no_news(site: WordPress) -> None:
    cache = MemoryFetchCache()
    site.post("A story")
    site.post("A press release", post_type="press")
    fetch(source_of(site, cache))
    source = source_of(site, cache, types={"posts": "story", "press": "press-release"})
    assert fetch(source).new == 1
    assert all(item.backlog for item in source.sweep(now()).items)


def test_a_scheduled_post_is_news_when_it_comes_out(site: WordPress) -> None:
    source = source_of(site)
    later = site.post("Written before", post_date="2030-01-01 10:00:00", post_status="future")
    site.post("Another")
    site.do(("age", [30]))
    assert fetch(source).new == 1
    # WordPress only changes the status when the time has come.
    moment = (now() + timedelta(hours=5)).strftime("%Y-%m-%d %H:%M:%S")
    site.do(
        ("write", [{"ID": later, "post_title": "Written before", "post_status": "future", "post_date": "2031-01-01"}]),
        ("publish_at", [later, moment]),
    )
    assert fetch(source).new == 1
    assert [item.title for item in source.sweep(now()).items if not item.backlog] == ["Written before"]


def test_a_later_alt_text_is_an_edit(site: WordPress, tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "navy").save(tmp_path / "a.png")
    [picture] = site.do(("picture", [str(tmp_path / "a.png"), "", ""]))
    site.post("With a picture", meta_input={"_thumbnail_id": picture})
    site.do(("age", [30]))
    source = source_of(site)
    fetch(source)
    fetch(source)
    site.do(("describe", [picture, "A navy field"]))
    assert fetch(source).changed == 1
    [one] = source.sweep(now()).items
    assert [image.alt for image in one.images] == ["A navy field"]


def test_a_trashed_post_goes_when_confirmed_and_returns(site: WordPress) -> None:
    first, second, third = (site.post(f"Story {number}") for number in range(3))
    site.do(("age", [30]))
    source = source_of(site)
    fetch(source)
    site.do(("wp_trash_post", [first]), ("wp_delete_post", [second, True]))
    at = now() + 7 * HOUR
    fetch(source, at)
    assert len(titles(source)) == 3
    fetch(source, at + HOUR / 2)
    assert len(titles(source)) == 3
    fetch(source, at + HOUR)
    assert titles(source) == ["Story 2"]
    site.do(("wp_untrash_post", [first]), ("wp_publish_post", [first]))
    fetch(source, at + 3 * HOUR)
    assert titles(source) == ["Story 0", "Story 2"]
    # A post behind a password is no longer for readers.
    site.post("Story 2", ID=third, post_password="secret")
    fetch(source, at + 10 * HOUR)
    fetch(source, at + 11 * HOUR)
    assert titles(source) == ["Story 0"]


def test_an_item_missing_only_in_listings_stays(site: WordPress) -> None:
    hidden = site.post("Hidden from listings")
    site.post("Another")
    source = source_of(site)
    fetch(source)
    site.do(("update_option", ["hidden", hidden]))
    try:
        fetch(source, now() + 7 * HOUR)
        fetch(source, now() + 8 * HOUR)
        assert len(titles(source)) == 2
    finally:
        site.do(("update_option", ["hidden", 0]))


def test_an_outage_loses_nothing(site: WordPress) -> None:
    kept = [site.post(f"Story {number}") for number in range(5)]
    site.do(("age", [30]))
    source = source_of(site)
    fetch(source)
    site.fall()
    done = source.fetch(now(), force=True)
    assert done.problem and len(titles(source)) == 5
    try:
        site.post("Written in the outage")
        site.post("Edited in the outage", ID=kept[0])
        site.do(("wp_trash_post", [kept[1]]))
    finally:
        site.serve()
    done = fetch(source, now() + 2 * DAY)
    assert (done.new, done.changed) == (1, 1)
    fetch(source, now() + 2 * DAY + 2 * HOUR)
    assert titles(source) == ["Edited in the outage", "Story 2", "Story 3", "Story 4", "Written in the outage"]


def test_late_translations_join_their_story(site: WordPress) -> None:
    site.do(("update_option", ["polylang", "1"]))
    english = site.post("Forum", meta_input={"lang": "en", "group": "forum"})
    site.do(("age", [30]))
    source = source_of(site)
    fetch(source)
    site.post("Форум", meta_input={"lang": "ru", "group": "forum"})
    assert fetch(source).new == 1
    swept = {item.language: item for item in source.sweep(now()).items}
    assert set(swept) == {"en", "ru"}
    assert swept["en"].story == swept["ru"].story == f"site-{english}"


def test_wpml_translations_are_one_story(site: WordPress) -> None:
    site.do(("update_option", ["polylang", "wpml"]))
    english = site.post("Forum", meta_input={"lang": "en", "group": "forum"})
    site.post("Alone", meta_input={"lang": "en"})
    site.do(("age", [30]))
    alone = source_of(site)
    assert fetch(alone).new == 2  # at first, each version only has its own language
    source = source_of(site, languages=["en", "ru", "kk"])
    assert fetch(source).new == 2
    for language, title in (("ru", "Форум"), ("kk", "Форум (қаз.)")):
        site.post(title, meta_input={"lang": language, "group": "forum"})
    assert fetch(source).new == 2
    swept = {item.title: item for item in source.sweep(now()).items}
    assert {title: one.language for title, one in swept.items()} == {
        "Forum": "en", "Alone": "en", "Форум": "ru", "Форум (қаз.)": "kk",
    }  # fmt: skip
    stories = {title: one.story for title, one in swept.items()}
    assert stories.pop("Alone") != f"site-{english}" and set(stories.values()) == {f"site-{english}"}
    assert not any(one.backlog for title, one in swept.items() if title.startswith("Форум"))


def test_a_site_without_permalinks_is_read(site: WordPress) -> None:
    site.post("A story")
    site.do(("permalinks", [""]))
    cache = MemoryFetchCache()
    source = source_of(site, cache)
    assert fetch(source).new == 1
    assert "rest_route" in cache.state()["api"]
    site.post("Another")
    assert fetch(source).new == 1


def test_a_trial_shows_the_newest_and_saves_nothing(site: WordPress) -> None:
    site.do(*(("write", [{"post_title": f"Story {n}", "post_status": "publish"}]) for n in range(30)))
    cache = MemoryFetchCache()
    assert len(source_of(site, cache).try_fetch(now()).items) == 20
    assert cache.version() == 0


def test_an_unknown_type_is_reported_with_known_ones(site: WordPress) -> None:
    done = source_of(site, types={"pres": "press-release"}).fetch(now(), force=True)
    assert "has no type 'pres'" in done.problem and "press" in done.problem
    done = source_of(site, languages=["en", "ru"]).fetch(now(), force=True)
    assert not done.problem
    site.post("A story")
    done = source_of(site, languages=["en", "ru"]).fetch(now(), force=True)
    assert "remove `languages`" in done.problem
