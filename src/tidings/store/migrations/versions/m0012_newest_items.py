"""Find the newest items of a language, and those that are gone, without a look at all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
compatible_from = "0011"


def upgrade() -> None:
    """Make two indexes: the feeds of a language show its newest items, and their date counts deletions."""
    op.create_index("ix_items_language_published", "items", ["language", "published"])
    is_gone = sa.text("gone_at IS NOT NULL")
    op.create_index("ix_items_gone", "items", ["language", "gone_at"], sqlite_where=is_gone, postgresql_where=is_gone)
