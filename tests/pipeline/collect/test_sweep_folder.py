"""Collect a real folder through every change that people make to files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from tidings.pipeline.collect import files
from tidings.pipeline.collect.files import KeptListings
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.collect.writing import SweepResult
from tidings.sources.base import SourceContext
from tidings.sources.folder import source as folder
from tidings.sources.folder.source import FolderSource, Settings
from tidings.store import schema as t
from tidings.store.content import items
from tidings.store.engine import Store

URL = "https://news.example/"
NOW = datetime(2023, 10, 1, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Newsroom:
    def __init__(self, root: Path, store: Store) -> None:
        self.content = root / "content"
        self.content.mkdir()
        self.store = store
        context = SourceContext("newsroom", root, URL, ("en", "ru", "kk"), ZoneInfo("Asia/Almaty"))
        self.source = FolderSource(Settings(type="folder"), context)

    def write(self, name: str, front: str, body: str = "Body") -> Path:
        path = self.content / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"---\n{front}\n---\n{body}\n", encoding="utf-8")
        return path

    def collect(self, hours: int) -> SweepResult:
        return collect(self.store, {"newsroom": self.source}, now=NOW + hours * HOUR, url=URL)

    def items(self) -> dict[str, items.Item]:
        with self.store.read() as connection:
            return {item.ref.removeprefix("content/"): item for item in items.load_items(connection, include_gone=True)}


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[Newsroom]:
    store = Store(database_url, tmp_path)
    t.metadata.create_all(store.engine)
    yield Newsroom(tmp_path, store)
    store.close()


def test_the_life_of_a_file(newsroom: Newsroom) -> None:
    newsroom.write("forum.en.md", "title: Youth: a forum\npublished: 2023-09-26T10:00\ntopics: [youth]")
    newsroom.write("forum.ru.md", "title: Форум\npublished: 2023-09-26T10:00")
    assert len(newsroom.collect(0).new) == 2
    first = newsroom.items()["forum.en.md"]
    assert first.published == datetime(2023, 9, 26, 4, 0, tzinfo=UTC) and first.out_at == NOW
    assert newsroom.items()["forum.ru.md"].story == first.story == "forum"

    Image.new("RGB", (4, 3)).save(newsroom.content / "a.png")
    newsroom.write("forum.en.md", "title: Youth: a forum\npublished: 2023-09-26T10:00\ntopics: [youth]", "![A](a.png)")
    assert newsroom.collect(1).changed == [first.id]
    assert newsroom.items()["forum.en.md"].media[0].path == "content/a.png"

    (newsroom.content / "2023").mkdir()
    (newsroom.content / "forum.en.md").rename(newsroom.content / "2023" / "youth-forum.en.md")
    (newsroom.content / "a.png").rename(newsroom.content / "2023" / "a.png")
    assert newsroom.collect(2).moved == [first.id]
    moved = newsroom.items()["2023/youth-forum.en.md"]
    assert (moved.id, moved.story, moved.slug, moved.url) == (first.id, "forum", "forum", first.url)
    assert moved.media[0].path == "content/2023/a.png" and moved.changed == first.changed

    (newsroom.content / "2023" / "youth-forum.en.md").write_bytes(b"---\ntitle: Youth")
    done = newsroom.collect(3)
    assert [problem.file for problem in done.problems] == ["content/2023/youth-forum.en.md"] and not done.has_changes
    assert newsroom.items()["2023/youth-forum.en.md"].body == moved.body

    newsroom.write("2023/youth-forum.en.md", "title: Youth\npublished: 2023-09-26T10:00\nwithdrawn: In error.")
    assert newsroom.collect(4).withdrawn == [first.id]
    assert not newsroom.items()["2023/youth-forum.en.md"].is_out(NOW + 5 * HOUR)
    assert not newsroom.collect(5).has_changes


def test_two_names_for_one_story_and_language(newsroom: Newsroom) -> None:
    newsroom.write("forum.en.md", "title: One")
    newsroom.write("forum.md", "title: Two")
    newsroom.write("z.ru.md", "title: Three\nstory: forum\nlanguage: en")
    done = newsroom.collect(0)
    assert {problem.file for problem in done.problems} == {"content/forum.md", "content/z.ru.md"}
    assert all("content/forum.en.md" in problem.message for problem in done.problems)
    assert list(newsroom.items()) == ["forum.en.md"]


def test_an_unmounted_folder_asks_a_person(newsroom: Newsroom) -> None:
    for number in range(5):
        newsroom.write(f"n{number}.en.md", f"title: N{number}")
    newsroom.collect(0)
    newsroom.content.rename(newsroom.content.with_name("away"))
    assert "cannot be read" in (newsroom.collect(1).held or "")
    newsroom.content.mkdir()
    assert "5 of 5" in (newsroom.collect(2).held or "")
    newsroom.content.rmdir()
    newsroom.content.with_name("away").rename(newsroom.content)
    done = newsroom.collect(3)
    assert not done.held and not done.has_changes and all(item.gone_at is None for item in newsroom.items().values())


def test_a_kept_listing_gives_way_to_every_change(newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle service looked at each of 50,000 files every 30 seconds."""
    listed: list[int] = []
    list_files = newsroom.source.list_files
    monkeypatch.setattr(newsroom.source, "list_files", lambda: listed.append(1) or list_files())
    monkeypatch.setattr(files, "_REST", 1e12)
    kept = KeptListings()

    def sweep(hours: int) -> SweepResult:
        return collect(newsroom.store, {"newsroom": newsroom.source}, now=NOW + hours * HOUR, url=URL, listings=kept)

    paths = [newsroom.write(name, "title: One") for name in ("a.en.md", "b.en.md")]
    for path in paths:
        os.utime(path, (1_600_000_000, 1_600_000_000))
    monkeypatch.setattr(folder, "_RECENT", -1)
    assert len(sweep(0).new) == 2
    for hours in (1, 2, 3):
        assert not sweep(hours).has_changes
    assert len(listed) == 1

    newsroom.write("a.en.md", "title: Two")
    kept.note_change()
    assert len(sweep(4).changed) == 1
    paths[1].unlink()
    kept.note_change()
    assert not sweep(5).gone
    assert len(sweep(6).gone) == 1, "a missing item must be looked for again"

    # A network folder tells nothing about the changes of others: the listing is renewed in time.
    newsroom.write("c.en.md", "title: Three")
    assert not sweep(7).has_changes
    monkeypatch.setattr(files, "_REST", 0)
    kept.note_change()
    newsroom.write("d.en.md", "title: Four")
    assert len(sweep(8).new) == 2
    newsroom.write("e.en.md", "title: Five")
    assert len(sweep(9).new) == 1


def test_forks_read_the_files_of_a_first_sweep(newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BATCH", 2)
    for number in range(9):
        newsroom.write(f"n{number}.en.md", f"title: N{number}")
    newsroom.write("bad.en.md", "summary: no title")
    steps: list[tuple[int, int]] = []
    forks: list[int] = []
    start = files.start_fork
    monkeypatch.setattr(files, "start_fork", lambda work: forks.append(1) or start(work))
    sources = {"newsroom": newsroom.source}
    done = collect(newsroom.store, sources, now=NOW, url=URL, processes=2, on_progress=lambda *step: steps.append(step))
    assert len(done.new) == 9 and [problem.file for problem in done.problems] == ["content/bad.en.md"]
    assert len(forks) == 5 and steps == [(2, 10), (4, 10), (6, 10), (8, 10), (10, 10)]
    assert not newsroom.collect(1).has_changes
