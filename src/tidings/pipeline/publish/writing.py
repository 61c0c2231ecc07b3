"""Write files into public/: atomically, only where bytes changed, and with a fork for each core if there are many."""

from __future__ import annotations

import errno
import fcntl
import getpass
import gzip
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from tidings.child_process import start_fork
from tidings.config.settings import Newsroom
from tidings.model.item import Item, Media
from tidings.pipeline.publish.site_files import SiteFile, media_path
from tidings.store.content import site_files
from tidings.store.content.site_files import PublishedFile
from tidings.store.engine import Store, lock_file

GZIP_ENDINGS = frozenset({".html", ".css", ".js", ".rss", ".atom", ".json", ".opml", ".xml", ".txt", ".ics"})
"""Text files that get a `.gz` file beside them."""
_GZIPPED = tuple(GZIP_ENDINGS)
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
"""Permissions that let a web server of another user serve public/."""
SAVED = 500
"""Number of rows of written files to save in one transaction."""
_FIRST, _BATCH = 50, 200
"""Number of files that are made before any fork, and in each fork."""
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The written and removed paths below public/, and the number of unchanged files."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    failed: tuple[str, ...] = ()
    """Files that could not be written or removed: path, reason, owner and remedy. All other files were written."""


def hash_basis(configuration: str, basis: object) -> str:
    """Return a hash of the inputs of a file's bytes, or '' if they are unknown."""
    if basis is None:
        return ""
    parts = [configuration]
    _describe(basis, parts)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _describe(value: object, parts: list[str]) -> None:
    """Append a text that is the same for equal values in every process. Items are identified by id and version."""
    kind: Any = type(value)
    if isinstance(value, str):
        parts.append(f"{len(value)} {value}")
    elif isinstance(value, Item):
        parts.append(f"{value.id} {value.version}")
    elif isinstance(value, (tuple, list)):
        parts.append(f"{len(value)}:")
        for each in value:
            _describe(each, parts)
    elif isinstance(value, Mapping):
        parts.append(f"{len(value)}=")
        for key, each in sorted(value.items()):
            parts.append(str(key))
            _describe(each, parts)
    elif names := _field_names(kind):
        parts.append(kind.__name__)
        for name in names:
            _describe(getattr(value, name), parts)
    else:
        parts.append(repr(value))


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()


