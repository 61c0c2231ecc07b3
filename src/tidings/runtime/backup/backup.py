"""`tidings backup`: the store at one moment and the newsroom's files in one archive, while everything runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tidings import __version__
from tidings.config.file_reader import MAIN
from tidings.config.references import find_references, read_store_address
from tidings.model.errors import InputError, RefusedError
from tidings.runtime.backup.backup_file import STORE, Manifest, is_backup_file, is_inside, write_backup_file
from tidings.runtime.newsroom import KEYS, load_newsroom, make_sources
from tidings.sources.pictures.copies import FOLDER as PICTURES
from tidings.store import migrate
from tidings.store.copying import copy_store
from tidings.store.engine import Store
from tidings.store.locks import SharedHold
from tidings.store.service.clock import read_clock

PLACES = (MAIN, KEYS, "schedules", "templates")
"""In every backup, and put aside by a restore where a backup has nothing of them."""
_IF_THERE = ("content", "tidings.service", ".gitignore")
_NEVER = ("public", "preview", "rehearsal", PICTURES, "secrets.env")
"""Made from the rest, or to be had again; and what the environment holds."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A finished backup."""

    path: Path
    size: int
    manifest: Manifest
    left_out: tuple[str, ...] = ()
    """What the newsroom uses and is not in it, each with the reason."""


@dataclass
class _Contents:
    places: list[str] = field(default_factory=list)
    files: list[tuple[str, Path]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def make_backup(root: Path, path: Path, progress: Progress, env: Mapping[str, str] | None = None) -> BackupResult:
    """Write `path`, beside and then in one step, readable by its owner alone.

    Raises InputError for a newsroom without store, RefusedError where `path` is something else or would be published.
    """
    if not (root / MAIN).is_file():
        raise InputError(f"there is no newsroom in {root}; go to its folder, or name it with -C.")
    with closing(Store(read_store_address(root, env).get_secret_value(), root)) as store:
        if store.path is not None and not store.path.exists():
            raise InputError(f"there is no store at {store.path} yet: there is nothing to back up.")
        occupancy = SharedHold(store)
        try:
            return back_up_store(store, root, path, progress, env)
        finally:
            occupancy.release()


def back_up_store(
    store: Store, root: Path, path: Path, progress: Progress, env: Mapping[str, str] | None = None
) -> BackupResult:
    """The same with a store that is open, whatever version it has."""
    path = path.absolute()
    contents = _contents(root, env)
    _refuse(path, root, contents)
    folder = Path(tempfile.mkdtemp(prefix=".tidings-backup-", dir=path.parent))
    try:
        copy = Store(f"sqlite:///{folder / STORE}", folder)
        made = datetime.now(UTC)
        counts = copy_store(store, copy, lambda done, total: progress("store", done, total))
        manifest = Manifest(
            version=__version__,
            schema_version=str(migrate.version(copy)),
            made=made,
            clock=_clock(copy),
            database="sqlite" if store.is_sqlite else "postgresql",
            counts=counts,
            places=tuple(contents.places),
            environment=find_references(root).environment,
        )
        copy.close()
        _check(folder / STORE)
        part = folder / "archive"
        manifest = write_backup_file(
            part, manifest, folder / STORE, contents.files, lambda done, total: progress("files", done, total)
        )
        size = part.stat().st_size
        part.replace(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return BackupResult(path, size, manifest, tuple(contents.left_out))


def _refuse(path: Path, root: Path, contents: _Contents) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise RefusedError(f"{path} is no place for a file; name one, such as ~/news-2026-12-01.tar.gz")
    if path.exists() and not is_backup_file(path):
        raise RefusedError(f"{path} is there already and is no backup: it stays. Name another file.")
    for place in (*contents.places, "public"):
        if path.resolve().is_relative_to((root / place).resolve()):
            raise RefusedError(f"a backup holds keys and addresses, and {place}/ is read by others: name another file.")


def _clock(store: Store) -> datetime | None:
    with store.read() as connection:
        return read_clock(connection)


def _check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        raise InputError(f"the store is damaged ({said}), so no backup was made. Restore an older one.")


def _contents(root: Path, env: Mapping[str, str] | None) -> _Contents:
    """Every file that belongs to the newsroom, by the folders that its configuration names."""
    found = _Contents(list(PLACES), left_out=[])
    newsroom = load_newsroom(root, env, lenient=True).newsroom
    wanted = [root / name for name in _IF_THERE]
    if newsroom is not None:
        wanted += [path for source in make_sources(newsroom).values() for path in source.watch_paths()]
        wanted += [Path(newsroom.logo.path)] if newsroom.logo else []
    wanted += [root / name for name in find_references(root).files]
    for path in wanted:
        _add_place(found, root, path)
    for place in found.places:
        for name, path in _files(root, root / place, found.left_out):
            found.files.append((name, path))
    return found


def _add_place(found: _Contents, root: Path, path: Path) -> None:
    if not path.exists():
        return
    if not path.resolve().is_relative_to(root) or path.is_symlink():
        found.left_out.append(f"{path}: it stands outside of the newsroom's folder")
        return
    if path.resolve() == root:
        # A source that is the folder itself: everything in it but what is ours to write.
        skipped = {*_NEVER, ".git", ".restoring"}
        for one in sorted(root.iterdir()):
            if one.name not in skipped and not one.name.startswith(("tidings.db", "before-restore-", ".tidings-")):
                _add_place(found, root, one)
        return
    place = path.resolve().relative_to(root).as_posix()
    if place.split("/")[0] in _NEVER or any(place == one or place.startswith(f"{one}/") for one in found.places):
        return
    found.places = [one for one in found.places if not one.startswith(f"{place}/")] + [place]


def _files(root: Path, path: Path, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    name = path.relative_to(root).as_posix()
    if path.is_symlink():
        left_out.append(f"{name}: a link, and what it points to may be anything")
    elif path.is_dir():
        for one in sorted(path.iterdir()):
            yield from _files(root, one, left_out)
    elif path.is_file() and (not is_inside(name) or not name.isprintable()):
        left_out.append(f"{name!r}: a name that not every system takes")
    elif path.is_file():
        yield name, path
    elif path.exists():
        left_out.append(f"{name}: no plain file")


def sync_folder(folder: Path) -> None:
    """What was renamed in a folder outlives a power loss from here on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
