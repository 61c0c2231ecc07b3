"""`tidings backup` and `tidings upgrade`: save the store and the newsroom's files while everything runs."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from tidings import __version__
from tidings.config.file_reader import MAIN
from tidings.config.references import find_references, read_store_address
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.publish.publish import KEPT
from tidings.runtime.backup.backup_file import STORE, Manifest, is_backup_file, is_inside, write_backup_file
from tidings.runtime.newsroom import KEYS, load_newsroom, make_sources
from tidings.sources.pictures import FOLDER as PICTURES
from tidings.store import migrate
from tidings.store.copying import copy_store
from tidings.store.engine import Store
from tidings.store.locks import SharedHold, exclusive_hold
from tidings.store.service.clock import read_clock

_ALWAYS = (MAIN, KEYS, "schedules", "templates")
"""Places of every backup. A restore moves them aside even if the backup has no file for them."""
_IF_PRESENT = ("content", "tidings.service", ".gitignore", KEPT)
_NEVER = ("public", "preview", "rehearsal", PICTURES, "secrets.env")
"""Files that Tidings makes or fetches again, and the secrets of the environment."""
_SKIPPED = {*_NEVER, ".git", ".restoring"}
_SKIPPED_PREFIXES = ("tidings.db", "before-restore-", ".tidings-")

Progress = Callable[[str, float, float], None]
"""Called with the name of the work, how much is done, and the total."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A finished backup. `left_out`: files that the newsroom uses but the backup lacks, each with the reason."""

    path: Path
    size: int
    manifest: Manifest
    left_out: tuple[str, ...] = ()


def make_backup(root: Path, path: Path, progress: Progress, env: Mapping[str, str] | None = None) -> BackupResult:
    """Write the backup file `path` (mode 0600). An older backup there is replaced once the new one is complete.

    Raises InputError for a newsroom without a store, RefusedError for a path that must not be written.
    """
    with _written_store(root, env) as store:
        if store.path is not None and not store.path.exists():
            raise InputError(f"There is no store at {store.path} yet, so there is nothing to back up.")
        with SharedHold(store):
            return back_up_store(store, root, path, progress, env)


@contextmanager
def _written_store(root: Path, env: Mapping[str, str] | None) -> Iterator[Store]:
    if not (root / MAIN).is_file():
        raise InputError(f"There is no newsroom in {root}. Go to its folder, or name it with -C.")
    with closing(Store(read_store_address(root, env).get_secret_value(), root)) as store:
        yield store


def back_up_store(
    store: Store, root: Path, path: Path, progress: Progress, env: Mapping[str, str] | None = None
) -> BackupResult:
    """Back up an open store, of any schema version, and the files of the newsroom in `root`."""
    path = path.absolute()
    contents = _Contents(root)
    contents.collect(env)
    _refuse_path(path, root, contents.places)
    with _explain_full_disk(path.parent):
        return _write_backup(store, root, path, progress, contents)


@contextmanager
def _explain_full_disk(folder: Path) -> Iterator[None]:
    """Raise InputError that names the disk, if it is full. SQLite has an error of its own for this."""
    try:
        yield
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(error)
        if not is_full:
            raise
        free = shutil.disk_usage(folder).free / 1e6
        raise InputError(
            f"There is no space on the disk of {folder} ({free:,.0f} MB free), so no backup was made. "
            "Make room there, or write the backup to another disk."
        ) from None


def _write_backup(store: Store, root: Path, path: Path, progress: Progress, contents: _Contents) -> BackupResult:
    folder = Path(tempfile.mkdtemp(prefix=".tidings-backup-", dir=path.parent))
    try:
        copy = Store(f"sqlite:///{folder / STORE}", folder)
        made = datetime.now(UTC)
        counts = copy_store(store, copy, lambda done, total: progress("store", done, total))
        with copy.read() as connection:
            clock = read_clock(connection)
        manifest = Manifest(
            version=__version__,
            schema_version=str(migrate.version(copy)),
            made=made,
            clock=clock,
            database="sqlite" if store.is_sqlite else "postgresql",
            counts=counts,
            places=tuple(contents.places),
            environment=find_references(root).environment,
        )
        copy.close()
        _refuse_damaged(folder / STORE)
        part = folder / "archive"
        manifest = write_backup_file(
            part, manifest, folder / STORE, contents.files, lambda done, total: progress("files", done, total)
        )
        size = part.stat().st_size
        part.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return BackupResult(path, size, manifest, tuple(contents.left_out))