def write_files(
    store: Store,
    newsroom: Newsroom,
    known: dict[str, PublishedFile],
    wanted: Iterable[SiteFile],
    now: datetime,
    configuration: str,
    *,
    force: bool = False,
    processes: int = 1,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[PublishResult, bool]:
    """Write the wanted files and remove all other `known` files. The caller holds the lock.

    A file is not rendered if it exists and if its basis and the configuration are unchanged. `processes`: how many
    forks may render files. `on_progress` gets the number of finished files. Returns the result, and whether it is
    complete.
    """
    public = newsroom.public
    writing = _Writing(store, newsroom, known, now)
    batch: list[_Pending] = []
    running: deque[tuple[list[_Pending], Callable[[], list[_Outcome]]]] = deque()
    kept, failed = writing.kept, writing.failed
    try:
        for file in wanted:
            before = known.get(file.path)
            if file.path in kept:
                continue
            kept.add(file.path)
            if file.is_fixed and before is not None and is_intact(public, before):
                writing.unchanged += 1
                continue
            basis = hash_basis(configuration, file.basis)
            if file.media is not None:
                is_same = before is not None and before.etag == _etag_of_media(file.media)
            else:
                is_same = before is not None and before.basis == basis != "" and not force
            if before is not None and is_same and is_intact(public, before):
                writing.unchanged += 1
                continue
            pending = _Pending(file, before, basis)
            # The first files are made here: what they load, such as templates, is then there in each fork.
            if processes == 1 or file.is_fixed or file.media is not None or len(writing.written) < _FIRST:
                writing.note(pending, writing.make(pending))
            else:
                batch.append(pending)
            if len(batch) == _BATCH:
                running.append((batch, start_fork(partial(writing.make_in_fork, batch))))
                batch = []
            if len(running) > processes:
                writing.note_all(*running.popleft())
            on_progress(len(kept) - len(batch) - _BATCH * len(running))
        for pending in batch:
            writing.note(pending, writing.make(pending))
        while running:
            writing.note_all(*running.popleft())
    finally:
        # This also runs after an error in a template: the files written so far have new ETags.
        for others, wait in running:
            with suppress(Exception):
                writing.note_all(others, wait)
        writing.save()
    removed = sorted(set(known) - kept)
    for path in list(removed):
        try:
            _remove(public, path)
        except OSError as error:
            failed.append(describe_unwritable(public / path, error, public))
            removed.remove(path)
            writing.complete = False
    if removed:
        with store.write() as connection:
            site_files.delete_files(connection, removed)
    written = tuple(sorted(writing.written))
    return PublishResult(written, tuple(removed), writing.unchanged, tuple(failed)), writing.complete


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file to render, its published version, and the hash of its new basis."""

    file: SiteFile
    before: PublishedFile | None
    basis: str


_Outcome = tuple[Literal["same", "written", "unwritable", "unavailable", "impossible"], PublishedFile | None, list[str]]
"""What became of a file, its new version, and why it could not be written."""


class _Writing:
    """The state of one call of `write_files`."""

    def __init__(self, store: Store, newsroom: Newsroom, known: Mapping[str, PublishedFile], now: datetime) -> None:
        self._store, self._newsroom, self._known, self._now = store, newsroom, known, now
        self._changed: list[PublishedFile] = []
        self.written: list[str] = []
        self.kept: set[str] = set()
        self.failed: list[str] = []
        self.unchanged, self.complete = 0, True

    def make(self, pending: _Pending) -> _Outcome:
        """Render one file, and write it if its bytes are new."""
        file, before, public = pending.file, pending.before, self._newsroom.public
        content = b"" if file.media else file.render()
        if content is None or (content == b"" and file.is_fixed):
            return "unavailable" if content is None else "impossible", None, []
        etag = _etag_of_media(file.media) if file.media else _etag(content)
        modified = before.modified if before and before.etag == etag else _moment(self._now, before)
        published = PublishedFile(file.path, etag, modified, pending.basis)
        if before and before.etag == etag and is_intact(public, published):
            return "same", published, []
        failed: list[str] = []
        is_written = _try_write(public, published, file, content, self._newsroom.root, failed)
        # A media file that changed or vanished after its item was read is unavailable too.
        return "written" if is_written else "unwritable" if is_written is None else "unavailable", published, failed

    def make_in_fork(self, batch: Sequence[_Pending]) -> list[_Outcome]:
        """Make several files, in a fork of the process that notes the outcomes."""
        self._store.leave_connections()
        return [self.make(pending) for pending in batch]

    def note(self, pending: _Pending, outcome: _Outcome) -> None:
        """Note what became of a file."""
        state, published, failed = outcome
        self.failed += failed
        if state == "same":
            self.unchanged += 1
        elif state == "written":
            self.written.append(pending.file.path)
        else:
            # The next call tries again, except bytes that can never be converted. An unwritable file stays as it was.
            self.complete = self.complete and state == "impossible"
            if state != "unwritable":
                self.kept.discard(pending.file.path)
            return
        if published is not None and published != pending.before:
            self._changed.append(published)
        if len(self._changed) >= SAVED:
            self.save()

    def note_all(self, batch: Sequence[_Pending], wait: Callable[[], list[_Outcome]]) -> None:
        """Wait for a fork, and note what became of its files."""
        for pending, outcome in zip(batch, wait(), strict=True):
            self.note(pending, outcome)

    def save(self) -> None:
        """Save the rows of the written files."""
        if self._changed:
            with self._store.write() as connection:
                site_files.save_files(connection, self._changed)
        self._changed = []


@contextmanager
def publish_lock(public: Path) -> Iterator[None]:
    """Allow one publisher at a time on this machine, so that an older state never overwrites a newer one."""
    _make_folder(public)
    descriptor = os.open(public / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)  # another user who can open the file could hold the lock
        lock_file(file.fileno(), fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents in public/, readable for a web server regardless of the umask."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)


def _etag(content: bytes) -> str:
    """Return a hash of the bytes with their length, because the length alone often shows that a file is damaged."""
    return f"{hashlib.sha256(content).hexdigest()[:24]}-{len(content):x}"


def _etag_of_media(media: Media) -> str:
    return f"{media.digest}-{media.length:x}"


def _moment(now: datetime, before: PublishedFile | None) -> datetime:
    """Return a time that is later than the last version of this path, in whole seconds as in HTTP."""
    moment = now.replace(microsecond=0)
    return moment if before is None else max(moment, before.modified + _SECOND)


def is_intact(public: Path, published: PublishedFile) -> bool:
    """Whether size and modification time of the file are still as we wrote them."""
    path = f"{public}/{published.path}"
    length = int(published.etag.rpartition("-")[2], 16)
    moment = int(published.modified.timestamp()) * 10**9
    try:
        status = os.lstat(path)
        if status.st_size != length or status.st_mtime_ns != moment:
            return False
        if path.endswith(_GZIPPED) and not published.path.startswith("media/"):
            return os.lstat(f"{path}.gz").st_mtime_ns == moment
    except OSError:
        return False
    return True


def _try_write(
    public: Path, published: PublishedFile, file: SiteFile, content: bytes, root: Path, failed: list[str]
) -> bool | None:
    """Write a file. If the disk or the permissions do not allow it, returns None and adds the reason to `failed`."""
    try:
        return _write(public, published, file, content, root)
    except OSError as error:
        failed.append(describe_unwritable(public / file.path, error, public))
        return None


def describe_unwritable(path: Path, error: OSError, public: Path) -> str:
    """Describe a path that cannot be written: the reason, the owner, and the remedy."""
    place = next((each for each in (path, *path.parents) if each.exists() or each == each.parent), path)
    try:
        owner = place.owner()
    except (KeyError, OSError):
        owner = "somebody unknown"
    user = getpass.getuser()
    reason = error.strerror or str(error)
    text = f"{path} cannot be written: {reason}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"{text}. Free some space on this disk"
        case errno.EROFS:
            return f"{text}. Mount this disk so that {user} may write"
        case errno.EACCES | errno.EPERM:
            return f"{text}. {place} belongs to {owner}. Run: sudo chown -R {user} {public}"
    return f"{text}. {place} belongs to {owner}"


def _write(public: Path, published: PublishedFile, file: SiteFile, content: bytes, root: Path) -> bool:
    """Write a file. Returns False if the media file to copy has changed."""
    path = public / file.path
    _make_folder(path.parent)
    if file.media is not None:
        return _place(path, published.modified, source=media_path(file.media, root), media=file.media)
    if path.suffix in GZIP_ENDINGS:
        _place(_beside(path), published.modified, content=gzip.compress(content, 9, mtime=0))
    return _place(path, published.modified, content=content)


def _place(
    path: Path, modified: datetime, *, content: bytes = b"", source: Path | None = None, media: Media | None = None
) -> bool:
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}.new")
    try:
        if source is not None and media is not None:
            try:
                shutil.copyfile(source, temporary)
            except OSError:
                return False
            with temporary.open("rb") as file:
                if not hashlib.file_digest(file, "sha256").hexdigest().startswith(media.digest):
                    return False
        else:
            temporary.write_bytes(content)
        temporary.chmod(_FILE_MODE)
        # A web server that serves public/ takes Last-Modified from this time.
        seconds = int(modified.timestamp())
        os.utime(temporary, (seconds, seconds))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _remove(public: Path, document_path: str) -> None:
    """Remove a file, its `.gz`, and folders that are now empty."""
    path = public / document_path
    for each in (path, _beside(path)):
        if each.is_symlink() or each.is_file():
            each.unlink()
    for folder in path.parents:
        if folder == public:
            break
        try:
            folder.rmdir()
        except OSError:
            break
