"""Remember the parts of a draft in each item, so that `check` need not read the files that did not change."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
compatible_from = "0011"


def upgrade() -> None:
    """Add a column. A new version of the program reads all files anew, and fills it."""
    op.add_column("source_files", sa.Column("leftovers", sa.Text(), nullable=False, server_default=sa.text("''")))
