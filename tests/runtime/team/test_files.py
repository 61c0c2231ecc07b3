"""When two people edit one file, nothing is lost, and every former version can be restored."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import require_program
from tidings.model.errors import RefusedError
from tidings.runtime.team import files

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
NAME = "content/one.en.md"


def _save(root: Path, text: str, opened: str, *, who: str = "ann@example.org", after: int = 0) -> None:
    files.save_file(root, NAME, text, opened=opened, who=who, now=NOW + timedelta(seconds=after))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    require_program("git")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def test_the_second_of_two_saves_is_refused(tmp_path: Path) -> None:
    _save(tmp_path, "first", "")
    opened = files.open_file(tmp_path, NAME)
    _save(tmp_path, "by ann", opened.digest)
    with pytest.raises(files.FileChangedError):
        _save(tmp_path, "by ben", opened.digest)
    assert files.open_file(tmp_path, NAME).text == "by ann"
    with pytest.raises(files.FileChangedError):
        _save(tmp_path, "new", "")
    assert sorted(path.name for path in (tmp_path / "content").iterdir()) == ["one.en.md"]


def test_an_edit_by_hand_during_a_save_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, "first", "")
    opened = files.open_file(tmp_path, NAME)
    write = files._write

    def slow_write(path: Path, data: bytes, like: Path | None) -> None:
        write(path, data, like)
        (tmp_path / NAME).write_text("by hand, at this moment")

    monkeypatch.setattr(files, "_write", slow_write)
    with pytest.raises(files.FileChangedError):
        _save(tmp_path, "by ann", opened.digest)
    assert files.open_file(tmp_path, NAME).text == "by hand, at this moment"


def test_every_former_version_is_listed_and_readable(tmp_path: Path) -> None:
    texts = ["one\n", "two\n", "three\n"]
    for number, text in enumerate(texts):
        _save(tmp_path, text, files.open_file(tmp_path, NAME).digest, after=number)
    kept = files.list_versions(tmp_path, NAME)
    assert [files.read_version(tmp_path, NAME, version.id) for version in kept] == ["two\n", "one\n"]
    assert [version.who for version in kept] == ["ann@example.org"] * 2
    assert files.read_version(tmp_path, NAME, "../../secrets") is None


def test_a_text_written_by_hand_is_kept_once(tmp_path: Path) -> None:
    _save(tmp_path, "one", "")
    (tmp_path / NAME).write_text("by hand")
    (tmp_path / NAME).chmod(0o600)
    _save(tmp_path, "two", files.open_file(tmp_path, NAME).digest, after=1)
    kept = files.list_versions(tmp_path, NAME)
    assert [files.read_version(tmp_path, NAME, version.id) for version in kept] == ["by hand", "one"]
    assert [version.who for version in kept] == ["somebody_on_the_machine", "ann@example.org"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / files.HISTORY / NAME).iterdir()} == {0o600, 0o644}


def test_a_program_that_has_the_old_file_open_loses_nothing(tmp_path: Path) -> None:
    _save(tmp_path, "one", "")
    with (tmp_path / NAME).open("a") as descriptor:
        _save(tmp_path, "two", files.open_file(tmp_path, NAME).digest, after=1)
        descriptor.write(", and by hand")
    [kept] = files.list_versions(tmp_path, NAME)
    assert files.read_version(tmp_path, NAME, kept.id) == "one, and by hand"


def test_in_a_repository_each_save_is_a_commit_by_the_person(repository: Path) -> None:
    (repository / "content").mkdir()
    (repository / NAME).write_text("by hand")
    _save(repository, "by ann", files.open_file(repository, NAME).digest)
    log = subprocess.run(
        ["git", "-C", str(repository), "log", "--format=%ae %s"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert log == [f"ann@example.org Change {NAME} in the comms room", f"room@localhost Keep {NAME} as it was found"]
    oldest = files.list_versions(repository, NAME)[-1]
    assert files.read_version(repository, NAME, oldest.id) == "by hand"
    assert not (repository / files.HISTORY).exists()


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "", "content/.hidden", ".git/config", "a/../../b", "a\0b"])
def test_no_file_outside_the_newsroom_is_touched(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError):
        files.open_file(tmp_path, name)


def test_a_link_out_of_the_newsroom_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "n" / "content").mkdir(parents=True)
    (tmp_path / "outside.md").write_text("x")
    (tmp_path / "n" / "content" / "a.md").symlink_to(tmp_path / "outside.md")
    with pytest.raises(RefusedError):
        files.open_file(tmp_path / "n", "content/a.md")


@pytest.mark.parametrize("has_exchange", [True, False])
@pytest.mark.parametrize("in_git", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("edits", [{0}, {1}, {0, 1}])
def test_a_text_written_between_two_steps_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edits: set[int],
    *,
    in_place: bool,
    in_git: bool,
    has_exchange: bool,
) -> None:
    """A program writes before the exchange of the two files, or right after it.

    It puts a new file there, or writes into the file that it opened before the save.
    """
    if in_git:
        require_program("git")
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    _save(tmp_path, "first", "")
    opened = files.open_file(tmp_path, NAME)
    path, steps, written = tmp_path / NAME, iter(range(9)), {"by ann"}

    def edit() -> None:
        if (step := next(steps)) in edits:
            written.add(text := f"by hand {step}")
            if in_place:
                descriptor.seek(0, 2)
                descriptor.write(text)
                descriptor.flush()
            else:
                (tmp_path / "new").write_text(text)
                (tmp_path / "new").replace(path)

    exchange, write = files._exchange, files._write

    def slow_write(fresh: Path, data: bytes, like: Path | None) -> None:
        write(fresh, data, like)
        edit()

    def slow_exchange(fresh: Path, target: Path) -> None:
        exchange(fresh, target)
        edit()

    if not has_exchange:
        monkeypatch.setattr(files, "_rename_exchange", _refuse)
    monkeypatch.setattr(files, "_write", slow_write)
    monkeypatch.setattr(files, "_exchange", slow_exchange)
    with path.open("a") as descriptor:
        try:
            _save(tmp_path, "by ann", opened.digest, after=1)
        except files.FileChangedError:
            written.remove("by ann")
    kept = [files.read_version(tmp_path, NAME, version.id) or "" for version in files.list_versions(tmp_path, NAME)]
    everything = "\n".join([path.read_text(), *kept])
    assert [text for text in written if text not in everything] == []


def _refuse(*_: Path) -> None:
    raise OSError("not here")


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["open", "save", "hand"])), max_size=12))
def test_no_saved_text_is_lost(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]) -> None:
    """Whatever two members and an editor do: each saved text is in the file or in a kept version."""
    root = tmp_path_factory.mktemp("n")
    opened = dict.fromkeys("ab", "")
    saved: set[str] = set()
    for number, (who, step) in enumerate(steps):
        text = f"{who} {step} {number}"
        if step == "open":
            opened[who] = files.open_file(root, NAME).digest
        elif step == "hand":
            # An editor on the machine writes over the file, and does not know what was saved since it was opened.
            (root / "content").mkdir(exist_ok=True)
            (root / NAME).write_text(text)
        else:
            try:
                _save(root, text, opened[who], who=f"{who}@example.org", after=number)
            except files.FileChangedError:
                continue
            saved.add(text)
            opened[who] = files.open_file(root, NAME).digest
    kept = [files.read_version(root, NAME, version.id) or "" for version in files.list_versions(root, NAME)]
    everything = "\n".join([files.open_file(root, NAME).text, *kept])
    assert all(text in everything for text in saved)
