"""`tidings restore`: a backup takes the place of what stands in a folder, whole or not at all.

Everything is made ready in `.restoring` first. Then a file `ready` is written, and things change places: whatever ends
the process from there on, the next `tidings restore` goes on, and no other command runs before.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from tidings.config.file_reader import MAIN
from tidings.config.references import read_store_address
from tidings.model.errors import InputError, RefusedError, TidingsError
from tidings.runtime.backup.backup import Progress, sync_folder
from tidings.runtime.backup.backup_file import FILES, STORE, Manifest, check_backup_file, extract_backup_file
from tidings.runtime.newsroom import RESTORING
from tidings.store import migrate
from tidings.store.copying import dump_store, is_empty_or_ours, replace_store
from tidings.store.engine import Store, side_folder
from tidings.store.locks import HOLD_FILE, exclusive_hold
from tidings.store.service.clock import read_clock
from tidings.store.service.restored import find_restored, mark_restored

_READY = RESTORING.name
_STORE_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore did. `manifest` is None where it finished one that had been cut off."""

    root: Path
    manifest: Manifest | None
    held: tuple[str, ...]
    in_doubt: int
    dropped: int
    aside: Path | None
    missing: tuple[str, ...] = ()
    """Variables that the newsroom asks for and this environment has not."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What `ready` says: enough to go on with after a crash."""

    stamp: str
    at: str
    places: dict[str, bool]
    """Each with whether the backup has something for it."""
    held: list[str]
    in_doubt: int
    dropped: int


