"""A store with an older schema is refused, then upgraded after a backup that can be restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.fixtures.newsroom import DAILY, DAY, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import RefusedError, StoreVersionError
from tidings.runtime.backup.backup import make_backup, upgrade
from tidings.runtime.backup.backup_file import check_backup_file
from tidings.runtime.backup.restore import restore
from tidings.store import migrate, migrations
from tidings.store.engine import Store

OLD = migrate.HEAD
NEW = f"{int(OLD) + 1:04}"
NEXT_STEP = f'''\
"""A migration that the product does not have."""

import sqlalchemy as sa
from alembic import op

revision = "{NEW}"
down_revision = "{OLD}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("subscribers") as table:
        table.add_column(sa.Column("shoe_size", sa.Integer(), nullable=False, server_default="42"))
'''


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as running:
        yield running
        running.runtime.close()


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Add one migration to the program, from here on."""
    scripts = tmp_path / "migrations"
    shutil.copytree(Path(str(migrations.__file__)).parent, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / f"m{NEW}_next.py").write_text(NEXT_STEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate, "SCRIPTS", str(scripts))
        patch.setattr(migrate, "HEAD", NEW)
        yield patch


def quiet(what: str, done: int, total: int) -> None:
    """Show no progress bar."""


def yes(question: str) -> None:
    """Answer yes."""


def columns(newsroom: RunningNewsroom) -> set[str]:
    with newsroom.runtime.store.read() as connection:
        return {column["name"] for column in inspect(connection).get_columns("subscribers")}


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_large_indexes_are_made_before_the_migration(
    database_url: str, tmp_path: Path, newer: pytest.MonkeyPatch
) -> None:
    """In its transaction, an index on 10 million deliveries stops all senders for half a minute."""
    step = Path(migrate.SCRIPTS) / "versions" / f"m{NEW}_next.py"
    indexes = ("ix_name ON subscribers (name)", "ix_shoe ON subscribers (shoe_size)")
    made = "".join(f"    op.execute('CREATE INDEX IF NOT EXISTS {index}')\n" for index in indexes)
    step.write_text(f"{NEXT_STEP}{made}\n\nindexes_first = {indexes!r}\n")

    def valid(store: Store) -> list[str]:
        query = (
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid AND indrelid = 'subscribers'::regclass"
        )
        with store.read() as connection:
            rows = connection.exec_driver_sql(query).scalars()
            return sorted(name for name in rows if name in ("ix_name", "ix_shoe"))

    with closing(Store(database_url, tmp_path)) as store:
        with newer.context() as interrupted:
            interrupted.setattr(migrate, "_run", lambda store, only_if_fresh: None)
            migrate.upgrade(store)
        assert valid(store) == ["ix_name"], "the other column does not exist yet"
        with store.write() as connection:
            connection.exec_driver_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_name'::regclass")
        assert migrate.upgrade(store)
        assert valid(store) == ["ix_name", "ix_shoe"]


def test_an_upgrade_makes_a_backup_first(newsroom: RunningNewsroom, request: pytest.FixtureRequest) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    patch: pytest.MonkeyPatch = request.getfixturevalue("newer")
    root, env = newsroom.folder.root, newsroom.folder.env
    with pytest.raises(RefusedError, match="Stop `tidings run`"):
        upgrade(root, quiet, env)
    newsroom.runtime.close()
    refusal = rf"has schema {OLD}, this version .* needs {NEW}\. Run `tidings upgrade`"
    with pytest.raises(StoreVersionError, match=refusal):
        newsroom.folder.runtime()
    result = upgrade(root, quiet, env)
    assert result is not None
    assert (result.before, result.after) == (OLD, NEW)
    assert check_backup_file(result.backup.path).schema_version == OLD
    assert result.backup.path.parent == root
    assert result.backup.path.name.startswith(f"before-upgrade-{OLD}-")
    assert upgrade(root, quiet, env) is None

    newsroom.runtime = newsroom.folder.runtime()
    assert "shoe_size" in columns(newsroom)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == [["one"], ["two"]]

    # The older version refuses the store and restores the backup.
    newsroom.runtime.close()
    patch.undo()
    with pytest.raises(StoreVersionError, match="newer than this version"):
        newsroom.folder.runtime()
    with pytest.raises(StoreVersionError, match="newer than this version"):
        upgrade(root, quiet, env)
    restore(result.backup.path, root, agree=yes, progress=quiet, env=env)
    newsroom.runtime = newsroom.folder.runtime()
    assert "shoe_size" not in columns(newsroom)
    newsroom.tick(MONDAY + DAY)
    assert newsroom.editions() == ["daily/1 done", "daily/2 held"] or newsroom.editions() == ["daily/1 done"]
    assert newsroom.read(ada) == [["one"], ["two"]]


