"""The default source: a folder of Markdown files, one item each."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import Field

from tidings.config.adapters import SourceSettings
from tidings.config.types import Line
from tidings.model.errors import Problem
from tidings.model.file_names import hash_program, is_copy
from tidings.sources.base import Listing, ReadFile, SourceContext, SourceItem, Sweep
from tidings.sources.folder.document import MAX_BYTES, read_document, too_big_problem
from tidings.sources.languages import is_language
from tidings.sources.links import ContentLocation
from tidings.sources.media import (
    LocalFile,
    MediaError,
    Signature,
    guess_media_type,
    measure,
    open_plain,
    signature,
)

_MISNAMED = re.compile(
    r"\.(md\.(txt|md|markdown|rtf|html?)|markdown|mdown|mkdn?|mdtext|mdtxt|mdx|text)$", re.IGNORECASE
)
"""Endings of Markdown files that are not read: Notepad hides `.txt`, and other programs write other endings."""
_PLACEHOLDER = re.compile(r"^\.(.+\.md)\.icloud$", re.IGNORECASE)
"""What iCloud puts in the place of a file that it keeps in the cloud alone."""
_DOCUMENT = re.compile(
    r"\.(do[ct][xm]?|od[tp]|rtf|pages|gdoc|wp[ds]|pptx?|pdf|eml|msg|mht(ml)?|epub|hwpx?|txt|html?)$", re.IGNORECASE
)
_TEMPORARY = ("~", ".tmp", ".temp", ".swp", ".bak", ".part", ".crdownload", ".download", ".orig", "#")
_RECENT = 2_000_000_000
"""In nanoseconds. A file written this recently may change again without new times, so it is read again."""
_UNKNOWN: Signature = (0, 0, 0, 0, 0)
_MEND_RIGHTS = "check the permissions of the file"


class Settings(SourceSettings):
    """A folder of Markdown files inside the newsroom."""

    path: Line = Field(default="content", description="The folder, relative to the newsroom; must lie inside it.")


@dataclass(slots=True)
class _ListedFolder:
    """The files of one folder, as in `Listing`. `key` is None if they must be listed again in any case."""

    key: int | None
    names: set[str]
    copies: frozenset[str]
    """The names that show a copy. They are looked for again only after a name has changed."""
    documents: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    others: dict[str, Problem] = field(default_factory=dict)


class _UnreadableFolderError(Exception):
    """A folder cannot be listed. Its content is unknown, so nothing may count as absent."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class FolderSource:
    """Reads a folder. Symlinks out of the folder are refused."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self.settings = settings
        self.context = context
        self._listed: dict[Path, _ListedFolder] = {}
        self._listing: Listing | None = None
        """The last listing, made of `_listed`."""
        self._odd_names: dict[str, Path] = {}
        """The files whose names are no UTF-8, by ref."""
        self._measured: dict[tuple[Path, bool], tuple[Signature, LocalFile | MediaError]] = {}

    def watch_paths(self) -> tuple[Path, ...]:
        """Return the folder. Its subfolders must be watched too."""
        return (self.context.root / self.settings.path,)

    def sweep(self, now: datetime) -> Sweep:
        """Read all files. The result does not depend on `now`."""
        listing = self.list_files()
        if listing.unreadable is not None:
            return Sweep((), (listing.unreadable,), (), is_readable=False)
        read = self.read_files(listing.documents)
        needed = {path for file in read.values() for path in file.needs}
        return Sweep(
            tuple(file.item for file in read.values() if file.item is not None),
            (
                *(problem for file in read.values() for problem in file.problems),
                *(listing.others[path] for path in sorted(listing.others.keys() - needed)),
            ),
            tuple(ref for ref, file in read.items() if file.item is None),
        )

    def list_files(self) -> Listing:
        """List all files of the folder without reading them."""
        root = self.context.root.resolve()
        content = (root / self.settings.path).resolve()
        settings = _hash_settings(self.settings, self.context)
        if content == root or not content.is_relative_to(root):
            return Listing(settings, {}, {}, {}, unreadable=_outside(self.settings.path))
        try:
            folders = {
                folder: self._list_folder(folder, entries, root, content)
                for folder, entries in _list_folders(content, root)
            }
        except _UnreadableFolderError as error:
            return Listing(settings, {}, {}, {}, unreadable=error.problem)
        is_same = list(map(id, folders.values())) == list(map(id, self._listed.values()))
        if self._listing is None or self._listing.settings != settings or not is_same:
            documents: dict[str, str] = {}
            files: dict[str, str] = {}
            others: dict[str, Problem] = {}
            for each in folders.values():
                documents |= each.documents
                files |= each.files
                others |= each.others
            self._listing = Listing(settings, documents, files, others)
        self._listed = folders
        return self._listing

    def _list_folder(
        self, folder: Path, entries: Sequence[os.DirEntry[str]], root: Path, content: Path
    ) -> _ListedFolder:
        """List the files of one folder. Returns the last result if no file has changed since."""
        key, known = _hash_statuses(entries), self._listed.get(folder)
        if known is not None and key is not None and known.key == key:
            return known
        prefix = folder.relative_to(root).as_posix() + "/"
        names = {entry.name for entry in entries if _is_candidate(entry)}
        if known is not None and known.names == names:
            copies = known.copies
        else:
            copies = frozenset(name for name in names if is_copy(unicodedata.normalize("NFC", name), names))
        listed = _ListedFolder(key, names, copies)
        for entry in entries:
            ref = _as_ref(prefix + entry.name)
            if ref != prefix + entry.name:
                self._odd_names[ref] = folder / entry.name
            signature_text = _sign(entry)
            if not signature_text:
                # It was written too recently, so that a further write may show no other time.
                listed.key = None
            if entry.name.lower().endswith(".md") or (entry.name in names and entry.is_symlink()):
                listed.documents[ref] = "copy" if entry.name in copies else signature_text
                continue
            listed.files[ref] = signature_text
            if entry.name in names:
                problem = _report_other(ref, folder / entry.name, content)
                if problem is not None and entry.is_file():
                    listed.others[ref] = problem
        return listed

    def read_files(self, refs: Collection[str]) -> dict[str, ReadFile]:
        root = self.context.root.resolve()
        content = (root / self.settings.path).resolve()
        names: dict[Path, set[str]] = {}
        read: dict[str, ReadFile] = {}
        for ref in sorted(refs):
            path = self._odd_names.get(ref, root / ref)
            if path.parent not in names:
                try:
                    with os.scandir(path.parent) as listing:
                        names[path.parent] = {entry.name for entry in listing if _is_candidate(entry)}
                except OSError:
                    names[path.parent] = set()
            if is_copy(unicodedata.normalize("NFC", path.name), names[path.parent]):
                mend = "compare it with the original, keep one, and delete or rename the other"
                message = "its name shows that a program made it as a copy of another item"
                read[ref] = _refuse(ref, message, mend, is_settled=True)
                continue
            file = self._read_file(ref, path, ContentLocation(root, content, path.parent, self.context.url))
            if file is not None:
                read[ref] = file
        self._measured.clear()
        return read

    def current_signature(self, path: str) -> str:
        """Return the signature of one file; '-' if there is none."""
        return _sign_needed(_settle_current(self.context.root.resolve() / path))

    def read_text(self, ref: str, raw: bytes) -> tuple[SourceItem | None, list[Problem]]:
        """Read `raw` as if it were the file `ref`, to check a change before it is saved."""
        root = self.context.root.resolve()
        content = (root / self.settings.path).resolve()
        location = ContentLocation(root, content, (root / ref).parent, self.context.url)
        return read_document(raw, ref, location, self.context, _MeasuredFiles({}))

    def _read_file(self, ref: str, path: Path, location: ContentLocation) -> ReadFile | None:
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
        if before[2] > MAX_BYTES:
            return ReadFile(None, (too_big_problem(ref),), {}, is_settled=True)
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
        needs = {_relative(needed, location.root): _sign_needed(taken) for needed, taken in files.needs.items()}
        is_settled = _settled(before) != _UNKNOWN and "" not in needs.values()
        return ReadFile(item, tuple(problems), needs, is_settled)


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


def _list_folders(folder: Path, root: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Yield the folder and all below it, each with its files, without hidden ones (but with iCloud's placeholders)."""
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if not entry.name.startswith((".", "~$", "#")) or _PLACEHOLDER.match(entry.name):
                    (folders if entry.is_dir(follow_symlinks=False) else files).append(entry)
    except OSError as error:
        message = f"the folder cannot be read: {_reason(error)}"
        mend = "mount or create it, or check its permissions"
        raise _UnreadableFolderError(Problem(folder.relative_to(root).as_posix(), 1, 1, message, mend)) from None
    yield folder, files
    for entry in folders:
        yield from _list_folders(folder / entry.name, root)


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    """Whether a file is an item, or somebody probably means it as one."""
    if entry.name.lower().endswith(".md"):
        return not entry.is_dir(follow_symlinks=False)
    if entry.is_symlink():
        return entry.is_dir()
    names = (_MISNAMED.search(entry.name), _DOCUMENT.search(entry.name), _PLACEHOLDER.match(entry.name))
    return (any(names) or _has_odd_ending(entry.name)) and not entry.is_dir()


