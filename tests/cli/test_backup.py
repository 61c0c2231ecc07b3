"""`backup`, `restore` and `upgrade` as an operator types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.cli.test_commands import SLOT, at, rows, working
from tests.fixtures.newsroom import stories_in
from tests.fixtures.newsroom_folder import NewsroomFolder
from tidings.runtime.schemas import make_schemas
from tidings.store import migrate


def test_backup_and_restore_in_one_folder(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    working(folder, run)
    file = tmp_path / "b.tar.gz"
    made = run("backup", str(file)).ok()
    assert "3 subscribers" in made.out
    assert "DESK_SECRET" in made.out and "Keep them elsewhere" in made.out
    assert file.stat().st_mode & 0o777 == 0o600
    run("tick", "--now", SLOT).ok()
    mails = [mail for mail in folder.mails.received if mail.recipient == "r0@example.org"]
    assert len(mails) == 1

    # Only a clear yes restores, and nothing happens before it.
    before = rows(folder)
    refused = run("restore", str(file))
    assert refused.code == 2 and "--yes" in refused.err and "Type restore" in refused.err
    assert run("restore", str(file), stdin="yes\n").code == 2
    assert rows(folder) == before
    assert list(folder.root.glob("before-restore-*")) == []
    done = run("restore", str(file), stdin="restore\n").ok()
    assert "as it was on" in done.out
    assert "also holds" in done.out and "Readers who left" in done.out
    assert "before-restore-" in done.out

    ticked = run("tick", "--now", SLOT).ok()
    assert "Nothing is sent a second time" in ticked.out
    assert len([mail for mail in folder.mails.received if mail.recipient == "r0@example.org"]) == 1
    result = run("status", "--json").json
    assert misfits(result, make_schemas()["status --json"]) == []
    assert result["restored"]["waiting"] == ["daily/1"]
    assert "daily/1" in run("status").ok().out
    assert run("resolve", "daily/1").code == 2
    assert "tidings release" in run("resolve", "daily/1", "--resend").err
    assert run("resolve", "daily/9", "--accepted").code == 2
    run("release", "daily/1", "--now", at(1)).ok()
    last = [mail for mail in folder.mails.received if mail.recipient == "r0@example.org"]
    assert len(last) == 2
    assert sorted(stories_in(last[-1].text)) == ["one", "two"]


def test_editions_sent_since_the_backup_are_settled(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    working(folder, run)
    file = tmp_path / "b.tar.gz"
    run("backup", str(file)).ok()
    run("tick", "--now", SLOT).ok()
    run("restore", str(file), "--yes").ok()
    run("tick", "--now", SLOT).ok()
    assert "4 deliveries count as accepted" in run("resolve", "daily/1", "--accepted").ok().out
    run("tick", "--now", at(25)).ok()
    assert len([mail for mail in folder.mails.received if mail.recipient == "r0@example.org"]) == 1
    assert run("status", "--json").json["restored"] is None


def test_restore_into_another_folder(folder: NewsroomFolder, run_in: Run, run: Run, tmp_path: Path) -> None:
    working(folder, run)
    file = tmp_path / "b.tar.gz"
    run("backup", str(file)).ok()
    elsewhere = tmp_path / "elsewhere"
    done = run_in(elsewhere, "restore", str(file)).ok()
    assert "Type restore" not in done.err
    assert "r1@example.org" in run_in(elsewhere, "subscribers", "show", "r1@example.org").ok().out
    assert run_in(elsewhere, "check").code == 0


def test_a_missing_file_is_named(
    folder: NewsroomFolder, run_in: Run, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    file = tmp_path / "b.tar.gz"
    run("backup", str(file)).ok()
    monkeypatch.delenv("DESK_SECRET")
    done = run_in(tmp_path / "elsewhere", "restore", str(file)).ok()
    assert "Set these environment variables before you start: DESK_SECRET" in done.out


def test_odd_arguments(folder: NewsroomFolder, run_in: Run, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    assert "nothing to back up" in run("backup", str(file)).err
    assert run("upgrade").ok().out.startswith("The store has the schema of this version")
    working(folder, run)
    assert run_in(tmp_path / "nowhere", "backup", str(file)).code == 1
    assert run_in(tmp_path / "nowhere", "upgrade").code == 1
    assert run("backup", str(tmp_path)).code == 2
    assert run("backup", str(folder.root / "tidings.yaml")).code == 2
    assert "There is no file" in run("restore", str(tmp_path / "none.tar.gz")).err
    file.write_text("hello")
    assert run("restore", str(file)).code == 1
    assert run("backup", str(file)).code == 2
    assert file.read_text() == "hello"
    assert not (tmp_path / "nowhere").exists()


def test_another_version_of_a_store_is_refused_with_the_command(
    folder: NewsroomFolder, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runtime.backup.test_upgrade import NEW, NEXT_STEP, OLD

    working(folder, run)
    scripts = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", scripts)
    (scripts / "versions" / f"m{NEW}_next.py").write_text(NEXT_STEP)
    monkeypatch.setattr(migrate, "SCRIPTS", str(scripts))
    monkeypatch.setattr(migrate, "HEAD", NEW)
    for command in (["tick", "--now", SLOT], ["run"], ["plan"], ["status"]):
        refused = run(*command)
        assert refused.code == 2
        assert "Run `tidings upgrade`: it makes a backup first." in refused.err
    done = run("upgrade").ok()
    assert f"from schema {OLD} to {NEW}" in done.out
    assert len(list(folder.root.glob(f"before-upgrade-{OLD}-*.tar.gz"))) == 1
    assert run("upgrade").ok().out.startswith("The store has the schema of this version")
    run("tick", "--now", SLOT).ok()


def test_no_password_of_the_store_is_shown(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIDINGS_STORE", "postgresql://news:hunter22@127.0.0.1:1/news")
    for command in (["backup", str(tmp_path / "b.tar.gz")], ["upgrade"]):
        failed = run(*command)
        assert failed.code == 1
        assert "hunter22" not in failed.out + failed.err
