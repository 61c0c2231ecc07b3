"""Publishing only changes gives the same bytes as a full build, and a call without changes does little."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.items import make_newsroom, put
from tests.render.samples import START, item
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.item import Item
from tidings.pipeline.publish import publish as publishing
from tidings.pipeline.publish import writing
from tidings.pipeline.publish.discovery import plan_discovery
from tidings.pipeline.publish.newest import plan_newest_feeds
from tidings.pipeline.publish.publish import publish
from tidings.pipeline.publish.sections import plan_sections
from tidings.pipeline.publish.site_files import make_public_site, plan_site_files
from tidings.render.pages.pages import Pages
from tidings.store.content.items import advance_version, items_version, load_items, mark_back, mark_gone
from tidings.store.content.site_files import find_identity
from tidings.store.engine import Store

NOW = START + timedelta(days=60)


@pytest.fixture
def newsroom(tmp_path: Path) -> Newsroom:
    return make_newsroom(tmp_path)


def build(store: Store, newsroom: Newsroom, now: datetime) -> dict[str, bytes]:
    """Render every file from the beginning."""
    with store.read() as connection:
        items = load_items(connection, include_gone=True)
        identity = find_identity(connection)
    assert identity is not None
    site = make_public_site(newsroom, items, identity, now)
    planned = chain(plan_site_files(site), plan_sections(site), plan_discovery(site))
    files: dict[str, bytes] = {}
    for file in planned:
        files.setdefault(file.path, file.render() or b"")
    return files


def published(newsroom: Newsroom) -> dict[str, bytes]:
    return {
        path.relative_to(newsroom.public).as_posix(): path.read_bytes()
        for path in newsroom.public.rglob("*")
        if path.is_file() and path.name != ".lock" and path.suffix != ".gz"
    }


def mark(store: Store, one: Item, now: datetime | None) -> None:
    with store.write() as connection:
        assert advance_version(connection, items_version(connection))
        if now is None:
            mark_back(connection, [one.id])
        else:
            mark_gone(connection, [one.id], now)


def change(random_: random.Random, store: Store, newsroom: Newsroom, now: datetime) -> Newsroom:
    """Make one change: of an item, of the configuration or of a template."""
    with store.read() as connection:
        items = load_items(connection, include_gone=True)
    one = random_.choice(items)
    kind = random_.choice(["new", "edit", "topic", "withdraw", "gone", "back", "late", "move", "feeds", "template"])
    number = len(items) + 1
    if kind == "new":
        language = random_.choice(["en", "ru"])
        is_free = (one.story, language) not in {(each.story, each.language) for each in items}
        put(store, item(number, language=language, story=one.story if is_free else f"s{number}"))
    elif kind == "late":
        put(store, item(number, published=now + timedelta(hours=2), out_at=now + timedelta(hours=2)))
    elif kind == "edit":
        put(store, replace(one, title=f"{one.title}!", body=f"{one.body}<p>More</p>"), had=[one.id])
    elif kind == "topic":
        put(store, replace(one, topics=(random_.choice(["water", "youth"]),), kind="press-release"), had=[one.id])
    elif kind == "move":
        put(store, replace(one, slug=f"{one.slug}-m", url=f"{one.url}x/"), had=[one.id])
    elif kind == "withdraw":
        put(store, replace(one, withdrawn="" if one.withdrawn else "An error."), had=[one.id])
    elif kind in ("gone", "back"):
        mark(store, one, now if kind == "gone" else None)
    elif kind == "feeds":
        feeds = {name: feed for name, feed in newsroom.feeds.items() if random_.random() < 0.7}
        return newsroom.model_copy(update={"feeds": feeds})
    else:
        folder = newsroom.root / "templates" / "pages"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notice.html.j2").write_text(f"<p>{random_.randrange(1_000)}</p>")
    return newsroom


def live(store: Store, newsroom: Newsroom, seed: int, steps: int) -> None:
    random_ = random.Random(seed)
    put(store, *(item(number, topics=("water",)) for number in range(1, 7)))
    now = NOW
    for _ in range(steps):
        now += timedelta(hours=1)
        newsroom = change(random_, store, newsroom, now)
        publish(store, newsroom, now=now)
        assert published(newsroom) == build(store, newsroom, now)


@pytest.mark.parametrize("seed", range(2))
def test_changes_give_the_bytes_of_a_build_from_nothing(store: Store, newsroom: Newsroom, seed: int) -> None:
    live(store, newsroom, seed, 6)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(10, 12))
def test_many_changes_give_the_bytes_of_a_build(store: Store, newsroom: Newsroom, seed: int) -> None:
    live(store, newsroom, seed, 25)


@pytest.mark.slow
def test_feeds_of_the_newest_items_are_those_of_a_build(store: Store, newsroom: Newsroom) -> None:
    """They are written first. Other bytes would reach readers for a moment."""
    random_ = random.Random(3)
    put(store, *(item(number, topics=("water",)) for number in range(1, 55)))
    publish(store, newsroom, now=NOW)
    now = NOW
    for _ in range(5):
        now += timedelta(hours=1)
        change(random_, store, newsroom, now)
        with store.read() as connection:
            identity = find_identity(connection)
            assert identity is not None
            files = plan_newest_feeds(connection, newsroom, identity, now, None, None)
        wanted = build(store, newsroom, now)
        feeds = {path for path in wanted if re.fullmatch(r"feeds/\w+/\w+\.(rss|atom|json)", path)}
        assert {file.path: file.render() for file in files} == {path: wanted[path] for path in feeds}


def test_a_new_story_is_in_the_feeds_before_all_items_are_read(
    store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 50,000 items takes seconds."""
    put(store, item(1))
    publish(store, newsroom, now=NOW)
    put(store, item(2, title="Fresh"))
    monkeypatch.setattr(publishing, "load_items", lambda *_, **__: pytest.fail("all items were read"))
    with pytest.raises(pytest.fail.Exception):
        publish(store, newsroom, now=NOW)
    assert b"Fresh" in (newsroom.public / "feeds" / "en" / "all.atom").read_bytes()


