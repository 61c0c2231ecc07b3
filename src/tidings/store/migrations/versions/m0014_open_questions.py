"""Find the re-confirmations that expire without a look at all subscriptions in each cycle."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
compatible_from = "0011"


def upgrade() -> None:
    """Make an index of the subscriptions that wait for a word."""
    is_open = sa.text("confirm_by IS NOT NULL")
    op.create_index(
        "ix_subscriptions_confirm_by",
        "subscriptions",
        ["confirm_by"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
