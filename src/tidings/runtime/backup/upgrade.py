"""`tidings upgrade`: a backup, then the steps to the schema of this version, while nobody works on the store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tidings.config.file_reader import MAIN
from tidings.config.references import read_store_address
from tidings.model.errors import InputError
from tidings.runtime.backup.backup import BackupResult, Progress, back_up_store
from tidings.store import migrate
from tidings.store.engine import Store
from tidings.store.locks import exclusive_hold


@dataclass(frozen=True, slots=True)
class UpgradeResult:
    """From which schema to which, and the backup that was made first."""

    before: str
    after: str
    backup: BackupResult


def upgrade(
    root: Path, progress: Progress, env: Mapping[str, str] | None = None, now: datetime | None = None
) -> UpgradeResult | None:
    """Bring the store of the newsroom in `root` to this version; None if there is nothing to do.

    Raises RefusedError while anything works on the store, StoreVersionError for one that a newer version wrote.
    """
    if not (root / MAIN).is_file():
        raise InputError(f"there is no newsroom in {root}; go to its folder, or name it with -C.")
    with closing(Store(read_store_address(root, env).get_secret_value(), root)) as store:
        if store.path is not None and not store.path.exists():
            return None
        with exclusive_hold(store):
            before = migrate.version(store)
            if before is None or before == migrate.HEAD:
                return None
            if before > migrate.HEAD:
                migrate.create_or_check(store)
            stamp = f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            made = back_up_store(store, root, root / f"before-upgrade-{before}-{stamp}.tar.gz", progress, env)
            migrate.upgrade(store)
    return UpgradeResult(before, migrate.HEAD, made)
