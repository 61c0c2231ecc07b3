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

# Dropbox, Nextcloud and OneDrive, Syncthing, the file managers of Windows, macOS and GNOME.
_COPY = re.compile(
    r"\(.*conflict.*\)|\[conflict.*\]|\.sync-conflict-|_conflict-"
    r"| -? ?(copy|копия)( \(?\d+\)?)?(?=\.)|\((copy|копия)\)| \(\d+\)(?=\.)",
    re.IGNORECASE,
)
_RECENT = 2_000_000_000
"""Nanoseconds: a file written so lately could change again without its times changing; it is read again."""


class Settings(SourceSettings):
    """A folder of Markdown files inside the newsroom."""

    path: Line = Field(default="content", description="The folder, relative to the newsroom; must lie inside it.")


@dataclass(frozen=True, slots=True)
class _CachedFile:
    """A file as it was read. `needs` are the files that its outcome hangs on, None where there was none."""

    signature: Signature
    needs: tuple[tuple[Path, Signature | None], ...]
    item: SourceItem | None
    problems: tuple[Problem, ...]


class _UnreadableFolderError(Exception):
    """A folder cannot be listed: what is in it is not known, so nothing may count as vanished."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class FolderSource:
    """Sweeps a folder; an unchanged file costs one look at its times. Symlinks that lead out are refused."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self.settings = settings
        self.context = context
        self._read: dict[str, _CachedFile] = {}
        self._measured: dict[tuple[Path, bool], tuple[Signature, LocalFile | MediaError]] = {}

    def watch_paths(self) -> tuple[Path, ...]:
        """The folder; whoever watches has to see its subfolders too."""
        return (self.context.root / self.settings.path,)

    def sweep(self, now: datetime) -> Sweep:
        """Read everything that changed since the last sweep; `now` plays no part in what is read."""
        root = self.context.root.resolve()
        content = (root / self.settings.path).resolve()
        if content == root or not content.is_relative_to(root):
            mend = "set the source's `path` to a folder inside the newsroom, for example content"
            return _unreadable(Problem(self.settings.path, 1, 1, "the folder is not inside the newsroom", mend))
        found: list[SourceItem] = []
        problems: list[Problem] = []
        aside: list[str] = []
        read: dict[str, _CachedFile] = {}
        try:
            entries = sorted(_walk(content, root))
        except _UnreadableFolderError as error:
            return _unreadable(error.problem)
        for ref, path in entries:
            one = self._one(ref, path, ContentLocation(root, content, path.parent, self.context.url))
            if one is None:
                continue
            read[ref] = one
            problems.extend(one.problems)
            if one.item is not None:
                found.append(one.item)
            else:
                aside.append(ref)
        self._read = read
        used = {path for one in read.values() for path, _ in one.needs}
        self._measured = {key: value for key, value in self._measured.items() if key[0] in used}
        return Sweep(tuple(found), tuple(problems), tuple(aside))

    def _one(self, ref: str, path: Path, place: ContentLocation) -> _CachedFile | None:
        """None where the file is no longer there."""
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(place.content):
                mend = "copy the file into the content folder in place of the link"
                return _refused(ref, "it is a link that leads out of the content folder", mend)
            if real.is_dir():
                return _refused(
                    ref, "it is a link to a folder, and those are not followed", "put the folder itself here"
                )
            before = signature(real.stat())
        except FileNotFoundError:
            if path.is_symlink():
                return _refused(ref, "it is a link that leads nowhere", "delete it, or mend the link")
            return None
        except (OSError, RuntimeError) as error:
            return _refused(ref, f"it cannot be read: {_why(error)}", "look at the rights of the file")
        if _COPY.search(PurePosixPath(ref).name):
            mend = "compare it with the original, keep one, and delete or rename the other"
            return _refused(ref, "by its name it is a copy that a program made of another item", mend)
        known = self._read.get(ref)
        if known is not None and known.signature == before and all(_now(file) == then for file, then in known.needs):
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
            return _refused(ref, f"it cannot be read: {_why(error)}", "look at the rights of the file")
        files = _MeasuredFiles(self._measured)
        item, problems = read_document(raw, ref, place, self.context, files)
        return _CachedFile(_settled(before), tuple(files.needs.items()), item, tuple(problems))


class _MeasuredFiles:
    """Measures for one document, and remembers on what it hangs."""

    def __init__(self, measured: dict[tuple[Path, bool], tuple[Signature, LocalFile | MediaError]]) -> None:
        self._measured = measured
        self.needs: dict[Path, Signature | None] = {}

    def measured(self, path: Path, *, picture: bool) -> LocalFile:
        try:
            status = signature(path.stat())
        except OSError as error:
            self.needs[path] = None
            raise MediaError(f"{path.name} cannot be read: {_why(error)}", "look at the rights of the file") from None
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

    def missed(self, path: Path) -> None:
        self.needs[path] = None


def _walk(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Every `*.md` in the folder and below, as (path from the root with slashes, path). Hidden ones are left alone."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        ref = folder.relative_to(root).as_posix()
        mend = "mount or create it, or look at its rights"
        raise _UnreadableFolderError(Problem(ref, 1, 1, f"the folder cannot be read: {_why(error)}", mend)) from None
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith((".", "~$", "#")):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, root)
        elif entry.name.lower().endswith(".md") or (entry.is_symlink() and entry.is_dir()):
            # A name that is no UTF-8 (Latin-1 from an old disk) cannot stand in the store as it is.
            ref = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")
            yield ref, path


def _refused(ref: str, message: str, mend: str) -> _CachedFile:
    return _CachedFile((0, 0, 0, 0, 0), (), None, (Problem(ref, 1, 1, message, mend),))


def _unreadable(problem: Problem) -> Sweep:
    return Sweep((), (problem,), (), is_readable=False)


def _now(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return signature(status) if stat.S_ISREG(status.st_mode) else None


def _settled(taken: Signature) -> Signature:
    """The signature, or one that nothing equals while the clock of the file system may still stand where it stood."""
    return taken if time.time_ns() - max(taken[3], taken[4]) > _RECENT else (0, 0, 0, 0, 0)


def _why(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def make(settings: Settings, context: SourceContext) -> FolderSource:
    """The source of one name."""
    return FolderSource(settings, context)