def test_an_additive_upgrade_leaves_the_service_running(newsroom: RunningNewsroom, newer: pytest.MonkeyPatch) -> None:
    """Before, a fleet had to stop for each change of the schema."""
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    root, env = newsroom.folder.root, newsroom.folder.env
    step = Path(migrate.SCRIPTS) / "versions" / f"m{NEW}_next.py"
    step.write_text(NEXT_STEP.replace("branch_labels", f'compatible_from = "{OLD}"\nbranch_labels'))
    result = upgrade(root, quiet, env)
    assert result is not None and result.may_run_meanwhile
    assert upgrade(root, quiet, env) is None, "nobody has to stop for nothing to do"
    assert "shoe_size" in columns(newsroom)

    # The previous version continues, can be started again, and does not change the schema.
    newer.undo()
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    newsroom.runtime.close()
    newsroom.runtime = newsroom.folder.runtime()
    bob = newsroom.reader("bob")
    newsroom.item("three")
    newsroom.tick(MONDAY + 2 * DAY)
    assert newsroom.read(ada) == [["one"], ["two"], ["three"]]
    assert newsroom.read(bob) == [["three"]]
    with pytest.raises(StoreVersionError, match="cannot go back"):
        upgrade(root, quiet, env)
    if not newsroom.runtime.store.is_sqlite:
        with pytest.raises(StoreVersionError, match="newer than this version"):
            make_backup(root, root.parent / "b.tar.gz", quiet, env)


def test_one_breaking_migration_ends_compatibility(newer: pytest.MonkeyPatch) -> None:
    """A later migration that only adds must not hide an earlier one that breaks."""
    versions, last = Path(migrate.SCRIPTS) / "versions", f"{int(NEW) + 1:04}"
    marked = NEXT_STEP.replace("branch_labels", f'compatible_from = "{OLD}"\nbranch_labels')
    later = marked.replace(f'revision = "{OLD}"', f'revision = "{NEW}"').replace(
        f'revision = "{NEW}"\ndown', f'revision = "{last}"\ndown'
    )
    (versions / f"m{last}_last.py").write_text(later)
    assert not migrate.may_run_meanwhile(OLD)
    assert migrate.may_run_meanwhile(NEW)
    (versions / f"m{NEW}_next.py").write_text(marked)
    assert migrate.may_run_meanwhile(OLD)


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_migration_never_queues_long_for_a_table(
    newsroom: RunningNewsroom, newer: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a migration waits for a lock, every other process waits behind it."""
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrate, "_TRIES", 2)
    store = newsroom.runtime.store
    with store.write() as connection:
        connection.execute(text("SELECT count(*) FROM subscribers"))
        with pytest.raises(RefusedError, match="without a pause"):
            migrate.upgrade(store)
    assert migrate.upgrade(store)


def test_a_restore_upgrades_an_older_backup(newsroom: RunningNewsroom, request: pytest.FixtureRequest) -> None:
    newsroom.reader("ada")
    path = newsroom.folder.root.parent / "b.tar.gz"
    make_backup(newsroom.folder.root, path, quiet, newsroom.folder.env)
    newsroom.runtime.close()
    request.getfixturevalue("newer")
    restore(path, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    newsroom.runtime = newsroom.folder.runtime()
    assert "shoe_size" in columns(newsroom)


def test_a_failed_migration_changes_nothing(newsroom: RunningNewsroom, request: pytest.FixtureRequest) -> None:
    newsroom.reader("ada")
    newsroom.runtime.close()
    patch: pytest.MonkeyPatch = request.getfixturevalue("newer")
    step = Path(migrate.SCRIPTS) / "versions" / f"m{NEW}_next.py"
    step.write_text(NEXT_STEP + "    raise RuntimeError('half way')\n")
    with pytest.raises(RuntimeError, match="half way"):
        upgrade(newsroom.folder.root, quiet, newsroom.folder.env)
    patch.undo()
    newsroom.runtime = newsroom.folder.runtime()
    assert "shoe_size" not in columns(newsroom)
    assert len(list(newsroom.folder.root.glob(f"before-upgrade-{OLD}-*.tar.gz"))) == 1
