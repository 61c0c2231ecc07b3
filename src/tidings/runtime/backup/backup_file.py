"""The file of a backup: a tar.gz with the store, the newsroom's files and a manifest with the sum of each.

TIDINGS-BACKUP.txt     what this is, for whoever finds it
store.db               the store, always as SQLite, whatever it was
newsroom/...           files of the newsroom
manifest.json          last: version, moment, counts, size and SHA-256 of everything before it
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
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from tidings.model.errors import InputError

LABEL = "TIDINGS-BACKUP.txt"
STORE = "store.db"
FILES = "newsroom/"
MANIFEST = "manifest.json"
_WHAT = b"A backup of a Tidings newsroom. `tidings restore FILE` brings it back.\n"
_CHUNK = 1 << 20
_MOST_MEMBERS = 200_000
_MOST_MANIFEST = 64 << 20
_LONGEST_NAME = 1_000

Progress = Callable[[int, int], None]
"""Called with bytes done, and of how many."""


class BackedUpFile(BaseModel):
    """One file of the archive. `sha256` is hexadecimal, `size` in bytes."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    size: int
    sha256: str


class Manifest(BaseModel):
    """What stands in an archive."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: int = 1
    version: str
    """Of the program that made it."""
    schema_version: str
    made: datetime
    """Real time of the one moment at which the store stood so."""
    clock: datetime | None = None
    """How far the newsroom's own clock had come."""
    database: str
    """sqlite or postgresql: where the store was."""
    counts: Mapping[str, int]
    """Rows of each table."""
    places: tuple[str, ...]
    """Files and folders of the newsroom that it speaks of, whether they held anything or not."""
    environment: tuple[str, ...] = ()
    """Variables that the newsroom asks for. Their values are in no backup."""
    members: Mapping[str, BackedUpFile] = {}


# -- writing ----------------------------------------------------------------------------------------------------------


def write_backup_file(
    path: Path, manifest: Manifest, store: Path, files: Iterable[tuple[str, Path]], progress: Progress
) -> Manifest:
    """Write it to `path`, which must not exist (mode 0600), and to the disk.

    `files` are named relative to the newsroom. Raises InputError for one that becomes shorter while it is read.
    """
    sources = [(STORE, store), *((FILES + name, one) for name, one in files)]
    total = sum(one.stat().st_size for _, one in sources)
    members: dict[str, BackedUpFile] = {}
    done = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=5, format=tarfile.PAX_FORMAT) as tar:
            members[LABEL] = _add_bytes(tar, LABEL, _WHAT, manifest.made)
            for name, one in sources:
                members[name] = _add(tar, name, one)
                done += members[name].size
                progress(done, max(total, done))
            manifest = manifest.model_copy(update={"members": members})
            _add_bytes(tar, MANIFEST, manifest.model_dump_json(indent=1).encode(), manifest.made)
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def _add(tar: tarfile.TarFile, name: str, path: Path) -> BackedUpFile:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        stat = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = stat.st_size, int(stat.st_mtime), stat.st_mode & 0o777
        reader = _Summing(file, info.size)
        try:
            tar.addfile(info, reader)
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(f"{path} became shorter while it was read; run the backup again.") from None
        return BackedUpFile(size=info.size, sha256=reader.sha256.hexdigest())


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes, made: datetime) -> BackedUpFile:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(content), int(made.timestamp()), 0o600
    tar.addfile(info, io.BytesIO(content))
    return BackedUpFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())


