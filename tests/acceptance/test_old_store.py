"""A newsroom that was written before the first rewrite is upgraded and continues.

`old_newsroom/` has its files, its store as an SQL dump (schema 0001), and the output of `tidings ledger --json` at
that time. One edition was sent except to a busy mailbox, and one is held for approval. One schedule is paused, one
reader has left, and one mailbox is gone.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.newsroom_folder import MailServer, mail_server

OLD = Path(__file__).parent / "old_newsroom"


class OldNewsroom:
    """The old newsroom in a folder of its own, with its mail pointed at a catcher."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        for name in ("content", "schedules"):
            shutil.copytree(OLD / name, root / name)
        shutil.copy(OLD / "signing-keys.json", root / "keys.json")
        text = re.sub(r"port: \d+", f"port: {port}", (OLD / "tidings.yaml").read_text("utf-8"))
        (root / "tidings.yaml").write_text(text, "utf-8")
        with sqlite3.connect(root / "tidings.db") as connection:
            connection.executescript((OLD / "tidings.sql").read_text("utf-8"))
        connection.close()

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run one command and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "tidings", *arguments, "-C", str(self.root)],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("ledger", "--json").splitlines()]


def _recipients(mails: MailServer) -> list[str]:
    result = sorted(mail.recipient for mail in mails.received)
    mails.received.clear()
    return result


def _write_story(root: Path, name: str) -> None:
    text = f"---\ntitle: {name}\npublished: 2026-06-10T10:00\n---\nA story written after the upgrade.\n"
    (root / "content" / f"{name}.en.md").write_text(text, "utf-8")


@pytest.mark.slow
def test_an_old_store_is_upgraded_and_goes_on(tmp_path: Path) -> None:
    with mail_server() as (mails, port):
        newsroom = OldNewsroom(tmp_path, port)
        newsroom.run("upgrade")
        before = [json.loads(line) for line in (OLD / "ledger.jsonl").read_text("utf-8").splitlines()]
        assert newsroom.ledger() == before

        # The mailbox that was busy gets its digest, and nobody gets a digest twice.
        newsroom.run("resume", "weekly")
        assert "0 new, 0 changed, 0 gone" in newsroom.run("tick", "--now", "2026-06-06T12:00")
        assert _recipients(mails) == ["busy@example.net"]

        # The edition that waited for approval goes to the press list.
        newsroom.run("release", "press/1")
        newsroom.run("tick", "--now", "2026-06-06T12:01")
        assert _recipients(mails) == ["carla@example.net"]

        # The next edition goes to the remaining readers, but not to the reader who left or to the dead mailbox.
        _write_story(tmp_path, "after")
        newsroom.run("tick", "--now", "2026-06-10T11:00")
        newsroom.run("tick", "--now", "2026-06-12T09:01")
        assert _recipients(mails) == ["anna@example.net", "boris@example.net", "busy@example.net"]
        after = [row for row in newsroom.ledger() if row["edition"] == "weekly/2"]
        assert [row["state"] for row in after] == ["accepted"] * 3


@pytest.mark.slow
def test_an_old_store_is_refused_before_the_upgrade(tmp_path: Path) -> None:
    newsroom = OldNewsroom(tmp_path, 1)
    assert "tidings upgrade" in newsroom.run("tick", "--now", "2026-06-06T12:00", code=2)
