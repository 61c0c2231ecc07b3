"""`tidings restore`: replace the newsroom in a folder by a backup, completely or not at all.

1. Check the whole backup file and unpack it into the folder `.restoring` of the newsroom.
2. Mark the unpacked store as restored, so that nothing is sent a second time.
3. Write the planned moves to `.restoring/moves.json`. From now on no other command starts.
4. Move the old files aside and the new files in. On PostgreSQL, then replace the tables in one transaction.
5. Delete `.restoring`.

An error in step 4 undoes the moves. After a power loss the next `tidings restore` undoes them and begins again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from tidings.config.file_reader import MAIN
from tidings.config.references import read_store_address
from tidings.model.dates import format_local
from tidings.model.errors import InputError, RefusedError, TidingsError
from tidings.runtime.backup.backup import Progress, sync
from tidings.runtime.backup.backup_file import FILES, STORE, Manifest, check_backup_file, extract_backup_file
from tidings.runtime.newsroom import RESTORING, load_newsroom
from tidings.store import migrate
from tidings.store.copying import dump_store, is_empty_or_ours, replace_store
from tidings.store.engine import Store, side_folder
from tidings.store.locks import HOLD_FILE, exclusive_hold
from tidings.store.service.clock import read_clock
from tidings.store.service.restored import find_restored, mark_restored

Moves = list[tuple[Path, Path]]
"""Renames in order, as (from, to). They can be undone without a record of the progress."""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A finished restore. `missing`: variables that the newsroom needs and the environment lacks."""

    root: Path
    manifest: Manifest
    held: tuple[str, ...]
    in_doubt: int
    dropped: int
    aside: Path | None
    missing: tuple[str, ...] = ()
    zone: tzinfo = UTC
    """The newsroom's time zone."""


def restore(
    backup_file: Path,
    root: Path,
    *,
    agree: Callable[[str], None],
    progress: Progress,
    env: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> RestoreResult:
    """Restore a backup into `root`. If data would be replaced, `agree` gets the question; it raises to stop.

    Raises InputError for a damaged or invalid backup file, RefusedError while any process uses the newsroom.
    """
    env = os.environ if env is None else env
    root = root.resolve()
    work = root / RESTORING.parent
    if (root / RESTORING).exists():
        _end_interrupted(root, env)
    manifest = check_backup_file(backup_file, lambda done, total: progress("checking", done, total))
    _refuse_folder(root, manifest)
    is_new = not root.exists()
    has_files = not is_new and any(path != work for path in root.iterdir())
    old_address = _find_old_address(root, env)
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)
        extract_backup_file(backup_file, manifest, work, lambda done, total: progress("reading", done, total))
        (work / FILES).mkdir(exist_ok=True)
        with _lock_stores(root, read_store_address(work / FILES, env), old_address) as (target, old_store):
            zone = _find_zone(work / FILES, env)
            if _holds_tables(target) or has_files:
                agree(_make_question(root, format_local(manifest.made, zone), target))
            return _Restore(root, manifest, target, now or datetime.now(UTC), env, zone).run(old_store, progress)
    except BaseException:
        if not (root / RESTORING).exists():
            shutil.rmtree(work, ignore_errors=True)
            if is_new:
                with suppress(OSError):
                    root.rmdir()
        raise


# -- before anything changes ------------------------------------------------------------------------------------------


def _refuse_folder(root: Path, manifest: Manifest) -> None:
    if root.exists() and not root.is_dir():
        raise RefusedError(f"{root} is not a folder. Name a folder with -C.")
    for place in manifest.places:
        path = root / place
        if path.is_mount() or path.is_symlink():
            raise RefusedError(f"{path} is a link or a separate disk and cannot be moved. Restore elsewhere.")
    existing = next(path for path in (root, *root.parents) if path.exists())
    needed = sum(member.size for member in manifest.members.values())
    if needed > shutil.disk_usage(existing).free:
        raise RefusedError(f"The backup needs {needed / 1e6:,.0f} MB, and {existing} has less. Make room on this disk.")


def _find_old_address(root: Path, env: Mapping[str, str]) -> SecretStr | None:
    """Return the store of the newsroom that is in `root` now, or None if there is none or its YAML is broken."""
    with suppress(TidingsError):
        if (root / MAIN).is_file():
            return read_store_address(root, env)
    return None