def restore(
    archive: Path,
    root: Path,
    *,
    agree: Callable[[str], None],
    progress: Progress,
    env: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> RestoreResult:
    """Bring a backup back into `root`. `agree` is asked, with words, where something stands there; it raises to stop.

    Raises InputError for an archive that is damaged or strange, RefusedError while anything works on the newsroom.
    """
    env = os.environ if env is None else env
    root = root.resolve()
    work = root / RESTORING.parent
    if (root / RESTORING).exists():
        return _finish(root, env)
    manifest = check_backup_file(archive, lambda done, total: progress("checking", done, total))
    if root.exists() and not root.is_dir():
        raise RefusedError(f"{root} is no folder")
    _refuse_mounts(root, manifest)
    _refuse_full(root, manifest)
    made_root = not root.exists()
    stands = not made_root and any(one.name != work.name for one in root.iterdir())
    old = _written(root, env)
    try:
        work.mkdir(parents=True, exist_ok=True)
        work.chmod(0o700)
        _empty(work)
        extract_backup_file(archive, manifest, work, lambda done, total: progress("reading", done, total))
        (work / FILES).mkdir(exist_ok=True)
        address = read_store_address(work / FILES, env)
        with _alone(root, address, old) as target:
            if stands or _holds_tables(target):
                agree(_question(root, manifest, target))
            _make_ready(root, work, manifest, now or datetime.now(UTC), _reached(target, old, root))
            _give_to_owner(root, work)
            found = _swap(root, target, progress)
    except BaseException:
        if not (root / RESTORING).exists():
            shutil.rmtree(work, ignore_errors=True)
            if made_root:
                with suppress(OSError):
                    root.rmdir()
        raise
    missing = tuple(name for name in manifest.environment if not env.get(name))
    return _told(root, manifest, found, missing)


def _told(root: Path, manifest: Manifest | None, plan: _Plan, missing: tuple[str, ...] = ()) -> RestoreResult:
    aside = _aside(root, plan)
    return RestoreResult(
        root, manifest, tuple(plan.held), plan.in_doubt, plan.dropped, aside if aside.exists() else None, missing
    )


def _finish(root: Path, env: Mapping[str, str]) -> RestoreResult:
    """Go on with a restore that had been cut off."""
    folder = root / RESTORING.parent / FILES
    # The newsroom's YAML may be in its place already.
    address = read_store_address(folder if (folder / MAIN).exists() else root, env)
    with _alone(root, address, None) as target:
        return _told(root, None, _swap(root, target, lambda what, done, total: None))


# -- before anything changes ------------------------------------------------------------------------------------------


def _written(root: Path, env: Mapping[str, str]) -> SecretStr | None:
    """The store of the newsroom that stands there, as far as that can be told."""
    if not (root / MAIN).is_file():
        return None
    try:
        return read_store_address(root, env)
    except TidingsError:
        return None


@contextmanager
def _alone(root: Path, address: SecretStr, old: SecretStr | None) -> Iterator[Store]:
    """The store to be, and nobody works on it, nor on the one that the newsroom has now."""
    target = Store(address.get_secret_value(), root)
    with ExitStack() as stack:
        stack.enter_context(closing(target))
        if target.path is not None:
            target.path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(exclusive_hold(target))
        if old is not None and old.get_secret_value() != address.get_secret_value():
            other = stack.enter_context(closing(Store(old.get_secret_value(), root)))
            if other.path is None or other.path.exists():
                stack.enter_context(exclusive_hold(other))
        yield target


def _refuse_mounts(root: Path, manifest: Manifest) -> None:
    for place in manifest.places:
        path = root / place
        if path.is_mount() or path.is_symlink():
            raise RefusedError(f"{path} is a link or a disk of its own and cannot be put aside: restore elsewhere.")


def _refuse_full(root: Path, manifest: Manifest) -> None:
    there = next(one for one in (root, *root.parents) if one.exists())
    needed = sum(member.size for member in manifest.members.values())
    if needed > shutil.disk_usage(there).free:
        raise RefusedError(f"the backup takes {needed / 1e6:,.0f} MB, and {there} has less room than that.")


def _holds_tables(store: Store) -> bool:
    if store.path is None and not is_empty_or_ours(store):
        raise RefusedError("the database holds tables of another program: give tidings one of its own (`store:`).")
    return (store.path is None or store.path.exists()) and _version(store) != ""


def _version(store: Store) -> str:
    try:
        return migrate.version(store) or ""
    except TidingsError:
        raise
    except SQLAlchemyError:
        return "?"  # damaged: all the more reason to restore


def _question(root: Path, manifest: Manifest, target: Store) -> str:
    where = "and the tables of its database are replaced" if target.path is None else "and its store with it"
    return (
        f"{root} holds something already. What this backup of {manifest.made:%Y-%m-%d %H:%M} UTC speaks of takes its "
        f"place, {where}; what stood there is kept beside it."
    )


def _reached(target: Store, old: SecretStr | None, root: Path) -> datetime | None:
    """How far the clock of what stands there has come: the newsroom's clock never goes back."""
    stores = [target] if old is None else [target, Store(old.get_secret_value(), root)]
    found = []
    for store in stores:
        if store.path is not None and not store.path.exists():
            continue
        with suppress(SQLAlchemyError, ValueError), store.read() as connection:
            found.append(read_clock(connection))
        if store is not target:
            store.close()
    return max((one for one in found if one is not None), default=None)


def _make_ready(root: Path, work: Path, manifest: Manifest, now: datetime, reached: datetime | None) -> None:
    """The store safe to go on with; then the word that everything may change places."""
    with closing(Store(f"sqlite:///{work / STORE}", work)) as stage:
        found = migrate.version(stage)
        if found is None:
            raise InputError("the backup's store has no tables: take another backup.")
        if found != migrate.HEAD:
            migrate.upgrade(stage)
        with stage.write() as connection:
            marked = mark_restored(connection, made=manifest.made, now=now, reached=reached)
    _sync(work / STORE)
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    number = 1
    while (root / f"before-restore-{stamp}").exists():
        number += 1
        stamp = f"{now:%Y%m%dT%H%M%SZ}-{number}"
    coming = {place: (work / FILES / place).exists() for place in manifest.places}
    plan = _Plan(stamp, now.isoformat(), coming, marked.held, marked.in_doubt, marked.dropped)
    part = work / "ready.part"
    part.write_text(json.dumps({name: getattr(plan, name) for name in _Plan.__dataclass_fields__}), encoding="utf-8")
    _sync(part)
    part.rename(work / _READY)
    sync_folder(work)


def _give_to_owner(root: Path, work: Path) -> None:
    """Root restores for the user to whom the folder belongs."""
    owner = root.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for folder, _, names in os.walk(work):
            for one in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118
                os.chown(one, owner.st_uid, owner.st_gid, follow_symlinks=False)


# -- changing places --------------------------------------------------------------------------------------------------


def _swap(root: Path, target: Store, progress: Progress) -> _Plan:
    """Each step may have been done before: a crash in between is gone on from."""
    work = root / RESTORING.parent
    plan = _Plan(**json.loads((work / _READY).read_text(encoding="utf-8")))
    aside = _aside(root, plan)
    aside.mkdir(mode=0o700, exist_ok=True)
    if target.path is None:
        _swap_tables(work, target, plan, aside, progress)
    else:
        _swap_file(root, work, target, plan)
    for place, is_coming in plan.places.items():
        _exchange(work / FILES / place, root / place, aside / place, is_coming=is_coming)
    with suppress(OSError):
        # Made anew by the next beat; perhaps a disk of its own.
        _exchange(work / FILES / "public", root / "public", aside / "public", is_coming=False)
    sync_folder(root)
    sync_folder(aside)
    with suppress(OSError):
        aside.rmdir()
    # `ready` goes last of what matters: from here on the newsroom runs.
    (work / _READY).unlink()
    sync_folder(work)
    shutil.rmtree(work, ignore_errors=True)
    return plan


def _aside(root: Path, plan: _Plan) -> Path:
    return root / f"before-restore-{plan.stamp}"


def _exchange(new: Path, place: Path, aside: Path, *, is_coming: bool) -> None:
    """`place` goes aside, `new` takes its place if it `is_coming`. Once that is done nothing happens."""
    if is_coming and not new.exists():
        return
    if os.path.lexists(place) and not os.path.lexists(aside):
        aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.rename(aside)
    if is_coming:
        place.parent.mkdir(parents=True, exist_ok=True)
        new.rename(place)


def _swap_file(root: Path, work: Path, target: Store, plan: _Plan) -> None:
    path, new = target.path, work / STORE
    assert path is not None
    if not new.exists():
        return
    target.close()
    # Whoever opens it next must not find the log of another.
    kept = f"{path}.before-restore-{plan.stamp}"
    for suffix in reversed(_STORE_SUFFIXES):
        if Path(f"{path}{suffix}").exists() and not Path(f"{kept}{suffix}").exists():
            Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    for one in list(side_folder(path).iterdir()):
        # Journals and locks of processes that are no more; ours stays in our hand.
        if one.name != HOLD_FILE:
            Path(f"{kept}.d").mkdir(mode=0o700, exist_ok=True)
            one.rename(Path(f"{kept}.d") / one.name)
    owner = root.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for one in (new, side_folder(path), side_folder(path) / HOLD_FILE):
            os.chown(one, owner.st_uid, owner.st_gid)
    if new.stat().st_dev == path.parent.stat().st_dev:
        new.rename(path)
    else:
        part = path.with_name(path.name + ".restoring")
        shutil.copyfile(new, part)
        shutil.copystat(new, part)
        if os.geteuid() == 0:
            os.chown(part, owner.st_uid, owner.st_gid)
        _sync(part)
        part.rename(path)
        new.unlink()
    sync_folder(path.parent)


def _swap_tables(work: Path, target: Store, plan: _Plan, aside: Path, progress: Progress) -> None:
    with suppress(SQLAlchemyError), target.read() as connection:
        found = find_restored(connection)
        if found is not None and found.at.isoformat() == plan.at:
            return
    kept = aside / "tables.db"
    if _version(target) and not kept.exists():
        # By its bare rows: they may be of a newer version, whose steps this one does not know.
        part = aside / "tables.part"
        part.unlink(missing_ok=True)
        dump_store(target, part)
        part.rename(kept)
    with closing(Store(f"sqlite:///{work / STORE}", work)) as stage:
        replace_store(stage, target, lambda done, total: progress("store", done, total))


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has no such thing
            raise
    finally:
        os.close(descriptor)