def _refuse_path(path: Path, root: Path, places: list[str]) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise RefusedError(f"{path} cannot be a backup file. Name a file, such as ~/news-2026-12-01.tar.gz.")
    if path.exists() and not is_backup_file(path):
        raise RefusedError(f"{path} exists and is not a backup, so it is not replaced. Name another file.")
    for place in (*places, "public"):
        if path.resolve().is_relative_to((root / place).resolve()):
            raise RefusedError(f"Other people read {place}/, and a backup holds keys and addresses. Name another file.")


def _refuse_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise InputError(f"The store is damaged ({problem}), so no backup was made. Restore an older backup.")


class _Contents:
    """The files that belong to a newsroom: the usual ones, and those that its configuration names."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.places = list(_ALWAYS)
        self.files: list[tuple[str, Path]] = []
        self.left_out: list[str] = []

    def collect(self, env: Mapping[str, str] | None) -> None:
        newsroom = load_newsroom(self._root, env, lenient=True).newsroom
        paths = [self._root / name for name in _IF_PRESENT]
        if newsroom is not None:
            paths += [path for source in make_sources(newsroom).values() for path in source.watch_paths()]
            paths += [Path(newsroom.logo.path)] if newsroom.logo else []
        paths += [self._root / name for name in find_references(self._root).files]
        for path in paths:
            self._add_place(path)
        for place in self.places:
            self._add_files(self._root / place)

    def _add_place(self, path: Path) -> None:
        if not path.exists():
            return
        if not path.resolve().is_relative_to(self._root) or path.is_symlink():
            self.left_out.append(f"{path}: it is outside the newsroom's folder")
            return
        if path.resolve() == self._root:
            # A source reads the newsroom's folder itself: take everything in it except our own files.
            for entry in sorted(self._root.iterdir()):
                if entry.name not in _SKIPPED and not entry.name.startswith(_SKIPPED_PREFIXES):
                    self._add_place(entry)
            return
        place = path.resolve().relative_to(self._root).as_posix()
        if place.split("/")[0] in _NEVER or any(place == old or place.startswith(f"{old}/") for old in self.places):
            return
        self.places = [old for old in self.places if not old.startswith(f"{place}/")] + [place]

    def _add_files(self, path: Path) -> None:
        name = path.relative_to(self._root).as_posix()
        if path.is_symlink():
            self.left_out.append(f"{name}: it is a link")
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                self._add_files(entry)
        elif path.is_file() and (not is_inside(name) or not name.isprintable()):
            self.left_out.append(f"{name!r}: not every system can write this name")
        elif path.is_file():
            self.files.append((name, path))
        elif path.exists():
            self.left_out.append(f"{name}: it is not a regular file")


def sync(path: Path) -> None:
    """Write a file, or the entries of a folder, to the disk: renames survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # This file system cannot do it.
            raise
    finally:
        os.close(descriptor)


# -- upgrade ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpgradeResult:
    """The schema versions before and after, and the backup that was made first.

    `may_run_meanwhile`: processes of the former version work with the new schema, and are replaced one by one.
    """

    before: str
    after: str
    backup: BackupResult
    may_run_meanwhile: bool = False


def upgrade(
    root: Path, progress: Progress, env: Mapping[str, str] | None = None, now: datetime | None = None
) -> UpgradeResult | None:
    """Make a backup and migrate the store of the newsroom in `root`. Returns None if the store is up to date.

    Raises RefusedError while any process uses the store, unless its version works with the new schema too;
    StoreVersionError for a store of a newer version.
    """
    with _written_store(root, env) as store:
        if (store.path is not None and not store.path.exists()) or not migrate.needs_upgrade(store):
            return None
        before = migrate.version(store)
        if before is None:
            return None
        may_run_meanwhile = migrate.may_run_meanwhile(before)
        with SharedHold(store) if may_run_meanwhile else exclusive_hold(store):
            stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            made = back_up_store(store, root, root / f"before-upgrade-{before}-{stamp}.tar.gz", progress, env)
            migrate.upgrade(store)
    return UpgradeResult(before, migrate.HEAD, made, may_run_meanwhile)