@contextmanager
def _lock_stores(root: Path, address: SecretStr, old_address: SecretStr | None) -> Iterator[tuple[Store, Store]]:
    """Yield the future store and the present one (often the same), both locked against other processes."""
    target = Store(address.get_secret_value(), root)
    with ExitStack() as stack:
        stack.enter_context(closing(target))
        if target.path is not None:
            target.path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(exclusive_hold(target))
        old_store = target
        if old_address is not None and old_address.get_secret_value() != address.get_secret_value():
            other = stack.enter_context(closing(Store(old_address.get_secret_value(), root)))
            if other.path is None or other.path.exists():
                stack.enter_context(exclusive_hold(other))
                old_store = other
        yield target, old_store


def _holds_tables(store: Store) -> bool:
    if store.path is None and not is_empty_or_ours(store):
        raise RefusedError("The database holds tables of another program. Give Tidings its own (`store:`).")
    return (store.path is None or store.path.exists()) and _find_version(store) != ""


def _find_version(store: Store) -> str:
    try:
        return migrate.version(store) or ""
    except SQLAlchemyError:
        return "?"  # A damaged store is the usual reason to restore.


def _find_zone(files: Path, env: Mapping[str, str]) -> tzinfo:
    """Return the zone of the newsroom in a backup; UTC if its YAML cannot be read."""
    with suppress(TidingsError):
        if (newsroom := load_newsroom(files, env, needs="store").newsroom) is not None:
            return newsroom.site.zone
    return UTC


def _make_question(root: Path, made: str, target: Store) -> str:
    store = "its store" if target.path is not None else "the tables of its database"
    return (
        f"This replaces the newsroom in {root} and {store} by the backup of {made}. The old files are kept beside them."
    )


# -- the restore ------------------------------------------------------------------------------------------------------


class _Restore:
    """One restore whose backup is unpacked in `.restoring` and whose stores are locked."""

    def __init__(
        self, root: Path, manifest: Manifest, target: Store, now: datetime, env: Mapping[str, str], zone: tzinfo
    ) -> None:
        self._root, self._manifest, self._target, self._now, self._env = root, manifest, target, now, env
        self._zone = zone
        self._work = root / RESTORING.parent
        suffixes = ("", *(f"-{number}" for number in range(2, 1_000)))
        names = (f"before-restore-{now:%Y%m%dT%H%M%SZ}{suffix}" for suffix in suffixes)
        self._aside = next(root / name for name in names if not (root / name).exists())

    def run(self, old_store: Store, progress: Progress) -> RestoreResult:
        with closing(Store(f"sqlite:///{self._work / STORE}", self._work)) as stage:
            version = migrate.version(stage)
            if version is None:
                raise InputError("The backup's store has no tables. Take another backup.")
            if version != migrate.HEAD:
                migrate.upgrade(stage)
            reached = max(filter(None, map(_read_clock, {self._target, old_store})), default=None)
            with stage.write() as connection:
                marked = mark_restored(
                    connection, made=self._manifest.made, now=self._now, reached=reached, zone=self._zone
                )
        staged = self._stage_store()
        moves = self._plan_moves(staged)
        self._aside.mkdir(mode=0o700)
        self._give_to_owner(staged)
        _write_moves(self._root, moves, self._now)
        try:
            for source, target in moves:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                source.rename(target)
            if self._target.path is None:
                self._replace_tables(progress)
            for folder in {self._root, self._aside, *(target.parent for _, target in moves)}:
                sync(folder)
        except BaseException:
            _undo_moves(self._root, self._target)
            staged.unlink(missing_ok=True)
            with suppress(OSError):
                self._aside.rmdir()
            raise
        _clean_up(self._root)
        with suppress(OSError):
            self._aside.rmdir()
        return RestoreResult(
            self._root,
            self._manifest,
            tuple(marked.held),
            marked.in_doubt,
            marked.dropped,
            self._aside if self._aside.exists() else None,
            tuple(name for name in self._manifest.environment if not self._env.get(name)),
            zone=self._zone,
        )

    def _stage_store(self) -> Path:
        """Put the new store on the disk of its final place, so that a rename can move it there."""
        store = self._work / STORE
        sync(store)
        path = self._target.path
        if path is None or store.stat().st_dev == path.parent.stat().st_dev:
            return store
        staged = path.with_name(f"{path.name}.restoring")
        shutil.copy2(store, staged)
        sync(staged)
        return staged

    def _plan_moves(self, staged: Path) -> Moves:
        moves: Moves = []
        # The next tick writes `public` again. It may be a separate disk.
        for place in dict.fromkeys((*self._manifest.places, "public")):
            present, new = self._root / place, self._work / FILES / place
            if os.path.lexists(present) and not present.is_mount():
                moves.append((present, self._aside / place))
            if new.exists():
                moves.append((new, present))
        path = self._target.path
        if path is not None:
            self._target.close()
            kept = f"{path}.{self._aside.name}"
            # The new store must not find the write-ahead log of the old one.
            for suffix in ("-shm", "-wal", ""):
                if (old := Path(f"{path}{suffix}")).exists():
                    moves.append((old, Path(f"{kept}{suffix}")))
            # Journals of dead processes. The lock file stays: this process holds its lock.
            journals = [entry for entry in side_folder(path).iterdir() if entry.name != HOLD_FILE]
            moves += [(entry, Path(f"{kept}.d") / entry.name) for entry in journals]
            moves.append((staged, path))
        return moves

    def _give_to_owner(self, staged: Path) -> None:
        """Give the files to the owner of the newsroom's folder, when root restores for another user."""
        owner = self._root.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            return
        folders = [self._work, self._aside]
        if self._target.path is not None:
            folders.append(side_folder(self._target.path))
        for path in [staged, *folders, *(entry for folder in folders for entry in folder.rglob("*"))]:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _replace_tables(self, progress: Progress) -> None:
        if _find_version(self._target):
            # Dump the rows alone: a newer version may have written them, and its migrations are unknown here.
            dump_store(self._target, self._aside / "tables.db")
        with closing(Store(f"sqlite:///{self._work / STORE}", self._work)) as stage:
            replace_store(stage, self._target, lambda done, total: progress("store", done, total))


