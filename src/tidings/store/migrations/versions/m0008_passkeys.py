"""Add the passkeys of the team."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make one table."""
    op.create_table(
        "team_passkeys",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("member", _ID, nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("sign_count", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_team_passkeys"),
        sa.UniqueConstraint("credential", name="uq_team_passkeys_credential"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_team_passkeys_member", "team_passkeys", ["member"])
