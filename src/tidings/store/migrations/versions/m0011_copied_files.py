"""Add which files of public/ were copied into a bucket."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make a table."""
    op.create_table(
        "copied_files",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_copied_files"),
    )
