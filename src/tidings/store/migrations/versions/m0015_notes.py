"""Let the team write a note about a reader."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
compatible_from = "0011"


def upgrade() -> None:
    """Add the note."""
    op.add_column("subscribers", sa.Column("note", sa.Text()))
