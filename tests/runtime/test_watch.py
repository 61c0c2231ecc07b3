"""The watcher reports every change to the newsroom's files within seconds, and no other change."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import wait_until
from tidings.runtime.watch import Watcher, configuration_stamp


class Told:
    def __init__(self) -> None:
        self.event = threading.Event()

    def within(self, seconds: float = 60) -> bool:
        return self.event.wait(seconds)

    def quiet(self) -> None:
        """Wait until all changes so far are reported."""
        while True:
            self.event.clear()
            if not self.event.wait(1.2):
                return


@pytest.fixture
def room(tmp_path: Path) -> Path:
    for name in ("content/2026", "schedules", "public/en"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tidings.yaml").write_text("site: {}\n")
    return tmp_path


@pytest.fixture
def told(room: Path) -> Iterator[Told]:
    calls = Told()
    watcher = Watcher(room, [room / "content"], calls.event.set)
    watcher.start()
    # On a busy machine it takes a while until both folders are watched.
    for probe in (room / "tidings.yaml", room / "content" / "probe"):
        calls.event.clear()
        wait_until(lambda probe=probe: replaced(probe, "site: {}\n") or calls.within(1))
    calls.quiet()
    yield calls
    begun = time.monotonic()
    watcher.stop()
    assert time.monotonic() - begun < 60


def replaced(path: Path, text: str) -> None:
    """Save as editors do: a new file replaces the old one."""
    temporary = path.with_name(path.name + "~")
    temporary.write_text(text)
    temporary.replace(path)


def test_files_in_folders_and_new_subfolders_are_reported(room: Path, told: Told) -> None:
    (room / "content" / "a.en.md").write_text("x")
    assert told.within()
    told.quiet()
    (room / "content" / "2026" / "b.en.md").write_text("x")
    assert told.within()
    told.quiet()
    (room / "content" / "2027").mkdir()
    told.quiet()
    (room / "content" / "2027" / "c.en.md").write_text("x")
    assert told.within()


def test_every_replacement_of_tidings_yaml_is_reported(room: Path, told: Told) -> None:
    for text in ("site: {a: 1}\n", "site: {a: 2}\n", "site: {a: 3}\n"):
        replaced(room / "tidings.yaml", text)
        assert told.within()
        told.quiet()


def test_new_and_replaced_folders_are_watched(room: Path, told: Told) -> None:
    (room / "templates" / "digest").mkdir(parents=True)
    assert told.within()
    told.quiet()
    (room / "templates" / "digest" / "body.html.j2").write_text("x")
    assert told.within()
    told.quiet()
    shutil.rmtree(room / "schedules")
    (room / "schedules").mkdir()
    told.quiet()
    (room / "schedules" / "weekly.yaml").write_text("x")
    assert told.within()


def test_our_own_files_are_not_reported(room: Path, told: Told) -> None:
    (room / "public" / "en" / "index.html").write_text("x")
    (room / "tidings.db-wal").write_text("x")
    assert not told.within(2)


def test_the_stamp_shows_changes_that_the_watcher_missed(room: Path) -> None:
    (room / "schedules" / "weekly.yaml").write_text("one")
    before = configuration_stamp(room)
    (room / "content" / "a.en.md").write_text("x")
    assert configuration_stamp(room) == before
    (room / "schedules" / "weekly.yaml").write_text("three")
    changed = configuration_stamp(room)
    assert changed != before
    (room / "templates" / "pages").mkdir(parents=True)
    (room / "templates" / "pages" / "layout.html.j2").write_text("x")
    assert configuration_stamp(room) != changed
    (room / "templates" / "pages" / "layout.html.j2").unlink()
    assert configuration_stamp(room) == changed
