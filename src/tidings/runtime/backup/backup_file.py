"""The backup file: a tar.gz with the store, the newsroom's files, and a manifest with a checksum of each.

TIDINGS-BACKUP.txt     says what this file is
store.db               the store, always as SQLite
newsroom/...           the files of the newsroom
manifest.json          comes last: version, time, counts, and size and SHA-256 of everything before it
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tidings.model.errors import InputError

LABEL = "TIDINGS-BACKUP.txt"
STORE = "store.db"
FILES = "newsroom/"
MANIFEST = "manifest.json"
_LABEL_TEXT = b"A backup of a Tidings newsroom. `tidings restore FILE` restores it.\n"
_CHUNK = 1 << 20
_MAX_MEMBERS = 200_000
_MAX_MANIFEST = 64 << 20
_MAX_NAME = 1_000

_MAX_HEADER = 64 << 10
"""Bytes of an extended header. Ours hold a long name or a time."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the total."""


class BackedUpFile(BaseModel):
    """Size in bytes and hexadecimal SHA-256 of one file."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    size: int
    sha256: str


class Manifest(BaseModel):
    """The table of contents of a backup file."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: int = 1
    version: str
    """Version of Tidings that made the backup."""
    schema_version: str
    made: datetime
    """Real time at which the store was copied."""
    clock: datetime | None = None
    """The newsroom's own clock at that time."""
    database: str
    """Kind of the original database: sqlite or postgresql."""
    counts: Mapping[str, int]
    """Rows of each table."""
    places: tuple[str, ...]
    """Files and folders of the newsroom that the backup covers, also those that did not exist."""
    environment: tuple[str, ...] = ()
    """Names of the variables that the newsroom needs. No backup has their values."""
    members: Mapping[str, BackedUpFile] = {}


# -- writing ----------------------------------------------------------------------------------------------------------


