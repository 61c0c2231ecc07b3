"""Writes the first migration out of the tables as they are now: `python -m tests.store.write_first_migration`.

Only until the first release: from then on a change is a migration of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

import tidings.store.migrations.versions as versions
from tidings.store.schema import Moment, metadata

PATH = Path(str(versions.__path__[0])) / "m0001_first.py"

HEAD = '''"""The first tables.

Written by `python -m tests.store.write_first_migration`; frozen with the first release.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    '''


def _render(kind: str, what: Any, context: Any) -> str | bool:
    """A moment is stored as a whole number; its class may change, a migration may not."""
    return "sa.BigInteger()" if kind == "type" and isinstance(what, Moment) else False


def source() -> str:
    """The text of the migration."""
    with create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        operations = produce_migrations(context, metadata).upgrade_ops
        assert operations is not None
        body = render_python_code(operations, render_item=_render, migration_context=context)
    lines = [line for line in body.splitlines() if not line.strip().startswith("# ###")]
    raw = HEAD + "\n".join(lines).strip() + "\n"
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "120", "-"]
    return subprocess.run(command, input=raw, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    PATH.write_text(source())
    print(PATH)
