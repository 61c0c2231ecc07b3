"""A sweep of changed files gives the same items as a full sweep, and reads only files that changed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tidings.pipeline.collect import files as file_sweep
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.collect.writing import SweepResult
from tidings.sources.base import SourceContext, Sweep
from tidings.sources.folder import source as folder
from tidings.sources.folder.source import FolderSource, Settings
from tidings.store import schema as t
from tidings.store.content import items
from tidings.store.engine import Store

URL = "https://news.example/"
NOW = datetime(2023, 10, 1, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class WholeSource:
    """The same folder, which is always read in full."""

    def __init__(self, source: FolderSource) -> None:
        self._source = source

    def sweep(self, now: datetime) -> Sweep:
        return self._source.sweep(now)

    def watch_paths(self) -> tuple[Path, ...]:
        return ()


class Folder:
    """A folder that is swept into one store by changes, and into another one in full."""

    def __init__(self, root: Path, stores: tuple[Store, Store]) -> None:
        self.root = root
        self.content = root / "content"
        self.content.mkdir()
        self.stores = stores
        self.reads: list[str] = []
        self.languages = ("en", "ru")
        self._ids = [0, 0]
        self.now = NOW

    def _source(self) -> FolderSource:
        context = SourceContext("newsroom", self.root, URL, self.languages, ZoneInfo("UTC"))
        return FolderSource(Settings(type="folder"), context)

    def _mint(self, which: int) -> Callable[[], str]:
        def mint() -> str:
            self._ids[which] += 1
            return f"urn:id:{self._ids[which]}"

        return mint

    def collect(self, *, accept: bool = False, whole: bool = True) -> SweepResult:
        """Collect an hour later, as a new process that only knows what is in the store."""
        self.now += HOUR
        source = self._source()
        read = source.read_files
        self.reads.clear()

        def counted(refs: object) -> object:
            self.reads.extend(refs)  # type: ignore[arg-type]
            return read(refs)  # type: ignore[arg-type]

        source.read_files = counted  # type: ignore[method-assign,assignment]
        common = {"now": self.now, "url": URL, "accept": accept}
        by_part = collect(self.stores[0], {"newsroom": source}, mint=self._mint(0), **common)  # type: ignore[arg-type]
        if whole:
            other = WholeSource(self._source())
            at_once = collect(self.stores[1], {"newsroom": other}, mint=self._mint(1), **common)  # type: ignore[arg-type]
            for one, other_one in zip(self.items(0), self.items(1), strict=True):
                assert one == other_one
            assert set(by_part.problems) == set(at_once.problems)
            for name in ("new", "changed", "moved", "gone", "back", "withdrawn"):
                assert sorted(getattr(by_part, name)) == sorted(getattr(at_once, name)), name
            assert by_part.held == at_once.held
        return by_part

    def items(self, which: int = 0) -> tuple[list[items.KnownItem], list[items.Item], list[items.RefusedItem]]:
        with self.stores[which].read() as connection:
            known = items.load_known(connection)
            stored = items.load_items(connection, include_gone=True)
            refused = [replace(each, since=NOW) for each in items.load_refused(connection)]
            return known, stored, refused

    def write(self, name: str, front: str, body: str = "Body") -> Path:
        path = self.content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\n{front}\n---\n{body}\n", encoding="utf-8")
        return path


@pytest.fixture
def room(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(folder, "_RECENT", -1)
    (tmp_path / "whole").mkdir()
    first, second = Store(database_url, tmp_path), Store("sqlite:///whole.db", tmp_path / "whole")
    for store in (first, second):
        t.metadata.create_all(store.engine)
    yield Folder(tmp_path, (first, second))
    first.close()
    second.close()


def _edit(random_: random.Random, room: Folder, number: int) -> None:
    """Make one of the changes that people make to files."""
    paths = sorted(path for path in room.content.rglob("*.md"))
    path = random_.choice(paths) if paths else None
    kind = random_.choice(
        [
            "add",
            "add",
            "edit",
            "edit",
            "rename",
            "delete",
            "swap",
            "copy",
            "twin",
            "break",
            "translate",
            "picture",
            "id",
        ]
    )
    language = random_.choice(["en", "ru"])
    folder_name = random_.choice(["", "sub/"])
    if kind == "add" or path is None:
        front = f"title: Title {number % 4}"
        front += random_.choice(["", "\npublished: 2023-09-01", f"\nstory: s{number % 3}", f"\nid: urn:x:{number % 3}"])
        room.write(f"{folder_name}n{number % 9}.{language}.md", front, f"Body {number % 5}")
    elif kind == "edit":
        path.write_text(path.read_text() + f"\nmore {number}\n")
    elif kind == "rename":
        path.rename(path.with_name(f"r{number % 7}.{language}.md"))
    elif kind == "delete":
        path.unlink()
    elif kind == "swap" and len(paths) > 1:
        other = random_.choice(paths)
        first, second = path.read_bytes(), other.read_bytes()
        path.write_bytes(second)
        other.write_bytes(first)
    elif kind in ("copy", "twin"):
        name = f"{path.stem} (1).md" if kind == "copy" else f"t{number % 5}.{language}.md"
        path.with_name(name).write_bytes(path.read_bytes())
    elif kind == "break":
        path.write_text("---\ntitle: [\n---\n")
    elif kind == "translate":
        path.with_name(f"{path.name.split('.')[0]}.{language}.md").write_text(f"---\ntitle: In {language}\n---\nText\n")
    elif kind == "picture":
        path.write_text(f"---\ntitle: P{number}\n---\n[a](doc.pdf)\n")
        (path.parent / "doc.pdf").write_bytes(b"%PDF" + bytes([number % 250]))
    elif kind == "id":
        path.write_text(f"---\ntitle: Own id\nid: urn:x:{number % 3}\n---\nText {number % 2}\n")


@pytest.mark.parametrize("seed", range(2))
def test_a_sweep_by_parts_is_a_whole_sweep(room: Folder, seed: int) -> None:
    _live(room, seed, 15)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(5, 10))  # 5: a moved file was refused, as another file had its old place
def test_many_sweeps_by_parts_are_whole_sweeps(room: Folder, seed: int) -> None:
    _live(room, seed, 30)


def _live(room: Folder, seed: int, steps: int) -> None:
    random_ = random.Random(seed)
    for number in range(steps):
        for _ in range(random_.choice([0, 1, 1, 2, 4])):
            _edit(random_, room, random_.randrange(1_000))
        if number == 11:
            room.languages = ("en", "ru", "kk")
        room.collect(accept=random_.random() < 0.5)


def test_an_idle_sweep_reads_no_file(room: Folder) -> None:
    for number in range(20):
        room.write(f"n{number}.en.md", f"title: T{number}")
    room.collect()
    assert len(room.reads) == 20
    room.collect()
    assert room.reads == []
    room.write("n7.en.md", "title: Changed")
    assert len(room.collect().changed) == 1
    assert room.reads == ["content/n7.en.md"]


def test_files_are_read_by_parts(room: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sweep, "BATCH", 3)
    for number in range(10):
        room.write(f"n{number % 5}.{'en' if number < 5 else 'ru'}.md", f"title: T{number}")
    room.collect(whole=False)
    known, _, _ = room.items()
    assert len(known) == 10 and len({item.story for item in known}) == 5
    assert not room.collect(whole=False).has_changes and room.reads == []


def test_an_old_time_put_back_is_seen(room: Folder) -> None:
    """A tool that synchronises folders restores the modification time, but not the inode time."""
    path = room.write("a.en.md", "title: One")
    room.collect()
    status = path.stat()
    path.write_text(path.read_text().replace("One", "Two"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(room.collect().changed) == 1


def test_a_file_written_within_two_seconds_is_read_again(room: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_RECENT", 3_600_000_000_000)
    room.write("a.en.md", "title: One")
    room.collect()
    room.collect()
    assert room.reads == ["content/a.en.md"]


def test_another_language_reads_all_files_again(room: Folder) -> None:
    room.write("a.md", "title: One\nlanguage: kk")
    assert not room.collect().new
    room.languages = ("en", "ru", "kk")
    assert len(room.collect().new) == 1


def test_a_duplicate_is_taken_once_the_other_is_gone(room: Folder) -> None:
    room.write("a.en.md", "title: One\nstory: s")
    room.write("b.en.md", "title: Two\nstory: s")
    assert len(room.collect().new) == 1
    (room.content / "a.en.md").unlink()
    room.collect(accept=True)
    room.collect(accept=True)
    known, _, refused = room.items()
    assert [item.title for item in known if item.gone_at is None] == ["Two"] and not refused
