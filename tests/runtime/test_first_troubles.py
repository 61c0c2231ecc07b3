"""Problems of an operator's first days: each message says what happened and what to do."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import InputError
from tidings.runtime.backup import backup
from tidings.runtime.monitoring.status import status
from tidings.store.engine import Store


def sent(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)


def test_the_archive_exists_before_the_first_edition(tmp_path: Path) -> None:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db") as newsroom:
        sent(newsroom)
        public = newsroom.folder.root / "public"
        before = {path.relative_to(public) for path in public.rglob("archive/**/*")}
        assert before
        shutil.rmtree(public)
        newsroom.tick(MONDAY + HOUR)
        assert {path.relative_to(public) for path in public.rglob("archive/**/*")} == before


def test_status_reports_a_dead_mail_host(tmp_path: Path) -> None:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db") as newsroom:
        newsroom.configure(f"port: {newsroom.runtime.newsroom.mail[0].port}", "port: 9")  # type: ignore[attr-defined]
        sent(newsroom)
        (wrong,) = status(newsroom.runtime, newsroom.now)["wrong"]
        assert wrong["what"] == "sender" and "Connection refused" in wrong["text"]


def test_postgresql_without_its_driver_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r'pip install "tidings\[postgresql\]"'):
        Store("postgresql://localhost/news", tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), sqlite3.OperationalError("database or disk is full")]
)
def test_a_full_disk_is_not_reported_as_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(backup, "write_backup_file", fail)
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db") as newsroom:
        root = newsroom.folder.root
        with pytest.raises(InputError, match="no space on the disk of"):
            backup.back_up_store(newsroom.runtime.store, root, tmp_path / "b.tar.gz", lambda *_: None)
        assert not list(tmp_path.glob(".tidings-backup-*"))