def test_only_pages_that_show_a_story_are_rendered(
    store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept in memory: a new process does not render a newsroom again for one story."""
    put(store, *(item(number) for number in range(1, 9)))
    publish(store, newsroom, now=NOW)
    rendered: list[str] = []
    real = Pages.item_page
    monkeypatch.setattr(Pages, "item_page", lambda *rest: rendered.append(rest[2].slug) or real(*rest))
    put(store, replace(item(3), title="Changed"), had=[item(3).id])
    publish(store, newsroom, now=NOW)
    assert rendered == ["story-3"]


def test_a_missing_page_comes_back_in_turn(store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "CHECKED", 20)
    put(store, *(item(number) for number in range(1, 9)))
    count = len(publish(store, newsroom, now=NOW).written)
    page = newsroom.public / "en" / "story-3" / "index.html"
    page.unlink()
    calls = 0
    while not page.exists():
        publish(store, newsroom, now=NOW)
        calls += 1
    assert calls <= count // 20 + 2
    (newsroom.public / "feeds" / "en" / "all.rss").unlink()
    assert publish(store, newsroom, now=NOW).written == ("feeds/en/all.rss",)


def test_forks_write_the_same_files(store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """`build` of many files uses all cores. A row that a fork did not report would have its file written again."""
    monkeypatch.setattr(writing, "_FIRST", 3)
    monkeypatch.setattr(writing, "_BATCH", 4)
    put(store, *(item(number) for number in range(1, 9)))
    steps: list[tuple[int, int]] = []
    result = publish(store, newsroom, now=NOW, processes=2, on_progress=lambda done, of: steps.append((done, of)))
    assert published(newsroom) == build(store, newsroom, NOW)
    assert sorted(result.written) == sorted(published(newsroom))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    again = publish(store, newsroom, now=NOW, force=True, processes=2)
    assert (again.written, again.removed, again.unchanged) == ((), (), len(result.written))


def test_an_error_in_a_fork_loses_no_written_file(
    store: Store, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_FIRST", 3)
    monkeypatch.setattr(writing, "_BATCH", 4)
    put(store, *(item(number) for number in range(1, 9)))
    real = Pages.item_page

    def render(*parts: Any) -> bytes:
        if parts[2].slug == "story-5":
            raise InputError("item.html.j2, line 3: there is no `tilte`")
        return real(*parts)

    with monkeypatch.context() as patched:
        patched.setattr(Pages, "item_page", render)
        with pytest.raises(InputError, match="there is no `tilte`"):
            publish(store, newsroom, now=NOW, processes=2)
    publish(store, newsroom, now=NOW, processes=2)
    assert published(newsroom) == build(store, newsroom, NOW)
