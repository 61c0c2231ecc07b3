"""The default source: a folder of Markdown files, one item each."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from pydantic import Field

from tidings.config.adapters import SourceSettings
from tidings.config.types import Line
from tidings.model.errors import Problem
from tidings.sources.base import SourceContext, SourceItem, Sweep
from tidings.sources.folder.document import MAX_BYTES, read_document, too_big_problem
from tidings.sources.links import ContentLocation
from tidings.sources.media import LocalFile, MediaError, Signature, measure, open_plain, signature

# Copies by Dropbox, Nextcloud and OneDrive, Syncthing, and the file managers of Windows, macOS and GNOME.
_COPY = re.compile(
    r"\([^()]*conflict|\[conflict|\.sync-conflict-|_conflict-"
    r"| -? ?(copy|копия)( \(?\d+\)?)?(?=\.)|\((copy|копия)\)| \(\d+\)(?=\.)",
    re.IGNORECASE,
)
_RECENT = 2_000_000_000
"""In nanoseconds. A file written this recently may change again without new times, so it is read again."""
_UNKNOWN: Signature = (0, 0, 0, 0, 0)
_MEND_RIGHTS = "check the permissions of the file"


class Settings(SourceSettings):
    """A folder of Markdown files inside the newsroom."""

    path: Line = Field(default="content", description="The folder, relative to the newsroom; must lie inside it.")


@dataclass(frozen=True, slots=True)
class _CachedFile:
    """The result of reading a file. `needs` has the files that it depends on, with None for a missing file."""

    signature: Signature
    needs: tuple[tuple[Path, Signature | None], ...]
    item: SourceItem | None
    problems: tuple[Problem, ...]


class _UnreadableFolderError(Exception):
    """A folder cannot be listed. Its content is unknown, so nothing may count as absent."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class FolderSource:
    """Reads a folder. An unchanged file needs only a check of its times. Symlinks out of the folder are refused."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self.settings = settings
        self.context = context
        self._read: dict[str, _CachedFile] = {}
        self._measured: dict[tuple[Path, bool], tuple[Signature, LocalFile | MediaError]] = {}

    def watch_paths(self) -> tuple[Path, ...]:
        """Return the folder. Its subfolders must be watched too."""
        return (self.context.root / self.settings.path,)

    def sweep(self, now: datetime) -> Sweep:
        """Read all files that changed since the last sweep. The result does not depend on `now`."""
        root = self.context.root.resolve()
        content = (root / self.settings.path).resolve()
        if content == root or not content.is_relative_to(root):
            mend = "set the source's `path` to a folder inside the newsroom, for example content"
            return _unreadable(Problem(self.settings.path, 1, 1, "the folder is not inside the newsroom", mend))
        try:
            paths = sorted(_walk(content, root))
        except _UnreadableFolderError as error:
            return _unreadable(error.problem)
        read: dict[str, _CachedFile] = {}
        for ref, path in paths:
            file = self._read_file(ref, path, ContentLocation(root, content, path.parent, self.context.url))
            if file is not None:
                read[ref] = file
        self._read = read
        used = {path for file in read.values() for path, _ in file.needs}
        self._measured = {key: value for key, value in self._measured.items() if key[0] in used}
        return Sweep(
            tuple(file.item for file in read.values() if file.item is not None),
            tuple(problem for file in read.values() for problem in file.problems),
            tuple(ref for ref, file in read.items() if file.item is None),
        )

    def _read_file(self, ref: str, path: Path, location: ContentLocation) -> _CachedFile | None:
        """Read one file, or return None if it no longer exists."""
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(location.content):
                mend = "copy the file into the content folder in place of the link"
                return _refuse(ref, "it is a link that leads out of the content folder", mend)
            if real.is_dir():
                return _refuse(
                    ref, "it is a link to a folder; such links are not followed", "put the folder itself here"
                )
            before = signature(real.stat())
        except FileNotFoundError:
            if path.is_symlink():
                return _refuse(ref, "it is a link to a file that does not exist", "delete it, or correct the link")
            return None
        except (OSError, RuntimeError) as error:
            return _refuse(ref, f"it cannot be read: {_reason(error)}", _MEND_RIGHTS)
        if _COPY.search(PurePosixPath(ref).name):
            mend = "compare it with the original, keep one, and delete or rename the other"
            return _refuse(ref, "its name shows that a program made it as a copy of another item", mend)
        known = self._read.get(ref)
        if (
            known is not None
            and known.signature == before
            and all(_current(path) == then for path, then in known.needs)
        ):
            return known
        if before[2] > MAX_BYTES:
            return _CachedFile(before, (), None, (too_big_problem(ref),))
        try:
            with open_plain(real) as file:
                raw = file.read(MAX_BYTES + 1)
                before = signature(os.fstat(file.fileno()))
        except FileNotFoundError:
            return None
        except OSError as error:
            return _refuse(ref, f"it cannot be read: {_reason(error)}", _MEND_RIGHTS)
        files = _MeasuredFiles(self._measured)
        item, problems = read_document(raw, ref, location, self.context, files)
        return _CachedFile(_settled(before), tuple(files.needs.items()), item, tuple(problems))


class _MeasuredFiles:
    """Measures the files of one document and remembers the paths that it depends on."""

    def __init__(self, measured: dict[tuple[Path, bool], tuple[Signature, LocalFile | MediaError]]) -> None:
        self._measured = measured
        self.needs: dict[Path, Signature | None] = {}

    def measure(self, path: Path, *, picture: bool) -> LocalFile:
        try:
            status = signature(path.stat())
        except OSError as error:
            self.needs[path] = None
            raise MediaError(f"{path.name} cannot be read: {_reason(error)}", _MEND_RIGHTS) from None
        self.needs[path] = _settled(status)
        known = self._measured.get((path, picture))
        if known is None or known[0] != status:
            try:
                outcome: LocalFile | MediaError = measure(path, picture=picture)
            except MediaError as error:
                outcome = error
            known = (_settled(status), outcome)
            self._measured[path, picture] = known
        if isinstance(known[1], MediaError):
            raise known[1]
        return known[1]

    def note_missing(self, path: Path) -> None:
        self.needs[path] = None


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield all `*.md` files below the folder, except hidden files, as (path from the root with slashes, path)."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        message = f"the folder cannot be read: {_reason(error)}"
        mend = "mount or create it, or check its permissions"
        raise _UnreadableFolderError(Problem(folder.relative_to(root).as_posix(), 1, 1, message, mend)) from None
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith((".", "~$", "#")):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root)
        elif entry.name.lower().endswith(".md") or (entry.is_symlink() and entry.is_dir()):
            # The store cannot hold a name that is not UTF-8 (Latin-1 from an old disk).
            ref = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")
            yield ref, path


def _refuse(ref: str, message: str, mend: str) -> _CachedFile:
    return _CachedFile(_UNKNOWN, (), None, (Problem(ref, 1, 1, message, mend),))


def _unreadable(problem: Problem) -> Sweep:
    return Sweep((), (problem,), (), is_readable=False)


def _current(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return signature(status) if stat.S_ISREG(status.st_mode) else None


def _settled(taken: Signature) -> Signature:
    """Return the signature, or one that matches no other if the file was written too recently."""
    return taken if time.time_ns() - max(taken[3], taken[4]) > _RECENT else _UNKNOWN


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def make(settings: Settings, context: SourceContext) -> FolderSource:
    return FolderSource(settings, context)
