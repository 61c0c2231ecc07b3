"""Remember what was read and published, so that a cycle costs as much as what changed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table of read files; add the version of items and the basis of published files, with indexes."""
    op.create_table(
        "source_files",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.Column("needs", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "ref", name="pk_source_files"),
    )
    for name in ("name", "story", "state"):
        op.create_index(f"ix_source_files_{name}", "source_files", ["source", name])
    added: tuple[tuple[str, sa.Column[int] | sa.Column[str]], ...] = (
        ("items", sa.Column("version", sa.Integer(), nullable=False, server_default="0")),
        ("published_files", sa.Column("basis", sa.String(), nullable=False, server_default="")),
    )
    for table, column in added:
        # Existing rows need a value. SQLite makes the table anew.
        with op.batch_alter_table(table, recreate="auto") as batch:
            batch.add_column(column)
        with op.batch_alter_table(table, recreate="auto") as batch:
            batch.alter_column(column.name, server_default=None)
    _create_indexes()


def _create_indexes() -> None:
    """Find items by what a changed file could be confused with, by their next moment, and the few in special states.

    Without them each cycle reads the whole table, with the texts of all items.
    """
    # What another process or source changed since a sweep or a publishing.
    op.create_index("ix_items_version", "items", ["version"])
    # A file with the same content is a moved file; one with the same title and date may be one.
    op.create_index("ix_items_fingerprint", "items", ["fingerprint"])
    # Both dates also tell what comes out next.
    op.create_index("ix_items_published", "items", ["published"])
    op.create_index("ix_items_embargo", "items", ["embargo"])
    # What is present, or was missing in one sweep.
    op.create_index(
        "ix_items_source_gone_missing",
        "items",
        ["source", "gone_at", "missing_since"],
    )
    is_withdrawn = sa.text("withdrawn <> ''")
    op.create_index("ix_items_withdrawn", "items", ["story"], sqlite_where=is_withdrawn, postgresql_where=is_withdrawn)