def _read_clock(store: Store) -> datetime | None:
    """Return the time that the newsroom's clock has reached: it never goes back."""
    if store.path is None or store.path.exists():
        with suppress(SQLAlchemyError, ValueError), store.read() as connection:
            return read_clock(connection)
    return None


# -- the moves --------------------------------------------------------------------------------------------------------


def _write_moves(root: Path, moves: Moves, now: datetime) -> None:
    path = root / RESTORING
    part = path.with_suffix(".part")
    names = [(str(source), str(target)) for source, target in moves]
    part.write_text(json.dumps({"at": now.isoformat(), "moves": names}), encoding="utf-8")
    sync(part)
    part.rename(path)
    sync(path.parent)


def _undo_moves(root: Path, target: Store) -> None:
    """Put back the old files, unless the tables of a PostgreSQL database were replaced already."""
    plan = json.loads((root / RESTORING).read_text(encoding="utf-8"))
    if target.path is not None or _restored_at(target) != plan["at"]:
        for source, moved in reversed(plan["moves"]):
            if os.path.lexists(moved) and not os.path.lexists(source):
                Path(moved).rename(source)
    _clean_up(root)


def _restored_at(store: Store) -> str:
    with suppress(SQLAlchemyError), store.read() as connection:
        restored = find_restored(connection)
        return restored.at.isoformat() if restored is not None else ""
    return ""


def _clean_up(root: Path) -> None:
    # Without this file the newsroom runs again.
    (root / RESTORING).unlink()
    sync((root / RESTORING).parent)
    shutil.rmtree((root / RESTORING).parent, ignore_errors=True)


def _end_interrupted(root: Path, env: Mapping[str, str]) -> None:
    """Undo the moves of a restore that a crash or a power loss interrupted."""
    unpacked = root / RESTORING.parent / FILES
    # The new YAML may be in its place already.
    address = read_store_address(unpacked if (unpacked / MAIN).exists() else root, env)
    with _lock_stores(root, address, None) as (target, _):
        _undo_moves(root, target)