def _has_odd_ending(name: str) -> bool:
    return guess_media_type(name) is None and not name.lower().endswith(_TEMPORARY)


def _is_story(path: Path) -> bool:
    """Whether a file begins with front matter."""
    try:
        with open_plain(path) as file:
            begin = file.read(4_000).decode("utf-8-sig", "replace")
    except OSError:
        return False
    return re.match(r"---[ \t]*\r?\n", begin) is not None and re.search(r"^title:", begin, re.MULTILINE) is not None


def _as_ref(path: str) -> str:
    """Return a path that the store can hold: a name may be no UTF-8 (Latin-1 from an old disk)."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _hash_statuses(entries: Sequence[os.DirEntry[str]]) -> int | None:
    """Return a hash that differs in this process when a file has changed, or None if there are symlinks."""
    parts: list[object] = []
    try:
        for entry in entries:
            if entry.is_symlink():
                return None
            own = entry.stat(follow_symlinks=False)
            parts += (entry.name, own.st_mtime_ns, own.st_ctime_ns, own.st_size, own.st_ino)
    except OSError:
        return None
    return hash(tuple(parts))


def _sign(entry: os.DirEntry[str]) -> str:
    """Return the signature of a listed file, or '' if it was written too recently or cannot be examined."""
    try:
        own = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(own.st_mode):
            return _sign_status(own)
        real, target = entry.stat(), Path(entry.path).readlink()
    except OSError:
        return ""
    signs = _sign_status(own), _sign_status(real)
    return f"{'>'.join(signs)}>{_as_ref(str(target))}" if all(signs) else ""


def _sign_status(status: os.stat_result) -> str:
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) <= _RECENT:
        return ""
    # Not the device: its number may change when the machine starts again.
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _sign_needed(taken: Signature | None) -> str:
    if taken is None:
        return "-"
    return "" if taken == _UNKNOWN else ":".join(map(str, taken[1:]))


def _settle_current(path: Path) -> Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _settled(signature(status)) if stat.S_ISREG(status.st_mode) else None


def _hash_settings(settings: Settings, context: SourceContext) -> str:
    """Return a hash of all that decides how a file is read, except its own content."""
    root = str(context.root.resolve())
    parts = (
        hash_program("sources", "model", "config", "render/mail"),  # `render/mail` finds leftovers
        repr(settings),
        context.name,
        root,
        context.url,
        context.languages,
        str(context.zone),
    )
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()


def _outside(path: str) -> Problem:
    mend = "set the source's `path` to a folder inside the newsroom, for example content"
    return Problem(path, 1, 1, "the folder is not inside the newsroom", mend)


def _report_other(ref: str, path: Path, content: Path) -> Problem | None:
    """Name a file that somebody probably means as an item, though it is not read."""
    if (placeholder := _PLACEHOLDER.match(path.name)) is not None:
        mend = "open it once on this machine, or choose to keep the folder downloaded"
        return Problem(ref, 1, 1, f"iCloud has {placeholder[1]} and has not downloaded it, so it is not read", mend)
    if _MISNAMED.search(path.name):
        stem = re.sub(r"\.md$", "", _MISNAMED.sub("", path.name), flags=re.IGNORECASE)
        mend = f"rename it to {stem}.md (show the endings of files in your file manager), or delete it"
        return Problem(ref, 1, 1, "this file is not read, because its name does not end in .md", mend)
    if path.parent != content and path.parent.name.lower() in ("media", "files", "overlay", "attachments", "documents"):
        return None
    if not _DOCUMENT.search(path.name):
        if not _is_story(path):
            return None
        stem = re.split(r"\.md(?![A-Za-z])", path.name)[0]
        if stem == path.name and not is_language(path.suffix[1:]):
            stem = path.stem
        mend = f"rename it to {stem}.md, or delete it"
        return Problem(ref, 1, 1, "this file is not read, because its name does not end in .md", mend)
    stem = path.stem.removesuffix(".md")
    mend = f"save its text as {stem}.md (NAME.LANG.md), move it to {content.name}/media, or delete it"
    return Problem(ref, 1, 1, "this document is not an item, and no item links to it", mend, "warning")


def _refuse(ref: str, message: str, mend: str, *, is_settled: bool = False) -> ReadFile:
    return ReadFile(None, (Problem(ref, 1, 1, message, mend),), {}, is_settled)


def _settled(taken: Signature) -> Signature:
    """Return the signature, or one that matches no other if the file was written too recently."""
    return taken if time.time_ns() - max(taken[3], taken[4]) > _RECENT else _UNKNOWN


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def make(settings: Settings, context: SourceContext) -> FolderSource:
    return FolderSource(settings, context)
