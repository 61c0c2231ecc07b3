"""Change files of the newsroom for a member: nothing that somebody else wrote meanwhile is lost, every version is kept.

A save names the digest of the text that the member opened. It is refused if the file has changed since. Each saved
version, and one that somebody wrote by hand before, is a git commit where the folder is a repository, else a file in
`history/`. So a text stays also if an editor that had an old copy open writes over it later.
"""

from __future__ import annotations

import ctypes
import difflib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, flock
from pathlib import Path

from tidings.model.errors import RefusedError

HISTORY = "history"
_AT_CWD = -100
_EXCHANGE = 2
_MOST_VERSIONS = 50
_SOMEBODY = "somebody on the machine"
_VERSION = re.compile(r"(\d{8}T\d{6}\d{6})-([0-9a-f]{8})")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class FileChangedError(RefusedError):
    """Somebody else changed the file since it was opened. Nothing was written."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A text file as somebody opened it. `digest` is empty if there was no such file."""

    name: str
    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A kept version of a file, and who wrote it. Files of older versions of Tidings name who replaced them."""

    id: str
    at: datetime
    who: str


def open_file(root: Path, name: str) -> OpenedFile:
    """Read a file of the newsroom. Raises RefusedError for a path outside it or a file that is not UTF-8."""
    path = _locate(root, name)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return OpenedFile(name, "", "")
    except OSError as error:
        raise RefusedError(f"{name} cannot be read: {error.strerror or error}") from None
    try:
        return OpenedFile(name, raw.decode("utf-8"), _digest(raw))
    except UnicodeDecodeError:
        raise RefusedError(f"{name} is not UTF-8 text. Save it as UTF-8 on the machine first.") from None


def save_file(root: Path, name: str, text: str, *, opened: str, who: str, now: datetime) -> None:
    """Replace a file whose digest is still `opened`; an empty `opened` makes a new one.

    The file changes in one step. Raises FileChangedError, and leaves it as it is, if somebody else was faster.
    """
    path = _locate(root, name)
    data = text.encode()
    with _locked(root):
        if open_file(root, name).digest != opened:
            raise FileChangedError(f"{name} was changed by somebody else meanwhile.")
        in_git = _is_repository(root) and not _is_ignored(root, name)
        if opened and in_git:
            _commit(root, name, _SOMEBODY, f"Keep {name} as it was found")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        _write(fresh, data, like=path if opened else None)
        if opened:
            is_ours = _swap(fresh, path, opened)
            former = _digest(fresh.read_bytes())
            if former == _digest(data) or (is_ours and in_git and former == opened):
                fresh.unlink()
            else:  # also a text that somebody wrote between two of our steps
                _keep(root, name, fresh, _SOMEBODY, now - timedelta(microseconds=1))
            if not is_ours:
                raise FileChangedError(f"{path.name} was changed by somebody else meanwhile.")
        else:
            try:
                os.link(fresh, path)
            except FileExistsError:
                raise FileChangedError(f"{name} was made by somebody else meanwhile.") from None
            finally:
                fresh.unlink(missing_ok=True)
        if in_git:
            _commit(root, name, who, f"Change {name} in the comms room")
        if not in_git or (path.read_bytes() if path.exists() else b"") != data:  # written over at this moment
            _write(fresh, data, like=path if path.exists() else None)
            _keep(root, name, fresh, who, now)


def add_file(root: Path, name: str, data: bytes, *, who: str) -> None:
    """Add a file of any kind atomically. Raises FileChangedError if a file with other bytes exists."""
    path = _locate(root, name)
    with _locked(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        _write(fresh, data, like=None)
        try:
            os.link(fresh, path)
        except FileExistsError:
            if path.read_bytes() != data:
                raise FileChangedError(f"There is another file {name} already.") from None
            return
        finally:
            fresh.unlink(missing_ok=True)
        if _is_repository(root) and not _is_ignored(root, name):
            _commit(root, name, who, f"Add {name} in the comms room")


def _swap(fresh: Path, path: Path, opened: str) -> bool:
    """Exchange two files. Returns False, with both as they were, if somebody has changed the old file since."""
    try:
        _exchange(fresh, path)
        if _digest(fresh.read_bytes()) == opened:
            return True
        _exchange(fresh, path)
    except FileNotFoundError:  # somebody deleted it at this moment
        pass
    return False


def _exchange(fresh: Path, path: Path) -> None:
    """Exchange two files in one step, if the system can do this."""
    try:
        _rename_exchange(fresh, path)
    except (OSError, AttributeError):
        # No such call here: keep a second name of the old file, then replace it.
        old = path.with_name(f".{path.name}.old")
        old.unlink(missing_ok=True)
        os.link(path, old)
        fresh.replace(path)
        old.replace(fresh)


def _rename_exchange(first: Path, second: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE: no moment at which the file is missing or a change could be lost."""
    call = ctypes.CDLL(None, use_errno=True).renameat2
    if call(_AT_CWD, os.fsencode(first), _AT_CWD, os.fsencode(second), _EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def difference(old: str, new: str) -> list[tuple[str, str]]:
    """Return the changed lines with three lines around them, as (`+`, `-`, ` ` or `@`, text)."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3)
    return [(line[:1], line[1:] if line[:1] != "@" else "") for line in lines if line[:3] not in ("---", "+++")]


def list_versions(root: Path, name: str) -> list[FileVersion]:
    """Return the kept versions of a file, the newest first, without the one in `history/` that the file still has."""
    current = _locate(root, name)
    paths = _kept_files(root, name)
    if paths and current.exists() and paths[-1].read_bytes() == current.read_bytes():
        paths.pop()
    kept = []
    for path in paths:
        id_ = path.name.partition(" ")[0]
        at = datetime.strptime(id_.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        kept.append(FileVersion(id_, at, path.name.partition(" ")[2]))
    if _is_repository(root):
        log = _git(root, "log", f"-{_MOST_VERSIONS}", "--format=%H%x09%cI%x09%an", "--", name)
        for line in log.splitlines():
            commit, at_text, who = line.split("\t", 2)
            kept.append(FileVersion(commit, datetime.fromisoformat(at_text), who))
    return sorted(kept, key=lambda version: version.at, reverse=True)[:_MOST_VERSIONS]


def read_version(root: Path, name: str, version: str) -> str | None:
    """Return the text of a kept version, or None if there is no such version."""
    _locate(root, name)
    if _COMMIT.fullmatch(version) and _is_repository(root):
        try:
            return _git(root, "show", f"{version}:./{name}")
        except RefusedError:
            return None
    if not _VERSION.fullmatch(version):
        return None
    folder = root / HISTORY / name
    found = next((path for path in folder.glob(f"{version}*") if path.is_file()), None) if folder.is_dir() else None
    return None if found is None else found.read_text(encoding="utf-8", errors="replace")


def _keep(root: Path, name: str, file: Path, who: str, now: datetime) -> None:
    """Move a version to `history/`, under its time and who wrote it. It replaces the newest there if that is the same.

    Moving it keeps also what a program that has the file open writes into it later.
    """
    folder = root / HISTORY / name
    folder.mkdir(parents=True, exist_ok=True)
    data = file.read_bytes()
    kept = _kept_files(root, name)
    if not kept or kept[-1].read_bytes() != data:
        safe = re.sub(r"[^\w.@+-]", "_", who)[:80]
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S%f")
        kept.append(folder / f"{stamp}-{_digest(data)[:8]} {safe}")
    file.replace(kept[-1])


def _kept_files(root: Path, name: str) -> list[Path]:
    """Return the versions in `history/`, the oldest first."""
    folder = root / HISTORY / name
    return sorted(path for path in folder.iterdir() if _VERSION.match(path.name)) if folder.is_dir() else []


def _locate(root: Path, name: str) -> Path:
    """Return the path of a file, which must be inside the newsroom and not hidden.

    A link may lead to a file of the same folder only: one among the stories must not show a writer the newsroom's keys.
    """
    parts = name.split("/")
    path = root / name
    if not name or any(part in ("", ".", "..") or part.startswith(".") for part in parts) or "\0" in name:
        raise RefusedError(f"{name!r} is not a file of the newsroom")
    folder = root / parts[0] if parts[1:] else root
    if not path.resolve().is_relative_to(folder.resolve()) or not path.resolve().is_relative_to(root.resolve()):
        raise RefusedError(f"{name} is a link that leads out of its folder")
    return path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes, like: Path | None) -> None:
    path.unlink(missing_ok=True)
    mode = like.stat().st_mode & 0o777 if like is not None else 0o644
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Let one save happen at a time, of all processes."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_repository(root: Path) -> bool:
    return (root / ".git").exists()


def _is_ignored(root: Path, name: str) -> bool:
    try:
        _git(root, "check-ignore", "--quiet", "--", name)
    except RefusedError:
        return False
    return True


def _commit(root: Path, name: str, who: str, subject: str) -> None:
    """Commit one file, if it differs from the last commit. A file that git ignores is not committed."""
    author = f"{re.sub(r'[<>]', '', who.partition('@')[0])} <{who if '@' in who else 'room@localhost'}>"
    _git(root, "add", "--", name)
    if not _git(root, "status", "--porcelain", "--", name):
        return
    names = ["-c", "user.name=Tidings", "-c", "user.email=room@localhost", "-c", "commit.gpgsign=false"]
    _git(root, *names, "commit", "--quiet", "--no-verify", f"--author={author}", "-m", subject, "--", name)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise RefusedError("The folder is a git repository, but git is not installed. Nothing was saved.") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        words = (error.stderr or b"").decode("utf-8", "replace").strip().splitlines()
        raise RefusedError(f"git refused: {words[-1] if words else 'no answer'}") from None
    return done.stdout.decode("utf-8", "replace")