class _Summing:
    """A file that is summed up while it is read, and read no further than it was long at first."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self.left = size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(found)
        self.sha256.update(found)
        return found


# -- reading ----------------------------------------------------------------------------------------------------------


def is_backup_file(path: Path) -> bool:
    """Whether a file begins as a backup does."""
    try:
        with tarfile.open(path, "r|gz") as tar:
            first = tar.next()
            return first is not None and first.name == LABEL
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return False


def check_backup_file(path: Path, progress: Progress | None = None) -> Manifest:
    """Read all of it and write nothing: every name is safe, every sum is right, nothing is missing or too much.

    Raises InputError with what is wrong, and where the archive was cut off.
    """
    found: dict[str, BackedUpFile] = {}
    manifest: Manifest | None = None
    with _translated(path):
        for info, content in _members(path, progress):
            if manifest is not None:
                raise InputError(f"{path} is no backup of Tidings: something stands behind its {MANIFEST}.")
            if info.name == MANIFEST:
                if info.size > _MOST_MANIFEST:
                    raise InputError(f"{path}: its {MANIFEST} has {info.size:,} bytes; that is no backup of Tidings.")
                manifest = _manifest(path, content.read())
                continue
            sum_ = hashlib.sha256()
            while chunk := content.read(_CHUNK):
                sum_.update(chunk)
            found[info.name] = BackedUpFile(size=info.size, sha256=sum_.hexdigest())
    if manifest is None:
        raise InputError(f"{path} is no whole backup of Tidings: it has no {MANIFEST}. Take another one.")
    for name in sorted(found.keys() | manifest.members.keys()):
        if found.get(name) != manifest.members.get(name):
            raise InputError(f"{path} is damaged: {name} is not what was backed up. Take another backup.")
    for name in found:
        inside = name.removeprefix(FILES)
        if inside != name and not any(inside == place or inside.startswith(f"{place}/") for place in manifest.places):
            raise InputError(f"{path}: {name} stands in no place that its {MANIFEST} names.")
    if STORE not in found:
        raise InputError(f"{path} is no whole backup of Tidings: it has no {STORE}.")
    return manifest


def extract_backup_file(path: Path, manifest: Manifest, folder: Path, progress: Progress | None = None) -> None:
    """Write what was examined into `folder`, which must be empty, and to the disk; nothing outside of it is touched."""
    with _translated(path):
        for info, content in _members(path, progress):
            if info.name in (LABEL, MANIFEST):
                continue
            target = folder.joinpath(*PurePosixPath(info.name).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o600 if info.name in (STORE, FILES + "keys.json") else (info.mode & 0o755) | 0o600
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            sum_ = hashlib.sha256()
            with os.fdopen(descriptor, "wb") as file:
                while chunk := content.read(_CHUNK):
                    sum_.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.utime(file.fileno(), (info.mtime, info.mtime))
                os.fsync(file.fileno())
            if manifest.members.get(info.name) != BackedUpFile(size=info.size, sha256=sum_.hexdigest()):
                raise InputError(f"{path} changed while it was read: {info.name} is another one now.")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What the libraries say of a file that is no whole archive, in words."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"{path} is no whole backup of Tidings: {error or 'it is cut off'}.") from None
    except OSError as error:
        if error.errno is None:  # what gzip says of a file that is none
            raise InputError(f"{path} is no backup of Tidings: {error}.") from None
        raise


def _members(path: Path, progress: Progress | None) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Each member with its content, in the order of the file, its name found to be safe."""
    seen: set[str] = set()
    done = 0
    with tarfile.open(path, "r|gz") as tar:
        for info in tar:
            if not seen and info.name != LABEL:
                raise InputError(f"{path} is no backup of Tidings: it does not begin with {LABEL}.")
            _check(path, info)
            if info.name in seen or len(seen) >= _MOST_MEMBERS:
                raise InputError(f"{path} is refused: {info.name} stands in it twice, or it holds too many files.")
            seen.add(info.name)
            content = tar.extractfile(info)
            assert content is not None
            yield info, content
            done += info.size
            if progress is not None:
                progress(done, done)


def _check(path: Path, info: tarfile.TarInfo) -> None:
    if not info.isreg() or info.sparse is not None:
        raise InputError(f"{path} is refused: {info.name} is no plain file, and a backup holds nothing else.")
    if not _is_ours(info.name):
        raise InputError(f"{path} is refused: {info.name!r} would stand outside of the newsroom.")


def _is_ours(name: str) -> bool:
    inside = name.removeprefix(FILES)
    return is_inside(inside) if inside != name else name in (LABEL, STORE, MANIFEST)


def is_inside(name: str) -> bool:
    """Whether a relative path stays where it begins: no `..`, no root, nothing hidden in its letters."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts) and "\0" not in name and "\\" not in name
    # Where a restore does its work.
    return plain and len(name) <= _LONGEST_NAME and not parts[0].startswith((".restoring", "before-restore-"))


def _manifest(path: Path, raw: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: its {MANIFEST} cannot be read: {where}: {first['msg']}.") from None
    if manifest.format != 1:
        raise InputError(
            f"{path} was made by Tidings {manifest.version} in a form that this version does not know. Use a newer one."
        )
    if manifest.made.tzinfo is None or not all(is_inside(place) for place in manifest.places):
        raise InputError(f"{path}: its {MANIFEST} is none that Tidings wrote.")
    return manifest
