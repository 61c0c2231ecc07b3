"""Note the pictures of frozen editions, so that they stay as long as mails show them."""

import re
import zlib
from urllib.parse import unquote

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table, and fill it from the frozen documents, one at a time."""
    table = op.create_table(
        "edition_media",
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("edition", "path", name="pk_edition_media"),
    )
    connection = op.get_bind()
    ids = connection.execute(sa.text("SELECT id FROM renditions ORDER BY id")).scalars().all()
    shown: set[tuple[int, str]] = set()
    for rendition in ids:
        query = sa.text("SELECT edition, document FROM renditions WHERE id = :id")
        edition, document = connection.execute(query, {"id": rendition}).one()
        text = zlib.decompress(document).decode("utf-8", "replace")
        paths = re.findall(r"/(media/[0-9a-f]{16}/[^\s\"'<>()\\\\/?#&]{1,255})", text)
        shown |= {(edition, unquote(path)) for path in paths}
    if shown:
        op.bulk_insert(table, [{"edition": edition, "path": path} for edition, path in sorted(shown)])
