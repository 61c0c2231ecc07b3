"""A source with nonsense or an unwritable page never stops the mail or another source."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.pipeline.publish import publish as publishing
from tidings.pipeline.publish import writing
from tidings.runtime.monitoring.status import status
from tidings.sources.base import Sweep


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as opened:
        yield opened


def _wrong(newsroom: RunningNewsroom, what: str) -> list[str]:
    findings = status(newsroom.runtime, newsroom.now)["wrong"]
    return [f"{finding['text']} -> {finding['mend']}" for finding in findings if finding["what"] == what]


@dataclass
class _Nonsense:
    """A source with a bug."""

    def sweep(self, now: datetime) -> Sweep:
        raise TypeError("unhashable type: 'dict'")

    def watch_paths(self) -> tuple[Path, ...]:
        return ()


def test_a_source_that_fails_stops_no_other(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    monkeypatch.setitem(newsroom.runtime.sources, "broken", _Nonsense())
    newsroom.tick(MONDAY)
    assert newsroom.read(ada) == [["one"]]
    (text,) = _wrong(newsroom, "source")
    assert "'broken'" in text and "unhashable" in text


def test_an_unwritable_page_stops_no_mail(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = newsroom.reader("ada")
    real = writing._place

    def place(path: Path, *arguments: Any, **more: Any) -> bool:
        if "/one/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **more)

    monkeypatch.setattr(writing, "_place", place)
    newsroom.item("one")
    newsroom.item("two")
    result = newsroom.tick(MONDAY)
    assert sorted(newsroom.read(ada)[0]) == ["one", "two"]
    assert (newsroom.folder.root / "public/en/two/index.html").exists()
    assert "en/one/index.html cannot be written: Permission denied" in result.unpublished
    (text,) = _wrong(newsroom, "unpublished")
    assert "belongs to" in text and "sudo chown -R" in text
    assert any("cannot be written" in notice for notice in newsroom.notices())
    monkeypatch.undo()
    assert not newsroom.tick(MONDAY + HOUR).unpublished
    assert (newsroom.folder.root / "public/en/one/index.html").exists()
    assert _wrong(newsroom, "unpublished") == []


def test_a_full_disk_stops_no_mail(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = newsroom.reader("ada")

    def full(public: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", str(public))

    newsroom.item("one")
    monkeypatch.setattr(publishing, "publish_lock", full)
    result = newsroom.tick(MONDAY)
    assert newsroom.read(ada) == [["one"]]
    assert "No space left on device" in result.unpublished and "Free some space" in result.unpublished