def write_backup_file(
    path: Path, manifest: Manifest, store: Path, files: Iterable[tuple[str, Path]], progress: Progress
) -> Manifest:
    """Write a new file `path` (mode 0600) to the disk, and return the manifest with all members.

    The names of `files` are relative to the newsroom. Raises InputError for a file that shrinks meanwhile.
    """
    sources = [(STORE, store), *((FILES + name, source) for name, source in files)]
    total = sum(source.stat().st_size for _, source in sources)
    members: dict[str, BackedUpFile] = {}
    done = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=5, format=tarfile.PAX_FORMAT) as tar:
            members[LABEL] = _add_bytes(tar, LABEL, _LABEL_TEXT, manifest.made)
            for name, source in sources:
                members[name] = _add_file(tar, name, source)
                done += members[name].size
                progress(done, max(total, done))
            manifest = manifest.model_copy(update={"members": members})
            _add_bytes(tar, MANIFEST, manifest.model_dump_json(indent=1).encode(), manifest.made)
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> BackedUpFile:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        stat = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = stat.st_size, int(stat.st_mtime), stat.st_mode & 0o777
        reader = _HashingReader(file, info.size)
        try:
            tar.addfile(info, reader)
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(f"{path} became shorter during the backup. Run the backup again.") from None
        return BackedUpFile(size=info.size, sha256=reader.sha256.hexdigest())


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes, made: datetime) -> BackedUpFile:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), int(made.timestamp()), 0o600
    tar.addfile(info, io.BytesIO(content))
    return BackedUpFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class _HashingReader:
    """Reads the first `size` bytes of a file and hashes them: the file may grow meanwhile."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        self.sha256.update(chunk)
        return chunk


# -- reading ----------------------------------------------------------------------------------------------------------


class _BoundedInfo(tarfile.TarInfo):
    """A member of an archive that nobody has checked. tarfile alone would read a header of any size into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        is_file = self.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
        if not is_file and self.size > _MAX_HEADER:
            raise tarfile.ReadError(f"it has a header of {self.size:,} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


_UNREADABLE = (EOFError, tarfile.TarError, zlib.error, ValueError, OverflowError, RecursionError)
"""Errors of tarfile and gzip for odd archives: headers without end, sizes and times that are not numbers."""


def is_backup_file(path: Path) -> bool:
    """Return whether a file begins like a backup."""
    try:
        with tarfile.open(path, "r|gz", tarinfo=_BoundedInfo) as tar:
            first = tar.next()
            return first is not None and first.name == LABEL
    except (OSError, *_UNREADABLE):
        return False


def check_backup_file(path: Path, progress: Progress | None = None) -> Manifest:
    """Check names and checksums in the whole file, and that no member is missing or unexpected. Writes nothing.

    Raises InputError with the first problem.
    """
    members: dict[str, BackedUpFile] = {}
    manifest: Manifest | None = None
    with _plain_errors(path):
        for info, content in _iterate_members(path, progress):
            if manifest is not None:
                raise InputError(f"{path} is not a backup of Tidings: it has files after its {MANIFEST}.")
            if info.name == MANIFEST:
                if info.size > _MAX_MANIFEST:
                    raise InputError(f"{path} is not a backup of Tidings: its {MANIFEST} has {info.size:,} bytes.")
                manifest = _parse_manifest(path, content.read())
                continue
            members[info.name] = _copy(info, content, lambda chunk: None)
    if manifest is None:
        raise InputError(f"{path} is not a complete backup of Tidings: it has no {MANIFEST}. Take another backup.")
    for name in sorted(members.keys() | manifest.members.keys()):
        if members.get(name) != manifest.members.get(name):
            raise InputError(f"{path} is damaged: {name} differs from its checksum. Take another backup.")
    for name in members:
        inside = name.removeprefix(FILES)
        if inside != name and not any(inside == place or inside.startswith(f"{place}/") for place in manifest.places):
            raise InputError(f"{path} is refused: its {MANIFEST} does not list the place of {name}.")
    if STORE not in members:
        raise InputError(f"{path} is not a complete backup of Tidings: it has no {STORE}.")
    return manifest


def extract_backup_file(path: Path, manifest: Manifest, folder: Path, progress: Progress | None = None) -> None:
    """Extract a checked file into the empty `folder`, and sync it to the disk."""
    with _plain_errors(path):
        for info, content in _iterate_members(path, progress):
            if info.name in (LABEL, MANIFEST):
                continue
            target = folder.joinpath(*PurePosixPath(info.name).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if info.name in (STORE, FILES + "keys.json") else (info.mode & 0o755) | 0o600
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                written = _copy(info, content, file.write)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.utime(file.fileno(), (info.mtime, info.mtime))
                os.fsync(file.fileno())
            if manifest.members.get(info.name) != written:
                raise InputError(f"{path} changed during the restore: {info.name} is different now. Try again.")


def _copy(info: tarfile.TarInfo, content: IO[bytes], write: Callable[[bytes], object]) -> BackedUpFile:
    sha256 = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        sha256.update(chunk)
        write(chunk)
    return BackedUpFile(size=info.size, sha256=sha256.hexdigest())


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn the errors of tarfile and gzip into messages for people."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a complete backup of Tidings: {error or 'it is cut off'}.") from None
    except OSError as error:
        if error.errno is None:  # gzip raises this for a file of another format
            raise InputError(f"{path} is not a backup of Tidings: {error}.") from None
        raise


def _iterate_members(path: Path, progress: Progress | None) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield each member with its content, in the order of the file. Raises InputError for an unsafe member."""
    seen: set[str] = set()
    done = 0
    with tarfile.open(path, "r|gz", tarinfo=_BoundedInfo) as tar:
        for info in tar:
            if not seen and info.name != LABEL:
                raise InputError(f"{path} is not a backup of Tidings: it does not begin with {LABEL}.")
            if not info.isreg() or info.sparse is not None:
                raise InputError(f"{path} is refused: {info.name} is not a regular file.")
            inside = info.name.removeprefix(FILES)
            if not (is_inside(inside) if inside != info.name else info.name in (LABEL, STORE, MANIFEST)):
                raise InputError(f"{path} is refused: {info.name!r} would be outside the newsroom.")
            if info.name in seen or len(seen) >= _MAX_MEMBERS:
                raise InputError(f"{path} is refused: it has {info.name} twice, or too many files.")
            seen.add(info.name)
            content = tar.extractfile(info)
            assert content is not None
            yield info, content
            done += info.size
            if progress is not None:
                progress(done, done)


def is_inside(name: str) -> bool:
    """Return whether a relative path stays in its folder, and out of the working folders of a restore."""
    parts = name.split("/")
    is_plain = all(part not in ("", ".", "..") for part in parts) and "\0" not in name and "\\" not in name
    return is_plain and len(name) <= _MAX_NAME and not parts[0].startswith((".restoring", "before-restore-"))


def _parse_manifest(path: Path, raw: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: its {MANIFEST} cannot be read: {where}: {first['msg']}.") from None
    if manifest.format != 1:
        raise InputError(
            f"Tidings {manifest.version} made {path} in a format that this version cannot read. Use a newer version."
        )
    if manifest.made.tzinfo is None or not all(is_inside(place) for place in manifest.places):
        raise InputError(f"{path}: Tidings did not write its {MANIFEST}.")
    return manifest
